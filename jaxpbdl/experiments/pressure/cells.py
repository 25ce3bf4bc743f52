"""Divergence, gradient and pressure on a mesh of unit cells, periodic or in a closed box.

Velocities live on the faces (Harlow and Welch, Phys. Fluids 8 (1965) 2182): component `a` at
index `i` is that of the face below cell `i` along axis `a`, so that velocities and pressure have
the same shape. In a closed box the first face along an axis is a wall, its velocity zero, and the
wall beyond the last cell is not stored.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxpbdl.grids import operators
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.poisson import FastSolver


def divergence(velocity: Float[Array, "dim *cells"], periodic: bool) -> Float[Array, "*cells"]:
    """What leaves each cell: `sum_a v_a[i + 1] - v_a[i]`."""
    grid = mesh(velocity.shape[1:], periodic)
    far = [(0, 0 if periodic else 1)]
    faces = tuple(
        jnp.pad(part, [*[(0, 0)] * axis, *far, *[(0, 0)] * (grid.ndim - axis - 1)])
        for axis, part in enumerate(velocity)
    )
    return operators.divergence(faces, grid)


def gradient(pressure: Float[Array, "*cells"], periodic: bool) -> Float[Array, "dim *cells"]:
    """`p[i] - p[i - 1]` on the face between two cells, zero on walls: minus the adjoint of
    `divergence`."""
    grid = mesh(pressure.shape, periodic)
    faces = operators.gradient(pressure, grid, ((True, True),) * grid.ndim)
    return jnp.stack([part[tuple(map(slice, grid.shape))] for part in faces])


def laplacian(pressure: Float[Array, "*cells"], periodic: bool) -> Float[Array, "*cells"]:
    """The divergence of the gradient, which vanishes for constants alone."""
    return divergence(gradient(pressure, periodic), periodic)


def solve(source: Float[Array, "*cells"], periodic: bool) -> Float[Array, "*cells"]:
    """The pressure of zero mean whose Laplacian is `source` less its mean."""
    grid = mesh(source.shape, periodic, source.dtype)
    with jax.ensure_compile_time_eval():  # the grid is known, also where jit traces the rest
        fast = FastSolver(grid, ((False, False),) * grid.ndim)
    return -fast(source)


def mesh(shape: tuple[int, ...], periodic: bool, dtype: DTypeLike | None = None) -> Cells:
    """Cells of width one."""
    return Cells(shape, shape, periodic=periodic, dtype=dtype)
