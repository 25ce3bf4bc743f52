"""The potential of acetylacetone: a tiny run, and what is refused."""

import json
from dataclasses import replace

import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.molecules.potential_acac import EXPERIMENT, Config

TINY = Config(
    training=20, held_out=5, asked=8, channels=4, invariant_channels=4, degree=1, hidden="0e + 1o",
    layers=1, cutoff=3.0, updates=60, chunk=30,
)  # fmt: skip


def test_a_tiny_run(tmp_path, real_data):
    config = replace(TINY, data=real_data("molecules-acac/train_300K.xyz"))
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    for method in ("equivariant", "invariant"):
        # The forces themselves are of 1000 meV/A.
        assert 0 < metrics[f"{method}.force_rmse_300K"] < 900
        for test in ("300K", "600K", "dihedral", "H_transfer"):
            assert 0 < metrics[f"{method}.energy_rmse_{test}"] < 1e4
    assert metrics["force_rmse_600K"] == metrics["equivariant.force_rmse_600K"]
    assert "force_rmse_dihedral" not in metrics  # energies only
    assert (tmp_path / "learning.png").exists()


def test_refused(tmp_path, real_data):
    with pytest.raises(ValueError, match="batch must be at most training 4, got 5"):
        Config(training=4)
    with pytest.raises(ValueError, match="degree must be an integer >= 0"):
        Config(degree=-1)
    many = replace(TINY, data=real_data("molecules-acac/train_300K.xyz"), training=499)
    with pytest.raises(ValueError, match="must be at most 500"):
        EXPERIMENT.run(many, tmp_path)
