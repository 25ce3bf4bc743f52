"""Schemes in time for any system: order, stability, conservation, inputs, substeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import time

pytestmark = pytest.mark.x64
SCHEMES = {
    "rk3": (time.rk3, 3),
    "ssp_rk2": (time.ssp_rk2, 2),
    "ssp_rk3": (time.ssp_rk3, 3),
    "rk4": (time.rk4, 4),
    "adams_bashforth": (time.adams_bashforth, 3),
}
every_scheme = pytest.mark.parametrize(("scheme", "order"), SCHEMES.values(), ids=list(SCHEMES))


def pendulum(state):
    """Of angle and speed, pushed in time: a tree whose clock runs at the rate of one."""
    return {
        "angle": state["speed"],
        "speed": -jnp.sin(state["angle"]) + 0.3 * jnp.cos(state["time"]),
        "time": jnp.ones(()),
    }


START = {"angle": 1.0, "speed": 0.2, "time": 0.0}


def final(scheme, steps, duration=2.0):
    step = time.explicit(pendulum, duration / steps, scheme)
    return jax.jit(jp.repeat(step, steps))(jax.tree.map(jnp.asarray, START))


@every_scheme
def test_order_with_explicit_time(scheme, order):
    exact = final(time.rk4, 4000)
    errors = [abs(float(final(scheme, n)["angle"] - exact["angle"])) for n in (80, 160)]
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.25
    assert float(final(scheme, 80)["time"]) == pytest.approx(2.0, abs=1e-12)


@every_scheme
def test_stability_region_is_where_it_is_said_to_be(scheme, order):
    """At 0.97 of the limit an oscillation and a decay stay, at 1.1 they grow."""
    for axis, rate in (("imaginary", 1j), ("real", -1.0)):
        limit = getattr(scheme, axis)

        def grown(factor, rate=rate, limit=limit):
            step = time.explicit(lambda z: rate * z, factor * limit, scheme)
            return abs(complex(jax.jit(jp.repeat(step, 400))(jnp.asarray(1.0 + 0j))))

        assert grown(0.97) < 1.1, axis
        if limit > 0.01:  # that of two stages is none: growth is slow
            assert grown(1.1) > 2, axis


@pytest.mark.parametrize("scheme", [time.ssp_rk2, time.ssp_rk3])
def test_no_new_extrema(scheme):
    """Upwind advection of a step, at the dt at which Euler's scheme makes none."""
    step = time.explicit(lambda u: -(u - jnp.roll(u, 1)), 1.0, scheme)
    states = jp.rollout(step, jnp.where(jnp.arange(40) < 15, 1.0, 0.0), 30)
    assert jnp.min(states) > -1e-14 and jnp.max(states) < 1 + 1e-14


@pytest.mark.parametrize(("scheme", "order"), [(time.leapfrog, 2), (time.yoshida, 4)])
def test_symplectic_schemes(scheme, order):
    """Order, energy that does not drift, and the way back."""

    def run(steps, duration=3.0, start=(1.0, 0.3)):
        step = time.hamiltonian(lambda p: p, lambda q: -jnp.sin(q), duration / steps, scheme)
        start = tuple(jnp.asarray(value) for value in start)
        return jax.jit(jp.repeat(step, steps))(start)

    exact = run(6000)
    errors = [abs(float(run(n)[0] - exact[0])) for n in (40, 80)]
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.25
    energies = [float(p**2 / 2 - jnp.cos(q)) for q, p in (run(800, 80.0), run(8000, 800.0))]
    before = 0.3**2 / 2 - np.cos(1.0)
    assert all(abs(energy - before) < 3e-3 for energy in energies)
    q, p = run(50)
    back = run(50, start=(q, -p))
    assert abs(back[0] - 1.0) < 1e-12 and abs(back[1] + 0.3) < 1e-12


@pytest.mark.parametrize("scheme", [time.leapfrog, time.yoshida])
def test_symplectic_stability(scheme):
    def grown(factor):
        dt = factor * float(scheme.largest_dt(1.0))
        step = time.hamiltonian(lambda p: p, lambda q: -q, dt, scheme)
        q, p = jax.jit(jp.repeat(step, 300))((jnp.asarray(1.0), jnp.asarray(0.0)))
        return float(jnp.hypot(q, p))

    assert grown(0.97) < 20 and grown(1.05) > 1e3


