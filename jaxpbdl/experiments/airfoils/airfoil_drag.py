"""The drag of an airfoil from its shape, learned from values, or from values and their gradients.

    drag coefficient = f(7 camber modes, 7 thickness modes, Mach number, angle of attack)

42,039 Reynolds-averaged simulations (ADflow; Bouhlel, He, Martins, Struct. Multidisc. Optim. 61
(2020) 1363), each with the gradient that its adjoint gives at about the price of one more
simulation. Sobolev training (Czarnecki et al., NeurIPS 2017) fits both:

    loss = rho(f(x) - y) + weight sum_i rho(df/dx_i - dy/dx_i),   rho(e) ~ e^2, ~ |e| for large e

of y = log drag, inputs and y in units of their deviation; an error is thus a relative one. It is
compared with the same network, updates and samples on values alone, for several numbers of samples.

The simulations come in 960 families that share Mach number and angle of attack (and, up to shifts,
their draw of the shape), so whole families are held out: 96 to calibrate and choose settings on,
192 for the test. Intervals are those of the ensemble, mean +- q (spread + its median), with the
one `q` that covers 90 % of the calibration samples (split conformal; Papadopoulos et al. 2008).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks, plotting
from jaxpbdl.data import find
from jaxpbdl.data.archive import arrays
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.training import rise_and_fall
from jaxpbdl.learning import fit_ensemble
from jaxpbdl.networks import Dense

COUNT = 1e-4
"""One drag count."""
INPUTS = 16
CALIBRATING, TESTING = 96, 192
COVERAGE = 0.9
BEND = 0.3
"""Where `rho` turns from a square to a line: a few simulations of separated flow have gradients
thirty times those of the rest."""


@dataclass(frozen=True)
class Config:
    """Settings of the network and its training."""

    seed: int = 0
    data: Path | None = None
    """The simulations as npz; else looked for in the folder JAXPBDL_DATA."""
    samples: tuple[int, ...] = (250, 1000, 4000, 16_000)
    """Numbers to train on, drawn from the families that are not held out, anew for each seed."""
    members: int = 4
    width: int = 64
    depth: int = 3
    weight: float = 1.0
    """Of the gradients in the loss."""
    batch: int = 128
    updates: int = 3000
    learning_rate: float = 1e-2
    decay: float = 0.03
    """Of the weights. Chosen for values alone, which profit from it; gradients hardly need any."""

    def __post_init__(self):
        for name in ("width", "depth", "batch", "updates"):
            checks.count(name, getattr(self, name))
        checks.count("members", self.members, 2)
        if not self.samples or list(self.samples) != sorted(set(self.samples)):
            raise ValueError(f"samples must be numbers in rising order, got {self.samples}")
        checks.count("samples", self.samples[0], 2)
        checks.positive("weight", self.weight)
        checks.positive("learning_rate", self.learning_rate)
        checks.non_negative("decay", self.decay)


class Drag(eqx.Module):
    """The logarithm of the drag, standardised, of standardised inputs."""

    network: Dense

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, ""]:
        return self.network(x)[0]


class Simulations(eqx.Module):
    """Standardised inputs, logarithms of the drag, and their gradients; a call draws a batch."""

    x: Float[Array, "samples inputs"]
    y: Float[Array, " samples"]
    slope: Float[Array, "samples inputs"]
    batch: int = eqx.field(static=True, default=1)

    def __call__(self, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        chosen = jax.random.randint(key, (self.batch,), 0, len(self.x))
        return self.x[chosen], self.y[chosen], self.slope[chosen]


@dataclass(frozen=True)
class Data:
    """Inputs, drag in counts and its gradient, as simulated."""

    x: Float[np.ndarray, "samples inputs"]
    drag: Float[np.ndarray, " samples"]
    slope: Float[np.ndarray, "samples inputs"]

    def at(self, chosen: np.ndarray) -> "Data":
        return Data(self.x[chosen], self.drag[chosen], self.slope[chosen])


@dataclass(frozen=True)
class Units:
    """Means and deviations of the inputs and of the logarithm of the drag, of the training data."""

    x: tuple[np.ndarray, np.ndarray]
    y: tuple[float, float]

    @classmethod
    def of(cls, data: Data) -> "Units":
        y = np.log(data.drag)
        return cls((data.x.mean(0), data.x.std(0)), (float(y.mean()), float(y.std())))

    def standardised(self, data: Data, batch: int = 1) -> Simulations:
        (x, of_x), (y, of_y) = self.x, self.y
        slope = data.slope / data.drag[:, None] * of_x / of_y
        values = ((data.x - x) / of_x, (np.log(data.drag) - y) / of_y, slope)
        return Simulations(*(jnp.asarray(each, jnp.float32) for each in values), batch=batch)

    def drag(self, y: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """In counts, and its change with each input over one deviation of the input."""
        drag = np.exp(y * self.y[1] + self.y[0])
        return drag, drag[..., None] * slope * self.y[1]


class Misfit(eqx.Module):
    """The loss above; of values alone for a weight of zero, without computing a gradient."""

    weight: float = eqx.field(static=True)

    def __call__(self, model: Drag, batch: tuple[Array, Array, Array]) -> Float[Array, ""]:
        x, y, slope = batch
        if not self.weight:
            return jnp.mean(_bent(jax.vmap(model)(x) - y))
        values, slopes = jax.vmap(jax.value_and_grad(model))(x)
        return jnp.mean(_bent(values - y)) + self.weight * jnp.mean(
            jnp.sum(_bent(slopes - slope), axis=-1)
        )


def _bent(error: Array) -> Array:
    """`e^2` for small and `2 BEND |e|` for large errors, smoothly."""
    return 2 * BEND**2 * (jnp.sqrt(1 + (error / BEND) ** 2) - 1)


def read(path: Path) -> Data:
    """The simulations. Raises `DataError` for another layout."""
    found = arrays(path, ("x", "cd", "dcd_dx"))
    x, drag, slope = (np.asarray(found[name], float) for name in ("x", "cd", "dcd_dx"))
    if x.ndim != 2 or x.shape[1] != INPUTS or slope.shape != x.shape or drag.shape != x.shape[:1]:
        raise checks.DataError(
            f"{path}: x and dcd_dx must have shape (samples, {INPUTS}) and cd (samples,), "
            f"found {x.shape}, {slope.shape} and {drag.shape}"
        )
    if np.any(drag <= 0):
        raise checks.DataError(f"{path}: cd must be > 0, found {drag.min()}")
    return Data(x, drag / COUNT, slope / COUNT)


def split(data: Data) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices to learn from, to calibrate on and to test on, whole families each."""
    flights, family = np.unique(data.x[:, -2:], axis=0, return_inverse=True)
    if len(flights) <= CALIBRATING + TESTING:
        raise checks.DataError(
            f"the data must have more than {CALIBRATING + TESTING} pairs of Mach number and angle "
            f"of attack, found {len(flights)}"
        )
    order = np.random.default_rng(0).permutation(len(flights))
    parts = np.split(order, [CALIBRATING, CALIBRATING + TESTING])
    calibrating, testing, learning = (np.flatnonzero(np.isin(family.ravel(), p)) for p in parts)
    return learning, calibrating, testing


