"""Assimilation in chaotic models whose truth is known: Lorenz' two and Kuramoto-Sivashinsky.

The set-ups (models, measurements, starts, times left out at the beginning) are those of DAPPER
(github.com/nansencenter/DAPPER, `dapper/mods`), whose printed errors stand beside ours: the root
mean square over the values of a state of estimate minus truth at the times of the measurements,
averaged over time. Where nothing else is said, members, inflation and lag are those printed there.
The cycled 4D-Var, the iterative smoother with sparse measurements, the inflation for
Kuramoto-Sivashinsky and the scale of the static 4D-Var were chosen on other seeds than the reported
ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.equations import KuramotoSivashinsky, Lorenz63, Lorenz96
from jaxpbdl.experiments.configuration import Count, NonNegativeInt, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.report import Cell, table
from jaxpbdl.grids import Periodic
from jaxpbdl.inference.assimilation import (
    AssimilationMethod,
    Climate,
    CycledFourDVar,
    EnKF,
    FourDVar,
    IEnKS,
    Observations,
    OptimalInterpolation,
    Problem,
    Score,
    ThreeDVar,
    assimilate,
    climate,
    errors_in_time,
    finite_size,
    gaspari_cohn,
    local,
    periodic_distances,
    problem,
    square_root,
    twin_experiment,
)
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import semilinear
from jaxpbdl.solvers.time import explicit

SOURCE = "DAPPER, commit ae89b30, settings files"
SHOWN = 150
"""Analyses in the picture."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    seeds: Annotated[int, at_least(2)] = 3
    """Truths, each with measurements and members of its own."""
    analyses: Annotated[int, at_least(500)] = 1000
    """With Lorenz' models."""
    wave_seeds: Annotated[int, at_least(2)] = 2
    """Truths of Kuramoto-Sivashinsky."""
    wave_analyses: Count = 600
    wave_burn_in: NonNegativeInt = 200
    """Analyses that do not count; DAPPER leaves out 2000 of 20000."""

    def __post_init__(self):
        super().__post_init__()
        if self.wave_burn_in >= self.wave_analyses:
            raise ValueError(
                f"wave_burn_in must be below wave_analyses = {self.wave_analyses}, got "
                f"{self.wave_burn_in}"
            )


@dataclass(frozen=True)
class Entry:
    """A method, what DAPPER prints for it, and what an analysis costs."""

    name: str
    method: AssimilationMethod
    printed: float | None
    settings: str
    members: int
    """One for a single state."""
    runs: int
    """Of the model over one interval between measurements, for each analysis; a tangent-linear run
    counts as one."""


@dataclass(frozen=True)
class Case:
    """A model with its measurements, and the methods that are tried on it."""

    name: str
    title: str
    problem: Problem
    analyses: int
    burn_in: int
    seeds: int
    entries: tuple[Entry, ...]


def everything(state: Array) -> Array:
    """An operator: all values are measured."""
    return state


def of_a_long_run(setting: Problem) -> Climate:
    """The climate, from 5000 states of a run of its own."""
    first = setting.mean + 1e-3 * jnp.arange(len(setting.root))
    start = rollout(setting.step.step, first, 1000, 1000, checkpoint=False)[-1]
    return climate(setting.step.step, start, 5000, 5)


def ensemble(name: str, method: EnKF, printed: float | None, settings: str) -> Entry:
    return Entry(name, method, printed, settings, method.members, method.members)


def smoother(name: str, method: IEnKS, printed: float | None, settings: str) -> Entry:
    # Each iteration and the last estimate go through the window, the start one interval further.
    ahead = 0 if method.lag == 1 else 1
    runs = method.members * ((method.iterations + 1) * method.lag + ahead)
    return Entry(name, method, printed, settings, method.members, runs)


def variational(
    name: str, method: FourDVar | CycledFourDVar, size: int, printed: float | None, settings: str
) -> Entry:
    # One run and a tangent-linear one for each value of the state.
    ahead = 1 if isinstance(method, CycledFourDVar) and method.lag > 1 else 0
    runs = (size + 1) * ((method.iterations + 1) * method.lag + ahead)
    return Entry(name, method, printed, settings, 1, runs)


