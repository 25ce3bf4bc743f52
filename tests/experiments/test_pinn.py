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
from jaxpbdl.experiments import contract, pinn_allen_cahn, pinn_burgers, pinn_wake_inverse
from jaxpbdl.experiments.pinn import Settings, reference

TINY = Settings(width=8, depth=2, points=200, adam=100, updates=40, chunk=30)


@pytest.mark.parametrize("module", [pinn_burgers, pinn_allen_cahn])
def test_forward_problems(module, tmp_path, monkeypatch):
    monkeypatch.delenv("JAXPBDL_DATA", raising=False)
    contract.execute(module.EXPERIMENT, "quick", TINY, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    # The initial values held for all time are off by 0.75 and more.
    assert report["metrics"]["relative_l2"] < 0.6
    assert report["published"]["relative_l2"]["value"] < 1e-4
    assert (tmp_path / "solution.png").stat().st_size > 10_000


@pytest.mark.x64
@pytest.mark.parametrize("name, module, equation", [
    ("burgers-shock", pinn_burgers, eq.Burgers(0.01 / np.pi)),
    ("allen-cahn", pinn_allen_cahn, eq.AllenCahn(1e-4, 5.0, 5.0)),
])  # fmt: skip
def test_reference_without_the_file_is_the_published_one(
    name, module, equation, real_data, monkeypatch
):
    file = {"burgers-shock": "burgers_shock.mat", "allen-cahn": "AC.mat"}[name]
    published = reference(name, real_data(f"pinns-raissi/{file}"), equation, module.initial)
    monkeypatch.delenv("JAXPBDL_DATA", raising=False)
    ours = reference(name, None, equation, module.initial, points=1024)
    column = np.argmin(abs(published.t - 0.5))
    at = published.t[column]
    frame = np.array([np.interp(at, ours.t, row) for row in ours.values])
    values = np.interp(published.x, ours.x, frame, period=2.0)
    smooth = abs(published.x) > 0.1  # where linear interpolation will do
    difference = (values - published.values[:, column])[smooth]
    assert np.linalg.norm(difference) < 0.005 * np.linalg.norm(values[smooth])


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
