"""Burgers' equation by neural operators, beside the solver that knows the equation.

    du/dt + u du/dx = 0.01 d2u/dx2,  periodic on [0, 1], 16 points, t = 0 .. 1

From the initial state each method gives the states at 16 later times: a Fourier neural operator
(the times are its channels), a DeepONet (a field of position and time), a DeepONet whose trunk are
the principal modes of the data. 800 samples to train on, 400 to test on; the files are those of
the package neuraloperator. The spectral solver at the same 16 points learns nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

import jaxpbdl as jp
from jaxpbdl import checks
from jaxpbdl.data import find
from jaxpbdl.data.archive import arrays
from jaxpbdl.experiments.configuration import Count, NonNegativeInt, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.operators.histories import (
    ByFourier,
    History,
    Operator,
    answers,
    errors,
    picture,
)
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.learning import Samples, relative_l2_loss
from jaxpbdl.networks import FNO, DeepONet, PODDeepONet, principal_modes

VISCOSITY = 0.01


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the networks and their training."""

    seed: int = 0
    data: Path | None = None
    """The samples as npz; else looked for in the folder JAXPBDL_DATA."""
    width: Count = 32
    """Channels of the Fourier operator; the dense networks are four times as wide."""
    rank: Count = 32
    training: Training = Training(updates=1500, batch=32, learning_rate=3e-3)
    validation: NonNegativeInt = 0
    """Samples at the end of the training file that are not trained on; the errors are those of
    them, in place of the test set."""


class ByField(eqx.Module):
    """`u(t_i, x) = u_0(x) + field(x, t_i)` with the field of a DeepONet, periodic in x."""

    network: DeepONet
    times: int = eqx.field(static=True)

    def __call__(self, state: Array) -> History:
        field, n = self.network(state), len(state)

        def value(t: Array, x: Array) -> Array:
            turn = 2 * jnp.pi * x
            waves = [f(k * turn) for k in range(1, 5) for f in (jnp.cos, jnp.sin)]
            return field(jnp.stack([*waves, t]))[0]

        rows = jax.vmap(jax.vmap(value, (None, 0)), (0, None))
        return state + rows(jnp.arange(1, self.times + 1) / self.times, jnp.arange(n) / n)


class Shifted(eqx.Module):
    """Samples, each shifted by a random number of points: the equation knows no origin."""

    samples: Samples

    def __call__(self, key: PRNGKeyArray) -> tuple[Array, Array]:
        which, far = jax.random.split(key)
        states, histories = self.samples(which)
        shifts = jax.random.randint(far, (len(states),), 0, states.shape[-1])
        roll = jax.vmap(lambda values, shift: jnp.roll(values, shift, -1))
        return roll(states, shifts), roll(histories, shifts)


def solver(points: int, times: int) -> Operator:
    """The equation itself, eight steps between two times."""
    grid = jp.grids.Periodic((points,), lengths=(1.0,))
    step = jp.solvers.spectral.semilinear(jp.equations.Burgers(VISCOSITY), grid, 1 / (8 * times))
    return lambda state: jp.rollout(step, state, 8 * times, 8)[1:]


def read(path: Path) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """`(initial states, later states)` of the training and of the test set."""
    names = [f"burgers_{part}_16_{kind}" for part in ("train", "test") for kind in "xy"]
    found = arrays(path, tuple(names))
    x, y, test_x, test_y = (jnp.asarray(found[name]) for name in names)
    for states, histories in ((x, y), (test_x, test_y)):
        if histories.ndim != 3 or states.shape != histories[:, 0].shape:
            raise checks.DataError(
                f"{path}: states (samples, n) and histories (samples, times, n) do not fit, found "
                f"{states.shape} and {histories.shape}"
            )
    return (x, y[:, 1:]), (test_x, test_y[:, 1:])


def run(config: Config, folder: Path) -> Result:
    """Train the three operators and test all methods; a picture goes to `folder`."""
    (states, histories), test = read(find("burgers-small", given=config.data))
    known = len(states) - config.validation
    if known < 1:
        raise ValueError(
            f"validation must be below the {len(states)} samples, got {config.validation}"
        )
    if config.validation:
        test = states[known:], histories[known:]
    states, histories = states[:known], histories[:known]
    times, points = histories.shape[1:]

    keys = jax.random.split(jax.random.key(config.seed), 3)
    wide, rank = (4 * config.width,) * 2, config.rank
    modes = principal_modes(histories, min(rank, known))
    networks = {
        "fno": ByFourier(
            FNO(1, 1, times, modes=(points + 1) // 2, width=config.width, key=keys[0])
        ),
        "deeponet": ByField(
            DeepONet(points, 9, branch=wide, trunk=wide, rank=rank, activation=jax.nn.gelu,
                     key=keys[1]), times,
        ),
        "pod_deeponet": PODDeepONet(
            points, *modes, branch=wide, activation=jax.nn.gelu, key=keys[2]
        ),
    }  # fmt: skip
    batches = Shifted(Samples(states, histories, batch=config.training.batch))
    operators: dict[str, Operator] = {
        "persistence": lambda state: jnp.broadcast_to(state, (times, points)),
        "solver": solver(points, times),
    }
    losses = {}
    for name, network in networks.items():
        key = jax.random.key(config.seed + 1)
        operators[name], history = train(
            config.training, network, relative_l2_loss, batches, key, folder, name
        )
        losses[name] = history.loss
    given = {name: np.asarray(answers(each, test[0])) for name, each in operators.items()}
    metrics = {
        f"{name}.relative_l2": float(np.mean(errors(answer, np.asarray(test[1]))))
        for name, answer in given.items()
    }
    picture(given, np.asarray(test[1]), folder)
    return Result(metrics, histories=losses)


EXPERIMENT = Experiment(
    name="operators-burgers",
    summary="FNO, DeepONet and its POD form learn Burgers' equation, beside the solver",
    presets={
        "quick": Config(),
        "full": Config(
            width=64,
            rank=64,
            training=Training(updates=15_000, batch=32, learning_rate=3e-3),
        ),
    },
    run=run,
    files=lambda config: [find("burgers-small", given=config.data)],
)
