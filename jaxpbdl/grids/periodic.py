"""Equidistant points of a periodic box."""

from collections.abc import Sequence
from math import tau

import equinox as eqx
import numpy as np
from jax.typing import DTypeLike

from jaxpbdl import checks
from jaxpbdl.grids.grid import Grid, float_dtype, one_per_axis, shape_of


class Periodic(Grid):
    """Equidistant points of a periodic box.

    The points along an axis are `origin + j * length / n`, j = 0..n-1; the point at `origin +
    length` is the first one again.

    **Arguments:**

    - `shape`: points along each axis, any sizes of at least 1, one to six axes.
    - `lengths`: side lengths of the box, one number for all axes or one each. Default 2 pi.
    - `origin`: coordinates of the first point, one number or one each. Default 0.
    - `dtype`: float32 or float64; by default JAX's own default.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    lengths: tuple[float, ...] = eqx.field(static=True)
    origin: tuple[float, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        shape: int | Sequence[int],
        lengths: float | Sequence[float] = tau,
        origin: float | Sequence[float] = 0.0,
        dtype: DTypeLike | None = None,
    ):
        self.shape = shape_of(shape)
        self.lengths = one_per_axis("lengths", lengths, len(self.shape))
        self.origin = one_per_axis("origin", origin, len(self.shape))
        checks.positive("lengths", self.lengths)
        checks.finite("origin", self.origin)
        self.dtype = float_dtype(dtype)

    @property
    def spacing(self) -> tuple[float, ...]:
        return tuple(length / n for length, n in zip(self.lengths, self.shape, strict=True))

    @property
    def lines(self) -> tuple[np.ndarray, ...]:
        """The coordinates of the points along each axis, in double precision."""
        return tuple(
            start + step * np.arange(n)
            for start, step, n in zip(self.origin, self.spacing, self.shape, strict=True)
        )

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """The spacing, at every point along each axis."""
        return tuple(np.full(n, step) for n, step in zip(self.shape, self.spacing, strict=True))

    def resized(self, shape: int | Sequence[int]) -> "Periodic":
        """The same box with another number of points."""
        shape = (shape,) * self.ndim if isinstance(shape, int) else shape
        return Periodic(shape, self.lengths, self.origin, self.dtype)
