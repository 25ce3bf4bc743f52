"""Frames that move: flows that are the same seen from them, added mass, gradients, bad input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import shapes
from jaxpbdl.solvers.flow import (
    force_on_body,
    frame_inputs,
    in_frame,
    incompressible,
    inflow,
    outflow,
    slip,
    wall,
)

pytestmark = pytest.mark.x64

FLOW = jp.equations.IncompressibleFlow
MIDDLE = (1.31, 1.22)


def stream(speed=1.0, **options):
    """A disc in a stream."""
    sides = (inflow((speed, 0.0)), outflow()), slip()
    grid = jp.grids.Cells((20, 16), (3.0, 2.4))
    options = {"body": shapes.Ball(MIDDLE, 0.5), **options}
    return incompressible(FLOW(0.1), grid, 0.02, sides, **options)


def test_a_stream_is_uniform_in_any_frame():
    """What is accelerated along both axes, sides with and without friction: no pressure, no
    change but that of the frame."""
    grid = jp.grids.Cells((6, 5), (1.5, 1.0))
    sides = (inflow((0.7, 0.0)), outflow()), (slip(), wall((0.7, 0.0)))
    step = in_frame(incompressible(FLOW(0.1), grid, 0.05, sides))
    velocities = np.array([[0.2, -0.1], [0.5, 0.3], [-0.4, 0.2], [0.0, 0.6]])
    path = frame_inputs(velocities, 3)
    states = jp.rollout(step, step.begin(velocities[0], (0.7, 0.0)), 3, inputs=path)
    for axis, (u, far) in enumerate(zip(states.velocity, (0.7, 0.0), strict=True)):
        for number, frame in enumerate(velocities):
            np.testing.assert_allclose(u[number], far - frame[axis], atol=1e-12)


def test_a_frame_of_constant_velocity_sees_another_stream():
    step, slower = in_frame(stream(1.0)), stream(0.7)
    frame = jnp.asarray([[0.3, 0.0]] * 3)
    path = frame_inputs(frame, 2)
    start = step.begin((0.3, 0.0), (1.0, 0.0))
    seen = jp.rollout(step, start, 2, inputs=path)
    plain = jp.rollout(slower, slower.start((0.7, 0.0)), 2)
    for one, two in zip(seen.velocity, plain.velocity, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-12)
    last = jax.tree.map(lambda leaf: leaf[-1], seen)
    np.testing.assert_allclose(
        step.force(last, path[1]), force_on_body(slower, last), rtol=1e-9, atol=1e-12
    )


def test_the_force_on_a_body_that_starts_to_move_is_that_of_its_added_mass():
    """Of a disc in fluid at rest without friction, the mass that it displaces; that on a body at
    rest in fluid which a pressure accelerates is twice as large, and the other way."""
    grid = jp.grids.Cells((40, 44), 6.0, -3.0)
    body = shapes.Ball((0.02, -0.03), 0.5)
    step = in_frame(incompressible(FLOW(1e-9), grid, 0.01, slip_and_ends(), body=body))
    area = np.pi * 0.5**2
    for acceleration in (np.array([2.0, 0.0]), np.array([0.0, -1.0])):
        velocities = jnp.asarray([0 * acceleration, 0.01 * acceleration])
        state = step.flow.start()
        force = step.force(state, velocities)
        np.testing.assert_allclose(force, -area * acceleration, rtol=0.06, atol=0.01)
        driven = force_on_body(step.at(state.time, velocities).step, state)
        np.testing.assert_allclose(driven - force, -area * acceleration, rtol=0.06, atol=0.01)


def slip_and_ends():
    still = inflow((0.0, 0.0))
    return (still, still), (still, still)


def test_gradients_reach_the_path():
    step = in_frame(stream())
    times = np.arange(4) * 0.02

    def pushed(p):
        speed = p[0] * jnp.cos(p[1] * times)
        velocities = jnp.stack([0.3 * speed, speed], axis=1)
        path = frame_inputs(velocities, 3)
        start = step.flow.grid.velocity((1.0, 0.0))
        state = jp.solvers.flow.Flow(start, jnp.zeros(()))
        states = jp.rollout(step, state, 3, inputs=path)
        last = jax.tree.map(lambda leaf: leaf[-1], states)
        return step.force(last, path[-1]) @ jnp.asarray([0.4, 1.0])

    at, along = jnp.asarray([0.5, 9.0]), jnp.asarray([0.3, 1.0])
    value, slope = eqx.filter_jit(pushed), jax.jit(jax.grad(pushed))(at)
    up, down = (value(at + sign * 1e-5 * along) for sign in (1, -1))
    assert float(slope @ along) == pytest.approx(float(up - down) / 2e-5, rel=1e-6)


def test_refused_paths():
    step = in_frame(incompressible(FLOW(0.1), jp.grids.Cells((6, 6)), 0.01))
    with pytest.raises(ValueError, match=r"velocities must have shape \(4, dim\), one more than"):
        frame_inputs(np.zeros((3, 2)), 3)
    with pytest.raises(ValueError, match="velocities must be finite"):
        frame_inputs(np.array([[0.0, 0.0], [np.inf, 0.0]]), 1)
    with pytest.raises(ValueError, match=r"velocities must have shape \(2, 2\), got \(2, 3\)"):
        step.at(jnp.zeros(()), jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"frame must have shape \(2,\), got \(3,\)"):
        step.begin((0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="first axis of length steps = 3"):
        jp.rollout(step, step.begin((0.0, 0.0)), 3, inputs=jnp.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=r"velocity must have shape \(2,\), got \(\)"):
        step.begin((0.0, 0.0), np.asarray(1.0))


def test_what_a_frame_would_get_wrong_is_refused():
    """Drag and forces act on what the fluid at rest sees, not on what the frame does."""
    grid = jp.grids.Cells((6, 6))
    for flow, name in (
        (FLOW(0.1, drag=0.1), "drag"),
        (FLOW(0.1, forcing=lambda point: point), "forcing"),
    ):
        with pytest.raises(ValueError, match=rf"without drag, .*, got \['{name}'\]"):
            in_frame(incompressible(flow, grid, 0.01))
