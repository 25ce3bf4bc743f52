"""What networks in a turbulence solver share: what they see, and the fit of an ensemble."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.diagnostics import velocity
from jaxpbdl.experiments.turbulence.setting import Config
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.learning import Corrected, Windows, fit_ensemble, members, unrolled
from jaxpbdl.networks import ConvNet
from jaxpbdl.step import AnyStep, Step


class Features(eqx.Module):
    """What the network sees of a state: vorticity and velocity, of order one."""

    grid: Periodic
    scale: Array

    def __call__(self, vorticity: Float[Array, "nx ny"]) -> Float[Array, "3 nx ny"]:
        channels = vorticity / self.scale
        return jnp.concatenate([channels[None], velocity(vorticity, self.grid)])


def network(config: Config, channels: int, key: PRNGKeyArray, more: int = 0) -> ConvNet:
    """From the three features, and `more` that others give, to `channels`, at first zero."""
    width, depth = config.width, config.depth
    return ConvNet(2, 3 + more, channels, width=width, depth=depth, zero_last=True, key=key)


def correction(
    config: Config,
    features: Features,
    solver: Step,
    substeps: int,
    key: PRNGKeyArray,
    more: int = 0,
) -> Corrected:
    """A solver whose state a network corrects after each interval."""
    return Corrected(
        solver,
        network(config, 1, key, more),
        scale=features.scale * config.interval,
        features=features,
        substeps=substeps,
    )


def train_ensemble(
    config: Config,
    folder: Path,
    train: Array,
    scale: Array,
    make: Callable[[PRNGKeyArray], AnyStep],
    count: int,
    key: PRNGKeyArray,
    name: str,
) -> tuple[list[AnyStep], dict[str, np.ndarray]]:
    """An ensemble from `make`, first on single steps, then unrolled; the learning rate decays in
    each. With the losses of each member, both stages one after the other.
    """

    def loss(model: AnyStep, windows: Array) -> Array:
        return unrolled(model, windows) / scale**2

    training = config.training
    stages = [("single steps", 1, 2 * training.batch, config.pretraining)]
    stages += [("unrolled", config.unroll, training.batch, training.updates)]
    models: list[AnyStep] = []
    losses: dict[str, np.ndarray] = {f"{name}_{i}": np.empty(0) for i in range(count)}
    for stage, steps, batch, updates in stages:
        if not updates:
            continue
        stacked, histories = fit_ensemble(
            models or make,
            loss,
            Windows(train, steps, batch),
            replace(training, updates=updates).optimiser(),
            updates,
            keys=jax.random.split(jax.random.fold_in(key, steps), count),
            ema=training.average,
            folder=folder / "checkpoints" / f"{name}-{steps}",
            name=f"{name}, {stage}",
        )
        models = members(stacked)
        pairs = zip(losses.items(), histories, strict=True)
        losses = {member: np.append(loss, history.loss) for (member, loss), history in pairs}
    return models, losses
