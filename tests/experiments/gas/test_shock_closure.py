"""A network inside the fluxes: bounded, symmetric, conservative, differentiable; a small run."""

import json
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.gas import learned_slopes, riemann_problems, schemes, shock_closure
from jaxpbdl.experiments.gas.learned_slopes import features, random_slopes
from jaxpbdl.experiments.gas.riemann_problems import (
    Problems,
    Run,
    exact_densities,
    on_cells,
    random_problems,
    starts,
    steps_of,
)
from jaxpbdl.experiments.gas.schemes import PLAIN, errors, shock_and_sound
from jaxpbdl.experiments.gas.shock_closure import EXPERIMENT, Config
from jaxpbdl.experiments.training import Training
from jaxpbdl.grids import Cells
from jaxpbdl.learning.front import Point
from jaxpbdl.solvers.compressible import finite_volumes, minmod, primitive_lines

GAS = CompressibleFlow(1)
SMALL = Config(
    members=1, width=2, cells=20, problems=8, validation=2, test=3, waves=0, timing_repeats=1,
    training=Training(updates=2, batch=2, learning_rate=1e-2, average=None),
    learned_cells=(24,), plain_cells=(24,), plain_courants=(0.9,),
)  # fmt: skip
MIRROR = jnp.array([1.0, -1.0, 1.0])[:, None]


def wild(seed=0, scale=100.0):
    """A network with weights that no training would give."""
    model = random_slopes(4, jax.random.key(seed))
    model = jax.tree.map(lambda weights: scale * weights, model)
    return model


def parts(values):
    """Five neighbours of each cell but the outer ones."""
    return [values[:, k : k + values.shape[1] - 4] for k in range(5)]


@jax.jit
def differences(model, values):
    """Before and after each cell, and the one that the model gives."""
    _, low, here, high, _ = cells = parts(values)
    return here - low, high - here, model.difference(*cells)


