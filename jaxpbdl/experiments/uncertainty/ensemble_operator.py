"""An ensemble of learned time steps that knows how wrong it is.

    du/dt + u du/dx = 0.05 d2u/dx2,  periodic; states 0.1 apart, forecasts of 30 steps

Convolutional networks step the solution on; how their ensembles are trained and judged stands in
`forecasts.py`. Flows of another kind are those from starts with shorter waves or of twice the size.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.distributed import map_members
from jaxpbdl.equations import Burgers
from jaxpbdl.experiments.configuration import Count
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.uncertainty.forecasts import Ensembles, Flows, judged
from jaxpbdl.grids import Periodic
from jaxpbdl.initial_states import peaked, random_field
from jaxpbdl.learning import Emulator
from jaxpbdl.networks import ConvNet
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import semilinear

VISCOSITY, DT, SUBSTEPS = 0.05, 0.01, 10
STEPS = 30
PEAK = 2.0
"""Wavenumber of the starts' largest waves."""


@dataclass(frozen=True)
class Config(Ensembles):
    """Settings of the data, the networks and their training."""

    points: Count = 64
    train: Count = 200
    calibration: Count = 1500
    test: Count = 1500

    @property
    def calibrated(self) -> int:
        return self.calibration


class Conservative(eqx.Module):
    """A network whose output has no mean: the equation keeps that of its unknown."""

    network: ConvNet

    def __call__(self, state: Float[Array, "channels x"]) -> Float[Array, "1 x"]:
        change = self.network(state)
        return change - jnp.mean(change)


def trajectories(
    key: PRNGKeyArray, count: int, points: int, peak: float = PEAK, size: float = 1.0
) -> Float[Array, "count snapshots x"]:
    """True solutions from random starts."""
    grid = Periodic(points)
    solver = semilinear(Burgers(VISCOSITY), grid, DT)

    def one(key: PRNGKeyArray) -> Array:
        start = size * random_field(key, grid, peaked(peak))
        return rollout(solver, start, STEPS * SUBSTEPS, SUBSTEPS)

    return map_members(one, jax.random.split(key, count))


def run(config: Config, folder: Path) -> Result:
    """Train both ensembles and judge them; a picture goes to `folder`."""
    keys = jax.random.split(jax.random.key(1000), 5)
    sizes = (config.train, config.calibration, config.test)
    train, calibration, test = (
        trajectories(key, n, config.points) for key, n in zip(keys, sizes, strict=False)
    )
    strange = {
        "short_waves": trajectories(keys[3], 300, config.points, peak=2 * PEAK),
        "twice_the_size": trajectories(keys[4], 300, config.points, size=2.0),
    }
    solver = semilinear(Burgers(VISCOSITY), Periodic(config.points), DT)

    def emulator(key: PRNGKeyArray, more: int) -> Emulator:
        network = ConvNet(1, 1 + more, 1, width=config.width, depth=config.depth, key=key)
        return Emulator(Conservative(network), features=solver.channels)

    flows = Flows(train, calibration, test, strange)
    return judged(config, emulator, flows, DT * SUBSTEPS, folder)


EXPERIMENT = Experiment(
    name="ensemble-operator",
    summary="learned time steps whose spread is trained to equal their error, with bands",
    presets={"quick": Config(), "full": Config(members=8, width=32, updates=6000)},
    run=run,
)
