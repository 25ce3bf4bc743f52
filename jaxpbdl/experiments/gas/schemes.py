"""The schemes that `shock-closure` compares, on a tube, and on a shock that meets sound."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.experiments.gas.learned_slopes import LearnedSlopes
from jaxpbdl.experiments.gas.riemann_problems import GAMMA, Run
from jaxpbdl.grids import Cells
from jaxpbdl.solvers import time
from jaxpbdl.solvers.compressible import (
    FiniteVolumeStep,
    Weno5,
    characteristic,
    finite_volumes,
    first_order,
    minmod,
    monotonised_central,
    muscl,
    primitive,
    primitive_lines,
    superbee,
    van_leer,
    weno5,
)


def _lines(limiter: Callable[..., Array], scheme: time.Scheme) -> dict[str, Any]:
    return {"reconstruction": muscl(limiter), "variables": primitive_lines, "scheme": scheme}


PLAIN: dict[str, dict[str, Any]] = {
    "first_order": {
        "reconstruction": first_order, "variables": primitive, "scheme": time.euler,
    },
    "minmod": _lines(minmod, time.ssp_rk2),
    "van_leer": _lines(van_leer, time.ssp_rk3),
    "van_leer_rk2": _lines(van_leer, time.ssp_rk2),
    "central": _lines(monotonised_central, time.ssp_rk3),
    "superbee": _lines(superbee, time.ssp_rk3),
    "superbee_rk2": _lines(superbee, time.ssp_rk2),
    "weno": {"reconstruction": weno5, "variables": primitive},
    "weno_rk2": {"reconstruction": weno5, "variables": primitive, "scheme": time.ssp_rk2},
    "weno_square": {"reconstruction": Weno5(power=2), "variables": primitive},
    "weno_characteristic": {"reconstruction": weno5, "variables": characteristic},
}  # fmt: skip


def learned(model: LearnedSlopes) -> dict[str, Any]:
    """Options of `finite_volumes`."""
    return {"reconstruction": model, "variables": primitive_lines, "scheme": time.ssp_rk3}


def tube_step(cells: int, dt: Array | float, options: Mapping[str, Any]) -> FiniteVolumeStep:
    """Of a gas in the tube. No guard: all edges lie between means but those of WENO5-Z, which needs
    none here either, and would pay for it."""
    grid = Cells(cells, 1.0, dtype=jnp.float32)
    return finite_volumes(CompressibleFlow(1, GAMMA), grid, dt, guard=None, **options)


@eqx.filter_jit
def densities(options: Mapping[str, Any], run: Run, steps: Array) -> Array:
    """At the end of each problem."""

    def one(state: Array, end: Array) -> Array:
        step = tube_step(state.shape[-1], end / steps, options)
        return _advanced(step, state, steps)[0]

    return jax.vmap(one)(run.states, run.ends)


def errors(options: Mapping[str, Any], run: Run, steps: int) -> np.ndarray:
    """Of each problem, infinite where it blew up."""
    found = densities(options, run, jnp.asarray(steps))
    each = np.asarray(jnp.mean(jnp.abs(found - run.truth), axis=1))
    return np.where(np.isfinite(each), each, np.inf)


def waves_truth(cells: int) -> np.ndarray:
    """The density where a shock of Mach 3 has met sound (C.-W. Shu and S. Osher, J. Comput. Phys.
    83 (1989) 32, example 8): that of WENO5-Z on 1600 cells or more, twice as fine at least."""
    finer = max(2, -(-1600 // cells))
    fine = _waves(PLAIN["weno_characteristic"], finer * cells, 0.5)
    return fine.reshape(cells, finer).mean(axis=1)


def waves_error(options: Mapping[str, Any], truth: np.ndarray, courant: float) -> float:
    """The mean error of the density beside `waves_truth`."""
    error = float(np.mean(np.abs(_waves(options, len(truth), courant) - truth)))
    return error if np.isfinite(error) else np.inf


def _waves(options: Mapping[str, Any], cells: int, courant: float) -> np.ndarray:
    """At t = 1.8 in a tube of length 10; no wave is faster than 4.8."""
    steps = int(np.ceil(1.8 * 4.8 * cells / (10 * courant)))
    grid = Cells(cells, 10.0, dtype=jnp.float32)
    gas = CompressibleFlow(1, GAMMA)
    step = finite_volumes(gas, grid, 1.8 / steps, guard=None, **options)
    return np.asarray(_compiled(step, step.start(shock_and_sound), jnp.asarray(steps))[0])


def shock_and_sound(x: Float[Array, "1"]) -> Float[Array, "3"]:
    """Density, velocity and pressure at the start: a shock of Mach 3 at x = 1 that moves into a gas
    at rest whose density oscillates."""
    calm = jnp.stack([1 + 0.2 * jnp.sin(5 * (x[0] - 5)), 0 * x[0], 1 + 0 * x[0]])
    return jnp.where(x[0] < 1, jnp.array([3.857143, 2.629369, 10.33333]), calm)


def _advanced(step: FiniteVolumeStep, state: Array, steps: Array) -> Array:
    """After a number of steps that is known at run time alone: compiled once for all of them."""
    return lax.fori_loop(0, steps, lambda _, current: step.advance(current), state)


_compiled = eqx.filter_jit(_advanced)
