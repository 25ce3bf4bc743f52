"""A network learns the pressure that makes a flow free of divergence, by the divergence it leaves.

    lap p = div v,   v - grad p has no divergence,  periodic, 32 cells a side

As in the book *Physics-based Deep Learning* (Thuerey et al., arXiv:2109.05237, after Tompson et
al., arXiv:1607.03597) a U-Net sees the divergence of 100 random velocity fields, in 150 batches of
10, and is never shown a pressure. Two things are told to it here. The equation is linear, so the
network may be a linear one: a U-Net without activations, which is a multigrid cycle with trained
stencils. The one with activations gives the same answer at any amplitude by normalising its
input. And what is minimised is the logarithm of the loss, whose gradient does not fade as the loss
falls by orders of magnitude. The last layer starts at zero: the loss of the untrained network is
that of the fields themselves.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.pressure.cells import divergence, gradient, laplacian, solve
from jaxpbdl.experiments.pressure.guesses import (
    Draws,
    Pressure,
    Scaled,
    answers,
    seconds,
)
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.networks import UNet, parameter_count

CELLS, TESTS = 32, 100
COARSE, FINE = 10.0, 2.0
"""`scale` of the fields trained on, and of finer ones that no training has seen."""
BOOK = "Physics-based Deep Learning, chapter physicalloss-div: "


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the network and its training."""

    seed: int = 0
    fields: Count = 100
    """To train on, drawn anew for each seed."""
    width: Count = 7
    levels: Count = 3
    training: Training = Training(
        updates=150, batch=10, learning_rate=5e-3, warmup_fraction=1 / 15, average=None
    )

    def __post_init__(self):
        super().__post_init__()
        if 2**self.levels > CELLS:
            raise ValueError(f"levels must be at most 5 for {CELLS} cells, got {self.levels}")


def noise(key: PRNGKeyArray, count: int, scale: float) -> Float[Array, "count 2 nx ny"]:
    """Random smooth velocities, drawn as PhiFlow's `Noise`: each component of zero mean and
    deviation one, its waves of amplitude `k^-2`, those with `(scale k / 2 pi)^2 < 0.1` left out.
    """
    turns = scale * np.fft.fftfreq(CELLS)
    squared = np.add.outer(turns**2, turns**2)
    amplitude = np.divide(1, squared, out=np.zeros_like(squared), where=squared > 0.1)
    real, imaginary = jax.random.normal(key, (2, count, 2, CELLS, CELLS))
    waves = jnp.fft.ifft2((real + 1j * imaginary) * amplitude).real
    return waves / jnp.std(waves, axis=(-2, -1), keepdims=True)


@eqx.filter_jit
def left_over(pressure: Pressure, sources: Float[Array, "fields nx ny"]) -> Float[Array, " fields"]:
    """The book's loss, `sum (div (v - grad p))^2` over the cells, of each field."""
    left = jax.vmap(lambda source: source - laplacian(pressure(source), True))(sources)
    return jnp.sum(left**2, axis=(1, 2))


def loss(pressure: Pressure, sources: Float[Array, "batch nx ny"]) -> Float[Array, ""]:
    return jnp.log(jnp.mean(left_over(pressure, sources)))


