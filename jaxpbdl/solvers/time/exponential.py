"""Exponential integrators for du/dt = L u + N(u) with diagonal L (Fourier space).

The linear part is integrated exactly, so stiff diffusion or dispersion sets no limit on dt.
Runge-Kutta members follow Cox and Matthews, J. Comput. Phys. 176 (2002) 430, eqs. 22-29; the
multistep member is their eq. 6.
"""

from math import factorial
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from jaxpbdl.solvers.time.integrator import Integrator, NonlinearTerm, weighted_sum

_TAYLOR_TERMS = 18  # 1 / 18! is below float64 round-off for |z| <= 1


def phi(order: int, z: Array) -> Array:
    """phi_k(z) = sum_n z^n / (n + k)!, the functions every exponential integrator is made of.

    Near zero by its series, elsewhere by phi_k = (phi_{k-1} - 1 / (k-1)!) / z, which would cancel
    near zero. Differentiable in `z` everywhere.
    """
    near = jnp.abs(z) < 1
    small, large = jnp.where(near, z, 0.0), jnp.where(near, 1.0, z)
    series = jnp.zeros_like(z)
    for n in reversed(range(_TAYLOR_TERMS)):
        series = series * small + 1 / factorial(n + order)
    value = jnp.exp(large)
    for k in range(order):
        value = (value - 1 / factorial(k)) / large
    return jnp.where(near, series, value)


class ExponentialRungeKutta(Integrator):
    """A Runge-Kutta method whose coefficients are functions of dt L.

    Stage i:  U_i = stage_propagators[i] * u + sum_j stage_weights[i][j] * N(U_j);  then u likewise
    from `weights`.
    """

    stage_propagators: tuple[Array, ...]
    stage_weights: tuple[tuple[Array | None, ...], ...]
    propagator: Array
    weights: tuple[Array, ...]
    stability: float = eqx.field(static=True)

    def advance(self, working: Array, nonlinear: NonlinearTerm) -> Array:
        slopes = [nonlinear(working)]
        for propagator, weights in zip(self.stage_propagators, self.stage_weights, strict=True):
            slopes.append(nonlinear(weighted_sum(propagator, working, weights, slopes)))
        return weighted_sum(self.propagator, working, self.weights, slopes)


def etdrk1(symbol: Array, dt: Any, mask: Any = 1.0) -> ExponentialRungeKutta:
    """Exponential Euler: order 1, one evaluation of N a step."""
    z = symbol * dt
    return ExponentialRungeKutta(
        stage_propagators=(),
        stage_weights=(),
        propagator=jnp.exp(z),
        weights=(dt * mask * phi(1, z),),
        stability=1.0,
    )


def etdrk2(symbol: Array, dt: Any, mask: Any = 1.0) -> ExponentialRungeKutta:
    """Order 2, two evaluations a step."""
    z, h = symbol * dt, dt * mask
    propagator, second = jnp.exp(z), h * phi(2, z)
    first = h * phi(1, z)
    return ExponentialRungeKutta(
        stage_propagators=(propagator,),
        stage_weights=((first,),),
        propagator=propagator,
        weights=(first - second, second),
        stability=1.0,
    )


def etdrk3(symbol: Array, dt: Any, mask: Any = 1.0) -> ExponentialRungeKutta:
    """Order 3, three evaluations a step."""
    z, h = symbol * dt, dt * mask
    phi1, phi2, phi3 = phi(1, z), phi(2, z), phi(3, z)
    half, full = jnp.exp(z / 2), jnp.exp(z)
    return ExponentialRungeKutta(
        stage_propagators=(half, full),
        stage_weights=((h / 2 * phi(1, z / 2),), (-h * phi1, 2 * h * phi1)),
        propagator=full,
        weights=(
            h * (phi1 - 3 * phi2 + 4 * phi3),
            h * (4 * phi2 - 8 * phi3),
            h * (4 * phi3 - phi2),
        ),
        stability=1.73,
    )


def etdrk4(symbol: Array, dt: Any, mask: Any = 1.0) -> ExponentialRungeKutta:
    """Order 4, four evaluations a step: the cheapest choice for a given accuracy, and the
    default.
    """
    z, h = symbol * dt, dt * mask
    phi1, phi2, phi3 = phi(1, z), phi(2, z), phi(3, z)
    half, full = jnp.exp(z / 2), jnp.exp(z)
    quarter = h / 2 * phi(1, z / 2)
    middle = h * (2 * phi2 - 4 * phi3)
    return ExponentialRungeKutta(
        stage_propagators=(half, half, full),
        stage_weights=((quarter,), (None, quarter), ((half - 1) * quarter, None, 2 * quarter)),
        propagator=full,
        weights=(h * (phi1 - 3 * phi2 + 4 * phi3), middle, middle, h * (4 * phi3 - phi2)),
        stability=2.82,
    )


class ExponentialMultistep(Integrator):
    """u' = e^z u + dt [phi_1 N + phi_2 (N - N_before)], working variables (u, N_before)."""

    propagator: Array
    present: Array
    past: Array
    stability: ClassVar[float] = 0.7

    def start(self, state: Array, nonlinear: NonlinearTerm) -> tuple[Array, Array]:
        # With N_before = N the first step is exponential Euler: its one error of dt^2 keeps the
        # order.
        return state, nonlinear(state)

    def advance(
        self, working: tuple[Array, Array], nonlinear: NonlinearTerm
    ) -> tuple[Array, Array]:
        state, before = working
        slope = nonlinear(state)
        weights = (self.present, self.past)
        return weighted_sum(self.propagator, state, weights, (slope, before)), slope

    def current(self, working: tuple[Array, Array]) -> Array:
        return working[0]


def etd_multistep(symbol: Array, dt: Any, mask: Any = 1.0) -> ExponentialMultistep:
    """Order 2 with one evaluation a step: the cheapest step where stability, not accuracy, sets
    dt.
    """
    z, h = symbol * dt, dt * mask
    past = h * phi(2, z)
    return ExponentialMultistep(propagator=jnp.exp(z), present=h * phi(1, z) + past, past=-past)
