"""Rollout: equal to a loop, cheap to differentiate, and clear about what goes wrong."""

import re
import subprocess
import sys

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import equations as eq
from jaxpbdl import solvers
from jaxpbdl.rollouts import nested_scan
from tests.cases import CASES, every_scheme, every_scheme_and_equation

x64 = pytest.mark.x64


def pendulum(state):
    """A plain function on a dictionary, as a user would write it."""
    rate = state["rate"] - 0.1 * jnp.sin(state["angle"])
    return {"angle": state["angle"] + 0.1 * rate, "rate": rate}


PENDULUM = {"angle": np.linspace(0.1, 1.0, 3), "rate": np.zeros(3)}


def burgers(n=32, dt=0.02, viscosity=0.1, scheme=solvers.time.etdrk4):
    grid = jp.grids.Periodic(n)
    return solvers.spectral.semilinear(eq.Burgers(viscosity), grid, dt, scheme), jnp.sin(
        grid.axes[0]
    )


@x64
@every_scheme_and_equation
def test_rollout_is_a_loop(case, scheme):
    """In the working variables, so that a multistep scheme keeps its memory between steps."""
    step, state = case.step(0.01, scheme), case.state(case.grid())
    working, snapshots = step.enter(state), [state]
    for _ in range(6):
        working = step.advance(working)
        snapshots.append(step.leave(working))
    np.testing.assert_allclose(jp.rollout(step, state, 6), jnp.stack(snapshots), atol=1e-13)


@x64
@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("every", [1, 2, 3, 4, 6, 12])
def test_every_picks_snapshots(every, checkpoint):
    step, state = burgers()
    snapshots = jp.rollout(step, state, 12)
    picked = jp.rollout(step, state, 12, every, checkpoint=checkpoint)
    assert picked.shape == (12 // every + 1, 32)
    np.testing.assert_allclose(picked, snapshots[::every], atol=1e-14)


@x64
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 16, 23])
def test_repeat_is_a_longer_step(steps):
    step, state = burgers()
    expected = jp.rollout(step, state, steps)[-1]
    np.testing.assert_allclose(jp.repeat(step, steps)(state), expected, atol=1e-14)
    twice = jp.rollout(jp.repeat(step, steps), state, 2)[-1]
    np.testing.assert_allclose(twice, jp.rollout(step, state, 2 * steps)[-1], atol=1e-13)


@x64
def test_plain_functions_and_pytrees():
    state, snapshots = (
        PENDULUM,
        jp.rollout(pendulum, jax.tree.map(jnp.asarray, PENDULUM), 10, every=5),
    )
    for i in range(1, 11):
        state = pendulum(state)
        if i % 5 == 0:
            for name in state:
                np.testing.assert_allclose(snapshots[name][i // 5], state[name], rtol=1e-13)


def final_energy(step, state, steps, **options):
    return jnp.mean(jp.rollout(step, state, steps, every=steps, **options)[-1] ** 2)


@x64
@pytest.mark.parametrize("steps", [1, 7, 71])
def test_checkpoints_change_neither_values_nor_gradients(steps):
    step, state = burgers()
    results = [
        jax.jit(jax.value_and_grad(lambda s, c=c: final_energy(step, s, steps, checkpoint=c)))(
            state
        )
        for c in (True, 2, False)
    ]
    plain_value, plain_gradient = results.pop()
    for value, gradient in results:
        np.testing.assert_allclose(value, plain_value, rtol=1e-13)
        np.testing.assert_allclose(gradient, plain_gradient, atol=1e-15)


@pytest.mark.parametrize("steps", [256, 1000])
def test_checkpoints_save_memory(steps):
    """Working memory of the gradient grows like the square root of the number of steps."""
    step, state = burgers(256)

    def memory(steps, checkpoint):
        gradient = jax.jit(jax.grad(lambda s: final_energy(step, s, steps, checkpoint=checkpoint)))
        return gradient.lower(state).compile().memory_analysis().temp_size_in_bytes

    assert memory(steps, True) < memory(steps, False) / 4
    assert memory(4 * steps, True) < 2.5 * memory(steps, True)
    assert memory(steps, 2) < memory(steps, True) / 1.5


@x64
def test_turns_are_those_of_a_loop():
    """Turns of five, of two, and a shorter last one; each step is computed once more, or twice."""
    factors, calls = jnp.linspace(0.5, 1.5, 12), []

    def advance(state, factor):
        jax.debug.callback(calls.append, state)
        return jnp.sin(factor * state)

    expected, state = None, jnp.asarray(0.3)
    for recomputed, turn in ((0, None), (1, 5), (1, 2), (2, 5), (1, 1)):

        def last(state, factors, recomputed=recomputed, turn=turn):
            return nested_scan(advance, state, 12, recomputed, factors, turn)

        calls.clear()
        found = jax.value_and_grad(last, argnums=(0, 1))(state, factors)
        jax.effects_barrier()
        times = 1 + recomputed
        assert len(calls) == 12 * times, (recomputed, turn)
        expected = found if expected is None else expected
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), found, expected)


