"""One-dimensional and flame-front equations with high derivatives: Korteweg-de Vries,
Kuramoto-Sivashinsky.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Parameter, parameter, require_ndim
from jaxpbdl.equations.semilinear import SemilinearEquation, advective_rate
from jaxpbdl.fields import Field, at_time, gradient, laplacian, partial, time_derivative
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.spectrum import Spectrum, scaled


class KortewegDeVries(SemilinearEquation):
    """du/dt + advection u du/dx + dispersion d^3u/dx^3 = 0: solitons. One dimension.

    The defaults are the form of soliton theory, u_t + 6 u u_x + u_xxx = 0.
    """

    advection: Parameter = parameter(default=6.0)
    dispersion: Parameter = parameter(default=1.0)

    def __check_init__(self):
        checks.finite("advection", self.advection)
        checks.finite("dispersion", self.dispersion)

    def check_grid(self, grid: Grid) -> None:
        require_ndim(self, grid, 1)

    def symbol(self, spectrum: Spectrum) -> Array:
        return 1j * self.dispersion * spectrum.k[0] ** 3

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        square = spectrum.transform(spectrum.to_grid(modes) ** 2)
        return scaled(-0.5 * self.advection, spectrum.derivative(square, 0))

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        transport = self.advection * field(point) * partial(field, 0)(point)
        return (
            time_derivative(field)(point)
            + transport
            + self.dispersion * partial(field, 0, 3)(point)
        )

    def space_time_flux(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """(advection u^2 / 2 + dispersion d^2u/dx^2, u)."""
        u, bending = field(point), partial(field, 0, 2)(point)
        return jnp.stack([self.advection * u**2 / 2 + self.dispersion * bending, u])

    def transport_rate(self, state: Array, spectrum: Spectrum) -> Array:
        # Solitons rise to at most twice the largest value of the state they come from.
        return advective_rate([2 * jnp.abs(self.advection) * jnp.max(jnp.abs(state))], spectrum.k)

    def two_solitons(
        self, x: Float[Array, " n"], time: float, rates: tuple[float, float]
    ) -> Float[Array, " n"]:
        """Exact two-soliton solution u = 2 d^2 log(tau)/dx^2 on the line, for the default
        coefficients.

        Far apart each soliton is k^2/2 sech^2(k (x - k^2 t) / 2) and the collision moves them by
        +2 ln((k1+k2)/(k1-k2)) / k1 and -2 ln((k1+k2)/(k1-k2)) / k2, against tau = 1 + e1 + e2 + A
        e1 e2 (Hirota, Phys. Rev. Lett. 27 (1971) 1192). `rates` are (k1, k2).
        """
        (first, second), shift = rates, ((rates[0] - rates[1]) / (rates[0] + rates[1])) ** 2
        phases = [k * (x - k**2 * time) for k in (first, second)]
        # Terms of tau as exponentials of (slope, exponent): the largest is divided out so that none
        # overflows.
        slopes = jnp.asarray([0.0, first, second, first + second])
        exponents = jnp.stack([jnp.zeros_like(x), *phases, sum(phases) + jnp.log(shift)])
        terms = jnp.exp(exponents - jnp.max(exponents, axis=0))
        moment = [jnp.tensordot(slopes**power, terms, axes=1) for power in range(3)]
        return 2 * (moment[2] / moment[0] - (moment[1] / moment[0]) ** 2)


class KuramotoSivashinsky(SemilinearEquation):
    """Spatio-temporal chaos of flame fronts.

    One dimension: du/dt + advection u du/dx + growth d^2u/dx^2 + damping d^4u/dx^4 = 0, u the slope
    of the front. Two or three: dh/dt + advection |grad h|^2 / 2 + growth lap h + damping lap^2 h =
    0, h the front itself.
    """

    advection: Parameter = parameter(default=1.0)
    growth: Parameter = parameter(default=1.0)
    damping: Parameter = parameter(default=1.0)

    def __check_init__(self):
        checks.finite("advection", self.advection)
        checks.finite("growth", self.growth)
        checks.positive("damping", self.damping)

    def symbol(self, spectrum: Spectrum) -> Array:
        return self.growth * spectrum.k_squared - self.damping * spectrum.k_squared**2

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        if spectrum.grid.ndim == 1:
            square = spectrum.transform(spectrum.to_grid(modes) ** 2)
            return scaled(-0.5 * self.advection, spectrum.derivative(square, 0))
        slopes = spectrum.to_grid(spectrum.gradient(modes))
        return -0.5 * self.advection * spectrum.transform(jnp.sum(slopes**2, axis=0))

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        position, snapshot = point[:-1], at_time(field, point[-1])
        slopes = gradient(snapshot)(position)
        transport = field(point) * slopes[0] if len(position) == 1 else 0.5 * jnp.sum(slopes**2)
        curvature = laplacian(snapshot)
        return (
            time_derivative(field)(point)
            + self.advection * transport
            + self.growth * curvature(position)
            + self.damping * laplacian(curvature)(position)
        )

    def transport_rate(self, state: Array, spectrum: Spectrum) -> Array:
        speed = (
            state
            if spectrum.grid.ndim == 1
            else spectrum.to_grid(spectrum.gradient(spectrum.transform(state)))
        )
        fastest = jnp.max(jnp.abs(speed.reshape(spectrum.grid.ndim, -1)), axis=1)
        return advective_rate(jnp.abs(self.advection) * fastest, spectrum.k)
