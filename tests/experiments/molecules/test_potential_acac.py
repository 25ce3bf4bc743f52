"""The potential of acetylacetone: a tiny run, and what is refused."""

import json
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.molecules import potential_acac
from jaxpbdl.experiments.molecules.potential_acac import EXPERIMENT, TESTS, Config, run
from jaxpbdl.learning import History
from jaxpbdl.molecules.atoms import Structure, displacements, total
from jaxpbdl.molecules.neighbours import all_pairs
from jaxpbdl.molecules.potentials import Labelled, energy_and_forces, labelled
from tests.experiments.fakes import LOSSES

TINY = Config(
    train=20, validation=5, test=8, channels=4, invariant_channels=4, degree=1, hidden="0e + 1o",
    layers=1, cutoff=3.0, chunk=30, training=replace(Config.training, updates=60),
)  # fmt: skip


def test_a_tiny_run(tmp_path, real_data):
    config = replace(TINY, data=real_data("molecules-acac/train_300K.xyz"))
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    metrics = report["metrics"]
    assert [each["file"] for each in report["data"]] == [
        f"{name}.xyz" for name in ("train_300K", "isolated_atoms", *TESTS.values())
    ]
    losses = {name: len(each["loss"]) for name, each in report["histories"].items()}
    assert losses == {"equivariant": 60, "invariant": 60}
    for method in ("equivariant", "invariant"):
        # The forces themselves are of 1000 meV/A.
        assert 0 < metrics[f"{method}.force_rmse_300K"] < 900
        for test in ("300K", "600K", "dihedral", "H_transfer"):
            assert np.isfinite(metrics[f"{method}.energy_rmse_{test}"])
    assert metrics["force_rmse_600K"] == metrics["equivariant.force_rmse_600K"]
    assert "force_rmse_dihedral" not in metrics  # energies only
    assert (tmp_path / "learning.png").exists()


class Springs(eqx.Module):
    """Between all pairs of atoms; energies and forces are proportional to their strength."""

    strength: jax.Array

    def __call__(self, graph):
        stretch = jnp.linalg.norm(displacements(graph), axis=-1) - 1.5
        return self.strength * total(graph, jnp.sum(graph.edge_mask * stretch**2, -1))


def springs(count, seed):
    """Geometries with the energies and forces of springs of strength one."""
    generator = np.random.default_rng(seed)
    places = 1.2 * np.eye(3) + 0.1 * (1 + seed) * generator.normal(size=(count, 3, 3))
    numbers = np.array([8, 1, 1])
    structures = [Structure(numbers, each, energy=0.0) for each in places]
    samples = labelled(structures, lambda s: all_pairs(s, (1, 6, 8)), (1, 6, 8), np.zeros(3),
                       forces=False)  # fmt: skip
    truth = lambda graph: energy_and_forces(Springs(jnp.ones(())), graph)  # noqa: E731
    return Labelled(samples.graph, *jax.jit(jax.vmap(truth))(samples.graph))


def rms(values):
    return 1e3 * float(np.sqrt(np.mean(np.asarray(values) ** 2)))


def test_metrics_of_known_errors_and_what_training_sees(tmp_path, monkeypatch):
    """Springs 10 % and 30 % too strong; whatever the test sets are, training is given the same."""
    names = ("train", "validation", *TESTS)
    samples, seen = {name: springs(4, seed) for seed, name in enumerate(names)}, []
    strengths = {"equivariant": 1.1, "invariant": 1.3}

    def fit(network, loss, batches, *arguments, key, validate, name, **settings):
        seen.append((name, network, batches, validate, jax.random.key_data(key)))
        validation = np.array([9.0, 2 * strengths[name], 5.0])
        model = Springs(jnp.asarray(strengths[name]))
        return model, History(LOSSES, validation, np.arange(3), None, 0.0)

    def networks(config, samples, neighbours):
        seen.append((samples, neighbours))
        return {name: lambda key: Springs(jax.random.normal(key)) for name in strengths}

    monkeypatch.setattr(potential_acac, "fit", fit)
    monkeypatch.setattr(potential_acac, "networks", networks)
    monkeypatch.setattr(potential_acac, "_picture", lambda *_: None)
    for factor in (1.0, np.nan):
        changed = {
            name: each if name in names[:2] else jax.tree.map(
                lambda x, by=factor: x * by if eqx.is_inexact_array(x) else x, each
            )
            for name, each in samples.items()
        }  # fmt: skip
        monkeypatch.setattr(potential_acac, "read", lambda _, given=changed: (given, 2.0))
        result = run(replace(TINY, train=5, training=replace(TINY.training, batch=2)), tmp_path)
        if factor == 1:
            found = result.metrics
    assert len(seen) == 6 and eqx.tree_equal(seen[:3], seen[3:])
    assert eqx.tree_equal(seen[1][2].samples, samples["train"])
    assert eqx.tree_equal(seen[1][3].samples, samples["validation"])
    for method, strength in strengths.items():
        assert found[f"{method}.force_rmse_validation"] == 2 * strength
        assert list(result.histories[method]) == list(LOSSES)
        for test in TESTS:
            off = (strength - 1) * rms(samples[test].energies)
            assert found[f"{method}.energy_rmse_{test}"] == pytest.approx(off, rel=1e-4)
        for test in ("300K", "600K"):
            off = (strength - 1) * rms(samples[test].forces)
            assert found[f"{method}.force_rmse_{test}"] == pytest.approx(off, rel=1e-4)
    assert found["energy_rmse_600K"] == found["equivariant.energy_rmse_600K"]
    assert "equivariant.force_rmse_dihedral" not in found  # of the paths energies only


def test_missing_files(tmp_path):
    names = ("train_300K", "isolated_atoms", *TESTS.values())
    for name in names:
        (tmp_path / f"{name}.xyz").write_text("other")
    config = Config(data=tmp_path / "given.xyz")
    with pytest.raises(DataError, match=r"given\.xyz"):
        EXPERIMENT.files(config)
    (tmp_path / "train_300K.xyz").rename(tmp_path / "given.xyz")
    assert len(EXPERIMENT.files(config)) == 6
    (tmp_path / "test_dihedral.xyz").unlink()
    with pytest.raises(DataError, match=r"test_dihedral\.xyz: no such file; .* beside given\.xyz"):
        EXPERIMENT.files(config)


def test_refused(tmp_path, real_data):
    with pytest.raises(ValueError, match="batch must be at most train = 4, got 5"):
        Config(train=4)
    with pytest.raises(ValueError, match="degree must be an integer >= 0"):
        Config(degree=-1)
    many = replace(TINY, data=real_data("molecules-acac/train_300K.xyz"), train=499)
    with pytest.raises(ValueError, match="must be at most 500"):
        EXPERIMENT.run(many, tmp_path)
