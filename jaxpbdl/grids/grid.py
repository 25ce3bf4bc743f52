"""What all grids share: axes of coordinates, a dtype, the check of a state, integrals."""

from collections.abc import Sequence
from math import prod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from jaxpbdl import checks

LARGEST_NDIM = 6
"""Axes of a grid: three of space and three of velocity."""


class Grid(eqx.Module):
    """Points of a box. Axis `i` of an array of values belongs to coordinate `i` (`values[ix, iy]`
    in two dimensions).
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    lengths: eqx.AbstractVar[tuple[float, ...]]
    dtype: eqx.AbstractVar[np.dtype]

    @property
    def lines(self) -> tuple[np.ndarray, ...]:
        """The coordinates of the points along each axis, in double precision."""
        raise NotImplementedError(f"{type(self).__name__} must define lines")

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """The part of each axis that belongs to each point along it."""
        raise NotImplementedError(f"{type(self).__name__} must define weights")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def volume(self) -> float:
        return prod(self.lengths)

    @property
    def axes(self) -> tuple[Float[Array, " _n"], ...]:
        """The coordinates of the points along each axis."""
        return tuple(jnp.asarray(line.astype(self.dtype)) for line in self.lines)

    @property
    def coordinates(self) -> tuple[Float[Array, "*grid"], ...]:
        """One array of the grid's shape per coordinate: `x, y = grid.coordinates`."""
        return tuple(jnp.meshgrid(*self.axes, indexing="ij"))

    @property
    def points(self) -> Float[Array, "*grid dim"]:
        """All points, coordinates last."""
        return jnp.stack(self.coordinates, axis=-1)

    def integral(self, values: Float[Array, "*value_and_grid"]) -> Float[Array, "*value"]:
        """Of values over the box, by the rule of the points' own volumes."""
        values = jnp.asarray(values)
        if values.shape[-self.ndim :] != self.shape:
            raise ValueError(f"values must end with the axes {self.shape}, got {values.shape}")
        for weights in reversed(self.weights):
            values = jnp.tensordot(values, jnp.asarray(weights, values.dtype), axes=1)
        return values

    def check_state(self, state: ArrayLike, value_shape: tuple[int, ...] = ()) -> Array:
        """`state` as an array of shape `value_shape + grid.shape` and of the grid's dtype, or an
        error.
        """
        checks.real("state", state)
        state = jnp.asarray(state)
        checks.shape("state", state, value_shape + self.shape)
        if state.dtype != self.dtype:
            raise ValueError(f"state must have the grid's dtype {self.dtype}, got {state.dtype}")
        return state


def shape_of(shape: int | Sequence[int], minimum: int = 1) -> tuple[int, ...]:
    """A shape of one to six axes, checked; an integer is one axis."""
    axes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if not 1 <= len(axes) <= LARGEST_NDIM:
        raise ValueError(f"shape must have 1 to {LARGEST_NDIM} axes, got {axes}")
    return tuple(checks.count("every entry of shape", n, minimum=minimum) for n in axes)


def one_per_axis(name: str, value: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    """One number for all axes, or one each."""
    values = np.asarray(value, float)
    values = np.full(ndim, values) if values.ndim == 0 else values
    if values.shape != (ndim,):
        raise ValueError(f"{name} must be one number or {ndim}, one per axis; got {value}")
    return tuple(values.tolist())


def float_dtype(dtype: DTypeLike | None) -> np.dtype:
    """float32 or float64, by default JAX's own default; float64 only where JAX computes in it."""
    dtype = jnp.dtype(jnp.zeros(()).dtype if dtype is None else dtype)
    if dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    if dtype == jnp.float64 and jax_default_is_single():
        raise ValueError("dtype float64 needs jax.config.update('jax_enable_x64', True) first")
    return dtype


def jax_default_is_single() -> bool:
    return jnp.zeros(()).dtype == jnp.float32


def outer(lines: Sequence[np.ndarray]) -> np.ndarray:
    """The product of one array per axis at all combinations."""
    product = np.ones(())
    for line in lines:
        product = np.multiply.outer(product, line)
    return product


def points_of(lines: Sequence[np.ndarray], dtype: DTypeLike) -> Array:
    """All combinations of coordinates, coordinates last."""
    return jnp.asarray(np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1), dtype)
