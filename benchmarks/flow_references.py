"""Flows with published figures: `python benchmarks/flow_references.py [NAME ...]`.

cavity-100, cavity-1000, cavity-3200   lid-driven square cavity, 128^2, against Ghia, Ghia and Shin
                                       (J. Comput. Phys. 48 (1982) 387)
dfg-1, dfg-2, dfg-3                    a cylinder in a channel (Schaefer and Turek 1996; the third
                                       against John, Int. J. Numer. Meth. Fluids 44 (2004) 777)
cylinder-100                           a cylinder in an unbounded stream at Re 100
rayleigh-benard                        the Rayleigh number at which a fluid heated from below begins
                                       to move, between two walls (Chandrasekhar 1961)
stokes                                 creeping flow below a lid, by steps of implicit diffusion,
                                       against the reference solution of DeepXDE's example
cavity-newton                          the cavity at Re 1000 by Newton's method on graded cells,
                                       against Botella and Peyret (Comput. Fluids 27 (1998) 421)

The tables and the series are read below the folder `$JAXPBDL_DATA`. `--cells N` sets the cells a
diameter (40 by default), a side of the cavity (128), the height of the heated fluid (48).
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import RegularGridInterpolator

import jaxpbdl as jp
from jaxpbdl.data import find
from jaxpbdl.experiments.flows.heated_cavity import peak
from jaxpbdl.solvers.flow import (
    central,
    force_on_body,
    incompressible,
    inflow,
    outflow,
    pressure_on_body,
    semi_implicit,
    slip,
    stable_dt,
    steady,
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


def heated_from_below(cells: int) -> Rows:
    """Where the growth rate of the first convection rolls changes sign, between two Rayleigh
    numbers on both sides; lengths in heights, times in those of diffusion across one, Pr 0.71."""
    wavenumber, prandtl = 3.117, 0.71
    with jax.enable_x64(True):
        grid = jp.grids.Cells((cells, cells), (2 * np.pi / wavenumber, 1.0), periodic=(True, False))
        sides = (None, (wall(temperature=1.0), wall(temperature=0.0)))

        def growth(rayleigh: float) -> float:
            heat = jp.equations.Scalar(1.0, buoyancy=(0.0, rayleigh * prandtl), reference=0.5)
            flow = FLOW(prandtl, scalars={"temperature": heat})
            dt = 0.9 * stable_dt((0.0, 0.0), (1 / cells, 1 / cells), 1.0)
            step = incompressible(flow, grid, dt, sides, scalar_interpolation=central)

            def slightly_warm(point):
                rolls = jnp.cos(wavenumber * point[0]) * jnp.sin(jnp.pi * point[1])
                return 1 - point[1] + 1e-5 * rolls

            every = round(0.5 / float(dt))
            start = step.start(temperature=slightly_warm)
            sizes = jp.rollout(
                step, start, 4 * every, every, observe=lambda s: jnp.linalg.norm(s.velocity[1])
            )
            return float(jnp.log(sizes[4] / sizes[2]) / (2 * every * dt))

        below, above = 1690.0, 1730.0
        low, high = growth(below), growth(above)
    critical = below - low * (above - below) / (high - low)
    return [
        (f"growth rate at {below:g}", low, "< 0"),
        (f"growth rate at {above:g}", high, "> 0"),
        ("critical Rayleigh number", critical, "1707.76"),
    ]


def creeping(cells: int) -> Rows:
    """Lid of velocity x (1 - x); a viscosity of 100 leaves inertia 2.5e-3 of friction."""
    viscosity, scale = 100.0, 0.01 / 100.0
    reference = np.load(find("stokes"))["arr_0"].reshape(101, 101, 3)
    grid = jp.grids.Cells((cells, cells))
    lid = wall(lambda point: jnp.stack([point[0] * (1 - point[0]), 0 * point[0]]))
    flow = incompressible(FLOW(viscosity), grid, 1e-3, (wall(), (wall(), lid)))
    step = semi_implicit(flow)
    end = jax.jit(jp.repeat(step, 300, checkpoint=False))(step.start())
    explicit = float(stable_dt((0.25, 0.0), (1 / cells, 1 / cells), viscosity))
    points = np.stack(np.meshgrid(*[np.linspace(0, 1, 101)] * 2, indexing="ij"), -1)
    rows: Rows = [("dt over the explicit limit", 1e-3 / explicit, "")]
    faces = [np.asarray(line) for line in grid.edges]
    fields = {
        "u": ((faces[0], grid.centres[1]), end.velocity[0], 0),
        "v": ((grid.centres[0], faces[1]), end.velocity[1], 1),
        "pressure": (grid.centres, scale * flow.pressure(end), 2),
    }
    inside = (slice(2, -2), slice(2, -2))  # the pressure is singular where lid and walls meet
    for name, (lines, values, column) in fields.items():
        near = RegularGridInterpolator(
            lines, np.asarray(values), bounds_error=False, fill_value=None
        )
        found, right = near(points)[inside], reference[..., column][inside]
        if name == "pressure":
            found, right = found - found.mean(), right - right.mean()
        error = np.linalg.norm(found - right) / np.linalg.norm(right)
        rows.append((f"relative L2 distance of {name}", float(error), "< 0.01"))
    return rows


def cavity_by_newton(cells: int) -> Rows:
    """Extrema on the middle lines, of the lid's speed."""
    with jax.enable_x64(True):
        line = np.linspace(0, 1, cells + 1)
        edges = line - 0.75 * np.sin(2 * np.pi * line) / (2 * np.pi)
        grid = jp.grids.Cells((cells, cells), edges=(edges, edges))
        sides = (wall(), (wall(), wall((1.0, 0.0))))

        def step(reynolds: float, dt: float):
            return semi_implicit(incompressible(FLOW(1 / reynolds), grid, dt, sides))

        state = step(100, 0.1).start()
        for reynolds in (100, 400, 1000):  # each starts the next
            state = steady(step(reynolds, 0.3), state)
        u, v = (np.asarray(part) for part in state.velocity)
    half = cells // 2
    least_u = -peak(grid.centres[1], -u[half])
    largest_v, least_v = peak(grid.centres[0], v[:, half]), -peak(grid.centres[0], -v[:, half])
    return [
        ("least u", least_u, "-0.3885698"),
        ("largest v", largest_v, "0.3769447"),
        ("least v", least_v, "-0.5270771"),
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
    "rayleigh-benard": (heated_from_below, 48),
    "stokes": (creeping, 128),
    "cavity-newton": (cavity_by_newton, 128),
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
