"""Rows, numbers and pictures of `turbulence-correction` and `learned-interpolation`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxpbdl import plotting
from jaxpbdl.diagnostics import energy_spectrum
from jaxpbdl.experiments.turbulence.setting import Config
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import resample
from jaxpbdl.learning.evaluate import Evaluation, compare, evaluate
from jaxpbdl.learning.front import Point, ensemble_pay_off, mean_error, shortest_times
from jaxpbdl.rollouts import repeat
from jaxpbdl.solvers.flow.vorticity import VorticityForm
from jaxpbdl.solvers.spectral.semilinear import SpectralStep
from jaxpbdl.step import AnyStep

Solver: TypeAlias = SpectralStep | VorticityForm
ERROR_TIMES = (1.0, 3.0, 5.0)


@dataclass(frozen=True)
class Row:
    """One method: what it predicted, and the step to time (None for a mean of others)."""

    name: str
    result: Evaluation
    step: AnyStep | None = None
    initial: Array | None = None
    every: int = 1
    """Steps per interval."""
    factor: float | None = None
    """Grid points per side over the coarse ones, if this is a mark of plain solving."""


def plain_row(
    name: str,
    step: Solver,
    every: int,
    test: dict[str, Array],
    times: np.ndarray,
    coarse: Periodic,
    factor: float | None = None,
) -> Row:
    """A solver on a grid of its own, from the initial states of the tests on the finest grid."""
    initial = resample(test["initial"], Periodic((test["initial"].shape[-1],) * 2), step.grid)
    observe = partial(resample, source=step.grid, target=coarse)
    result = evaluate(step, test["coarse"], times, every, initial=initial, observe=observe)
    return Row(name, result, step, initial[0], every, factor)


def plain_rows(
    solver: Callable[[int], tuple[Solver, int]],
    config: Config,
    test: dict[str, Array],
    times: np.ndarray,
    coarse: Periodic,
    prefix: str = "",
) -> list[Row]:
    """`solver(points)`, a step and how many of them make an interval, on the coarse grid and on the
    marks that are not finer than the tests."""
    rows = []
    for factor in (1.0, *config.marks):
        points = round(config.coarse * factor)
        if points <= test["initial"].shape[-1]:
            name = "coarse" if factor == 1 else f"finer_{factor:g}x".replace(".", "_")
            step, every = solver(points)
            rows.append(plain_row(prefix + name, step, every, test, times, coarse, factor))
    return rows


def member_rows(name: str, models: list[AnyStep], truth: Array, times: np.ndarray) -> list[Row]:
    """Each member of an ensemble, and the mean of their predictions."""
    results = [evaluate(model, truth, times) for model in models]
    rows = [
        Row(f"{name}_{number}", result, model, truth[0, 0])
        for number, (model, result) in enumerate(zip(models, results, strict=True))
    ]
    mean = jnp.mean(jnp.stack([result.prediction for result in results]), axis=0)
    return [*rows, Row(f"{name}_mean", compare(mean, truth, times))]


def metrics_of(row: Row, truth: Array, grid: Periodic) -> dict[str, float]:
    """The columns of the table but for the cost."""
    columns = {
        "time_095": row.result.time_above(0.95),
        "time_080": row.result.time_above(0.8),
        **{
            f"error_t{t:g}": row.result.error_at(t)
            for t in ERROR_TIMES
            if t <= row.result.times[-1]
        },
        "spectrum_error": spectrum_error(row.result.prediction, truth, grid),
    }
    return columns


def spectrum_error(prediction: Array, truth: Array, grid: Periodic) -> float:
    """Mean over wavenumbers of |log10 E(k) - log10 E_ref(k)|, spectra averaged over the second half
    of the time.
    """
    shells = slice(1, (min(grid.shape) + 1) // 2)  # those that the coarse grid holds all around
    ours, reference = (mean_spectrum(states, grid)[shells] for states in (prediction, truth))
    return float(jnp.mean(jnp.abs(jnp.log10(ours) - jnp.log10(reference))))


def mean_spectrum(trajectories: Array, grid: Periodic) -> Array:
    """Energy spectrum averaged over trajectories and the second half of the time."""
    half = trajectories.shape[1] // 2
    states = trajectories[:, half:].reshape(-1, *grid.shape)
    return jnp.mean(jax.vmap(lambda w: energy_spectrum(w, grid)[1])(states), axis=0)


def milliseconds(rows: Sequence[Row], repeats: int = 9) -> dict[str, float]:
    """Wall time of an interval of one state by each row that has a step (see `shortest_times`)."""
    turns = 4  # several intervals in one call, so that entering and leaving do not count
    calls = {
        row.name: partial(_run, row.step, row.initial, turns * row.every)
        for row in rows
        if row.step is not None
    }
    return {name: 1e3 * t / turns for name, t in shortest_times(calls, repeats).items()}


@eqx.filter_jit
def _run(step: AnyStep, initial: PyTree, steps: int) -> PyTree:
    return repeat(step, steps, checkpoint=False)(initial)


def effective_refinement(time: float, marks: dict[float, float]) -> float:
    """The refinement of the grid whose plain solver follows the reference for as long: between
    marks (refinement ->
    time) log-linear, beyond them the nearest mark."""
    factors = sorted(marks)
    times = np.maximum.accumulate([marks[factor] for factor in factors])
    return float(np.exp(np.interp(np.log(time), np.log(times), np.log(factors))))


def group(rows: list[Row], name: str) -> list[Row]:
    """The members of an ensemble, without their mean."""
    return [row for row in rows if row.name.removeprefix(f"{name}_").isdigit()]


def deviation_and_error(rows: list[Row], truth: Array) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square over points and trajectories, at each time: standard deviation of the
    members, error of their mean.
    """
    predictions = jnp.stack([row.result.prediction for row in rows])
    axes = (0, 2, 3)
    deviation = jnp.sqrt(jnp.mean(jnp.var(predictions, axis=0, ddof=1), axis=axes))
    error = jnp.sqrt(jnp.mean((jnp.mean(predictions, axis=0) - truth) ** 2, axis=axes))
    return np.asarray(deviation), np.asarray(error)


