"""The operator of porous flow: its symmetries, its own data, tiny runs, and what it refuses."""

import json
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.operators import darcy
from jaxpbdl.experiments.operators.fno_darcy import (
    EXPERIMENT,
    SYMMETRIES,
    Averaged,
    Config,
    Pressure,
    image,
)
from jaxpbdl.networks import FNO

TINY = Config(modes=2, width=4, depth=1, training=replace(Config.training, batch=4, updates=4))


def written(path, **changes):
    rng = np.random.default_rng(0)
    parts = {}
    for name, count, points in (("train_16", 12, 16), ("test_16", 3, 16), ("test_32", 3, 32)):
        parts[f"darcy_{name}_a"] = rng.random((count, points, points)) > 0.5
        parts[f"darcy_{name}_u"] = rng.random((count, points, points)).astype(np.float32)
    np.savez(path, **{**parts, **changes})
    return path


def operator():
    net = FNO(2, 1, 1, modes=3, width=4, depth=2, coordinates=True, key=jax.random.key(0))
    return Pressure(net)


def test_symmetries():
    field = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8)), jnp.float32)
    averaged = eqx.filter_jit(Averaged(operator()))
    straight = averaged(field)
    for symmetry in SYMMETRIES:
        turned = image(field, symmetry)
        np.testing.assert_array_equal(image(turned, symmetry, inverse=True), field)
        np.testing.assert_allclose(averaged(turned), image(straight, symmetry), atol=1e-5)


def test_the_pressure_vanishes_on_the_boundary():
    u = operator()(jnp.ones((1, 16, 16)))
    assert jnp.all(u[:, 0] == 0) and jnp.all(u[:, :, 0] == 0)
    assert jnp.all(u[:, 1:, 1:] != 0)


def test_a_tiny_run(tmp_path):
    config = replace(TINY, data=written(tmp_path / "data.npz"))
    contract.execute(EXPERIMENT, "quick", config, tmp_path / "run")
    report = json.loads((tmp_path / "run" / "result.json").read_text())
    # Trained by us, so not published.
    assert set(report["trained_here"]) == {"relative_l2_16", "relative_l2_32"}
    assert report["published"] == {}
    assert not report["nonfinite"]  # what the errors of known operators are: test_operator_metrics
    assert report["data"][0]["file"] == "data.npz"
    assert (tmp_path / "run" / "pressure.png").exists()


def test_neighbours_of_a_medium_are_as_alike_as_its_covariance_says():
    nodes, k = 9, np.arange(9)
    media = jax.vmap(darcy.medium, (0, None))(jax.random.split(jax.random.key(1), 4000), nodes)
    points = np.stack([np.full(9, 4) / 8, np.arange(9) / 8])
    cosines = np.cos(np.pi * k * points[..., None]) * np.where(k, 2**0.5, 1)
    modes = cosines[0][:, :, None] * cosines[1][:, None, :]
    variances = (np.pi**2 * (k[:, None] ** 2 + k**2) + 9.0) ** -2
    variances[0, 0] = 0
    covariance = np.einsum("pij,qij,ij->pq", modes, modes, variances)
    size = np.sqrt(np.diag(covariance))
    expected = 0.5 + np.arcsin((covariance / np.outer(size, size)).clip(-1, 1)) / np.pi
    line = np.asarray(media[:, 4]) > 5
    found = np.mean(line[:, :, None] == line[:, None, :], 0)
    np.testing.assert_allclose(found, expected, atol=0.035)


@pytest.mark.stand_ins
def test_chunks_of_media_follow_one_another(monkeypatch):
    """Each key once and in order, whatever the chunks; an error that is too large is told."""
    sizes, error = [], 1e-6

    def map_members(one, keys):
        sizes.append(len(keys))
        values = jax.vmap(jax.random.uniform)(keys)
        return values, 10 * values, jnp.where(jnp.arange(len(keys)) == 1, error, 0.0)

    monkeypatch.setattr(darcy, "map_members", map_members)
    media, pressures = darcy.draw(jax.random.key(0), 7, 9, chunk=3)
    assert sizes == [3, 3, 1]
    expected = jax.vmap(jax.random.uniform)(jax.random.split(jax.random.key(0), 7))
    np.testing.assert_array_equal(media, expected)
    np.testing.assert_array_equal(pressures, 10 * expected)
    error = 2e-4
    with pytest.raises(darcy.checks.BlowUp, match="medium 1 has a relative error of 2.0e-04"):
        darcy.draw(jax.random.key(0), 7, 9, chunk=3)


@pytest.mark.stand_ins
def test_samples_are_from_a_finer_grid(monkeypatch):
    """Every `FINER`-th node of it, both ends included; the source is one."""
    x = jnp.linspace(0, 1, 3 * darcy.FINER + 1)
    fine = x[:, None] + 10 * x
    monkeypatch.setattr(darcy, "medium", lambda key, nodes, order: order * fine[:nodes, :nodes])
    monkeypatch.setattr(darcy, "solve", lambda medium, source: (source + medium, 0.5))
    media, pressure, error = darcy.sample(jax.random.key(0), 4, order=3.0)
    corners = jnp.linspace(0, 1, 4)
    expected = 3 * (corners[:, None] + 10 * corners)
    np.testing.assert_allclose(media, expected, rtol=1e-6)
    np.testing.assert_allclose(pressure, 1 + expected, rtol=1e-6)
    assert error == 0.5


def test_own_data_are_made_once(tmp_path):
    config = replace(TINY, grid=17, train=5, test=2)
    metrics = EXPERIMENT.run(config, tmp_path / "run").metrics
    assert np.isfinite(metrics["relative_l2_17"])
    path = tmp_path / "run" / "data.npz"
    (media, pressures), (test, _) = darcy.read_or_draw(path, 17, 5, 2).values()
    assert set(np.unique(media)) == {darcy.LOW, darcy.HIGH}
    assert not np.array_equal(media[:2], test)
    assert jnp.all(pressures[:, [0, -1]] == 0) and jnp.all(pressures[:, 1:-1, 1:-1] > 0)
    again = EXPERIMENT.run(replace(config, data=path), tmp_path / "other").metrics
    assert again == metrics
    with pytest.raises(DataError, match=r"train_17_a must have shape \(6, 17, 17\)"):
        EXPERIMENT.run(replace(config, data=path, train=6), tmp_path / "third")


def test_bad_input(tmp_path):
    path = written(tmp_path / "data.npz", darcy_test_16_u=np.zeros((3, 16, 15)))
    with pytest.raises(DataError, match=r"test_16 must hold.*\(3, 16, 16\) and \(3, 16, 15\)"):
        EXPERIMENT.run(replace(TINY, data=path), tmp_path)
    path = written(tmp_path / "data.npz")
    with pytest.raises(ValueError, match="validation must be below the 12 samples"):
        EXPERIMENT.run(replace(TINY, data=path, validation=12), tmp_path)
    with pytest.raises(DataError, match="darcy-small.*MIT"):
        EXPERIMENT.run(replace(TINY, data=tmp_path / "absent.npz"), tmp_path)


def test_it_learns_from_the_real_data(tmp_path, real_data):
    path = real_data("fno-darcy-burgers/darcy_small.npz")
    config = Config(
        modes=4,
        width=8,
        depth=2,
        training=replace(Config.training, updates=60),
        data=path,
        validation=100,
    )
    metrics = EXPERIMENT.run(config, tmp_path).metrics
    assert "averaged.relative_l2_validation" in metrics and "relative_l2_16" not in metrics
    assert metrics["relative_l2_validation"] < 0.35
