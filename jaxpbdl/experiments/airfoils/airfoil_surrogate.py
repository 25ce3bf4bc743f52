"""Networks that give the flow about airfoils they have not seen, and say how sure they are.

From the place of the body and the Reynolds number to mean pressure and velocity, the task of the
book's surrogate, here on laminar flows of the toolkit's own solver (`data.py`): an ensemble of
U-Nets and a Fourier neural operator, trained with the L1 loss. The networks give the departure from
the stream; the flow about the mirrored airfoil is the mirrored flow, so every sample counts twice.

No test outline lies within `separation` chords of one that training or validation has seen. Errors
are those of `errors`; beside them stand those of the stream itself and of two plain methods at
their best settings (`baselines.py`). Networks and plain methods alike are chosen on the validation
set. Drag and lift follow from the predicted fields by a balance of momentum.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl.data import find
from jaxpbdl.data.airfoils import distances
from jaxpbdl.experiments.airfoils.baselines import (
    KernelRidge,
    Known,
    Method,
    Neighbours,
    tuned,
)
from jaxpbdl.experiments.airfoils.data import PARTS, Flows, Setting, read_or_make
from jaxpbdl.experiments.airfoils.report import (
    STREAM,
    deviation_metrics,
    errors,
    force_errors,
    picture,
)
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import Samples, fit, fit_ensemble, members
from jaxpbdl.networks import FNO, UNet, parameter_count

BOOK = (
    "Physics-Based Deep Learning book, a U-Net of 585,027 weights on another data set: turbulent "
    "RANS flows at 128 x 128, 320 to learn from; mean L1 of its normalised fields"
)

Network = Callable[[Float[Array, "3 nx ny"]], Float[Array, "3 nx ny"]]


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in chords, times in chords over the speed of the stream."""

    seed: int = 0
    data: Path | None = None
    """The zip of airfoil coordinates; else looked for in the folder JAXPBDL_DATA."""
    flows: Path | None = None
    """The computed flows (HDF5), written there if the file is absent; else in the run folder."""
    cells: tuple[int, int] = (96, 64)
    reynolds: tuple[float, float] = (100.0, 400.0)
    """Range of the chord Reynolds number, drawn evenly."""
    angles: tuple[float, float] = (-10.0, 15.0)
    """Range of the angle of attack in degrees."""
    duration: Positive = 9.0
    """Of a flow; the last third is averaged."""
    train: Count = 120
    """Flows of the training, the validation and the test set, one an airfoil."""
    validation: Count = 16
    test: Count = 24
    separation: Positive = 0.02
    """The smallest distance between outlines of different sets, in chords: what differs by less is
    the same airfoil to a grid of 24 cells a chord."""
    members: Annotated[int, at_least(2)] = 3
    width: Count = 12
    """Channels of the U-Net's finest level, which has half the cells along each axis."""
    levels: Count = 3
    modes: Count = 12
    channels: Count = 12
    """Of the Fourier neural operator."""
    depth: Count = 3
    training: Training = Training(
        updates=1000, batch=4, learning_rate=3e-3, warmup_fraction=0.05, average=None
    )

    def __post_init__(self):
        super().__post_init__()
        smallest = (48, max(30, 2 ** (self.levels + 1)))
        if any(n < m or n % 2 for n, m in zip(self.cells, smallest, strict=True)):
            raise ValueError(
                f"cells must be even and at least {smallest[0]} by {smallest[1]} for airfoils and "
                f"{self.levels} levels, got {self.cells}"
            )
        if self.modes > min(self.cells) // 2:
            raise ValueError(f"modes must be at most half the cells, got {self.modes}")
        if not 0 < self.reynolds[0] <= self.reynolds[1] <= 1000:
            raise ValueError(
                f"reynolds must be a range within 0..1000, laminar, got {self.reynolds}"
            )
        if not -25 <= self.angles[0] <= self.angles[1] <= 25:
            raise ValueError(f"angles must be a range within -25..25 degrees, got {self.angles}")

    @property
    def setting(self) -> Setting:
        counts = (self.train, self.validation, self.test)
        return Setting(
            self.cells, self.reynolds, self.angles, self.duration, counts, self.separation
        )


class Masked(eqx.Module):
    """A network that gives zero within the body: its first input channel is 1 in the fluid."""

    network: Network

    def __call__(self, known: Float[Array, "3 nx ny"]) -> Float[Array, "3 nx ny"]:
        return known[0] * self.network(known)


