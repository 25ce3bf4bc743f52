"""wake-correction, tiny: fronts, medians and pay-offs of known errors, a network that helps."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.training import Training
from jaxpbdl.experiments.wakes import comparison, wake_correction
from jaxpbdl.experiments.wakes import hybrid as hybrids
from jaxpbdl.experiments.wakes.comparison import coarse, same_cost, summary
from jaxpbdl.experiments.wakes.data import Wake
from jaxpbdl.experiments.wakes.flow import Setting, family, fluxes, sampled
from jaxpbdl.experiments.wakes.hybrid import Hybrid, RolloutError, build, mirrored, solver_of
from jaxpbdl.experiments.wakes.plain import PLAIN, Plain, fewest_steps, windows
from jaxpbdl.experiments.wakes.setting import Config, simulated
from jaxpbdl.experiments.wakes.wake_correction import EXPERIMENT, run
from jaxpbdl.learning import Varied

CELLS = (32, 16)
TINY = Config(
    train=(60.0, 140.0),
    validation=(100.0,),
    test=(90.0,),
    outside=(150.0,),
    cells=CELLS,
    finer=2,
    finest=3,
    bodies=("square",),
    bodies_at=(90.0,),
    window=1.2,
    horizon=0.8,
    windows=1,
    test_windows=2,
    body_windows=1,
    spin_up=2.0,
    settling=0.2,
    central_grids=(1.0, 1.5),
    limited_grids=(),
    multistep=False,
    hybrid=Hybrid(
        width=8, depth=2, unroll=2, members=2, chunk=10,
        training=Training(
            updates=30, batch=2, learning_rate=3e-3, warmup_fraction=0.1, average=None
        ),
    ),
    timing_repeats=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the simulations of the tests are left."""
    return tmp_path_factory.mktemp("wakes")


def test_a_tiny_run(folder, monkeypatch):
    """A few updates already correct the coarse solver at Reynolds numbers between, and what is read
    back from the folder of simulations is what was left there."""
    config = TINY
    first = simulated(config, folder)
    again = simulated(config, folder)
    parts = [test.parts for test in first.tests]
    assert parts[0] == {"inside": slice(1), "outside": slice(1, None)}
    assert parts[1:] == [{"finest": slice(None)}, {"square": slice(None)}]
    wake, finest, square = (test.wake for test in first.tests)
    assert finest.starts.shape == (1, 1, 97, 49)
    np.testing.assert_array_equal(wake.streams, again.tests[0].wake.streams)
    np.testing.assert_allclose(wake.reynolds, [90.0, 150.0])
    assert wake.starts.shape == (2, 2, 65, 33) and wake.streams.shape == (2, 25, 33, 17)
    assert square.starts.shape == (1, 1, 65, 33)
    assert jnp.max(jnp.abs(square.streams[0, 0] - wake.streams[0, 0])) > 0.05
    monkeypatch.setattr(wake_correction, "simulated", lambda *_: first)
    metrics = run(config, folder).metrics
    assert metrics["hybrid.relative_l2"] < 0.9 * metrics[f"{coarse(config)}.relative_l2"]
    assert metrics["invested_seconds"] > float(jnp.sum(first.train.seconds))
    for name in ("front.png", "wakes.png", "wakes.gif"):
        assert (folder / name).stat().st_size > 10_000
    named = {"hybrid", "same_cost", "coarse"}
    for metric in ("strouhal_error", "mean_drag_error", "lift_error", "relative_l2_long"):
        assert {f"{name}.{metric}{end}" for name in named for end in ("", "_outside")} <= set(
            metrics
        )


COARSE, FINE = "front_1x_central_rk3", "front_3x_central_rk3"


def test_the_summary_of_known_errors_and_costs():
    """Plain costs 1 at error 0.1 and 100 at 0.001: 10 at 0.01."""
    prices = {COARSE: 1.0, FINE: 100.0} | {f"hybrid_{k}": 2.0 for k in range(3)}
    inside = {
        COARSE: 0.1, FINE: 0.001, "hybrid_0": 0.01, "hybrid_1": 0.1, "hybrid_2": 0.0005,
    }  # fmt: skip
    outside = inside | {"hybrid_0": 0.2, "hybrid_2": 0.1}
    metrics, notes = summary({"inside": inside, "outside": outside}, prices, 1000.0, 50.0)
    gains = [metrics[f"hybrid_{k}.pay_off"] for k in range(3)]
    assert gains == pytest.approx([5.0, 0.5, 50.0])
    assert metrics["pay_off"] == pytest.approx(5.0) and metrics["pay_off_min"] == 0.5
    assert metrics["pay_off_outside"] == metrics["pay_off_min_outside"] == 0.5
    assert metrics["break_even_solves"] == pytest.approx(1000 / (50 * 8))
    assert metrics["break_even_solves_outside"] == np.inf
    assert metrics["hybrid.relative_l2"] == 0.01 and metrics["hybrid.relative_l2_outside"] == 0.1
    assert metrics["front_3x.relative_l2"] == 0.001
    assert metrics[f"{FINE}.ms_per_time"] == 1e5 and metrics["hybrid.ms_per_time"] == 2e3
    assert notes == {"hybrid_2": "pay-off at least 50 (beyond the front)"}
    assert same_cost(Config(), inside, prices) == FINE
    assert same_cost(Config(), inside, prices | {COARSE: 2.5}) == COARSE


