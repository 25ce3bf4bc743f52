"""Bodies in a flow: order of convergence, no leak, force, gradients to the shape, bad input."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import shapes
from jaxpbdl.solvers.flow import (
    Flow,
    force_on_body,
    incompressible,
    inflow,
    limited,
    outflow,
    pressure_on_body,
    slip,
    wall,
)
from jaxpbdl.solvers.flow.immersion import REACH, feet_of
from tests.solvers.flow.cases import VISCOSITY, steady

FLOW = jp.equations.IncompressibleFlow
CENTRE, RADIUS = np.array([0.03, -0.02]), 0.42


def stream(point):
    """Constant with its slope on the circle, periodic on [-1, 1]^2 but for 1e-9."""
    offset = point - CENTRE
    bump = 1 - jnp.exp(-((offset @ offset / RADIUS**2 - 1) ** 2))
    return bump * 0.3 * (jnp.sin(jnp.pi * point[0] + 0.4) + jnp.cos(jnp.pi * point[1]))


def exact_force(field):
    """Integral over the circle of pressure and friction."""

    def traction(angle):
        normal = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        point = CENTRE + RADIUS * normal
        slopes = jax.jacfwd(field)(point)[:2]
        return RADIUS * (VISCOSITY * (slopes + slopes.T) @ normal - field(point)[2] * normal)

    angles = jnp.linspace(0, 2 * jnp.pi, 400, endpoint=False)
    return 2 * jnp.pi * jnp.mean(jax.vmap(traction)(angles), axis=0)


@pytest.mark.x64
def test_feet_lie_on_the_surface():
    """The points of a disc nearest to values in and about it."""
    lines = (np.array([-0.2, 0.1]), np.array([0.05, 0.3, 0.6]))
    width = jnp.full((2, 3), 0.5)
    feet = feet_of(shapes.Ball(CENTRE, RADIUS), jnp.arange(6), lines, width)
    where = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 2) - CENTRE
    distance = np.linalg.norm(where, axis=1)
    outward = where / distance[:, None]
    np.testing.assert_allclose(feet.values, distance - RADIUS, atol=1e-12)
    np.testing.assert_allclose(feet.normals, outward, atol=1e-12)
    np.testing.assert_allclose(feet.feet, CENTRE + RADIUS * outward, atol=1e-12)
    np.testing.assert_allclose(feet.reach, REACH * 0.5)


@pytest.mark.x64
def test_second_order_about_a_disc():
    """A manufactured steady flow: velocity outside the disc, and the force on it."""
    velocity, flow, field = steady(stream)
    errors, forces = [], []
    for n in (28, 56):
        grid = jp.grids.Cells((n, n + 2), 2.0, -1.0, periodic=True)
        step = incompressible(flow, grid, 0.25 / n, body=shapes.Ball(CENTRE, RADIUS))
        end = jax.jit(jp.repeat(step, 14 * n, checkpoint=False))(step.start(velocity))
        assert jnp.max(jnp.abs(step.divergence(end.velocity))) < 1e-13
        squares = []
        for component, exact in enumerate(grid.velocity(velocity)):
            away = jnp.linalg.norm(grid.points_at(jp.grids.face(component)) - CENTRE, axis=-1)
            error = (end.velocity[component] - exact)[away > RADIUS]
            squares.append(jnp.mean(error**2))
        errors.append(float(jnp.sqrt(sum(squares))))
        forces.append(float(jnp.linalg.norm(force_on_body(step, end) - exact_force(field))))
    assert np.log2(errors[0] / errors[1]) > 1.8, errors
    assert np.log2(forces[0] / forces[1]) > 1.8, forces
    assert forces[1] < 0.03 * float(jnp.linalg.norm(exact_force(field))), forces


@pytest.fixture
def channel():
    """A small channel with a disc, as a function of its parameters."""
    grid = jp.grids.Cells((24, 16), (3.0, 2.0))

    def make(p, max_cut_faces=None):
        entering = inflow(jnp.stack([p["speed"], jnp.zeros(())]))
        return incompressible(
            FLOW(p["viscosity"]),
            grid,
            0.03,
            sides=((entering, outflow()), slip()),
            body=shapes.Ball(p["centre"], p["radius"]),
            max_cut_faces=max_cut_faces,
        )

    at = {"viscosity": 0.03, "speed": 1.0, "centre": (1.01, 1.04), "radius": 0.42}
    return make, at


def arrays(at):
    return {name: jnp.asarray(value) for name, value in at.items()}


@pytest.mark.x64
def test_gradients_to_shape_place_and_inflow(channel):
    # Between two switches of a face from open to closed, which move the drag by about a percent
    # on so coarse a grid.
    make, at = channel
    at = arrays(at)

    def drag(p):
        step = make(p, max_cut_faces=60)
        end = jp.repeat(step, 12)(step.start((1.0, 0.0)))
        return force_on_body(step, end) @ jnp.asarray([1.0, 0.3])

    run = jax.jit(drag)
    slopes = jax.jit(jax.grad(drag))(at)
    for name, value in at.items():
        for entry in range(value.size):
            nudge = jnp.zeros(value.size).at[entry].set(1e-7).reshape(value.shape)
            up, down = (run({**at, name: value + sign * nudge}) for sign in (1, -1))
            found = float(slopes[name].reshape(-1)[entry])
            assert found == pytest.approx(float(up - down) / 2e-7, rel=1e-5), name
    radii = jnp.asarray([0.4, 0.42])
    together = jax.jit(jax.vmap(lambda radius: drag({**at, "radius": radius})))(radii)
    apart = [run({**at, "radius": radius}) for radius in radii]
    np.testing.assert_allclose(together, jnp.stack(apart), rtol=1e-9)


@pytest.mark.x64
def test_a_traced_shape_gives_the_same_flow(channel):
    make, at = channel
    at = arrays(at)
    plain = make(at)
    start = plain.start((1.0, 0.0))

    @jax.jit
    def inside(p):
        return jp.repeat(make(p, max_cut_faces=80), 5)(start).velocity

    for a, b in zip(inside(at), jp.repeat(plain, 5)(start).velocity, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_nothing_crosses_the_surface_in_single_precision(channel):
    """Open or closed, the sum over the cells of what leaves them is round-off, and within the body
    nothing moves."""
    make, at = channel
    step = make(arrays(at))
    end = jp.repeat(step, 20)(step.start((1.0, 0.0)))
    assert jnp.max(jnp.abs(step.divergence(end.velocity))) < 1e-6
    for u, fraction in zip(end.velocity, step.body.open, strict=True):
        assert jnp.all(u[fraction == 0] == 0)


def test_drag_in_a_channel_near_the_published_one():
    """Schaefer and Turek's steady case (DFG 2D-1), drag 5.5795 at Re 20, on a coarse grid: 16
    cells a diameter. `benchmarks/flow_references.py` has the finer ones."""
    width = 0.1 / 16
    edges = jp.grids.graded(0.0, 2.2, (0.1, 0.35), width, 1.06)
    grid = jp.grids.Cells((len(edges) - 1, 66), (2.2, 0.41), edges=(edges, None))

    def profile(point):
        return jnp.stack([1.2 * point[1] * (0.41 - point[1]) / 0.41**2, 0 * point[0]])

    sides = ((inflow(profile), outflow()), wall())
    step = incompressible(FLOW(1e-3), grid, 3e-3, sides=sides, body=shapes.Ball((0.2, 0.2), 0.05))
    end = jax.jit(jp.repeat(step, 900, checkpoint=False))(step.start(profile))
    drag = float(force_on_body(step, end)[0]) * 2 / (0.2**2 * 0.1)
    assert drag == pytest.approx(5.5795, rel=0.02)


@pytest.mark.x64
def test_a_ball_in_three_dimensions():
    """Free of divergence, and pushed along the stream alone."""
    grid = jp.grids.Cells((16, 12, 12), (4.0, 3.0, 3.0))
    sides = ((inflow((1.0, 0.0, 0.0)), outflow()), slip(), slip())
    step = incompressible(
        FLOW(0.1), grid, 0.05, sides=sides, body=shapes.Ball((1.5, 1.5, 1.5), 0.6)
    )
    end = jax.jit(jp.repeat(step, 20, checkpoint=False))(step.start((1.0, 0.0, 0.0)))
    assert jnp.max(jnp.abs(step.divergence(end.velocity))) < 1e-13
    force = force_on_body(step, end)
    assert force[0] > 1.0 and jnp.max(jnp.abs(force[1:])) < 1e-9


@pytest.mark.parametrize(
    "shape, message",
    [
        (shapes.Ball((1.0, 1.0), 0.02), "no corner of the grid|thinner"),
        (shapes.Cuboid((1.0, 1.0), (0.5, 0.07)), "thinner along axis 1"),
        (shapes.Ball((0.3, 1.0), 0.25), "three cells away"),
        (
            shapes.Union([shapes.Ball((1.0, 1.0), 0.3), shapes.Ball((1.4, 1.0), 0.3)]),
            "shapes 0 and 1 of the union overlap",
        ),
    ],
)
def test_refused_shapes(shape, message):
    grid = jp.grids.Cells((24, 16), (3.0, 2.0))
    with pytest.raises(ValueError, match=message):
        incompressible(FLOW(0.1), grid, 0.01, body=shape)


def test_a_thin_tail_is_warned_of_unless_the_stencils_are_bounded():
    """A wedge, several cells thick at its foot and pointed at its end."""
    grid = jp.grids.Cells((32, 24), (4.0, 3.0))
    wedge = shapes.Outline([[1.0, 1.1], [2.9, 1.5], [1.0, 1.9]])
    with pytest.warns(UserWarning, match=r"thinner than two cells about \(2\.\d+, 1\.\d+\)"):
        incompressible(FLOW(0.1), grid, 0.01, body=wedge)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        incompressible(FLOW(0.1), grid, 0.01, body=wedge, interpolation=limited)
        incompressible(FLOW(0.1), grid, 0.01, body=shapes.Ball((2.0, 1.5), 0.5))


@pytest.mark.x64
@pytest.mark.parametrize("kind", ["built inside", "built outside", "function"])
def test_a_fixed_body_inside_jit_needs_no_room(channel, kind):
    """Gradients to viscosity and inflow; eagerly the body is the same."""
    _, at = channel
    at, grid = arrays(at), jp.grids.Cells((24, 16), (3.0, 2.0))
    centre, radius = np.array([1.01, 1.04]), 0.42
    outside = shapes.Ball(centre, radius)

    def drag(p):
        body = {
            "built inside": lambda: shapes.Ball((1.01, 1.04), 0.42),
            "built outside": lambda: outside,
            "function": lambda: lambda point: jnp.linalg.norm(point - centre) - radius,
        }[kind]()
        entering = inflow(jnp.stack([p["speed"], jnp.zeros(())]))
        sides = ((entering, outflow()), slip())
        step = incompressible(FLOW(p["viscosity"]), grid, 0.03, sides=sides, body=body)
        end = jp.repeat(step, 2)(step.start((1.0, 0.0)))
        return force_on_body(step, end)[0]

    fast, slopes = jax.jit(jax.value_and_grad(drag))(at)
    assert float(fast) == pytest.approx(float(drag(at)), rel=1e-9)
    for name in ("viscosity", "speed"):
        up, down = (drag({**at, name: at[name] + sign * 1e-6}) for sign in (1, -1))
        assert float(slopes[name]) == pytest.approx(float(up - down) / 2e-6, rel=1e-5), name


def test_an_unresolved_body_is_refused_inside_jit_too():
    grid = jp.grids.Cells((24, 16), (3.0, 2.0))

    def speed(viscosity):
        step = incompressible(FLOW(viscosity), grid, 0.01, body=shapes.Ball((0.3, 1.0), 0.25))
        return jnp.sum(step.start().velocity[0])

    with pytest.raises(ValueError, match="three cells away"):
        jax.jit(speed)(0.1)


def test_a_function_that_closes_over_traced_numbers_needs_room():
    grid = jp.grids.Cells((24, 16), (3.0, 2.0))

    def force(radius):
        def disc(point):
            return jnp.linalg.norm(point - 1.0) - radius

        step = incompressible(FLOW(0.1), grid, 0.01, body=disc)
        return jnp.sum(step.start().velocity[0])

    for transformed in (jax.jit(force), jax.grad(force)):
        with pytest.raises(ValueError, match="give `max_cut_faces`"):
            transformed(0.4)


def test_a_traced_shape_needs_room(channel):
    make, at = channel
    with pytest.raises(ValueError, match="give `max_cut_faces`"):
        jax.jit(lambda p: make(p).start((1.0, 0.0)))(arrays(at))


def test_too_little_room_is_said(channel):
    make, at = channel
    with pytest.raises(RuntimeError, match="cuts more faces than `max_cut_faces` = 10"):
        jax.jit(lambda p: make(p, max_cut_faces=10).start((1.0, 0.0)))(arrays(at))


@pytest.mark.x64
@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_pressure_on_a_body_is_that_of_fluid_at_rest(bend):
    """Which balances a force with a potential: exactly one that is linear, to second order one of
    second degree, at points all around the disc, but for the level that a closed box leaves free.
    """

    def potential(point):
        return 3 * point[0] - 2 * point[1] + bend * (point[0] ** 2 + point[0] * point[1])

    ball = shapes.Ball(CENTRE, RADIUS)
    angles = jnp.linspace(0, 2 * jnp.pi, 24, endpoint=False)
    points = CENTRE + RADIUS * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    exact, errors = jax.vmap(potential)(points), []
    for n in (20, 40):
        grid = jp.grids.Cells((n, n + 2), 2.0, -1.0)
        step = incompressible(FLOW(0.1, forcing=jax.grad(potential)), grid, 0.01, body=ball)
        found = pressure_on_body(step, step.start(), ball, points)
        difference = found - exact
        errors.append(float(jnp.max(jnp.abs(difference - jnp.mean(difference)))))
    assert errors[1] < (0.02 if bend else 1e-10), errors
    assert not bend or np.log2(errors[0] / errors[1]) > 1.5, errors


def test_force_needs_a_body():
    step = incompressible(FLOW(0.1), jp.grids.Cells((8, 8)), 0.01)
    with pytest.raises(ValueError, match="no body"):
        force_on_body(step, Flow(step.start().velocity, jnp.zeros(())))
