"""Waves of a plasma: metrics of known rates, cases that are what their names say, a small run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.plasma import plasma_waves
from jaxpbdl.experiments.plasma.plasma_waves import (
    CASES,
    EXPERIMENT,
    PARTICLES,
    Beam,
    Case,
    Config,
    ParticleCase,
    by_particles,
    rates,
    trapped,
)
from jaxpbdl.solvers.plasma import Maxwellians, leading_wave, wave_frequencies

pytestmark = pytest.mark.x64


def test_metrics_of_known_rates():
    damped = rates("a", 1.43 - 0.11j, 1.4 - 0.1j)
    expected = {"damping": 0.11, "damping_exact": 0.1, "damping_error": 0.1}
    expected |= {"frequency": 1.43, "frequency_exact": 1.4, "frequency_error": 0.03 / 1.4}
    assert damped == pytest.approx({f"a.{name}": value for name, value in expected.items()})
    growing = rates("b", 1e-9 + 0.21j, 0.2j)
    assert growing == pytest.approx(
        {"b.growth": 0.21, "b.growth_exact": 0.2, "b.growth_error": 0.05}
    )


def test_the_cases_are_those_of_the_table():
    expected = {
        "landau_k02": -5.5107e-5, "landau_k03": -0.012620, "landau_k04": -0.066128,
        "landau_k05": -0.153359, "streams_24": 0.225844, "streams_30": 0.284510,
        "hollow": 0.259250, "bump": 0.198098,
    }  # fmt: skip
    wave = jax.jit(leading_wave)
    for name, rate in expected.items():
        case = CASES[name]
        assert complex(wave(case.plasma(), case.wavenumber)).imag == pytest.approx(rate, abs=1e-6)


def test_particles_stand_for_their_plasma():
    """The field of two cold beams of particles grows as the beams should."""
    case = PARTICLES["particles_cold"]._replace(window=(12.0, 20.0), size=1e-5)
    config = Config(particles=400, cells=16)
    series, change = by_particles(case, config)
    found = wave_frequencies(series, config.dt, case.waves)[0]
    exact = complex(leading_wave(plasma_waves._plasma(case), case.wavenumber))
    assert exact.imag == pytest.approx(8**-0.5, rel=1e-6)
    assert abs(found - exact) < 0.01 and 0 < change < 1e-5


@pytest.mark.stand_ins
def test_changes_of_mass_and_energy(tmp_path, monkeypatch):
    """The largest of the time, relative to the start; waves as they are found."""
    wave, exact = 1.2 - 0.3j, 1.0 - 0.2j
    case = Case(Maxwellians, 0.5, 6.0, (10, 20), 2, 1e-5)
    monkeypatch.setattr(plasma_waves, "CASES", {"one": case})
    monkeypatch.setattr(plasma_waves, "PARTICLES", {"many": ParticleCase((), 0.6, (1, 2), 1, 0.1)})
    monkeypatch.setattr(plasma_waves, "on_the_grid", lambda case, config: "grid")
    monkeypatch.setattr(plasma_waves, "by_particles", lambda case, config: ("particles", 0.125))
    monkeypatch.setattr(plasma_waves, "leading_wave", lambda plasma, wavenumber: exact)
    found = {"grid": [wave, 9.0], "particles": [2 * wave, 9.0]}
    monkeypatch.setattr(plasma_waves, "wave_frequencies", lambda series, *_: found[series])
    monkeypatch.setattr(plasma_waves, "_plasma", lambda case: None)
    mass, energy = np.asarray([2.0, 2.5, 1.0]), np.asarray([4.0, 7.0, 3.0])
    monkeypatch.setattr(plasma_waves, "trapped", lambda config: (None, mass, energy, None, None))
    monkeypatch.setattr(plasma_waves, "_picture", lambda *_: None)
    metrics = plasma_waves.run(Config(), tmp_path).metrics
    assert metrics["trapped.mass_change"] == pytest.approx(0.5)
    assert metrics["trapped.energy_change"] == pytest.approx(0.75)
    assert metrics["many.energy_change"] == 0.125
    assert metrics["one.damping"] == 0.3 and metrics["many.damping"] == 0.6
    assert metrics["one.frequency_error"] == pytest.approx(0.2)


@pytest.mark.stand_ins
def test_the_window_and_the_energy_of_particles(monkeypatch):
    """A wave that is the number of the step, and an energy that changes by a quarter."""
    config = Config(dt=0.5, particles=40)

    def rollout(step, state, steps, observe):
        assert steps == 8
        energy = np.asarray([4.0, 5, 4, 4, 3.5, 4, 4, 4, 4])
        return np.arange(9.0) + 1j, jnp.asarray(energy)

    monkeypatch.setattr(plasma_waves, "rollout", rollout)
    case = ParticleCase((Beam(1, 0), Beam(-1, 0)), 0.6, (2.0, 4.0), 1, 0.1)
    series, change = by_particles(case, config)
    np.testing.assert_array_equal(series, np.arange(4.0, 9) + 1j)
    assert change == pytest.approx(0.25)
    np.testing.assert_array_equal(plasma_waves._seen(np.asarray([1 + 2j]), 2), [2])
    np.testing.assert_array_equal(plasma_waves._seen(np.asarray([1 + 2j]), 1), [1 + 2j])


def test_a_small_run(tmp_path, monkeypatch):
    cases = {
        "landau": Case(Maxwellians, 0.5, 6.0, (10, 20), 2, 1e-5),
        "bump": CASES["bump"]._replace(size=1e-8, window=(30, 45)),
    }
    particles = {"particles": ParticleCase((Beam(1, 0), Beam(-1, 0)), 0.6, (12, 20), 1, 1e-5)}
    monkeypatch.setattr(plasma_waves, "CASES", cases)
    monkeypatch.setattr(plasma_waves, "PARTICLES", particles)
    monkeypatch.setattr(plasma_waves, "PERIODS", 10)
    config = Config(velocities=64, particles=500, cells=32)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["landau.damping"] == pytest.approx(0.153359, rel=1e-3)
    assert metrics["landau.damping_error"] < 1e-3 and metrics["landau.frequency_error"] < 1e-3
    assert metrics["bump.growth_exact"] == pytest.approx(0.198098, abs=1e-6)
    assert metrics["bump.growth_error"] < 0.01 and metrics["bump.frequency_error"] < 0.01
    assert metrics["particles.growth_error"] < 0.02
    assert metrics["trapped.mass_change"] < 1e-12
    assert 0 < metrics["trapped.energy_change"] < 1e-3
    assert (tmp_path / "phase_space.png").stat().st_size > 5000


def test_trapped_electrons_roll_up(monkeypatch):
    """What is shown last has a hole where the streams were apart, and arms across it."""
    monkeypatch.setattr(plasma_waves, "PERIODS", 10)
    step, mass, energy, states, times = trapped(Config(velocities=32))
    assert list(times) == [0, 15, 25, 60] and len(mass) == len(energy) == 14
    middle = step.grid.shape[1] // 2
    assert np.ptp(states[0][:, middle]) < 1e-3 < 0.05 < np.ptp(states[-1][:, middle])


def test_settings():
    with pytest.raises(ValueError, match="dt must be finite and > 0, got 0"):
        Config(dt=0.0)
    with pytest.raises(ValueError, match="time must be below"):
        plasma_waves.on_the_grid(CASES["landau_k02"], Config(velocities=32))
