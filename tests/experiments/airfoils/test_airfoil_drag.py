"""The drag of airfoils: the data, the held-out families, the loss, the intervals, a tiny run."""

import json
from dataclasses import replace
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.airfoils import airfoil_drag
from jaxpbdl.experiments.airfoils.airfoil_drag import (
    COUNT,
    EXPERIMENT,
    Config,
    Data,
    Drag,
    Misfit,
    Trained,
    Units,
    metrics_of,
    read,
    run,
    split,
)
from jaxpbdl.learning import History
from jaxpbdl.networks import Dense
from tests.experiments.fakes import LOSSES

TINY = {
    "budgets": (16, 40), "members": 2, "width": 8, "depth": 1, "batch": 8, "updates": 200,
    "learning_rates": (1e-2,), "decays": (0.03,),
}  # fmt: skip
SENSITIVITY = np.linspace(-0.3, 0.5, 16)


def simulated(families=408, each=2, seed=0):
    """Drag `100 exp(s . x)` counts, in families that share the last two inputs."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(families, each, 16))
    x[..., -2:] = x[:, :1, -2:]
    x = x.reshape(-1, 16)
    drag = 100 * np.exp(x @ SENSITIVITY)
    return Data(x, drag, drag[:, None] * SENSITIVITY)


@pytest.fixture
def file(tmp_path):
    data = simulated()
    path = tmp_path / "drag.npz"
    np.savez(path, x=data.x, cd=data.drag * COUNT, dcd_dx=data.slope * COUNT)
    return path


def test_no_family_is_in_two_parts():
    data = simulated(each=3)
    parts = split(data)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(3 * 408))
    flights = {name: set(map(tuple, data.x[part, -2:])) for name, part in parts.items()}
    sizes = {"train": 24, "validation": 96, "calibration": 96, "test": 192}
    assert {name: len(each) for name, each in flights.items()} == sizes
    assert len(set().union(*flights.values())) == sum(sizes.values())
    with pytest.raises(DataError, match="more than 384 pairs of Mach number and angle"):
        split(simulated(families=20))


def test_units_go_there_and_back():
    data = simulated(20)
    units = Units.of(data)
    there = units.standardised(data)
    np.testing.assert_allclose(jnp.std(there.y), 1, rtol=1e-5)
    drag, slope = units.drag(np.asarray(there.y), np.asarray(there.slope))
    np.testing.assert_allclose(drag, data.drag, rtol=1e-5)
    np.testing.assert_allclose(slope, data.slope * units.x[1], rtol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_loss_vanishes_for_the_truth(weight):
    data = simulated(20)
    there = Units.of(data).standardised(data)
    batch = (there.x, there.y, there.slope)
    network = Dense((16, 1), key=jax.random.key(0))
    truth = jax.tree.map(lambda leaf: there.slope[0][:, None] if leaf.ndim == 2 else leaf, network)
    offset = there.y[0] - truth(there.x[0])
    truth = Drag(jax.tree.map(lambda leaf: leaf + offset if leaf.ndim == 1 else leaf, truth))
    loss = Misfit(weight)
    np.testing.assert_allclose(loss(truth, batch), 0, atol=1e-6)
    assert loss(Drag(network), batch) > 0.1


@pytest.mark.stand_ins
def test_metrics_of_known_errors(monkeypatch):
    """Two members 1 count below and above a mean that is off by known numbers, others in each part:
    intervals are those of the calibration set."""
    data = simulated(20, each=5)
    units = Units.of(data)
    held_out = {name: data.at(np.arange(99)) for name in ("validation", "calibration", "test")}
    off = {"validation": 1000.0 + np.arange(99), "calibration": 1.0 + np.arange(99)}
    off["test"] = 2 * off["calibration"] + 1

    def predicted(members, units, part):
        name = next(name for name, each in held_out.items() if each is part)
        drag = part.drag + off[name] + np.array([[-1.0], [1.0]])
        return drag, np.stack([0.5 * part.slope * units.x[1]] * 2)

    monkeypatch.setattr(airfoil_drag, "predicted", predicted)
    found = metrics_of(Trained(None, [], 0.1, 0.2, 7.0), units, held_out)
    assert found["mae"] == pytest.approx(101, rel=1e-12)
    assert found["mae_of_one"] == pytest.approx(101, rel=1e-12)
    test = held_out["test"]
    assert found["relative"] == pytest.approx(np.mean(off["test"] / test.drag), rel=1e-12)
    assert found["gradient"] == pytest.approx(0.5, rel=1e-12)
    # The 90th of the 99 calibration errors; 44 of the test errors are smaller.
    assert found["interval"] == pytest.approx(90, rel=1e-12)
    assert found["coverage_90"] == pytest.approx(44 / 99, rel=1e-12)
    kept = {name: found[name] for name in ("validation", "learning_rate", "decay")}
    assert kept == {"validation": 7.0, "learning_rate": 0.1, "decay": 0.2}


@pytest.mark.stand_ins
def test_the_validation_set_chooses(file, tmp_path, monkeypatch):
    """Of all settings the one with the smallest error there; training sees neither the calibration
    nor the test set; methods stand beside each other at equal cost."""
    data, config = read(file), Config(data=file, **{**TINY, "decays": (0.0, 0.5, 1.0)})
    parts = {name: data.at(each) for name, each in split(data).items()}
    fitted = []

    def fit_ensemble(make, loss, batches, *args, keys, name, **settings):
        fitted.append((name, np.asarray(batches.x), len(keys)))
        return name, [History(LOSSES, np.empty(0), np.empty(0), None, 0.0)] * len(keys)

    def predicted(name, units, part):
        """One decay is best on the validation set, the others everywhere else."""
        validated = np.array_equal(part.x, parts["validation"].x)
        best = name.endswith("decay_0.5") == validated
        off = 1.0 if best else 2.0
        # Sobolev training has the error of four times the cost.
        count = int(name.split("_")[1]) * (4 if name.startswith("sobolev") else 1)
        drag = part.drag + off / count + np.array([[-1e-3], [1e-3]])
        return drag, np.zeros((2, *part.x.shape))

    monkeypatch.setattr(airfoil_drag, "fit_ensemble", fit_ensemble)
    monkeypatch.setattr(airfoil_drag, "predicted", predicted)
    config = replace(config, budgets=(4, 16))
    result = run(config, tmp_path)
    found = result.metrics
    names = product(("values", "sobolev"), (4, 16), range(2))
    assert set(result.histories) == {f"{name}_{budget}_{i}" for name, budget, i in names}
    assert list(result.histories["sobolev_16_1"]) == list(LOSSES)
    for budget, (method, price) in product((4, 16), {"values": 1, "sobolev": 2}.items()):
        assert found[f"{method}_{budget}.decay"] == 0.5
        assert found[f"{method}_{budget}.simulations"] == budget // price
        fits = [each for each in fitted if each[0].startswith(f"{method}_{budget}")]
        assert [(name[-3:], members) for name, _, members in fits[:-1]] == [
            ("y_0", 1), ("0.5", 1), ("y_1", 1)
        ]  # fmt: skip
        assert fits[-1][0] == f"{method}_{budget}" and fits[-1][2] == 2
        assert all(len(inputs) == budget // price for _, inputs, _ in fits)
    assert found["sobolev_4.times_less_cost"] == pytest.approx(4)
    assert found["sobolev_4.times_fewer_simulations"] == pytest.approx(8)
    assert "sobolev_16.times_less_cost" not in found


@pytest.mark.stand_ins
def test_the_test_set_chooses_nothing(file, tmp_path, monkeypatch):
    """Whatever drags the calibration and the test set have, training and tuning see the same."""
    data, seen = read(file), []
    parts = split(data)

    def trained(config, known, weight, validation, folder, name):
        seen.append((vars(known), weight, vars(validation), name))
        return Trained(None, [], 0.1, 0.2, 7.0)

    monkeypatch.setattr(airfoil_drag, "trained", trained)
    monkeypatch.setattr(airfoil_drag, "metrics_of", lambda *_: {"mae": 1.0, "coverage_90": 0.9})
    monkeypatch.setattr(airfoil_drag, "_picture", lambda *_: None)
    for factor in (1.0, np.nan):
        drag = data.drag.copy()
        drag[np.concatenate([parts["calibration"], parts["test"]])] *= factor
        changed = Data(data.x, drag, data.slope)
        monkeypatch.setattr(airfoil_drag, "read", lambda _, changed=changed: changed)
        run(Config(data=file, **TINY), tmp_path)
    assert len(seen) == 8
    assert eqx.tree_equal(seen[:4], seen[4:])


def test_a_tiny_run(file, tmp_path):
    contract.execute(EXPERIMENT, "quick", Config(data=file, **TINY), tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["data"][0]["file"] == "drag.npz" and len(report["histories"]) == 8
    metrics = report["metrics"]
    assert metrics["sobolev.mae"] == metrics["sobolev_40.mae"]
    # Each gradient says sixteen times what a value does.
    assert metrics["sobolev_16.mae"] < metrics["values_16.mae"]
    assert metrics["sobolev_16.gradient"] < metrics["values_16.gradient"]
    assert 0.75 < metrics["coverage_90"] <= 1
    assert (tmp_path / "error.png").exists()


def test_the_simulations(real_data):
    data = read(real_data("airfoil-adflow/cd_airfoil_rans_f32.npz"))
    assert data.x.shape == (42039, 16)
    assert len(np.unique(data.x[:, -2:], axis=0)) == 960
    # Gradients are those of the values: between near shapes, the trapezoidal rule.
    pairs = np.arange(0, 40_000, 97)
    distance = (data.x[pairs, None] - data.x[None, ::7]) / data.x.std(0)
    near = 7 * np.argsort(np.linalg.norm(distance, axis=-1), axis=1)[:, 1]
    step = data.x[near] - data.x[pairs]
    expected = np.sum((data.slope[near] + data.slope[pairs]) / 2 * step, axis=1)
    change = data.drag[near] - data.drag[pairs]
    assert np.median(np.abs(change - expected)) < 0.1 * np.median(np.abs(change))


def test_bad_input(file, tmp_path):
    with pytest.raises(
        ValueError, match=r"budgets must be different numbers in rising order, got \(8, 4\)"
    ):
        Config(budgets=(8, 4))
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        Config(members=1)
    with pytest.raises(ValueError, match="decays must hold at least one value"):
        Config(decays=())
    with pytest.raises(ValueError, match="budgets must be at most 48, got 49"):
        run(Config(data=file, budgets=(49,)), tmp_path)
    with pytest.raises(DataError, match=r"absent\.npz"):
        EXPERIMENT.files(Config(data=tmp_path / "absent.npz"))
    np.savez(tmp_path / "flat.npz", x=np.ones((4, 3)), cd=np.ones(4), dcd_dx=np.ones((4, 3)))
    with pytest.raises(DataError, match=r"shape \(samples, 16\)"):
        read(tmp_path / "flat.npz")
