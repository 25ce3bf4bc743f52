"""Periodic boxes: points, spacing and wavenumbers in one, two or three dimensions."""

from collections.abc import Sequence
from math import prod, tau
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks


class Periodic(eqx.Module):
    """Equidistant points of a periodic box.

    Axis `i` of an array belongs to coordinate `i` (`values[ix, iy]` in two dimensions) and its
    points are `origin + j * length / n`, j = 0..n-1; the point at `origin + length` is the first
    one again.

    **Arguments:**

    - `shape`: points along each axis, any sizes of at least 1 (1D to 3D).
    - `lengths`: side lengths of the box, one number for all axes or one each. Default 2 pi.
    - `origin`: coordinates of the first point, one number or one each. Default 0.
    - `dtype`: float32 or float64; by default JAX's own default.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    lengths: tuple[float, ...] = eqx.field(static=True)
    origin: tuple[float, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)

    def __init__(
        self,
        shape: int | Sequence[int],
        lengths: float | Sequence[float] = tau,
        origin: float | Sequence[float] = 0.0,
        dtype: Any = None,
    ):
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        if not 1 <= len(shape) <= 3:
            raise ValueError(f"shape must have 1 to 3 axes, got {shape}")
        for points in shape:
            checks.count("every entry of shape", points)
        self.shape = tuple(int(points) for points in shape)
        self.lengths = one_per_axis("lengths", lengths, len(shape))
        self.origin = one_per_axis("origin", origin, len(shape))
        checks.positive("lengths", self.lengths)
        checks.finite("origin", self.origin)
        self.dtype = jnp.dtype(jnp.zeros(()).dtype if dtype is None else dtype)
        if self.dtype == jnp.float64 and jnp.zeros((), jnp.float64).dtype != jnp.float64:
            raise ValueError("dtype float64 needs jax.config.update('jax_enable_x64', True) first")
        if self.dtype not in (jnp.float32, jnp.float64):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        return tuple(length / n for length, n in zip(self.lengths, self.shape, strict=True))

    @property
    def volume(self) -> float:
        return prod(self.lengths)

    @property
    def axes(self) -> tuple[Float[Array, " n"], ...]:
        """The coordinates of the points along each axis."""
        return tuple(
            jnp.asarray((start + step * np.arange(n)).astype(self.dtype))
            for start, step, n in zip(self.origin, self.spacing, self.shape, strict=True)
        )

    @property
    def coordinates(self) -> tuple[Float[Array, "*grid"], ...]:
        """One array of the grid's shape per coordinate: `x, y = grid.coordinates`."""
        return tuple(jnp.meshgrid(*self.axes, indexing="ij"))

    @property
    def points(self) -> Float[Array, "*grid dim"]:
        """All points, coordinates last."""
        return jnp.stack(self.coordinates, axis=-1)

    def resized(self, shape: int | Sequence[int]) -> "Periodic":
        """The same box with another number of points."""
        shape = (shape,) * self.ndim if isinstance(shape, int) else shape
        return Periodic(shape, self.lengths, self.origin, self.dtype)

    def modes(self, axis: int) -> np.ndarray:
        """Mode numbers m along `axis`, integers, in the order of the real transform over all axes.

        The last axis holds the half m = 0..n//2, the others m = 0, 1, .., -1.
        """
        n = self.shape[axis]
        frequencies = np.fft.rfftfreq(n) if axis == self.ndim - 1 else np.fft.fftfreq(n)
        return np.rint(n * frequencies).astype(int)

    def wavenumbers(self, axis: int) -> np.ndarray:
        """Wavenumbers 2 pi m / length along `axis`, in the order of `modes`."""
        return tau / self.lengths[axis] * self.modes(axis)

    def is_nyquist(self, axis: int) -> np.ndarray:
        """Marks the mode of an even axis that is its own mirror image, where odd derivatives
        vanish.
        """
        n = self.shape[axis]
        return (2 * np.abs(self.modes(axis)) == n) & (n > 1)

    def check_state(self, state: Any, value_shape: tuple[int, ...] = ()) -> Array:
        """`state` as an array of shape `value_shape + grid.shape` and of the grid's dtype, or an
        error.
        """
        checks.real("state", state)
        state = jnp.asarray(state)
        checks.shape("state", state, value_shape + self.shape)
        if state.dtype != self.dtype:
            raise ValueError(f"state must have the grid's dtype {self.dtype}, got {state.dtype}")
        return state


def one_per_axis(name: str, value: Any, ndim: int) -> tuple[float, ...]:
    values = (float(value),) * ndim if np.ndim(value) == 0 else tuple(float(v) for v in value)
    if len(values) != ndim:
        raise ValueError(f"{name} must be one number or {ndim}, one per axis; got {value}")
    return values
