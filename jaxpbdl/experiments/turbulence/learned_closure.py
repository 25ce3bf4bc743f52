"""A learned eddy viscosity for turbulence behind a grid, beside Smagorinsky's at its best constant.

Training, validation and test flows decay from random waves with spectra of a formula,

    E(k) ~ (k / k0)^4 / (1 + (k / k0)^2)^(17/6),

whose peak and energy are drawn about those that Comte-Bellot and Corrsin measured; no measured
value goes into the training. Their truth is a simulation with Smagorinsky's closure (0.17) on cells
three times finer, cut to the waves that the coarse cells hold. A network on single cells
(`solvers.flow.LearnedViscosity`) is trained through the solver so that the energies of the shells
of waves are those of the truth,

    loss = mean over steps and shells 1 to n/2 - 1 of log(E / E of the truth)^2

The plain closure is Smagorinsky's with 0.17, and with the constant that has the least such loss on
the training windows. Of each network the weights are kept that are best on the validation flows.
All are judged on the test flows over their whole time, and then on the measured decay
(`decaying-turbulence`) on more cells than the training had, of the same width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import jaxpbdl as jp
from jaxpbdl.data import find
from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.training import Training
from jaxpbdl.experiments.turbulence import decaying_turbulence as decaying
from jaxpbdl.experiments.turbulence.decaying_turbulence import TIMES, random_waves, shell_energies
from jaxpbdl.grids import Cells
from jaxpbdl.learning import Windows, fit_ensemble, members, unrolled
from jaxpbdl.networks import Dense
from jaxpbdl.solvers.flow import (
    Closure,
    Flow,
    IncompressibleStep,
    LearnedViscosity,
    Smagorinsky,
)

LILLY = 0.17
FINER = 3
PEAKS = (0.25, 0.5)
"""Range of k0, in 1/cm."""
ENERGIES = (600.0, 1100.0)
"""Range of the energy of all waves of the fine grid, in cm^2/s^2."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the flows, the network and its training."""

    seed: int = 0
    data: str | None = None
    """The table of measured spectra; else looked for in the folder JAXPBDL_DATA."""
    cells: Count = 16
    """Of the coarse grid, along each axis."""
    box: Positive = 5.5
    """Length of a side, in mesh widths."""
    snapshots: Count = 100
    """Steps of the coarse solver in the whole time."""
    train: Count = 8
    """Flows."""
    validation: Count = 2
    test: Count = 4
    window: Count = 8
    """Steps in a window of the loss."""
    members: Count = 3
    """Networks, of other starts and batches."""
    width: Count = 16
    constants: tuple[NonNegative, ...] = (0.1, 0.12, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2, 0.22)
    """Of Smagorinsky's closure, among which the best is sought."""
    measured_cells: Count = 32
    """Of the box for the measured decay, along each axis, as wide as those of the training."""
    draws: Count = 3
    """Of the phases of the measured decay."""
    training: Training = field(
        default_factory=lambda: Training(updates=75, batch=4, learning_rate=2e-3, average=0.98)
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.window <= self.snapshots:
            raise ValueError(
                f"window must be at most snapshots = {self.snapshots}, got {self.window}"
            )
        if not self.constants:
            raise ValueError("constants must hold at least one, got none")
        _ = self.flow, self.measured  # which refuse too few cells

    @property
    def flow(self) -> decaying.Config:
        """The coarse box."""
        return decaying.Config(cells=self.cells, box=self.box)

    @property
    def measured(self) -> decaying.Config:
        """The box for the measured decay."""
        box = self.box * self.measured_cells / self.cells
        return decaying.Config(
            seed=self.seed, data=self.data, cells=self.measured_cells, box=box, members=self.draws
        )

    @property
    def dt(self) -> float:
        return TIMES[-1] / self.snapshots


class Parts(NamedTuple):
    """Flows on the coarse grid, leaves `(flows, snapshots, ..)`."""

    train: Flow
    validation: Flow
    test: Flow


def spectrum(key: PRNGKeyArray, grid: Cells) -> Float[np.ndarray, " shells"]:
    """Energies of the shells 0 to n/2 - 1 by the formula, peak and energy drawn."""
    first, second = jax.random.split(key)
    peak = float(
        jnp.exp(jax.random.uniform(first, (), minval=np.log(PEAKS[0]), maxval=np.log(PEAKS[1])))
    )
    energy = float(jax.random.uniform(second, (), minval=ENERGIES[0], maxval=ENERGIES[1]))
    ratio = 2 * np.pi / grid.lengths[0] * np.arange(grid.shape[0] // 2) / peak
    shells = ratio**4 / (1 + ratio**2) ** (17 / 6)
    return energy * shells / shells.sum()


def cut(velocity: tuple[Array, ...], fine: Cells, step: IncompressibleStep) -> tuple[Array, ...]:
    """Components on the faces of a fine grid as those of the coarse grid of `step`: the waves that
    its shells 1 to n/2 - 1 hold, freed of their divergence."""
    n, many = step.grid.shape[0], fine.shape[0]
    kept = np.r_[0 : n // 2, many - n // 2 + 1 : many]
    modes = np.fft.fftfreq(many) * many
    length = np.sqrt(sum(m**2 for m in np.meshgrid(modes, modes, modes, indexing="ij")))
    inside = jnp.asarray(np.rint(length) < n // 2)
    shift = (step.grid.lengths[0] / n - fine.lengths[0] / many) / 2
    coarse = []
    for component, u in enumerate(velocity):
        waves = jnp.fft.fftn(u) * inside
        for axis in range(3):
            if axis != component:  # faces lie in the middle of cells along the other axes
                turn = jnp.exp(2j * np.pi * modes * shift / fine.lengths[0])
                waves = waves * turn.reshape([-1 if a == axis else 1 for a in range(3)])
            waves = jnp.take(waves, kept, axis=axis)
            zero = jnp.zeros_like(jnp.take(waves, np.array([0]), axis=axis))
            before, after = jnp.split(waves, [n // 2], axis=axis)
            waves = jnp.concatenate([before, zero, after], axis=axis)  # the shortest wave
        coarse.append(jnp.fft.ifftn(waves).real * (n / many) ** 3)
    return step.start(tuple(part.astype(step.grid.dtype) for part in coarse)).velocity


def simulated(key: PRNGKeyArray, config: Config, count: int) -> Flow:
    """Flows of the fine grid, cut to the coarse one at every step of the coarse solver."""
    fine = replace(config.flow, cells=FINER * config.cells)
    coarse = decaying.step_of(config.flow, config.dt, None)

    def make(dt: float) -> IncompressibleStep:
        return decaying.step_of(fine, dt, Smagorinsky(LILLY))

    found, step = [], None
    for draw in jax.random.split(key, count):
        waves, phases = jax.random.split(draw)
        state = random_waves(phases, make(1e-6), spectrum(waves, fine.grid))
        if step is None:  # the speeds of the draws differ little, and fall: half the limit
            step = jp.solvers.time.substepped(make, config.dt, state, 0.5)

        def seen(state: Flow) -> Flow:
            velocity = cut(state.velocity, fine.grid, coarse)
            return Flow(velocity, jnp.zeros((), coarse.grid.dtype), {})

        found.append(jp.rollout(step, state, config.snapshots, observe=seen, checkpoint=False))
    return jax.tree.map(lambda *flows: jnp.stack(flows), *found)


def measure(grid: Cells) -> eqx.Partial:
    """From a state to the logarithms of the energies of the shells 1 to n/2 - 1."""
    return eqx.Partial(_logarithms, grid=grid)


def _logarithms(state: Flow, grid: Cells) -> Float[Array, " shells"]:
    return jnp.log(shell_energies(state.velocity, grid)[1:])


@eqx.filter_jit
def misfit(step: IncompressibleStep, flows: Flow) -> Float[Array, ""]:
    """The root of the loss over whole flows, or windows."""
    return jnp.sqrt(unrolled(step, flows, measure=measure(step.grid)))


def windows_of(flows: Flow, length: int) -> Flow:
    """All of a flow, one behind the other."""

    def split(leaf: Array) -> Array:
        starts = range(0, leaf.shape[1] - length, length)
        return jnp.concatenate([leaf[:, at : at + length + 1] for at in starts])

    return jax.tree.map(split, flows)


def run(config: Config, folder: Path) -> Result:
    """Train the networks and judge all closures; a picture goes to `folder`."""
    find("grid-turbulence", given=config.data)  # before the work
    keys = jax.random.split(jax.random.key(config.seed), 4)
    sizes = (config.train, config.validation, config.test)
    flows = Parts(*(simulated(key, config, n) for key, n in zip(keys[:3], sizes, strict=True)))

    def step_with(closure: Closure | None) -> IncompressibleStep:
        return decaying.step_of(config.flow, config.dt, closure)

    known = windows_of(flows.train, config.window)
    tried = {c: float(misfit(step_with(Smagorinsky(c)), known)) for c in config.constants}
    best = min(tried, key=lambda constant: tried[constant])

    held = windows_of(flows.validation, config.window)

    def network(key: PRNGKeyArray) -> IncompressibleStep:
        layers = [4, config.width, config.width, 1]
        return step_with(LearnedViscosity(Dense(layers, zero_last=True, key=key), LILLY))

    training = config.training
    trained, histories = fit_ensemble(
        network,
        eqx.Partial(unrolled, measure=measure(config.flow.grid)),
        Windows(flows.train, config.window, training.batch),
        training.optimiser(),
        training.updates,
        keys=jax.random.split(keys[3], config.members),
        ema=training.average,
        chunk=25,
        validate=eqx.Partial(misfit, flows=held),
        folder=folder / "checkpoints" / "closure",
        name="closure",
    )
    plain = {"none": None, "lilly": Smagorinsky(LILLY), "best_constant": Smagorinsky(best)}
    learned = {f"learned_{n}": step.closure for n, step in enumerate(members(trained))}
    metrics: dict[str, float] = {"best_constant": best}
    for name, closure in {**plain, **learned}.items():
        metrics[f"{name}.validation_loss"] = float(misfit(step_with(closure), held))
        metrics[f"{name}.test_misfit"] = float(misfit(step_with(closure), flows.test))
    beside, published = decaying.compared(config.measured, {**plain, **learned}, folder)
    metrics |= beside
    for what in ("test_misfit", *_of("learned_0", beside)):
        found = [metrics[f"{name}.{what}"] for name in learned]
        metrics[f"learned.{what}"] = float(np.median(found))
    return Result(
        metrics, published, histories={f"learned_{n}": h.loss for n, h in enumerate(histories)}
    )


def _of(name: str, metrics: Mapping[str, float]) -> list[str]:
    return [key.removeprefix(f"{name}.") for key in metrics if key.startswith(f"{name}.")]


EXPERIMENT = Experiment(
    name="learned-closure",
    summary="a learned eddy viscosity beside Smagorinsky's at its best, on a measured decay",
    presets={
        "quick": Config(),
        "full": Config(train=24, test=12, training=replace(Config().training, updates=1000)),
    },
    run=run,
    files=lambda config: [find("grid-turbulence", given=config.data)],
)