@x64
def test_stop_gradient_cuts_between_steps():
    """The derivative in a parameter is that of the last step alone, and none reaches the state."""
    _, state = burgers()
    grid = jp.grids.Periodic(32)

    def loss(viscosity, state, steps, **options):
        step = solvers.spectral.semilinear(eq.Burgers(viscosity), grid, 0.02)
        return final_energy(step, state, steps, **options)

    cut, to_state = jax.grad(loss, argnums=(0, 1))(0.1, state, 5, stop_gradient=True)
    before = jp.rollout(burgers()[0], state, 4)[-1]
    alone = jax.grad(loss)(0.1, before, 1)
    np.testing.assert_allclose(cut, alone, rtol=1e-10)
    assert jnp.all(to_state == 0)
    assert abs(jax.grad(loss)(0.1, state, 5) / cut - 1) > 1


def overflowing(state):
    """Squares itself: from 10^p the largest float is passed at a step one can count."""
    return state**2


def test_fault_09_watched_rollout_names_the_step_of_every_member():
    starts = jnp.asarray([10.0, 1.0, 1e5, 1e20, 0.0])[:, None]
    snapshots, first_bad = jax.vmap(lambda s: jp.watched_rollout(overflowing, s, 8, every=2))(
        starts
    )
    exact = []
    for start in np.asarray(starts, np.float32).ravel():
        value, step = start, 0
        with np.errstate(over="ignore"):
            while np.isfinite(value) and step < 9:
                value, step = np.float32(value * value), step + 1
        exact.append(step)
    assert first_bad.tolist() == exact == [6, 9, 3, 1, 9]
    assert jnp.all(jnp.isfinite(snapshots[1])) and jnp.all(jnp.isfinite(snapshots[4]))
    with pytest.raises(jp.checks.BlowUp, match=r"step 6 \(time 0\.6\) of member 0"):
        jp.raise_blow_up(first_bad, 8, dt=0.1)
    jp.raise_blow_up(first_bad[jnp.asarray([1, 4])], 8, dt=0.1)


def test_blow_up_time_is_that_of_the_member():
    with pytest.raises(jp.checks.BlowUp, match=r"step 5 \(time 2\.5\) of member 1"):
        jp.raise_blow_up(np.array([9, 5]), 8, dt=np.array([0.1, 0.5]))


def test_fault_09_rollout_raises_blow_up_between_snapshots():
    with pytest.raises(jp.checks.BlowUp, match="between steps 4 and 6"):
        jp.rollout(overflowing, jnp.asarray([10.0]), 8, every=2)


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
def test_numbers_of_steps_may_be_of_numpy(integer):
    step, state = burgers(n=8)
    expected = jp.rollout(step, state, 4, 2)
    np.testing.assert_array_equal(jp.rollout(step, state, integer(4), integer(2)), expected)
    snapshots, first_bad = jp.watched_rollout(step, state, integer(4), integer(2))
    np.testing.assert_array_equal(snapshots, expected)
    assert int(first_bad) == 5
    np.testing.assert_allclose(jp.repeat(step, integer(4))(state), expected[-1], rtol=1e-6)