def lorenz63(config: Config) -> Case:
    """All three values every 25 steps, with errors of variance 2."""
    setting = problem(
        explicit(Lorenz63().rates, 0.01),
        Observations(everything, 2.0, 25),
        jnp.array([1.509, -1.531, 25.46]),
        2.0,
    )
    found = of_a_long_run(setting)
    entries = (
        Entry("oi", OptimalInterpolation(setting, found), 1.25, "of the climate", 1, 0),
        Entry("3dvar", ThreeDVar(0.1 * found.covariance), 1.04, "B 0.1 of the climate's", 1, 1),
        ensemble("enkf", EnKF(square_root, 10, 1.02, True), 0.60, "inflation 1.02, rotated"),
        ensemble("enkf_n", EnKF(finite_size, 10, 1.0, True), 0.54, "rotated"),
        smoother("ienks", IEnKS(10, 1, 10, 1.02, True), 0.31, "lag 1, inflation 1.02, rotated"),
    )
    title = "Lorenz-63, every 25 steps"
    return Case("lorenz63", title, setting, config.analyses, 64, config.seeds, entries)


def _lorenz96(interval: int) -> Problem:
    start = jnp.zeros(40).at[0].set(1.0)
    step = explicit(Lorenz96().rates, 0.05)
    return problem(step, Observations(everything, 1.0, interval), start, 0.001)


def circle(size: int, radius: float) -> Float[Array, "size size"]:
    """Gaspari and Cohn's taper for as many measurements as values, `radius` in points."""
    points = jnp.arange(float(size))
    return gaspari_cohn(periodic_distances(points, points, float(size)), radius)


def lorenz96(config: Config) -> Case:
    """All 40 values at each step of 0.05, with errors of variance 1."""
    setting = _lorenz96(1)
    found = of_a_long_run(setting)
    near = local(circle(40, 4 * 1.82), setting.observations)
    entries = (
        Entry("oi", OptimalInterpolation(setting, found), 0.95, "of the climate", 1, 0),
        Entry("3dvar", ThreeDVar(0.02 * found.covariance), 0.41, "B 0.02 of the climate's", 1, 1),
        ensemble("enkf", EnKF(square_root, 24, 1.02), 0.18, "inflation 1.02"),
        ensemble("letkf", EnKF(near, 7, 1.04, True), 0.22, "inflation 1.04, radius 4, rotated"),
        smoother("ienks", IEnKS(40, 1, 3, 1.01), 0.17, "lag 1, inflation 1.01"),
    )
    title = "Lorenz-96, every step"
    return Case("lorenz96", title, setting, config.analyses, 400, config.seeds, entries)


def sparse_lorenz96(config: Config) -> Case:
    """All 40 values every 0.2."""
    setting = _lorenz96(4)
    found = of_a_long_run(setting)
    static = FourDVar(0.002 * found.covariance, 4, 3)
    entries = (
        variational("4dvar_static", static, 40, 0.37, "every 0.2, lag 4, B 0.002 of the climate's"),
        variational(
            "4dvar", CycledFourDVar(4, 2, 1.06), 40, 0.37,
            "every 0.2, lag 4, B cycled, inflation 1.06",
        ),
        smoother(
            "ienks_lag4", IEnKS(20, 4, 3, 1.02, True), 0.31,
            "every 0.2, lag 4, inflation 1.02, rotated",
        ),
    )  # fmt: skip
    title = "Lorenz-96, every 4 steps"
    return Case("lorenz96", title, setting, config.analyses, 100, config.seeds, entries)