def test_what_trains_and_validates(folder, monkeypatch):
    """The test wakes reach neither training nor validation; targets are those of the snapshots that
    a step of the hybrid ends on."""
    data, seen = simulated(TINY, folder), []

    def fit_ensemble(make, loss, batches, *arguments, keys, validate, **settings):
        seen.append((batches, validate))
        model = make(keys[0])
        snapshots = batches.trajectories
        window = jax.tree.map(lambda u: u[:, [0, 4]], snapshots)
        still = window._replace(
            state=jax.tree.map(lambda u: jnp.stack([u[:, 1], u[:, 1]], 1), window.state)
        )
        seen.append((float(loss(model, window)), float(loss(lambda state: state, still))))
        raise StopIteration

    monkeypatch.setattr(hybrids, "fit_ensemble", fit_ensemble)
    with pytest.raises(StopIteration):
        hybrids.train(
            TINY.hybrid, TINY.setting, data.train, data.validation, TINY.horizon,
            jax.random.key(0), folder,
        )  # fmt: skip
    (batches, validate), losses = seen
    assert batches.stride == 4 and batches.steps == 2
    inverse = [1 / 60, 1 / 140] * 2  # and each run upside down
    np.testing.assert_allclose(batches.trajectories.parameter[:, 0], inverse, rtol=1e-6)
    np.testing.assert_allclose(validate.initial.parameter, [1 / 100], rtol=1e-6)
    expected = fluxes(sampled(data.validation.streams[0, 8], (16, 8)))
    for mine, true in zip(validate.truth, expected, strict=True):
        np.testing.assert_array_equal(mine[0, 2], true)
    assert losses[1] == 0.0 and 0.1 < losses[0] < 2.0


@pytest.mark.parametrize("form", ["correction", "force"])
def test_a_hybrid_starts_as_its_solver(form):
    hybrid = Hybrid(form=form, calls=2, steps=2, limited=True, width=4, depth=2)
    model = build(hybrid, solver_of(hybrid, Setting(CELLS)), jax.random.key(0))
    step = model.solver.solver
    state = Varied(step.start((1.0, 0.0)), jnp.asarray(0.02))
    ahead = jax.jit(model)(state)
    expected = jax.jit(lambda state: model.solver(model.solver(state)))(state)
    for mine, other in zip(ahead.state.velocity, expected.state.velocity, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
    assert model.interval == pytest.approx(0.2)


def test_the_mirror_image_of_a_flow_is_one():
    """The step of the image is the image of the step; without its sign v would not be."""
    step = family(Setting(CELLS).solver(0.1))
    flow = step.solver.start(lambda x: jnp.stack([1 + 0.2 * jnp.sin(x[1]), 0.3 * jnp.cos(x[0])]))
    state, ahead = Varied(flow, jnp.asarray(0.02)), jax.jit(step)
    found, expected = ahead(mirrored(state)), mirrored(ahead(state))
    for mine, other in zip(found.state.velocity, expected.state.velocity, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5)
    assert jnp.max(jnp.abs(found.state.velocity[1])) > 0.1


def test_the_validation_error_of_a_known_model():
    """Fluxes that are twice the truth, and two steps of a model a snapshot."""
    truth = fluxes(jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32))
    whole = jax.tree.map(lambda u: jnp.broadcast_to(u, (1, 3, *u.shape)), truth)
    initial = Varied(jax.tree.map(lambda u: u[:, 0], whole), jnp.ones(1))

    def grown(state):
        return Varied(jax.tree.map(lambda u: 2**0.5 * u, state.state), state.parameter)

    error = RolloutError(initial, whole, lambda state: state.state, 2)
    assert float(error(grown)) == pytest.approx((1.0 + 3.0) / 2, rel=1e-5)


