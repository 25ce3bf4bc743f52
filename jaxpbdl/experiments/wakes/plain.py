"""The plain solvers that a hybrid of the wakes competes with, each at its largest accurate dt.

    python -m jaxpbdl.experiments.wakes.plain FOLDER

prints the steps that `PLAIN` holds, found on validation wakes, which it simulates into `FOLDER`
unless they are there.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.diagnostics import relative_l2
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.wakes.data import INTERVAL, Wake, states, wakes
from jaxpbdl.experiments.wakes.flow import (
    Fluxes,
    Observer,
    Setting,
    family,
    flow_of,
    fluxes,
    sampled,
)
from jaxpbdl.learning import Varied, Varying
from jaxpbdl.learning.front import Method
from jaxpbdl.solvers.flow import central, limited
from jaxpbdl.solvers.time import adams_bashforth, rk3

STRIDE = 4
"""Snapshots of the simulations from one that is compared to the next."""
SPAN = STRIDE * INTERVAL
"""Time between snapshots that are compared."""
SLACK = 1.02
"""How much less accurate larger steps may be than those well within the stability limit."""
EXTREMES = (50.0, 350.0)
"""Reynolds numbers at which a plain solver has to stay finite."""


@dataclass(frozen=True)
class Plain(Validated):
    """A solver without a network."""

    finer: Positive
    """Cells along an axis over those of the coarse grid."""
    limited: bool
    """Van Leer's limiter, else central differences."""
    multistep: bool
    """Adams-Bashforth of order 3, else Runge-Kutta of order 3."""
    steps: Count
    """In the time between two snapshots that are compared."""

    @property
    def name(self) -> str:
        scheme = "ab3" if self.multistep else "rk3"
        kind = "limited" if self.limited else "central"
        return f"front_{self.finer:g}x_{kind}_{scheme}".replace(".", "_")

    def solver(self, setting: Setting) -> Varying:
        """For states that hold their viscosity."""
        interpolation = limited if self.limited else central
        scheme = adams_bashforth if self.multistep else rk3
        return family(setting.solver(SPAN / self.steps, self.finer, interpolation, scheme))


def windows(
    wake: Wake, setting: Setting, horizon: float
) -> tuple[Float[Array, "runs windows fx fy"], Fluxes, np.ndarray]:
    """All windows of the runs: stream functions at their starts on the grid of the simulations,
    `(runs, windows, ..)`; the true fluxes on the mesh of the setting over a time `horizon` from
    there, leaves `(runs * windows, snapshots, ..)`; their times."""
    count = wake.starts.shape[1]
    span = (wake.streams.shape[1] - 1) // count
    reach = round(horizon / INTERVAL)
    cuts = [wake.streams[:, w * span : w * span + reach + 1 : STRIDE] for w in range(count)]
    streams = jnp.stack(cuts, axis=1)
    streams = streams.reshape(-1, *streams.shape[2:])
    return wake.starts, all_fluxes(streams, setting.mesh), SPAN * np.arange(streams.shape[1])


def all_fluxes(streams: Float[Array, "runs times nx_1 ny_1"], mesh: tuple[int, int]) -> Fluxes:
    """On another mesh."""
    return jax.vmap(jax.vmap(lambda stream: fluxes(sampled(stream, mesh))))(streams)


def method(plain: Plain, setting: Setting, wake: Wake, starts: Array) -> Method:
    """The solver from the true states at `starts`, stream functions `(runs, times, ..)`, one
    trajectory each."""
    solver = plain.solver(setting)
    step = flow_of(solver)
    initial = flattened(states(step, wake, starts))
    return Method(solver, initial, plain.steps, Observer(step, setting.mesh))