def test_inputs_are_fed_one_a_step_and_gradients_reach_them():
    """Nested checkpoints and snapshots cut them up; the order is that of the steps."""
    forces = jax.random.normal(jax.random.key(0), (12, 3))

    def step(state, force):
        return 0.9 * state + force

    state, expected = jnp.zeros(3), []
    for force in forces:
        state = step(state, force)
        expected.append(state)
    for checkpoint in (False, 2, True):
        found = jp.rollout(step, jnp.zeros(3), 12, 4, inputs=forces, checkpoint=checkpoint)
        np.testing.assert_allclose(found[1:], jnp.stack(expected)[3::4], atol=1e-14)
    watched, first_bad = jp.watched_rollout(step, jnp.zeros(3), 12, 4, inputs=forces)
    np.testing.assert_array_equal(watched, found)
    assert first_bad == 13
    slope = jax.grad(lambda f: jp.rollout(step, jnp.zeros(3), 12, 12, inputs=f)[-1].sum())(forces)
    np.testing.assert_allclose(
        slope, 0.9 ** np.arange(11, -1, -1)[:, None] * np.ones(3), rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"first axis of length steps = 12, got shape \(11, 3\)"):
        jp.rollout(step, jnp.zeros(3), 12, inputs=forces[1:])
    held = jp.repeat(step, 3)
    np.testing.assert_allclose(
        held(jnp.zeros(3), forces[0]), (1 + 0.9 + 0.81) * forces[0], rtol=1e-12
    )


def test_a_force_as_input_is_that_of_the_equation():
    grid = jp.grids.Periodic((12, 12))
    force = jp.equations.kolmogorov(2, 0.7)
    plain, forced = (
        jp.equations.NavierStokes2D(0.05),
        jp.equations.NavierStokes2D(0.05, forcing=force),
    )
    steps = [jp.solvers.spectral.semilinear(flow, grid, 0.05) for flow in (plain, forced)]
    start = jp.initial_states.random_vorticity(jax.random.key(0), grid)
    curl = jax.vmap(jp.fields.curl(force))(grid.points.reshape(-1, 2)).reshape(grid.shape)
    inputs = jnp.broadcast_to(curl, (6, *grid.shape))
    found = jp.rollout(steps[0], start, 6, inputs=inputs)
    np.testing.assert_allclose(found, jp.rollout(steps[1], start, 6), atol=1e-12)
    remembering = jp.solvers.spectral.semilinear(plain, grid, 0.05, time.etd_multistep)
    with pytest.raises(ValueError, match="needs a one-step scheme"):
        jp.rollout(remembering, start, 6, inputs=inputs)


def test_an_acceleration_as_input_is_that_of_the_equation():
    cells = jp.grids.Cells((8, 8), 1.0, periodic=True)

    def flow(force):
        return jp.equations.IncompressibleFlow(0.05, forcing=force)

    push = jnp.asarray([0.3, -0.1])
    steps = [
        jp.solvers.flow.incompressible(flow(force), cells, 0.02)
        for force in (None, lambda point: push)
    ]
    start = steps[0].start(lambda p: jnp.stack([jnp.sin(2 * jnp.pi * p[1]), 0.0 * p[0]]))
    found = jp.rollout(steps[0], start, 4, inputs=jnp.broadcast_to(push, (4, 2)))
    expected = jp.rollout(steps[1], start, 4)
    for mine, other in zip(found.velocity, expected.velocity, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-13)
    assert jnp.max(jnp.abs(found.velocity[1])) > 1e-3
    gentle = jp.solvers.flow.stable_fluids(flow(None), cells, 0.02)
    once = gentle(gentle.start(), push)
    np.testing.assert_allclose(once.velocity[0], 0.02 * 0.3, atol=1e-13)


def test_substeps_at_fixed_snapshots():
    """As few as stability asks for; the interval is the requested one."""
    grid = jp.grids.Periodic(32)

    def make(dt):
        return jp.solvers.spectral.semilinear(jp.equations.Burgers(0.1), grid, dt)

    start = 3 * jnp.sin(grid.axes[0])
    step = time.substepped(make, 2.0, start, safety=1.0)
    assert float(step.interval) == pytest.approx(2.0)
    assert float(make(2.0 / step.steps).largest_dt(start)) >= 2.0 / step.steps
    fewer = 2.0 / (step.steps - 1)
    assert float(make(fewer).largest_dt(start)) < fewer
    np.testing.assert_allclose(step(start), jp.repeat(make(2.0 / step.steps), step.steps)(start))
    with pytest.raises(ValueError, match="no dt is stable"):
        time.substepped(lambda dt: time.explicit(jnp.sin, dt, largest_dt=lambda s: 0.0), 1.0, start)


def test_every_step_refuses_a_dt_above_its_own_limit_and_names_it():
    step = time.explicit(lambda u: -50 * u, 0.1, time.rk4, largest_dt=lambda u: 2.78 / 50)
    with pytest.raises(ValueError, match=r"dt = 0.1 is above .* use dt <= 0.0556"):
        step(jnp.ones(3))
    assert float(jp.repeat(step, 4).largest_dt(jnp.ones(3))) == pytest.approx(4 * 2.78 / 50)


def test_equal_steps_are_equal_and_hash_alike():
    def make(dt):
        grid = jp.grids.Periodic(16)
        return jp.solvers.spectral.semilinear(jp.equations.Burgers(0.1), grid, dt)

    first, second, other = make(0.1), make(0.1), make(0.05)
    assert first == second and hash(first) == hash(second) and len({first, second}) == 1
    assert first != other

    @jax.jit
    def traced(dt):
        mine, its = make(dt), make(dt)
        assert mine == mine and mine != its and hash(mine) != hash(its)
        return mine(jnp.ones(16))

    traced(0.1)
