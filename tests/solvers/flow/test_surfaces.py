"""Surfaces that slide: circular Couette flow, torque, several bodies, inputs, gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import shapes
from jaxpbdl.solvers.flow import (
    force_on_body,
    incompressible,
    inflow,
    outflow,
    sliding,
    slip,
    spin,
    torque_on_body,
)
from jaxpbdl.solvers.time import adams_bashforth
from tests.solvers.flow.cases import steady

pytestmark = pytest.mark.x64

FLOW = jp.equations.IncompressibleFlow
CENTRE = np.array([0.013, -0.021])
INNER, OUTER, RATE, VISCOSITY = 0.41, 0.8, 1.3, 0.1
# Of the profile a r + b / r.
B = RATE * INNER**2 * OUTER**2 / (OUTER**2 - INNER**2)
A = -B / OUTER**2


def container(point):
    return OUTER - jnp.linalg.norm(point - CENTRE)


def couette(point):
    away = point - CENTRE
    squared = jnp.maximum(away @ away, INNER**2)
    return (A + B / squared) * jnp.stack([-away[1], away[0]])


@eqx.filter_jit
def after(step, state, steps):
    """The state so many steps later; one program for all steps of one kind."""
    return jax.lax.fori_loop(0, steps, lambda _, flow: step(flow), state)


@eqx.filter_jit
def loads(step, state, about, shape=None):
    """Force and torque."""
    return force_on_body(step, state, shape=shape), torque_on_body(step, state, about, shape=shape)


def test_a_disc_that_turns_in_a_container_drives_circular_couette_flow():
    """Velocity a r + b / r and torque 4 pi viscosity b, both of second order; what turns the disc
    is what the container feels, and neither is pushed."""
    exact = 4 * np.pi * VISCOSITY * B
    disc, errors, torques = shapes.Ball(CENTRE, INNER), [], []
    for n in (28, 50):
        grid = jp.grids.Cells((n, n + 2), 2.4, -1.2, periodic=True)
        step = incompressible(
            FLOW(VISCOSITY),
            grid,
            0.22 * (2.4 / n) ** 2 / VISCOSITY,
            body=shapes.Union([disc, container]),
            surface=[spin(CENTRE, RATE), lambda point: 0 * point],
        )
        end = after(step, step.start(couette), round(0.5 / float(step.dt)))
        assert jnp.max(jnp.abs(step.divergence(end.velocity))) < 1e-14
        squares = []
        for component, field in enumerate(grid.velocity(couette)):
            radius = jnp.linalg.norm(grid.points_at(jp.grids.face(component)) - CENTRE, axis=-1)
            between = (radius > INNER) & (radius < OUTER)
            squares.append(jnp.mean((end.velocity[component] - field)[between] ** 2))
        errors.append(float(jnp.sqrt(sum(squares))))
        force, inner = loads(step, end, CENTRE, disc)
        outer = loads(step, end, CENTRE, container)[1]
        torques.append(float(abs(inner / -exact - 1)))
        assert float(inner) == pytest.approx(-float(outer), rel=2e-3)
        assert jnp.max(jnp.abs(force)) < 0.04 * exact
    order = np.log(50 / 28)
    assert np.log(errors[0] / errors[1]) / order > 1.7, errors
    assert np.log(torques[0] / torques[1]) / order > 1.7, torques
    assert torques[1] < 0.01, torques


def test_second_order_about_a_disc_that_turns_in_a_stream():
    """A manufactured steady flow whose speed along the disc is constant and whose slope varies:
    velocity outside the disc, force on it and torque."""
    viscosity, speed, radius = 0.02, 1.0, 0.42

    def stream_function(point):
        offset = point - CENTRE
        depth = offset @ offset / radius**2 - 1
        bump = jnp.exp(-(depth**2))
        slide = -0.5 * radius * speed * depth * bump
        waves = 0.3 * (jnp.sin(jnp.pi * point[0] + 0.4) + jnp.cos(jnp.pi * point[1]))
        return slide + (1 - bump) * waves

    velocity, equation, field = steady(stream_function, viscosity)

    def traction(angle):
        normal = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        point = CENTRE + radius * normal
        slopes = jax.jacfwd(field)(point)[:2]
        one = radius * (viscosity * (slopes + slopes.T) @ normal - field(point)[2] * normal)
        return jnp.append(one, radius * (normal[0] * one[1] - normal[1] * one[0]))

    angles = jnp.linspace(0, 2 * jnp.pi, 400, endpoint=False)
    exact = 2 * jnp.pi * jnp.mean(jax.vmap(traction)(angles), axis=0)
    disc, errors, forces, torques = shapes.Ball(CENTRE, radius), [], [], []
    for n in (28, 56):
        grid = jp.grids.Cells((n, n + 2), 2.0, -1.0, periodic=True)
        step = incompressible(
            equation, grid, 0.25 / n, body=disc, surface=spin(CENTRE, speed / radius)
        )
        end = after(step, step.start(velocity), 6 * n)
        squares = []
        for component, field_there in enumerate(grid.velocity(velocity)):
            away = jnp.linalg.norm(grid.points_at(jp.grids.face(component)) - CENTRE, axis=-1)
            error = (end.velocity[component] - field_there)[away > radius]
            squares.append(jnp.mean(error**2))
        errors.append(float(jnp.sqrt(sum(squares))))
        force, torque = loads(step, end, CENTRE)
        forces.append(float(jnp.linalg.norm(force - exact[:2])))
        torques.append(float(jnp.abs(torque - exact[2])))
    # Without what is restored of the momentum that the conservative form takes away, the coarse
    # flow is further off.
    assert errors[0] < 0.3 and forces[0] < 0.2 * float(jnp.linalg.norm(exact[:2]))
    assert np.log2(errors[0] / errors[1]) > 1.7, errors
    assert np.log2(forces[0] / forces[1]) > 1.7, forces
    assert np.log2(torques[0] / torques[1]) > 1.7, torques
    assert forces[1] < 0.06 * float(jnp.linalg.norm(exact[:2])), forces
    assert torques[1] < 0.06 * float(jnp.abs(exact[2])), torques


MIDDLE = (1.31, 1.22)


def stream(**options):
    """A disc in a stream, with what its surface does."""
    sides = (inflow((1.0, 0.0)), outflow()), slip()
    grid = jp.grids.Cells((20, 16), (3.0, 2.4))
    options = {"body": shapes.Ball(MIDDLE, 0.5), **options}
    return incompressible(FLOW(0.1), grid, 0.02, sides, **options)


def test_a_surface_at_rest_changes_no_bit():
    """Nor does a rate of zero, whatever it was before."""
    plain, turning = stream(), sliding(stream(surface=spin(MIDDLE)))
    start = plain.start((1.0, 0.0))
    ends = [after(step, start, 3) for step in (plain, turning.at(jnp.zeros(1)))]
    for one, two in zip(ends[0].velocity, ends[1].velocity, strict=True):
        assert jnp.array_equal(one, two)
    assert jnp.max(jnp.abs(ends[0].velocity[1])) > 0.1


def test_rates_are_inputs():
    """Held over each step: two in turn, as two steps with these rates; without an input one."""
    step, start = sliding(stream(surface=spin(MIDDLE, 0.5))), stream().start((1.0, 0.0))
    states = jp.rollout(step, start, 2, inputs=jnp.asarray([[1.0], [-3.0]]))
    first = after(stream(surface=spin(MIDDLE, 0.5)), start, 1)
    second = after(stream(surface=spin(MIDDLE, -1.5)), first, 1)
    for number, one in enumerate((first, second), 1):
        for kept, u in zip(states.velocity, one.velocity, strict=True):
            np.testing.assert_allclose(kept[number], u, atol=1e-13)
    np.testing.assert_allclose(after(step, start, 1).velocity[1], first.velocity[1], atol=1e-13)
    assert jnp.max(jnp.abs(second.velocity[1] - first.velocity[1])) > 1e-3


def test_a_cylinder_that_turns_anticlockwise_in_a_stream_is_pushed_down():
    """And the fluid turns it back; the other way round, both change their signs."""
    start = stream().start((1.0, 0.0))
    for sign in (1.0, -1.0):
        step = stream(surface=spin(MIDDLE, 2 * sign))
        force, torque = loads(step, after(step, start, 40), MIDDLE)
        assert sign * float(force[1]) < -0.3
        assert sign * float(torque) < -0.1


def test_two_bodies_have_forces_and_torques_of_their_own():
    """Mirror images, one of which turns the other way; all about a point that is not their own."""
    grid = jp.grids.Cells((36, 20), (4.5, 2.5), (-2.25, -1.25))
    discs = [shapes.Ball((sign * 1.0, 0.02), 0.45) for sign in (1, -1)]
    spins = [spin(discs[0].centre, 1.5), spin(discs[1].centre, -1.5)]
    step = incompressible(FLOW(0.1), grid, 0.01, body=shapes.Union(discs), surface=spins)
    end, about = after(step, step.start(), 15), jnp.asarray([0.0, 0.3])
    (right, first), (left, second) = (loads(step, end, about, disc) for disc in discs)
    np.testing.assert_allclose(right, left * jnp.asarray([-1, 1]), rtol=1e-6)
    assert float(first) == pytest.approx(-float(second), rel=1e-6)
    assert float(first) < -0.05
    np.testing.assert_allclose(right + left, loads(step, end, about)[0], atol=1e-12)
    # The moment about another point is that of the force.
    moved = loads(step, end, jnp.asarray([0.5, 0.0]), discs[0])[1]
    moment = -0.3 * float(right[0]) - 0.5 * float(right[1])
    assert float(moved - first) == pytest.approx(moment, rel=1e-9)
    assert abs(moment) > 1e-3


def test_gradients_reach_the_rates():
    """Of lift and torque, to the rate of a surface and to factors in time."""

    def measured(p):
        step = sliding(stream(surface=spin(MIDDLE, p["rate"])))
        start = step.flow.grid.velocity((1.0, 0.0))
        state = jp.solvers.flow.Flow(start, jnp.zeros(()))
        states = jp.rollout(step, state, 2, inputs=p["factors"][:, None])
        last, end = step.at(p["factors"][-1:]), jax.tree.map(lambda leaf: leaf[-1], states)
        return force_on_body(last, end)[1] + 0.3 * torque_on_body(last, end, (1.5, 1.5))

    at = {"rate": jnp.asarray(1.1), "factors": jnp.asarray([0.4, -0.7])}
    along = {"rate": jnp.asarray(0.7), "factors": jnp.asarray([0.3, -0.5])}
    compiled, slopes = jax.jit(measured), jax.jit(jax.grad(measured))(at)
    for name in at:
        up, down = (
            compiled({**at, name: at[name] + sign * 1e-5 * along[name]}) for sign in (1, -1)
        )
        found = float(jnp.sum(slopes[name] * along[name]))
        assert found == pytest.approx(float(up - down) / 2e-5, rel=1e-6), name


def test_a_cylinder_in_three_dimensions_feels_what_it_does_in_two():
    """Its axis along two axes of the box in turn; per unit of length. Open parts of faces are means
    over edges, so that the two are not the same to the last digit."""

    def disc(point):
        return jnp.linalg.norm(point - jnp.asarray([0.02, -0.03])) - 0.5

    def flow(shape, lengths, body, surface):
        grid = jp.grids.Cells(shape, lengths, tuple(-side / 2 for side in lengths), periodic=True)
        step = incompressible(FLOW(0.1), grid, 0.02, body=body, surface=surface)
        end = after(step, step.start(), 3)
        return loads(step, end, jnp.zeros(grid.ndim))[1]

    flat = flow((14, 12), (2.1, 1.8), disc, spin((0.02, -0.03), 1.5))
    assert float(flat) < -0.05
    for axis in (0, 2):
        others = [a for a in range(3) if a != axis]
        shape, lengths = np.full(3, 4), np.full(3, 0.6)
        shape[others], lengths[others] = (14, 12), (2.1, 1.8)
        centre, rate = np.zeros(3), np.zeros(3)
        centre[others], rate[axis] = (0.02, -0.03), 1.5

        def body(point, others=tuple(others)):
            return disc(point[jnp.asarray(others)])

        sizes = tuple(int(n) for n in shape), tuple(float(x) for x in lengths)
        torque = flow(*sizes, body, spin(centre, rate))
        np.testing.assert_allclose(torque[axis], 0.6 * flat, rtol=0.05)
        np.testing.assert_allclose(torque[np.asarray(others)], 0.0, atol=1e-9)


@pytest.mark.parametrize(
    "surface, message",
    [
        (lambda p: p[0], r"surface velocity 0 must have the shape \(2,\) of the grid, got \(\)"),
        (
            spin((0.7, 1.22)),
            r"surface velocity 0 must point along the surface, got 0\.6\d* across it",
        ),
        (lambda p: p * jnp.inf, "surface velocity 0 must be finite on the surface"),
        ([spin(MIDDLE)] * 2, "surface must be one velocity or 1, one for each shape; got 2"),
    ],
)
def test_refused_surfaces(surface, message):
    with pytest.raises(ValueError, match=message):
        stream(surface=surface)


def test_other_refused_input():
    with pytest.raises(ValueError, match="surface gives a velocity, but there is no body"):
        incompressible(FLOW(0.1), jp.grids.Cells((8, 8)), 0.01, surface=spin((0.5, 0.5)))
    with pytest.raises(ValueError, match="sliding takes a flow about a body with a `surface`"):
        sliding(stream())
    step = sliding(stream(surface=spin(MIDDLE)))
    with pytest.raises(ValueError, match=r"factors must have shape \(1,\), got \(2,\)"):
        step.at(jnp.ones(2))
    with pytest.raises(ValueError, match="factors must be finite"):
        step.at(jnp.asarray([jnp.nan]))
    with pytest.raises(ValueError, match=r"inputs must have a first axis of length steps = 3"):
        jp.rollout(step, step.start(), 3, inputs=jnp.ones((2, 1)))
    with pytest.raises(ValueError, match="rate must be finite, got nan"):
        spin((0.0, 0.0), float("nan"))
    with pytest.raises(ValueError, match=r"got shapes \(3,\) and \(\)"):
        spin((0.0, 0.0, 0.0), 1.0)
    with pytest.raises(ValueError, match=r"about must have shape \(2,\), got \(3,\)"):
        torque_on_body(step.flow, step.start(), (0.0, 0.0, 0.0))
    start = step.flow.start()
    with pytest.raises(ValueError, match=r"shape must be one of .*: \d+ of \d+ faces within"):
        force_on_body(step.flow, start, shape=shapes.Ball((2.2, 1.22), 0.4))
    with pytest.raises(ValueError, match=r"shape must be a whole body .*: .* solid is 2\.\d cells"):
        torque_on_body(step.flow, start, MIDDLE, shape=shapes.Ball(MIDDLE, 0.1))
    whole = force_on_body(step.flow, start, shape=shapes.Ball(MIDDLE, 0.5))
    assert jnp.array_equal(whole, force_on_body(step.flow, start))
    remembering = sliding(stream(surface=spin(MIDDLE), scheme=adams_bashforth))
    with pytest.raises(ValueError, match="needs a one-step scheme"):
        remembering.advance(None, jnp.ones(1))


def test_the_speed_of_a_surface_bounds_dt():
    """Before the fluid has felt it: from rest there is no other limit than that of diffusion."""
    grid = jp.grids.Cells((16, 16), 2.0)
    disc = shapes.Ball((1.01, 1.02), 0.4)

    def largest(rate):
        flow = FLOW(1e-3)
        step = incompressible(flow, grid, 1e-3, body=disc, surface=spin((1.01, 1.02), rate))
        return float(step.largest_dt(step.start((0.0, 0.0))))

    assert largest(20.0) < 0.3 * largest(1.0)
    with pytest.raises(ValueError, match="dt = 0.1 is above the stability limit"):
        fast = incompressible(FLOW(1e-3), grid, 0.1, body=disc, surface=spin((1.01, 1.02), 40.0))
        fast(fast.start((0.0, 0.0)))
