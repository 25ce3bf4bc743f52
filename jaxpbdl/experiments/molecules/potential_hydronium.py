"""A potential of hydronium, H3O+, from coupled-cluster energies alone.

32,141 geometries up to 21,000 cm^-1 above the minimum, through the inversion of the pyramid, of the
collection QM-22. What is trained, tested and chosen: see `potential_committee`.
"""

from dataclasses import replace

from jaxpbdl.data import find
from jaxpbdl.data.qm22 import read_qm22
from jaxpbdl.experiments.contract import Experiment
from jaxpbdl.experiments.molecules.potential_committee import Config, experiment_of

QUICK = Config(sizes=(100, 400), chosen=200)
FULL = Config(
    sizes=(100, 200, 400, 800, 1600),
    channels=32,
    training=replace(Config.training, updates=20_000),
)

EXPERIMENT = Experiment(
    name="potential-hydronium",
    summary="a committee of equivariant potentials learns hydronium from energies alone",
    presets={"quick": QUICK, "full": FULL},
    run=experiment_of(lambda config: read_qm22(find("hydronium", given=config.data))),
    files=lambda config: [find("hydronium", given=config.data)],
)
