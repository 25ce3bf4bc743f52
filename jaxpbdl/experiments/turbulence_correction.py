"""A network trained through a coarse solver corrects it towards a fine one.

Kolmogorov flow, the benchmark of learned interpolation (Kochkov et al., PNAS 118 (2021)
e2101784118). The coarse solver takes `substeps` steps, a small convolutional network corrects the
state, and training unrolls several such turns against the filtered fine solution; an ensemble of
networks is trained at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.diagnostics import velocity
from jaxpbdl.equations import NavierStokes2D, kolmogorov
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.turbulence_data import read_trajectories
from jaxpbdl.experiments.turbulence_report import Row, pictures, summary
from jaxpbdl.grid import Grid
from jaxpbdl.initial_states import random_vorticity
from jaxpbdl.learning import (
    Corrected,
    Emulator,
    Windows,
    checkpoint,
    compare,
    evaluate,
    fit_ensemble,
    members,
    unrolled,
)
from jaxpbdl.networks import ConvNet
from jaxpbdl.rollout import repeat, rollout
from jaxpbdl.solvers import SpectralStep, spectral
from jaxpbdl.spectrum import resample
from jaxpbdl.spread import spread

SOURCE = "Kochkov et al., PNAS 118 (2021) e2101784118, against a second-order finite-volume solver"


@dataclass(frozen=True)
class Config:
    """Settings; lengths are in a box of side 2 pi, times in its natural units."""

    seed: int = 0
    data: Path | None = None
    """Trajectories to learn from instead of simulating them (PDEBench or The Well HDF5, npz)."""
    viscosity: float = 3e-3
    drag: float = 0.1
    wavenumber: int = 4
    """Of the force, sin(wavenumber y) along x."""
    coarse: int = 32
    """Points per side of the solver that is corrected."""
    fine: int = 128
    """Points per side of the simulations that training data are filtered from."""
    reference: int = 192
    """Points per side of the simulations that everything is tested against."""
    marks: tuple[float, ...] = (1.5, 2.0, 4.0)
    """Finer grids, in multiples of the coarse one, that serve as reference marks."""
    dt: float = 0.05
    """Step of the coarse solver; finer grids take proportionally smaller ones."""
    substeps: int = 4
    """Solver steps between corrections."""
    keep: float = 0.9
    """Wavenumbers that the corrected solver keeps: beyond 2/3 it aliases, which the network can
    learn to undo.
    """
    warm_up: float = 20.0
    train_trajectories: int = 12
    train_time: float = 25.0
    test_trajectories: int = 8
    test_time: float = 10.0
    members: int = 4
    emulators: int = 2
    width: int = 24
    depth: int = 5
    batch: int = 8
    unroll: int = 4
    pretraining: int = 200
    """Updates on single steps before those on unrolled ones."""
    updates: int = 300
    learning_rate: float = 3e-3

    def __post_init__(self):
        for name in ("viscosity", "dt", "train_time", "test_time", "learning_rate"):
            checks.positive(name, getattr(self, name))
        for name in ("members", "emulators", "unroll", "batch", "substeps", "updates"):
            checks.count(name, getattr(self, name))
        if self.reference < self.fine or self.fine <= self.coarse:
            raise ValueError(
                "grids must satisfy coarse < fine <= reference, "
                f"got {self.coarse}, {self.fine}, {self.reference}"
            )

    @property
    def frame(self) -> float:
        """Time between frames, one step of the corrected solver."""
        return self.substeps * self.dt

    @property
    def flow(self) -> NavierStokes2D:
        return NavierStokes2D(self.viscosity, self.drag, forcing=kolmogorov(self.wavenumber))

    def solver(self, points: int, keep: float | None = None) -> tuple[SpectralStep, int]:
        """A solver with `points` per side, and how many of its steps make a frame."""
        steps = max(1, round(self.substeps * points / self.coarse))
        return spectral(self.flow, Grid((points, points)), self.frame / steps, keep=keep), steps


QUICK = Config()
# The published benchmark: Re = 1000 on 64^2, filtered from 2048^2. Meant for an accelerator.
FULL = Config(
    viscosity=1e-3, coarse=64, fine=1024, reference=2048, marks=(2.0, 4.0, 8.0), dt=0.02,
    warm_up=40.0, train_trajectories=32, train_time=30.0, test_trajectories=16, test_time=15.0,
    members=8, emulators=2, width=64, depth=7, batch=16, unroll=8, pretraining=1000,
    updates=20_000, learning_rate=1e-3,
)  # fmt: skip


class Flow(eqx.Module):
    """What the network sees of a state: vorticity and velocity, of order one."""

    grid: Grid
    scale: Array

    def __call__(self, vorticity: Float[Array, "nx ny"]) -> Float[Array, "3 nx ny"]:
        channels = vorticity / self.scale
        return jnp.concatenate([channels[None], velocity(vorticity, self.grid)])


def run(config: Config, folder: Path) -> Result:
    """Simulate, train, compare; picture and animation go to `folder`."""
    keys = iter(jax.random.split(jax.random.key(config.seed), 8))
    train, test = _data(config, folder, next(keys), next(keys))
    coarse = Grid((config.coarse,) * 2)
    scale = jnp.std(train)
    features = Flow(coarse, scale)
    corrected_solver, _ = config.solver(config.coarse, config.keep)

    def network(key: PRNGKeyArray) -> ConvNet:
        width, depth = config.width, config.depth
        return ConvNet(2, 3, 1, width=width, depth=depth, zero_last=True, key=key)

    def corrected(key: PRNGKeyArray) -> Corrected:
        net, size = network(key), scale * config.frame
        return Corrected(
            corrected_solver, net, scale=size, features=features, substeps=config.substeps
        )

    def emulator(key: PRNGKeyArray) -> Emulator:
        return Emulator(network(key), scale=scale, features=features)

    train_all = partial(_train, config, folder, train, scale)
    ensemble = train_all(corrected, config.members, next(keys), "corrected")
    emulators = train_all(emulator, config.emulators, next(keys), "emulator")
    rows = _compare(config, test, coarse, ensemble, emulators)
    metrics = summary(rows, test["coarse"], coarse, config.frame)
    pictures(rows, test["coarse"], coarse, folder)
    published = {
        "effective_refinement": Published(8.0, f"8-10 times finer; {SOURCE}"),
        "speed_up": Published(40.0, f"40-80 times faster; {SOURCE}"),
    }
    return Result(metrics, published)


def _train(
    config: Config,
    folder: Path,
    train: Array,
    scale: Array,
    make: Callable[[PRNGKeyArray], Any],
    count: int,
    key: PRNGKeyArray,
    name: str,
) -> list[Any]:
    """An ensemble from `make`, first on single steps, then unrolled; the learning rate decays in
    each.
    """

    def loss(model: Any, windows: Array) -> Array:
        return unrolled(model, windows) / scale**2

    stages = [("single steps", 1, 2 * config.batch, config.pretraining)]
    stages += [("unrolled", config.unroll, config.batch, config.updates)]
    models: list[Any] = []
    for stage, steps, batch, updates in stages:
        if not updates:
            continue
        schedule = optax.cosine_decay_schedule(config.learning_rate, updates, alpha=0.02)
        optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
        stacked, _ = fit_ensemble(
            models or make,
            loss,
            Windows(train, steps, batch),
            optimiser,
            updates,
            keys=jax.random.split(jax.random.fold_in(key, steps), count),
            folder=folder / "checkpoints" / f"{name}-{steps}",
            name=f"{name}, {stage}",
        )
        models = members(stacked)
    return models


def _compare(
    config: Config, test: dict[str, Array], coarse: Grid, ensemble: list[Any], emulators: list[Any]
) -> list[Row]:
    """Every method against the test trajectories, each from the same initial states."""
    truth, finest = test["coarse"], Grid((test["initial"].shape[-1],) * 2)
    times = config.frame * np.arange(truth.shape[1])
    rows = []
    print(f"comparing every method on {len(truth)} test trajectories", flush=True)
    settings = [(1.0, None, "coarse"), (1.0, config.keep, "coarse_keep")]
    settings += [(factor, None, f"finer_{factor:g}x".replace(".", "_")) for factor in config.marks]
    for factor, keep, name in settings:
        points = round(config.coarse * factor)
        if points > finest.shape[0]:
            continue
        step, every = config.solver(points, keep)
        initial = resample(test["initial"], finest, step.grid)
        observe = partial(resample, source=step.grid, target=coarse)
        result = evaluate(step, truth, times, every, initial=initial, observe=observe)
        rows.append(Row(name, result, step, initial[0], every, None if keep else factor))
    for name, models in (("emulator", emulators), ("corrected", ensemble)):
        results = [evaluate(model, truth, times) for model in models]
        for number, (model, result) in enumerate(zip(models, results, strict=True)):
            rows.append(Row(f"{name}_{number}", result, model, truth[0, 0], 1))
        mean = jnp.mean(jnp.stack([result.prediction for result in results]), axis=0)
        rows.append(Row(f"{name}_mean", compare(mean, truth, times)))
    return rows


def _data(
    config: Config, folder: Path, train_key: PRNGKeyArray, test_key: PRNGKeyArray
) -> tuple[Array, dict[str, Array]]:
    """Training trajectories on the coarse grid, and test ones with their initial states on the
    finest grid.
    """
    if config.data is not None:
        return read_trajectories(config.data, config.coarse, config.frame)
    return checkpoint.cached(folder / "data", lambda: _simulate(config, train_key, test_key))


def _simulate(
    config: Config, train_key: PRNGKeyArray, test_key: PRNGKeyArray
) -> tuple[Array, dict[str, Array]]:
    count = config.train_trajectories + config.test_trajectories
    print(f"simulating {count} trajectories, up to {config.reference}²", flush=True)
    train, _ = simulate(
        config, train_key, config.train_trajectories, config.train_time, config.fine
    )
    truth, initial = simulate(
        config, test_key, config.test_trajectories, config.test_time, config.reference
    )
    return train, {"coarse": truth, "initial": initial}


def simulate(
    config: Config, key: PRNGKeyArray, count: int, time: float, points: int
) -> tuple[Float[Array, "count frames n n"], Float[Array, "count m m"]]:
    """Trajectories of developed turbulence with `points` per side, filtered to the coarse grid, and
    their initial states unfiltered.
    """
    warm, warm_every = config.solver(min(2 * config.coarse, points))
    warm_steps = warm_every * max(1, round(config.warm_up / config.frame))
    step, every = config.solver(points)
    coarse = Grid((config.coarse,) * 2)

    def one(key: PRNGKeyArray) -> tuple[Array, Array]:
        start = random_vorticity(key, warm.grid, config.wavenumber, max_speed=3.0)
        developed = repeat(warm, warm_steps, checkpoint=False)(start)
        # A few frames on the fine grid fill the scales that the warm-up did not hold.
        fine = resample(developed, warm.grid, step.grid)
        initial = repeat(step, every * max(1, round(2 / config.frame)), checkpoint=False)(fine)
        steps, observe = (
            every * round(time / config.frame),
            partial(resample, source=step.grid, target=coarse),
        )
        frames = rollout(step, initial, steps, every, observe=observe, checkpoint=False)
        return frames, initial

    return spread(one, jax.random.split(key, count))


EXPERIMENT = Experiment(
    name="turbulence-correction",
    summary="a network trained through a coarse solver corrects it towards a fine one",
    presets={"quick": QUICK, "full": FULL},
    run=run,
)