class Patched(eqx.Module):
    """A network on squares of two by two cells, whose values lie side by side in its channels: as
    many numbers in and out, at a quarter of the points."""

    network: Callable[[Array], Array]

    def __call__(self, known: Float[Array, "c nx ny"]) -> Float[Array, "d nx ny"]:
        channels, nx, ny = known.shape
        squares = known.reshape(channels, nx // 2, 2, ny // 2, 2).transpose(0, 2, 4, 1, 3)
        answer = self.network(squares.reshape(4 * channels, nx // 2, ny // 2))
        cells = answer.reshape(-1, 2, 2, nx // 2, ny // 2).transpose(0, 3, 1, 4, 2)
        return cells.reshape(-1, nx, ny)


class Validation(eqx.Module):
    """The L1 loss over a part of the data, one sample after another."""

    inputs: Array
    outputs: Array

    def __call__(self, model: Network) -> Array:
        alone = lambda pair: l1_loss(model, (pair[0][None], pair[1][None]))  # noqa: E731
        return jnp.mean(jax.lax.map(alone, (self.inputs, self.outputs)))


def l1_loss(model: Network, pairs: tuple[Array, Array]) -> Float[Array, ""]:
    """The mean distance in units of each channel's mean departure from the stream."""
    inputs, outputs = pairs
    return jnp.mean(jnp.abs(jax.vmap(model)(inputs) - outputs))


def inputs_of(flows: Flows) -> Float[np.ndarray, "n 3 nx ny"]:
    """What a network sees: fluid or body, the signed distance in chords, the Reynolds number."""
    number = np.log(flows.reynolds / 200)[:, None, None] * np.ones_like(flows.distance)
    return np.stack([flows.fluid, flows.distance, number], axis=1)


def outputs_of(flows: Flows, scale: Float[np.ndarray, "3 1 1"]) -> Float[np.ndarray, "n 3 nx ny"]:
    """Departures from the stream in units of `scale`, zero within the body."""
    return (flows.fields - STREAM) * flows.fluid[:, None] / scale


def mirrored(fields: np.ndarray, signs: tuple[int, int, int]) -> np.ndarray:
    """Fields `(n, 3, nx, ny)` and after them their images upside down, channels with their sign."""
    return np.concatenate([fields, fields[..., ::-1] * np.reshape(signs, (3, 1, 1))])


def files(config: Config) -> list[Path]:
    """What is read: the file of flows if it is there, else the coordinates to compute them from."""
    if config.flows is not None and config.flows.exists():
        return [config.flows]
    return [find("airfoils", given=config.data)]


def run(config: Config, folder: Path) -> Result:
    """Compute or read the flows, train, test; a picture goes to `folder`."""
    parts = read_or_make(config.flows or folder / "flows.h5", config.data, config.setting)
    train, validation_flows, test = (parts[name] for name in PARTS)
    departures = np.abs(outputs_of(train, np.ones((3, 1, 1), np.float32)))
    scale = departures.mean(axis=(0, 2, 3), keepdims=True)[0]
    unet, fno, losses = trained(config, train, validation_flows, scale, folder)
    known = Known(train)
    plain = {
        name: tuned(start, known, validation_flows, scale)
        for name, start in (("neighbours", Neighbours()), ("kernel_ridge", KernelRidge()))
    }
    for name, method in plain.items():
        print(f"chosen on the validation set, {name}: {method}")

    networks = {"unet": members(unet), "fno": [fno]}
    validation = _predictions(networks, plain, known, validation_flows, scale)
    answers = _predictions(networks, plain, known, test, scale)
    metrics = metrics_of(config.setting, answers, test, scale)
    for name, each in validation.items():
        metrics[f"{name}.validation"] = errors(each.mean(axis=0), validation_flows)["relative_l1"]
    for name, (first, *_) in networks.items():
        metrics[f"{name}.weights"] = parameter_count(first)
    nearest = [distances(shape, train.shape).min() for shape in test.shape]
    metrics |= {
        "nearest_outline_smallest": float(np.min(nearest)),
        "nearest_outline_median": float(np.median(nearest)),
    }
    print(
        f"from a test outline to the nearest training one: {np.min(nearest):.4f} chords at the "
        f"smallest, {np.median(nearest):.4f} in the median"
    )
    picture(answers["unet"], test, folder)
    return Result(metrics, {"relative_l1": Published(0.026288, BOOK)}, losses)


def _predictions(
    networks: dict[str, list[Network]],
    plain: dict[str, Method],
    known: Known,
    flows: Flows,
    scale: np.ndarray,
) -> dict[str, Float[np.ndarray, "members n 3 nx ny"]]:
    """Of each method, by its members."""
    inputs, apart = jnp.asarray(inputs_of(flows)), known.apart(flows)
    found = {
        name: np.stack([_fields(model, inputs, scale) for model in models])
        for name, models in networks.items()
    }
    found |= {
        name: known.answer(method, apart, flows.fluid)[None] for name, method in plain.items()
    }
    found["stream"] = np.broadcast_to(STREAM, flows.fields.shape)[None]
    return found


def metrics_of(
    setting: Setting,
    answers: dict[str, Float[np.ndarray, "members n 3 nx ny"]],
    test: Flows,
    scale: np.ndarray,
) -> dict[str, float]:
    """Errors of the members' mean; of several members their standard deviation and mean error.

    Arguments:
        setting: of the flows.
        answers: predicted fields of each method, by its members.
        test: the flows themselves.
        scale: the unit of each channel in the standard deviation.
    """
    metrics: dict[str, float] = {}
    for name, each in answers.items():
        answer = each.mean(axis=0)
        metrics |= {f"{name}.{what}": value for what, value in errors(answer, test).items()}
        if name != "stream":
            forces = force_errors(setting, answer, test)
            metrics |= {f"{name}.{what}": value for what, value in forces.items()}
        if len(each) > 1:
            alone = [errors(one, test)["relative_l1"] for one in each]
            metrics[f"{name}.relative_l1_of_members"] = float(np.mean(alone))
            metrics |= {
                f"{name}.{what}": v for what, v in deviation_metrics(each, test, scale).items()
            }
    metrics["relative_l1"] = metrics["unet.relative_l1"]
    exact = force_errors(setting, test.fields, test)
    metrics |= {f"solver.{what}": value for what, value in exact.items()}
    metrics["unsteady"] = float(np.mean(test.unsteadiness > 0.01))
    return metrics


def trained(
    config: Config, train: Flows, validation_flows: Flows, scale: np.ndarray, folder: Path
) -> tuple[PyTree, Network, dict[str, np.ndarray]]:
    """The U-Nets, stacked, and the FNO, each as it was best on the validation set, and the losses
    of each fit."""
    batches = Samples(
        mirrored(inputs_of(train), (1, 1, 1)),
        mirrored(outputs_of(train, scale), (1, 1, -1)),
        batch=config.training.batch,
    )
    validate = Validation(
        jnp.asarray(inputs_of(validation_flows)), jnp.asarray(outputs_of(validation_flows, scale))
    )
    optimiser, updates = config.training.optimiser(), config.training.updates

    def unet(key: PRNGKeyArray) -> Masked:
        network = UNet(2, 12, 12, width=config.width, levels=config.levels, periodic=False, key=key)
        return Masked(Patched(network))

    keys = jax.random.split(jax.random.key(config.seed), config.members + 2)
    fno = FNO(
        2, 3, 3, modes=config.modes, width=config.channels, depth=config.depth, padding=0.125,
        coordinates=True, key=keys[-1],
    )  # fmt: skip
    settings: dict[str, Any] = {"chunk": 50, "validate": validate, "ema": config.training.average}
    unets, histories = fit_ensemble(
        unet, l1_loss, batches, optimiser, updates, keys=keys[:-2],
        folder=folder / "checkpoints" / "unet", name="unet", **settings,
    )  # fmt: skip
    operator, history = fit(
        Masked(fno), l1_loss, batches, optimiser, updates, key=keys[-2],
        folder=folder / "checkpoints" / "fno", name="fno", **settings,
    )  # fmt: skip
    losses = {f"unet_{number}": each.loss for number, each in enumerate(histories)}
    return unets, operator, losses | {"fno": history.loss}


@eqx.filter_jit
def _answers(model: Network, inputs: Array) -> Array:
    return jax.lax.map(model, inputs)


def _fields(model: Network, inputs: Array, scale: np.ndarray) -> Float[np.ndarray, "n 3 nx ny"]:
    """Pressure and velocity, as in the data zero within the body."""
    return (np.asarray(_answers(model, inputs)) * scale + STREAM) * np.asarray(inputs[:, :1])


QUICK = Config()
FULL = Config(
    cells=(192, 128), train=600, validation=50, test=50, separation=0.01, members=5, width=32,
    levels=4, modes=24, channels=32,
    training=replace(Config.training, updates=20_000, batch=16, learning_rate=1e-3),
)  # fmt: skip
"""Hours of flows on a core and a training for an accelerator; it has not been run."""

EXPERIMENT = Experiment(
    name="airfoil-surrogate",
    summary="networks give the flow about airfoils they have not seen, and how sure they are",
    presets={"quick": QUICK, "full": FULL},
    run=run,
    files=files,
)