def gas(cells, seed=0):
    """Primitive variables, of jumps of all sizes."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(3, cells)) * 10.0 ** random.uniform(-3, 0, (1, cells))
    return jnp.asarray(np.stack([np.exp(values[0]), values[1], np.exp(2 * values[2])]))


@pytest.mark.x64
def test_slopes_lie_between_two_limiters_whatever_the_weights():
    """Both ends are nearly reached, and none is passed; extrema are level."""
    before, after, found = differences(wild(), gas(400))
    careful = minmod(before, after)
    steep = jnp.abs(careful) > 0
    share = jnp.where(steep, found / jnp.where(steep, careful, 1.0), 1.0)
    assert 1 - 1e-12 <= float(share.min()) < 1.05 and 1.95 < float(share.max()) <= 2 + 1e-12
    assert bool(jnp.all(found[~steep] == 0)) and 0.2 < float(jnp.mean(steep)) < 0.8


@pytest.mark.x64
def test_mirror_units_and_frame():
    values, model = gas(40, 1), random_slopes(4, jax.random.key(1))
    found = differences(model, values)[2]
    turned = differences(model, (MIRROR * values)[:, ::-1])[2]
    np.testing.assert_allclose(-(MIRROR * turned)[:, ::-1], found, rtol=1e-9, atol=1e-12)
    # Density in other units and pressure with it, velocities in those of another second.
    units = jnp.array([5.0, 3.0, 45.0])[:, None]
    np.testing.assert_allclose(differences(model, units * values)[2], units * found, rtol=1e-9)
    wind = jnp.array([0.0, 7.0, 0.0])[:, None]
    np.testing.assert_allclose(differences(model, values + wind)[2], found, rtol=1e-6, atol=1e-9)
    assert float(jnp.abs(jax.jit(features)(*parts(values))).max()) <= 1


@pytest.mark.x64
def test_conservation_and_mirror_of_the_flow():
    step = finite_volumes(
        GAS, Cells(20, 1.0, periodic=True), 0.002, reconstruction=wild(2),
        variables=primitive_lines, guard=None,
    )  # fmt: skip
    state = GAS.conserved(gas(20, 2))
    rates = eqx.filter_jit(step.rates)
    found = rates(state)
    size = float(jnp.abs(found).max())
    assert size > 0.01
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-13 * size)
    turned = rates((MIRROR * state)[:, ::-1])
    np.testing.assert_allclose((MIRROR * turned)[:, ::-1], found, atol=1e-10 * size)


@pytest.mark.x64
def test_gradient_to_the_weights():
    values, model = gas(12, 3), random_slopes(2, jax.random.key(3))
    weights = jnp.linspace(1, 2, 24).reshape(3, 8)

    @jax.jit
    def total(model):
        return jnp.sum(weights * model.difference(*parts(values)))

    slope, change = jax.jit(jax.grad(total))(model), jax.tree.map(jnp.cos, model)
    moved = [jax.tree.map(lambda w, d, s=s: w + s * d, model, change) for s in (1e-5, -1e-5)]
    found = (total(moved[0]) - total(moved[1])) / 2e-5
    along = jax.tree.map(lambda g, d: float(jnp.sum(g * d)), slope, change)
    assert float(found) == pytest.approx(sum(jax.tree.leaves(along)), rel=1e-6)
    assert abs(float(found)) > 1e-3


def test_problems():
    """No wave has left, means hold the mass, strong ones are strong, a plain scheme converges."""
    problems = random_problems(3, 8, 0.1, 0.7)
    truth = exact_densities(problems, 40)
    begin = np.asarray(starts(problems, 40))[:, 0]
    np.testing.assert_allclose(truth[:, [0, -1]], begin[:, [0, -1]], rtol=1e-6)
    moved = np.abs(truth - begin) > 1e-6
    assert np.all(moved[:, 2:-2].sum(axis=1) > 8)
    edge = np.argmax(np.maximum(moved[:, ::-1], moved), axis=1) / 40
    assert np.all(edge > 0.02) and edge.min() < 0.15  # a fastest wave has gone 0.4, of which some
    # are shocks or heads of fans whose change is seen
    strong = random_problems(3, 8, 0.1, 0.7, 100.0).states[:, :, 2]
    ratio = strong.max(axis=1) / strong.min(axis=1)
    assert np.all((ratio >= 10) & (ratio <= 100))
    found = errors(PLAIN["superbee"], on_cells(problems, 40), steps_of(40, 0.9))
    assert 0.003 < found.mean() < 0.012


def neighbours(density, velocity, pressure):
    """The features of one cell, from the values of five."""
    return np.asarray(features(*jnp.asarray([density, velocity, pressure]).T[..., None]))[:, 0]


@pytest.mark.x64
def test_known_features():
    """Of straight lines, of a peak with flat sides, of a contact."""
    line = np.arange(-2.0, 3.0)
    found = neighbours(2 + 0.1 * line, 0.3 * line, 5 + 0.5 * line)
    sound = np.sqrt(5 / 2)
    lines = [0.0] * 3 + [0.5] * 3 + [0.0] * 3
    velocity, density, pressure = 0.6 / sound, 0.1, 0.2
    together = [pressure / (pressure + density), velocity / (velocity + density), 0.2 / 1.2]
    np.testing.assert_allclose(found, lines + together, atol=1e-4)

    # The outer differences are 0.2 and 0.4, the inner ones 0.1 and -0.3, relative to the middle.
    kink = np.asarray([0.7, 0.9, 1.0, 0.7, 1.1])
    found = neighbours(2 * kink, sound * kink, 5 * kink)
    both = 0.4 * (0.4 + 0.6)
    lines = [1.0] * 3 + [0.6 * -0.2 / both] * 3 + [-0.2 * 0.4 / both] * 3
    np.testing.assert_allclose(found, [*lines, 0.5, -0.2 / 0.8, 0.4 / 1.4], atol=1e-4)

    contact = neighbours(1 + (line > 0), 0 * line + 3, 0 * line + 1)
    assert abs(contact[9:]).max() < 1e-5


@pytest.mark.x64
def test_a_bounded_layer():
    """Each line of weights on its own input."""
    random = np.random.default_rng(0)
    weights, bias, inputs = (random.normal(size=s) for s in ((4, 3), (4,), (3, 5, 2)))
    found = learned_slopes._layer(*(jnp.asarray(each) for each in (weights, bias, inputs)))
    expected = np.einsum("ij,jkl->ikl", weights, inputs) + bias[:, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    values = np.asarray(learned_slopes._bounded(jnp.asarray([-3.0, 0.0, 1.0])))
    np.testing.assert_allclose(values, [-0.75, 0, 0.5])


@pytest.mark.x64
def test_a_shock_that_meets_sound():
    """The state behind is that of a shock of Mach 3 (by the jump conditions), before it the density
    oscillates about one, five waves in 2 pi, and rises at x = 5."""
    places = jnp.linspace(0.5, 9.5, 19)[:, None]
    found = np.asarray(jax.vmap(shock_and_sound)(places))
    np.testing.assert_allclose(found[0], [27 / 7, 20 * np.sqrt(1.4) / 9, 31 / 3], rtol=1e-6)
    calm = found[1:]
    x = np.asarray(places[1:, 0])
    np.testing.assert_allclose(calm[:, 0], 1 + np.sin(5 * x - 25) / 5, rtol=1e-12)
    np.testing.assert_array_equal(calm[:, 1:], np.stack([0 * x, 1 + 0 * x], axis=1))


@pytest.mark.stand_ins
def test_errors_of_densities(monkeypatch):
    """Means of each problem, infinite where one blew up; the sound's over the finer cells."""
    truth = jnp.asarray([[1.0, 2.0], [3.0, 5.0], [1.0, 1.0]])
    off = jnp.asarray([[0.5, -1.5], [0.0, 0.0], [jnp.nan, 0.0]])
    monkeypatch.setattr(schemes, "densities", lambda options, run, steps: run.truth + off)
    found = schemes.errors({}, Run(truth, truth, truth), 3)
    np.testing.assert_array_equal(found, [1, 0, np.inf])

    seen = []

    def waves(options, cells, courant):
        seen.append((cells, courant))
        return np.arange(cells) * 1.0

    monkeypatch.setattr(schemes, "_waves", waves)
    np.testing.assert_array_equal(schemes.waves_truth(500)[:3], [1.5, 5.5, 9.5])
    assert len(schemes.waves_truth(900)) == 900
    assert seen == [(2000, 0.5), (1800, 0.5)]
    assert schemes.waves_error({}, np.asarray([0.0, 2.0, 1.0]), 0.9) == pytest.approx(2 / 3)
    assert seen[-1] == (3, 0.9)
    assert schemes.waves_error({}, np.asarray([0.0, np.nan]), 0.9) == np.inf


