"""Scenarios of APEBench: coefficients, starts, measure, the network, a tiny run."""

from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.operators import apebench
from jaxpbdl.experiments.operators.apebench import EXPERIMENT, Config, emulator, hybrid, peers
from jaxpbdl.experiments.operators.coarse_hybrid import (
    ROUNDING,
    CoarseGrids,
    Contest,
    Grid,
    Tried,
    coarse_pay_offs,
    coarse_step,
    cut_off,
    even,
    plain_solvers,
)
from jaxpbdl.experiments.operators.difficulty import (
    BURGERS,
    KDV,
    KS,
    KS_OLDER,
    Scenario,
    fourier_series,
    geometric_mean,
)
from jaxpbdl.experiments.operators.products import ProductNet
from jaxpbdl.experiments.training import Training
from jaxpbdl.grids import Cells
from jaxpbdl.learning import Corrected

POINTS = 160
X = np.arange(POINTS) / POINTS


@pytest.mark.parametrize(
    ("scenario", "rate"),
    [
        (BURGERS, lambda k: -1.5 / (160**2 * 2) * k**2),
        (KDV, lambda k: 14j / (160**3 * 4) * k**3 - 9 / (160**4 * 8) * k**4),
        (KS, lambda k: 2 / (160**2 * 2) * k**2 - 18 / (160**4 * 8) * k**4),
        (KS_OLDER, lambda k: 2 / (160**2 * 2) * k**2 - 15 / (160**4 * 8) * k**4),
    ],
)
def test_a_small_wave_grows_decays_and_travels_as_the_difficulties_say(scenario, rate):
    k = 2 * np.pi * 12
    step = scenario.step(POINTS)
    found = step(jnp.asarray(1e-5 * np.cos(k * X), jnp.float32))
    expected = 1e-5 * np.real(np.exp(rate(k) + 1j * k * X))
    np.testing.assert_allclose(found, expected, atol=3e-9)


def test_convection_carries_a_wave_to_where_it_points():
    """u_t = -c u u_x + nu u_xx over a time too short for more."""
    part, k, c, nu = 0.02, 2 * np.pi, 1.5 / 160, 1.5 / (160**2 * 2)
    u = np.sin(k * X) + 0.5
    found = (BURGERS.step(POINTS, part)(jnp.asarray(u, jnp.float32)) - u) / part
    rate = -c * u * k * np.cos(k * X) - nu * k**2 * np.sin(k * X)
    np.testing.assert_allclose(found, rate, atol=2e-4)


def test_half_a_step_is_a_step_of_half_the_coefficients():
    state = fourier_series(jax.random.key(0), POINTS)
    halved = Scenario("halved", -1.0, {3: -7.0, 4: -4.5}).step(POINTS)
    np.testing.assert_allclose(KDV.step(POINTS, 0.5)(state), halved(state), atol=2e-6)


def test_starts_are_short_fourier_series():
    states = jax.vmap(lambda key: fourier_series(key, POINTS))(
        jax.random.split(jax.random.key(1), 200)
    )
    np.testing.assert_allclose(jnp.max(jnp.abs(states), axis=1), 1.0, rtol=1e-6)
    size = np.abs(np.fft.rfft(states))
    assert size[:, 0].max() < 1e-4 and size[:, 6:].max() < 1e-4
    # Amplitudes and phases are independent of the wavenumber.
    share = (size[:, 1:6] ** 2).mean(0) / (size[:, 1:6] ** 2).sum(1).mean()
    np.testing.assert_allclose(share, 0.2, atol=0.06)


def test_trajectories_start_after_the_warm_up():
    late = Scenario("late", -1.0, {2: -2.0, 4: -18.0}, warmup=2)
    early = Scenario("early", -1.0, {2: -2.0, 4: -18.0})
    key = jax.random.key(0)
    found, longer = late.trajectories(key, 2, 3, 32), early.trajectories(key, 2, 5, 32)
    assert found.shape == (2, 4, 32)
    np.testing.assert_allclose(found, longer[:, 2:], atol=1e-5)


def test_the_geometric_mean():
    errors = np.array([[0.0, 1.0, 3.0], [0.0, 3.0, 13.0]])
    assert geometric_mean(errors) == pytest.approx(4.0)  # of the means 2 and 8
    long = np.concatenate([np.zeros((1, 1)), np.ones((1, 100)), np.full((1, 50), 9.0)], axis=1)
    assert geometric_mean(long) == pytest.approx(1.0)
    assert geometric_mean(np.array([[0.0, 1.0, np.inf]])) == np.inf


