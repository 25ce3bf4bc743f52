"""Measured pendulums of one, two and three arms: gravity with its error, and forecasts.

A chain of arms with friction (`chain`) is fitted to windows of the measured swings by least
squares, the state at the start of each window unknown too. The windows are dealt out to groups;
gravity is the mean over the groups and its standard error their spread over the root of their
number: what the model cannot follow makes neighbouring residuals alike, and the covariance of one
fit would not know. Known beforehand are the lengths of the arms that carry others and, for the
single arm, whose motion tells gravity over a length alone, `a + I / (m a)` of the fit that is
published with the data (Kaheman et al., arXiv 2205.06231).

Networks with and without an energy learn from the same swings and forecast those held out, which
choose nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import t as student

from jaxpbdl import plotting
from jaxpbdl.data import find
from jaxpbdl.data.pendulums import Run, Swings, read_swings
from jaxpbdl.experiments.configuration import Count, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.motion.chain import Chain, chain
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.inference import least_squares
from jaxpbdl.learning import (
    AccelerationNetwork,
    HamiltonianNetwork,
    LagrangianNetwork,
    LearnedMotion,
    Windows,
    unrolled,
)
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.time import explicit, hamiltonian, yoshida

Rates = Callable[[Array], Array]
SOURCE = "the fit published with the data, Kaheman et al., arXiv 2205.06231"
EVERY = 10
"""Measured states, a millisecond apart, for one of ours."""
SPEED = 8.0
"""The size of the velocities, rad/s."""
CONSERVED = 20.0
"""Seconds without friction in which the energy is watched."""


class Pendulum(NamedTuple):
    """A measured pendulum: the lengths of its arms in metres (of the last one where it is known
    what swings, else a guess to start from), the published gravity and frictions over the last
    moment of mass, seconds of a window of the fit and of a forecast."""

    lengths: tuple[float, ...]
    gravity: float
    frictions: tuple[float, ...]
    window: float
    horizon: float


PENDULUMS = {
    "single": Pendulum(
        (0.1475846 + 1.09118505e-4 / (0.1477549 * 0.1475846),), 9.81001, (0.01027,), 2.0, 2.0
    ),
    "double": Pendulum((0.172719204, 0.2), 9.80858, (0.01476, 0.00062), 0.6, 1.0),
    "triple": Pendulum((0.172799737, 0.2287, 0.2), 9.80834, (0.06778, 0.01191, 0.00046), 0.5, 0.5),
}


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    groups: Count = 6
    """Of windows, each fitted alone."""
    windows: Count = 6
    """In a group."""
    width: Count = 32
    """Of the hidden layers."""
    training: Training = field(
        default_factory=lambda: Training(1500, 64, 5e-3, average=0.99, clip=1.0)
    )
    unrolled: Count = 8
    """Steps of 10 ms that a network is trained on."""
    networks: tuple[str, ...] = ("single", "double")
    """The pendulums that networks learn."""

    def __post_init__(self):
        super().__post_init__()
        for name in self.networks:
            if name not in PENDULUMS:
                raise ValueError(f"networks must be of {', '.join(PENDULUMS)}, got {name!r}")


def files(config: Config) -> list[Path]:
    """One for each pendulum. Raises `checks.DataError` for one that is not there."""
    return [find(f"pendulum-{name}") for name in PENDULUMS]


def windows(
    runs: tuple[Run, ...], length: int, count: int
) -> Float[np.ndarray, "count _times _state"]:
    """So many windows of `length` states and one more, spread evenly over all runs and the times
    within them."""
    chosen = []
    for number, place in enumerate((np.arange(count) + 0.5) / count * len(runs)):
        run = runs[int(place)]
        # Within a run by the rest of the place, and thus evenly where there are few runs.
        share = place % 1 if len(runs) < count else (number * 0.618) % 1
        first = int(share * (len(run) - length - 1))
        chosen.append(run[first : first + length + 1])
    return np.stack(chosen)


def thinned(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Every tenth state."""
    return tuple(run[::EVERY] for run in runs)


