"""Photonic challenges: their benches, what the referee measures, windows."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.waves import photonic_devices as pd
from jaxpbdl.experiments.waves.photonic_devices import DEVICES

pytestmark = pytest.mark.x64
CELLS = {
    "bend": ((108, 108), (312, 312)),
    "converter": ((116, 100), (344, 280)),
    "power_splitter": ((116, 100), (344, 280)),
    "beam_splitter": ((156, 116), (504, 344)),
    "demultiplexer": ((156, 140), (504, 440)),
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
    the powers of a bare bend are those of invrs-gym 1.6.2 to two parts in a thousand."""
    device = DEVICES["converter"]
    straight = np.zeros((40, 40))
    straight[:, 15:25] = 1.0
    powers, _ = pd.referee(device, 40, (1270.0,)).powers(straight)
    assert powers[0, 1] < 1e-6 and powers[0, 0] < 1e-3
    same = device.__class__(device.size, device.beside, (device.guides[0], pd.Guide(0, 1)),
                            device.lower, device.upper)  # fmt: skip
    powers, field = pd.referee(same, 40, (1270.0,)).powers(straight)
    assert powers[0, 1] == pytest.approx(1.0, abs=2e-3) and powers[0, 0] < 1e-3
    assert field.shape == (116, 100)
    edge = np.zeros((40, 40))
    edge[:25, 15:25] = edge[15:25, :25] = 1.0
    powers, _ = pd.referee(DEVICES["bend"], 40, (1270.0, 1290.0)).powers(edge)
    np.testing.assert_allclose(powers, REFEREE, rtol=2e-3, atol=1e-5)


REFEREE = [[0.15189, 0.00318], [0.15933, 0.00372]]
"""|S11|^2 and |S21|^2 of a square corner at 1270 and 1290 nm."""


def test_windows():
    """The metric as the challenges define it, of figures by hand."""
    two = (1270.0, 1290.0)
    bend, splitter = (pd.power_windows(DEVICES[name], two) for name in ("bend", "beam_splitter"))
    good = np.array([[0.002, 0.95], [0.004, 0.99]])
    edge = 10**-0.05
    assert pd.metric(bend, good) == pytest.approx((0.95 - edge) / (1 - edge))
    assert pd.metric(bend, good + [[0.0, 0.0], [0.0085, 0.0]]) == pytest.approx(-0.25)
    low = 10**-0.35
    powers = np.array([[0.0, 0.5, low + 0.01, 0.003]] * 2)
    assert pd.metric(splitter, powers) == pytest.approx(0.01 / (1 - 2 * low))
    assert pd.metric(splitter, powers[:, ::-1] * [[1, 1, 1, 3]]) < 0.1
    one = pd.PowerWindows(bend.lower[0], bend.upper[0])
    found = float(pd.loss(one, jnp.asarray([0.0225, 0.5])))
    d = np.array([0.15 - 0.1, edge**0.5 - 0.5**0.5]) / 0.01
    assert found == pytest.approx(np.sum(np.log1p(np.exp(d)) ** 2))
    worst = pd.metric(pd.PowerWindows(bend.lower[:1], bend.upper[:1]), np.array([[0.0225, 0.5]]))
    assert -worst < float(pd.shortfall(one, jnp.asarray([0.0225, 0.5]))) < -worst + pd.SOFT
    # The demultiplexer: the long wavelength leaves by the other port.
    half = 10**-0.3
    parted = np.array([[0.0, half + 0.1, 0.001], [0.0, 0.002, half + 0.2]])
    edges = pd.power_windows(DEVICES["demultiplexer"], two)
    assert pd.metric(edges, parted) == pytest.approx(0.1 / (1 - half))
    assert pd.metric(edges, parted[::-1]) < -1


def test_slopes_of_a_design():
    """Those of the losses, by differences; the powers of `powers`."""
    made = pd.referee(DEVICES["power_splitter"], 40, (1270.0, 1290.0))
    design = np.random.default_rng(0).uniform(size=(40, 40))
    losses, powers, slopes = made.slopes(design, pd.shortfall)
    assert losses.shape == (2,) and slopes.shape == (2, 40, 40)
    np.testing.assert_allclose(powers, made.powers(design)[0], rtol=1e-10)
    way, size = np.random.default_rng(1).normal(size=design.shape), 1e-4
    ahead, behind = (made.slopes(design + sign * size * way, pd.shortfall)[0] for sign in (1, -1))
    np.testing.assert_allclose(
        np.tensordot(slopes, way, 2), (ahead - behind) / (2 * size), rtol=1e-4
    )