def test_numbers_are_states():
    np.testing.assert_array_equal(jp.rollout(lambda s: s / 2, 1.0, 3), [1, 0.5, 0.25, 0.125])
    snapshots, first_bad = jp.watched_rollout(lambda s: s + 1, 0, 3)
    assert snapshots.tolist() == [0, 1, 2, 3] and int(first_bad) == 4
    key = jax.random.key(0)
    snapshots, first_bad = jp.watched_rollout(
        lambda s: (jax.random.split(s[0])[0], s[1]), (key, 1), 2
    )
    assert len(snapshots[0]) == 3 and int(first_bad) == 3
    with pytest.raises(ValueError, match="state must hold at least one array, got None"):
        jp.rollout(lambda s: s, None, 3)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_fault_15_a_large_half_precision_state_is_finite(dtype):
    """Its sum is beyond the largest float16."""
    state = jnp.full((64, 64), 20, dtype)
    assert not jnp.isfinite(jnp.sum(state)) or dtype == jnp.bfloat16
    snapshots, first_bad = jp.watched_rollout(lambda s: s, state, 3)
    assert snapshots.dtype == dtype and int(first_bad) == 4
    assert int(jp.watched_rollout(lambda s: s * 1000, state * 20, 3)[1]) == (
        1 if dtype == jnp.float16 else 4
    )


def test_fault_09_a_snapshot_in_the_middle_is_looked_at():
    """What is observed may be finite again later."""

    def observe(state):
        return 1 / (state - 2.0)

    with pytest.raises(jp.checks.BlowUp, match="between steps 1 and 2"):
        jp.rollout(lambda s: s + 1.0, jnp.asarray([0.0]), 4, observe=observe)
    with pytest.raises(jp.checks.BlowUp, match="between steps 0 and 0"):
        jp.rollout(lambda s: s + 1.0, jnp.asarray([2.0]), 4, observe=observe)