def measured(
    rows: list[Row], names: Sequence[str], truth: Array, grid: Periodic, interval: float
) -> dict[str, float]:
    """All metrics, `method.metric`; the ensembles `names` also under their own names, averaged over
    members, with the grid whose plain solver follows the reference for as long."""
    metrics: dict[str, float] = {}
    for row in rows:
        for column, value in metrics_of(row, truth, grid).items():
            metrics[f"{row.name}.{column}"] = value
    metrics |= {f"{name}.ms_per_time": ms / interval for name, ms in milliseconds(rows).items()}
    for name in names:
        members = [row.name for row in group(rows, name)]
        columns = [key.split(".")[1] for key in metrics if key.startswith(f"{members[0]}.")]
        for column in columns:
            metrics[f"{name}.{column}"] = float(
                np.mean([metrics[f"{member}.{column}"] for member in members])
            )
    marks = {row.factor: metrics[f"{row.name}.time_095"] for row in rows if row.factor}
    for name in [*names, *(f"{name}_mean" for name in names)]:
        time = metrics[f"{name}.time_095"]
        metrics[f"{name}.as_grid_finer"] = effective_refinement(time, marks)
        metrics[f"{name}.as_long_as_coarse"] = time / marks[1.0]
    return metrics


def speed_up(metrics: dict[str, float], rows: list[Row], name: str) -> float:
    """What the plain solver of the grid that `name` is as good as costs, between marks, over what
    `name` costs: the published measure, by the time to correlation 0.95."""
    prices = {row.factor: metrics[f"{row.name}.ms_per_time"] for row in rows if row.factor}
    factors, costs = np.log(list(prices)), np.log(list(prices.values()))
    refinement = np.log(metrics[f"{name}.as_grid_finer"])
    return float(np.exp(np.interp(refinement, factors, costs))) / metrics[f"{name}.ms_per_time"]


