"""An ensemble of corrected solvers of turbulence that knows how wrong it is.

The flow, its solver on 32² points and the network that corrects it after each interval are those of
`turbulence-correction`; the truth is the solver on 64² points, filtered. Long trajectories of
developed turbulence are cut into forecasts of 4 units of time, those of the calibration, the test
and the training from trajectories of their own. How the ensembles are trained and judged stands in
`forecasts.py`. Flows of another kind are those at half and at twice the viscosity.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.experiments.configuration import Count
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.turbulence.data import simulate
from jaxpbdl.experiments.turbulence.setting import Config as Turbulence
from jaxpbdl.experiments.turbulence.training import Features, correction
from jaxpbdl.experiments.uncertainty.forecasts import Ensembles, Flows, judged
from jaxpbdl.grids import Periodic
from jaxpbdl.learning import Corrected, checkpoint

STEPS = 20
"""Intervals in a forecast."""
GAP = 5
"""Intervals between two forecasts of one trajectory."""


@dataclass(frozen=True)
class Config(Ensembles):
    """Settings of the data, the networks and their training."""

    width: Count = 16
    updates: Count = 400
    batch: Count = 8
    short: Count = 2
    long: Count = 6
    coarse: Count = 32
    fine: Count = 64
    trajectories: Count = 32
    """Of the calibration, and of the test."""
    forecasts: Count = 15
    """From each of them."""
    train: Count = 16

    @property
    def calibrated(self) -> int:
        return self.trajectories * self.forecasts

    @property
    def turbulence(self) -> Turbulence:
        return Turbulence(
            coarse=self.coarse, fine=self.fine, reference=self.fine, width=self.width,
            depth=self.depth,
        )  # fmt: skip


def cut(trajectories: Array, count: int) -> Float[Array, "forecasts times nx ny"]:
    """`count` forecasts of each trajectory, one behind the other."""
    stride = STEPS + GAP
    starts = [trajectories[:, i * stride : i * stride + STEPS + 1] for i in range(count)]
    return jnp.concatenate(starts)


def flows(config: Config) -> Flows:
    """The flows of all parts."""
    turbulence = config.turbulence
    keys = jax.random.split(jax.random.key(2000), 5)

    def simulated(key: PRNGKeyArray, count: int, cuts: int, viscosity: float) -> Array:
        time = turbulence.interval * ((STEPS + GAP) * cuts - GAP)
        flow = replace(turbulence, viscosity=viscosity)
        return simulate(flow, key, count, time, config.fine)[0]

    count, cuts, viscosity = config.trajectories, config.forecasts, turbulence.viscosity
    calibration, test = (
        cut(simulated(key, count, cuts, viscosity), cuts) for key in (keys[0], keys[1])
    )
    strange = {
        name: cut(simulated(key, count, 2, factor * viscosity), 2)
        for name, key, factor in (
            ("half_the_viscosity", keys[2], 0.5),
            ("twice_the_viscosity", keys[3], 2.0),
        )
    }
    train = simulated(keys[4], config.train, 5, viscosity)
    return Flows(train, calibration, test, strange)


def run(config: Config, folder: Path) -> Result:
    """Train both ensembles and judge them; a picture goes to `folder`."""
    turbulence = config.turbulence
    known = checkpoint.cached(folder / "data", lambda: vars(flows(config)))
    known = Flows(**known)
    solver, _ = turbulence.solver(config.coarse, turbulence.keep, turbulence.substeps)
    features = Features(Periodic((config.coarse,) * 2), jnp.std(known.train))

    def hybrid(key: PRNGKeyArray, more: int) -> Corrected:
        return correction(turbulence, features, solver, turbulence.substeps, key, more)

    return judged(config, hybrid, known, turbulence.interval, folder)


EXPERIMENT = Experiment(
    name="ensemble-turbulence",
    summary="corrected solvers of turbulence whose spread is trained to equal their error",
    presets={"quick": Config(), "full": Config(members=8, width=24, depth=5, updates=2000)},
    run=run,
)
