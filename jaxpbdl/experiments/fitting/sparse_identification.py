"""Equations found from snapshots: Burgers and Korteweg-de Vries, clean and with noise.

    u_t + u u_x = 0.1 u_xx,   u_t + 6 u u_x + u_xxx = 0,

from 101 and 201 snapshots (Rudy, Brunton, Proctor and Kutz, Science Advances 3 (2017) e1602614),
among 1 and (u^p)_x..x with p up to 3 and up to four derivatives: by sparse regression in strong and
in weak form (`inference.sparse_identification`). All widths come from the data, the threshold from
the last quarter of the time; the true terms are used to judge alone. Of several seeds the largest
error counts; a true term that is not found has an error of one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import plotting
from jaxpbdl.data import find
from jaxpbdl.data.matlab import read_mat
from jaxpbdl.experiments.configuration import Count, NonNegative, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.inference.sparse_identification import (
    FourierDerivative,
    Identified,
    Term,
    derivative_terms,
    fitting_bump,
    resolved_modes,
    smoothing_window,
    sparse_regression,
    strong_form,
    weak_form,
    written,
)

POWER, ORDER, DEGREE = 3, 4, 4
TERMS = derivative_terms(POWER, ORDER)
HALVES = range(3, 16)
"""Half widths of the local polynomials in time that are tried."""
SOURCE = "Rudy et al. 2017, notebooks of their repository PDE-FIND, the larger of both errors"


@dataclass(frozen=True)
class System:
    """A file and the equation that it solves."""

    name: str
    truth: Mapping[str, float]
    published: Mapping[str, float]
    """Errors of the strong form, by the suffix of the noise."""


SYSTEMS = {
    "burgers": System(
        "burgers-hump",
        {"(u^2)_x": -0.5, "u_xx": 0.1},
        {"": 0.00145, "_noise_1": 0.03338},
    ),
    "kdv": System(
        "two-solitons",
        {"(u^2)_x": -3.0, "u_xxx": -1.0},
        {"": 0.012246, "_noise_1": 0.137839},
    ),
}


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    """Of the first noise."""
    seeds: Count = 3
    noises: tuple[NonNegative, ...] = (0.0, 0.01, 0.1)
    """Standard deviations of noise over that of the data."""


class Snapshots(NamedTuple):
    """Values at equidistant times and points."""

    values: Float[np.ndarray, "times points"]
    interval: float
    spacing: float

    @property
    def length(self) -> float:
        """Of the periodic box."""
        return self.spacing * self.values.shape[1]


def files(config: Config) -> list[Path]:
    """One a system."""
    return [find(system.name) for system in SYSTEMS.values()]


def read(path: Path) -> Snapshots:
    """The snapshots of a file; what it holds of imaginary parts is rounding."""
    found = read_mat(path, ("x", "t", "usol"))
    x, t = found["x"].ravel(), found["t"].ravel()
    values = np.ascontiguousarray(np.real(found["usol"]).T, float)
    return Snapshots(values, float(t[1] - t[0]), float(x[1] - x[0]))


def by_strong_form(data: Snapshots) -> Identified:
    """Fourier derivatives up to the modes that stand out, rates of fitted polynomials."""
    half = smoothing_window(data.values, DEGREE, HALVES)
    slopes = FourierDerivative(data.length, resolved_modes(data.values))
    values = jnp.asarray(data.values)
    system = strong_form(values, TERMS, slopes, data.interval, half=half, degree=DEGREE)
    return sparse_regression(system)


def by_weak_form(data: Snapshots) -> Identified:
    """Test functions as wide as the spectrum of the data asks for."""
    bumps = (fitting_bump(data.values, 0, 1), fitting_bump(data.values, 1, ORDER))
    values, spacings = jnp.asarray(data.values), (data.interval, data.spacing)
    return sparse_regression(weak_form(values, TERMS, bumps, spacings))


def by_name(terms: tuple[Term, ...], coefficients: Array) -> dict[str, float]:
    """The coefficients that are not zero."""
    pairs = zip(terms, np.asarray(coefficients), strict=True)
    return {term.name: float(value) for term, value in pairs if value}


def largest_error(found: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """Relative, of the true terms; one for a term that is missing."""
    return max(abs(found.get(name, 0.0) / value - 1) for name, value in truth.items())


def suffix(noise: float) -> str:
    """Of the name of a method."""
    return f"_noise_{100 * noise:g}".replace(".", ",") if noise else ""


def run(config: Config, folder: Path) -> Result:
    """Identify both equations from clean and noisy snapshots; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    notes: dict[str, str] = {}
    with jax.enable_x64(True):
        for name, path in zip(SYSTEMS, files(config), strict=True):
            system, clean = SYSTEMS[name], read(path)
            for noise in config.noises:
                method = name + suffix(noise)
                found, line = _judged(config, system, clean, noise)
                metrics |= {f"{method}.{metric}": value for metric, value in found.items()}
                notes[method] = line
                if suffix(noise) in system.published:
                    error = system.published[suffix(noise)]
                    published[f"{method}.strong_error"] = Published(error, SOURCE)
    _picture(config, metrics, folder)
    return Result(metrics, published, notes=notes)


def _judged(
    config: Config, system: System, clean: Snapshots, noise: float
) -> tuple[dict[str, float], str]:
    """The metrics of a system and noise over all seeds, and the equation of the first."""
    count = config.seeds if noise else 1
    rows, line = [], ""
    for seed in range(config.seed, config.seed + count):
        drawn = np.random.default_rng(seed).standard_normal(clean.values.shape)
        data = clean._replace(values=clean.values + noise * clean.values.std() * drawn)
        identified = by_weak_form(data)
        weak = by_name(TERMS, identified.coefficients)
        strong = by_name(TERMS, by_strong_form(data).coefficients)
        line = line or written(TERMS, identified.coefficients)
        rows.append(
            {
                "coefficient_error": largest_error(weak, system.truth),
                "strong_error": largest_error(strong, system.truth),
                "terms_right": float(weak.keys() == system.truth.keys()),
                "strong_terms_right": float(strong.keys() == system.truth.keys()),
            }
        )
    worst = {metric: max(row[metric] for row in rows) for metric in rows[0]}
    for metric in ("terms_right", "strong_terms_right"):
        worst[metric] = min(row[metric] for row in rows)
    return worst, line


def _picture(config: Config, metrics: Mapping[str, float], folder: Path) -> None:
    """`errors.png`: the error of each method against the noise."""
    figure, axes = plotting.figure(1, len(SYSTEMS))
    labels = {"strong_error": "strong form", "coefficient_error": "weak form"}
    places = np.arange(len(config.noises))
    for ax, name in zip(axes[0], SYSTEMS, strict=True):
        lines = {
            label: np.asarray([metrics[f"{name}{suffix(n)}.{metric}"] for n in config.noises])
            for metric, label in labels.items()
        }
        plotting.curves(
            ax, lines, places, xlabel="noise", ylabel="largest relative error", logarithmic=True
        )
        ax.axhline(0.01, color="black", linestyle=":", linewidth=1)
        ax.set_xticks(places, [f"{100 * noise:g} %" for noise in config.noises])
        ax.set_title(name)
    plotting.save(figure, folder / "errors.png")


EXPERIMENT = Experiment(
    name="sparse-identification",
    summary="Burgers and Korteweg-de Vries equations found from clean and noisy snapshots",
    presets={"quick": Config(), "full": Config(seeds=20)},
    run=run,
    files=files,
)