def pay_offs(
    metrics: dict[str, float],
    rows: list[Row],
    names: Sequence[str],
    name: str,
    invested: float,
    length: float,
) -> dict[str, float]:
    """Whether the ensemble `name` pays beside the best plain solvers (see `ensemble_pay_off`), by
    the mean error up to the last of `ERROR_TIMES`: later all predictions of turbulence are equally
    wrong.

    **Arguments:** `names` of all ensembles, whose members are no plain solvers.
    """
    learned = {row.name for each in names for row in group(rows, each)}

    def point(row: Row) -> Point:
        error = mean_error(row.result, until=ERROR_TIMES[-1])
        return Point(row.name, error, 1e-3 * metrics[f"{row.name}.ms_per_time"])

    plain = [point(row) for row in rows if row.step is not None and row.name not in learned]
    members = [point(row) for row in group(rows, name)]
    return ensemble_pay_off(members, plain, invested, length)


def summary(
    rows: list[Row], truth: Array, grid: Periodic, interval: float, invested: float
) -> dict[str, float]:
    """The metrics of `turbulence-correction`; `invested`, seconds of data and training."""
    names = ("emulator", "corrected")
    metrics = measured(rows, names, truth, grid, interval)
    length = interval * (truth.shape[1] - 1)
    metrics |= pay_offs(metrics, rows, names, "corrected", invested, length)
    metrics["effective_refinement"] = metrics["corrected.as_grid_finer"]
    metrics["as_long_as_coarse"] = metrics["corrected.as_long_as_coarse"]
    metrics["speed_up"] = speed_up(metrics, rows, "corrected")
    return metrics


def pictures(rows: list[Row], truth: Array, grid: Periodic, folder: Path) -> None:
    """`vorticity.png` and `vorticity.gif` of the first test trajectory, `accuracy.png` of all."""
    by_name = {row.name: row.result for row in rows}
    shown = {"coarse solver": "coarse", "corrected": "corrected_0", "network alone": "emulator_0"}
    films = {"reference": truth[0]}
    films |= {label: by_name[name].prediction[0] for label, name in shown.items()}
    times, sides = rows[0].result.times, (grid.lengths[0], grid.lengths[1])
    shown_at = np.linspace(0, 0.8 * (len(times) - 1), 5).round().astype(int)
    stills = {label: np.asarray(film)[shown_at] for label, film in films.items()}
    picture = plotting.compare(stills, times[shown_at].tolist(), sides, label="vorticity")
    plotting.save(picture, folder / "vorticity.png")
    plotting.animate(films, folder / "vorticity.gif", sides, times=times.tolist())

    figure, axes = plotting.figure(1, 3, size=(4.6, 3.6))
    marks = [row for row in rows if row.factor]
    lines = {f"solver, {row.factor:g} x finer": row.result for row in marks[1:3]}
    lines = {"coarse solver": by_name["coarse"], **lines, "network alone": by_name["emulator_0"]}
    lines |= {"corrected": by_name["corrected_0"], "mean of members": by_name["corrected_mean"]}
    correlations = {name: result.correlation.mean(axis=0) for name, result in lines.items()}
    plotting.curves(axes[0, 0], correlations, times, xlabel="time", ylabel="vorticity correlation")
    axes[0, 0].axhline(0.95, color="0.6", linewidth=0.8)
    spectra = {"reference": mean_spectrum(truth, grid)}
    for label, name in shown.items():
        spectra[label] = mean_spectrum(by_name[name].prediction, grid)
    shells = slice(1, (min(grid.shape) + 1) // 2)
    k = energy_spectrum(truth[0, 0], grid)[0][shells]
    floor = 0.03 * float(jnp.min(spectra["reference"][shells]))  # beyond its cut a solver has zero
    energies = {
        label: np.maximum(np.asarray(spectrum)[shells], floor)
        for label, spectrum in spectra.items()
    }
    plotting.spectrum(axes[0, 1], k, energies, ylabel="energy spectrum E(k)")
    deviation, error = deviation_and_error(group(rows, "corrected"), truth)
    plotting.spread_skill(axes[0, 2], times, deviation, error)
    plotting.save(figure, folder / "accuracy.png")
