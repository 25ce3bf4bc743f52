"""Exponential integrators for du/dt = L u + N(u) with diagonal L (Fourier space).

The linear part is integrated exactly, so stiff diffusion or dispersion sets no limit on dt.
Runge-Kutta members follow Cox and Matthews, J. Comput. Phys. 176 (2002) 430, eqs. 22-29; the
multistep member is their eq. 6.
"""

from math import factorial, inf
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from jaxpbdl.solvers.time.scheme import Scheme, System, weighted_sum

_TAYLOR_TERMS = 18  # 1 / 18! is below float64 round-off for |z| <= 1


def phi(order: int, z: Array) -> Array:
    """phi_k(z) = sum_n z^n / (n + k)!, the functions every exponential integrator is built from.

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


class ExponentialRungeKutta(Scheme):
    """A Runge-Kutta method whose coefficients are functions of dt L.

    Stage i:  U_i = stage_propagators[i] * u + sum_j stage_weights[i][j] * N(U_j);  then u likewise
    from `weights`.
    """

    stage_propagators: tuple[Array, ...]
    stage_weights: tuple[tuple[Array | None, ...], ...]
    propagator: Array
    weights: tuple[Array, ...]
    imaginary: float = eqx.field(static=True)
    real: ClassVar[float] = inf

    def advance(self, working: Array, system: System) -> Array:
        slopes = [system.rates(working)]
        for propagator, weights in zip(self.stage_propagators, self.stage_weights, strict=True):
            slopes.append(system.rates(weighted_sum(propagator, working, weights, slopes)))
        return weighted_sum(self.propagator, working, self.weights, slopes)


def etdrk1(symbol: Array, dt: Array | float) -> ExponentialRungeKutta:
    """Exponential Euler: order 1, one evaluation of N a step."""
    z = symbol * dt
    return ExponentialRungeKutta(
        stage_propagators=(),
        stage_weights=(),
        propagator=jnp.exp(z),
        weights=(dt * phi(1, z),),
        imaginary=1.0,
    )


def etdrk2(symbol: Array, dt: Array | float) -> ExponentialRungeKutta:
    """Order 2, two evaluations a step."""
    z = symbol * dt
    propagator, second = jnp.exp(z), dt * phi(2, z)
    first = dt * phi(1, z)
    return ExponentialRungeKutta(
        stage_propagators=(propagator,),
        stage_weights=((first,),),
        propagator=propagator,
        weights=(first - second, second),
        imaginary=1.0,
    )


def etdrk3(symbol: Array, dt: Array | float) -> ExponentialRungeKutta:
    """Order 3, three evaluations a step."""
    z = symbol * dt
    phi1, phi2, phi3 = phi(1, z), phi(2, z), phi(3, z)
    half, full = jnp.exp(z / 2), jnp.exp(z)
    return ExponentialRungeKutta(
        stage_propagators=(half, full),
        stage_weights=((dt / 2 * phi(1, z / 2),), (-dt * phi1, 2 * dt * phi1)),
        propagator=full,
        weights=(
            dt * (phi1 - 3 * phi2 + 4 * phi3),
            dt * (4 * phi2 - 8 * phi3),
            dt * (4 * phi3 - phi2),
        ),
        imaginary=1.73,
    )


def etdrk4(symbol: Array, dt: Array | float) -> ExponentialRungeKutta:
    """Order 4, four evaluations a step: the cheapest choice for a given accuracy, and the
    default.
    """
    z = symbol * dt
    phi1, phi2, phi3 = phi(1, z), phi(2, z), phi(3, z)
    half, full = jnp.exp(z / 2), jnp.exp(z)
    quarter = dt / 2 * phi(1, z / 2)
    middle = dt * (2 * phi2 - 4 * phi3)
    return ExponentialRungeKutta(
        stage_propagators=(half, half, full),
        stage_weights=((quarter,), (None, quarter), ((half - 1) * quarter, None, 2 * quarter)),
        propagator=full,
        weights=(dt * (phi1 - 3 * phi2 + 4 * phi3), middle, middle, dt * (4 * phi3 - phi2)),
        imaginary=2.82,
    )


class ExponentialMultistep(Scheme):
    """u' = e^z u + dt [phi_1 N + phi_2 (N - N_before)], working variables (u, N_before)."""

    propagator: Array
    present: Array
    past: Array
    imaginary: ClassVar[float] = 0.7
    real: ClassVar[float] = inf
    remembers: ClassVar[bool] = True

    def start(self, state: Array, system: System) -> tuple[Array, Array]:
        # With N_before = N the first step is exponential Euler: its one error of dt^2 keeps the
        # order.
        return state, system.rates(state)

    def advance(self, working: tuple[Array, Array], system: System) -> tuple[Array, Array]:
        state, before = working
        slope = system.rates(state)
        weights = (self.present, self.past)
        return weighted_sum(self.propagator, state, weights, (slope, before)), slope

    def current(self, working: tuple[Array, Array]) -> Array:
        return working[0]


def etd_multistep(symbol: Array, dt: Array | float) -> ExponentialMultistep:
    """Order 2 with one evaluation a step: the cheapest step where stability, not accuracy, sets
    dt.
    """
    z = symbol * dt
    past = dt * phi(2, z)
    return ExponentialMultistep(propagator=jnp.exp(z), present=dt * phi(1, z) + past, past=-past)
