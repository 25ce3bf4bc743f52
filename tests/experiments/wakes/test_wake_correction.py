"""wake-correction, tiny: packed states, coarse targets without divergence, a network that helps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.wakes import wake_correction
from jaxpbdl.experiments.wakes.flow import Setting, coarsened, solenoidal
from jaxpbdl.experiments.wakes.wake_correction import EXPERIMENT, Config, run
from jaxpbdl.learning import History
from jaxpbdl.solvers.flow import limited
from tests.experiments.fakes import LOSSES, Scaled

CELLS = (32, 16)


@pytest.fixture(scope="module")
def solvers():
    setting = Setting(CELLS, finer=2, dt=0.15)
    return setting.solver(), setting.solver(2)


def test_packed_states(solvers):
    """A step of a packed state is a step of the flow at the viscosity that it names."""
    coarse, _ = solvers
    start = coarse.flow.start((1.0, 0.0))
    state = coarse.packed(start.velocity, 0.01)
    after = jax.jit(coarse)(state)
    *velocity, viscosity = coarse.unpacked(after)
    assert viscosity[0] == pytest.approx(0.01)
    for mine, other in zip(velocity, coarse.flow(start).velocity, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)


def test_targets_and_corrections_have_no_divergence(solvers):
    coarse, fine = solvers
    state = fine.packed(fine.flow.start((1.0, 0.0)).velocity, 0.02)
    small = coarsened(fine, coarse, state)
    *velocity, _ = coarse.unpacked(small)
    assert jnp.max(jnp.abs(coarse.flow.divergence(tuple(velocity)))) < 1e-5
    assert velocity[0][0].mean() == pytest.approx(1.0, rel=1e-3)
    increment = solenoidal(coarse, jax.random.normal(jax.random.key(0), (2, *CELLS)))
    *change, viscosity = coarse.unpacked(increment)
    assert jnp.max(jnp.abs(coarse.flow.divergence(tuple(change)))) < 1e-4
    assert viscosity[0] == 0 and jnp.all(change[0][0] == 0)


def test_a_tiny_run(tmp_path):
    """A few dozen updates already correct the coarse solver at a Reynolds number between."""
    config = Config(
        train=(60.0, 140.0),
        test=(100.0,),
        cells=CELLS,
        finer=2,
        warm_up=20,
        frames=12,
        asked=5,
        width=8,
        depth=2,
        batch=2,
        unroll=2,
        updates=40,
    )
    result = run(config, tmp_path)
    assert result.metrics["corrected.relative_l2"] < 0.9 * result.metrics["coarse.relative_l2"]
    assert (tmp_path / "wakes.png").stat().st_size > 10_000


def test_metrics_of_known_errors_and_what_training_sees(tmp_path, monkeypatch):
    """In a steady flow models grow by a known share a frame; whatever the test wakes are, training
    is given the same."""
    shares = {
        "coarse_central": 0.4, "coarse": 0.3, "supervised": 0.2, "cut": 0.1, "corrected": 0.05
    }  # fmt: skip
    config = Config(
        train=(60.0, 140.0), test=(100.0, 90.0), frames=6, asked=3, width=2, depth=1, unroll=2
    )
    states = jax.random.normal(jax.random.key(0), (2, 6, 5))
    steady = jnp.broadcast_to(jnp.arange(1.0, 11).reshape(2, 1, 5), (2, 4, 5))
    seen = []

    class Known(Setting):
        def solver(self, factor=1, interpolation=None):
            name = "coarse" if interpolation is limited else "coarse_central"
            return Scaled(1 + shares[name])

    def fit(model, loss, batches, *arguments, key, name, **settings):
        of_known = loss(Scaled(2.0), states[:, : batches.steps + 1])
        given = (model, batches, of_known, jax.random.key_data(key))
        seen.append((name, eqx.filter(given, eqx.is_array)))
        return Scaled(1 + shares[name]), History(LOSSES, np.empty(0), np.empty(0), None, 0.0)

    monkeypatch.setattr(wake_correction, "Setting", Known)
    monkeypatch.setattr(wake_correction, "fit", fit)
    monkeypatch.setattr(wake_correction, "_pictures", lambda *_: None)
    for factor in (1.0, np.nan):

        def data(folder, fine, coarse, numbers, warm_up, frames, factor=factor):
            made = {config.train: states, config.test: factor * steady}[numbers]
            assert made.shape[1] == frames
            return made

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