def half_width(spread: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """Of an interval before calibration: a spread near zero is an accident of few members."""
    return spread + np.median(spread)


def calibrated(error: Float[np.ndarray, " samples"], width: Float[np.ndarray, " samples"]) -> float:
    """The factor that makes `width` cover the share `COVERAGE` of new errors."""
    rank = min(int(np.ceil((len(error) + 1) * COVERAGE)), len(error))
    return float(np.sort(error / width)[rank - 1])


def run(config: Config, folder: Path) -> Result:
    """Train for each number of samples with and without gradients; a picture goes to `folder`."""
    data = read(find("airfoil-drag", given=config.data))
    learning, calibrating, testing = split(data)
    if config.samples[-1] > len(learning):
        raise ValueError(f"samples must be at most {len(learning)}, got {config.samples[-1]}")
    order = np.random.default_rng((1, config.seed)).permutation(learning)
    metrics: dict[str, float] = {}
    lines: dict[str, list[float]] = {"values": [], "sobolev": []}
    for count in config.samples:
        known = data.at(order[:count])
        for method, weight in (("values", 0.0), ("sobolev", config.weight)):
            name = f"{method}_{count}"
            judged = ensemble(
                config, known, weight, [data.at(calibrating), data.at(testing)], folder, name
            )
            metrics |= {f"{name}.{metric}": value for metric, value in judged.items()}
            lines[method].append(judged["mae"])
    for method in lines:
        metrics[f"{method}.mae"] = lines[method][-1]
    metrics["coverage_90"] = metrics[f"sobolev_{config.samples[-1]}.coverage_90"]
    _picture(config.samples, lines, folder)
    return Result(metrics)


def ensemble(
    config: Config, known: Data, weight: float, held_out: Sequence[Data], folder: Path, name: str
) -> dict[str, float]:
    """Fit, calibrate the intervals on the first held-out part, judge the rest on the second."""
    units = Units.of(known)
    schedule = rise_and_fall(config.learning_rate, config.updates, rise=20)
    sizes = (INPUTS, *[config.width] * config.depth, 1)
    members, _ = fit_ensemble(
        lambda key: Drag(Dense(sizes, key=key)),
        Misfit(weight),
        units.standardised(known, min(config.batch, len(known.drag))),
        optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=config.decay)
        ),
        config.updates,
        keys=jax.random.split(jax.random.key(config.seed), config.members),
        chunk=500,
        folder=folder / "checkpoints" / name,
        name=name,
    )
    errors, widths, judged = [], [], {}
    for part in held_out:
        answers = _answers(members, units.standardised(part).x)
        drag, slope = units.drag(*(np.asarray(each, float) for each in answers))
        error = np.abs(drag.mean(0) - part.drag)
        errors.append(error)
        widths.append(half_width(drag.std(0, ddof=1)))
        true_slope = part.slope * units.x[1]
        judged = {
            "mae": error.mean(),
            "mae_of_one": np.abs(drag - part.drag).mean(),
            "relative": np.mean(error / part.drag),
            "gradient": np.linalg.norm(slope.mean(0) - true_slope) / np.linalg.norm(true_slope),
        }
    factor = calibrated(errors[0], widths[0])
    judged["coverage_90"] = np.mean(errors[1] <= factor * widths[1])
    judged["interval"] = np.mean(factor * widths[1])
    return {metric: float(value) for metric, value in judged.items()}


@eqx.filter_jit
def _answers(members: Drag, x: Array) -> tuple[Array, Array]:
    """Values and gradients of each member."""
    return eqx.filter_vmap(lambda one: jax.vmap(jax.value_and_grad(one))(x))(members)


def _picture(samples: Sequence[int], lines: dict[str, list[float]], folder: Path) -> None:
    """`error.png`: the mean error over the number of simulations."""
    made, axes = plotting.figure(1, 1, size=(4.0, 3.0))
    plotting.curves(
        axes[0, 0], lines, samples, xlabel="simulations", ylabel="drag counts", logarithmic=True
    )
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_title("mean absolute error on unseen families")
    plotting.save(made, folder / "error.png")


EXPERIMENT = Experiment(
    name="airfoil-drag",
    summary="the drag of an airfoil from simulations, with and without their gradients",
    presets={
        "quick": Config(),
        "full": Config(samples=(250, 1000, 4000, 16_000, 29_000), width=128, updates=20_000),
    },
    run=run,
)
