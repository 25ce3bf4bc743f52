"""The drag of airfoils: the data, the held-out families, the loss, the intervals, a tiny run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.airfoils.airfoil_drag import (
    COUNT,
    EXPERIMENT,
    Config,
    Data,
    Drag,
    Misfit,
    Units,
    calibrated,
    read,
    run,
    split,
)
from jaxpbdl.networks import Dense

TINY = {"samples": (8, 24), "members": 2, "width": 8, "depth": 1, "batch": 8, "updates": 200}
SENSITIVITY = np.linspace(-0.3, 0.5, 16)


def made(families=300, each=2, seed=0):
    """Drag `100 exp(s . x)` counts, in families that share the last two inputs."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(families, each, 16))
    x[..., -2:] = x[:, :1, -2:]
    x = x.reshape(-1, 16)
    drag = 100 * np.exp(x @ SENSITIVITY)
    return Data(x, drag, drag[:, None] * SENSITIVITY)


@pytest.fixture
def file(tmp_path):
    data = made()
    path = tmp_path / "drag.npz"
    np.savez(path, x=data.x, cd=data.drag * COUNT, dcd_dx=data.slope * COUNT)
    return path


def test_no_family_is_in_two_parts():
    data = made(each=3)
    parts = split(data)
    assert sorted(np.concatenate(parts)) == list(range(900))
    flights = [set(map(tuple, data.x[part, -2:])) for part in parts]
    assert [len(f) for f in flights] == [12, 96, 192]
    assert not (flights[0] & flights[1] or flights[0] & flights[2] or flights[1] & flights[2])
    with pytest.raises(DataError, match="more than 288 pairs of Mach number and angle"):
        split(made(families=20))


def test_units_go_there_and_back():
    data = made(20)
    units = Units.of(data)
    there = units.standardised(data)
    np.testing.assert_allclose(jnp.std(there.y), 1, rtol=1e-5)
    drag, slope = units.drag(np.asarray(there.y), np.asarray(there.slope))
    np.testing.assert_allclose(drag, data.drag, rtol=1e-5)
    np.testing.assert_allclose(slope, data.slope * units.x[1], rtol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_loss_vanishes_for_the_truth(weight):
    data = made(20)
    there = Units.of(data).standardised(data)
    batch = (there.x, there.y, there.slope)
    network = Dense((16, 1), key=jax.random.key(0))
    truth = jax.tree.map(lambda leaf: there.slope[0][:, None] if leaf.ndim == 2 else leaf, network)
    offset = there.y[0] - truth(there.x[0])
    truth = Drag(jax.tree.map(lambda leaf: leaf + offset if leaf.ndim == 1 else leaf, truth))
    loss = Misfit(weight)
    np.testing.assert_allclose(loss(truth, batch), 0, atol=1e-6)
    assert loss(Drag(network), batch) > 0.1


def test_intervals_cover_what_they_say():
    generator = np.random.default_rng(0)
    width = generator.uniform(0.5, 2, 20_000)
    error = np.abs(generator.standard_t(3, 20_000)) * width
    factor = calibrated(error[:10_000], width[:10_000])
    np.testing.assert_allclose(np.mean(error[10_000:] <= factor * width[10_000:]), 0.9, atol=0.01)


def test_a_tiny_run(file, tmp_path):
    contract.execute(EXPERIMENT, "quick", Config(data=file, **TINY), tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["sobolev.mae"] == metrics["sobolev_24.mae"]
    # Each gradient says sixteen times what a value does.
    assert metrics["sobolev_8.mae"] < metrics["values_8.mae"]
    assert metrics["sobolev_8.gradient"] < metrics["values_8.gradient"]
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
    with pytest.raises(ValueError, match=r"samples must be numbers in rising order, got \(8, 4\)"):
        Config(samples=(8, 4))
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        Config(members=1)
    with pytest.raises(ValueError, match="samples must be at most 24, got 25"):
        run(Config(data=file, samples=(25,)), tmp_path)
    np.savez(tmp_path / "flat.npz", x=np.ones((4, 3)), cd=np.ones(4), dcd_dx=np.ones((4, 3)))
    with pytest.raises(DataError, match=r"shape \(samples, 16\)"):
        read(tmp_path / "flat.npz")
