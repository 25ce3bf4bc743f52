"""Poisson's equation on a box of cells, solved at once by the eigenvectors of each axis.

    sum_faces area (p_here - p_there) / gap = b   in all cells

The matrix is a sum over the axes of that axis' own stiffness times the cell widths of the others,
so its eigenvectors are products of those of each axis (fast diagonalisation, Lynch, Rice and
Thomas, Numer. Math. 6 (1964) 185): waves on equidistant periodic axes, by fast transforms, and a
small dense matrix on all others.
"""

from collections.abc import Sequence
from functools import reduce

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxpbdl.distributed import transforms
from jaxpbdl.grids.cells import Cells, along


class Products(eqx.Module):
    """Eigenvectors of one axis as a dense matrix."""

    vectors: Float[Array, "n n"]

    def forward(self, values: Array, axis: int) -> Array:
        return times(self.vectors.T, values, axis)

    def backward(self, values: Array, axis: int) -> Array:
        return times(self.vectors, values, axis)


class Halves(eqx.Module):
    """Eigenvectors of an axis that is its own mirror image: the even and the odd ones apart, each
    a dense matrix for half the axis, at half the work."""

    even: Float[Array, "half half"]
    odd: Float[Array, "other other"]

    def forward(self, values: Array, axis: int) -> Array:
        n, m = values.shape[axis], self.odd.shape[0]
        first, middle = along(values, axis, 0, m), along(values, axis, m, n - m)
        last = jnp.flip(along(values, axis, n - m, n), axis)
        even = jnp.concatenate([first + last, middle], axis)
        parts = [times(self.even.T, even, axis), times(self.odd.T, first - last, axis)]
        return jnp.concatenate(parts, axis)

    def backward(self, values: Array, axis: int) -> Array:
        n, m = values.shape[axis], self.odd.shape[0]
        even = times(self.even, along(values, axis, 0, n - m), axis)
        odd = times(self.odd, along(values, axis, n - m, n), axis)
        half, middle = along(even, axis, 0, m), along(even, axis, m, n - m)
        return jnp.concatenate([half + odd, middle, jnp.flip(half - odd, axis)], axis)