def fit_chain(
    pendulum: Pendulum, seen: Float[Array, "_windows _times _state"], dt: float
) -> tuple[Chain, Float[Array, ""]]:
    """The model by least squares of the angles in a group of windows, and the root mean square of
    what is left, rad."""
    arms = seen.shape[2] // 2
    model = chain(pendulum.lengths)

    def residuals(unknown: tuple[dict[str, Array], Array]) -> Array:
        step = explicit(_changed(model, unknown[0]), dt)

        def ahead(start: Array) -> Array:
            return rollout(step, start, seen.shape[1] - 1, checkpoint=False)[:, :arms]

        return jax.vmap(ahead)(unknown[1]) - seen[:, :, :arms]

    names = ("gravity", "frictions") + (("log_inertias", "log_moments") if arms > 1 else ())
    start = {name: getattr(model, name) for name in names}
    found = least_squares(residuals, (start, seen[:, 0]), steps=60)
    return _changed(model, found.values[0]), found.residual_rms


def _changed(model: Chain, values: dict[str, Array]) -> Chain:
    names = list(values)
    return eqx.tree_at(lambda m: [getattr(m, n) for n in names], model, list(values.values()))


class Fitted(NamedTuple):
    """`models`: of each group, on a first axis. `gravity` with its standard error, and the half
    width of the interval that covers 95 %; `left`: root mean square of the angles, rad."""

    models: Chain
    gravity: float
    error: float
    half_width: float
    left: float

    @property
    def model(self) -> Chain:
        """The mean over the groups."""
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), self.models)


def fit_gravity(pendulum: Pendulum, runs: tuple[Run, ...], config: Config, dt: float) -> Fitted:
    """Fit every group of windows; the windows go to the groups in turn."""
    length = round(pendulum.window / dt)
    chosen = windows(runs, length, config.groups * config.windows)
    # The first axis of this order is the place in a group.
    dealt = chosen.reshape(config.windows, config.groups, *chosen.shape[1:]).swapaxes(0, 1)
    fit = jax.jit(jax.vmap(lambda seen: fit_chain(pendulum, seen, dt)))
    models, left = fit(jnp.asarray(dealt))
    values = np.asarray(models.gravity)
    error = float(np.std(values, ddof=1) / np.sqrt(config.groups))
    half = float(student.ppf(0.975, config.groups - 1)) * error
    return Fitted(models, float(values.mean()), error, half, float(np.sqrt(np.mean(left**2))))


def learn(
    name: str, make: Callable[..., Rates], swings: Swings, config: Config, folder: Path
) -> Rates:
    """A network trained on the runs to fit, over a few steps at a time."""
    runs = thinned(swings.fitted)
    shortest = min(map(len, runs))
    data = jnp.asarray(np.stack([run[:shortest] for run in runs]))
    angles = data.shape[2] // 2
    one, other = jax.random.split(jax.random.key(config.seed))
    network = make(angles, config.width, speed=SPEED, key=one)
    scale = jnp.concatenate([jnp.ones(angles), jnp.full(angles, SPEED)])

    def loss(model: LearnedMotion, batch: Array) -> Array:
        return 1e4 * unrolled(model, batch, measure=lambda state: state / scale)

    motion = LearnedMotion(network, EVERY * swings.interval)
    batches = Windows(data, config.unrolled, config.training.batch)
    return train(config.training, motion, loss, batches, other, folder, name)[0].rates


def forecasts(
    rates: Rates, truth: Float[np.ndarray, "_windows _times _state"], dt: float
) -> Float[np.ndarray, "_windows _times _state"]:
    """From the first state of each window of held-out swings."""
    step = LearnedMotion(rates, dt)

    @jax.jit
    def ahead(starts: Array) -> Array:
        steps = truth.shape[1] - 1
        return jax.vmap(lambda one: rollout(step, one, steps, checkpoint=False))(starts)

    return np.asarray(ahead(jnp.asarray(truth[:, 0])))


def judged(
    found: Float[np.ndarray, "_windows _times _state"],
    truth: Float[np.ndarray, "_windows _times _state"],
    energy: Callable[[Array], Array],
) -> dict[str, float]:
    """`forecast_error`: root mean square error of the angles over the root mean square swing;
    `energy_drift`: that of the energy at the end of a forecast, over the mean energy there, both by
    the fitted chain."""
    arms = truth.shape[2] // 2
    wrong = found[:, :, :arms] - truth[:, :, :arms]
    swing = truth[:, :, :arms] - np.pi
    ends = [
        np.asarray(jax.lax.map(lambda state: energy(state), jnp.asarray(states[:, -1])))
        for states in (found, truth)
    ]
    return {
        "forecast_error": float(np.sqrt(np.mean(wrong**2) / np.mean(swing**2))),
        "energy_drift": float(np.sqrt(np.mean((ends[0] - ends[1]) ** 2)) / np.mean(ends[1])),
    }


