"""An ensemble of operators that knows how wrong it is: from a porous medium to its pressure.

    -div(a grad u) = 1 in the unit square,  u = 0 on its boundary

The media and pressures are those of `fno-darcy` with a grid of its own, the networks its Fourier
neural operators that vanish on the boundary, trained on all eight images of every sample. A
"forecast" is one application; how the ensembles are trained and judged stands in `forecasts.py`.
Media of another kind have a field of covariance `(-Laplace + 9)^-order` with another order: rough
(1.2) or smooth (4) where those of the training have 2.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, at_least
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.operators import darcy
from jaxpbdl.experiments.operators.fno_darcy import Pressure, images
from jaxpbdl.experiments.uncertainty.forecasts import Ensembles, Flows, judged
from jaxpbdl.learning import Emulator, checkpoint
from jaxpbdl.networks import FNO

STRANGE = {"rough": 1.2, "smooth": 4.0}
"""Orders of the covariance of media of another kind."""


@dataclass(frozen=True)
class Config(Ensembles):
    """Settings of the data, the networks and their training."""

    width: Count = 16
    depth: Count = 3
    updates: Count = 900
    batch: Count = 16
    learning_rate: Positive = 5e-3
    short: Count = 1
    long: Count = 1
    modes: Count = 6
    padding: NonNegative = 0.25
    points: Annotated[int, at_least(16)] = 17
    """A side, boundary included."""
    train: Count = 300
    calibration: Count = 1000
    test: Count = 1000
    strange: Count = 300
    """Media of each other kind."""

    @property
    def calibrated(self) -> int:
        return self.calibration


Pairs = Float[Array, "samples 2 n n"]


def pairs(key: PRNGKeyArray, count: int, points: int, order: float = 2.0) -> Pairs:
    """Media, -1 or 1, and their pressures, without the last row and column, where these vanish."""
    media, pressures = darcy.draw(key, count, points, order=order)
    sign = jnp.where(media > (darcy.HIGH + darcy.LOW) / 2, 1.0, -1.0)
    return jnp.stack([sign, pressures], axis=1)[:, :, :-1, :-1]


def as_channel(medium: Float[Array, "n n"]) -> Float[Array, "1 n n"]:
    """What the network sees."""
    return medium[None]


def replaced(medium: Float[Array, "n n"], pressure: Float[Array, "1 n n"]) -> Float[Array, "n n"]:
    """The pressure alone: the step has nothing to add it to."""
    return pressure.reshape(medium.shape).astype(medium.dtype)


def samples(config: Config) -> dict[str, Pairs]:
    """All parts, the pressure in units of its deviation over the training set."""
    keys = jax.random.split(jax.random.key(4000), 3 + len(STRANGE))
    sizes = {"train": config.train, "calibration": config.calibration, "test": config.test}
    found = {
        name: pairs(key, count, config.points)
        for key, (name, count) in zip(keys, sizes.items(), strict=False)
    }
    for key, (name, order) in zip(keys[3:], STRANGE.items(), strict=True):
        found[name] = pairs(key, config.strange, config.points, order)
    unit = jnp.asarray([1.0, jnp.std(found["train"][:, 1])])[:, None, None]
    return {name: part / unit for name, part in found.items()}


def run(config: Config, folder: Path) -> Result:
    """Train the ensembles and judge them; a picture goes to `folder`."""
    known = checkpoint.cached(folder / "data", lambda: samples(config))
    strange = {name: known[name] for name in STRANGE}
    flows = Flows(images(known["train"]), known["calibration"], known["test"], strange)

    def operator(key: PRNGKeyArray, more: int) -> Emulator:
        network = FNO(
            2, 1 + more, 1, modes=config.modes, width=config.width, depth=config.depth,
            padding=config.padding, coordinates=True, key=key,
        )  # fmt: skip
        return Emulator(Pressure(network), features=as_channel, change=replaced)

    return judged(config, operator, flows, 1.0, folder)


EXPERIMENT = Experiment(
    name="ensemble-darcy",
    summary="operators of Darcy flow whose spread is trained to equal their error, with bands",
    presets={
        "quick": Config(),
        "full": Config(members=8, width=24, depth=4, modes=8, train=1000, updates=6000),
    },
    run=run,
)
