"""Burgers' equation by a Fourier neural operator that has seen a few solutions, or none.

    du/dt + u du/dx = 0.02 d2u/dx2,  periodic on [0, 1], 64 points, t = 0 .. 1

From a random initial state the operator gives the states at 20 later times. It is trained on some
solutions, on the equation (what the spectral solver's step between two times leaves of the
histories it yields from initial states of which no solution is known), or on both: a
physics-informed neural operator (Li et al., arXiv:2111.03794). All are tested on the same 200
states.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import jaxpbdl as jp
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.operators.burgers import histories, initial, solver
from jaxpbdl.experiments.operators.histories import (
    ByFourier,
    Operator,
    answers,
    errors,
    picture,
)
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.learning import Samples, defect_loss, relative_l2_loss
from jaxpbdl.networks import FNO
from jaxpbdl.step import AnyStep

VISCOSITY, TIMES, TESTS = 0.02, 20, 200
SUBSTEPS = 2
"""Of the step in the loss; its own error over the whole time is 0.02 %. The data take 16."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the network and its training."""

    seed: int = 0
    solutions: Count = 20
    """Known solutions, drawn anew for each seed."""
    points: Count = 64
    modes: Count = 20
    width: Count = 32
    training: Training = Training(updates=1500, batch=16, learning_rate=3e-3)
    physics: Positive = 5.0
    """Weight of the equation in the loss, beside the relative error of the known solutions."""


class Both(eqx.Module):
    """Batches of known solutions and of new initial states."""

    known: Samples
    grid: jp.grids.Periodic

    def __call__(self, key: PRNGKeyArray) -> tuple[tuple[Array, Array], Array]:
        first, second = jax.random.split(key)
        return self.known(first), initial(second, self.known.batch, self.grid)


class Loss(eqx.Module):
    """`data` times the relative error on known solutions and `physics` times the defect of the
    histories from new states; a term of weight zero is not computed."""

    step: AnyStep
    data: float = eqx.field(static=True)
    physics: float = eqx.field(static=True)

    def __call__(self, operator: Operator, batch: tuple) -> Float[Array, ""]:
        known, states = batch
        total = jnp.zeros(())
        if self.data:
            total = total + self.data * relative_l2_loss(operator, known)
        if self.physics:
            total = total + self.physics * defect_loss(self.step, operator, states)
        return total


def run(config: Config, folder: Path) -> Result:
    """The same network and updates with the solutions, the equation, and both; a picture goes to
    `folder`."""
    grid = jp.grids.Periodic(config.points, 1.0)
    train_key, test_key = jax.random.split(jax.random.key(0))

    def solved(key: PRNGKeyArray, count: int) -> tuple[Array, Array]:
        found = histories(initial(key, count, grid), grid, VISCOSITY, TIMES, 16)
        return found[:, 0], found[:, 1:]

    known = solved(jax.random.fold_in(train_key, config.seed), config.solutions)
    states, truth = solved(test_key, TESTS)
    batches = Both(Samples(*known, batch=config.training.batch), grid)
    step = jp.repeat(solver(grid, VISCOSITY, 1 / (TIMES * SUBSTEPS)), SUBSTEPS, checkpoint=False)
    losses = {
        "data_only": Loss(step, 1.0, 0.0),
        "physics_only": Loss(step, 0.0, config.physics),
        "both": Loss(step, 1.0, config.physics),
    }
    start, fitting = jax.random.split(jax.random.key(config.seed))
    network = ByFourier(FNO(1, 1, TIMES, modes=config.modes, width=config.width, key=start))
    fits = {
        name: train(config.training, network, loss, batches, fitting, folder, name)
        for name, loss in losses.items()
    }
    given = {name: np.asarray(answers(each, states)) for name, (each, _) in fits.items()}
    right = np.asarray(truth)
    metrics = {
        f"{name}.relative_l2": float(np.mean(errors(answer, right)))
        for name, answer in given.items()
    }
    picture(given, right, folder)
    return Result(
        {**metrics, "relative_l2": metrics["both.relative_l2"]},
        histories={name: history.loss for name, (_, history) in fits.items()},
    )


EXPERIMENT = Experiment(
    name="pino-burgers",
    summary="a neural operator of Burgers' equation from a few solutions and the equation itself",
    presets={
        "quick": Config(),
        "full": Config(width=64, training=Training(updates=15_000, batch=16, learning_rate=3e-3)),
    },
    run=run,
)
