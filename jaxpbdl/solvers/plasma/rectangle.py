"""The nodes of a rectangle in the poloidal plane, its sides included, and values between them."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.grid import Grid, float_dtype, shape_of

NODES = 6
"""Nodes along each axis that an interpolated value is made of."""
MIDDLE = (NODES - 1) / 2


class Rectangle(Grid):
    """Equidistant nodes in major radius R (first axis) and height Z (second), the sides of the
    rectangle included.

    **Arguments:**

    - `shape`: nodes along R and Z, at least 8 each.
    - `lower`, `upper`: the corners `(R, Z)` in metres; R is above zero.
    - `dtype`: float32 or float64; by default JAX's own default.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    lower: tuple[float, float] = eqx.field(static=True)
    upper: tuple[float, float] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        lower: Sequence[float],
        upper: Sequence[float],
        *,
        dtype: DTypeLike | None = None,
    ):
        """Raises ValueError for fewer than 8 nodes along an axis, another number of axes than two,
        a radius that is not above zero and corners out of order."""
        self.shape = shape_of(shape, minimum=8)
        checks.shape("shape", self.shape, (2,))
        for name, corner in (("lower", lower), ("upper", upper)):
            checks.shape(name, corner, (2,))
            checks.finite(name, corner)
        self.lower = (float(lower[0]), float(lower[1]))
        self.upper = (float(upper[0]), float(upper[1]))
        checks.positive("lower[0], the smallest radius,", self.lower[0])
        if not (self.upper[0] > self.lower[0] and self.upper[1] > self.lower[1]):
            raise ValueError(f"upper must be above lower = {self.lower}, got {self.upper}")
        self.dtype = float_dtype(dtype)

    @property
    def lengths(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The sides."""
        return tuple(u - low for u, low in zip(self.upper, self.lower, strict=True))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Between nodes along R and Z."""
        return tuple(side / (n - 1) for side, n in zip(self.lengths, self.shape, strict=True))

    @property
    def lines(self) -> tuple[np.ndarray, ...]:
        """R and Z of the nodes, in double precision."""
        ends = zip(self.lower, self.upper, self.shape, strict=True)
        return tuple(np.linspace(a, b, n) for a, b, n in ends)

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Those of the trapezoidal rule."""
        weights = [np.full(n, h) for n, h in zip(self.shape, self.spacing, strict=True)]
        for line in weights:
            line[[0, -1]] /= 2
        return tuple(weights)

    @property
    def radius(self) -> Float[Array, "nr 1"]:
        """R of the nodes, for products with values at them."""
        return self.axes[0][:, None]

    @property
    def frame(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices along R and Z of the nodes on the sides, each once."""
        on_side = np.ones(self.shape, bool)
        on_side[1:-1, 1:-1] = False
        first, second = np.nonzero(on_side)
        return first, second

    def at(self, values: Float[Array, "nr nz"], point: Float[Array, "2"]) -> Float[Array, ""]:
        """A value between the nodes: the polynomial through the 6 x 6 nodes about the point, of
        order six. Derivatives with respect to the point are those of the polynomial."""
        return self.expansion(values, point)[0]

    @eqx.filter_jit
    def at_each(
        self, values: Float[Array, "nr nz"], points: Float[Array, "*many 2"]
    ) -> Float[Array, "*many"]:
        """`at` of many points."""
        found = jax.vmap(lambda point: self.at(values, point))(points.reshape(-1, 2))
        return found.reshape(points.shape[:-1])

    def gradient_at(
        self, values: Float[Array, "nr nz"], point: Float[Array, "2"]
    ) -> Float[Array, "2"]:
        """The derivatives along R and Z at a point, of the same polynomial."""
        return self.expansion(values, point)[1]

    def expansion(
        self, values: Float[Array, "nr nz"], point: Float[Array, "2"]
    ) -> tuple[Float[Array, ""], Float[Array, "2"], Float[Array, "2 2"]]:
        """Value, gradient and Hessian at a point, of the same polynomial."""
        place = (point - jnp.asarray(self.lower, self.dtype)) / jnp.asarray(
            self.spacing, self.dtype
        )
        limits = jnp.asarray([n - NODES for n in self.shape])
        first = lax.stop_gradient(jnp.floor(place)).astype(int) - (NODES // 2 - 1)
        first = jnp.clip(first, 0, limits)
        near = lax.dynamic_slice(values, (first[0], first[1]), (NODES, NODES))
        inside = place - first - MIDDLE
        across, along = (JETS.astype(self.dtype) @ powers(inside[axis]) for axis in (0, 1))
        jet = across @ near @ along.T
        hr, hz = self.spacing
        mixed = jet[1, 1] / (hr * hz)
        hessian = jnp.stack([jet[2, 0] / hr**2, mixed, mixed, jet[0, 2] / hz**2])
        return jet[0, 0], jnp.stack([jet[1, 0] / hr, jet[0, 1] / hz]), hessian.reshape(2, 2)


def powers(place: Float[Array, ""]) -> Float[Array, "6"]:
    """`1, t, .., t^5`."""
    result = [jnp.ones_like(place)]
    for _ in range(NODES - 1):
        result.append(result[-1] * place)
    return jnp.stack(result)


def jets() -> np.ndarray:
    """From the powers of the place to the weights of the six nodes for value, slope and second
    derivative, in units of the spacing."""
    nodes = np.arange(NODES) - MIDDLE
    to_weights = np.linalg.inv(np.vander(nodes, increasing=True)).T
    derivative = np.diag(np.arange(1.0, NODES), -1)
    return np.stack([to_weights, to_weights @ derivative, to_weights @ derivative @ derivative])


JETS = jets()