class FastSolver(eqx.Module):
    """Solves for the potential in the cells; of mean zero in a box without open sides.

    **Arguments:** `grid`; `open_ends`: for each axis whether the potential is zero on its lower and
    upper side; `mesh`: devices that share the cells (`distributed.space_mesh`).
    """

    trainable_fields = ()

    bases: tuple[Products | Halves | None, ...]
    inverse: Float[Array, "..."]
    waves: tuple[int, ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    mesh: Mesh | None = eqx.field(static=True, default=None)

    def __init__(
        self, grid: Cells, open_ends: Sequence[tuple[bool, bool]], mesh: Mesh | None = None
    ):
        if mesh is not None:
            transforms.check_box(grid.shape, mesh)
        self.shape, self.mesh = grid.shape, mesh
        self.waves = tuple(
            a for a, h in enumerate(grid.widths) if grid.periodic[a] and np.ptp(h) <= 1e-9 * h.max()
        )
        bases, total, scale = [], np.zeros(()), 1.0
        for axis, ends in enumerate(open_ends):
            h, n = grid.widths[axis], grid.shape[axis]
            if axis in self.waves:
                modes = n // 2 + 1 if axis == self.waves[-1] else n
                values = (2 * np.sin(np.pi * np.arange(modes) / n) / h[0]) ** 2
                scale /= h[0]
                bases.append(None)
            else:
                stiffness = stiffness_of(grid.gaps[axis], grid.periodic[axis], ends)
                values, basis = eigenbasis(stiffness, h, grid.dtype)
                bases.append(basis)
            total = np.add.outer(total, values)
        level = total < 1e-10 * total.max()  # of a closed box: the mean, which stays zero
        inverse = np.where(level, 0.0, scale / np.where(level, 1.0, total))
        self.bases = tuple(bases)
        if mesh is None:
            self.inverse = jnp.asarray(inverse, grid.dtype)
            return
        extents = transforms.filled(inverse.shape, mesh)
        filling = [(0, n - m) for n, m in zip(extents, inverse.shape, strict=True)]
        filled = jnp.asarray(np.pad(inverse, filling), grid.dtype)
        self.inverse = transforms.scattered_modes(filled, grid.ndim, mesh)

    def __call__(self, b: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        if self.mesh is not None:
            return self._on_devices(b, self.mesh)
        for axis, basis in enumerate(self.bases):
            b = b if basis is None else basis.forward(b, axis)
        if self.waves:
            modes = jnp.fft.rfftn(b, axes=self.waves) * self.inverse
            b = jnp.fft.irfftn(modes, [self.shape[a] for a in self.waves], self.waves)
        else:
            b = b * self.inverse
        for axis, basis in enumerate(self.bases):
            b = b if basis is None else basis.backward(b, axis)
        return b

    def _on_devices(self, b: Array, mesh: Mesh) -> Array:
        """Axis by axis from the last to the first and back, each whole on a device in its turn."""

        def forward(values: Array, axis: int) -> Array:
            axis, basis = axis % b.ndim, self.bases[axis]
            if basis is not None:
                return basis.forward(values, axis)
            transform = jnp.fft.rfft if axis == self.waves[-1] else jnp.fft.fft
            return transform(values, axis=axis)

        def backward(modes: Array, axis: int) -> Array:
            axis, basis = axis % b.ndim, self.bases[axis]
            if basis is not None:
                return basis.backward(modes, axis)
            if axis == self.waves[-1]:
                return jnp.fft.irfft(modes, self.shape[axis], axis)
            return jnp.fft.ifft(modes, axis=axis)

        def all_forward(values: Array, axes: tuple[int, ...]) -> Array:
            return reduce(forward, reversed(axes), values)

        def all_backward(modes: Array, axes: tuple[int, ...]) -> Array:
            return reduce(backward, axes, modes)

        sizes = tuple(
            n // 2 + 1 if axis in self.waves[-1:] else n for axis, n in enumerate(self.shape)
        )
        modes = transforms.forward(b, b.ndim, mesh, all_forward, forward) * self.inverse
        return transforms.backward(modes, sizes, mesh, all_backward, backward)


def stiffness_of(gaps: np.ndarray, periodic: bool, open_ends: tuple[bool, bool]) -> np.ndarray:
    """The matrix of `(p_i - p_i-1) / gap_i` in, less those out, along one axis."""
    n = len(gaps) - 1
    matrix = np.zeros((n, n))
    for i, gap in enumerate(gaps[1:-1]):
        matrix[i : i + 2, i : i + 2] += np.array([[1, -1], [-1, 1]]) / gap
    if periodic:
        matrix[np.ix_([0, -1], [0, -1])] += np.array([[1, -1], [-1, 1]]) / gaps[0]
    matrix[0, 0] += open_ends[0] / gaps[0]
    matrix[-1, -1] += open_ends[1] / gaps[-1]
    return matrix


def eigenbasis(
    stiffness: np.ndarray, widths: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, Products | Halves]:
    """Eigenvalues l and vectors V of one axis: `S V = H V l`, `V^T H V = 1`, H the widths."""
    root = np.sqrt(widths)
    matrix = stiffness / np.outer(root, root)
    n, m = len(widths), len(widths) // 2
    if not np.allclose(matrix, matrix[::-1, ::-1]):
        values, vectors = np.linalg.eigh(matrix)
        return np.maximum(values, 0.0), Products(jnp.asarray(vectors / root[:, None], dtype))
    mirror = np.eye(n)[:, ::-1]
    even, odd = (np.eye(n) + mirror)[:, : n - m], (np.eye(n) - mirror)[:, :m]
    found, halves = [], []
    for space in (even, odd):
        space = space / np.linalg.norm(space, axis=0)
        values, vectors = np.linalg.eigh(space.T @ matrix @ space)
        found.append(values)
        whole = space @ vectors / root[:, None]
        halves.append(jnp.asarray(whole[: space.shape[1]], dtype))
    return np.maximum(np.concatenate(found), 0.0), Halves(*halves)


def times(matrix: Array, values: Array, axis: int) -> Array:
    """The matrix applied along an axis."""
    # Full precision: the divergence is to vanish to round-off on every device.
    product = jnp.tensordot(matrix, values, ([1], [axis]), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(product, 0, axis)