def test_windows_follow_one_another():
    """Numbers instead of stream functions: the windows of a run share their ends."""
    streams = jnp.broadcast_to(
        (jnp.arange(17.0) + 100 * jnp.arange(2.0)[:, None])[..., None, None], (2, 17, 3, 3)
    ) * jnp.arange(3.0)
    wake = Wake(streams, jnp.zeros((2, 2, 5, 5)), jnp.ones(2), jnp.ones(2))
    _, truth, times = windows(wake, Setting((4, 4)), 0.8)
    heights = truth.x[:, :, 0, 0] * (5.0 / 2)
    np.testing.assert_allclose(
        heights, [[0, 4, 8], [8, 12, 16], [100, 104, 108], [108, 112, 116]], atol=1e-4
    )
    np.testing.assert_allclose(times, [0.0, 0.4, 0.8])


@pytest.mark.stand_ins
def test_errors_of_the_parts_of_a_test(monkeypatch):
    """Two runs of three windows; the start of each does not count, and parts are some runs."""
    errors = np.arange(24.0).reshape(6, 4)
    monkeypatch.setattr(comparison, "windows", lambda *_: (np.zeros((2, 3, 5, 6)), "truth", "t"))
    found = {"a": SimpleNamespace(relative_l2=errors), "b": SimpleNamespace(relative_l2=2 * errors)}
    monkeypatch.setattr(comparison, "evaluations", lambda methods, truth, times: found)
    test = SimpleNamespace(
        wake=None, setting=None, parts={"inside": np.asarray([0]), "outside": np.asarray([1])}
    )
    result = comparison.window_errors(Config(), {}, test)
    first = np.mean([1, 2, 3, 5, 6, 7, 9, 10, 11])
    assert result == {
        "inside": {"a": first, "b": 2 * first}, "outside": {"a": first + 12, "b": 2 * first + 24}
    }  # fmt: skip


@pytest.mark.stand_ins
def test_members_cost_the_same(monkeypatch):
    seen = []

    def costs(methods, span, repeats):
        seen.extend(methods)
        return {name: float(len(name)) for name in methods}

    monkeypatch.setattr(comparison, "costs", costs)
    methods = dict.fromkeys(("plain", "hybrid_0", "hybrid_1"))
    found = comparison.timed(Config(), methods)
    assert found == {"plain": 5, "hybrid_0": 6, "hybrid_1": 6} and seen == ["plain", "hybrid"]
    plain, own = comparison.parted(dict.fromkeys(methods, 0.5), found)
    assert [each.name for each in plain] == ["plain"] and len(own) == 2
    assert comparison.grid_of("front_2x_central_rk3") == "front_2x"
    assert (comparison.suffix("inside"), comparison.suffix("outside")) == ("", "_outside")


def test_the_fewest_steps_of_a_plain_solver(folder):
    """Between those that linear stability grants and half as many, and as accurate."""
    data = simulated(TINY, folder)
    found = fewest_steps(Plain(1.0, False, False, 4), TINY.setting, data.validation, 0.8)
    assert 1 <= found <= 4


def test_presets_and_settings():
    assert set(EXPERIMENT.presets) == {"quick", "full"}
    assert coarse(Config()) == "front_1x_central_rk3"
    assert Config().plain == PLAIN
    quick = {(row.finer, row.limited) for row in EXPERIMENT.presets["quick"].plain}
    assert quick == {(1.0, True), *((f, False) for f in (1.0, 2.0, 3.0, 4.0))}
    assert not any(row.multistep for row in EXPERIMENT.presets["quick"].plain)
    assert Plain(1.5, False, True, 3).name == "front_1_5x_central_ab3"
    with pytest.raises(ValueError, match="must not share"):
        Config(train=(60.0, 75.0), test=(75.0,), outside=(100.0,))
    with pytest.raises(ValueError, match="must lie within 60 .. 300"):
        Config(test=(55.0,))
    with pytest.raises(ValueError, match="outside beyond it"):
        Config(outside=(65.0,))
    with pytest.raises(ValueError, match="central_grids must be of .* got .1.7"):
        Config(central_grids=(1.0, 1.7))
    with pytest.raises(ValueError, match="must have 1, the grid of the solver"):
        Config(central_grids=(2.0,))
    with pytest.raises(ValueError, match="horizon must be at most window = 10"):
        Config(horizon=11.0)
    with pytest.raises(ValueError, match="bodies.0. must be one of"):
        Config(bodies=("cube",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="calls must be one of 1, 2, 4, got 3"):
        Hybrid(calls=3)  # type: ignore[arg-type]
