"""An equilibrium from a file: its boundary, the comparison, and an exact equilibrium as a file."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.data.geqdsk import FluxFile, read_geqdsk
from jaxpbdl.experiments.plasma import tokamak_equilibrium
from jaxpbdl.experiments.plasma.tokamak_equilibrium import (
    Config,
    relative,
    safety_factors,
    smooth,
)
from jaxpbdl.solvers.plasma import Rectangle
from jaxpbdl.solvers.plasma.circuits import MU_0

pytestmark = pytest.mark.x64

# Solov'ev: Delta* psi = a (2 / k^2 + 2) R^2, from a pressure that is linear in the flux alone; the
# boundary is R^2 = R_0^2 + 2 c cos t, R Z = k c sin t.
A, K, R0, C, F = 0.7, 1.6, 1.1, 0.4, 2.0
SLOPE = 2 * A * (1 / K**2 + 1) / MU_0


def solovev_file(nodes):
    """As a file, whose flux rises from the axis for a positive current."""
    r, z = np.linspace(0.45, 1.6, nodes), np.linspace(-1.3, 1.3, nodes)
    psi = A * (r[:, None] ** 2 * z**2 / K**2 + (r[:, None] ** 2 - R0**2) ** 2 / 4)
    t = np.linspace(0, 2 * np.pi, 161)
    radius = np.sqrt(R0**2 + 2 * C * np.cos(t))
    boundary = np.stack([radius, K * C * np.sin(t) / radius], axis=-1)
    # The current is the integral of SLOPE R over the boundary's area, half the flux of R^2: the
    # area of R dR dZ is that of d(R^2)/2 dZ.
    fine = np.linspace(0, 2 * np.pi, 20001)
    around = np.sqrt(R0**2 + 2 * C * np.cos(fine))
    height = K * C * np.sin(fine) / around
    current = SLOPE * np.trapezoid(around**2 / 2, height)
    levels = A * C**2 * np.linspace(0, 1, nodes)
    every = np.sqrt(levels / A)
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    turn = np.mean((R0**2 + 2 * every[:, None] * np.cos(angles)) ** -1.5, axis=1)
    zeros = np.zeros(nodes)
    return FluxFile(
        r, z, psi, np.array([R0, 0.0]), 0.0, A * C**2, float(current), zeros + F, zeros, zeros,
        zeros - SLOPE, F * K / (2 * A) * turn, boundary, boundary,
    )  # fmt: skip


def test_a_smooth_boundary():
    """Twelve points of a circle, the last of which repeats the first or does not."""
    t = 2 * np.pi * np.arange(13) / 12
    circle = np.stack([2 + np.cos(t), np.sin(t)], axis=-1)
    for points in (circle, circle[:-1]):
        found = smooth(points, 50)
        assert found.shape == (50, 2)
        np.testing.assert_allclose(np.hypot(found[:, 0] - 2, found[:, 1]), 1, atol=5e-4)
        steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
        np.testing.assert_allclose(steps, 2 * np.pi / 50, rtol=2e-2)


def test_a_relative_error():
    assert relative(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)


@pytest.mark.stand_ins
def test_an_equilibrium_that_is_the_file_s():
    """Filaments around its boundary, slopes in the signs of the solver, and a flux that is the
    file's but for its sign and a constant: no difference is left."""
    file, config = solovev_file(41), Config(nodes=41, filaments=48, distance=1.5)
    one = tokamak_equilibrium.case(file, config)
    assert one.sign == -1
    np.testing.assert_allclose(one.profile.pressure_slope, -file.pressure_slope)
    np.testing.assert_allclose(one.profile.field_slope, -file.field_slope)
    r, z = (np.asarray(each) for each in (one.machine.coils.r, one.machine.coils.z))
    ends = file.boundary.min(axis=0), file.boundary.max(axis=0)
    for places, low, high in zip((r, z), *ends, strict=True):
        assert places.max() - places.min() == pytest.approx(1.5 * (high - low), rel=0.01)
        assert places.max() + places.min() == pytest.approx(high + low, abs=0.01)
    held = np.asarray(one.targets.boundary)
    assert len(held) == 4 * 48
    np.testing.assert_allclose(
        A * ((held[:, 0] * held[:, 1] / K) ** 2 + (held[:, 0] ** 2 - R0**2) ** 2 / 4),
        A * C**2, rtol=1e-3,
    )  # fmt: skip
    found = SimpleNamespace(
        psi=jnp.asarray(5 - file.psi), axis=jnp.asarray(file.axis),
        axis_flux=5 - file.axis_flux, boundary_flux=5 - file.boundary_flux,
    )  # fmt: skip
    seen = tokamak_equilibrium.compared(file, one, found)
    np.testing.assert_allclose(seen.flux, seen.flux_file, atol=1e-9)
    assert seen.flux.max() == pytest.approx(A * C**2, rel=1e-2) and seen.flux.min() > -1e-3
    assert seen.inside.shape == file.psi.shape and seen.inside.sum() == len(seen.flux)
    assert tokamak_equilibrium.INNER <= seen.x[0] < 0.2 and 0.8 < seen.x[-1] <= 0.95 + 0.05
    np.testing.assert_allclose(seen.q, seen.q_of_flux, rtol=1e-6)
    np.testing.assert_allclose(seen.q, seen.q_table, rtol=1e-3)