def conserved_drift(network: HamiltonianNetwork, start: Float[Array, " state"], dt: float) -> float:
    """The largest change of a network's own energy without friction, over its kinetic and potential
    height above rest, by the symplectic scheme of fourth order."""
    step = hamiltonian(
        lambda p: jax.grad(lambda one: network.kinetic_energy(one))(p),
        lambda q: -jax.grad(lambda one: network.potential_energy(one))(q),
        dt,
        yoshida,
    )
    position, momentum = jnp.split(start, 2)
    steps = round(CONSERVED / dt)
    energies = rollout(step, (position, momentum), steps, observe=lambda s: network.energy(*s))
    rest = network.energy(jnp.full_like(position, np.pi), jnp.zeros_like(momentum))
    return float(jnp.max(jnp.abs(energies - energies[0])) / jnp.abs(energies[0] - rest))


def run(config: Config, folder: Path) -> Result:
    """Fit, learn and forecast; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    shown: dict[str, dict[str, np.ndarray]] = {}
    with jax.enable_x64(True):
        for (name, pendulum), path in zip(PENDULUMS.items(), files(config), strict=True):
            swings = read_swings(path)
            dt = EVERY * swings.interval
            fitted = fit_gravity(pendulum, thinned(swings.fitted), config, dt)
            metrics[f"{name}.gravity"] = fitted.gravity
            metrics[f"{name}.gravity_error"] = fitted.error
            metrics[f"{name}.gravity_half_width"] = fitted.half_width
            metrics[f"{name}.residual_rad"] = fitted.left
            frictions = np.asarray(fitted.models.frictions)
            errors = np.std(frictions, axis=0, ddof=1) / np.sqrt(config.groups)
            for joint, given in enumerate(pendulum.frictions):
                key = f"{name}.friction_{joint + 1}"
                metrics[key] = frictions[:, joint].mean()
                metrics[f"{key}_error"] = errors[joint]
                published[key] = Published(given, SOURCE)
            published[f"{name}.gravity"] = Published(pendulum.gravity, SOURCE)
            held = thinned(swings.held_out)
            truth = windows(held, round(pendulum.horizon / dt), HELD)
            models: dict[str, Rates] = {"chain": fitted.model}
            if name in config.networks:
                structured = HamiltonianNetwork if len(pendulum.lengths) == 1 else LagrangianNetwork
                models["structured"] = learn(
                    f"{name}_structured", structured, swings, config, folder
                )
                models["plain"] = learn(
                    f"{name}_plain", AccelerationNetwork, swings, config, folder
                )
            lines = {"measured": truth}
            for kind, rates in models.items():
                lines[kind] = forecasts(rates, truth, dt)
                found = judged(lines[kind], truth, fitted.model.energy)
                metrics |= {f"{name}_{kind}.{key}": value for key, value in found.items()}
                if isinstance(rates, HamiltonianNetwork):
                    drift = conserved_drift(rates, jnp.asarray(truth[0, 0]), dt)
                    metrics[f"{name}_{kind}.conserved_drift"] = drift
            shown[name] = lines
    _picture(shown, folder)
    notes = {"single": "gravity over a known length: its error is beside that of the length"}
    return Result(metrics, published, notes=notes)


HELD = 12
"""Forecasts of held-out swings."""


def _picture(shown: dict[str, dict[str, np.ndarray]], folder: Path) -> None:
    """`forecasts.png`: the angle of the last arm in the first held-out window."""
    figure, axes = plotting.figure(1, len(shown), size=(3.2, 2.5))
    for ax, (name, lines) in zip(axes[0], shown.items(), strict=True):
        arms = lines["measured"].shape[2] // 2
        curves = {kind: states[0, :, arms - 1] - np.pi for kind, states in lines.items()}
        times = EVERY * 1e-3 * np.arange(lines["measured"].shape[1])
        plotting.curves(ax, curves, times, xlabel="s", ylabel="rad")
        ax.set_title(name)
    plotting.save(figure, folder / "forecasts.png")


EXPERIMENT = Experiment(
    name="pendulum",
    summary="gravity from measured pendulums, and forecasts with and without an energy",
    presets={
        "quick": Config(),
        "full": Config(groups=12, windows=8, width=64, training=Training(10000, 128, 3e-3)),
    },
    run=run,
    files=files,
)
