"""Photonic design: the benches of the challenges, windows, projection, features, a small run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.waves import photonic_design as pd
from jaxpbdl.experiments.waves.photonic_design import DEVICES, EXPERIMENT, Config

pytestmark = pytest.mark.x64
CELLS = {
    "bend": ((108, 108), (312, 312)),
    "converter": ((116, 100), (344, 280)),
    "power_splitter": ((116, 100), (344, 280)),
    "beam_splitter": ((156, 116), (504, 344)),
}


@pytest.mark.parametrize("name", DEVICES)
def test_the_sizes_of_the_challenges(name):
    """Cells as published; the guides reach the design, between the layers nothing else is solid."""
    device = DEVICES[name]
    for cell, shape in zip((40, 10), CELLS[name], strict=True):
        density, design = pd.background(device, cell)
        assert density.shape == shape
        assert density[design].shape == tuple(n // cell for n in device.size)
        assert density[design].max() == 0
        solid = 400 // cell
        x, y = design
        ends = {
            (0, -1): density[x.start - 1, y], (0, 1): density[x.stop, y],
            (1, -1): density[x, y.start - 1], (1, 1): density[x, y.stop],
        }  # fmt: skip
        for end, line in ends.items():
            guides = [one for one in device.guides if (one.axis, one.side) == end]
            assert line.sum() == solid * len(guides)
            for guide in guides:
                place = np.arange(len(line)) + 0.5 - len(line) / 2
                near = abs(place * cell - guide.beside) < 200
                assert np.all(line[near] == 1)


def test_what_the_referee_measures():
    """A straight guide where the converter would be: all goes through, in the mode that came in;
    the powers of a bare bend are those of invrs-gym 1.6.2 to a part in a thousand."""
    device = DEVICES["converter"]
    straight = np.zeros((40, 40))
    straight[:, 15:25] = 1.0
    powers, _ = pd.judged(device, 40, (1270.0,), straight)
    assert powers[0, 1] < 1e-6 and powers[0, 0] < 1e-3
    same = device.__class__(device.size, device.beside, (device.guides[0], pd.Guide(0, 1)),
                            device.lower, device.upper)  # fmt: skip
    powers, field = pd.judged(same, 40, (1270.0,), straight)
    assert powers[0, 1] == pytest.approx(1.0, abs=2e-3) and powers[0, 0] < 1e-3
    assert field.shape == (116, 100)
    edge = np.zeros((40, 40))
    edge[:25, 15:25] = edge[15:25, :25] = 1.0
    powers, _ = pd.judged(DEVICES["bend"], 40, (1270.0, 1290.0), edge)
    np.testing.assert_allclose(powers, REFEREE, rtol=2e-3, atol=1e-5)


REFEREE = [[0.15189, 0.00318], [0.15933, 0.00372]]
"""|S11|^2 and |S21|^2 of a square corner at 1270 and 1290 nm."""


def test_windows():
    """The metric as the challenges define it, of figures by hand."""
    bend, splitter = DEVICES["bend"], DEVICES["beam_splitter"]
    good = np.array([[0.002, 0.95], [0.004, 0.99]])
    edge = 10**-0.05
    assert pd.metric(bend, good) == pytest.approx((0.95 - edge) / (1 - edge))
    assert pd.metric(bend, good + [[0.0, 0.0], [0.0085, 0.0]]) == pytest.approx(-0.25)
    low = 10**-0.35
    powers = np.array([[0.0, 0.5, low + 0.01, 0.003]])
    assert pd.metric(splitter, powers) == pytest.approx(0.01 / (1 - 2 * low))
    assert pd.metric(splitter, powers[:, ::-1] * [[1, 1, 1, 3]]) < 0.1
    found = float(pd.loss(bend, jnp.asarray([0.0225, 0.5])))
    d = np.array([0.15 - 0.1, edge**0.5 - 0.5**0.5]) / 0.01
    assert found == pytest.approx(np.sum(np.log1p(np.exp(d)) ** 2))


def test_the_way_from_image_to_density():
    """A cone of weight one; rising sharpness; symmetry; the border as outside; the gradient."""
    kernel = pd.cone(3.0)
    assert kernel.shape == (5, 5) and kernel.sum() == pytest.approx(1.0)
    assert kernel[2, 2] / kernel[2, 3] == pytest.approx(3 / 2)
    assert pd.cone(1.0).shape == (1, 1)
    device, config = DEVICES["bend"], Config()
    shape = pd.shaping(device, config, 40)
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
    even = pd.shaping(DEVICES["beam_splitter"], config, 40)
    found = even(jax.random.uniform(jax.random.key(1), (80, 50)), 4.0)
    np.testing.assert_allclose(found, found[::-1], atol=1e-12)
    np.testing.assert_allclose(found, found[:, ::-1], atol=1e-12)
    one = pd.shaping(DEVICES["power_splitter"], config, 40)
    found = one(jax.random.uniform(jax.random.key(1), (40, 40)), 4.0)
    np.testing.assert_allclose(found, found[:, ::-1], atol=1e-12)
    assert float(jnp.max(jnp.abs(found - found[::-1]))) > 0.1


def test_smallest_features():
    for width in (3, 4, 7):
        image = np.zeros((40, 40), bool)
        image[10 : 10 + width] = True
        assert pd.smallest(image) == width
        assert pd.smallest(image.T) == width
        image[30:38, 5:38] = True
        assert pd.smallest(image) == width
    image = np.zeros((40, 40), bool)
    image[:20] = True
    image[20, 7] = True  # a pixel at an edge is forgiven
    assert pd.smallest(image) > 15
    image[25:27, 20:22] = True
    assert pd.smallest(image) == 2


def test_a_small_run(tmp_path):
    """Of few steps: the loss falls a hundredfold, the design is kept as pixels of 0 and 1."""
    config = Config(steps=8, sharpnesses=(4.0, 16.0), learning_rate=0.1)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    metrics, losses = result["metrics"], result["histories"]["bend"]["loss"]
    assert min(losses) < 0.01 * losses[0]
    design = np.loadtxt(tmp_path / "bend.csv", delimiter=",")
    assert design.shape == (40, 40) and set(np.unique(design)) == {0.0, 1.0}
    np.testing.assert_array_equal(design, design.T)
    powers, _ = pd.judged(DEVICES["bend"], 40, config.wavelengths, design)
    assert pd.metric(DEVICES["bend"], powers) == pytest.approx(metrics["bend.metric"])
    assert metrics["bend.width_nm"] % 40 == 0 and metrics["bend.transmission"] > 0.05
    assert (tmp_path / "bend.png").stat().st_size > 5000


def test_settings():
    with pytest.raises(ValueError, match="devices must be of bend, .* got 'ring'"):
        Config(devices=("ring",))
    with pytest.raises(ValueError, match="cell times coarse must be a divisor of 40, got 30"):
        Config(cell=10, coarse=3)