def flattened(states: Varied) -> Varied:
    """Runs and times as one axis."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), states)


def fewest_steps(plain: Plain, setting: Setting, wake: Wake, horizon: float = 8.0) -> int:
    """The fewest steps in a span with which the solver is as accurate on `wake` as with steps
    within the limit of linear stability, up to `SLACK`, and finite at the extreme Reynolds numbers
    from the same states."""
    starts, truth, _ = windows(wake, setting, horizon)
    solver = plain.solver(setting)
    step = flow_of(solver)
    initial = flattened(states(step, wake, starts))
    harsh = [initial._replace(parameter=jnp.full_like(initial.parameter, 1 / e)) for e in EXTREMES]
    limits = [float(jnp.min(jax.vmap(solver.largest_dt)(each))) for each in (initial, *harsh)]
    safe = int(np.ceil(SPAN / (0.9 * min(limits))))
    later = jax.tree.map(lambda leaf: leaf[:, 1:], truth)
    count = later.x.shape[1]

    def predicted(steps: int, initial: Varied) -> Fluxes:
        exact = eqx.tree_at(
            lambda s: s.solver.dt, solver, jnp.asarray(SPAN / steps, step.grid.dtype)
        )
        return _predicted(exact, initial, jnp.asarray(steps), count, setting.mesh)

    def error(steps: int) -> float:
        return float(relative_l2(predicted(steps, initial), later))

    bound = SLACK * error(safe)
    steps = max(1, int(safe / 2.2))
    while steps < safe:
        if error(steps) <= bound and all(
            bool(jnp.all(jnp.isfinite(part))) for e in harsh for part in predicted(steps, e)
        ):
            return steps
        steps += max(1, steps // 12)
    return safe


@eqx.filter_jit
def _predicted(
    solver: Varying, initial: Varied, steps: Array, count: int, cells: tuple[int, ...]
) -> Fluxes:
    """The fluxes at the ends of `count` spans; how many steps a span has need not be known when
    this is compiled."""
    observe = Observer(flow_of(solver), cells)

    def span(working: Varied, _: None) -> tuple[Varied, Fluxes]:
        working = jax.lax.fori_loop(0, steps, lambda _, w: solver.advance(w), working)
        return working, observe(solver.leave(working))

    def one(state: Varied) -> Fluxes:
        return jax.lax.scan(span, solver.enter(state), None, length=count)[1]

    return jax.lax.map(one, initial)


def _table(*entries: tuple[float, int, int, int, int | None]) -> tuple[Plain, ...]:
    """Rows of the factor and the steps of central and limited solvers, each with Runge-Kutta and
    Adams-Bashforth; None for one that is left out."""
    kinds = [(kind, multistep) for kind in (False, True) for multistep in (False, True)]
    return tuple(
        Plain(factor, kind, multistep, steps)
        for factor, *counts in entries
        for (kind, multistep), steps in zip(kinds, counts, strict=True)
        if steps is not None
    )


PLAIN = _table(
    (1.0, 2, 7, 4, 16),
    (1.5, 4, 12, 7, 28),
    (2.0, 6, 19, 11, 43),
    (2.5, 8, 31, 15, 60),
    (3.0, 10, 45, 19, 81),
    (4.0, 17, 78, 30, None),
)
"""The plain solvers, cheap ones first. The last would cost five times what the others of its grid
cost, with the same error."""


def chosen(central_grids: Sequence[float], limited_grids: Sequence[float]) -> tuple[Plain, ...]:
    """The rows of `PLAIN` with grids so many times finer. **Raises:** ValueError for a grid
    that has no row."""
    for name, grids in (("central_grids", central_grids), ("limited_grids", limited_grids)):
        unknown = sorted(set(grids) - {row.finer for row in PLAIN})
        if unknown:
            raise ValueError(
                f"{name} must be of {sorted({row.finer for row in PLAIN})}, got {unknown}"
            )
    return tuple(
        row for row in PLAIN if row.finer in (limited_grids if row.limited else central_grids)
    )


if __name__ == "__main__":
    base = Setting()
    validation = wakes(Path(sys.argv[1]), base, 6.0, (110.0, 170.0), 20.0)
    short = validation._replace(
        starts=validation.starts[:, :1], streams=validation.streams[:, :101]
    )
    for each in PLAIN:
        print(each.name, fewest_steps(each, base, short), flush=True)
