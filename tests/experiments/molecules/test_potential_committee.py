"""Committees of potentials: the units of their data, what they choose, tiny runs."""

from dataclasses import replace
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data.qm22 import WAVENUMBER, Geometries, read_qm22
from jaxpbdl.experiments.molecules import committee_report, potential_committee
from jaxpbdl.experiments.molecules.potential_committee import (
    Config,
    chosen_by_deviation,
    committee,
    pick,
    predict,
    run,
    samples,
)
from jaxpbdl.learning import History
from jaxpbdl.molecules.atoms import displacements, total
from jaxpbdl.molecules.potentials import Labelled, energy_and_forces, take
from tests.experiments.fakes import LOSSES

ONE = replace(Config.training, batch=1)
"""Geometry an update."""


class Springs(eqx.Module):
    """Between all pairs; the members of a committee differ in how strong they are."""

    strength: jax.Array
    mean: float = 0.0

    def __call__(self, graph):
        stretch = jnp.linalg.norm(displacements(graph), axis=-1) - 1.5
        strain = total(graph, 0.5 * jnp.sum(graph.edge_mask * stretch**2, -1))
        return self.strength * (strain - self.mean)


def geometries(count=60, forces=True):
    drawn = np.random.default_rng(0).normal(size=(count, 4, 3))
    positions = 1.2 * np.array([[0, 0, 0.3], [1, 0, 0], [0, 1, 0], [0.6, 0.7, 0.9]]) + 0.1 * drawn
    found = Geometries(np.array([8, 1, 1, 1]), positions, np.zeros(count), None)
    together = take(samples(found), np.arange(count)).graph
    energies, slopes = eqx.filter_jit(energy_and_forces)(Springs(jnp.ones(())), together)
    known = np.asarray(slopes).reshape(count, 4, 3) if forces else None
    return Geometries(found.numbers, positions, np.asarray(energies), known)


@pytest.mark.x64
def test_units_of_methane(real_data):
    """Along the step to a close geometry the energy changes by the force."""
    found = read_qm22(real_data("molecules-qm22/methane_b3lyp.npz"))
    assert found.forces is not None and len(found.energies) == 9000 and found.energies.min() == 0
    assert found.energies.max() / WAVENUMBER == pytest.approx(14732.2, abs=0.1)
    apart = np.abs(np.diff(found.positions, axis=0)).max((1, 2))
    near = np.argsort(apart)[:20]
    steps = found.positions[near + 1].astype(float) - found.positions[near]
    by_force = -np.sum(steps * (found.forces[near] + found.forces[near + 1]) / 2, (1, 2))
    rise = found.energies[near + 1] - found.energies[near]
    slope = np.sum(rise * by_force) / np.sum(by_force**2)
    assert slope == pytest.approx(1, abs=0.02)


def test_hydronium(real_data):
    found = read_qm22(real_data("molecules-qm22/hydronium_ccsdt.npz"))
    assert found.forces is None and found.numbers.tolist() == [1, 1, 1, 8]


