"""The spectral side of a grid: transforms, Laplacian, derivatives, dealiasing, resampling.

Along periodic axes coefficients follow `numpy.fft.rfftn`, unnormalised, with half the modes on the
last of them; along axes between walls they are those of cosines or sines (see `grids.walls`).
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Complex, Float

from jaxpbdl.distributed import transforms
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.walls import Wall, WallBasis


def highest_kept(n: int, keep: float) -> int:
    """The highest mode number of an axis of `n` points that dealiasing keeps: the largest integer
    strictly below `keep * n / 2`, or `n // 2` for `keep = 1`.

    Strictly, since a mode at exactly n/3 still aliases onto its mirror image; and in integers,
    since `keep * n / 2` in floating point falls on either side of an integer as rounding has it.
    """
    if keep == 1:
        return n // 2
    share = Fraction(keep).limit_denominator(1000)
    return max(share.numerator * n - 1, 0) // (2 * share.denominator)


Sides = Sequence[None | Wall | tuple[Wall, Wall]]
"""One entry per axis: the lower and the upper wall, one for both, or None for a periodic axis."""


class Spectrum(eqx.Module):
    """Transforms of a grid and what is diagonal in them, with the modes beyond the dealiasing limit
    removed.

    **Arguments:**

    - `grid`: periodic points; or equidistant cells, whose axes without a period are bounded by
      walls.
    - `keep`: fraction of the modes per axis that survive, 1 for all. A product of `p` fields
      is free of aliasing with `keep = 2 / (p + 1)` (Orszag 1971): 2/3 for quadratic, 1/2 for cubic
      terms.
    - `sides`: what the walls of a box of cells do, no flux by default.
    - `mesh`: devices that share the box (`distributed.space_mesh`); values and coefficients are
      split over them. Of the coefficients there are only those that survive, so that devices
      exchange no others (in each direction 2/3 of them for quadratic terms), filled up with zeros
      to equal parts.

    **Attributes:** (each broadcasts against the coefficients of one scalar field)

    - `k_squared`: minus the eigenvalues of the Laplacian.
    - `inverse_k_squared`: its inverse, 0 where it is 0.
    - `mask`: 1 on kept modes, 0 elsewhere.

    **Raises:** ValueError for cells that are not equidistant, sides that do not fit the axes, or a
    mesh that cannot share them.
    """

    trainable_fields = ()

    grid: Grid
    keep: float = eqx.field(static=True)
    walls: tuple[WallBasis | None, ...]
    wavenumbers: tuple[Float[Array, "..."] | None, ...]
    k_squared: Float[Array, "*modes"]
    inverse_k_squared: Float[Array, "*modes"]
    mask: Float[Array, "*modes"]
    mesh: Mesh | None = eqx.field(static=True, default=None)

    def __init__(
        self,
        grid: Grid,
        keep: float = 1.0,
        sides: Sides | None = None,
        mesh: Mesh | None = None,
    ):
        if not 0 < keep <= 1:
            raise ValueError(f"keep must be in (0, 1], got {keep}")
        self.grid, self.keep, self.mesh = grid, keep, mesh
        self.walls = _bases(grid, sides)
        if mesh is not None:
            if any(wall is not None for wall in self.walls):
                raise ValueError("devices share a periodic box; this one has walls")
            transforms.check_box(grid.shape, mesh)
        extents = self.modes
        numbers, squares, kept = [], [], []
        for axis, (n, wall) in enumerate(zip(grid.shape, self.walls, strict=True)):
            along = tuple(-1 if other == axis else 1 for other in range(grid.ndim))
            if wall is None:
                modes = fourier_modes(n, half=axis == self.half_axis)
                k = 2 * np.pi / grid.lengths[axis] * modes
                nyquist = (2 * np.abs(modes) == n) & (n > 1)
                survives = np.abs(modes) <= highest_kept(n, keep)
                odd = np.where(nyquist, 0.0, k)
                if mesh is not None:
                    filling = (0, extents[axis] - int(np.count_nonzero(survives)))
                    k, odd, survives = (np.pad(a[survives], filling) for a in (k, odd, survives))
                numbers.append(constant(odd.reshape(along), grid))
            else:
                k = np.pi / grid.lengths[axis] * wall.half_modes / 2
                numbers.append(None)
                # Of the wave of 4 n points that the axis is a quarter of.
                survives = wall.half_modes <= highest_kept(4 * n, keep)
            squares.append((k**2).reshape(along))
            kept.append(survives.reshape(along))
        self.wavenumbers = tuple(numbers)
        k_squared = sum(squares) + np.zeros(extents)
        mask = np.ones(extents)
        for along_axis in kept:
            mask = mask * along_axis
        safe = np.where(k_squared == 0, 1.0, k_squared)
        self.k_squared = self._split(constant(k_squared, grid))
        inverse = np.where(k_squared == 0, 0.0, 1 / safe)
        self.inverse_k_squared = self._split(constant(inverse, grid))
        self.mask = self._split(constant(mask, grid))

    def _split(self, coefficients: Array) -> Array:
        """Coefficients on the devices that share them."""
        if self.mesh is None:
            return coefficients
        return transforms.scattered_modes(coefficients, self.grid.ndim, self.mesh)

    @property
    def half_axis(self) -> int | None:
        """The last periodic axis, of whose modes half are kept: a real field has no others."""
        periodic = [axis for axis, wall in enumerate(self.walls) if wall is None]
        return periodic[-1] if periodic else None

    @property
    def modes(self) -> tuple[int, ...]:
        """Shape of the coefficients of one scalar field."""
        return self._modes if self.mesh is None else transforms.filled(self._modes, self.mesh)

    @property
    def _modes(self) -> tuple[int, ...]:
        """Without what fills them up."""
        if self.mesh is not None:
            return tuple(map(sum, self._low_and_high))
        half = self.half_axis
        return tuple(n // 2 + 1 if axis == half else n for axis, n in enumerate(self.grid.shape))

    @property
    def _low_and_high(self) -> list[tuple[int, int]]:
        """How many modes m >= 0 and m < 0 of each axis survive: its first and its last."""
        counts = []
        for axis, n in enumerate(self.grid.shape):
            modes = fourier_modes(n, half=axis == self.half_axis)
            modes = modes[np.abs(modes) <= highest_kept(n, self.keep)]
            counts.append((int(np.sum(modes >= 0)), int(np.sum(modes < 0))))
        return counts

    @property
    def laplacian(self) -> Float[Array, "*modes"]:
        """The eigenvalues of the Laplacian, zero or negative."""
        return -self.k_squared

    @property
    def k(self) -> tuple[Float[Array, "..."], ...]:
        """Wavenumbers, one array per axis, zero at the Nyquist mode: `1j * k` is the multiplier of
        `d/dx`. Raises ValueError where an axis has walls: there a derivative turns cosines into
        sines and is no multiplier."""
        found = [k for k in self.wavenumbers if k is not None]
        if len(found) < len(self.wavenumbers):
            axis = self.wavenumbers.index(None)
            raise ValueError(
                f"axis {axis} has walls: first derivatives (transport, dispersion) need a periodic "
                "axis; equations of the Laplacian alone run between walls"
            )
        return tuple(found)

    @property
    def _waves(self) -> tuple[int, ...]:
        """The periodic axes, counted from the last."""
        ndim = self.grid.ndim
        return tuple(axis - ndim for axis, wall in enumerate(self.walls) if wall is None)

    def transform(
        self, values: Float[Array, "*value_and_grid"]
    ) -> Float[Array, "*value_and_modes"] | Complex[Array, "*value_and_modes"]:
        """Coefficients of `values`, all modes; real between walls on all sides."""
        if self.mesh is not None:
            whole, along = self._whole_forward, self._forward
            return transforms.forward(values, self.grid.ndim, self.mesh, whole, along)
        for axis, wall in enumerate(self.walls):
            if wall is not None:
                values = wall.forward(values, axis - self.grid.ndim)
        return _rfftn(values, self._waves)

    def to_modes(
        self, values: Float[Array, "*value_and_grid"]
    ) -> Float[Array, "*value_and_modes"] | Complex[Array, "*value_and_modes"]:
        """Coefficients of `values`, those beyond the dealiasing limit set to zero."""
        return self.truncate(self.transform(values))

    def truncate(self, coefficients: Array) -> Array:
        """The coefficients with those beyond the dealiasing limit set to zero."""
        return coefficients if self.keep == 1.0 else scaled(self.mask, coefficients)

    def to_grid(self, coefficients: Array) -> Float[Array, "*value_and_grid"]:
        """Values on the grid."""
        if self.mesh is not None:
            whole, along = self._whole_backward, self._backward
            return transforms.backward(coefficients, self._modes, self.mesh, whole, along)
        values = _irfftn(coefficients, self.grid.shape, self._waves)
        for axis, wall in enumerate(self.walls):
            if wall is not None:
                values = wall.backward(values, axis - self.grid.ndim)
        return values

    def transform_each(self, fields: Sequence[Array]) -> list[Array]:
        """`transform` of several fields: one after another, so that each stays in the cache, but in
        one exchange where devices share the box."""
        if self.mesh is None:
            return [self.transform(field) for field in fields]
        return list(self.transform(jnp.stack(list(fields))))

    def each_to_grid(self, fields: Array | Sequence[Array]) -> list[Array]:
        """`to_grid` of several fields, as `transform_each`."""
        if self.mesh is None:
            return [self.to_grid(field) for field in fields]
        return list(self.to_grid(jnp.stack(list(fields))))

    # What devices that share the box do in their turns, along axes counted from the last.

    def _whole_forward(self, values: Array, axes: tuple[int, ...]) -> Array:
        modes = _rfftn(values, axes)
        for axis in axes:
            modes = self._cut(modes, axis)
        return modes

    def _forward(self, values: Array, axis: int) -> Array:
        return self._cut(jnp.fft.fft(values, axis=axis), axis)

    def _whole_backward(self, modes: Array, axes: tuple[int, ...]) -> Array:
        for axis in axes:
            modes = self._widened(modes, axis)
        return _irfftn(modes, self.grid.shape, axes)

    def _backward(self, modes: Array, axis: int) -> Array:
        return jnp.fft.ifft(self._widened(modes, axis), axis=axis)

    def _cut(self, modes: Array, axis: int) -> Array:
        """The modes of an axis that survive."""
        low, high = self._low_and_high[axis]
        axis, n = modes.ndim + axis, modes.shape[axis]
        if low + high == n:
            return modes
        first = lax.slice_in_dim(modes, 0, low, axis=axis)
        return lax.concatenate([first, lax.slice_in_dim(modes, n - high, n, axis=axis)], axis)

    def _widened(self, modes: Array, axis: int) -> Array:
        """All modes of an axis, zero where they do not survive."""
        low, high = self._low_and_high[axis]
        n = self.grid.shape[axis]
        n = n // 2 + 1 if axis == -1 else n
        if low + high == n:
            return modes
        axis = modes.ndim + axis
        gap = list(modes.shape)
        gap[axis] = n - low - high
        first = lax.slice_in_dim(modes, 0, low, axis=axis)
        last = lax.slice_in_dim(modes, low, low + high, axis=axis)
        return lax.concatenate([first, jnp.zeros(gap, modes.dtype), last], axis)

    def derivative(
        self, coefficients: Complex[Array, "*modes"], axis: int
    ) -> Complex[Array, "*modes"]:
        """Coefficients of the first derivative along a periodic axis."""
        k = self.wavenumbers[axis]
        if k is None:
            k = self.k[axis]  # refuses
        return lax.complex(-k * coefficients.imag, k * coefficients.real)

    def gradient(self, coefficients: Complex[Array, "*modes"]) -> Complex[Array, "dim *modes"]:
        """Coefficients of the derivatives along every axis."""
        return jnp.stack([self.derivative(coefficients, axis) for axis in range(self.grid.ndim)])


def fourier_modes(n: int, half: bool) -> np.ndarray:
    """Mode numbers m of a periodic axis of `n` points, integers: m = 0..n//2 of a real transform
    (`half`), else m = 0, 1, .., -1."""
    frequencies = np.fft.rfftfreq(n) if half else np.fft.fftfreq(n)
    return np.rint(n * frequencies).astype(int)


def _bases(grid: Grid, sides: Sides | None) -> tuple[WallBasis | None, ...]:
    """What each axis is expanded in; None for waves."""
    if not isinstance(grid, Cells):
        if sides is not None:
            raise ValueError(
                "sides belong to a box of cells, the points of this grid are periodic: use "
                "`grids.Cells(shape, lengths)`"
            )
        return (None,) * grid.ndim
    if not grid.uniform:
        raise ValueError("transforms need equidistant cells, these are graded")
    given = (None,) * grid.ndim if sides is None else tuple(sides)
    if len(given) != grid.ndim:
        raise ValueError(f"sides must have {grid.ndim} entries, one per axis; got {len(given)}")
    bases: list[WallBasis | None] = []
    for axis, (pair, periodic) in enumerate(zip(given, grid.periodic, strict=True)):
        if periodic and pair is not None:
            raise ValueError(f"axis {axis} is periodic, its entry of sides must be None")
        pair = Wall.no_flux if pair is None else pair
        lower, upper = pair if isinstance(pair, tuple) else (pair, pair)
        bases.append(None if periodic else WallBasis(grid.shape[axis], lower, upper))
    return tuple(bases)


MOST_AXES = 3
"""That XLA transforms at once."""


def _rfftn(values: Array, axes: tuple[int, ...]) -> Array:
    if not axes:
        return values
    modes = jnp.fft.rfftn(values, axes=axes[-MOST_AXES:])
    rest = axes[:-MOST_AXES]
    return jnp.fft.fftn(modes, axes=rest) if rest else modes


def _irfftn(modes: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    if not axes:
        return modes.real
    rest, last = axes[:-MOST_AXES], axes[-MOST_AXES:]
    modes = jnp.fft.ifftn(modes, axes=rest) if rest else modes
    return jnp.fft.irfftn(modes, s=[shape[axis] for axis in last], axes=last)


def constant(array: np.ndarray, grid: Grid) -> Array:
    """An array of the grid's precision, real or complex."""
    # Cast before JAX sees it: a cast there compiles a program for every shape.
    dtype = np.result_type(grid.dtype, np.complex64) if np.iscomplexobj(array) else grid.dtype
    return jnp.asarray(array.astype(dtype))


