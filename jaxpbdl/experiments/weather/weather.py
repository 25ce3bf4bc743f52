"""A forecast of the height of 500 hPa from the ten members of the ERA5 ensemble, two models of one
layer beside persistence.

The stream function is that of the linear balance div(f grad psi) = lap p with the geopotential p
(Charney, Tellus 7 (1955) 22), by regularised least squares: near the equator, where f is zero, it
has no solution. The barotropic model carries the vorticity lap psi, and its geopotential comes back
from the same balance; shallow water carries the geopotential itself as its depth. The analysis of a
later time is the mean of the members of the file at that time. Both hemispheres beyond 20 degrees
are judged, by root mean square over the area.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

import jaxpbdl as jp
from jaxpbdl import checks, plotting
from jaxpbdl.data import find
from jaxpbdl.data.archive import arrays
from jaxpbdl.equations.sphere import (
    EARTH_RADIUS,
    EARTH_ROTATION,
    BarotropicVorticity,
    ShallowWater,
)
from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.grids import Sphere, SphericalHarmonics, equiangular, sphere_for
from jaxpbdl.solvers.sphere import on_sphere
from jaxpbdl.solvers.sphere.initial import GRAVITY
from jaxpbdl.step import Step

LEVEL = 500
HOURS = 12
KEYS = ("z", "latitude", "longitude", "level_hPa", "time")


@dataclass(frozen=True)
class Config(Validated):
    """Settings; nothing is drawn at random, `seed` is of no account."""

    seed: int = 0
    data: Path | None = None
    """The ensemble as npz; else looked for in JAXPBDL_DATA."""
    truncation: Count = 42
    """The highest degree."""
    dt: Positive = 1200.0
    """Seconds."""
    hyper_diffusivity: NonNegative = 1e16
    """Of lap^2, m^4/s."""
    balanced_from: Positive = 10.0
    """Degrees of latitude below which the balance is given up."""
    judged_from: NonNegative = 20.0
    """Degrees of latitude beyond which forecasts are judged."""


def members(path: Path) -> tuple[Sphere, np.ndarray]:
    """The grid and the geopotential of 500 hPa, `(members, times, latitudes, longitudes)` with
    latitudes from south to north.

    Raises `checks.DataError` for another layout.
    """
    found = arrays(path, KEYS)
    levels, north, z = found["level_hPa"].tolist(), found["latitude"], found["z"]
    if LEVEL not in levels or z.ndim != 5 or z.shape[3:] != (len(north), len(found["longitude"])):
        raise checks.DataError(
            f"{path}: z must be (members, times, levels, latitudes, longitudes) with the level "
            f"{LEVEL}, got {z.shape} and levels {levels}"
        )
    grid = Sphere(z.shape[3:], EARTH_RADIUS, equiangular)
    z = z[:, :, levels.index(LEVEL)].astype(float)
    if north[0] > north[-1]:
        z, north = z[:, :, ::-1], north[::-1]
    if not np.allclose(north, np.rad2deg(grid.lines[0]), atol=1e-3):
        raise checks.DataError(f"{path}: latitudes must be equally spaced from pole to pole")
    return grid, z


def balance(truncation: int, order: int) -> Float[np.ndarray, "degrees degrees"]:
    """The matrix of lap^-1 div(sin(latitude) grad psi) at one order: each degree n >= max(1, order)
    goes to its neighbours, by the recurrence of sin times a harmonic."""
    n = np.arange(max(1, order), truncation + 1)
    matrix = np.zeros((len(n), len(n)))
    up = np.sqrt((n[1:] ** 2 - order**2) / (4.0 * n[1:] ** 2 - 1))  # from n - 1 to n
    matrix[np.arange(1, len(n)), np.arange(len(n) - 1)] = (n[1:] - 1) / n[1:] * up
    low = n[:-1]
    matrix[np.arange(len(n) - 1), np.arange(1, len(n))] = (low + 2) / (low + 1) * up
    return matrix


def balanced_geopotential(
    stream: Complex[Array, "*members orders degrees"],
) -> Complex[Array, "*members orders degrees"]:
    """Of a stream function, coefficients of mean zero."""
    parts = []
    size = stream.shape[-1]
    for m in range(size):
        first = max(1, m)
        matrix = jnp.asarray(2 * EARTH_ROTATION * balance(size - 1, m), stream.real.dtype)
        part = stream[..., m, first:] @ matrix.T.astype(stream.dtype)
        parts.append(jnp.pad(part, [*[(0, 0)] * (part.ndim - 1), (first, 0)]))
    return jnp.stack(parts, -2)


def balanced_stream(
    geopotential: Complex[np.ndarray, "*members orders degrees"], limit: float
) -> Complex[np.ndarray, "*members orders degrees"]:
    """The stream function in balance with a geopotential: the least sum of the square of what is
    left of the balance and of 2 rotation limit psi."""
    size = geopotential.shape[-1]
    stream = np.zeros_like(geopotential)
    for m in range(size):
        first = max(1, m)
        matrix = balance(size - 1, m)
        normal = matrix.T @ matrix + limit**2 * np.eye(len(matrix))
        given = geopotential[..., m, first:] / (2 * EARTH_ROTATION)
        stream[..., m, first:] = given @ matrix @ np.linalg.inv(normal)
    return stream


@eqx.filter_jit
def _forecasts(step: Step, states: Array, leads: int, every: int) -> Array:
    """`(leads, members, ...)`."""
    each = jax.vmap(lambda state: jp.rollout(step, state, leads * every, every))(states)
    return jnp.moveaxis(each, 0, 1)


def run(config: Config, folder: Path) -> Result:
    """Forecast all members at once in double precision, and judge; a picture goes to `folder`."""
    with jax.enable_x64(True):
        return _run(config, find("era5-members", given=config.data), folder)


def _run(config: Config, path: Path, folder: Path) -> Result:
    grid, z = members(path)
    here = SphericalHarmonics(grid, config.truncation)
    there = SphericalHarmonics(sphere_for(config.truncation, EARTH_RADIUS), config.truncation)
    start = np.asarray(here.transform(jnp.asarray(z[:, 0])))
    stream = jnp.asarray(balanced_stream(start, np.sin(np.deg2rad(config.balanced_from))))
    vorticity = there.to_grid(there.laplacian * stream)
    leads, every = z.shape[1] - 1, max(1, round(HOURS * 3600 / config.dt))
    dt = HOURS * 3600 / every

    equation = BarotropicVorticity(hyper_diffusivity=config.hyper_diffusivity)
    later = _forecasts(on_sphere(equation, there, dt), vorticity, leads, every)
    change = balanced_geopotential(there.inverse_laplacian(there.transform(later)))
    # What the balance left of the start stays as it is.
    modes = {"barotropic": jnp.asarray(start) + change - change[0]}

    depth = there.to_grid(jnp.asarray(start))
    water = ShallowWater(
        float(np.mean(np.real(start[:, 0, 0]))), hyper_diffusivity=config.hyper_diffusivity
    )
    states = jnp.stack([vorticity, jnp.zeros_like(vorticity), depth], 1)
    later = _forecasts(on_sphere(water, there, dt), states, leads, every)
    modes["shallow_water"] = there.transform(later[:, :, 2])

    forecasts = {name: np.asarray(here.to_grid(each)) for name, each in modes.items()}
    forecasts["persistence"] = np.broadcast_to(z[:, 0], (leads + 1, *z[:, 0].shape))
    weights = np.outer(*grid.weights)
    weights = weights * (np.abs(grid.lines[0]) >= np.deg2rad(config.judged_from))[:, None]
    truth = z.mean(0)
    metrics = {}
    scores = {}
    for name, each in forecasts.items():
        error = deviation(each.mean(1) - truth, weights)
        spread = deviation(each.std(1, ddof=1), weights)
        scores[name] = error, spread
        for lead in range(1, leads + 1):
            metrics[f"{name}.rmse_{lead * HOURS}h"] = float(error[lead])
        for lead in range(1, leads + 1):
            metrics[f"{name}.spread_{lead * HOURS}h"] = float(spread[lead])
    _picture(forecasts, truth, scores, folder)
    notes = {name: "m, of the mean of ten members beyond 20 degrees" for name in forecasts}
    return Result(metrics, notes=notes)


def deviation(
    values: Float[np.ndarray, "times latitudes longitudes"],
    weights: Float[np.ndarray, "latitudes longitudes"],
) -> Float[np.ndarray, " times"]:
    """Root mean square over the area, of geopotential in metres of height."""
    return np.sqrt((values**2 * weights).sum((1, 2)) / weights.sum()) / GRAVITY


def _picture(
    forecasts: dict[str, np.ndarray],
    truth: np.ndarray,
    scores: dict[str, tuple[np.ndarray, np.ndarray]],
    folder: Path,
) -> None:
    """`forecast.png`: what changed in the height, as analysed and as forecast; errors and
    spread."""
    figure, axes = plotting.figure(1, len(forecasts) + 1, size=(3.4, 2.3))
    shown = {"analysed": truth[-1] - truth[0]}
    for name in ("barotropic", "shallow_water"):
        shown[name.replace("_", " ")] = forecasts[name][-1].mean(0) - truth[0]
    limit = float(np.abs(shown["analysed"]).max() / GRAVITY)
    hours = HOURS * np.arange(len(truth))
    for ax, (name, change) in zip(axes[0], shown.items(), strict=False):
        title = f"{name}: change in {hours[-1]} h, m"
        plotting.field(ax, change.T / GRAVITY, (360.0, 180.0), title=title, limit=limit, bar="")
        ax.set(xlabel="longitude", ylabel="latitude")
        ax.set_yticks([0, 90, 180], ["-90", "0", "90"])
    lines = {f"{name.replace('_', ' ')}, error": error for name, (error, _) in scores.items()}
    lines |= {
        f"{name.replace('_', ' ')}, spread": spread
        for name, (_, spread) in scores.items()
        if name != "persistence"
    }
    plotting.curves(axes[0, -1], lines, hours, xlabel="hours", ylabel="m")
    plotting.save(figure, folder / "forecast.png")


EXPERIMENT = Experiment(
    name="weather",
    summary="the ERA5 ensemble carried forward by one layer: error and spread beside persistence",
    presets={"quick": Config(), "full": Config(truncation=53, dt=600.0)},
    run=run,
    files=lambda config: [find("era5-members", given=config.data)],
)
