"""The vorticity of a forced flow over forty units of time from its first ten, by neural operators.

    dw/dt + u . grad w = viscosity lap w + 0.1 (sin 2 pi (x + y) + cos 2 pi (x + y)),

periodic on the unit square: the case of Li et al. (ICLR 2021, arXiv:2010.08895) with viscosity 1e-3
and initial states from N(0, 7^(3/2) (-Laplace + 49)^(-5/2)), drawn and solved here by the spectral
solver. An operator in two dimensions goes from ten snapshots to the next, again and again; one in
three gives all forty at once. Beside them stands the solver itself on few points, which is given
one snapshot.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.training import Training
from jaxpbdl.grids.spectrum import resample
from jaxpbdl.learning import Windows, fit
from jaxpbdl.networks import FNO

GIVEN, LATER = 10, 40
PUBLISHED = {"2d": 0.0128, "3d": 0.0086}


@dataclass(frozen=True)
class Config(Validated):
    """Data, operator and training."""

    seed: int = 0
    operator: Literal["2d", "3d"] = "2d"
    grid: Count = 32
    """Points a side that the operator sees."""
    solved: Count = 64
    """Points a side of the solver that makes the data."""
    viscosity: Positive = 1e-3
    train: Count = 200
    test: Count = 50
    modes: Count = 8
    width: Count = 20
    unroll: int = 4
    """Steps that the operator in two dimensions is unrolled for in training."""
    training: Training = Training(
        updates=800, batch=8, learning_rate=3e-3, warmup_fraction=0.0, final_fraction=0.01
    )
    coarse: Count = 16
    """Points a side of the solver beside it."""

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.unroll <= LATER:
            raise ValueError(f"unroll must be in [1, {LATER}], got {self.unroll}")
        for whole, part in (("solved", "grid"), ("grid", "coarse")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{part} must divide {whole} = {getattr(self, whole)}, "
                    f"got {getattr(self, part)}"
                )


class NextSnapshot(eqx.Module):
    """A step on the ten newest snapshots, of shape (10, n, n)."""

    network: Callable[[Array], Array]

    def __call__(self, snapshots: Float[Array, "10 n n"]) -> Float[Array, "10 n n"]:
        newest = snapshots[-1] + self.network(snapshots)[0]
        return jnp.concatenate([snapshots[1:], newest[None]])

    def later(self, snapshots: Float[Array, "10 n n"], count: int) -> Float[Array, "count n n"]:
        """The snapshots that follow."""
        return jp.rollout(self, snapshots, count)[1:, -1]


class AllSnapshots(eqx.Module):
    """All later snapshots at once, time as a third axis."""

    network: FNO

    def later(self, snapshots: Float[Array, "10 n n"], count: int) -> Float[Array, "count n n"]:
        """The snapshots that follow."""
        still = jnp.broadcast_to(snapshots[..., None], (*snapshots.shape, count))
        return snapshots[-1] + jnp.moveaxis(self.network(still)[0], -1, 0)


def force(position: Float[Array, "2"]) -> Float[Array, "2"]:
    """Its curl is 0.1 (sin 2 pi (x + y) + cos 2 pi (x + y))."""
    phase = 2 * pi * jnp.sum(position)
    along_y = 0.1 / (4 * pi) * (jnp.sin(phase) - jnp.cos(phase))
    return jnp.stack([-along_y, along_y])


def solver(points: int, viscosity: float, dt: float) -> jp.Step:
    """On the unit square."""
    flow = jp.equations.NavierStokes2D(viscosity, forcing=force)
    return jp.solvers.spectral.semilinear(
        flow, jp.grids.Periodic((points, points), lengths=1.0), dt
    )


def vorticities(key: PRNGKeyArray, count: int, config: Config) -> Float[Array, "count times n n"]:
    """Vorticity at t = 1 .. 50 of random initial states."""
    points, per_unit = config.solved, 50
    step = solver(points, config.viscosity, 1 / per_unit)
    grid, thin = jp.grids.Periodic((points, points), lengths=1.0), points // config.grid

    def one(key: PRNGKeyArray) -> Array:
        start = jp.initial_states.gaussian_field(
            key, grid, lambda k: 7**0.75 * (k**2 + 49) ** -1.25
        )
        all_snapshots = jp.rollout(step, start, (GIVEN + LATER) * per_unit, per_unit)
        return all_snapshots[1:, ::thin, ::thin]

    return jp.distributed.map_members(one, jax.random.split(key, count))


def relative_l2(answer: Array, truth: Array) -> Float[Array, ""]:
    """Over all snapshots of one sample."""
    return jnp.linalg.norm((answer - truth).ravel()) / jnp.linalg.norm(truth.ravel())


def run(config: Config, folder: Path) -> Result:
    """Draw the data, the same for every seed, train and test; a picture goes to `folder`."""
    train_key, test_key = jax.random.split(jax.random.key(0))
    known = vorticities(train_key, config.train, config)
    test = vorticities(test_key, config.test, config)
    start, fitting = jax.random.split(jax.random.key(config.seed))
    operator, span = _operator(config, start)

    def loss(operator: NextSnapshot | AllSnapshots, windows: Array) -> Array:
        def one(window: Array) -> Array:
            return relative_l2(operator.later(window[:GIVEN], span), window[GIVEN:])

        return jnp.mean(jax.vmap(one)(windows))

    operator, history = fit(
        operator,
        loss,
        Windows(known, GIVEN + span - 1, config.training.batch),
        config.training.optimiser(),
        config.training.updates,
        key=fitting,
        chunk=50,
        ema=config.training.average,
        folder=folder / "checkpoints",
        name=f"fno-{config.operator}",
    )
    answers = _answers(config, operator, test)
    truth = test[:, GIVEN:]
    metrics = {
        f"{name}.relative_l2": float(jnp.mean(jax.vmap(relative_l2)(answer, truth)))
        for name, answer in answers.items()
    }
    metrics["relative_l2"] = metrics["fno.relative_l2"]
    _picture(truth[0], {name: answer[0] for name, answer in answers.items()}, folder)
    source = "Li et al. 2021: 64 points a side, 1000 samples, 500 passes, on an accelerator"
    published = {"relative_l2": Published(PUBLISHED[config.operator], source)}
    return Result(metrics, published, {"fno": history.loss})


def _operator(config: Config, key: PRNGKeyArray) -> tuple[NextSnapshot | AllSnapshots, int]:
    """And the number of steps that it is unrolled for in training."""
    flat, ndim = config.operator == "2d", 2 if config.operator == "2d" else 3
    network = FNO(
        ndim,
        GIVEN,
        1,
        modes=config.modes,
        width=config.width,
        coordinates=True,
        # Not periodic in time.
        padding=0.0 if flat else (0.0, 0.0, 0.1),
        zero_last=True,
        key=key,
    )
    return (NextSnapshot(network), config.unroll) if flat else (AllSnapshots(network), LATER)


def _answers(
    config: Config, operator: NextSnapshot | AllSnapshots, test: Array
) -> dict[str, Float[Array, "samples later n n"]]:
    """Of the operator, of the solver on few points, and of the last snapshot held."""
    thin, per_unit = config.grid // config.coarse, 10
    step = solver(config.coarse, config.viscosity, 1 / per_unit)
    size = (LATER, config.grid, config.grid)
    few, many = (jp.grids.Periodic((n, n), lengths=1.0) for n in (config.coarse, config.grid))

    def solved(snapshots: Array) -> Array:
        later = jp.rollout(step, snapshots[-1, ::thin, ::thin], LATER * per_unit, per_unit)[1:]
        return resample(later, few, many)

    def every(answer: Callable[[Array], Array]) -> Array:
        return jp.distributed.map_members(answer, test[:, :GIVEN])

    return {
        "persistence": every(lambda snapshots: jnp.broadcast_to(snapshots[-1], size)),
        "solver": every(solved),
        "fno": jp.distributed.map_members(_Later(operator), test[:, :GIVEN]),
    }


class _Later(eqx.Module):
    operator: NextSnapshot | AllSnapshots

    def __call__(self, snapshots: Array) -> Array:
        return self.operator.later(snapshots, LATER)


def _picture(truth: Array, answers: dict[str, Array], folder: Path) -> None:
    """The last snapshot of one sample by each."""
    columns = {"truth": truth} | answers
    figure, axes = plotting.figure(1, len(columns), size=(2.6, 2.4))
    limit = float(jnp.abs(truth[-1]).max())
    images = [
        plotting.field(ax, np.asarray(snapshots[-1]), (1.0, 1.0), title=name, limit=limit)
        for ax, (name, snapshots) in zip(axes[0], columns.items(), strict=True)
    ]
    plotting.colour_bar(images[0], axes, "vorticity")
    plotting.save(figure, folder / "vorticity.png")


EXPERIMENT = Experiment(
    name="operator-navier-stokes",
    summary="neural operators go on with a forced flow for forty units of time",
    presets={
        "quick": Config(),
        "paper": Config(
            grid=64, train=1000, test=200, modes=12, unroll=40,
            training=replace(Config.training, updates=25_000, batch=20, learning_rate=1e-3),
        ),
        "paper-3d": Config(
            operator="3d", grid=64, train=1000, test=200,
            training=replace(Config.training, updates=50_000, batch=10, learning_rate=1e-3),
        ),
    },
    run=run,
)  # fmt: skip
