"""A potential of methane from B3LYP energies and gradients: committees on 50 geometries and more.

9,000 geometries up to 15,000 cm^-1 above the minimum (Nandi, Qu and Bowman, J. Chem. Theory Comput.
15 (2019) 2826). What is trained, tested and chosen: see `potential_committee`.
"""

from dataclasses import replace

from jaxpbdl.data import find
from jaxpbdl.data.qm22 import read_qm22
from jaxpbdl.experiments.contract import Experiment
from jaxpbdl.experiments.molecules.potential_committee import Config, experiment_of

QUICK = Config(sizes=(50, 100, 200), chosen=100, training=replace(Config.training, updates=800))
FULL = Config(
    sizes=(50, 100, 200, 400, 800, 1600),
    channels=32,
    training=replace(Config.training, updates=10_000),
)

EXPERIMENT = Experiment(
    name="potential-methane",
    summary="a committee of equivariant potentials learns methane and picks its geometries",
    presets={"quick": QUICK, "full": FULL},
    run=experiment_of(lambda config: read_qm22(find("methane", given=config.data))),
    files=lambda config: [find("methane", given=config.data)],
)
