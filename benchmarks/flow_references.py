"""Flows with published figures: `python benchmarks/flow_references.py [NAME ...]`.

cavity-100, cavity-1000, cavity-3200   lid-driven square cavity, 128^2, against Ghia, Ghia and Shin
                                       (J. Comput. Phys. 48 (1982) 387)
dfg-1, dfg-2, dfg-3                    a cylinder in a channel (Schaefer and Turek 1996; the third
                                       against John, Int. J. Numer. Meth. Fluids 44 (2004) 777)
cylinder-100                           a cylinder in an unbounded stream at Re 100

The tables and the series are read below the folder `$JAXPBDL_DATA`. `--cells N` sets the cells a
diameter (40 by default) or a side of the cavity (128).
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jaxpbdl as jp
from jaxpbdl.data import find
from jaxpbdl.solvers.flow import (
    force_on_body,
    incompressible,
    inflow,
    outflow,
    pressure_on_body,
    slip,
    stable_dt,
    wall,
)

Rows = list[tuple[str, float, str]]
"""(what, measured, published)"""
FLOW = jp.equations.IncompressibleFlow
# Entries of Ghia's table that later authors mark as misprints.
MISPRINTS = {("u", 3200, 0.4531)}


def cavity(reynolds: int, cells: int) -> Rows:
    """Largest distance from the table's points, in the lid's speed."""
    grid = jp.grids.Cells((cells, cells))
    lid = wall((1.0, 0.0))
    dt = stable_dt((1.0, 1.0), (1 / cells, 1 / cells), 1 / reynolds)
    step = incompressible(FLOW(1 / reynolds), grid, dt, sides=(wall(), (wall(), lid)))
    turn = jax.jit(jp.repeat(step, round(5 / dt), checkpoint=False))
    state, change = step.start(), 1.0
    while change > 1e-5 and state.time < 400:
        before, state = state, turn(state)
        change = float(jnp.max(jnp.abs(state.velocity[0] - before.velocity[0])))
    table = np.loadtxt(find("ghia-cavity"))
    column = [100, 1000, 3200].index(reynolds)
    middle = np.concatenate([[0.0], grid.centres[0], [1.0]])
    u, v = (np.asarray(part) for part in state.velocity)
    lines = {"u": np.append(np.append(0.0, u[cells // 2]), 1.0)}
    lines["v"] = np.append(np.append(0.0, v[:, cells // 2]), 0.0)
    rows: Rows = []
    for name, first in (("u", 0), ("v", 6)):
        places, values = table[:, first], table[:, first + 1 + column]
        right = [(name, reynolds, round(place, 4)) not in MISPRINTS for place in places]
        error = np.abs(np.interp(places, middle, lines[name]) - values)[right]
        rows.append((f"largest distance of {name}", float(error.max()), "< 0.01"))
    return rows


def channel(case: int, cells: int) -> Rows:
    """DFG 2D-1 (steady, Re 20), 2D-2 (Re 100) and 2D-3 (Re 0 to 100 and back in 8 units)."""
    width, speed = 0.1 / cells, {1: 0.3, 2: 1.5, 3: 1.5}[case]
    end = {1: 6.0, 2: 8.0, 3: 8.0}[case]
    edges = jp.grids.graded(0.0, 2.2, (0.1, 0.35), width, 1.03)
    shape = (len(edges) - 1, round(0.41 / width))
    grid = jp.grids.Cells(shape, (2.2, 0.41), edges=(edges, None))

    def profile(point):
        return jnp.stack([4 * speed * point[1] * (0.41 - point[1]) / 0.41**2, 0 * point[0]])

    ramp = (lambda t: jnp.sin(jnp.pi * t / 8)) if case == 3 else None
    sides = ((inflow(profile, ramp), outflow()), wall())
    body = jp.shapes.Ball((0.2, 0.2), 0.05)
    every = 20
    dt = 0.9 * stable_dt((2 * speed, 1.4 * speed), (width, width), 1e-3)
    dt = end / (every * np.ceil(end / dt / every))
    step = incompressible(FLOW(1e-3), grid, dt, sides=sides, body=body)
    scale = 2 / ((2 / 3 * speed) ** 2 * 0.1)
    ends = jnp.asarray([[0.15, 0.2], [0.25, 0.2]])

    def seen(state):
        pressure = pressure_on_body(step, state, body, ends)
        return state.time, scale * force_on_body(step, state), pressure[0] - pressure[1]

    start = step.start(None if case == 3 else profile)
    steps = round(end / float(step.dt))
    snapshots = jp.rollout(step, start, steps, every, observe=seen, checkpoint=False)
    times, (drag, lift), fall = np.asarray(snapshots[0]), np.asarray(snapshots[1]).T, snapshots[2]
    fall = np.asarray(fall)
    if case == 1:
        return [
            ("drag", drag[-1], "5.57953523"),
            ("lift", lift[-1], "0.01061895"),
            ("pressure fall", fall[-1], "0.11752017"),
        ]
    if case == 2:
        late = times > 0.6 * end
        strouhal, _ = frequency(times[late], lift[late])
        half = times[late][np.argmax(lift[late])] + 0.5 / strouhal / 10
        return [
            ("largest drag", drag[late].max(), "3.22..3.24"),
            ("largest lift", lift[late].max(), "0.99..1.01 (0.986 later)"),
            ("smallest lift", lift[late].min(), ""),
            ("Strouhal number", 0.1 / 1.0 * strouhal, "0.295..0.305"),
            ("pressure fall", float(np.interp(half, times, fall)), "2.46..2.50"),
        ]
    series = np.loadtxt(find("dfg-forces"))
    near = np.interp(times, series[:, 1], series[:, 3])
    return [
        ("largest drag", drag.max(), "2.950921575"),
        ("at time", times[np.argmax(drag)], "3.93625"),
        ("largest lift", lift.max(), "0.47795"),
        ("at time", times[np.argmax(lift)], "5.693125"),
        ("pressure fall at 8", fall[-1], "-0.1116"),
        ("rms distance of the drag's series", float(np.sqrt(np.mean((drag - near) ** 2))), ""),
    ]


def cylinder(cells: int) -> Rows:
    """Drag, lift and frequency at Re 100, sides 20 diameters away."""
    width = 1.0 / cells
    x = jp.grids.graded(-50.0, 60.0, (-0.75, 2.0), width, 1.04)
    y = jp.grids.graded(-60.0, 60.0, (-0.75, 0.75), width, 1.05)
    grid = jp.grids.Cells((len(x) - 1, len(y) - 1), edges=(x, y))
    sides = ((inflow((1.0, 0.0)), outflow()), slip())
    dt = 0.8 * stable_dt((1.6, 1.2), (width, width), 0.01)
    body = jp.shapes.Ball((0.0, 0.0), 0.5)
    step = incompressible(FLOW(0.01), grid, dt, sides=sides, body=body)

    def kicked(point):
        return jnp.stack([1.0 + 0 * point[0], jnp.exp(-jnp.sum((point - 1.0) ** 2))])

    def seen(state):
        return state.time, 2 * force_on_body(step, state)

    every = 40
    steps = every * round(150 / dt / every)
    times, force = jp.rollout(
        step, step.start(kicked), steps, every, observe=seen, checkpoint=False
    )
    late = np.asarray(times) > 110
    drag, lift = np.asarray(force)[late].T
    strouhal, periods = frequency(np.asarray(times)[late], lift)
    return [
        ("mean drag", drag.mean(), "1.318..1.336"),
        ("lift amplitude", (lift.max() - lift.min()) / 2, "0.318..0.332"),
        ("Strouhal number", strouhal, "0.1649 +- 1 %"),
        ("periods seen", periods, ""),
    ]


def frequency(times: np.ndarray, signal: np.ndarray) -> tuple[float, int]:
    """From the upward zero crossings about the mean, and their number."""
    signal = signal - (signal.max() + signal.min()) / 2
    before = np.flatnonzero((signal[:-1] < 0) & (signal[1:] >= 0))
    share = signal[before] / (signal[before] - signal[before + 1])
    crossings = times[before] + share * (times[before + 1] - times[before])
    return (len(crossings) - 1) / (crossings[-1] - crossings[0]), len(crossings)


CASES: dict[str, tuple[Callable[[int], Rows], int]] = {
    "cavity-100": (lambda cells: cavity(100, cells), 128),
    "cavity-1000": (lambda cells: cavity(1000, cells), 128),
    "cavity-3200": (lambda cells: cavity(3200, cells), 128),
    "dfg-1": (lambda cells: channel(1, cells), 40),
    "dfg-2": (lambda cells: channel(2, cells), 40),
    "dfg-3": (lambda cells: channel(3, cells), 40),
    "cylinder-100": (lambda cells: cylinder(cells), 40),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAME")
    parser.add_argument("--cells", type=int)
    options = parser.parse_args()
    for name in options.names:
        if name not in CASES:
            parser.error(f"NAME must be one of {', '.join(CASES)}, got {name}")
        case, cells = CASES[name]
        cells = options.cells or cells
        start = time.perf_counter()
        rows = case(cells)
        print(f"{name}, {cells} cells, {time.perf_counter() - start:.0f} s", flush=True)
        for what, value, published in rows:
            print(f"  {what:36s} {value:12.6g}   {published}", flush=True)


if __name__ == "__main__":
    main()