def run(config: Config, folder: Path) -> Result:
    """Train both networks and test them and the direct solver; a picture goes to `folder`."""
    if config.training.batch > config.fields:
        raise ValueError(
            f"batch must be at most fields = {config.fields}, got {config.training.batch}"
        )
    train_key, test_key, fine_key = jax.random.split(jax.random.key(0), 3)
    of = jax.vmap(lambda velocity: divergence(velocity, True))
    known = of(noise(jax.random.fold_in(train_key, config.seed), config.fields, COARSE))
    velocities = noise(test_key, TESTS, COARSE)
    test, fine = of(velocities), of(noise(fine_key, TESTS, FINE))
    start, fitting = jax.random.split(jax.random.key(config.seed))
    batches = Draws(known, config.training.batch)
    metrics: dict[str, float] = {}
    losses: dict[str, np.ndarray] = {}
    methods: dict[str, Pressure] = {"exact": lambda source: solve(source, True)}
    for name, activation in (("linear", _unchanged), ("relu", jax.nn.relu)):
        network = Scaled(
            UNet(
                2, 1, 1, width=config.width, levels=config.levels, activation=activation,
                zero_last=True, key=start,
            )
        )  # fmt: skip
        begin = time.perf_counter()
        methods[name], history = train(
            config.training, network, loss, batches, fitting, folder, name, b2=0.95
        )
        losses[name] = history.loss
        metrics[f"{name}.seconds"] = time.perf_counter() - begin
        metrics["parameters"] = parameter_count(network)
    for name, pressure in methods.items():
        metrics |= {f"{name}.{metric}": value for metric, value in judged(pressure, test, fine)}
    metrics["loss_reduction"] = metrics["relu.loss_reduction"]
    _picture(methods, velocities[0], folder)
    published = {
        "relu.loss_reduction": Published(575, BOOK + "390.22 untrained, 0.67859 at the end"),
        "relu.seconds": Published(16, BOOK + "its hardware"),
        "relu.reduction_scale_2": Published(179, BOOK + "2059.143 to 11.510, one batch"),
        "loss_reduction": Published(575, BOOK + "390.22 untrained, 0.67859 at the end"),
    }
    notes = {
        "linear": "no activations; the network of the book has them: compare relu",
        "relu": "activations, as the network of the book",
    }
    return Result(metrics, published, losses, notes=notes)


def judged(pressure: Pressure, test: Array, fine: Array) -> list[tuple[str, float]]:
    """What is left of the divergence of new fields, of finer ones, and the time for one."""
    after, after_fine = (float(jnp.mean(left_over(pressure, s))) for s in (test, fine))
    before, before_fine = (float(jnp.mean(jnp.sum(s**2, axis=(1, 2)))) for s in (test, fine))
    return [
        ("loss", after),
        ("loss_reduction", before / after),
        ("reduction_scale_2", before_fine / after_fine),
        ("milliseconds", 1e3 * seconds(lambda: answers(pressure, test), 3) / len(test)),
    ]


def _unchanged(field: Array) -> Array:
    return field


def _picture(methods: dict[str, Pressure], velocity: Array, folder: Path) -> None:
    """`divergence.png`: of a field, and what each method leaves of it."""
    source = divergence(velocity, True)
    networks = [name for name in methods if name != "exact"]
    figure, axes = plotting.figure(2, 1 + len(networks), size=(2.2, 2.2))
    top, exact = (float(jnp.max(jnp.abs(v))) for v in (source, methods["exact"](source)))
    plotting.field(axes[0, 0], source, title="divergence of the flow", bar="")
    plotting.field(axes[1, 0], methods["exact"](source), title="exact pressure", bar="")
    for column, name in enumerate(networks, start=1):
        pressure = methods[name](source)
        left = divergence(velocity - gradient(pressure, True), True)
        share = float(jnp.linalg.norm(left) / jnp.linalg.norm(source))
        title = f"{name}: {100 * share:.1f} % left, tenfold"
        plotting.field(axes[0, column], left, title=title, limit=top / 10, bar="")
        # No more than its gradient counts.
        pressure = pressure - jnp.mean(pressure)
        plotting.field(axes[1, column], pressure, title=f"{name}: pressure", limit=exact, bar="")
    plotting.save(figure, folder / "divergence.png")


EXPERIMENT = Experiment(
    name="projection-network",
    summary="a network makes flows free of divergence, trained by the divergence it leaves",
    presets={
        "quick": Config(),
        "full": Config(fields=1000, training=replace(Config.training, updates=1500)),
    },
    run=run,
)
