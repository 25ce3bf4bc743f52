"""Decaying turbulence: the table read, waves of given energies, a run on few cells."""

import jax
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.turbulence.decaying_turbulence import (
    EXPERIMENT,
    Config,
    random_waves,
    read_grid_turbulence,
    shell_energies,
    step_of,
)

K = np.geomspace(0.1, 2.0, 9)


@pytest.fixture
def table(tmp_path):
    """Spectra k^-1 at the first station, less at the others; the last row is not known."""
    rows = np.stack([K, 100 / K, 50 / K, 20 / K], axis=1)
    rows[-1, 1:] = 0.0
    path = tmp_path / "spectra.txt"
    np.savetxt(path, rows)
    return path


def test_energies_of_shells(table):
    measured = read_grid_turbulence(table)
    found = measured.energies(Config(cells=16).grid)
    expected = np.outer([100.0, 50.0, 20.0], np.r_[0.0, 1 / np.arange(1, 8)])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    message = "waves must lie within 0.1..1.3753. a cm, .* are 0.112441..1.6866"
    with pytest.raises(ValueError, match=message):
        measured.energies(Config(cells=32).grid)


def test_tables_of_another_layout(tmp_path):
    path = tmp_path / "table.txt"
    with pytest.raises(DataError, match="no such file"):
        read_grid_turbulence(path)
    for text, message in (
        ("1 2 3\n2 3 4\n", r"3 columns of energies expected, got shape \(2, 3\)"),
        ("2 1 1 1\n1 1 1 1\n", "increasing wavenumbers"),
        ("1 1 1 1\n2 1 -1 1\n", "finite, and positive in the first rows"),
        ("1 1 1 word\n", "word"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_grid_turbulence(path)


def test_waves_have_the_energies_asked_for_and_no_divergence():
    step = step_of(Config(cells=8), 1e-3, None)
    wanted = np.array([0.0, 3.0, 2.0, 1.0])
    state = random_waves(jax.random.key(1), step, wanted)
    np.testing.assert_allclose(shell_energies(state.velocity, step.grid), wanted, atol=1e-5)
    total = sum(float(np.mean(np.square(u))) for u in state.velocity) / 2
    assert total == pytest.approx(6.0, rel=1e-5)  # and none in other shells
    areas = float(step.grid.widths[0][0]) ** 2
    assert float(np.abs(step.divergence(state.velocity)).max()) < 1e-4 * areas


def test_settings():
    for cells in (9, 6):
        with pytest.raises(ValueError, match=f"cells must be even and at least 8, got {cells}"):
            Config(cells=cells)


def test_a_run_on_few_cells(table, tmp_path):
    config = Config(cells=8, members=1, constant=0.3, data=str(table))
    found = execute(EXPERIMENT, "quick", config, tmp_path / "run")
    truth = 1 + 1 / 2 + 1 / 3
    for station, energy in ((98, 50), (171, 20)):
        none = found.metrics[f"none.energy_at_{station}"]
        closed = found.metrics[f"smagorinsky.energy_at_{station}"]
        assert closed < 0.9 * none < 0.9 * 100 * truth
        for name, value in (("none", none), ("smagorinsky", closed)):
            at = f"{name}.energy_at_{station}"
            assert found.published[at].value == pytest.approx(energy * truth, rel=1e-5)
            error = found.metrics[f"{name}.energy_error_at_{station}"]
            assert error == pytest.approx(value / (energy * truth) - 1, rel=1e-4)
    assert (tmp_path / "run" / "spectra.png").exists()
