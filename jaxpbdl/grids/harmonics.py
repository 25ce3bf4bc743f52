"""Spherical harmonics: transforms, winds and potentials, Laplacian, gradient.

    f(latitude, longitude) = sum_m sum_{n >= |m|} c[m, n] P_n^m(sin latitude) exp(i m longitude)

up to a highest degree n (triangular truncation), with the orders m >= 0 alone of a real field. The
functions are normalised so that the mean of P^2 over the sine is one, without the sign (-1)^m:
`c[0, 0]` is the mean over the sphere, and the mean square is the sum of |c|^2 over all m. The
tables are made by the recurrence over the degree at fixed order, which is stable (Holmes and
Featherstone, J. Geodesy 76 (2002) 279). Vectors by the slopes of the functions and by m P / cos,
from neighbouring orders, which are finite at the poles (Swarztrauber, SIAM J. Numer. Anal. 16
(1979) 934).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

from jaxpbdl import checks
from jaxpbdl.grids.spectrum import constant, scaled
from jaxpbdl.grids.sphere import Sphere, gauss_legendre


class Basis(eqx.Module):
    """The functions of latitude `P`, `m P / cos` and `dP / d latitude`."""

    value: tuple[Array, Array]
    along: tuple[Array, Array]
    slope: tuple[Array, Array]


class SphericalHarmonics(eqx.Module):
    """Transforms of a sphere, and what is diagonal in them.

    Fields have the shape `(*value, latitudes, longitudes)`, coefficients `(*value, order, degree)`
    with `truncation + 1` of both, zero where the degree is below the order.

    **Arguments**

    - `grid`: the points.
    - `truncation`: the highest degree; by default the highest that is free of aliasing in products
      of two fields.

    **Attributes**

    - `mask`: 1 where the degree is at least the order.
    - `k_squared`: minus the eigenvalues of the Laplacian, n (n + 1) / radius^2, one a degree.
    - `inverse_k_squared`: its inverse, 0 for the mean.

    **Raises** ValueError for a truncation that the grid cannot hold.
    """

    trainable_fields = ()

    grid: Sphere
    truncation: int = eqx.field(static=True)
    mask: Float[Array, "orders degrees"]
    k_squared: Float[Array, " degrees"]
    inverse_k_squared: Float[Array, " degrees"]
    synthesis: Basis
    analysis: Basis
    weights: Float[Array, " half"]

    def __init__(self, grid: Sphere, truncation: int | None = None):
        truncation = grid.alias_free if truncation is None else checks.count(
            "truncation", truncation, 0
        )  # fmt: skip
        if truncation > grid.highest_degree:
            raise ValueError(
                f"truncation must be at most {grid.highest_degree} on {grid.shape[0]} latitudes "
                f"and {grid.shape[1]} longitudes, got {truncation}"
            )
        self.grid, self.truncation = grid, truncation
        n = np.arange(truncation + 1)
        squared = n * (n + 1) / grid.radius**2
        self.mask = constant((n >= n[:, None]).astype(float), grid)
        self.k_squared = constant(squared, grid)
        safe = np.where(n == 0, 1.0, squared)
        self.inverse_k_squared = constant(np.where(n == 0, 0.0, 1 / safe), grid)
        rows = grid.shape[0]
        north = slice(rows // 2, None)
        sines = grid.latitudes.sines(rows)
        self.synthesis = _basis(legendre_functions(truncation, sines[north]), grid)
        share = np.ones(rows)
        if rows % 2:
            share[rows // 2] = 0.5  # The equator is counted from both sides.
        interpolations = grid.latitudes.interpolations(rows)
        if interpolations is None:
            self.analysis = self.synthesis
            self.weights = constant((grid.latitudes.weights(rows) * share / 2)[north], grid)
        else:
            tables = _interpolated(legendre_functions(truncation, gauss_legendre.sines(rows)),
                                   gauss_legendre.weights(rows), interpolations)  # fmt: skip
            self.analysis = _basis(tuple(table[..., north] for table in tables), grid)
            self.weights = constant((share / 2)[north], grid)

    @property
    def modes(self) -> tuple[int, int]:
        """Shape of the coefficients of one scalar field."""
        return self.truncation + 1, self.truncation + 1

    @property
    def orders(self) -> Float[Array, "orders 1"]:
        """The wavenumber along longitude of each row of coefficients."""
        return constant(np.arange(self.truncation + 1.0)[:, None], self.grid)

    @property
    def laplacian(self) -> Float[Array, " degrees"]:
        """The eigenvalues of the Laplacian, zero or negative."""
        return -self.k_squared

    def transform(
        self, values: Float[Array, "*value latitudes longitudes"]
    ) -> Complex[Array, "*value orders degrees"]:
        """Coefficients of a field."""
        return self._analysed(self.analysis.value, self._waves(values), 1)

    to_modes = transform

    def truncate(
        self, modes: Complex[Array, "*value orders degrees"]
    ) -> Complex[Array, "*value orders degrees"]:
        """The coefficients as they are: all that are kept lie within the truncation."""
        return modes

    def to_grid(
        self, modes: Complex[Array, "*value orders degrees"]
    ) -> Float[Array, "*value latitudes longitudes"]:
        """The field of coefficients."""
        return self._points(self._summed(self.synthesis.value, modes, 1))

    def vector_to_grid(
        self,
        potential: Complex[Array, "*value orders degrees"],
        stream: Complex[Array, "*value orders degrees"],
    ) -> tuple[
        Float[Array, "*value latitudes longitudes"], Float[Array, "*value latitudes longitudes"]
    ]:
        """East and north components of the vector `grad potential + k x grad stream`, k up."""
        both = jnp.stack([potential, stream])
        along = self._summed(self.synthesis.along, both, 1)
        slope = self._summed(self.synthesis.slope, both, -1)
        parts = jnp.stack([1j * along[0] - slope[1], 1j * along[1] + slope[0]])
        east, north = self._points(parts) / self.grid.radius
        return east, north

    def gradient(
        self, modes: Complex[Array, "*value orders degrees"]
    ) -> tuple[
        Float[Array, "*value latitudes longitudes"], Float[Array, "*value latitudes longitudes"]
    ]:
        """East and north components of the gradient of a field."""
        along = 1j * self._summed(self.synthesis.along, modes, 1)
        slope = self._summed(self.synthesis.slope, modes, -1)
        east, north = self._points(jnp.stack([along, slope])) / self.grid.radius
        return east, north

    def winds(
        self,
        vorticity: Complex[Array, "*value orders degrees"],
        divergence: Complex[Array, "*value orders degrees"],
    ) -> tuple[
        Float[Array, "*value latitudes longitudes"], Float[Array, "*value latitudes longitudes"]
    ]:
        """East and north wind of given vorticity and divergence; the means of these, which no wind
        has, are of no account."""
        return self.vector_to_grid(
            self.inverse_laplacian(divergence), self.inverse_laplacian(vorticity)
        )

    def vorticity_divergence(
        self,
        east: Float[Array, "*value latitudes longitudes"],
        north: Float[Array, "*value latitudes longitudes"],
    ) -> tuple[Complex[Array, "*value orders degrees"], Complex[Array, "*value orders degrees"]]:
        """Coefficients of the vorticity and of the divergence of a vector field."""
        both = self._waves(jnp.stack([east, north]))
        along = 1j * self._analysed(self.analysis.along, both, 1)
        slope = self._analysed(self.analysis.slope, both, -1)
        radius = self.grid.radius
        return (along[1] + slope[0]) / radius, (along[0] - slope[1]) / radius

    def potentials(
        self,
        east: Float[Array, "*value latitudes longitudes"],
        north: Float[Array, "*value latitudes longitudes"],
    ) -> tuple[Complex[Array, "*value orders degrees"], Complex[Array, "*value orders degrees"]]:
        """Coefficients of stream function and velocity potential of winds, of mean zero."""
        vorticity, divergence = self.vorticity_divergence(east, north)
        return self.inverse_laplacian(vorticity), self.inverse_laplacian(divergence)

    def inverse_laplacian(
        self, modes: Complex[Array, "*value orders degrees"]
    ) -> Complex[Array, "*value orders degrees"]:
        """Coefficients of the field of mean zero whose Laplacian these are."""
        return scaled(-self.inverse_k_squared, modes)

    def mean_product(
        self, first: Complex[Array, "orders degrees"], second: Complex[Array, "orders degrees"]
    ) -> Float[Array, ""]:
        """The mean over the sphere of the product of two fields."""
        twice = jnp.full((self.truncation + 1, 1), 2.0, self.grid.dtype).at[0].set(1.0)
        return jnp.sum(twice * (first * jnp.conj(second)).real)

    def _waves(self, values: Array) -> Array:
        """Coefficients along longitude, `(*value, latitudes, orders)`."""
        rows, columns = self.grid.shape
        if values.shape[-2:] != (rows, columns):
            raise ValueError(f"values must end with the axes {(rows, columns)}, got {values.shape}")
        return jnp.fft.rfft(values)[..., : self.truncation + 1] / columns

    def _points(self, waves: Array) -> Array:
        """Values of coefficients along longitude."""
        columns = self.grid.shape[1]
        return jnp.fft.irfft(waves, n=columns) * columns

    def _signs(self, parity: int) -> Array:
        """What functions of even degree do across the equator, by the order."""
        return constant(parity * (-1.0) ** np.arange(self.truncation + 1), self.grid)

    def _summed(self, table: tuple[Array, Array], modes: Array, parity: int) -> Array:
        """Sums over the degree, `(*value, latitudes, orders)`. The functions of even degree have
        one parity about the equator, those of odd degree the other: one hemisphere is enough."""
        even, odd = (
            _product("mnj,...mn->...jm", part, modes[..., first::2])
            for first, part in enumerate(table)
        )
        south = self._signs(parity) * (even - odd)
        south = jnp.flip(south[..., self.grid.shape[0] % 2 :, :], -2)
        return jnp.concatenate([south, even + odd], -2)

    def _analysed(self, table: tuple[Array, Array], waves: Array, parity: int) -> Array:
        """Integrals over latitude, `(*value, orders, degrees)`."""
        half = len(self.weights)
        north, south = waves[..., -half:, :], jnp.flip(waves[..., :half, :], -2)
        north, south = (scaled(self.weights[:, None], part) for part in (north, south))
        south = self._signs(parity) * south
        even = _product("mnj,...jm->...mn", table[0], north + south)
        odd = _product("mnj,...jm->...mn", table[1], north - south)
        if odd.shape[-1] < even.shape[-1]:
            odd = jnp.pad(odd, [*[(0, 0)] * (odd.ndim - 1), (0, 1)])
        woven = jnp.stack([even, odd], -1)
        return woven.reshape(*even.shape[:-1], -1)[..., : self.truncation + 1]


def resized(
    modes: Complex[Array, "*value orders degrees"], truncation: int
) -> Complex[Array, "*value more_orders more_degrees"]:
    """Coefficients at another truncation: cut off, or with zeros added.

    **Raises** ValueError for a negative truncation.
    """
    size = checks.count("truncation", truncation, 0) + 1
    modes = modes[..., :size, :size]
    missing = size - modes.shape[-1]
    return jnp.pad(modes, [*[(0, 0)] * (modes.ndim - 2), (0, missing), (0, missing)])


def legendre_functions(truncation: int, sines: np.ndarray) -> tuple[np.ndarray, ...]:
    """Normalised associated Legendre functions `P`, with `m P / cos` and `dP / d latitude`.

    **Arguments**

    - `truncation`: the highest degree.
    - `sines`: of the latitudes, in the precision of the result.

    **Returns** three arrays `(order, degree, latitude)`, zero where the degree is below the order.
    """
    size = truncation + 1
    cosines = np.sqrt((1 - sines) * (1 + sines))
    m = np.arange(size, dtype=sines.dtype)[:, None]
    value = np.zeros((size + 1, size, len(sines)), sines.dtype)  # an order more, all zero
    value[0, 0] = 1
    for n in range(1, size):
        value[n, n] = np.sqrt((2 * m[n] + 1) / (2 * m[n])) * cosines * value[n - 1, n - 1]
        below = m[:n]
        before = value[:n, n - 2] if n > 1 else 0
        value[:n, n] = (sines * value[:n, n - 1] - _ratio(n - 1, below) * before) / _ratio(n, below)
    # Orders m + 1 and m - 1, of which -1 is minus the order 1.
    n = np.arange(size, dtype=sines.dtype)[None, :]
    above = value[1:]
    under = np.concatenate([-value[1:2], value[:-2]]) if size > 1 else np.zeros_like(above)
    up, down = np.sqrt(np.maximum((n - m) * (n + m + 1), 0)), np.sqrt(
        np.maximum((n + m) * (n - m + 1), 0)
    )  # fmt: skip
    slope = (up[..., None] * above - down[..., None] * under) / 2
    up, down = np.sqrt(np.maximum((n - m) * (n - m - 1), 0)), np.sqrt(
        np.maximum((n + m) * (n + m - 1), 0)
    )  # fmt: skip
    scale = np.sqrt((2 * n + 1) / np.maximum(2 * n - 1, 1)) / 2
    along = np.zeros_like(slope)
    along[:, 1:] = (scale * up)[:, 1:, None] * above[:, :-1]
    along[:, 1:] += (scale * down)[:, 1:, None] * under[:, :-1]
    inside = (n >= m)[..., None]
    return value[:-1], along * inside, slope * inside


def _ratio(n: int, m: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum((n - m) * (n + m), 0) / np.maximum(4 * n**2 - 1, 1))


def _interpolated(
    tables: tuple[np.ndarray, ...],
    weights: np.ndarray,
    interpolations: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, ...]:
    """What stands before values at other latitudes in integrals against the functions. Scalars of
    even order go on over the pole with the same sign, components of vectors with the opposite."""
    even, odd = (each.astype(float) for each in interpolations)
    found = []
    for table, (first, second) in zip(tables, ((even, odd), (odd, even), (odd, even)), strict=True):
        weighted = (table * weights).astype(float)
        result = np.empty((*table.shape[:2], even.shape[1]))
        result[::2], result[1::2] = weighted[::2] @ first, weighted[1::2] @ second
        found.append(result)
    return tuple(found)


def _basis(tables: tuple[np.ndarray, ...], grid: Sphere) -> Basis:
    parts = ((constant(t[:, ::2], grid), constant(t[:, 1::2], grid)) for t in tables)
    return Basis(*parts)


def _product(indices: str, table: Array, values: Array) -> Array:
    """One matrix product for each order, of a real table and complex values: half the work."""
    parts = jnp.stack([values.real, values.imag])
    real, imaginary = jnp.einsum(indices, table, parts, precision=lax.Precision.HIGHEST)
    return lax.complex(real, imaginary)
