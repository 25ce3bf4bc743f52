"""Staggered differences: adjoint to each other, conservative, and inverted by the fast solver."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.grids.operators import divergence, gradient
from jaxpbdl.grids.poisson import FastSolver
from jaxpbdl.solvers.flow.operators import central, limited, momentum_rate
from jaxpbdl.solvers.flow.sides import Boundary

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
@pytest.mark.parametrize("interpolation", [central, limited])
@pytest.mark.parametrize("shape", [(8, 9), (6, 5, 7)])
def test_periodic_momentum_is_conserved(shape, interpolation):
    random = np.random.default_rng(2)
    grid = jp.grids.Cells(shape, 2.0, periodic=True)
    velocity = tuple(jnp.asarray(random.normal(size=shape)) for _ in shape)
    rates = momentum_rate(
        velocity, Boundary(None, grid).at(jnp.zeros(())), jnp.asarray(0.1), grid, interpolation
    )
    assert all(abs(float(jnp.sum(rate))) < 1e-11 for rate in rates)


@pytest.mark.x64
def test_central_stencils_keep_the_energy_and_limited_ones_lose_it():
    """sum u . rate of an inviscid flow without divergence."""
    grid = jp.grids.Cells((9, 8), (2.0, 1.0), periodic=(True, False))
    flow = jp.equations.IncompressibleFlow(0.0)
    step = jp.solvers.flow.incompressible(flow, grid, 1e-3, sides=(None, jp.solvers.flow.slip()))
    random = np.random.default_rng(3)
    shapes = [grid.shape_at(jp.grids.face(axis)) for axis in range(2)]
    start = tuple(jnp.asarray(random.normal(size=shape)) for shape in shapes)
    velocity = step.start(start).velocity
    planes = step.boundary.at(jnp.zeros(()))

    def power(interpolation):
        rates = momentum_rate(velocity, planes, jnp.asarray(0.0), grid, interpolation)
        return sum(float(jnp.sum(u * rate)) for u, rate in zip(velocity, rates, strict=True))

    assert abs(power(central)) < 1e-11
    assert power(limited) < -1e-2