def set_by_hand(points: int) -> ProductNet:
    """d(u^2)/dx + u_xx, by one layer of one product."""
    net = ProductNet(points, products=1, layers=1, key=jax.random.key(0))
    k = 2 * jnp.pi * jnp.arange(points // 2 + 1)
    one, zero = jnp.ones_like(k), jnp.zeros_like(k)
    new = {
        "direct": jnp.stack([-(k**2), zero], -1)[None],
        "left": jnp.stack([one, zero], -1)[None, None],
        "right": jnp.stack([one, zero], -1)[None, None],
        "out": jnp.stack([zero, k], -1)[None],
    }
    for name, value in new.items():
        net = eqx.tree_at(lambda n, name=name: getattr(n.layers[0], name), net, value)
    return net


def test_multipliers_and_products():
    x = np.arange(32) / 32
    k = 2 * np.pi
    u = jnp.asarray(np.sin(k * x) + 0.3, jnp.float32)
    found = set_by_hand(32)(u[None])[0]
    expected = 2 * (np.sin(k * x) + 0.3) * k * np.cos(k * x) - k**2 * np.sin(k * x)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def perturbed(net: ProductNet) -> ProductNet:
    """With numbers other than zero everywhere."""
    leaves, tree = jax.tree.flatten(net)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    return jax.tree.unflatten(tree, [a + 0.1 * jax.random.normal(k, a.shape) for a, k in pairs])


def test_the_network_commutes_with_shifts_and_has_no_mean():
    start = ProductNet(32, products=2, layers=3, key=jax.random.key(0))
    state = fourier_series(jax.random.key(2), 32)[None] + 0.4
    assert float(jnp.max(jnp.abs(eqx.filter_jit(start)(state)))) == 0.0
    net = eqx.filter_jit(perturbed(start))
    found = net(state)
    assert float(jnp.std(found)) > 0.01
    np.testing.assert_allclose(
        net(jnp.roll(state, 5, axis=1)), jnp.roll(found, 5, axis=1), atol=1e-4
    )
    assert abs(float(jnp.mean(found))) < 1e-5


def test_an_untrained_emulator_stays_and_an_untrained_hybrid_goes_half_way():
    net = ProductNet(POINTS, key=jax.random.key(0))
    state = fourier_series(jax.random.key(3), POINTS)
    np.testing.assert_array_equal(eqx.filter_jit(emulator(BURGERS, net))(state), state)
    half = eqx.filter_jit(BURGERS.step(POINTS, 0.5))(state)
    added = perturbed(net)
    increment = eqx.filter_jit(added)(state[None])[0]
    assert float(jnp.std(increment)) > 0.01
    for network, change in ((net, 0.0), (added, increment)):
        found = eqx.filter_jit(hybrid(BURGERS, network))(state)
        np.testing.assert_allclose(found, half + change, atol=1e-5)
    found = eqx.filter_jit(emulator(BURGERS, added))(state)
    np.testing.assert_allclose(found, state + increment, atol=1e-5)


def test_published_figures_stand_beside_the_metric_they_are_of():
    assert peers("kdv")["kdv.geometric_mean"].value == 0.0776
    assert peers("kdv")["kdv_hybrid.geometric_mean"].value == 0.00154
    assert peers("ks_15")["ks_15.geometric_mean_best"].value == 0.196
    assert list(peers("ks")) == ["ks_hybrid.geometric_mean"]  # no network was trained there


@pytest.mark.stand_ins
def test_the_loss_is_relative_to_a_state_that_stays(monkeypatch):
    """Of training states that change by 1 and by 3; the test and the validation are judged apart,
    by the members in their order."""
    train = jnp.asarray([[0.0, 1.0, 4.0], [5.0, 8.0, 7.0]])[..., None, None]
    data = {"train": train, "validation": "held", "test": "unknown"}
    seen = {}

    def fit_ensemble(make, loss, windows, optimiser, updates, **settings):
        seen.update(loss=loss, windows=windows, updates=updates, keys=settings["keys"])
        losses = [SimpleNamespace(loss=np.full(3, float(i))) for i in range(2)]
        return "stacked", losses

    monkeypatch.setattr(apebench, "fit_ensemble", fit_ensemble)
    monkeypatch.setattr(apebench, "members", lambda stacked: [1.0, 2.0])
    factors = {"unknown": 10.0, "held": 100.0}
    monkeypatch.setattr(
        apebench, "errors_of", lambda one, part: one * factors[part] * np.asarray([[0.0, 1, 4]])
    )
    monkeypatch.setattr(apebench, "unrolled", lambda model, windows: 7.0 * model)
    config = Config(points=40, members=2)
    found = apebench.judge(config, BURGERS, emulator, Path("nowhere"), data)
    assert float(seen["loss"](3.0, None)) == pytest.approx(21 / ((1 + 9 + 9 + 1) / 4))
    assert len(seen["keys"]) == 2 and seen["updates"] == config.training.updates
    np.testing.assert_array_equal(found.errors[:, 0, 2], [40, 80])
    np.testing.assert_array_equal(found.validation[:, 0, 1], [100, 200])
    assert found.scores == [geometric_mean(each) for each in found.errors]
    assert found.validation_scores == [geometric_mean(each) for each in found.validation]
    assert [loss[0] for loss in found.losses] == [0, 1]


@pytest.mark.stand_ins
def test_figures_of_a_run(tmp_path, monkeypatch):
    """Medians over members, and the best of them; errors are means over the trajectories."""
    monkeypatch.setattr(apebench, "SCENARIOS", (BURGERS,))
    monkeypatch.setattr(apebench, "UP_TO", 3)
    ramp = np.arange(6.0) * np.ones((2, 1)) * [[1.0], [3.0]]
    errors = np.stack([ramp, 5 * ramp, 2 * ramp])
    judged = {
        "emulator": apebench.Judged(errors, 10 * errors, [np.zeros(1)] * 3, 12),
        "hybrid": apebench.Judged(errors / 100, errors, [np.ones(1)] * 3, 34),
    }
    monkeypatch.setattr(apebench, "judge", lambda config, scenario, form, *_: judged[form.__name__])
    monkeypatch.setattr(apebench, "states_of", lambda *_: {"test": None})
    monkeypatch.setattr(apebench, "errors_of", lambda step, reference: 7 * ramp)
    monkeypatch.setattr(apebench, "_picture", lambda *_: None)
    coarse = ({"burgers.pay_off": 0.5}, {"burgers_coarse_24_1_0": np.zeros(1)})
    monkeypatch.setattr(apebench, "coarse_hybrids", lambda *_: coarse)
    config = Config(points=40, test_steps=5)
    result = apebench.run(config, tmp_path)
    base = geometric_mean(ramp)
    assert result.metrics == pytest.approx({
        "burgers.geometric_mean": 2 * base, "burgers.geometric_mean_best": base,
        "burgers.validation": 20 * base, "burgers.error_1": 4, "burgers.error_3": 12,
        "burgers.weights": 12, "burgers.updates": config.training.updates,
        "burgers_hybrid.geometric_mean": 0.02 * base,
        "burgers_hybrid.geometric_mean_best": 0.01 * base,
        "burgers_hybrid.validation": 2 * base, "burgers_hybrid.error_1": 0.04,
        "burgers_hybrid.error_3": 0.12, "burgers_hybrid.weights": 34,
        "burgers_hybrid.updates": config.training.updates,
        "burgers_half_twice.geometric_mean": 7 * base, "burgers.pay_off": 0.5,
    })  # fmt: skip
    assert set(result.histories) == {
        *(f"{method}_{i}" for method in ("burgers", "burgers_hybrid") for i in range(3)),
        "burgers_coarse_24_1_0",
    }


def test_a_coarse_step_has_the_coefficients_of_the_reference():
    """Of a state that both grids hold: two steps of the reference in one of twice its length."""
    state = 1e-5 * jnp.asarray(np.cos(2 * np.pi * 12 * X), jnp.float32)
    step = KS.step(POINTS)
    found = coarse_step(KS, POINTS, Grid(64, 2))(cut_off(state, 64))
    np.testing.assert_allclose(found, cut_off(step(step(state)), 64), atol=3e-9)
    assert even(0.4, 160) == 64 and even(0.45, 40) == 18


def test_plain_solvers_of_several_grids():
    found = plain_solvers(CoarseGrids(plain=(0.5,), learned=(0.4,)), 20)
    assert found == [
        *((Grid(n, stride), 1.0) for n in (8, 10, 20) for stride in (1, 2)),
        *((Grid(n, 1), None) for n in (8, 10, 20)),
    ]


def test_the_grid_is_chosen_by_validation_and_the_pay_off_is_that_of_the_test():
    """Costs of 1, 2 and 4 for errors of 0.1, 0.01 and none; a hybrid step costs 3, over two units
    of time 1.5."""
    plain = {
        (Grid(8, 1), 1.0): (0.1, 0.1),
        (Grid(12, 1), 1.0): (0.01, 0.01),
        (Grid(12, 2), 1.0): (0.5, 0.6),
        (Grid(20, 1), None): (ROUNDING, ROUNDING),
    }
    network = ProductNet(12, products=1, layers=1, key=jax.random.key(0))
    models = [Corrected(coarse_step(BURGERS, 20, Grid(12, 1)), network)]
    short = Tried(models, [0.01] * 3, [1e-4] * 3, [], 0.0)  # validation pays 2 / 3
    long = Tried(models, [0.01] * 3, [0.1, 0.01, 0.01], [], 0.0)  # 2 / 1.5
    contest = Contest(plain, {Grid(12, 1): short, Grid(12, 2): long})
    timed = {(8, 1.0): 1.0, (12, 1.0): 2.0, (20, None): 4.0, 12: 3.0}
    metrics, (others, own) = coarse_pay_offs("burgers", contest, timed, invested=100.0)
    assert metrics["burgers_coarse.stride"] == 2 and metrics["burgers_coarse.points"] == 12
    assert metrics["burgers.pay_off"] == pytest.approx(4 / 3)
    assert metrics["burgers.pay_off_min"] == pytest.approx(2 / 3)
    assert metrics["burgers.break_even_solves"] == pytest.approx(100 / (100 * 0.5))
    assert metrics["burgers_coarse.geometric_mean"] == 0.01
    assert metrics["burgers_coarse.solver_alone"] == 0.6
    assert [point.cost for point in own] == [1.5] * 3 and len(others) == 4


def test_bad_settings():
    with pytest.raises(ValueError, match="validation must be below train = 4, got 4"):
        Config(train=4, validation=4)
    with pytest.raises(ValueError, match=r"at most the steps of a trajectory, 1; got \(1, 2\)"):
        Config(test_steps=1)
    with pytest.raises(ValueError, match=r"plain must be shares in \(0, 1\), got \(0.0, 0.5\)"):
        CoarseGrids(plain=(0.0, 0.5))
    with pytest.raises(ValueError, match=r"strides must be different numbers in rising order"):
        CoarseGrids(strides=(2, 1))
    with pytest.raises(ValueError, match=r"grid must have 1 axis, got 2"):
        BURGERS.equation(16).check_grid(Cells((16, 16), 1.0, periodic=True))
    net = ProductNet(16, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"field must have shape \(1, 16\), got \(1, 18\)"):
        net(jnp.zeros((1, 18)))


def test_a_tiny_run(tmp_path, monkeypatch):
    """Few updates on few points; one scenario, since the others differ in coefficients alone."""
    monkeypatch.setattr(apebench, "SCENARIOS", (BURGERS,))
    config = Config(
        points=40,
        members=2,
        train=6,
        validation=1,
        train_steps=10,
        test=2,
        test_steps=10,
        training=Training(updates=150, batch=10, learning_rate=1e-2),
        coarse=CoarseGrids(
            plain=(0.6,),
            learned=(0.6,),
            strides=(1,),
            coarse_updates=500,
            timing_repeats=3,
        ),
    )
    found = execute(EXPERIMENT, "quick", config, tmp_path).metrics
    for method in ("burgers", "burgers_hybrid"):
        assert found[f"{method}.geometric_mean_best"] <= found[f"{method}.geometric_mean"] < 0.2
        assert found[f"{method}.updates"] == 150
        # Of each of 21 modes: 1 + 3 + 3 + 3 and 2 + 6 + 6 + 3 complex numbers.
        assert found[f"{method}.weights"] == 21 * 2 * 27
    assert 1e-5 < found["burgers_half_twice.geometric_mean"] < 0.1
    assert found["burgers_coarse.points"] == 24 and found["burgers_coarse.stride"] == 1
    assert found["burgers_coarse.geometric_mean"] < found["burgers_coarse.solver_alone"] < 0.1
    assert found["burgers_coarse.invested_seconds"] > 0
    assert 0 < found["burgers.pay_off_min"] <= found["burgers.pay_off"]
    assert (found["burgers.break_even_solves"] == np.inf) == (found["burgers.pay_off"] <= 1)
    for name in ("errors.png", "front.png"):
        assert (tmp_path / name).stat().st_size > 5000
