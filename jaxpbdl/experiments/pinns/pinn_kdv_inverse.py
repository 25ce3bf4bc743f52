"""The coefficients of the Korteweg-de Vries equation from two snapshots.

u_t + lambda_1 u u_x + lambda_2 u_xxx = 0 on the periodic box -1 < x < 1: scattered values at
t = 0.2 and t = 0.8, far apart for so steep a solution, and the equation in between determine a
field and both coefficients (Raissi, Perdikaris and Karniadakis, J. Comput. Phys. 378 (2019) 686,
by a Runge-Kutta scheme of 50 stages).

With noise, `lambda1_bound` and `lambda2_bound` say how sure any unbiased method can be.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.equations import KortewegDeVries
from jaxpbdl.experiments.configuration import NonNegative
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.pinns.training import Reference, Settings, files, reference, report, train
from jaxpbdl.fields import Box
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.inference import cramer_rao
from jaxpbdl.networks import Chain, Dense, PeriodicFeatures
from jaxpbdl.rollouts import repeat
from jaxpbdl.solvers.spectral import semilinear

TRUE = {"lambda1": 1.0, "lambda2": 0.0025}
TIMES = (0.2, 0.8)
DOMAIN = Box((-1.0, TIMES[0]), (1.0, TIMES[1]))
COUNTS = (199, 201)
WAVES = 4
DATA_WEIGHT = 100.0
KNOWN_WAVES, STEPS = 20, 3000
SOURCE = "Raissi et al. 2019: 1.000 and 0.0025002 clean, 0.999 and 0.0024996 with 1 % noise"


@dataclass(frozen=True)
class Config(Settings):
    """Network, points, optimisers and data."""

    noise: NonNegative = 0.0
    """Standard deviation of noise on the snapshots, relative to theirs."""


class Model(NamedTuple):
    """Coefficients and field, fitted together."""

    equation: KortewegDeVries
    field: Chain


def initial(x: Array) -> Array:
    return jnp.cos(jnp.pi * x)


def run(config: Config, folder: Path) -> Result:
    """Fit field and coefficients, compare both."""
    with jax.enable_x64(True):
        true = KortewegDeVries(TRUE["lambda1"], TRUE["lambda2"])
        truth = reference("korteweg-de-vries", config.data, true, initial, steps=4000)
        points, values = _snapshots(config, truth)
        DOMAIN.require("measurements", points)

        def misfit(model: Model) -> Array:
            return DATA_WEIGHT * jnp.mean((jax.vmap(model.field)(points)[:, 0] - values) ** 2)

        def posed(model: Model):
            return model.equation, lambda point: model.field(point)[0]

        network_key, key = jax.random.split(jax.random.key(config.seed))
        sizes = (1 + 2 * WAVES, *[config.width] * config.depth, 1)
        field = Chain(PeriodicFeatures(0, 2.0, WAVES), Dense(sizes, key=network_key))
        start = Model(KortewegDeVries(0.0, np.exp(-6.0)), field)
        model, shown, losses = train(config, start, posed, DOMAIN, key, folder, misfit)
        equation, found = posed(model)
        inner = (truth.t >= TIMES[0]) & (truth.t <= TIMES[1])
        between = truth._replace(t=truth.t[inner], values=truth.values[:, inner])
        metrics = report(found, equation, between, shown, folder)
        for name, value in zip(TRUE, (equation.advection, equation.dispersion), strict=True):
            metrics[name] = float(value)
            metrics[f"{name}_error"] = abs(float(value) / TRUE[name] - 1)
        noisy = config.noise > 0
        if noisy:
            bounds = coefficient_bounds(config.noise, true, truth, points)
            metrics |= {f"{name}_bound": bound for name, bound in zip(TRUE, bounds, strict=True)}
    return Result(
        metrics,
        {
            "lambda1_error": Published(1e-3 if noisy else 5e-4, SOURCE),
            "lambda2_error": Published(1.6e-4 if noisy else 8e-5, SOURCE),
        },
        losses,
    )


def _snapshots(config: Config, truth: Reference) -> tuple[Array, Array]:
    """Points of both snapshots, and the values there with their noise."""
    random = np.random.default_rng(config.seed)
    points, values = [], []
    for time, count in zip(TIMES, COUNTS, strict=True):
        snapshot = _snapshot(truth, time)
        chosen = random.choice(len(truth.x), min(count, len(truth.x)), replace=False)
        noise = config.noise * snapshot.std() * random.standard_normal(len(chosen))
        points.append(np.stack([truth.x[chosen], np.full(len(chosen), time)], axis=-1))
        values.append(snapshot[chosen] + noise)
    return jnp.asarray(np.concatenate(points)), jnp.asarray(np.concatenate(values))


def _snapshot(truth: Reference, time: float) -> Float[np.ndarray, " nx"]:
    return truth.values[:, np.argmin(abs(truth.t - time))]


def coefficient_bounds(
    noise: float, equation: KortewegDeVries, truth: Reference, points: Array
) -> list[float]:
    """The relative standard deviation of each coefficient that no unbiased estimate from these
    points can go below (Cramer and Rao), by derivatives through the solver.

    Unknown are the coefficients and the Fourier series of the first snapshot up to `KNOWN_WAVES`;
    more waves change little.
    """
    grid = Periodic(truth.x.shape, lengths=2.0, origin=-1.0)
    first = np.isclose(points[:, 1], TIMES[0])
    at = np.argmin(abs(truth.x[None] - np.asarray(points[:, :1])), axis=1)
    snapshots = [_snapshot(truth, time) for time in TIMES]
    angles = np.pi * np.arange(KNOWN_WAVES + 1) * np.asarray(grid.axes[0])[:, None]
    waves = jnp.asarray(np.concatenate([np.cos(angles), np.sin(angles[:, 1:])], axis=1))

    def measured(unknown: tuple[KortewegDeVries, Array]) -> tuple[Array, Array]:
        equation, amplitudes = unknown
        start = jnp.asarray(snapshots[0]) + waves @ amplitudes
        step = semilinear(equation, grid, (TIMES[1] - TIMES[0]) / STEPS, keep=1.0)
        return start[at[first]], repeat(step, STEPS)(start)[at[~first]]

    unknown = (equation, jnp.zeros(waves.shape[1]))
    deviations = tuple(noise * snapshot.std() for snapshot in snapshots)
    errors, _ = cramer_rao(measured, unknown, deviations).standard_errors
    return [
        float(errors.advection / equation.advection),
        float(errors.dispersion / equation.dispersion),
    ]


EXPERIMENT = Experiment(
    name="pinn-kdv-inverse",
    summary="coefficients of the Korteweg-de Vries equation from two snapshots",
    presets={"quick": Config(width=24, points=4000, adam=1000, updates=3000)},
    run=run,
    files=lambda config: files("korteweg-de-vries", config.data),
)
