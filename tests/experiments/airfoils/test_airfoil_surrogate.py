"""The airfoil surrogate: coordinate files, balance of momentum, a tiny run on flows of its own."""

import json
import zipfile
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.checks import DataError
from jaxpbdl.data.airfoils import CORNERS, read_airfoils, thickness
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.airfoils.airfoil_surrogate import EXPERIMENT, Config, mirrored
from jaxpbdl.experiments.airfoils.data import read_or_make, simulate
from jaxpbdl.experiments.airfoils.report import STREAM, errors, momentum_balance

DIGITS = ("0018", "2420", "0022", "4421", "0006")
TINY = Config(
    cells=(48, 32), reynolds=(100.0, 150.0), duration=2.0, training=2, validation=1, asked=1,
    members=2, width=2, levels=2, modes=4, channels=4, depth=1, batch=2, updates=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def airfoils(tmp_path_factory):
    path = tmp_path_factory.mktemp("airfoils") / "airfoils.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for digits in DIGITS:
            pairs = [f"{10 * x:.6f} {10 * y:.6f}" for x, y in np.asarray(jp.shapes.naca(digits))]
            lines = [f"NACA {digits}", *pairs[:40], "a remark", *pairs[40:]]
            archive.writestr(f"naca{digits}.dat", "\n".join(lines))
    return path


def test_outlines_are_scaled_and_resampled(airfoils):
    found = read_airfoils(airfoils)
    assert sorted(found) == sorted(f"naca{digits}" for digits in DIGITS)
    for digits in DIGITS:
        corners = found[f"naca{digits}"]
        assert corners.shape == (CORNERS, 2)
        np.testing.assert_allclose(thickness(corners), int(digits[2:]) / 100, rtol=0.03)
        shape = jp.shapes.Outline(jnp.asarray(corners))
        exact = jp.shapes.Outline(jp.shapes.naca(digits))
        for point in ((0.3, 0.0), (0.5, 0.3), (-0.2, 0.1)):
            np.testing.assert_allclose(shape(jnp.array(point)), exact(jnp.array(point)), atol=4e-3)


def test_a_tiny_run(airfoils, tmp_path):
    config = replace(TINY, data=airfoils)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["stream.departure"] == pytest.approx(1, abs=1e-5)
    assert 0 < metrics["relative_l1"] < 1 and 0 < metrics["fno.relative_l1"] < 1
    assert -1 <= metrics["unet.correlation"] <= 1 and metrics["unet.spread"] > 0
    # Two independent ways to the forces of the same flow, on a grid of twelve cells a chord.
    assert metrics["solver.drag_error"] < 0.1
    assert (tmp_path / "airfoil.png").exists()

    parts = read_or_make(tmp_path / "flows.h5", airfoils, config.setting)
    assert [len(part) for part in parts.values()] == [2, 1, 1]
    with pytest.raises(DataError, match=r"duration = \[2.0\], the settings ask for \[3.0\]"):
        read_or_make(tmp_path / "flows.h5", airfoils, replace(config, duration=3.0).setting)
    truth = parts["test"]
    assert errors(truth.fields, truth)["relative_l1"] == 0

    # The program is compiled: the mirrored airfoil at the mirrored angle has the mirrored flow.
    corners = jnp.asarray(read_airfoils(airfoils)["naca4421"], jnp.float32)
    number = jnp.asarray(120.0)
    one, _, force, _ = simulate(config.setting, corners, number, jnp.asarray(8.0))
    flipped = corners * jnp.array([1.0, -1.0])
    other, _, against, _ = simulate(config.setting, flipped, number, jnp.asarray(-8.0))
    np.testing.assert_allclose(mirrored(np.asarray(one)[None], (1, 1, -1))[1], other, atol=2e-4)
    np.testing.assert_allclose(force, against * jnp.array([1, -1]), atol=1e-4)


def test_a_uniform_stream_exerts_no_force():
    fields = jnp.broadcast_to(STREAM, (3, *TINY.cells))
    force = jax.jit(lambda f: momentum_balance(TINY.setting, f, jnp.asarray(100.0)))(fields)
    np.testing.assert_allclose(force, 0, atol=1e-5)


def test_bad_input(airfoils, tmp_path):
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        Config(members=1)
    with pytest.raises(ValueError, match="cells must be even and at least 48 by 30 for airf"):
        Config(cells=(32, 32))
    with pytest.raises(ValueError, match="modes must be at most half the cells, got 40"):
        Config(modes=40)
    with pytest.raises(ValueError, match="reynolds must be a range within 0..1000, laminar"):
        Config(reynolds=(400.0, 100.0))
    with pytest.raises(ValueError, match="angles must be a range within -25..25 degrees"):
        Config(angles=(0.0, 40.0))
    with pytest.raises(DataError, match="of 5 given, 4 are between two cells"):
        read_or_make(tmp_path / "flows.h5", airfoils, replace(TINY, training=3).setting)
    (tmp_path / "no.zip").write_text("nothing")
    with pytest.raises(DataError, match="no zip of airfoil coordinates"):
        read_airfoils(tmp_path / "no.zip")