def test_a_damaged_file(tmp_path):
    np.savez(tmp_path / "a.npz", Z=np.ones(3), E_hartree=np.ones(2), R_angstrom=np.ones((2, 4, 3)))
    with pytest.raises(DataError, match=r"positions must have shape \(2, 3, 3\)"):
        read_qm22(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", Z=np.ones(3))
    with pytest.raises(DataError, match="no array E_hartree, R_angstrom"):
        read_qm22(tmp_path / "b.npz")


def test_the_deviation_chooses():
    pool = samples(geometries(30))
    group = [Springs(jnp.asarray(k)) for k in (1.0, 1.1)]
    chosen = chosen_by_deviation(group, pool, 5)
    # These springs differ most where they are stretched most.
    strained = predict(group[:1] * 2, pool, False)["energies"][0]
    assert set(chosen.tolist()) == set(np.argsort(-strained)[:5].tolist())


def test_the_whole_run_with_springs(tmp_path, monkeypatch):
    """A committee whose strengths scatter about the truth by 2 %, less with more geometries."""
    trained_on, data = [], geometries(80)
    shuffled = np.asarray(jax.random.permutation(jax.random.key(0), 80))
    test, known = shuffled[:30], shuffled[30:]
    mean = float(data.energies[known].mean())

    def springs(config, known, key, folder, name):
        trained_on.append((name, len(known.energies)))
        scatter = 0.02 * (8 / len(known.energies)) ** 0.5 * jnp.array([-1.0, 0.0, 2.0])
        history = History(LOSSES, np.empty(0), np.empty(0), None, 0.0)
        return [Springs(1 + part, mean) for part in scatter], [history] * 3

    monkeypatch.setattr(potential_committee, "committee", springs)
    config = Config(sizes=(8, 16), test=30, chosen=2, members=3, training=ONE, calibration=20)
    result = run(config, tmp_path, data)
    found = result.metrics
    assert set(result.histories) == {f"{name}_{i}" for name, _ in trained_on for i in range(3)}
    assert trained_on == [
        ("random_8", 8), ("random_16", 16), ("random_1", 1), ("chosen_2", 2), ("random_2", 2)
    ]  # fmt: skip
    assert found["n16.energy_rmse"] == pytest.approx(found["n8.energy_rmse"] / 2**0.5, rel=2e-2)
    assert found["energy_rmse"] == found["n16.energy_rmse"]
    # The mean is a third of a part off, the spread sqrt(7 / 3) of a part.
    assert found["n8.spread_skill"] == pytest.approx(3 * (7 / 3 * 4 / 3) ** 0.5, rel=1e-3)
    off = np.abs(data.energies[test] - mean) / WAVENUMBER
    # Deviation and error grow alike with the strain: intervals end where the truth is.
    assert found["n8.half_width"] == pytest.approx(0.02 / 3 * np.mean(off), rel=1e-3)
    # Members at -1, 0 and 2 parts: 1 part off on average, 12 parts between all pairs, over 2 * 9.
    assert found["n8.crps"] == pytest.approx(0.02 * np.mean(off) * (1 - 12 / 18), rel=1e-3)
    rms = [np.sqrt(np.mean(x**2)) for x in (data.energies[test] - mean, data.forces[test])]
    assert found["n8.energy_rmse"] == pytest.approx(0.02 / 3 * rms[0] / WAVENUMBER, rel=1e-3)
    assert found["n8.force_rmse"] == pytest.approx(0.02 / 3 * 1e3 * rms[1], rel=1e-3)
    alone = 0.02 * (5 / 3) ** 0.5 * rms[0] / WAVENUMBER
    assert found["n8.energy_rmse_alone"] == pytest.approx(alone, rel=1e-3)
    assert found["n8.correlation"] == pytest.approx(1, abs=0.01)  # both grow with the strain
    assert (tmp_path / "committee.png").exists()


def test_the_test_set_trains_and_chooses_nothing(tmp_path, monkeypatch):
    """Whatever the test geometries and their labels are, committees are given the same."""
    data, seen = geometries(80), []
    test = np.asarray(jax.random.permutation(jax.random.key(0), 80))[:30]

    def spied(config, known, key, folder, name):
        seen.append((name, known))
        return [], []

    def answer(committee, test, forces):
        return {"energies": np.asarray(test.energies)[:, 0] * np.array([[0.9], [1.2]])}

    monkeypatch.setattr(potential_committee, "committee", spied)
    monkeypatch.setattr(potential_committee, "predict", answer)
    monkeypatch.setattr(committee_report, "picture", lambda *_: None)
    config = Config(sizes=(8, 16), test=30, chosen=2, members=2, training=ONE, calibration=20)
    for factor in (1.0, 3.0):
        labels = [np.array(each) for each in (data.positions, data.energies, data.forces)]
        for each in labels:
            each[test] *= factor
        run(config, tmp_path, Geometries(data.numbers, *labels))
    assert len(seen) == 10 and eqx.tree_equal(seen[:5], seen[5:])


@pytest.mark.stand_ins
def test_every_geometry_is_used_once(tmp_path, monkeypatch):
    """Training, calibration and test share none, and where all are needed none is left over."""
    positions = np.random.default_rng(0).normal(size=(66, 4, 3))
    data = Geometries(np.array([8, 1, 1, 1]), positions, np.arange(66.0) + 1, None)
    places = positions[:, 0, 0]
    together = Labelled(places, data.energies[:, None], places)  # numbers for graphs
    monkeypatch.setattr(potential_committee, "samples", lambda geometries, zero: together)
    seen, judged = {}, []

    def spied(config, known, key, folder, name):
        seen[name] = np.asarray(known.graph)
        return name, []

    def answer(committee, test, forces):
        judged.append(np.asarray(test.graph))
        return {"energies": np.asarray(test.energies)[:, 0] * np.array([[0.9], [1.2]])}

    def chosen(committee, pool, count):
        seen["pool"] = np.asarray(pool.graph)
        assert committee == "random_1" and count == 1
        return np.asarray([len(seen["pool"]) - 1])

    monkeypatch.setattr(potential_committee, "committee", spied)
    monkeypatch.setattr(potential_committee, "predict", answer)
    monkeypatch.setattr(potential_committee, "chosen_by_deviation", chosen)
    monkeypatch.setattr(committee_report, "metrics", lambda *_: {})
    monkeypatch.setattr(committee_report, "picture", lambda *_: None)
    config = Config(sizes=(8, 26), test=25, chosen=2, members=2, training=ONE, calibration=15)
    run(config, tmp_path, data)
    test, calibration = judged[0].tolist(), judged[1].tolist()
    assert (len(test), len(calibration)) == (25, 15)
    everything = [*test, *calibration, *seen["random_26"].tolist()]
    assert sorted(everything) == np.sort(places).tolist()
    np.testing.assert_array_equal(seen["random_8"], seen["random_26"][:8])
    np.testing.assert_array_equal(seen["random_2"], seen["random_26"][:2])
    # The pool is CHOICE for each that is chosen, without the one known before.
    np.testing.assert_array_equal(seen["pool"], seen["random_26"][1:21])
    np.testing.assert_array_equal(seen["chosen_2"], seen["random_26"][[0, 20]])


def labelled(energies):
    """Geometries of which the energies alone are asked."""
    return SimpleNamespace(energies=np.asarray(energies)[:, None], forces=None)


@pytest.mark.stand_ins
def test_metrics_of_a_known_committee():
    """Three members at -2, 1 and 4 deviations about a mean that is one deviation off, for
    deviations of 1 to 9; the calibration's are as wrong, half as sure."""
    truth, parts = np.linspace(5, -3, 9), np.arange(1.0, 10)
    energies = truth + parts * np.asarray([[-1.0], [1.0], [3.0]])  # deviation 2, one part off
    before = truth + parts * np.asarray([[0.0], [1.0], [2.0]])  # deviation 1, one part off
    answers = {4: {"energies": 5 * energies}, 20: {"energies": energies}}
    calibrated = {4: {"energies": before}, 20: {"energies": before}}
    found = committee_report.metrics(answers, labelled(truth), calibrated, labelled(truth))
    size = np.sqrt(np.mean(parts**2))
    assert found["n20.energy_rmse"] == pytest.approx(size / WAVENUMBER)
    assert found["energy_rmse"] == found["n20.energy_rmse"] < found["n4.energy_rmse"]
    alone = size * np.sqrt((1 + 1 + 9) / 3) / WAVENUMBER
    assert found["n20.energy_rmse_alone"] == pytest.approx(alone)
    assert found["n20.correlation"] == pytest.approx(1)
    # Of 3 members: (1 + 1 + 3) / 3 parts off, distances of all pairs 16 over 2 * 9.
    crps = (5 / 3 - 16 / 18) * np.mean(parts) / WAVENUMBER
    assert found["n20.crps"] == pytest.approx(crps, rel=1e-5)
    # Intervals reach one deviation of the members, two parts, to both sides.
    assert found["n20.half_width"] == pytest.approx(2 * np.mean(parts) / WAVENUMBER, rel=1e-5)
    assert found["n20.coverage_90"] == 1
    assert found["n20.spread_skill"] == pytest.approx(2 * np.sqrt(4 / 3), rel=1e-5)


def test_a_committee_is_trained_once(tmp_path):
    """Its members differ, and what is in the folder is not trained again."""
    config = Config(
        sizes=(8,), test=10, chosen=0, members=2, channels=2, layers=1, hidden="0e",
        training=replace(Config.training, batch=4, updates=3),
    )  # fmt: skip
    known = pick(samples(geometries(8, forces=False)), np.arange(8))
    group, histories = committee(config, known, jax.random.key(0), tmp_path, "tiny")
    again, _ = committee(config, known, jax.random.key(0), tmp_path, "tiny")
    assert [len(history.loss) for history in histories] == [3, 3]
    first, second = (predict(some, known, False)["energies"] for some in (group, again))
    np.testing.assert_array_equal(first, second)
    assert first[0].std() > 0 and not np.allclose(first[0], first[1], rtol=1e-2)


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        Config(members=1)
    with pytest.raises(ValueError, match="batch must be at most 4, the smallest set, got 5"):
        Config(sizes=(4, 8), chosen=0, training=replace(Config.training, batch=5))
    with pytest.raises(ValueError, match="at most 10, the 60 .* calibration = 50, got 30"):
        run(Config(sizes=(30,), test=40, calibration=10, chosen=0), tmp_path, geometries())
