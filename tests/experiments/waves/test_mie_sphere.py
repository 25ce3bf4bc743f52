"""Scattering by a sphere: a small run within its budget, and its settings."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.waves import mie_sphere
from jaxpbdl.experiments.waves.mie_sphere import EXPERIMENT, Config, Found, across
from jaxpbdl.experiments.waves.scattering import Frame, scattered
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.waves.exact import sphere


def test_a_small_run(tmp_path):
    """Coarse cells are within two percent already; lengths are in units of the wavelength."""
    config = Config(
        radius=0.35, wavelength=2.0, cells=4, coarser=(), layer=6, gap=0.15, periods=8.0
    )
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["q_sca.exact"] == pytest.approx(1.1404926, abs=1e-6)
    assert metrics["q_sca"] == pytest.approx(1.1404926, rel=0.02)
    assert abs(metrics["q_abs"]) < 0.03
    assert metrics["asymmetry.exact"] == pytest.approx(0.3554430, abs=1e-6)
    assert metrics["asymmetry"] == pytest.approx(0.3554430, abs=0.01)
    assert metrics["q_sca_error"] == pytest.approx(abs(metrics["q_sca"] / 1.1404926 - 1), abs=1e-6)
    assert (tmp_path / "field.png").stat().st_size > 5000


def test_order_of_known_errors(tmp_path, monkeypatch):
    """Errors of second order about the series, of one sign and of the other."""
    exact = sphere(Config().size, 4.0).scattering

    def efficiency(config):
        sign = 1 if config.cells == 6 else -1
        return Found(exact * (1 + sign * 0.3 / config.cells**2), 0.1, 0.3, np.zeros((70, 35)))

    monkeypatch.setattr(mie_sphere, "efficiency", efficiency)
    metrics = mie_sphere.run(Config(), tmp_path).metrics
    assert metrics["order"] == pytest.approx(2.0)
    assert metrics["q_sca_error_4"] == pytest.approx(0.3 / 16)
    assert metrics["q_sca_error"] == pytest.approx(0.3 / 100) and metrics["q_abs"] == 0.1


def test_an_empty_frame_scatters_nothing():
    """The wave passes between the mirrors, and leaves nothing outside of its box."""
    frame = Frame(3, 0.3, 0.1, 3, 6)
    source = frame.wave(1, waves.pulse(1.0, cycles=0.5))
    step = waves.maxwell(frame.grid(), 0.05, sides=frame.sides(), sources=(source,))
    assert step.grid.shape == (40, 20, 20)
    found = scattered(frame, step, 1.0, 8.0, across)
    assert abs(float(found.scattering[0])) < 1e-5 and abs(float(found.absorption[0])) < 3e-3
    assert abs(found.observed[0, 20, 0] - 1) < 1e-5
    # A cell up the axis the phase is that of the wavelength, 2 pi / 10 but for the cells' error.
    turn = np.angle(found.observed[0, 21, 3] / found.observed[0, 20, 3])
    assert turn == pytest.approx(2 * np.pi / 10, rel=0.02)


def test_settings():
    config = Config(radius=0.5, wavelength=2.0, permittivity=4.0, cells=5)
    assert config.size == pytest.approx(1.5707963) and config.width == pytest.approx(0.1)
    assert Config(radius=0.5, permittivity=16.0, cells=5).width == pytest.approx(0.05)
    frame = config.frame
    assert (frame.within, frame.total, frame.outside) == (7, 9, 13)
    assert frame.domain == 13 + 6 + 10
    assert frame.section == pytest.approx(np.pi * 0.25 / 4)
    grid = frame.grid()
    assert grid.shape == (58, 29, 29)
    assert grid.edges[0][0] == pytest.approx(-2.9) and grid.edges[1][0] == 0
    with pytest.raises(ValueError, match="radius must be finite and > 0, got 0"):
        Config(radius=0.0)


def test_only_a_plane_wave_can_be_scattered():
    frame = Frame(2, 0.2, 0.1, 2, 2)
    source = waves.dipole((0.0, 0.0), 2, jnp.sin)
    step = waves.maxwell(
        frame.grid(), 0.05, components=waves.tm, sides=frame.sides(), sources=(source,)
    )
    with pytest.raises(ValueError, match="must be a plane wave, got BoundDipole"):
        scattered(frame, step, 1.0, 1.0)
