"""Simulated wakes over Reynolds numbers, as stream functions at the corners of the coarse grid.

    python -m jaxpbdl.experiments.wakes.data FOLDER

prints how far the simulations themselves are from converged, by others on a grid eight times finer
than the coarse one, from states in `FOLDER`, where simulations are left that are not there.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import jaxpbdl as jp
from jaxpbdl.checks import BlowUp
from jaxpbdl.diagnostics import relative_l2
from jaxpbdl.environments import kicked
from jaxpbdl.experiments.wakes.flow import (
    Setting,
    Stream,
    flow_from,
    fluxes,
    sampled,
    stepped,
    stream_function,
    viscosity_of,
)
from jaxpbdl.learning import Varied, checkpoint
from jaxpbdl.solvers.flow import Flow, IncompressibleStep, limited

SPIN_UP_GRID = 2
"""How many times finer than the coarse one the grid is on which a wake develops."""
SHARE = 1.15
"""Of the stability limit, which adds up what advection and diffusion take of it: a developed wake
stays finite up to about 1.4 times that. The error of such steps is far below that of the cells."""


INTERVAL = 0.1
"""Time between snapshots."""


class Wake(NamedTuple):
    """A developed wake at one Reynolds number."""

    streams: Float[Array, "snapshots nx_1 ny_1"]
    """At the corners of the coarse grid."""
    starts: Float[Array, "windows fx_1 fy_1"]
    """At the corners of the grid of the simulation, every `window` of time from the first."""
    reynolds: Float[Array, ""]
    seconds: Float[Array, ""]
    """Of wall time, compiling included."""


def simulate(
    setting: Setting,
    finer: float,
    reynolds: float,
    duration: float,
    *,
    interval: float = INTERVAL,
    window: float = 10.0,
    spin_up: float = 40.0,
    settling: float = 4.0,
) -> Wake:
    """A wake on a grid `finer` times finer than the coarse one of `setting`.

    It develops over `spin_up` on a coarser grid and over `settling` on its own; then snapshots are
    kept `interval` apart for a `duration` of as many whole windows.
    """
    begin = time.perf_counter()
    cells = setting.cells
    coarse = at(setting.solver(1.0, SPIN_UP_GRID, limited), reynolds)
    state = coarse.start(kicked)
    steps = stepped(float(coarse.largest_dt(state)), interval, 0.6)
    coarse = eqx.tree_at(lambda step: step.dt, coarse, jnp.asarray(interval / steps))
    developing = jp.repeat(coarse, steps * round(spin_up / interval), checkpoint=False)
    # Compiled once for all wakes: programs that are kept take of what a process may map.
    state = eqx.filter_jit(developing)(state)
    fine, state, steps = _begun(
        setting, finer, reynolds, stream_function(coarse, state.velocity), interval
    )
    state, _ = _run(fine, state, steps, round(settling / interval), cells)
    starts, parts = [], [sampled(stream_function(fine, state.velocity), cells)[None]]
    for _ in range(round(duration / window)):
        starts.append(stream_function(fine, state.velocity))
        state, streams = _run(fine, state, steps, round(window / interval), cells)
        parts.append(streams)
    whole = jnp.concatenate(parts)
    if not bool(jnp.all(jnp.isfinite(whole))):
        raise BlowUp(f"the wake at Re {reynolds:g} left the finite numbers")
    seconds = jnp.asarray(time.perf_counter() - begin)
    return Wake(whole, jnp.stack(starts), jnp.asarray(reynolds), seconds)


def _begun(
    setting: Setting, finer: float, reynolds: float, stream: Stream, interval: float
) -> tuple[IncompressibleStep, Flow, int]:
    """A solver, its state with a given stream function, and its steps in an interval."""
    solver = at(setting.solver(1.0, finer), reynolds)
    state = flow_from(solver, stream)
    steps = stepped(float(solver.largest_dt(state)), interval, SHARE)
    dt = jnp.asarray(interval / steps, solver.grid.dtype)
    return eqx.tree_at(lambda step: step.dt, solver, dt), state, steps


def distance_to_converged(
    setting: Setting, stream: Stream, reynolds: float, finer: float, finest: float, duration: float
) -> float:
    """The relative L2 error of fluxes on the coarse mesh of a simulation on a grid `finer` times
    finer, mean over snapshots: from the distance to one on a still finer grid with the same start,
    if errors fall with the square of the cell width."""
    found = []
    for factor in (finer, finest):
        solver, state, steps = _begun(setting, factor, reynolds, stream, INTERVAL)
        count = round(duration / INTERVAL)
        found.append(jax.vmap(fluxes)(_run(solver, state, steps, count, setting.cells)[1]))
    apart = jnp.mean(jax.vmap(relative_l2)(*found))
    return float(apart) / (1 - (finer / finest) ** 2)


@eqx.filter_jit
def _run(
    step: IncompressibleStep, state: Flow, steps: int, snapshots: int, cells: tuple[int, int]
) -> tuple[Flow, Array]:
    """The state after so many snapshots of `steps` steps each, and their stream functions."""

    def ahead(state: Flow, _: None) -> tuple[Flow, Array]:
        state = jax.lax.fori_loop(0, steps, lambda _, flow: step.advance(flow), state)
        return state, sampled(stream_function(step, state.velocity), cells)

    return jax.lax.scan(ahead, state, None, length=snapshots)


def at(step: IncompressibleStep, reynolds: float) -> IncompressibleStep:
    """The solver at a Reynolds number."""
    return eqx.tree_at(viscosity_of, step, jnp.asarray(1 / reynolds, step.grid.dtype))


def wakes(
    folder: Path,
    setting: Setting,
    finer: float,
    reynolds: Sequence[float],
    duration: float,
    window: float = 10.0,
    **options: float,
) -> Wake:
    """The wakes at several Reynolds numbers, leaves `(runs, ..)`: those that lie in `folder` are
    read from there."""
    windows = round(duration / window)
    found = []
    for number in reynolds:
        name = f"{setting.body}_re_{number:g}_{windows}_windows_{finer:g}x".replace(".", "_")
        if checkpoint.latest(folder / name) is None:
            print(f"simulating the wake of a {setting.body} at Re {number:g}", flush=True)
            wake = simulate(setting, finer, number, windows * window, window=window, **options)
            checkpoint.save(folder / name, wake, {"step": 0})
        shapes = [tuple(round(m * n) + 1 for n in setting.cells) for m in (1, finer)]
        snapshots = windows * round(window / options.get("interval", INTERVAL)) + 1
        like = Wake(
            jnp.zeros((snapshots, *shapes[0]), jnp.float32),
            jnp.zeros((windows, *shapes[1]), jnp.float32),
            jnp.zeros((), jnp.float32),
            jnp.zeros((), jnp.float32),
        )  # fmt: skip
        found.append(checkpoint.load(folder / name, like)[0])
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *found)


def states(step: IncompressibleStep, wake: Wake, streams: Array) -> Varied:
    """Flows on the grid of `step` from stream functions `(runs, times, ..)`, with the viscosity of
    each run: leaves `(runs, times, ..)`."""
    flows = jp.distributed.map_members(
        eqx.Partial(flow_from, step), streams.reshape(-1, *streams.shape[2:])
    )
    flows = jax.tree.map(lambda leaf: leaf.reshape(*streams.shape[:2], *leaf.shape[1:]), flows)
    viscosity = jnp.broadcast_to(1 / wake.reynolds[:, None], streams.shape[:2])
    return Varied(flows, viscosity)


if __name__ == "__main__":
    base = Setting()
    for number in (110.0, 170.0):
        start = wakes(Path(sys.argv[1]), base, 6, (number,), 20.0).starts[0, 0]
        error = distance_to_converged(base, start, number, 6, 8, 10.0)
        print(f"Re {number:g}: {error:.2g} from converged, mean over 10 units of time", flush=True)
