"""A network guesses the pressure from which conjugate gradients begin: the solver in the loop.

    -lap p = -div u  in a closed box of 64 x 64 cells, no flow through its walls

Um et al. (Solver-in-the-Loop, NeurIPS 2020, arXiv:2007.00016) train a U-Net to spare plain
conjugate gradients, without a preconditioner, their iterations: on solutions (`supervised`), on the
residual of its guess (`physical`), or through the first iterations themselves, on the residual
that they leave (`solver`). The iterations are differentiated as they are, step lengths included.

The network is `Cycle`, linear as the equation is, and it is called twice: `p = N(b)`, then
`p + N(b - A p)`. Beside it stands a U-Net with activations and zeros beyond the walls, trained
through the iterations as well, which divides a divergence by its root mean square before it looks.
The test fields stem from simulations of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.pressure.cells import laplacian, solve
from jaxpbdl.experiments.pressure.cycle import Cycle
from jaxpbdl.experiments.pressure.guesses import (
    Cells,
    Draws,
    Pressure,
    Scaled,
    answers,
    seconds,
)
from jaxpbdl.experiments.pressure.smoke import divergences
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.networks import UNet, parameter_count

CELLS, SNAPSHOTS = 64, 10
SCALE = 10.0
"""Of a pressure whose Laplacian is of order one."""
MAX_ITERATIONS = 400
"""Iterations at which counting ends."""
TOLERANCES = ("1e-1", "1e-2", "1e-3", "1e-4", "1e-6")
PAPER = {
    "zero": (16.96, 78.48, 121.61, 161.57, 212.86),
    "supervised": (1.67, 9.33, 52.16, 109.12, 186.12),
    "physical": (0.00, 27.81, 79.03, 117.92, 181.09),
    "solver": (0.03, 1.97, 29.59, 88.37, 167.37),
}
SOURCE = "Um et al. 2020, code CG-Solver-in-the-Loop, their smoke and their stopping rule"


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the network and its training."""

    seed: int = 0
    simulations: Count = 200
    """To train on, ten fields each, drawn anew for each seed."""
    test: Count = 100
    """Fields to test on, one of each of as many other simulations, the same for all seeds."""
    width: Count = 6
    levels: Count = 5
    iterations: Count = 5
    """Of conjugate gradients that the network is trained through."""
    training: Training = Training(
        updates=600, batch=2, learning_rate=5e-3, warmup_fraction=0.05, average=None
    )

    def __post_init__(self):
        super().__post_init__()
        if 2**self.levels > CELLS:
            raise ValueError(f"levels must be at most 6 for {CELLS} cells, got {self.levels}")


class Twice(eqx.Module):
    """What the network makes of the source, and then of what this leaves of it."""

    network: Cycle

    def __call__(self, source: Cells) -> Cells:
        first = SCALE * self.network(source)
        return first + SCALE * self.network(source - operator(first))


def operator(pressure: Cells) -> Cells:
    """Minus the Laplacian: symmetric, and positive but for constants."""
    return -laplacian(pressure, False)


def exact(source: Cells) -> Cells:
    """By cosine transforms, with no iteration."""
    return -solve(source, False)


def conjugate_gradients(
    source: Cells, guess: Cells, iterations: int
) -> tuple[Cells, Float[Array, " {iterations}+1"]]:
    """The pressure after so many iterations (Hestenes and Stiefel 1952), and the norm of the
    residual before each and at the end. Differentiable in both arguments."""

    def turn(state: tuple, _: None) -> tuple[tuple, Array]:
        pressure, residual, direction, square = state
        image = operator(direction)
        curvature = jnp.sum(direction * image)
        # A residual of zero stays so.
        length = square / jnp.where(curvature > 0, curvature, 1)
        residual = residual - length * image
        new = jnp.sum(residual**2)
        direction_next = residual + new / jnp.where(square > 0, square, 1) * direction
        return (pressure + length * direction, residual, direction_next, new), new

    residual = source - operator(guess)
    square = jnp.sum(residual**2)
    start = (guess, residual, residual, square)
    (pressure, *_), squares = jax.lax.scan(turn, start, None, length=iterations)
    return pressure, jnp.sqrt(jnp.concatenate([square[None], squares]))


def residuals(sources: ArrayLike, guesses: ArrayLike) -> Float[np.ndarray, "fields iterations"]:
    """Norms of the residual relative to the source, before each iteration, in float64."""
    with jax.enable_x64(True):
        both = (jnp.asarray(np.asarray(values, np.float64)) for values in (sources, guesses))
        return np.asarray(_residuals(*both))


@jax.jit
def _residuals(sources: Array, guesses: Array) -> Array:
    norms = jax.vmap(lambda b, p: conjugate_gradients(b, p, MAX_ITERATIONS)[1])(sources, guesses)
    return norms / jnp.linalg.norm(sources, axis=(1, 2))[:, None]


