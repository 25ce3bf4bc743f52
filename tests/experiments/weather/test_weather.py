"""The forecast of the ensemble: the balance, the reading, the scores, a coarse run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.equations.sphere import EARTH_RADIUS, EARTH_ROTATION
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.weather.weather import (
    EXPERIMENT,
    Config,
    balanced_geopotential,
    balanced_stream,
    deviation,
    members,
)
from jaxpbdl.grids import SphericalHarmonics, sphere_for

pytestmark = pytest.mark.x64


def test_the_linear_balance():
    """lap p = div(f grad psi) by the recurrence, as by fields on the grid, and back."""
    harmonics = SphericalHarmonics(sphere_for(8, EARTH_RADIUS), 7)
    generator = np.random.default_rng(0)
    modes = generator.normal(size=(2, 8, 8)) * np.asarray(harmonics.mask)
    modes[1, 0] = 0
    modes[:, 0, 0] = 0
    stream = jnp.asarray(modes[0] + 1j * modes[1])

    @jax.jit
    def on_grid(stream):
        f = 2 * EARTH_ROTATION * jnp.sin(harmonics.grid.coordinates[0])
        east, north = harmonics.gradient(stream)
        divergence = harmonics.vorticity_divergence(f * east, f * north)[1]
        return harmonics.inverse_laplacian(divergence)

    found = jax.jit(balanced_geopotential)(stream)
    np.testing.assert_allclose(found, on_grid(stream), atol=1e-17)
    back = balanced_stream(np.asarray(found), 1e-4)
    again = jax.jit(balanced_geopotential)(jnp.asarray(back))
    np.testing.assert_allclose(again, found, rtol=1e-5, atol=1e-9)
    # A limit far above the sine leaves the transpose of the balance, lap sin lap^-1.
    weak = balanced_stream(np.asarray(found), 1e3) * (2 * EARTH_ROTATION) ** 2 * 1e6
    transposed = harmonics.laplacian * on_grid(harmonics.inverse_laplacian(found))
    np.testing.assert_allclose(weak, transposed, rtol=1e-5, atol=1e-14)


def test_the_deviation_is_that_of_the_area():
    weights = np.array([[1.0, 1.0], [0.0, 2.0]])
    values = 9.80616 * np.array([[[3.0, 1.0], [7.0, 2.0]]])
    np.testing.assert_allclose(deviation(values, weights), [np.sqrt((9 + 1 + 8) / 4)])


def test_latitudes_are_turned_and_the_level_is_found(tmp_path):
    z = np.arange(2 * 2 * 2 * 5 * 8.0).reshape(2, 2, 2, 5, 8)
    parts = {
        "z": z,
        "latitude": np.linspace(90, -90, 5),
        "longitude": np.arange(8.0),
        "level_hPa": np.array([850, 500]),
        "time": np.arange(2.0),
    }
    np.savez(tmp_path / "z.npz", **parts)
    grid, found = members(tmp_path / "z.npz")
    assert grid.shape == (5, 8)
    np.testing.assert_array_equal(found, z[:, :, 1, ::-1])
    for change in ({"level_hPa": np.array([850, 700])}, {"latitude": np.linspace(80, -80, 5)}):
        np.savez(tmp_path / "bad.npz", **(parts | change))
        with pytest.raises(DataError, match="with the level 500|from pole to pole"):
            members(tmp_path / "bad.npz")


def test_a_coarse_run(tmp_path, real_data):
    """At T21 both models are better than no forecast, and the members drift apart."""
    config = Config(data=real_data("era5-sample/era5_z_t_members.npz"), truncation=21, dt=2400.0)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert 80 < metrics["persistence.rmse_36h"] < 100
    for model in ("barotropic", "shallow_water"):
        for hours in (12, 24, 36):
            name = f"rmse_{hours}h"
            assert metrics[f"{model}.{name}"] < 0.9 * metrics[f"persistence.{name}"], hours
        spread = [metrics[f"{model}.spread_{hours}h"] for hours in (12, 24, 36)]
        assert spread == sorted(spread) and 0.5 < spread[0] < 3
    assert (tmp_path / "forecast.png").stat().st_size > 20000


def test_settings():
    with pytest.raises(ValueError, match="dt must be finite and > 0, got 0"):
        Config(dt=0.0)
    with pytest.raises(ValueError, match="balanced_from must be finite and > 0, got 0"):
        Config(balanced_from=0.0)
