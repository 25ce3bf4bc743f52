"""Smagorinsky's closure: exact where it can be, conservative, dissipative, differentiable."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.grids import Cells, face
from jaxpbdl.grids.cells import face_widths
from jaxpbdl.grids.operators import mean
from jaxpbdl.solvers.flow import Smagorinsky, incompressible, outflow, semi_implicit, slip, wall
from jaxpbdl.solvers.flow.closures import strain_rate
from jaxpbdl.solvers.flow.sides import Boundary

EDGES = np.array([0.0, 0.2, 0.5, 0.7, 1.2, 1.4, 2.0])


def plane():
    return Cells((5, 6), 2.0, periodic=(True, False), edges=(None, EDGES))


def space():
    lengths, periodic = (2.0, 1.0, 1.5), (False, True, False)
    return Cells((6, 5, 4), lengths, periodic=periodic, edges=(EDGES, None, None))


def random_flow(grid, sides, seed=2):
    """Random components, with those of the sides there."""
    random = np.random.default_rng(seed)
    shapes = [grid.shape_at(face(axis)) for axis in range(grid.ndim)]
    start = tuple(jnp.asarray(random.normal(size=shape)) for shape in shapes)
    step = incompressible(IncompressibleFlow(0.0), grid, 1e-3, sides)
    return step.start(start).velocity, step.boundary.at(jnp.zeros(()))


def volumes(axis, grid):
    """Of the faces across an axis."""
    return np.prod(np.stack(np.meshgrid(*face_widths(axis, grid), indexing="ij")), axis=0)


def power(rates, velocity, grid):
    """The integral of u . rate."""
    pairs = enumerate(zip(rates, velocity, strict=True))
    return sum(float(jnp.sum(rate * u * volumes(axis, grid))) for axis, (rate, u) in pairs)


@pytest.mark.x64
def test_a_linear_shear_flow_between_walls_that_move():
    """nu_t is (C delta)^2 times the slope in each cell; in equal cells nothing is accelerated, in
    graded ones as the slope of nu_t between the cells says."""
    sides = (None, (wall((0.0, 0.0)), wall((6.0, 0.0))))
    closure = Smagorinsky(0.2)
    for edges in (np.linspace(0, 2, 7), EDGES):
        grid = Cells((5, 6), 2.0, periodic=(True, False), edges=(None, edges))
        planes = Boundary(sides, grid).at(jnp.zeros(()))
        velocity = grid.velocity(lambda point: (3 * point[1], 0 * point[1]))
        found = closure.viscosity(velocity, planes, grid)
        expected = 0.2**2 * 0.4 * np.diff(edges) * 3
        np.testing.assert_allclose(found, np.broadcast_to(expected, (5, 6)), rtol=1e-12)
        h = np.diff(edges)
        between = (expected[1:] * h[:-1] + expected[:-1] * h[1:]) / (h[1:] + h[:-1])
        stress = 3 * np.concatenate([expected[:1], between, expected[-1:]])
        rates = closure(velocity, planes, grid)
        np.testing.assert_allclose(
            rates[0], np.broadcast_to(np.diff(stress) / h, (5, 6)), atol=1e-12
        )
        np.testing.assert_allclose(rates[1], 0.0, atol=1e-12)


@pytest.mark.x64
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_smooth_flow_with_second_order(ndim):
    """Beside the derivatives of 2 (C delta)^2 |S| S, away from the walls; |S| has no zero there."""

    def field(point):
        x, y = point[0], point[1]
        z = point[2] if ndim == 3 else 0.3
        u = 3 * y + 0.15 * jnp.sin(2 * jnp.pi * x) * jnp.cos(2 * jnp.pi * z)
        v = 0.1 * jnp.cos(2 * jnp.pi * x) * jnp.sin(jnp.pi * y)
        w = 0.15 * jnp.sin(2 * jnp.pi * (x + z)) * jnp.cos(jnp.pi * y)
        return jnp.stack([u, v, w][:ndim])

    def on_wall(y):  # which v does not cross
        return lambda point: field(point.at[1].set(y)).at[1].set(0.0)

    def stress(point):
        slopes = jax.jacfwd(field)(point)
        strain = (slopes + slopes.T) / 2
        return 2 * jnp.sqrt(2 * jnp.sum(strain**2)) * strain

    def exact(point):
        return jnp.einsum("abb->a", jax.jacfwd(stress)(point))

    errors = []
    for n in (12, 24):
        periodic = tuple(axis != 1 for axis in range(ndim))
        grid = Cells((n,) * ndim, periodic=periodic)
        sides = [None, (wall(on_wall(0.0)), wall(on_wall(1.0))), None][:ndim]
        planes = Boundary(sides, grid).at(jnp.zeros(()))
        found = eqx.filter_jit(Smagorinsky(n))(grid.velocity(field), planes, grid)
        inner = (slice(None), slice(n // 4, 3 * n // 4))
        pairs = zip(found, grid.velocity(exact), strict=True)
        errors.append([float(jnp.sqrt(jnp.mean((a - b)[inner] ** 2))) for a, b in pairs])
    assert np.all(np.divide(*errors) > 3.5)


@pytest.mark.x64
@pytest.mark.parametrize("shape", [(8, 9), (6, 5, 7)])
def test_periodic_momentum_is_kept(shape):
    edges = [np.cumsum(np.r_[0, 1 + 0.5 * np.sin(np.arange(n))]) for n in shape]
    grid = Cells(shape, periodic=True, edges=edges)
    velocity, planes = random_flow(grid, None)
    rates = Smagorinsky(0.3)(velocity, planes, grid)
    for axis, rate in enumerate(rates):
        assert float(jnp.abs(rate).max()) > 0.1
        assert abs(float(jnp.sum(rate * volumes(axis, grid)))) < 1e-11


@pytest.mark.x64
@pytest.mark.parametrize(
    ("grid", "sides"),
    [
        (plane, (None, (wall(), slip()))),
        (plane, (None, (wall(), outflow()))),
        (space, ((wall(), slip()), None, wall())),
        (space, ((outflow(), wall()), None, (outflow(), slip()))),
    ],
    ids=["wall and slip", "outflow", "space", "corners of outflows"],
)
def test_energy_is_lost_as_the_strain_says(grid, sides):
    """The power is minus the integral of 2 nu_t S_ij S_ij, to rounding."""
    grid = grid()
    velocity, planes = random_flow(grid, sides)
    closure = Smagorinsky(0.2)
    lost = -power(closure(velocity, planes, grid), velocity, grid)
    viscosity = np.asarray(closure.viscosity(velocity, planes, grid))
    strain = strain_rate(velocity, planes, grid)
    normal = sum(2 * viscosity * np.asarray(one) ** 2 for one in strain.normal)
    expected = float(np.sum(normal * np.asarray(grid.volumes)))
    for pair, shear in strain.shear.items():
        there, widths = jnp.asarray(viscosity), list(grid.widths)
        for axis in pair:
            there = mean(there, axis, grid, (None, None))
            gaps = grid.gaps[axis]
            # The last of a periodic axis is the first once more.
            widths[axis] = np.r_[gaps[:-1], 0.0] if grid.periodic[axis] else gaps
        around = np.prod(np.stack(np.meshgrid(*widths, indexing="ij")), axis=0)
        expected += float(jnp.sum(4 * there * shear**2 * around))
    assert lost == pytest.approx(expected, rel=1e-12) and lost > 0


@pytest.mark.x64
def test_derivatives_are_those_of_differences():
    grid = plane()
    velocity, planes = random_flow(grid, (None, wall()))
    random = np.random.default_rng(4)
    other = tuple(jnp.asarray(random.normal(size=u.shape)) for u in velocity)

    @jax.jit
    def measure(constant, size):
        moved = tuple(u + size * du for u, du in zip(velocity, other, strict=True))
        rates = Smagorinsky(constant)(moved, planes, grid)
        return sum(jnp.sum(rate * du) for rate, du in zip(rates, other, strict=True))

    for at in (0, 1):
        found = float(jax.grad(measure, at)(0.2, 0.1))
        low, high = (
            float(measure(*(v + (i == at) * h for i, v in enumerate((0.2, 0.1)))))
            for h in (-1e-5, 1e-5)
        )
        assert found == pytest.approx((high - low) / 2e-5, rel=1e-7)
    still = jax.grad(lambda u: sum(map(jnp.sum, Smagorinsky()(u, planes, grid))))(grid.velocity())
    assert all(bool(jnp.all(part == 0)) for part in still)


def test_without_a_constant_there_is_no_closure():
    """And any function of velocity, sides and grid is one, here a viscosity with known waves."""
    grid = Cells((8, 8), 2 * np.pi, periodic=True)
    flow = IncompressibleFlow(0.01)
    start = lambda point: (jnp.sin(point[1]), jnp.sin(point[0]))  # noqa: E731

    def after(closure):
        step = incompressible(flow, grid, 0.05, closure=closure)
        return jp.repeat(step, 4)(step.start(start)).velocity[0]

    bare = after(None)
    np.testing.assert_array_equal(after(Smagorinsky(0.0)), bare)
    assert float(jnp.abs(after(Smagorinsky(0.3)) - bare).max()) > 1e-3
    np.testing.assert_allclose(
        after(lambda velocity, planes, grid: tuple(-0.5 * u for u in velocity)),
        np.exp(-0.1) * bare,
        atol=3e-4,
    )


def test_the_limit_of_dt():
    """Of the decay alone, where what is carried can be neglected: twice nu_t counts."""
    grid = plane()
    closure = Smagorinsky(5.0)
    step = incompressible(IncompressibleFlow(0.1), grid, 1e-4, (None, wall()), closure=closure)
    velocity, planes = random_flow(grid, (None, wall()))
    state = step.start(velocity)
    viscosity = np.asarray(closure.viscosity(state.velocity, planes, grid))
    widest = 4 / 0.4**2 + 4 / np.diff(EDGES) ** 2
    decay = np.max(2 * viscosity * widest) + 0.1 * widest.max()
    bare = incompressible(IncompressibleFlow(0.0), grid, 1e-4, (None, wall()))
    crossing = 1 / float(bare.largest_dt(state))
    found = 1 / float(step.largest_dt(state))
    assert found == pytest.approx(crossing + decay / step.scheme.real, rel=1e-4)
    implicit = [float(semi_implicit(one).largest_dt(state)) for one in (bare, step)]
    assert implicit[1] < implicit[0] / 10


def test_what_cannot_be_is_refused():
    grid = plane()
    with pytest.raises(ValueError, match="constant must be finite and >= 0, got -0.1"):
        Smagorinsky(-0.1)
    with pytest.raises(ValueError, match=r"constant must have shape \(\), got \(2,\)"):
        Smagorinsky(jnp.ones(2))
    flow = IncompressibleFlow(0.1)
    with pytest.raises(ValueError, match="closure takes 2 or 3 axes, got 1"):
        incompressible(flow, Cells((8,), periodic=True), 0.1, closure=Smagorinsky())
    body = jp.shapes.Ball((1.0, 1.0), 0.5)
    with pytest.raises(ValueError, match="closure takes no flow about a body"):
        incompressible(flow, Cells((16, 16), 2.0), 0.1, body=body, closure=Smagorinsky())
    step = incompressible(flow, grid, 1e-3, (None, wall()), closure=Smagorinsky())
    states = jp.rollout(step, step.start(), 2)
    with pytest.raises(ValueError, match="`closure` of the step"):
        step.equation_and_field(states, states.time)
