"""Photonic design: from an image to a density, a small run, settings."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.waves import photonic_design as pd
from jaxpbdl.experiments.waves import photonic_shaping as ps
from jaxpbdl.experiments.waves.photonic_brushes import widths
from jaxpbdl.experiments.waves.photonic_design import EXPERIMENT, Config
from jaxpbdl.experiments.waves.photonic_devices import DEVICES, metric, referee

pytestmark = pytest.mark.x64


def test_the_way_from_image_to_density():
    """A cone of weight one; rising sharpness; symmetry; the border as outside; the gradient."""
    kernel = ps.cone(3.0)
    assert kernel.shape == (5, 5) and kernel.sum() == pytest.approx(1.0)
    assert kernel[2, 2] / kernel[2, 3] == pytest.approx(3 / 2)
    assert ps.cone(1.0).shape == (1, 1)
    device = DEVICES["bend"]
    shape = ps.shaping(device, 160.0, 40)
    image = jax.random.uniform(jax.random.key(0), (40, 40))
    density = shape(image, 8.0)
    np.testing.assert_allclose(density, density.T, atol=1e-12)
    np.testing.assert_array_equal(density[0, 15:25], 1.0)
    np.testing.assert_array_equal(np.r_[density[0, :15], density[0, 25:], density[-1]], 0.0)
    flat = shape(jnp.full((40, 40), 0.6), 8.0)[20, 20]
    assert flat == pytest.approx(0.5 + np.tanh(0.8) / np.tanh(4) / 2)
    assert float(jnp.mean(jnp.abs(shape(image, 64.0) - 0.5))) > float(
        jnp.mean(jnp.abs(density - 0.5))
    )
    even = ps.shaping(DEVICES["beam_splitter"], 160.0, 40)
    found = even(jax.random.uniform(jax.random.key(1), (80, 50)), 4.0)
    np.testing.assert_allclose(found, found[::-1], atol=1e-12)
    np.testing.assert_allclose(found, found[:, ::-1], atol=1e-12)
    one = ps.shaping(DEVICES["power_splitter"], 160.0, 40)
    found = one(jax.random.uniform(jax.random.key(1), (40, 40)), 4.0)
    np.testing.assert_allclose(found, found[:, ::-1], atol=1e-12)
    assert float(jnp.max(jnp.abs(found - found[::-1]))) > 0.1


def test_a_small_run(tmp_path):
    """Of few steps: the loss falls a hundredfold; the design has pixels of 0 and 1, the widths and
    the border that are asked for, and the metric that is told; touches make it better."""
    config = Config(
        steps=8, sharpnesses=(4.0, 16.0), learning_rate=0.1, painted_steps=6, trials=6,
        wavelengths=(1270.0,),
    )  # fmt: skip
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    metrics, losses = result["metrics"], result["histories"]["bend"]["loss"]
    assert min(losses) < 0.01 * losses[0]
    design = np.loadtxt(tmp_path / "bend.csv", delimiter=",")
    assert design.shape == (40, 40) and set(np.unique(design)) == {0.0, 1.0}
    np.testing.assert_array_equal(design, design.T)
    border = np.asarray(ps.shaping(DEVICES["bend"], 160.0, 40).fixed)
    np.testing.assert_array_equal(design[~np.isnan(border)], border[~np.isnan(border)])
    made = referee(DEVICES["bend"], 40, config.wavelengths)
    powers, _ = made.powers(design)
    assert metric(made.edges, powers) == pytest.approx(metrics["bend.metric"])
    found = widths(design > 0.5, ps.surroundings(DEVICES["bend"], 40, 10))
    assert 40 * found.solid == metrics["bend.width_nm"] >= 120
    assert 40 * found.void == metrics["bend.spacing_nm"] >= 120
    assert metrics["bend.transmission"] > 0.05
    assert (tmp_path / "bend.png").stat().st_size > 5000


def test_larger_cells_first():
    """The image goes from cells of 40 nm to those of 20 nm at the sharpness `handed`."""
    config = Config(
        cell=20, coarse=2, steps=1, sharpnesses=(4.0, 8.0), handed=4.0, painted_steps=1, trials=0,
        wavelengths=(1270.0,),
    )  # fmt: skip
    found = pd.designed("bend", config)
    assert found.design.shape == (80, 80) and len(found.losses) == 3
    width = widths(found.design > 0.5, ps.surroundings(DEVICES["bend"], 20, 8))
    assert min(width) >= 6


def test_settings():
    for settings, message in (
        ({"challenges": ("ring",)}, "challenges must be of bend, .* got 'ring'"),
        ({"cell": 10, "coarse": 3}, "cell times coarse must be a divisor of 40, got 30"),
        ({"coarse": 2, "cell": 20, "handed": 2.0}, "the smallest of the sharpnesses, 4, got 2"),
        ({"sharpnesses": ()}, "sharpnesses must hold at least one, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**settings)
    Config(handed=2.0)  # does not matter without larger cells