def total(terms: Iterable[Array]) -> Array:
    """The sum of arrays, at least one (the built-in starts from the integer 0)."""
    return reduce(add, terms)


def scaled(multiplier: Array, coefficients: Array) -> Array:
    """`multiplier * coefficients` without promoting a real multiplier to complex (half the
    work).
    """
    if jnp.iscomplexobj(multiplier) or not jnp.iscomplexobj(coefficients):
        return multiplier * coefficients
    return lax.complex(multiplier * coefficients.real, multiplier * coefficients.imag)


def resample(
    values: Float[Array, "..."], source: Periodic, target: Periodic
) -> Float[Array, "..."]:
    """Trigonometric interpolation of `values` to the points of another grid of the same box.

    Going coarser cuts the modes the target cannot hold, so it is a sharp spectral filter. The
    Nyquist mode of an even axis is dropped: on a coarser grid it could not be told from its mirror
    image.
    """
    if (source.lengths, source.origin) != (target.lengths, target.origin):
        raise ValueError(
            f"source and target must be the same box, got lengths {source.lengths} and "
            f"{target.lengths}, origins {source.origin} and {target.origin}"
        )
    if source.shape == target.shape:
        return values
    ndim = source.ndim
    coefficients = jnp.fft.rfftn(values, axes=tuple(range(-ndim, 0)))
    for axis, (old, new) in enumerate(zip(source.shape, target.shape, strict=True)):
        along = values.ndim - ndim + axis
        highest = (min(old, new) - 1) // 2
        low = jnp.take(coefficients, np.arange(highest + 1), axis=along)
        if axis == ndim - 1:
            parts, modes = [low], new // 2 + 1
        else:
            count = coefficients.shape[along]
            parts = [low, jnp.take(coefficients, np.arange(count - highest, count), axis=along)]
            modes = new
        gap = list(low.shape)
        gap[along] = modes - sum(part.shape[along] for part in parts)
        parts.insert(1, jnp.zeros(gap, low.dtype))
        coefficients = jnp.concatenate(parts, axis=along)
    scaled = coefficients * (target.size / source.size)
    return jnp.fft.irfftn(scaled, s=target.shape, axes=tuple(range(-ndim, 0)))
