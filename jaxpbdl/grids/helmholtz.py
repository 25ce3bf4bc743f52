"""Implicit diffusion of values that live on a mesh of cells, solved at once by the eigenvectors of
each axis, as `poisson` does it.

    level x - amount lap x = right   for values in the cells or on faces
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import Cells, along
from jaxpbdl.grids.location import Location
from jaxpbdl.grids.poisson import Halves, Products, eigenbasis, stiffness_of


class Helmholtz(eqx.Module):
    """Solves for values of a location whose sides are held at zero or free.

    **Arguments:** `grid`; `location`: cells or faces; `held_ends`: for each axis whether the value
    is zero on its lower and upper side, else its normal derivative is. Values on a held side itself
    (those of a face, across its own axis) are no unknowns: they come out as zero.
    """

    trainable_fields = ()

    bases: tuple[Products | Halves, ...]
    weights: tuple[Float[Array, "..."], ...]
    eigenvalues: Float[Array, "..."]
    inner: tuple[tuple[int, int], ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, grid: Cells, location: Location, held_ends: Sequence[tuple[bool, bool]]):
        bases, weights, inner, total = [], [], [], np.zeros(())
        self.shape = grid.shape_at(location)
        on_faces = location.on_boundary(grid.ndim)
        for axis, (low, high) in enumerate(held_ends):
            wraps, n = grid.periodic[axis], self.shape[axis]
            widths, gaps = grid.widths[axis], grid.gaps[axis]
            if on_faces[axis]:
                # The control volumes of faces reach from centre to centre.
                start, stop = (0, n) if wraps else (int(low), n - int(high))
                stiffness = _between_faces(widths, wraps)[start:stop, start:stop]
                mass = gaps[start:stop]
            else:
                start, stop = 0, n
                stiffness, mass = stiffness_of(gaps, wraps, (low, high)), widths
            values, basis = eigenbasis(stiffness, mass, grid.dtype)
            bases.append(basis)
            shape = [1] * grid.ndim
            shape[axis] = -1
            weights.append(jnp.asarray(mass, grid.dtype).reshape(shape))
            inner.append((start, stop))
            total = np.add.outer(total, values)
        self.bases, self.weights, self.inner = tuple(bases), tuple(weights), tuple(inner)
        self.eigenvalues = jnp.asarray(total, grid.dtype)

    def __call__(
        self, right: Float[Array, "*values"], level: Array | float, amount: Array | float
    ) -> Float[Array, "*values"]:
        """The x of `level x - amount lap x = right`, both of at least zero, not both zero."""
        room = [(start, n - stop) for (start, stop), n in zip(self.inner, self.shape, strict=True)]
        for axis, (start, stop) in enumerate(self.inner):
            right = along(right, axis, start, stop)
        for axis, (basis, weight) in enumerate(zip(self.bases, self.weights, strict=True)):
            right = basis.forward(right * weight, axis)
        right = right / (level + amount * self.eigenvalues)
        for axis, basis in enumerate(self.bases):
            right = basis.backward(right, axis)
        return jnp.pad(right, room)


def _between_faces(widths: np.ndarray, periodic: bool) -> np.ndarray:
    """The stiffness between all faces across an axis, sides included: the cells are what lies
    between them."""
    n = len(widths)
    made = np.zeros((n + 1, n + 1))
    pair = np.array([[1, -1], [-1, 1]])
    for i, h in enumerate(widths):
        made[i : i + 2, i : i + 2] += pair / h
    if not periodic:
        return made
    made[0] += made[n]  # the last face is the first
    made[:, 0] += made[:, n]
    return made[:n, :n]