def count(residuals: Float[np.ndarray, "fields iterations"], tolerance: float) -> float:
    """Iterations until the residual is no larger than the tolerance, in the mean over fields."""
    return float(np.cumprod(residuals > tolerance, axis=1).sum(axis=1).mean())


def losses(iterations: int) -> dict[str, Callable[[Pressure, Array], Array]]:
    """The logarithm of a mean square over a batch, whose gradient does not fade as it falls."""

    def supervised(guess: Pressure, source: Cells) -> Cells:
        error = guess(source) - exact(source)
        return (error - jnp.mean(error)) / SCALE

    def physical(guess: Pressure, source: Cells) -> Cells:
        return source - operator(guess(source))

    def solver(guess: Pressure, source: Cells) -> Cells:
        return source - operator(conjugate_gradients(source, guess(source), iterations)[0])

    def logarithm(error: Callable[[Pressure, Cells], Cells]) -> Callable[[Pressure, Array], Array]:
        def loss(guess: Pressure, sources: Array) -> Array:
            return jnp.log(jnp.mean(jax.vmap(lambda source: error(guess, source))(sources) ** 2))

        return loss

    return {error.__name__: logarithm(error) for error in (supervised, physical, solver)}


def run(config: Config, folder: Path) -> Result:
    """Train, count, draw."""
    available, batch = config.simulations * SNAPSHOTS, config.training.batch
    if batch > available:
        raise ValueError(f"batch must be at most {available}, got {batch}")
    train_key, test_key = jax.random.split(jax.random.key(0))
    known = divergences(
        jax.random.fold_in(train_key, config.seed), config.simulations, SNAPSHOTS, CELLS
    ).reshape(-1, CELLS, CELLS)
    test = divergences(test_key, config.test, SNAPSHOTS, CELLS)
    # In turn the first field of a simulation, the second, ...
    test = test[np.arange(config.test), np.arange(config.test) % SNAPSHOTS]
    start, fitting = jax.random.split(jax.random.key(config.seed))
    batches = Draws(known, batch)
    cycle = Twice(Cycle(2, width=config.width, levels=config.levels, key=start))
    levels = max(1, config.levels - 1)
    network = UNet(2, 1, 1, width=4, levels=levels, periodic=False, zero_last=True, key=start)
    unet = Scaled(network, SCALE)
    by = losses(config.iterations)
    guesses: dict[str, Pressure] = {"zero": jnp.zeros_like}
    histories: dict[str, np.ndarray] = {}
    for name, network, loss in [(n, cycle, loss) for n, loss in by.items()] + [
        ("unet_solver", unet, by["solver"])
    ]:
        guesses[name], history = train(
            config.training, network, loss, batches, fitting, folder, name, b2=0.95
        )
        histories[name] = history.loss

    metrics: dict[str, float] = {}
    left: dict[str, np.ndarray] = {}
    iteration = _one(lambda source: conjugate_gradients(source, 0 * source, 100)[0], test[0])
    for name, guess in guesses.items():
        left[name] = residuals(test, answers(guess, test))
        metrics |= {f"{name}.{t}": count(left[name], float(t)) for t in TOLERANCES}
        took = 0.0 if name == "zero" else _one(guess, test[0])
        metrics[f"{name}.milliseconds"] = 1e3 * (took + metrics[f"{name}.1e-3"] * iteration / 100)
    metrics["direct.milliseconds"] = 1e3 * _one(exact, test[0])
    metrics["iterations_cut"] = metrics["zero.1e-3"] / max(metrics["solver.1e-3"], 1e-2)
    metrics["parameters"] = parameter_count(cycle)
    _picture(test[-1], left, folder)
    published = {
        f"{name}.{tolerance}": Published(value, SOURCE)
        for name, row in PAPER.items()
        for tolerance, value in zip(TOLERANCES, row, strict=True)
    }
    published["iterations_cut"] = Published(4.11, SOURCE)
    return Result(metrics, published, histories)


def _one(function: Pressure, source: Cells) -> float:
    """Seconds for one field, compiled."""
    compiled = eqx.filter_jit(function)
    return seconds(lambda: compiled(source), 20)


def _picture(source: Cells, left: dict[str, np.ndarray], folder: Path) -> None:
    """`residual.png`: a source, its pressure, and the residual over iterations."""
    figure, axes = plotting.figure(1, 3, size=(3.2, 2.8))
    plotting.field(axes[0, 0], source, title="divergence of a flow", bar="")
    plotting.field(axes[0, 1], exact(source), title="pressure", bar="")
    lines = {name: norms.mean(axis=0)[:151] for name, norms in left.items()}
    plotting.curves(
        axes[0, 2], lines, xlabel="iterations", ylabel="relative residual", logarithmic=True
    )
    plotting.save(figure, folder / "residual.png")


FULL = Config(simulations=3000, width=12, training=replace(Config.training, updates=5000, batch=4))

EXPERIMENT = Experiment(
    name="warm-start",
    summary="a network trained through conjugate gradients guesses where they begin",
    presets={"quick": Config(), "full": FULL},
    run=run,
)
