"""Control of a tokamak plasma: the machine, targets, the closed loop, controllers, a whole run."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.control import tokamak_control as tc
from jaxpbdl.experiments.control import tokamak_loop as tl
from jaxpbdl.experiments.control import tokamak_machine as tm
from jaxpbdl.experiments.training import Training
from jaxpbdl.solvers.plasma import Deviation, Response, plasma_evolution

RAYS, CIRCUITS = 4, 20
SETTINGS = tm.Config(rays=RAYS, horizon=12, judged=16, knots=5, scenarios=2, interval=1e-3)


def response(seed=0):
    """Of random numbers: seventeen driven circuits, three of a wall, the plasma; one mode grows."""
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(CIRCUITS + 1, CIRCUITS + 1))
    matrix = 1e-2 * (root @ root.T / 40 + np.eye(CIRCUITS + 1))
    matrix[-2, -2] = -0.05
    # The plasma current, last, is in A where distances are in m.
    sizes, shape = np.append(np.full(RAYS + 2, 1e-4), 10.0), (RAYS + 3, CIRCUITS + 1)
    return Response(
        jnp.asarray(matrix),
        jnp.asarray(generator.normal(size=(CIRCUITS + 1, 1))),
        jnp.asarray(generator.uniform(0.1, 0.5, CIRCUITS + 1)),
        jnp.asarray(np.outer(sizes, np.ones(CIRCUITS + 1)) * generator.normal(size=shape)),
        jnp.asarray(generator.normal(size=(RAYS + 3, 1))),
        jnp.zeros(CIRCUITS + 1),
        jnp.zeros(RAYS + 3),
    )


def group():
    responses = [response(0), response(1)]
    steps = [plasma_evolution(one, SETTINGS.interval, tm.DRIVEN) for one in responses]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)
    return tm.Plasmas(((0.3, 1.5), (0.2, 1.2)), [], responses, stacked)


def signals(seed=0):
    parts = iter(jax.random.split(jax.random.key(seed), 4))
    shapes = (3, RAYS + 1), (RAYS + 1,), (RAYS + 1,), (tm.DRIVEN,)
    return tl.Signals(*(jax.random.normal(next(parts), shape) for shape in shapes))


@pytest.mark.x64
def test_machine():
    """Circuits by their kind; resistances by turns, length and section; without the vessel the same
    coils."""
    whole = tm.machine(25)
    assert whole.coils.turns.shape == (tm.DRIVEN + 34, 32 + 34)
    turns = np.asarray(whole.coils.turns).sum(axis=1)
    np.testing.assert_allclose(turns, [36.0] * 16 + [144.0] + [1.0] * 34, rtol=1e-12)
    ohm = tm.resistances(whole)
    copper = 1.9e-8 * 36**2 * 2 * np.pi * 1.31 / (0.7 * np.pi * 0.04**2)
    assert ohm[8] == pytest.approx(copper)
    assert ohm[16] == pytest.approx(copper / 36**2 / 1.31 * 0.43 * 9 * 144)
    assert ohm[17] == pytest.approx(7.3e-7 * 2 * np.pi * 0.59 / (0.015 * 0.13))
    alone = tm.driven_alone(whole)
    np.testing.assert_array_equal(alone.response, whole.response[: tm.DRIVEN])
    r, z = jnp.asarray([0.8, 0.9]), jnp.asarray([0.1, -0.2])
    np.testing.assert_allclose(alone.coils.flux(r, z), whole.coils.flux(r, z)[: tm.DRIVEN])


def test_boundaries():
    """Each distance ends on the curve; all lean on the inner wall."""
    for size, elongation, height in ((0.22, 1.35, 0.0), (0.21, 1.2, 0.02)):
        points, distances = tm.boundary(12, size, elongation, height)
        angle = 2 * np.pi * (np.arange(12) + 0.5) / 12
        r = tm.INNER + tm.MINOR + distances * np.cos(angle)
        sine = (distances * np.sin(angle) - height) / (elongation * size)
        t = np.where(np.cos(angle) > 0, np.arcsin(sine), np.pi - np.arcsin(sine))
        on_curve = tm.INNER + size * (1 + np.cos(t + np.arcsin(0.1) * np.sin(t)))
        kept = abs(sine) < 0.9
        assert kept.sum() >= 8
        np.testing.assert_allclose(r[kept], on_curve[kept], atol=2e-4)
        assert points[:, 0].min() == pytest.approx(tm.INNER, abs=1e-9)
        assert np.ptp(points[:, 1]) == pytest.approx(2 * elongation * size, rel=1e-3)


def test_smooth_targets():
    """From zero, through random values at the knots, half way between them in the middle."""
    curve = np.asarray(tl.smooth(jax.random.key(0), 41, 10, 3))
    assert curve.shape == (41, 3) and np.all(curve[0] == 0) and np.all(abs(curve) <= 1)
    np.testing.assert_allclose(curve[5::10], (curve[:-1:10] + curve[10::10]) / 2, atol=1e-6)
    assert np.all(np.std(curve[10::10], axis=0) > 0.1)
    steep = abs(np.diff(curve, axis=0))
    assert np.all(steep[9::10].max() < 0.2 * steep.max())


@pytest.mark.x64
def test_scenarios():
    """Targets start at zero and come with their change in the next ms; noise of the stated sizes;
    beta jumps once; the mode lifts the axis by a centimetre."""
    place = tl.room(SETTINGS, group())
    scenario = jax.jit(lambda key: place.scenario(key, jnp.asarray(1), 4000))(jax.random.key(3))
    given = jax.tree.map(np.asarray, scenario.given)
    np.testing.assert_allclose(given.target[0], 0, atol=1e-12)
    # Ten steps of 0.1 ms make a ms; here a step is one, so the change is a tenth.
    slope = (given.target[10:] - given.target[:-10]) / 10
    np.testing.assert_allclose(given.slope_of_target[:-10], slope, atol=1e-6)
    sizes = np.std(given.noise, axis=0)
    np.testing.assert_allclose(sizes, [0.2] * RAYS + [0.1] + [1e-3] * tm.DRIVEN, rtol=0.1)
    assert given.beta[0] == 0 and len(set(given.beta[:, 0].tolist())) == 2
    assert int(scenario.delay) in (1, 2)
    for one, mode in zip(group().responses, place.modes, strict=True):
        assert float(one.outputs[RAYS + 1] @ mode) == pytest.approx(0.01, rel=1e-4)
    higher = tm.boundary(RAYS, 0.22, 1.35, 0.015)[1] - tm.boundary(RAYS, 0.22, 1.35, 0.0)[1]
    np.testing.assert_allclose(place.wishes[0, :RAYS], 100 * higher, atol=1e-5)
    np.testing.assert_allclose(place.wishes[3], [0] * RAYS + [3.0])


class Mixing(eqx.Module):
    """A controller of random weights: it sees everything."""

    weights: jax.Array

    def __call__(self, given):
        return self.weights @ jnp.concatenate([jnp.ravel(leaf) for leaf in given])


def test_a_closed_loop():
    """Beside a loop in NumPy: late measurements with noise, their memory, the integral in ms, cut
    voltages, the change of beta."""
    place = tl.room(SETTINGS, group())
    size = 5 * (RAYS + 1) + tm.DRIVEN
    weights = np.random.default_rng(2).normal(size=(tm.DRIVEN, size)) / 4
    run = eqx.filter_jit(place.course)
    for delay, plasma in ((1, 0), (2, 1)):
        scenario = place.scenario(jax.random.key(delay), jnp.asarray(plasma), 12)
        scenario = scenario._replace(delay=jnp.asarray(delay), height=jnp.asarray(0.2))
        course = run(Mixing(jnp.asarray(weights, jnp.float32)), scenario)
        one, step = group().responses[plasma], plasma_evolution(response(plasma), 1e-3, tm.DRIVEN)
        rows, unit = [*range(RAYS), RAYS + 2], np.append(np.full(RAYS, 0.01), 1e3)
        bound = np.append(np.full(16, 600.0), 1000.0)
        x, w = 0.2 * np.asarray(place.modes[plasma], float), np.zeros(1)

        def look(x, w, one=one, rows=rows, unit=unit):
            return np.asarray(one.outputs @ x + one.disturbed @ w)[rows] / unit

        start = np.append(look(x, w), x[: tm.DRIVEN] / 1e3)
        known, errors, integral = [start] * 3, [-start[: RAYS + 1]] * 2, np.zeros(RAYS + 1)
        cut = 0
        for k in range(12):
            target, slope, beta, noise = (np.asarray(leaf[k], float) for leaf in scenario.given)
            known.insert(0, np.append(look(x, w), x[: tm.DRIVEN] / 1e3) + noise)
            seen = known[delay]
            errors.insert(0, target - seen[: RAYS + 1])
            integral = integral + errors[0] * 1.0
            every = [*errors[:3], integral, slope, seen[RAYS + 1 :]]
            asked = weights @ np.concatenate(every)
            cut += np.sum(abs(asked) > 1)
            shares = np.clip(asked, -1, 1)
            np.testing.assert_allclose(course.shares[k], shares, atol=2e-3)
            x = step.propagator @ x + step.by_voltage @ (shares * bound)
            x = np.asarray(x + step.by_disturbance @ (beta - w))
            w = beta
            np.testing.assert_allclose(course.controlled[k], look(x, w), rtol=1e-3, atol=1e-3)
        assert 0 < cut < 12 * tm.DRIVEN
        np.testing.assert_allclose(course.plasma.currents[-1], x, rtol=1e-3, atol=0.1)


@pytest.mark.x64
def test_decoupling():
    """The largest voltage of each circuit alone makes its column of rates, in a ms; with a small
    ridge the inverse gives the rates that were wanted."""
    one = response()
    inverse = tl.decoupled(SETTINGS, one)
    step = plasma_evolution(one, 1e-9, tm.DRIVEN)
    loop = tl.ClosedLoop(step, Mixing(jnp.zeros(1)), jnp.asarray(1), jnp.zeros(17), RAYS)
    bound = np.append(np.full(16, 600.0), 1000.0)
    for k in (0, 5, 16):
        currents = step.by_voltage[:, k] * bound[k] * 1e-3 / 1e-9
        moved = loop.controlled(Deviation(currents, jnp.zeros(1)))
        np.testing.assert_allclose(inverse.rates[:, k], moved, rtol=1e-5, atol=1e-6)
    matrix = np.asarray(inverse.matrix(jnp.asarray(1e-6)), float)
    np.testing.assert_allclose(inverse.rates @ matrix, np.eye(RAYS + 1), atol=5e-3)
    ridge = 0.5
    rates = np.asarray(inverse.rates, float)
    size = np.trace(rates @ rates.T) / (RAYS + 1)
    expected = rates.T @ np.linalg.inv(rates @ rates.T + ridge * size * np.eye(RAYS + 1))
    np.testing.assert_allclose(inverse.matrix(jnp.asarray(ridge)), expected, rtol=1e-3, atol=1e-5)


def test_gains():
    """An error that is one quantity calls for its own gains alone, each part by its own; what is
    none of the four is left alone; the currents are held."""
    generator = np.random.default_rng(0)
    rates = jnp.asarray(np.eye(RAYS + 1, tm.DRIVEN), jnp.float32)
    wishes = jnp.asarray(generator.normal(size=(4, RAYS + 1)), jnp.float32)
    one = response()
    powers = jnp.asarray(generator.uniform(-1, 0, (4, 4)), jnp.float32)
    gains = tl.first_gains(SETTINGS, tl.Decoupled(rates), wishes, one)
    gains = eqx.tree_at(lambda g: (g.powers, g.ridge), gains, (powers, jnp.asarray(-6.0)))
    none = jnp.zeros(RAYS + 1)
    still = jnp.zeros(tm.DRIVEN)
    for q in range(4):
        p = 10.0 ** np.asarray(powers)[:, q]
        errors = jnp.stack([2 * wishes[q], 7 * wishes[q], wishes[q]])
        given = tl.Signals(errors, 3 * wishes[q], 4 * wishes[q], still)
        expected = (2 * p[0] + 3 * p[1] + p[2] / 2 + 4 * p[3]) * wishes[q]
        np.testing.assert_allclose(gains(given)[: RAYS + 1], expected, rtol=1e-3, atol=1e-4)
    rest = np.linalg.svd(np.asarray(wishes))[2][-1]
    given = tl.Signals(jnp.tile(jnp.asarray(rest), (3, 1)), none, none, still)
    np.testing.assert_allclose(gains(given), 0, atol=1e-4)
    given = tl.Signals(jnp.zeros((3, RAYS + 1)), none, none, still.at[16].set(2.0))
    held = gains(given) * np.append(np.full(16, 600.0), 1000.0)
    np.testing.assert_allclose(held[16], 2e3 * float(one.resistance[16]), rtol=1e-5)
    np.testing.assert_allclose(held[:16], 0, atol=1e-9)


def test_a_policy_does_nothing_before_training_and_sees_all():
    inverse = tl.decoupled(SETTINGS, response())
    for hidden in ((), (6, 5)):
        policy = tl.Policy(inverse, hidden, jax.random.key(0))
        assert np.all(np.asarray(policy(signals())) == 0)
        last = jax.random.normal(jax.random.key(1), policy.network.weights[-1].shape)
        other = eqx.tree_at(lambda p: p.network.weights[-1], policy, last / 50)
        slopes = jax.grad(lambda given, other=other: jnp.sum(other(given)))(signals())
        assert all(np.all(np.asarray(slope) != 0) for slope in slopes)
        assert np.all(abs(other(signals())) < 1) and np.all(other(signals()) != 0)
    assert 0 < tc.seconds_of_a_call(policy, 3) < 1


def test_the_best_draw_and_measures():
    place = tl.room(SETTINGS, group())
    loss, few = tl.Tracking(place), tl.Scenarios(place, 4)(jax.random.key(0))
    assert few.plasma.tolist() == [0, 1, 0, 1]
    inverse = tl.decoupled(SETTINGS, response())
    first = tl.first_gains(SETTINGS, inverse, place.wishes, response())
    key = jax.random.key(4)
    best = tl.best_drawn(loss, first, few, key, 6)
    every = [tl.drawn(first, one) for one in jax.random.split(key, 6)]
    value = eqx.filter_jit(loss)
    values = [float(value(one, few)) for one in every]
    assert float(value(best, few)) == pytest.approx(min(values), rel=1e-4)
    assert max(values) > min(values)
    powers = np.asarray([one.powers for one in every])
    assert np.all((powers >= tl.LOW - 1e-6) & (powers <= tl.HIGH + 1e-6)) and np.ptp(
        powers[:, 0, 0]
    )

    scenarios, courses = tl.judged(place, every[0], jax.random.key(1))
    assert courses.controlled.shape == (4, 16, RAYS + 1)
    exact = courses._replace(controlled=scenarios.given.target, shares=courses.shares * 0 + 0.5)
    off = exact._replace(
        controlled=exact.controlled.at[0, :, :RAYS]
        .add(0.2)
        .at[1, 7, 0]
        .add(6.0)
        .at[..., RAYS]
        .add(0.3)
    )
    found = tl.measures(scenarios, off)
    shape = [0.2, np.sqrt(36 / (16 * RAYS)), 0, 0]
    assert found["shape_rmse_cm"] == pytest.approx(np.sqrt(np.mean(np.square(shape))), rel=1e-4)
    assert found["worst_shape_cm"] == pytest.approx(max(shape), rel=1e-4)
    assert found["current_rmse_ka"] == pytest.approx(0.3, rel=1e-4)
    assert found["lost"] == 1 and found["voltage_share"] == pytest.approx(0.5)

    courses = eqx.filter_jit(jax.vmap(lambda one: place.course(best, one)))(few)
    error = np.asarray(courses.controlled - few.given.target)
    shape = np.sqrt(1 + np.mean(error[..., :RAYS] ** 2, axis=2) / 0.5**2)
    both = np.mean(shape + np.sqrt(1 + error[..., RAYS] ** 2 / 0.3**2) - 2, axis=1)
    expected = np.mean(np.log1p(both + 0.1 * np.mean(np.asarray(courses.shares) ** 2, axis=(1, 2))))
    assert float(value(best, few)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.stand_ins
def test_an_equilibrium_beside_the_linear_model(monkeypatch):
    """Solved at the currents and the beta after a step, from the reference of that plasma; root
    mean squares over the rays, in cm."""
    generator, asked = np.random.default_rng(0), []
    currents, change = generator.normal(size=(12, CIRCUITS + 1)), generator.normal(size=RAYS + 3)
    linear, target = generator.normal(size=(2, 12, RAYS + 1))
    beta = np.arange(12.0)[:, None] / 100
    both = group()._replace(found=[None, SimpleNamespace(plasma="reference")])
    ones = jnp.ones(CIRCUITS + 1)
    response = eqx.tree_at(lambda r: r.reference, both.responses[1], ones)
    both = both._replace(responses=[None, response])

    def free_boundary(whole, given, profile, start, **settings):
        asked.append((np.asarray(given), profile, start))
        return "found"

    monkeypatch.setattr(tc, "free_boundary", free_boundary)
    monkeypatch.setattr(tc, "PlasmaShape", lambda *_: lambda found: response.seen + change)
    scenario = SimpleNamespace(plasma=1, given=SimpleNamespace(target=target))
    plasma = SimpleNamespace(currents=currents, disturbances=beta)
    course = SimpleNamespace(plasma=plasma, controlled=linear)
    whole = SimpleNamespace(grid=None)
    found = tc.checked(SETTINGS, whole, both, scenario, course, 7)
    given, profile, start = asked[0]
    np.testing.assert_allclose(given, 1 + currents[7, :-1], rtol=1e-6)
    assert float(profile.current) == pytest.approx(1 + currents[7, -1], rel=1e-5)
    assert float(profile.beta) == pytest.approx(0.2 + 0.07, rel=1e-5) and start == "reference"
    rays = change[:RAYS] / 0.01
    off = [rays - linear[7, :-1], rays - target[7, :-1], rays]
    expected = [np.sqrt(np.mean(each**2)) for each in off]
    assert [found.difference, found.off, found.moved] == pytest.approx(expected, rel=1e-4)


def test_a_tiny_run(tmp_path):
    """Growth as that of the plasmas, less loss after training, and equilibria beside the linear
    model."""
    config = tm.Config(
        nodes=25, rays=6, known=((0.3, 1.5), (0.4, 1.4)), held=((0.35, 1.45),), horizon=30,
        judged=40, scenarios=2, width=8, draws=5, timed=20,
        training=Training(12, 4, 1e-2, average=None), tuning_rate=2e-2,
    )  # fmt: skip
    found = execute(tc.EXPERIMENT, "quick", config, tmp_path)
    metrics = found.metrics
    assert 100 < metrics["slowest_growth_per_s"] < metrics["fastest_growth_per_s"] < 1000
    history = found.histories["network"]
    assert np.mean(history[-3:]) < np.mean(history[:3])
    assert metrics["shape_rmse_cm"] == metrics["network.shape_rmse_cm"] > 0
    assert metrics["equilibrium_far.difference_cm"] < 0.3 * metrics["equilibrium_far.moved_cm"]
    assert (tmp_path / "control.png").stat().st_size > 5000
