"""Direct solvers on cells: they invert the stencils, whose parts are adjoint to each other."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.grids import cell, face
from jaxpbdl.grids.helmholtz import Helmholtz
from jaxpbdl.grids.operators import divergence, gradient
from jaxpbdl.grids.poisson import FastSolver
from jaxpbdl.solvers.flow.conditions import OnSide
from jaxpbdl.solvers.flow.diffusion import velocity_laplacian
from jaxpbdl.solvers.flow.scalars import scalar_diffusion
from tests.solvers.flow.test_scalars import uneven

CASES = [
    ((8, 9), (True, True), False),
    ((9, 8), (False, False), False),
    ((8, 6), (True, False), False),
    ((7, 6), (False, True), True),
    ((7, 6), (False, False), True),
    ((5, 6, 7), (True, False, False), False),
    ((6, 5, 4), (False, False, True), True),
]


def grids(shape, periodic, random):
    yield jp.grids.Cells(shape, (2.0, 3.0, 1.0)[: len(shape)], periodic=periodic)
    uneven = np.cumsum(np.append(0, random.uniform(0.5, 1, shape[0])))
    edges = [uneven] + [None] * (len(shape) - 1)
    yield jp.grids.Cells(shape, 1.5, periodic=periodic, edges=edges)


@pytest.mark.x64
@pytest.mark.parametrize("shape, periodic, is_open", CASES)
def test_fast_solver_inverts_the_divergence_of_the_gradient(shape, periodic, is_open):
    random = np.random.default_rng(0)
    ends = [(False, is_open and axis == 0) for axis in range(len(shape))]
    holds = [(not lower, not upper) for lower, upper in ends]
    for grid in grids(shape, periodic, random):
        b = random.normal(size=shape)
        b = b if is_open else b - b.mean()
        pressure = FastSolver(grid, ends)(jnp.asarray(b))
        left = -divergence(gradient(pressure, grid, holds), grid) - b
        assert jnp.max(jnp.abs(left)) < 1e-12


@pytest.mark.x64
@pytest.mark.parametrize("shape, periodic, is_open", CASES)
def test_gradient_is_minus_the_adjoint_of_divergence(shape, periodic, is_open):
    """sum_cells p div u = -sum_faces u grad p, area times gap as the weight, for velocities that
    cross no side."""
    if is_open:
        pytest.skip("a velocity crosses the open side")
    random = np.random.default_rng(1)
    for grid in grids(shape, periodic, random):
        velocity = []
        for axis in range(grid.ndim):
            u = random.normal(size=grid.shape_at(jp.grids.face(axis)))
            if not periodic[axis]:
                u[(slice(None),) * axis + ([0, -1],)] = 0.0
            velocity.append(jnp.asarray(u))
        p = jnp.asarray(random.normal(size=shape))
        holds = [(True, True)] * grid.ndim
        left = jnp.sum(p * divergence(tuple(velocity), grid))
        right = 0.0
        for axis, (u, slope) in enumerate(zip(velocity, gradient(p, grid, holds), strict=True)):
            volume = np.ones(())
            for a in range(grid.ndim):
                line = grid.gaps[a][: u.shape[axis]] if a == axis else grid.widths[a]
                volume = np.multiply.outer(volume, line)
            right = right - jnp.sum(volume * u * slope)
        assert left == pytest.approx(float(right), rel=1e-12)


@pytest.mark.x64
@pytest.mark.parametrize("periodic", [(False, False), (True, False), (False, True, False)])
@pytest.mark.parametrize("ends", [(True, True), (False, True), (True, False)])
def test_the_solver_inverts_the_stencils(periodic, ends):
    """Values held or free on the sides, on uneven cells, of a scalar and of each component."""
    random, shape = np.random.default_rng(0), (6, 5, 4)[: len(periodic)]
    edges = [uneven(n, 1.5) for n in shape]
    grid = jp.grids.Cells(shape, edges=edges, periodic=periodic)
    held = [(False, False) if wraps else ends for wraps in periodic]
    on_sides = [tuple(OnSide(0.0 if one else None) for one in pair) for pair in held]
    values = jnp.asarray(random.normal(size=shape))
    right = 1.5 * values - scalar_diffusion(values, 0.3, on_sides, grid)
    np.testing.assert_allclose(Helmholtz(grid, cell, held)(right, 1.5, 0.3), values, atol=1e-12)

    velocity = []
    for axis in range(grid.ndim):
        u = random.normal(size=grid.shape_at(face(axis)))
        for end, one in zip((0, -1), held[axis], strict=True):
            if one:
                u[(slice(None),) * axis + (end,)] = 0.0
        velocity.append(jnp.asarray(u))
    given = [tuple(jnp.zeros(()) if one else None for one in pair) for pair in held]
    holds = [(True, True) if wraps else pair for wraps, pair in zip(periodic, held, strict=True)]
    laplacian = velocity_laplacian(tuple(velocity), [given] * grid.ndim, grid, holds)
    for axis, (u, lap) in enumerate(zip(velocity, laplacian, strict=True)):
        solve = Helmholtz(grid, face(axis), held)
        np.testing.assert_allclose(solve(1.5 * u - 0.3 * lap, 1.5, 0.3), u, atol=1e-12)
