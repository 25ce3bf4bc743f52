"""The pressure's equation on a box, solved at once by the eigenvectors of each axis."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl.staggered import StaggeredGrid, outer


class FastSolver(eqx.Module):
    """Solves `sum_faces area (p_here - p_there) / gap = b` in all cells.

    The matrix is a sum over the axes of that axis' own stiffness times the cell widths of the
    others, so its eigenvectors are products of those of each axis (fast diagonalisation, Lynch,
    Rice and Thomas, Numer. Math. 6 (1964) 185): two small matrix products an axis, the same for
    equidistant, graded, periodic, closed and open axes.

    **Arguments:** `grid`; `open_ends`: for each axis whether the pressure is zero on its lower and
    upper side.
    """

    vectors: tuple[Float[Array, "n n"], ...]
    inverse: Float[Array, "*cells"]

    def __init__(self, grid: StaggeredGrid, open_ends: Sequence[tuple[bool, bool]]):
        values, vectors = [], []
        for axis, ends in enumerate(open_ends):
            found, basis = eigenbasis(
                grid.widths[axis], grid.gaps[axis], grid.periodic[axis], ends
            )
            values.append(found)
            vectors.append(jnp.asarray(basis, grid.dtype))
        total = np.zeros(())
        for line in values:
            total = np.add.outer(total, line)
        scale = max(float(line.max()) for line in values)
        level = total < 1e-10 * scale  # of a closed box: the mean, which stays zero
        self.vectors = tuple(vectors)
        inverse = np.where(level, 0.0, 1.0 / np.where(level, 1.0, total))
        self.inverse = jnp.asarray(inverse, grid.dtype)

    def __call__(self, b: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        return self.backward(self.forward(b) * self.inverse)

    def forward(self, values: Array) -> Array:
        """`V^T` along every axis."""
        for axis, basis in enumerate(self.vectors):
            values = times(basis.T, values, axis)
        return values

    def backward(self, values: Array) -> Array:
        """`V` along every axis."""
        for axis, basis in enumerate(self.vectors):
            values = times(basis, values, axis)
        return values


def eigenbasis(
    widths: np.ndarray, gaps: np.ndarray, periodic: bool, open_ends: tuple[bool, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues l and vectors V of one axis: `S V = H V l`, `V^T H V = 1`, H the widths and S the
    differences `(p_i - p_i-1) / gap_i` in, less those out."""
    n = len(widths)
    stiffness = np.zeros((n, n))
    index = np.arange(n - 1)
    inner = 1 / gaps[1:-1]
    stiffness[index, index] += inner
    stiffness[index + 1, index + 1] += inner
    stiffness[index, index + 1] -= inner
    stiffness[index + 1, index] -= inner
    if periodic:
        for i, j, sign in ((0, 0, 1), (-1, -1, 1), (0, -1, -1), (-1, 0, -1)):
            stiffness[i, j] += sign / gaps[0]
    else:
        stiffness[0, 0] += open_ends[0] / gaps[0]
        stiffness[-1, -1] += open_ends[1] / gaps[-1]
    root = np.sqrt(widths)
    values, vectors = np.linalg.eigh(stiffness / np.outer(root, root))
    return np.maximum(values, 0.0), vectors / root[:, None]


def times(matrix: Array, values: Array, axis: int) -> Array:
    """The matrix applied along an axis."""
    # Full precision: the divergence is to vanish to round-off on every device.
    product = jnp.tensordot(matrix, values, ([1], [axis]), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(product, 0, axis)


def cell_volumes(grid: StaggeredGrid) -> np.ndarray:
    return outer(grid.widths)
