"""Physics-informed experiments, tiny but real: they lower the error and write what they promise."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl import equations as eq
from jaxpbdl import fields
from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.pinns import (
    pinn_allen_cahn,
    pinn_burgers,
    pinn_cavity,
    pinn_kdv_inverse,
    pinn_schroedinger,
    pinn_wake_inverse,
    spectral_bias,
)
from jaxpbdl.experiments.pinns.training import Settings, reference
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.rollouts import repeat
from jaxpbdl.solvers.spectral import semilinear

TINY = Settings(width=8, depth=2, points=200, adam=100, updates=40, chunk=30)


IN_WINDOWS = pinn_allen_cahn.Config(**vars(TINY), windows=2)


@pytest.mark.parametrize("module, config", [(pinn_burgers, TINY), (pinn_allen_cahn, IN_WINDOWS)])
def test_forward_problems(module, config, tmp_path, monkeypatch):
    monkeypatch.delenv("JAXPBDL_DATA", raising=False)
    contract.execute(module.EXPERIMENT, "quick", config, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    # The initial values held for all time are off by 0.75 and more.
    assert report["metrics"]["relative_l2"] < 0.6
    assert report["published"]["relative_l2"]["value"] < 1e-4
    assert (tmp_path / "solution.png").stat().st_size > 10_000


def metrics_of(experiment, config, folder):
    contract.execute(experiment, "quick", config, folder)
    return json.loads((folder / "result.json").read_text())["metrics"]


def test_schroedinger(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXPBDL_DATA", raising=False)
    metrics = metrics_of(pinn_schroedinger.EXPERIMENT, TINY, tmp_path)
    assert metrics["relative_l2"] < 0.8  # nothing has 1


def test_kdv_inverse(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXPBDL_DATA", raising=False)
    monkeypatch.setattr(pinn_kdv_inverse, "STEPS", 600)
    config = pinn_kdv_inverse.Config(**vars(TINY), noise=0.01)
    metrics = metrics_of(pinn_kdv_inverse.EXPERIMENT, config, tmp_path)
    assert metrics["lambda1"] != 0 and metrics["lambda2"] != np.exp(-6.0)
    assert 0.001 < metrics["lambda1_bound"] < 0.0015
    assert 0.0007 < metrics["lambda2_bound"] < 0.0012
    assert metrics["relative_l2"] < 1


def test_cavity(tmp_path, real_data):
    table = real_data("flow-references/ghia_et_al_1982_lid_driven_cavity.dat")
    config = pinn_cavity.Config(**{**vars(TINY), "data": table})
    metrics = metrics_of(pinn_cavity.EXPERIMENT, config, tmp_path)
    assert metrics["largest_error"] < 0.6  # a fluid at rest has 0.84
    with pytest.raises(ValueError, match="reynolds must be one of"):
        pinn_cavity.Config(reynolds=400)
    # The tables of 1982 misprint one value.
    places, values = pinn_cavity._table(table, 3200)["u"]
    assert len(places) == 16 and values.min() > -0.5


def test_spectral_bias(tmp_path):
    config = spectral_bias.Config(
        width=8, depth=2, features=8, points=200, updates=100, looks=3, velocity=1.0
    )
    metrics = metrics_of(spectral_bias.EXPERIMENT, config, tmp_path)
    methods = ("plain", "fourier_features", "adaptive_points", "weak_form")
    # What the errors of known fields are: test_pinn_metrics.
    assert len({metrics[f"{name}.relative_l2"] for name in methods} - {None}) == 4
    assert (tmp_path / "spectral_bias.png").stat().st_size > 10_000


def test_error_by_band_of_wavenumbers():
    x = np.arange(256) * 2 * np.pi / 256
    truth = np.stack([np.sin(x) + np.cos(3 * x) + np.sin(6 * x) + np.sin(12 * x) + np.sin(20 * x)])
    error = 0.1 * np.sin(x)[None] + 0.5 * np.sin(12 * x)
    np.testing.assert_allclose(spectral_bias.by_band(error, truth), [0.1, 0, 0, 0.5, 0], atol=1e-12)


@pytest.mark.x64
@pytest.mark.parametrize("name, module, equation", [
    ("burgers-shock", pinn_burgers, eq.Burgers(0.01 / np.pi)),
    ("allen-cahn", pinn_allen_cahn, eq.AllenCahn(1e-4, 5.0, 5.0)),
    ("korteweg-de-vries", pinn_kdv_inverse, eq.KortewegDeVries(1.0, 0.0025)),
])  # fmt: skip
def test_reference_without_the_file_is_the_published_one(
    name, module, equation, real_data, monkeypatch
):
    files = {"burgers-shock": "burgers_shock", "allen-cahn": "AC", "korteweg-de-vries": "KdV"}
    path = real_data(f"pinns-raissi/{files[name]}.mat")
    published = reference(name, path, equation, module.initial)
    monkeypatch.delenv("JAXPBDL_DATA", raising=False)
    ours = reference(name, None, equation, module.initial, Periodic(1024, 2.0, -1.0), steps=4000)
    column = np.argmin(abs(published.t - 0.5))
    at = published.t[column]
    snapshot = np.array([np.interp(at, ours.t, row) for row in ours.values])
    values = np.interp(published.x, ours.x, snapshot, period=2.0)
    smooth = abs(published.x) > 0.1  # where linear interpolation will do
    difference = (values - published.values[:, column])[smooth]
    assert np.linalg.norm(difference) < 0.005 * np.linalg.norm(values[smooth])


@pytest.mark.x64
def test_schroedinger_reference_without_the_file_is_the_published_one(real_data, monkeypatch):
    grid, equation = Periodic((256,), lengths=10.0, origin=-5.0), eq.Schroedinger()
    arguments = equation, pinn_schroedinger.initial, grid, np.pi / 2
    published = reference("schroedinger", real_data("pinns-raissi/NLS.mat"), *arguments)
    monkeypatch.delenv("JAXPBDL_DATA", raising=False)
    ours = reference("schroedinger", None, *arguments)
    difference = ours.values - published.values[:, ::2]  # twice as many times
    assert np.linalg.norm(difference) < 1e-3 * np.linalg.norm(ours.values)


def test_wake_inverse(tmp_path, real_data, monkeypatch):
    path = real_data("pinns-raissi/cylinder_nektar_wake_f32.npz")
    config = pinn_wake_inverse.Config(
        data=path, members=2, points=300, width=8, depth=2, adam=100, batch=100, updates=20
    )
    contract.execute(pinn_wake_inverse.EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["lambda1_spread"] > 0 and metrics["lambda1"] != 0
    assert {"lambda1_error", "lambda2_error", "pressure.relative_l2"} <= set(metrics)
    assert (tmp_path / "pressure.png").exists()


@pytest.mark.x64
def test_momentum_of_an_exact_flow_vanishes_at_its_coefficients_only():
    """The decaying Taylor-Green vortex."""
    nu, point = 0.05, jnp.array([0.3, 0.8, 0.6])

    def field(at):
        x, y, t = at
        decay = jnp.exp(-2 * nu * t)
        pressure = -(jnp.cos(2 * x) + jnp.cos(2 * y)) / 4 * decay**2
        u, v = -jnp.cos(x) * jnp.sin(y) * decay, jnp.sin(x) * jnp.cos(y) * decay
        return jnp.stack([u, v, pressure])

    for transport, viscosity, exact in ((1.0, nu, True), (0.9, nu, False), (1.0, 0.04, False)):
        equation = pinn_wake_inverse.Momentum(transport, viscosity)
        residual = fields.expanded(equation.residual, field, point)
        assert (float(jnp.max(jnp.abs(residual))) < 1e-14) is exact
        np.testing.assert_allclose(residual, equation.residual(field, point), atol=1e-14)


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="width must be"):
        replace(TINY, width=0)
    with pytest.raises(ValueError, match="noise must be"):
        pinn_wake_inverse.Config(noise=-1.0)
    missing = tmp_path / "none.mat"
    with pytest.raises(DataError, match="no file"), jax.enable_x64(True):
        reference("burgers-shock", missing, eq.Burgers(), pinn_burgers.initial)


def test_the_opening_of_allen_cahn_has_no_corner():
    equation = eq.AllenCahn(diffusivity=1e-4, growth=5.0, saturation=5.0)
    at = lambda x, t: pinn_allen_cahn.opening(jnp.asarray([x, t]), equation)  # noqa: E731
    x = jnp.linspace(-1, 1, 41)
    begins = jax.vmap(lambda x: at(x, 0.0))(x)
    np.testing.assert_allclose(begins, pinn_allen_cahn.initial(x), atol=2e-5)
    # The initial values have slopes -2 and 2 at the two sides of the seam.
    slope = jax.grad(at)
    assert abs(slope(1.0, 0.5)) < 1e-4 and abs(slope(-1.0, 0.5)) < 1e-4
    # A little later the solver has the same values about the seam, but for the nonlinear term.
    later, grid = 0.05, Periodic((2048,), lengths=2.0, origin=-1.0)
    step = semilinear(equation, grid, later / 100, keep=1.0)
    solved = repeat(step, 100)(pinn_allen_cahn.initial(grid.axes[0]))
    seam = np.abs(grid.axes[0]) > 0.99
    opened = jax.vmap(lambda x: at(x, later))(grid.axes[0])
    np.testing.assert_allclose(opened[seam], solved[seam], atol=2e-4)
    assert np.max(np.abs(pinn_allen_cahn.initial(grid.axes[0]) - solved)[seam]) > 5e-4
