"""Gold: its data, its poles, and a cylinder of it."""

import numpy as np

from jaxpbdl.data.metals import Dispersion
from jaxpbdl.data.optical_constants import read_measured
from jaxpbdl.experiments.waves.gold_cylinder import EXPERIMENT, Config, efficiencies, extinctions
from jaxpbdl.solvers.waves import drude, lorentz

METAL = Dispersion(5.0, (drude(44.0, 0.3), lorentz(14.0, 1.5, 2.5)), 0.0)


def test_the_series_with_measured_gold(real_data):
    """Against values of 40 digits of another program."""
    gold = read_measured(real_data("optical-constants/Au_Johnson.yml"))
    config = Config(wavelengths=(0.5209, 0.6168))
    found = extinctions(config, gold.at(np.asarray(config.wavelengths)))
    np.testing.assert_allclose(found, [1.6098598474, 0.5883036099], rtol=1e-9)


def test_a_coarse_cylinder(real_data):
    """Scattering and absorption together, within some percent."""
    path = real_data("optical-constants/Au_Johnson.yml")
    config = Config(data=path, cells=16, layer=8, wavelengths=(0.5209, 0.5486), periods=10.0)
    assert EXPERIMENT.files(config) == [path]
    found = efficiencies(config, METAL)
    exact = extinctions(config, METAL.at(np.asarray(config.wavelengths)))
    np.testing.assert_allclose(found.scattering + found.absorption, exact, rtol=0.08)
    assert np.all(found.absorption > 0.15) and np.all(found.scattering > found.absorption)
