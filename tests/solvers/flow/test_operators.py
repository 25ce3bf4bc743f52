"""What flow carries along: conservative, and as exact as it says."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers.flow.operators import central, limited, momentum_rate
from jaxpbdl.solvers.flow.sides import Boundary


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