LARGE = """
import resource, jax, jax.numpy as jnp, jaxpbdl as jp
jnp.ones(3).block_until_ready()
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
try:
    jp.rollout(lambda s: s / 2, jnp.ones(2**20), 20_000, 2)
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is limited on Linux")
def test_fault_19_out_of_memory_names_the_bytes():
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True)
    size = 4 * 2**20 * 10_001
    assert f"its snapshots alone take {size} bytes; keep fewer" in done.stdout, done.stderr


def test_fault_23_one_trace_a_shape():
    """Whatever the numbers in state and step; one more for another shape."""
    chex.clear_trace_counter()

    class Decay(jp.Step):
        rate: jax.Array

        @chex.assert_max_traces(n=2)
        def advance(self, working):
            return self.rate * working

    for rate, shape in ((0.5, 3), (0.25, 3), (0.125, 3), (0.5, 5), (0.1, 5)):
        jp.rollout(Decay(jnp.asarray(rate)), rate * jnp.ones(shape), 4, checkpoint=False)


@x64
def test_watched_rollout_agrees_with_rollout():
    step, state = burgers()
    snapshots, first_bad = jp.watched_rollout(step, state, 8, every=2)
    assert int(first_bad) == 9
    np.testing.assert_array_equal(snapshots, jp.rollout(step, state, 8, every=2))


GRID = jp.grids.Periodic(16)
STATE = np.sin(np.arange(16) * 2 * np.pi / 16).astype(np.float32)


def stepper(equation=None, grid=GRID, dt=0.01):
    return solvers.spectral.semilinear(eq.Burgers() if equation is None else equation, grid, dt)


REFUSED = {
    "dt negative": (lambda: stepper(dt=-0.1), "dt must be finite and > 0, got -0.1"),
    "dt zero": (lambda: stepper(dt=0.0), "dt must be finite and > 0, got 0.0"),
    "dt NaN": (lambda: stepper(dt=float("nan")), "dt must be finite and > 0, got nan"),
    "dt infinite": (lambda: stepper(dt=float("inf")), "dt must be finite and > 0, got inf"),
    "viscosity": (lambda: eq.Burgers(-1.0), "viscosity must be finite and >= 0, got -1.0"),
    "viscosity NaN": (lambda: eq.NavierStokes3D(np.nan), "viscosity must be finite and >= 0"),
    "drag": (lambda: eq.NavierStokes2D(drag=-0.5), "drag must be finite and >= 0, got -0.5"),
    "grid of wrong dimension": (lambda: stepper(eq.NavierStokes2D()), "needs a grid of 2 axes"),
    "flow in 2D": (
        lambda: stepper(eq.NavierStokes3D(), jp.grids.Periodic((8, 8))),
        "a grid of 3 axes",
    ),
    "velocity": (lambda: stepper(eq.AdvectionDiffusion((1.0, 2.0))), r"velocity .*\(1,\).*\(2,\)"),
    "shape": (lambda: jp.rollout(stepper(), STATE[:15], 2), r"shape \(16,\), got \(15,\)"),
    "dtype": (lambda: jp.rollout(stepper(), STATE.astype(np.float16), 2), "float32, got float16"),
    "integers": (lambda: jp.rollout(stepper(), np.arange(16), 2), "floating-point numbers, got"),
    "complex": (lambda: jp.rollout(stepper(), STATE + 0j, 2), "numbers, got dtype complex"),
    "state NaN": (lambda: jp.rollout(stepper(), STATE * np.nan, 2), "state must be finite"),
    "steps": (lambda: jp.rollout(stepper(), STATE, 0), "steps must be an integer >= 1, got 0"),
    "steps float": (lambda: jp.rollout(stepper(), STATE, 2.0), "steps must be an integer >= 1"),
    "every": (lambda: jp.rollout(stepper(), STATE, 10, 3), "multiple of every = 3, got 10"),
    "every zero": (lambda: jp.rollout(stepper(), STATE, 10, 0), "every must be an integer >= 1"),
    "repeat": (lambda: jp.repeat(stepper(), -1), "steps must be an integer >= 1, got -1"),
    "checkpoint": (
        lambda: jp.repeat(stepper(), 4, checkpoint=3),
        "must be False, True or 2, got 3",
    ),
    "no step": (lambda: jp.rollout(3.0, STATE, 1), "a step must be a callable .* got float"),
    "grid zero": (lambda: jp.grids.Periodic(0), "shape must be an integer >= 1, got 0"),
    "grid negative": (lambda: jp.grids.Periodic((8, -1)), "shape must be an integer >= 1, got -1"),
    "grid 4D": (lambda: jp.grids.Periodic((2,) * 7), "shape must have 1 to 6 axes"),
    "lengths": (lambda: jp.grids.Periodic(8, -1.0), "lengths must be finite and > 0"),
    "lengths count": (lambda: jp.grids.Periodic((8, 8), (1.0,)), "lengths must be one number or 2"),
    "grid dtype": (
        lambda: jp.grids.Periodic(8, dtype=np.int32),
        "dtype must be float32 or float64, got int",
    ),
    "grid float64": (lambda: jp.grids.Periodic(8, dtype=np.float64), "needs jax.config.update"),
    "keep": (lambda: jp.grids.Spectrum(GRID, 1.5), r"keep must be in \(0, 1\], got 1.5"),
    "keep zero": (lambda: jp.grids.Spectrum(GRID, 0.0), r"keep must be in \(0, 1\], got 0.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_fault_12_refused_input_is_explained(name):
    build, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        build()


TRANSPORTED = ["burgers", "kdv", "ks", "navier-stokes-2d", "navier-stokes-3d"]


@every_scheme
@pytest.mark.parametrize("name", TRANSPORTED)
def test_fault_11_a_dt_above_the_limit_is_refused(name, scheme, order):
    """0.99 of the largest dt runs and stays finite; 1.5 of it is refused, naming the limit."""
    if name == "kdv" and scheme in (
        solvers.time.etdrk1,
        solvers.time.etdrk2,
        solvers.time.etd_multistep,
    ):
        pytest.skip("nothing damps this equation and the scheme amplifies every oscillation")
    case = next(case for case in CASES if case.name == name)
    state = 3 * case.state(case.grid())
    limit = 0.01
    for _ in range(12):  # the limit depends on dt through the damping of the linear part
        limit = 0.5 * (limit + case.step(limit, scheme).largest_dt(state))
    if not limit < 1e3:
        pytest.skip(f"{name} is damped so strongly that no dt is refused")
    assert jnp.all(jnp.isfinite(jp.rollout(case.step(0.99 * limit, scheme), state, 200)))
    step = case.step(1.5 * limit, scheme)
    with pytest.raises(ValueError, match=r"dt = \S+ is above the stability limit") as error:
        jp.rollout(step, state, 2)
    admissible = float(re.search(r"use dt <= ([\d.e+-]+)", str(error.value)).group(1))
    assert admissible < 1.5 * limit


def test_one_trace_a_shape():
    traces = []

    class Halving(jp.Step):
        rate: jax.Array

        def advance(self, working):
            traces.append(working.shape)
            return self.rate * working

    for rate in (0.5, 0.25, 0.125):
        jp.rollout(Halving(jnp.asarray(rate)), jnp.ones(3), 4)
    first = len(traces)
    jp.rollout(Halving(jnp.asarray(0.5)), jnp.ones(5), 4)
    assert len(traces) == 2 * first and eqx.is_array(Halving(jnp.ones(())).rate)
