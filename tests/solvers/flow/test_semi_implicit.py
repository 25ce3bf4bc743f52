"""Implicit diffusion: order in time, steady flows that do not depend on dt, Newton's
method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers.flow import (
    central,
    flux,
    held,
    incompressible,
    inflow,
    outflow,
    semi_implicit,
    slip,
    steady,
    wall,
)
from tests.solvers.flow.test_scalars import uneven

FLOW, SCALAR = jp.equations.IncompressibleFlow, jp.equations.Scalar
x64 = pytest.mark.x64


def convection(grid, dt, p=None):
    """A warm box with a moving lid, in which everything happens that a step knows."""
    p = p or {"viscosity": 0.2, "diffusivity": 0.3, "lid": 1.0, "warm": 1.0}
    heat = SCALAR(p["diffusivity"], buoyancy=(0.0, 3.0), reference=0.2)
    lid = wall(jnp.stack([p["lid"], jnp.zeros(())]), temperature=p["warm"])
    flow = FLOW(
        p["viscosity"],
        forcing=lambda x: jnp.stack([x[1], -(x[0] ** 2)]),
        drag=0.3,
        scalars={"temperature": heat},
    )
    warm = held(1.0, lambda t: jnp.cos(t))
    sides = ((wall(temperature=flux(0.4)), slip(temperature=warm)), (wall(), lid))
    return incompressible(flow, grid, dt, sides, scalar_interpolation=central)


def advanced(step, state, time):
    steps = round(time / float(step.interval))
    return jax.jit(jp.repeat(step, steps, checkpoint=False))(state)


def distances(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return np.array([float(jnp.sqrt(jnp.mean((a - b) ** 2))) for a, b in pairs])


@x64
def test_second_order_in_time():
    """Against the explicit step, in what it takes for one. The ramps of the sides count too."""
    grid = jp.grids.Cells((8, 7), (1.2, 1.0))
    start = advanced(convection(grid, 0.005), convection(grid, 0.005).start(temperature=0.3), 0.5)
    exact = advanced(convection(grid, 0.0025), start, 0.8)
    errors = []
    for dt in (0.02, 0.01):
        step = semi_implicit(convection(grid, dt))
        end = advanced(step, start, 0.8)
        assert jnp.max(jnp.abs(step.flow.divergence(end.velocity))) < 1e-14
        errors.append(distances((end.velocity, end.scalars), (exact.velocity, exact.scalars)))
        assert float(end.time) == pytest.approx(1.3, rel=1e-12)
    orders = np.log2(errors[0] / errors[1])
    assert np.all(orders > 1.75) and np.all(errors[1] < 2e-3), (orders, errors)


def channel(grid, dt, viscosity=1.0):
    entering = inflow(lambda x: jnp.stack([4 * x[1] * (1 - x[1]), 0 * x[0]]), temperature=1.0)
    flow = FLOW(viscosity, scalars={"temperature": SCALAR(0.5, buoyancy=(0.0, 5.0))})
    sides = ((entering, outflow()), (wall(), wall(temperature=0.0)))
    return incompressible(flow, grid, dt, sides, scalar_interpolation=central)


@x64
def test_creeping_flow_at_a_hundred_times_the_explicit_limit():
    """The steady flow of a heated channel: the same as by explicit steps, and left as it is by
    both."""
    grid = jp.grids.Cells((12, 10), (2.0, 1.0), edges=(None, uneven(10)))
    slow = channel(grid, 0.8e-3)
    limit = float(slow.largest_dt(slow.start((1.0, 0.0))))
    fast = semi_implicit(channel(grid, 0.03))
    assert 0.8e-3 < limit < 3e-3
    end = advanced(fast, fast.start((1.0, 0.0)), 10.5)
    left = advanced(slow, end, 0.1)
    assert np.all(distances(end.velocity, left.velocity) < 1e-9)
    assert np.all(distances(end.scalars, left.scalars) < 1e-9)
    stokes = semi_implicit(incompressible(FLOW(1.0), grid, 100 * limit))
    spun = stokes.start(lambda x: jnp.stack([jnp.sin(9 * x[1]), jnp.cos(9 * x[0])]))
    sizes = [float(jnp.max(jnp.abs(stokes_end.velocity[0]))) for stokes_end in (
        advanced(stokes, spun, n * 100 * limit) for n in (5, 20))]  # fmt: skip
    assert sizes[1] < sizes[0] < 0.1


@x64
def test_transformations():
    """jit == eager, vmap == loop, and the gradient of a rollout against finite differences."""
    grid = jp.grids.Cells((5, 4), (1.2, 1.0))

    def run(p):
        step = semi_implicit(convection(grid, p["dt"], p))
        end = jp.repeat(step, 3)(step.start(temperature=lambda x: x[0]))
        return sum(jnp.sum(u**3) for u in jax.tree.leaves((end.velocity, end.scalars)))

    at = {"viscosity": 0.2, "diffusivity": 0.3, "lid": 1.0, "warm": 1.0, "dt": 0.05}
    at = {name: jnp.asarray(value) for name, value in at.items()}
    fast = jax.jit(run)
    assert float(run(at)) == pytest.approx(float(fast(at)), rel=1e-12)
    slopes = jax.jit(jax.grad(run))(at)
    for name, value in at.items():
        up, down = ({**at, name: value + sign * 1e-5} for sign in (1, -1))
        found = float(fast(up) - fast(down)) / 2e-5
        assert float(slopes[name]) == pytest.approx(found, rel=1e-6), name
    several = jnp.asarray([0.1, 0.4])
    together = jax.jit(jax.vmap(lambda nu: run({**at, "viscosity": nu})))(several)
    apart = [fast({**at, "viscosity": nu}) for nu in several]
    np.testing.assert_allclose(together, jnp.stack(apart), rtol=1e-11)


@x64
def test_newton_finds_the_flow_that_does_not_change():
    """At a Reynolds number of 20 to 100: left as it is by the explicit step, whatever the dt of the
    preconditioner; and its derivative by the viscosity against finite differences."""
    grid = jp.grids.Cells((10, 9), (1.0, 0.9))
    lid = wall((1.0, 0.0), temperature=1.0)

    def make(viscosity, dt):
        flow = FLOW(viscosity, scalars={"temperature": SCALAR(0.05, buoyancy=(0.0, -0.5))})
        sides = (slip(), (wall(temperature=flux(0.02)), lid))
        return incompressible(flow, grid, dt, sides, scalar_interpolation=central)

    @jax.jit
    def find(viscosity, dt=0.3):
        step = semi_implicit(make(viscosity, dt))
        return steady(step, step.start(temperature=1.0), tolerance=1e-10)

    found = find(0.02)
    same = find(0.02, 0.1)
    assert np.all(distances(found.velocity, same.velocity) < 1e-8)
    left = advanced(make(0.02, 0.02), found, 1.0)
    assert np.all(distances(found.velocity, left.velocity) < 1e-8)
    assert np.all(distances(found.scalars, left.scalars) < 1e-8)

    def judged(viscosity):
        end = find(viscosity)
        return jnp.sum(end.velocity[1] ** 3) + jnp.sum(end.scalars["temperature"] ** 2)

    slope = (judged(0.02 + 1e-5) - judged(0.02 - 1e-5)) / 2e-5
    assert float(jax.grad(judged)(0.02)) == pytest.approx(float(slope), rel=1e-5)


def test_refused():
    grid = jp.grids.Cells((16, 16))
    about = incompressible(FLOW(0.1), grid, 0.01, body=jp.shapes.Ball((0.5, 0.5), 0.2))
    with pytest.raises(ValueError, match="semi_implicit takes no flow with a body"):
        semi_implicit(about)
    step = semi_implicit(incompressible(FLOW(0.1), jp.grids.Cells((8, 8)), 0.1))
    with pytest.raises(ValueError, match="BackwardDifference remembers rates"):
        step(step.start(), (0.0, 1.0))
    fast = step.start(lambda x: jnp.stack([9 * jnp.sin(3 * x[1]), 0 * x[0]]))
    with pytest.raises(ValueError, match="stability limit of this state"):
        step(fast)
    with pytest.raises(ValueError, match="tolerance must be finite and > 0"):
        steady(step, step.start(), tolerance=0.0)
