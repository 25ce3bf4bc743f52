"""Delta-learning: splits, and a tiny run on molecules whose difference is simple."""

import json
from dataclasses import replace
from types import SimpleNamespace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data.two_levels import read_qm7
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.molecules import delta_learning
from jaxpbdl.experiments.molecules.delta_learning import EXPERIMENT, Config, split
from jaxpbdl.learning import History
from tests.experiments.fakes import LOSSES

TINY = Config(sizes=(4, 16), test=12, repeats=1, chosen_on=4, updates=4)


@pytest.fixture
def molecules(tmp_path):
    """Bent chains of three atoms; the baseline misses a term of the angle alone."""
    drawn = np.random.default_rng(0)
    angle, first, second = drawn.uniform([1.5, 0.9, 0.9], [2.2, 1.1, 1.1], (40, 3)).T
    zero = np.zeros(40)
    ends = (
        np.stack([first, zero, zero], 1),
        np.stack([second * np.cos(angle), second * np.sin(angle), zero], 1),
    )
    positions = np.stack([np.zeros((40, 3)), *ends], 1)
    baseline = 400 * ((first - 1) ** 2 + (second - 1) ** 2) + np.sin(40 * first)
    path = tmp_path / "molecules.npz"
    np.savez(
        path,
        Z=np.tile([8, 1, 1], (40, 1)),
        R=positions,
        hof_pbe0_kcal_mol=baseline + 5 * np.cos(angle),
        hof_dftb3_kcal_mol=baseline,
    )
    return path


def test_splits():
    config = Config(sizes=(50,), test=20)
    known, test = split(config, 100, 0)
    assert len(known) == 50 and len(test) == 20 and not set(known) & set(test)
    again, same = split(config, 100, 1)
    np.testing.assert_array_equal(test, same)
    assert set(known) != set(again)
    redrawn = Config(sizes=(50,), test=20, redraw=True)
    tests = [set(split(redrawn, 100, repeat)[1].tolist()) for repeat in range(2)]
    assert tests[0] != tests[1]


def test_a_tiny_run(tmp_path, molecules):
    config = replace(TINY, data=molecules)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    metrics = report["metrics"]
    assert [each["file"] for each in report["data"]] == ["molecules.npz"]
    losses = {name: len(each["loss"]) for name, each in report["histories"].items()}
    assert losses == {"direct_4_0": 4, "delta_4_0": 4}
    assert metrics["delta.mae"] < 0.2 * metrics["direct.mae"]
    assert metrics["delta.mae"] < 0.2 * metrics["baseline.mae"]
    assert metrics["delta.mae"] == metrics["delta.mae_16"] < metrics["delta.mae_4"]
    assert (tmp_path / "learning_curves.png").exists()

    # Called again, it takes the repeat from its file.
    again = EXPERIMENT.run(replace(config, updates=1), tmp_path)
    assert again.metrics["delta.mae"] == pytest.approx(metrics["delta.mae"])
    assert {name: len(loss) for name, loss in again.histories.items()} == losses


@pytest.mark.x64
def test_metrics_of_known_errors_and_what_training_sees(tmp_path, molecules, monkeypatch):
    """A model that answers zero, of molecules of one composition: off is what the mean of the
    training energies leaves. Whatever the test molecules are, training is given the same."""
    config, data, seen = replace(TINY, repeats=2, data=molecules), read_qm7(molecules), []
    tests = split(config, 40, 0)[1]
    deviation = 1.0

    def chosen_by_likelihood(config, inputs, targets):
        seen.append((inputs, np.asarray(targets)))
        return "kernel", History(LOSSES, np.empty(0), np.empty(0), None, 0.0)

    def answered(process, inputs, targets, questions):
        seen.append((inputs, np.asarray(targets)))
        return np.zeros(config.test), np.full(config.test, deviation)

    monkeypatch.setattr(delta_learning, "chosen_by_likelihood", chosen_by_likelihood)
    monkeypatch.setattr(delta_learning, "answered", answered)
    monkeypatch.setattr(delta_learning, "features_of", lambda _, numbers, positions: positions)
    monkeypatch.setattr(delta_learning.delta_report, "picture", lambda *_: None)
    for factor in (1.0, 3.0):
        labels = {
            name: getattr(data, name).copy() for name in ("positions", "energies", "baseline")
        }
        for each in labels.values():
            each[tests] *= factor
        changed = replace(data, **labels)
        monkeypatch.setitem(delta_learning.SYSTEMS, "qm7", lambda *_, given=changed: given)
        folder = tmp_path / f"{factor}"
        folder.mkdir()
        result = EXPERIMENT.run(config, folder)
        found = result.metrics
        energies = {"direct": changed.energies, "delta": changed.energies - changed.baseline}
        known = [split(config, 40, repeat)[0] for repeat in range(2)]
        for name, each in energies.items():
            off = {
                size: np.abs([each[tests] - each[part[:size]].mean() for part in known])
                for size in config.sizes
            }
            for size in config.sizes:
                assert found[f"{name}.mae_{size}"] == pytest.approx(off[size].mean())
            assert found[f"{name}.mae"] == found[f"{name}.mae_16"]
            inside = np.mean(off[16] < 1.6449 * deviation)
            assert found[f"{name}.cover_90"] == pytest.approx(inside)
            assert factor != 1 or 0 < inside < 1
        assert found["baseline.mae"] == pytest.approx(found["delta.mae"])
        assert found["baseline_constant.mae"] == pytest.approx(found["delta.mae"])
        fits = {f"{name}_4_{repeat}" for name in energies for repeat in range(2)}
        assert set(result.histories) == fits
    half = len(seen) // 2
    assert half == 12 and eqx.tree_equal(seen[:half], seen[half:])


class Noisy(eqx.Module):
    """A process of which the noise alone is asked."""

    noise: jnp.ndarray


@pytest.mark.x64
@pytest.mark.stand_ins
def test_answers_have_the_noise(monkeypatch):
    """That of the energies is added to the variance of the process."""
    posterior = SimpleNamespace(predict=lambda questions: (questions, jnp.asarray([9.0, 0.0])))
    monkeypatch.setattr(delta_learning, "condition", lambda *_: posterior)
    process, questions = Noisy(jnp.asarray(4.0)), jnp.asarray([1.0, 2.0])
    mean, deviation = delta_learning.answered(process, None, None, questions)
    np.testing.assert_allclose(mean, [1, 2])
    np.testing.assert_allclose(deviation, [5, 4])


def test_files(tmp_path):
    for system in ("qm7", "ccsd"):
        with pytest.raises(DataError, match="absent"):
            EXPERIMENT.files(Config(system=system, data=tmp_path / "absent"))
    water = Config(system="water", data=tmp_path)
    assert EXPERIMENT.files(replace(water, data=None)) == EXPERIMENT.files(water) == []
    (tmp_path / "pbe.npz").touch()
    assert EXPERIMENT.files(water) == [tmp_path / "pbe.npz"]


def test_bad_input(tmp_path, molecules):
    with pytest.raises(ValueError, match="sizes must be different numbers in rising order"):
        Config(sizes=(100, 50))
    with pytest.raises(ValueError, match="sizes must be at most 20, the 40 molecules less"):
        EXPERIMENT.run(Config(sizes=(30,), test=20, data=molecules), tmp_path)