def waves(config: Config) -> Case:
    """Kuramoto-Sivashinsky: all 128 values every 1, with errors of variance 1. As there, no mode is
    left out for dealiasing: the shortest are damped within a step."""
    grid = Periodic(128, 32 * np.pi)
    step = semilinear(KuramotoSivashinsky(), grid, 0.5, keep=1.0)
    x = grid.coordinates[0]
    first = jnp.cos(x / 16) * (1 + jnp.sin(x / 16))
    start = rollout(step, first, 300, 300, checkpoint=False)[-1]
    setting = problem(step, Observations(everything, 1.0, 2), start, 0.001)
    near = local(circle(128, 51.0), setting.observations)
    entries = (
        ensemble("enkf", EnKF(square_root, 20, 1.02, True), 0.115, "inflation 1.02, rotated"),
        ensemble(
            "letkf", EnKF(near, 16, 1.03, True), 0.11, "inflation 1.03, radius 51/1.82, rotated"
        ),
    )
    return Case(
        "kuramoto_sivashinsky", "Kuramoto-Sivashinsky", setting, config.wave_analyses,
        config.wave_burn_in, config.wave_seeds, entries,
    )  # fmt: skip


CASES: tuple[Callable[[Config], Case], ...] = (lorenz63, lorenz96, sparse_lorenz96, waves)


def series(case: Case, method: AssimilationMethod, seed: int) -> Score:
    """Error and spread of each truth at each time, arrays `(seeds, times)`."""

    def one(key: PRNGKeyArray) -> Score:
        truth, draw = jax.random.split(key)
        twin = twin_experiment(case.problem, case.analyses, truth)
        estimate = assimilate(method, case.problem, twin.observed, draw)
        return errors_in_time(estimate, twin.truth)

    keys = jax.random.split(jax.random.key(seed), case.seeds)
    return eqx.filter_jit(jax.vmap(one))(keys)


def run(
    config: Config, folder: Path, cases: tuple[Callable[[Config], Case], ...] = CASES
) -> Result:
    """Every method on every case; a picture and `methods.md`, with the cost of each, go to
    `folder`."""
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    rows: list[list[Cell]] = []
    shown: dict[str, dict[str, np.ndarray]] = {}
    for case in (make(config) for make in cases):
        for entry in case.entries:
            found = series(case, entry.method, config.seed)
            errors = np.mean(found.rmse[:, case.burn_in :], axis=1)
            spread = float(np.mean(found.spread[:, case.burn_in :]))
            error = float(np.std(errors, ddof=1) / len(errors) ** 0.5)
            metrics[f"{case.name}.rmse_{entry.name}"] = float(np.mean(errors))
            metrics[f"{case.name}.error_{entry.name}"] = error
            metrics[f"{case.name}.spread_{entry.name}"] = spread
            if entry.printed is not None:
                published[f"{case.name}.rmse_{entry.name}"] = Published(entry.printed, SOURCE)
            rows.append(
                [case.title, entry.name, float(np.mean(errors)), error, spread, entry.printed,
                 entry.members, entry.runs, entry.settings]
            )  # fmt: skip
            shown.setdefault(case.title, {})[entry.name] = np.asarray(found.rmse[0, :SHOWN])
    columns = ["case", "method", "rmse", "standard error", "spread", "DAPPER", "members",
               "model runs", "settings"]  # fmt: skip
    table(rows, columns, title="methods", folder=folder, name="methods.md")
    _picture(shown, folder)
    return Result(metrics, published)


def _picture(shown: dict[str, dict[str, np.ndarray]], folder: Path) -> None:
    """`errors.png`: the error of each method over the first analyses of one truth."""
    figure, axes = plotting.figure(1, len(shown), size=(3.4, 2.8))
    for ax, (title, lines) in zip(axes[0], shown.items(), strict=True):
        plotting.curves(ax, lines, xlabel="analysis", ylabel="RMS error", logarithmic=True)
        ax.set_title(title)
    plotting.save(figure, folder / "errors.png")


EXPERIMENT = Experiment(
    name="assimilation",
    summary="the best estimate of a chaotic state: filters, smoothers and 4D-Var beside DAPPER",
    presets={
        "quick": Config(),
        "full": Config(
            seeds=10, analyses=10_000, wave_seeds=3, wave_analyses=20_000, wave_burn_in=2000
        ),
    },
    run=run,
)
