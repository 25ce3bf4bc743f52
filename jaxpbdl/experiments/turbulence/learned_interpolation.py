"""A network chooses the stencils of a coarse finite-volume solver (Kochkov et al., PNAS 118 (2021)
e2101784118).

Kolmogorov flow on a staggered grid. At every step a convolutional network looks at the flow and
gives, face by face, the coefficients that interpolate the velocity which is carried; whatever they
are, momentum is conserved and a constant velocity is carried as it is. Training unrolls the solver
with the network in it. Beside it, on the data and with the updates of `turbulence-correction`, the
corrector of a finite-volume solver and that of a spectral one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import plotting
from jaxpbdl.equations import IncompressibleFlow, kolmogorov
from jaxpbdl.experiments.configuration import Count
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.turbulence import setting
from jaxpbdl.experiments.turbulence.data import trajectories
from jaxpbdl.experiments.turbulence.report import (
    Row,
    mean_spectrum,
    measured,
    member_rows,
    pay_offs,
    plain_row,
    plain_rows,
    speed_up,
)
from jaxpbdl.experiments.turbulence.training import (
    Features,
    correction,
    network,
    train_ensemble,
)
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.learning import Parametrised
from jaxpbdl.solvers.flow import Flow, LinearStencils, VorticityForm, incompressible, vorticity_form
from jaxpbdl.step import AnyStep

ENSEMBLES = ("interpolated", "corrected", "corrected_spectral")
SOURCE = "Kochkov et al., PNAS 118 (2021) e2101784118, at Re = 1000, coarse grid of 64 points"


@dataclass(frozen=True)
class Config(setting.Config):
    """Settings; those of `turbulence-correction` but for:"""

    marks: tuple[float, ...] = (1.5, 2.0, 3.0, 4.0)
    mark_steps: tuple[int, ...] = (5, 8, 10, 15, 20)
    """Of the finite-volume solver."""
    members: Count = 2

    def volumes(self, points: int) -> tuple[VorticityForm, int]:
        """The finite-volume solver with `points` per side, those of the coarse grid or of a mark,
        and how many of its steps make an interval."""
        steps = self.steps_of(points)
        equation = IncompressibleFlow(self.viscosity, kolmogorov(self.wavenumber), drag=self.drag)
        grid = Cells((points,) * 2, 2 * np.pi, periodic=True)
        return vorticity_form(incompressible(equation, grid, self.interval / steps)), steps


class Faces(eqx.Module):
    """What the network sees of the flow: vorticity and velocity, where they lie."""

    scale: Array

    def __call__(self, working: Flow) -> Float[Array, "3 nx ny"]:
        u, v = working.velocity
        step = 2 * jnp.pi / len(u)
        rise = (v - jnp.roll(v, 1, axis=0)) - (u - jnp.roll(u, 1, axis=1))
        return jnp.stack([rise / (step * self.scale), u, v])


def bounded(channels: Float[Array, "channels nx ny"]) -> LinearStencils:
    """Stencils with coefficients of at most 1/2, so that a rise leads no further than from one
    neighbour to the other: free ones can blow up after the first update already."""
    return LinearStencils(jnp.tanh(channels) / 2)


def _stencils(solver: VorticityForm) -> PyTree:
    return solver.flow.interpolation


def interpolated(config: Config, scale: Array, key: PRNGKeyArray) -> Parametrised:
    """The solver of an interval with its stencils from a network, computed anew for every step."""
    solver, steps = config.volumes(config.coarse)
    stencils = network(config, 12, key)
    return Parametrised(
        solver, stencils, bounded, features=Faces(scale), place=_stencils, substeps=steps
    )


def run(config: Config, folder: Path) -> Result:
    """Simulate, train, compare; a picture goes to `folder`."""
    begin = time.perf_counter()
    keys = iter(jax.random.split(jax.random.key(config.seed), 8))
    train, test = trajectories(config, folder, next(keys), next(keys))
    simulated = time.perf_counter() - begin
    coarse, scale = Periodic((config.coarse,) * 2), jnp.std(train)
    features = Features(coarse, scale)
    spectral_solver = config.solver(config.coarse, config.keep)
    makers: dict[str, Callable[[PRNGKeyArray], AnyStep]] = {
        "interpolated": partial(interpolated, config, scale),
        "corrected": partial(correction, config, features, *config.volumes(config.coarse)),
        "corrected_spectral": partial(correction, config, features, *spectral_solver),
    }
    truth = test["coarse"]
    times = config.interval * np.arange(truth.shape[1])
    rows = plain_rows(config.volumes, config, test, times, coarse)
    # What a user would rather take than finite volumes in a periodic box.
    for name, factor in (("coarse_spectral", 1.0), ("finer_spectral_1_25x", 1.25)):
        solver = config.solver(round(factor * config.coarse), config.keep)
        rows.append(plain_row(name, *solver, test, times, coarse))
    histories: dict[str, np.ndarray] = {}
    trainings: dict[str, float] = {}
    for name in ENSEMBLES:
        key, begin = next(keys), time.perf_counter()
        trained, losses = train_ensemble(
            config, folder, train, scale, makers[name], config.members, key, name
        )
        histories |= losses
        trainings[name] = time.perf_counter() - begin
        rows += member_rows(name, trained, truth, times)
    metrics = measured(rows, ENSEMBLES, truth, coarse, config.interval)
    metrics["effective_refinement"] = metrics["interpolated.as_grid_finer"]
    metrics["speed_up"] = speed_up(metrics, rows, "interpolated")
    invested = simulated + trainings["interpolated"] / config.members
    metrics |= pay_offs(metrics, rows, ENSEMBLES, "interpolated", invested, float(times[-1]))
    _picture(rows, truth, times, coarse, folder)
    published = {
        "effective_refinement": Published(10.27, SOURCE),
        "speed_up": Published(85.5, SOURCE),
    }
    return Result(metrics, published, histories)


def _picture(
    rows: list[Row], truth: Array, times: np.ndarray, grid: Periodic, folder: Path
) -> None:
    """The vorticity at the middle of the first test, the correlation, the spectrum."""
    shown = {
        "finite volumes": "coarse",
        "stencils learned": "interpolated_0",
        "corrected": "corrected_0",
        "spectral, corrected": "corrected_spectral_0",
    }
    by_name = {row.name: row.result for row in rows}
    middle = len(times) // 2
    stills = {"reference": truth[0, middle]}
    stills |= {label: by_name[name].prediction[0, middle] for label, name in shown.items()}
    figure, axes = plotting.figure(2, 4, size=(3.4, 3.2))
    limit, sides = float(jnp.max(jnp.abs(truth[0, middle]))), (grid.lengths[0], grid.lengths[1])
    for ax, (label, still) in zip(axes.flat, stills.items(), strict=False):
        plotting.field(ax, still, sides, title=label, limit=limit, bar="vorticity")
    for ax in axes.flat[len(stills) : -2]:
        ax.set_axis_off()
    curves = {label: by_name[name].correlation.mean(axis=0) for label, name in shown.items()}
    ahead, energy = axes.flat[-2:]
    plotting.curves(ahead, curves, times, xlabel="time", ylabel="vorticity correlation")
    ahead.axhline(0.95, color="0.6", linewidth=0.8)
    shells = slice(1, (min(grid.shape) + 1) // 2)
    spectra = {
        label: mean_spectrum(by_name[name].prediction, grid) for label, name in shown.items()
    }
    spectra["reference"] = mean_spectrum(truth, grid)
    k = np.arange(shells.start, shells.stop)
    plotting.spectrum(
        energy, k, {n: np.asarray(s)[shells] for n, s in spectra.items()}, ylabel="energy E(k)"
    )
    plotting.save(figure, folder / "stencils.png")


EXPERIMENT = Experiment(
    name="learned-interpolation",
    summary="a network chooses the stencils of a coarse finite-volume solver of turbulence",
    presets={
        "quick": Config(),
        # The published benchmark, for an accelerator.
        "full": Config(
            viscosity=1e-3, coarse=64, fine=1024, reference=2048, marks=(2.0, 4.0, 8.0, 16.0),
            mark_steps=(6, 12, 24, 48, 96), dt=0.02, warm_up=40.0, train_trajectories=32,
            train_time=30.0, test_trajectories=16, test_time=15.0, members=4, width=64, depth=7,
            unroll=8, pretraining=1000,
            training=replace(Config.training, updates=20_000, batch=16, learning_rate=1e-3),
        ),
    },
    run=run,
)  # fmt: skip
