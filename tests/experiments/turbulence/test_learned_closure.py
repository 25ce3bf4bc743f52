"""The learned closure: spectra of the training, flows cut to coarse cells, windows, a tiny run."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.turbulence import decaying_turbulence as decaying
from jaxpbdl.experiments.turbulence.decaying_turbulence import shell_energies
from jaxpbdl.experiments.turbulence.learned_closure import (
    ENERGIES,
    EXPERIMENT,
    PEAKS,
    Config,
    cut,
    measure,
    misfit,
    spectrum,
    windows_of,
)
from jaxpbdl.grids import Cells
from jaxpbdl.learning.lock import RunLock
from jaxpbdl.solvers.flow import Flow, Smagorinsky


def test_spectra_of_the_training():
    """Their energy and their peak lie where they should: dE/dk is zero at k0 sqrt(12/5)."""
    grid = Cells((256,) * 3, 200.0, periodic=True)
    found = [spectrum(jax.random.key(seed), grid) for seed in range(6)]
    for shells in found:
        assert ENERGIES[0] <= shells.sum() <= ENERGIES[1] and shells[0] == 0
        peak = 2 * np.pi / 200.0 * np.argmax(shells) / np.sqrt(12 / 5)
        assert PEAKS[0] - 0.02 < peak < PEAKS[1] + 0.02
    assert len({round(float(shells.sum())) for shells in found}) > 3


def test_flows_are_cut_to_the_waves_of_coarse_cells():
    """A wave that they hold stays where it is, one that they do not goes."""
    fine = Cells((24,) * 3, 2 * np.pi, periodic=True)
    coarse = decaying.step_of(Config(cells=8, box=2 * np.pi / decaying.MESH).flow, 0.1, None)

    def flow(point, k):  # without divergence
        x, y, z = point
        return jnp.stack([jnp.cos(k * y + 0.3), jnp.sin(z - 0.2), jnp.cos(x + k * y)])

    found = cut(fine.velocity(lambda point: flow(point, 2)), fine, coarse)
    for one, known in zip(found, coarse.grid.velocity(lambda p: flow(p, 2)), strict=True):
        np.testing.assert_allclose(one, known, atol=2e-5)
    short = cut(fine.velocity(lambda point: flow(point, 5)), fine, coarse)
    np.testing.assert_allclose(short[0], 0.0, atol=1e-5)
    np.testing.assert_allclose(short[1], found[1], atol=2e-5)


def test_windows():
    flows = Flow((jnp.arange(24.0).reshape(2, 12),), jnp.zeros((2, 12)), {})
    found = windows_of(flows, 4)
    np.testing.assert_array_equal(
        found.velocity[0],
        [[0, 1, 2, 3, 4], [12, 13, 14, 15, 16], [4, 5, 6, 7, 8], [16, 17, 18, 19, 20]],
    )


def test_the_misfit_is_a_difference_of_logarithms():
    config = Config(cells=8)
    step = decaying.step_of(config.flow, config.dt, Smagorinsky(0.17))
    energies = np.array([0.0, 3.0, 2.0, 1.0])
    start = decaying.random_waves(jax.random.key(1), step, energies)
    known = [start, step(start)]
    again = jax.tree.map(lambda *leaves: jnp.stack(leaves)[None], *known)
    assert float(misfit(step, again)) < 1e-5
    louder = known[1]._replace(velocity=tuple(1.1 * u for u in known[1].velocity))
    flows = jax.tree.map(lambda *leaves: jnp.stack(leaves)[None], start, louder)
    assert float(misfit(step, flows)) == pytest.approx(2 * np.log(1.1), rel=1e-3)
    logarithms = measure(step.grid)(start)
    np.testing.assert_allclose(logarithms, np.log([3.0, 2.0, 1.0]), atol=1e-4)
    np.testing.assert_allclose(shell_energies(start.velocity, step.grid), energies, atol=1e-4)


def test_settings():
    with pytest.raises(ValueError, match="window must be at most snapshots = 5, got 8"):
        Config(snapshots=5)
    with pytest.raises(ValueError, match="constants must hold at least one, got none"):
        Config(constants=())
    for settings in ({"cells": 9}, {"measured_cells": 9}):
        with pytest.raises(ValueError, match="cells must be even and at least 8, got 9"):
            Config(**settings)


def test_a_tiny_run(tmp_path):
    k = np.geomspace(0.05, 4.0, 12)
    table = tmp_path / "spectra.txt"
    np.savetxt(table, np.stack([k, 100 / k, 60 / k, 30 / k], axis=1))
    config = Config(
        data=str(table), cells=8, snapshots=40, train=1, validation=1, test=1, window=5, members=2,
        width=4, constants=(0.0, 0.17), measured_cells=8, draws=1,
        training=replace(Config().training, updates=6, batch=2, learning_rate=1e-2),
    )  # fmt: skip
    (tmp_path / "run").mkdir()
    with RunLock(tmp_path / "run"):  # as the command holds it
        found = execute(EXPERIMENT, "quick", config, tmp_path / "run").metrics
    assert found["best_constant"] == 0.17
    assert found["lilly.test_misfit"] < 0.5 * found["none.test_misfit"]
    assert 0 < found["learned.test_misfit"] < found["none.test_misfit"]
    values = [found[f"learned_{n}.energy_error_at_98"] for n in range(2)]
    assert found["learned.energy_error_at_98"] == pytest.approx(np.median(values))
    assert values[0] != found["lilly.energy_error_at_98"]  # it has learned something
    assert (tmp_path / "run" / "spectra.png").exists()
