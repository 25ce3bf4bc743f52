"""The surface of a sphere: latitudes by longitudes.

Integrals over the sphere are sums over the points, with weights in latitude that are exact for
polynomials of the sine of the latitude: Gauss's nodes up to degree 2 n - 1, those of Clenshaw and
Curtis (Numer. Math. 2 (1960) 197), which are equally spaced and include the poles, up to n - 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jax.typing import DTypeLike

from jaxpbdl import checks
from jaxpbdl.grids.grid import Grid, float_dtype

PI = 4 * np.arctan(np.longdouble(1))
"""In the longest precision of the machine, as all tables are made."""


@runtime_checkable
class Latitudes(Protocol):
    """A rule for the latitudes of a grid and their weights."""

    def sines(self, count: int) -> np.ndarray:
        """Of `count` latitudes, from south to north."""
        ...

    def weights(self, count: int) -> np.ndarray:
        """Of the sum that is the integral over the sine, from -1 to 1."""
        ...

    def interpolations(self, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Matrices from values at these latitudes to those at as many of Gauss: of functions that
        go on over the pole with the same sign, and with the opposite one. None where the weights
        serve for the analysis as they are."""
        ...

    def highest(self, count: int) -> int:
        """The highest degree whose coefficients values at these latitudes determine."""
        ...

    def alias_free(self, count: int) -> int:
        """The highest degree at which products of two functions are analysed exactly."""
        ...

    def needed(self, truncation: int) -> int:
        """The fewest latitudes that are free of aliasing up to a degree."""
        ...


@dataclass(frozen=True)
class GaussLegendre:
    """The zeros of Legendre's polynomial: the fewest latitudes for a truncation; no poles."""

    def sines(self, count: int) -> np.ndarray:
        return _gauss(count)[0]

    def weights(self, count: int) -> np.ndarray:
        return _gauss(count)[1]

    def interpolations(self, count: int) -> None:
        return None

    def highest(self, count: int) -> int:
        return count - 1

    def alias_free(self, count: int) -> int:
        return (2 * count - 1) // 3

    def needed(self, truncation: int) -> int:
        return 2 * -(-(3 * truncation + 1) // 4)  # even, so that no point lies on the equator


@dataclass(frozen=True)
class Equiangular:
    """Equal steps from pole to pole, the poles included; weights of Clenshaw and Curtis.

    Functions are interpolated by cosines or sines of the angle from the pole before they are
    analysed, which is exact up to degree n - 2 (Swarztrauber, J. Comput. Phys. 34 (1979) 41).
    """

    def sines(self, count: int) -> np.ndarray:
        half = PI * (2 * np.arange(count) - (count - 1)) / (2 * np.longdouble(count - 1))
        return np.sin(half)

    def weights(self, count: int) -> np.ndarray:
        even, _ = self.interpolations(count)
        return _gauss(count)[1] @ even

    def interpolations(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        last = count - 1
        there = PI / 2 - np.arcsin(_gauss(count)[0])
        here = PI * np.arange(last, -1, -1) / np.longdouble(last)
        k = np.arange(count)
        ends = np.where((k == 0) | (k == last), np.longdouble(0.5), np.longdouble(1))
        cosines = (np.cos(np.outer(there, k)) * ends) @ (np.cos(np.outer(k, here)) * ends)
        sines = np.sin(np.outer(there, k[1:-1])) @ np.sin(np.outer(k[1:-1], here))
        return 2 * cosines / last, 2 * sines / last

    def highest(self, count: int) -> int:
        return count - 2  # The sine of the next degree is zero at all of them.

    def alias_free(self, count: int) -> int:
        return (count - 2) // 2

    def needed(self, truncation: int) -> int:
        return 2 * truncation + 2


gauss_legendre = GaussLegendre()
"""Latitudes at Gauss's nodes."""
equiangular = Equiangular()
"""Equally spaced latitudes with the poles."""


class Sphere(Grid):
    """Points of a sphere, `values[latitude, longitude]`: latitudes from south to north, longitudes
    from 0 to the east, both in radians.

    **Arguments**

    - `shape`: numbers of latitudes and of longitudes, at least 3 and 1.
    - `radius`: > 0.
    - `latitudes`: `gauss_legendre`, or `equiangular` with the poles.
    - `dtype`: float32 or float64; by default JAX's own default.

    **Raises** ValueError for an entry of `shape` that is too small, a radius that is not above 0,
    and float64 where JAX computes in float32.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    radius: float = eqx.field(static=True)
    latitudes: Latitudes = eqx.field(static=True)
    lengths: tuple[float, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        radius: float = 1.0,
        latitudes: Latitudes = gauss_legendre,
        dtype: DTypeLike | None = None,
    ):
        if len(shape) != 2:
            raise ValueError(f"shape must be (latitudes, longitudes), got {tuple(shape)}")
        rows = checks.count("shape[0], the latitudes,", shape[0], 3)
        self.shape = rows, checks.count("shape[1], the longitudes,", shape[1])
        checks.positive("radius", radius)
        self.radius, self.latitudes = float(radius), latitudes
        self.lengths = (float(PI), float(2 * PI))
        self.dtype = float_dtype(dtype)

    @property
    def lines(self) -> tuple[np.ndarray, ...]:
        """Latitudes and longitudes in radians, in double precision."""
        rows, columns = self.shape
        north = np.arcsin(self.latitudes.sines(rows)).astype(float)
        return north, 2 * np.pi * np.arange(columns) / columns

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Of the integral over the surface."""
        rows, columns = self.shape
        north = self.latitudes.weights(rows).astype(float)
        return self.radius**2 * north, np.full(columns, 2 * np.pi / columns)

    @property
    def volume(self) -> float:
        """The area of the surface."""
        return 4 * np.pi * self.radius**2

    @property
    def highest_degree(self) -> int:
        """The highest truncation whose coefficients the points determine."""
        return min(self.latitudes.highest(self.shape[0]), (self.shape[1] - 1) // 2)

    @property
    def alias_free(self) -> int:
        """The highest truncation at which products of two functions are free of aliasing."""
        return min(self.latitudes.alias_free(self.shape[0]), (self.shape[1] - 1) // 3)


def sphere_for(
    truncation: int,
    radius: float = 1.0,
    latitudes: Latitudes = gauss_legendre,
    dtype: DTypeLike | None = None,
) -> Sphere:
    """The smallest usual grid that is free of aliasing at a triangular truncation: 64 x 128 for 42
    at Gauss's latitudes.

    **Arguments**

    - `truncation`: the highest degree, at least 1; the others as of `Sphere`.
    """
    checks.count("truncation", truncation)
    return Sphere(
        (latitudes.needed(truncation), _fast(3 * truncation + 1)), radius, latitudes, dtype
    )


def _fast(least: int) -> int:
    """The next even number with no prime factor above 5."""
    size = least + least % 2
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 2


def _gauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's nodes from -1 to 1 and their weights, by Newton's method."""
    x = -np.cos(PI * (np.arange(count) + np.longdouble(0.75)) / (count + np.longdouble(0.5)))
    slope = np.ones_like(x)
    for _ in range(6):
        before, value = np.zeros_like(x), np.ones_like(x)
        for n in range(1, count + 1):
            before, value = value, ((2 * n - 1) * x * value - (n - 1) * before) / n
        slope = count * (before - x * value) / ((1 - x) * (1 + x))
        x = x - value / slope
    return x, 2 / ((1 - x) * (1 + x) * slope**2)