def test_the_loss_of_a_gas_at_rest():
    """It stays as it is, so that the error of a wrong truth is known."""
    still = GAS.conserved(jnp.tile(jnp.array([[2.0], [0.0], [1.0]]), (1, 8)))
    run = Run(jnp.stack([still, still]), jnp.full((2, 8), 1.5), jnp.array([0.01, 0.02]))
    loss = jax.jit(shock_closure.Loss(1))(random_slopes(2, jax.random.key(0)), run)
    assert float(loss) == pytest.approx(50.0, rel=1e-5)


def test_the_fastest_wave():
    """Of Sod's problem the sound behind the shock, 0.9275 + 1.2641; where gases part, the head of a
    fan."""
    sod = [[1.0, 0.0, 1.0], [0.125, 0.0, 0.1]]
    parting = [[1.0, -0.5, 1.0], [1.0, 0.5, 1.0]]
    turned = (np.asarray(sod)[::-1] * [1.0, -1.0, 1.0]).tolist()
    found = jax.jit(jax.vmap(riemann_problems._fastest))(jnp.asarray([sod, turned, parting]))
    np.testing.assert_allclose(found, [2.1916, 2.1916, 1.4**0.5 + 0.5], rtol=1e-4)


def test_the_start_of_problems():
    """Gases meet within a cell, of which each has its share."""
    states = np.asarray([[[1.0, 0.0, 1.0], [0.5, 2.0, 0.2]]])
    found = np.asarray(starts(Problems(states, np.asarray([0.55]), np.ones(1)), 4))[0]
    np.testing.assert_allclose(found[0], [1, 1, 0.2 + 0.8 * 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(found[1], [0, 0, 0.8, 1.0], rtol=1e-6)
    np.testing.assert_allclose(found[2], [2.5, 2.5, 0.5 + 0.8 * 1.5, 1.5], rtol=1e-6)
    assert (steps_of(40, 0.9), steps_of(50, 0.5)) == (18, 40)


def test_summary_of_known_points():
    """The best Courant number of each plain scheme; the pay-off on the middle of the cells."""
    config = Config(learned_cells=(50, 100, 200))
    plain = [
        Point(f"{name}_{cells}_{courant}", scale * error, scale * cost)
        for name, scale in (("superbee", 1.0), ("superbee_rk2", 2.0), ("weno", 4.0))
        for cells, courant, error, cost in (
            (50, "05", 8.0, 2.0), (50, "09", 9.0, 1.0), (100, "05", 4.0, 4.0), (100, "09", 3.0, 3.0)
        )
    ]  # fmt: skip
    own = [
        Point(f"learned_{k}_{cells}", error, cells / 100)
        for cells, errors_of_members in ((50, (5, 6, 10)), (100, (3, 4, 8)), (200, (1, 2, 9)))
        for k, error in enumerate(errors_of_members)
    ]
    found = shock_closure._summary(config, plain, own, 7.0, "_strong")
    for cells, error in ((50, 6.0), (100, 4.0), (200, 2.0)):
        assert found[f"learned.l1_strong_{cells}"] == error
        assert found[f"learned.ms_strong_{cells}"] == 10 * cells
        assert f"learned.pay_off_strong_{cells}" in found
    assert found["pay_off_strong"] == found["learned.pay_off_strong_100"]
    expected = {
        "superbee": (8, 3, 2, 3), "superbee_rk2": (16, 6, 4, 6), "weno": (32, 12, 8, 12)
    }  # fmt: skip
    for name, (coarse, fine, slow, fast) in expected.items():
        assert found[f"{name}.l1_strong_50"] == coarse and found[f"{name}.l1_strong_100"] == fine
        assert found[f"{name}.ms_strong_50"] == 1e3 * slow
        assert found[f"{name}.ms_strong_100"] == 1e3 * fast
        assert f"{name}.l1_strong_200" not in found


@pytest.mark.stand_ins
def test_errors_and_prices_of_a_run(tmp_path, monkeypatch):
    """The first errors are those of the test, the others of strong shocks."""
    config = replace(SMALL, seed=1, test=2, waves=30, learned_cells=(24, 30), members=2)
    seen = []

    def errors_of(options, run, steps):
        seen.append((options, len(run.ends), run.states.shape[-1], steps))
        return np.asarray([1.0, 2.0, 6.0, 8.0]) * steps

    kept = {name: PLAIN[name] for name in ("superbee", "weno", "weno_characteristic")}
    monkeypatch.setattr(shock_closure, "PLAIN", kept)
    models = [random_slopes(2, jax.random.key(k)) for k in range(2)]
    monkeypatch.setattr(shock_closure, "trained", lambda *_: (models, {}, 5.0))
    monkeypatch.setattr(shock_closure, "errors", errors_of)
    problems = Problems(np.ones((2, 2, 3)), np.ones(2), np.ones(2))
    drawn = []

    def random_problems(key, count, low, speed, strong=None):
        drawn.append((key, strong))
        return problems

    monkeypatch.setattr(shock_closure, "random_problems", random_problems)

    def on_cells(problems, cells):
        count = len(problems.ends)
        return Run(jnp.ones((count, 3, cells)), jnp.ones((count, cells)), jnp.ones(count))

    monkeypatch.setattr(shock_closure, "on_cells", on_cells)
    monkeypatch.setattr(shock_closure, "waves_truth", lambda cells: np.zeros(cells))
    monkeypatch.setattr(
        shock_closure, "waves_error", lambda options, truth, courant: len(truth) * courant
    )
    monkeypatch.setattr(shock_closure, "costs", lambda methods, *_, **__: dict.fromkeys(methods, 1))
    monkeypatch.setattr(shock_closure, "_pictures", lambda *_: None)
    found = shock_closure.run(config, tmp_path).metrics
    # Those of training and validation are of the keys 4 and 5.
    assert drawn == [(6, None), (7, config.strong)]
    # 0.4 / 0.9 steps a cell.
    assert [each[1:] for each in seen] == [(4, 24, 11)] * 3 + [(4, 24, 11), (4, 30, 14)] * 2
    assert seen[0][0] is PLAIN["superbee"] and seen[-1][0]["reconstruction"] is models[1]
    assert found["superbee.l1_24"] == 11 * 1.5 and found["superbee.l1_strong_24"] == 11 * 7
    assert found["learned.l1_30"] == 14 * 1.5 and found["learned.l1_strong_30"] == 14 * 7
    milliseconds = 1e3 / shock_closure.TIMED
    assert found["superbee.ms_24"] == pytest.approx(11 * milliseconds)
    assert found["learned.ms_30"] == pytest.approx(14 * milliseconds)
    assert found["invested_seconds"] == 5
    assert found["learned_0.waves_l1"] == 30 * 0.9 and found["weno.waves_l1"] == 30 * 0.5


def test_bad_input():
    model = random_slopes(2, jax.random.key(0))
    with pytest.raises(ValueError, match="3 values; got 4"):
        model.difference(*[jnp.ones((4, 9))] * 5)
    with pytest.raises(TypeError, match="lines of the primitive variables: primitive_lines"):
        finite_volumes(CompressibleFlow(1), Cells(8), 1e-3, reconstruction=model).advance(
            jnp.ones((3, 8))
        )
    with pytest.raises(ValueError, match="courant must be at most 1"):
        Config(courant=1.2)
    with pytest.raises(ValueError, match=r"low must be in \(0, 1\), got 1"):
        Config(low=1.0)
    with pytest.raises(ValueError, match="strong must be at least 10, got 5"):
        Config(strong=5.0)
    with pytest.raises(ValueError, match="at least 20 cells, got 10"):
        Config(cells=10)


def test_a_small_run(tmp_path, monkeypatch):
    """Two updates, and a front of three plain schemes."""
    models = []

    def trained(config, folder):
        found = shock_closure_trained(config, folder)
        models.extend(found[0])
        assert all(np.isfinite(loss).all() for loss in found[1].values())
        return found

    shock_closure_trained = shock_closure.trained
    monkeypatch.setattr(shock_closure, "trained", trained)
    kept = {name: PLAIN[name] for name in ("first_order", "superbee", "weno")}
    monkeypatch.setattr(shock_closure, "PLAIN", kept)
    contract.execute(EXPERIMENT, "quick", SMALL, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert 0 < metrics["pay_off"] == metrics["pay_off_min"]
    for weight in jax.tree.leaves(models[0]):
        assert jnp.all(weight != 0), "a weight that has not been trained"
    assert metrics["superbee.l1_24"] < metrics["first_order.l1_24"]
    assert metrics["learned.l1_24"] == pytest.approx(metrics["superbee.l1_24"], rel=0.1)
    for name in ("front.png", "density.png"):
        assert (tmp_path / name).stat().st_size > 5000
