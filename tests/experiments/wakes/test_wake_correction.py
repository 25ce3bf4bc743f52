"""wake-correction, tiny: viscosity in the state, targets without divergence, a useful network."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.wakes import wake_correction
from jaxpbdl.experiments.wakes.flow import Setting, coarsened, flow_of, velocity, viscosity_of
from jaxpbdl.experiments.wakes.wake_correction import EXPERIMENT, Config, run
from jaxpbdl.learning import History, Varied
from jaxpbdl.solvers.flow import Flow, limited
from tests.experiments.fakes import LOSSES, Scaled

CELLS = (32, 16)


@pytest.fixture(scope="module")
def solvers():
    setting = Setting(CELLS, finer=2, dt=0.15)
    return setting.solver(), setting.solver(2)


def test_the_viscosity_of_a_state_is_that_of_its_flow(solvers):
    coarse, _ = solvers
    step = flow_of(coarse)
    start = step.start((1.0, 0.0))
    after = jax.jit(coarse)(Varied(start, jnp.asarray(0.02)))
    assert after.parameter == pytest.approx(0.02)
    own = eqx.tree_at(viscosity_of, step, jnp.asarray(0.02))(start)
    other = step(start)
    for mine, expected, wrong in zip(velocity(after), own.velocity, other.velocity, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)
        assert jnp.max(jnp.abs(mine - wrong)) > 1e-3


def test_targets_and_corrections_have_no_divergence(solvers):
    coarse, fine = solvers
    step = flow_of(coarse)
    state = Varied(flow_of(fine).start((1.0, 0.0)), jnp.asarray(0.02))
    small = coarsened(fine, coarse, state)
    assert jnp.max(jnp.abs(step.divergence(velocity(small)))) < 1e-5
    assert velocity(small)[0][0].mean() == pytest.approx(1.0, rel=1e-3)
    noise = jax.random.normal(jax.random.key(0), (2, *CELLS))
    changed = coarse.corrected(small, noise)
    assert jnp.max(jnp.abs(step.divergence(velocity(changed)))) < 1e-4
    assert changed.parameter == small.parameter
    change = velocity(changed)[0] - velocity(small)[0]
    np.testing.assert_allclose(change[0], 0.0, atol=1e-6)
    assert jnp.max(jnp.abs(change)) > 0.1


def test_a_tiny_run(tmp_path):
    """A few dozen updates already correct the coarse solver at a Reynolds number between."""
    config = Config(
        train=(60.0, 140.0),
        test=(100.0,),
        cells=CELLS,
        finer=2,
        warm_up=20,
        snapshots=12,
        test_snapshots=5,
        width=8,
        depth=2,
        batch=2,
        unroll=2,
        updates=40,
    )
    result = run(config, tmp_path)
    assert result.metrics["corrected.relative_l2"] < 0.9 * result.metrics["coarse.relative_l2"]
    assert (tmp_path / "wakes.png").stat().st_size > 10_000


@pytest.mark.stand_ins
def test_metrics_of_known_errors_and_what_training_sees(tmp_path, monkeypatch):
    """In a steady flow models grow by a known share a snapshot; whatever the test wakes are,
    training is given the same."""
    shares = {
        "coarse_central_differences": 0.4,
        "coarse": 0.3, "supervised": 0.2, "cut": 0.1, "corrected": 0.05,
    }  # fmt: skip
    config = Config(
        train=(60.0, 140.0),
        test=(100.0, 90.0),
        snapshots=6,
        test_snapshots=3,
        width=2,
        depth=1,
        unroll=2,
    )
    states = jax.random.normal(jax.random.key(0), (2, 6, 5, 4))
    steady = jnp.broadcast_to(jnp.arange(1.0, 41).reshape(2, 1, 5, 4), (2, 4, 5, 4))

    def varied(values):
        return Varied(Flow((values, 2 * values), jnp.zeros(values.shape[:2])), values[..., 0, 0])

    seen = []

    class Known(Setting):
        def solver(self, factor=1, interpolation=None):
            name = "coarse" if interpolation is limited else "coarse_central_differences"
            return Scaled(1 + shares[name])

    def fit(model, loss, batches, *arguments, key, name, **settings):
        windows = jax.tree.map(lambda leaf: leaf[:, : batches.steps + 1], varied(states))
        of_known = loss(Scaled(2.0), windows)
        given = (model, batches, of_known, jax.random.key_data(key))
        seen.append((name, eqx.filter(given, eqx.is_array)))
        return Scaled(1 + shares[name]), History(LOSSES, np.empty(0), np.empty(0), None, 0.0)

    monkeypatch.setattr(wake_correction, "Setting", Known)
    monkeypatch.setattr(wake_correction, "fit", fit)
    monkeypatch.setattr(wake_correction, "_pictures", lambda *_: None)
    for factor in (1.0, np.nan):

        def data(folder, fine, coarse, numbers, warm_up, snapshots, factor=factor):
            values = {config.train: states, config.test: factor * steady}[numbers]
            assert values.shape[1] == snapshots
            return varied(values)

        monkeypatch.setattr(wake_correction, "_data", data)
        result = run(config, tmp_path)
        if factor == 1:
            found = result.metrics
    assert len(seen) == 6 and eqx.tree_equal(seen[:3], seen[3:])
    for name, share in shares.items():
        growth = (1 + share) ** np.arange(1, 4) - 1
        for metric in ("relative_l2", "relative_l1"):
            assert found[f"{name}.{metric}"] == pytest.approx(growth.mean(), rel=1e-4)
        assert found[f"{name}.at_end"] == pytest.approx(growth[-1], rel=1e-4)
    gain = found["coarse.relative_l1"] / found["corrected.relative_l1"]
    assert found["gain"] == pytest.approx(gain)
    assert {name: list(loss) for name, loss in result.histories.items()} == dict.fromkeys(
        ("supervised", "cut", "corrected"), list(LOSSES)
    )


def test_presets_and_settings():
    assert set(EXPERIMENT.presets) == {"quick", "full"}
    with pytest.raises(ValueError, match="must not repeat"):
        Config(train=(60.0, 73.0), test=(73.0,))
    with pytest.raises(ValueError, match="updates"):
        Config(updates=0)
