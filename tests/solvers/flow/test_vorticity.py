"""A staggered flow seen as its vorticity, beside the spectral solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers.flow import LinearStencils, incompressible, vorticity_form
from jaxpbdl.solvers.flow.operators import Stencil, central, momentum_rate
from jaxpbdl.solvers.flow.sides import Boundary
from jaxpbdl.solvers.spectral import semilinear

FORCE = jp.equations.kolmogorov(2)
SIDES = (2 * np.pi, np.pi)


def volumes(shape, dt=0.02, **options):
    equation = jp.equations.IncompressibleFlow(0.05, FORCE, drag=0.3)
    grid = jp.grids.Cells(shape, SIDES, periodic=True)
    return vorticity_form(incompressible(equation, grid, dt, **options))


@pytest.mark.x64
def test_enters_and_leaves_without_loss_or_divergence():
    step = volumes((9, 14))
    smaller = jp.grids.Periodic((7, 11), SIDES)
    state = jp.initial_states.random_vorticity(jax.random.key(0), smaller, 2.0)
    state = jp.grids.resample(state, smaller, step.grid)
    working = step.enter(state)
    np.testing.assert_allclose(step.leave(working), state, atol=1e-12)
    assert float(jnp.max(jnp.abs(step.flow.divergence(working.velocity)))) < 1e-13


@pytest.mark.x64
def test_tends_to_the_spectral_solver_at_second_order():
    """With drag and force, which both solvers know."""
    coarse = jp.grids.Periodic((16, 12), SIDES)
    start = jp.initial_states.random_vorticity(jax.random.key(0), coarse, 2.0)
    equation = jp.equations.NavierStokes2D(0.05, 0.3, forcing=FORCE)
    errors = []
    for n in (2, 4):
        grid = jp.grids.Periodic((16 * n, 12 * n), SIDES)
        begin = jp.grids.resample(start, coarse, grid)
        ends = [
            jp.rollout(step, begin, 20, 20)[-1]
            for step in (volumes(grid.shape), semilinear(equation, grid, 0.02))
        ]
        errors.append(float(jp.diagnostics.relative_l2(*ends)))
    assert errors[1] < 0.02
    assert np.log2(errors[0] / errors[1]) > 1.9


@pytest.mark.x64
@pytest.mark.parametrize("shape", [(8, 9), (6, 5, 7)])
def test_linear_stencils(shape):
    """None is the mean; any carries momentum and a constant velocity without change."""
    random = np.random.default_rng(0)
    grid = jp.grids.Cells(shape, 2.0, periodic=True)
    velocity = tuple(jnp.asarray(random.normal(size=shape)) for _ in shape)
    planes = Boundary(None, grid).at(jnp.zeros(()))

    def rates(velocity, rule):
        return momentum_rate(velocity, planes, jnp.asarray(0.1), grid, rule)

    size = (3 * len(shape) ** 2, *shape)
    for one, other in zip(
        rates(velocity, LinearStencils(jnp.zeros(size))), rates(velocity, central), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)
    wild = LinearStencils(jnp.asarray(random.normal(size=size)))
    assert all(abs(float(jnp.sum(rate))) < 1e-10 for rate in rates(velocity, wild))
    assert any(
        float(jnp.max(jnp.abs(a - b))) > 0.1
        for a, b in zip(rates(velocity, wild), rates(velocity, central), strict=True)
    )
    still = tuple(jnp.full(shape, value) for value in (1.0, -2.0, 0.5)[: len(shape)])
    assert all(float(jnp.max(jnp.abs(rate))) < 1e-12 for rate in rates(still, wild))


def test_coefficients_are_in_the_documented_order():
    """a, b, c for each component and, in turn, each axis that it is carried along."""
    coefficients = jnp.arange(12.0)[:, None, None] + jnp.zeros((12, 4, 4))
    rule, zero = LinearStencils(coefficients), jnp.zeros((4, 4))
    for number, (component, axis) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        for part, name in enumerate(("rise", "before", "after")):
            steps = {"rise": zero, "before": zero, "after": zero} | {name: zero + 1}
            stencil = Stencil(
                mean=zero + 100, carrying=zero, component=component, axis=axis, **steps
            )
            np.testing.assert_allclose(rule(stencil), 100 + 3 * number + part)


def test_refused():
    equation = jp.equations.IncompressibleFlow(0.05)
    with pytest.raises(ValueError, match="equidistant periodic grid of 2 axes"):
        vorticity_form(incompressible(equation, jp.grids.Cells((8, 8)), 0.01))
    step = volumes((8, 8))
    with pytest.raises(ValueError, match=r"\(8, 8\)"):
        step(jnp.zeros((8, 9)))
