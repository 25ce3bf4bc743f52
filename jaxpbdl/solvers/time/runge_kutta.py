"""Explicit Runge-Kutta schemes.

Each is a loop over its stages and not a copy of them: compiled once, and XLA cannot fuse the
stencils of one stage into the next, which it would compute again for every neighbour. A gradient
computes a stage once more, which is faster than to fetch what it would have to keep.
"""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from jaxpbdl.solvers.time.scheme import Scheme, System, combined


class ForwardEuler(Scheme):
    """One stage (Euler 1768): order 1. With the rates `-grad loss` it is gradient descent."""

    imaginary: ClassVar[float] = 0.0
    real: ClassVar[float] = 2.0

    def advance(self, working: PyTree, system: System) -> PyTree:
        return system.moved(working, combined((system.dt,), (system.rates(working),)))

    def largest_dt(self, oscillation: Array | float, decay: Array | float = 0.0) -> Array | float:
        """Of |1 - dt (decay + i oscillation)| <= 1; without decay an oscillation always grows."""
        return 2 / (decay + oscillation**2 / (decay + 1e-30) + 1e-30)


class LowStorageRungeKutta(Scheme):
    """Three stages with one register besides the state (Williamson, J. Comput. Phys. 35 (1980)
    48): order 3."""

    imaginary: ClassVar[float] = 1.7
    real: ClassVar[float] = 2.5

    def advance(self, working: PyTree, system: System) -> PyTree:
        dtype = system.dt.dtype
        decays = jnp.array([0.0, -5 / 9, -153 / 128], dtype)
        weights = jnp.array([1 / 3, 15 / 16, 8 / 15], dtype)

        def stage(carry: PyTree, row: tuple[Array, Array]) -> PyTree:
            (state, change), (decay, weight) = carry, row
            change = combined((decay, system.dt), (change, system.rates(state)))
            return (system.moved(state, combined((weight,), (change,))), change), None

        start = (working, _still(system, working))
        return lax.scan(_again(stage), start, (decays, weights))[0][0]


class StrongStabilityRungeKutta(Scheme):
    """Convex combinations of Euler steps (Shu and Osher, J. Comput. Phys. 77 (1988) 439): no new
    extrema up to the dt at which Euler's step makes none. By default three: order 3.

    **Attributes:** `kept`, the share of the state before the step in the result of each stage.
    """

    kept: tuple[float, ...] = eqx.field(static=True, default=(0.0, 3 / 4, 1 / 3))
    imaginary: float = eqx.field(static=True, default=1.7)
    real: float = eqx.field(static=True, default=2.5)

    def advance(self, working: PyTree, system: System) -> PyTree:
        kept = jnp.array(self.kept, system.dt.dtype)

        def stage(state: PyTree, share: Array) -> PyTree:
            change = combined((system.dt,), (system.rates(state),))
            ahead = system.moved(state, change)
            return combined((share, 1 - share), (working, ahead)), None

        return lax.scan(_again(stage), working, kept)[0]


class ClassicalRungeKutta(Scheme):
    """Four stages (Kutta 1901): order 4."""

    imaginary: ClassVar[float] = 2.82
    real: ClassVar[float] = 2.78

    def advance(self, working: PyTree, system: System) -> PyTree:
        dtype = system.dt.dtype
        ahead = jnp.array([0.0, 1 / 2, 1 / 2, 1.0], dtype)
        weights = jnp.array([1 / 6, 1 / 3, 1 / 3, 1 / 6], dtype)

        def stage(carry: PyTree, row: tuple[Array, Array]) -> PyTree:
            (slope, change), (step, weight) = carry, row
            slope = system.rates(system.moved(working, combined((step * system.dt,), (slope,))))
            return (slope, combined((1, weight * system.dt), (change, slope))), None

        still = _still(system, working)
        change = lax.scan(_again(stage), (still, still), (ahead, weights))[0][1]
        return system.moved(working, change)


def _still(system: System, state: PyTree) -> PyTree:
    """No change."""
    rates = jax.eval_shape(system.rates, state)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), rates)


def _again(stage: Callable[..., PyTree]) -> Callable[..., PyTree]:
    return jax.checkpoint(stage, prevent_cse=False)


euler = ForwardEuler()
"""Order 1 in one stage, for what decays."""
rk3 = LowStorageRungeKutta()
"""Order 3 in three stages, stable up to 1.7 cells a step: the lowest memory."""
ssp_rk3 = StrongStabilityRungeKutta()
"""Order 3 in three stages, for conservation laws with shocks."""
ssp_rk2 = StrongStabilityRungeKutta(kept=(0.0, 1 / 2), imaginary=1e-3, real=2.0)
"""Order 2 in two stages (Heun's scheme), for conservation laws with shocks. An undamped oscillation
grows at any dt, at 1e-3 by 1e-13 a step."""
rk4 = ClassicalRungeKutta()
"""Order 4 in four stages."""