@pytest.mark.stand_ins
def test_metrics_of_a_known_difference(tmp_path, monkeypatch):
    """An equilibrium that is off by known amounts, of a file whose flux falls from the axis."""
    file = SimpleNamespace(axis=np.asarray([1.0, 0.25]), axis_flux=7.0, boundary_flux=3.0)
    found = SimpleNamespace(
        axis=jnp.asarray([1.03, 0.29]), axis_flux=-9.0, boundary_flux=-6.0, psi=None,
        density=SimpleNamespace(strength=1.1), residual=1e-9,
    )  # fmt: skip
    grid = SimpleNamespace(at_each=lambda psi, points: np.asarray([-6.1, -5.9, -5.8]))
    targets = SimpleNamespace(boundary=None)
    case = SimpleNamespace(
        machine=SimpleNamespace(grid=grid), targets=targets, profile=None, start=None, sign=-1
    )
    seen = tokamak_equilibrium.Compared(
        None, np.asarray([3.0, 4.5]), np.asarray([3.0, 4.0]), np.asarray([0.5, 0.94, 0.99]),
        np.asarray([1.0, 3.0, 5.0]), np.asarray([1.0, 2.0, 4.0]), np.asarray([2.0, 2.0, 4.0]),
    )  # fmt: skip
    monkeypatch.setattr(tokamak_equilibrium, "files", lambda config: ["a file"])
    monkeypatch.setattr(tokamak_equilibrium, "read_geqdsk", lambda path: file)
    monkeypatch.setattr(tokamak_equilibrium, "case", lambda *_: case)
    monkeypatch.setattr(tokamak_equilibrium, "shaped", lambda *_, **__: found)
    monkeypatch.setattr(tokamak_equilibrium, "compared", lambda *_: seen)
    monkeypatch.setattr(tokamak_equilibrium, "_picture", lambda *_: None)
    result = tokamak_equilibrium.run(Config(), tmp_path)
    assert result.metrics == pytest.approx({
        "iter.psi_l2": 0.1, "iter.psi_largest": 0.5 / 4, "iter.axis_error_cm": 5.0,
        "iter.axis_r": 1.03, "iter.axis_z": 0.29, "iter.axis_flux": -3.0,
        "iter.q_l2": np.sqrt(3 / 24), "iter.q_largest": 0.5, "iter.q95": 3.0,
        "iter.profile_factor": 1.1, "iter.boundary_flux_spread": 0.3 / 4, "iter.residual": 1e-9,
        "file.q_l2": np.sqrt(1 / 24),
    })  # fmt: skip
    printed = {name: each.value for name, each in result.published.items()}
    assert printed == {
        "iter.axis_r": 1.0, "iter.axis_z": 0.25, "iter.axis_flux": -4.0, "iter.q95": 2.0,
        "iter.profile_factor": 1.0,
    }  # fmt: skip


def test_an_exact_equilibrium_as_a_file(tmp_path, monkeypatch):
    """It is found again: flux, axis, q and the factor of its tables."""
    file = solovev_file(41)
    monkeypatch.setattr(tokamak_equilibrium, "files", lambda config: [tmp_path / "none"])
    monkeypatch.setattr(tokamak_equilibrium, "read_geqdsk", lambda path: file)
    config = Config(nodes=41, filaments=48)
    result = tokamak_equilibrium.run(config, tmp_path)
    metrics = result.metrics
    assert metrics["iter.psi_l2"] < 1e-2
    assert metrics["iter.q_l2"] < 1e-2 and metrics["file.q_l2"] < 1e-5
    assert metrics["iter.axis_error_cm"] < 0.2
    assert metrics["iter.profile_factor"] == pytest.approx(1, abs=2e-2)
    assert metrics["iter.residual"] <= config.tolerance
    assert metrics["iter.axis_flux"] == pytest.approx(A * C**2, rel=1e-2)
    assert result.published["iter.axis_flux"].value == pytest.approx(A * C**2)
    assert (tmp_path / "equilibrium.png").stat().st_size > 5000


def test_the_hybrid_is_consistent(real_data):
    """The published file as it is read: q from its flux and F is that of its table."""
    file = read_geqdsk(real_data("tokamak-iter-hybrid/iterhybrid_cocos02.eqdsk"))
    grid = Rectangle(file.psi.shape, (file.r[0], file.z[0]), (file.r[-1], file.z[-1]))
    shown = slice(3, 126, 20)
    x = np.linspace(0, 1, 129)[shown]
    levels = jnp.asarray(file.axis_flux + x * (file.boundary_flux - file.axis_flux))
    psi, axis, f = (jnp.asarray(one) for one in (file.psi, file.axis, file.f[shown]))
    np.testing.assert_allclose(safety_factors(grid, psi, axis, levels, f), file.q[shown], rtol=1e-3)
    assert relative(file.f[-1:], np.array([6.2 * 5.3])) < 1e-6


def test_settings():
    with pytest.raises(ValueError, match="nodes must be .*>= 33, got 20"):
        Config(nodes=20)
    with pytest.raises(ValueError, match="distance must be finite and > 0, got 0"):
        Config(distance=0.0)
