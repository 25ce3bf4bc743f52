"""Delta-learning: splits, and a tiny run on molecules whose difference is simple."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.molecules.delta_learning import EXPERIMENT, Config, split

TINY = Config(sizes=(4, 16), asked=12, repeats=1, chosen_on=4, updates=4)


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
    config = Config(sizes=(50,), asked=20)
    known, asked = split(config, 100, 0)
    assert len(known) == 50 and len(asked) == 20 and not set(known) & set(asked)
    again, same = split(config, 100, 1)
    np.testing.assert_array_equal(asked, same)
    assert set(known) != set(again)
    redrawn = Config(sizes=(50,), asked=20, redraw=True)
    tests = [set(split(redrawn, 100, repeat)[1].tolist()) for repeat in range(2)]
    assert tests[0] != tests[1]


def test_a_tiny_run(tmp_path, molecules):
    config = replace(TINY, data=molecules)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    metrics = report["metrics"]
    assert metrics["delta.mae"] < 0.2 * metrics["direct.mae"]
    assert metrics["delta.mae"] < 0.2 * metrics["baseline.mae"]
    assert metrics["delta.mae"] == metrics["delta.mae_16"] < metrics["delta.mae_4"]
    assert (tmp_path / "learning_curves.png").exists()

    # Called again, it takes the repeat from its file.
    again = EXPERIMENT.run(replace(config, updates=1), tmp_path)
    assert again.metrics["delta.mae"] == pytest.approx(metrics["delta.mae"])


def test_bad_input(tmp_path, molecules):
    with pytest.raises(ValueError, match="sizes must be different and rise"):
        Config(sizes=(100, 50))
    with pytest.raises(ValueError, match="sizes must be at most 20, the 40 molecules less"):
        EXPERIMENT.run(Config(sizes=(30,), asked=20, data=molecules), tmp_path)
