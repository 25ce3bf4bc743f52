"""Two numbers of each of nine systems from noisy measurements, by the same three calls.

    Burgers      viscosity, size of the start             u at two times
    turbulence   viscosity, size of the force             vorticity at two times
    light        permittivity and width of a layer        what it sends back to a receiver
    quantum      height and width of a barrier            |psi|^2 at two times
    gas          pressure and density behind a membrane   density at two times
    molecule     depth and range of a pair potential      places of four atoms at eight times
    wake         viscosity, speed of the stream           velocity behind a cylinder at three times
    sphere       rotation, height of a hill of water      depth at 35 stations at three times
    equilibrium  current and beta of a plasma             flux of the plasma and its coils

The noise is 2 % of the root mean square of the measurements, the starts are off by factors of 1.05
to 2. `minimise` of the sum of squares; `least_squares` with the covariance at its minimum; an
ensemble of least squares on measurements with more noise of the same size, whose spread is what the
covariance should be (randomised maximum likelihood; Oliver, He and Reynolds, ECMOR V, 1996). Beside
them Nelder and Mead's simplex on the same sum of squares, counted until it is within one of the
minimum. The unknowns are logarithms of what must be positive. `solves` are those of least squares,
each with its derivatives by both unknowns, steps of the quasi-Newton method of `minimise`, and
evaluations of the simplex.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.fitting.systems import SYSTEMS, System, Unknowns
from jaxpbdl.inference import least_squares, minimise

Observed = Float[Array, " measurements"]
STEPS = 60
"""Of least squares, and of the ensemble's."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    noise: Positive = 0.02
    """Over the root mean square of the measurements."""
    members: Annotated[int, at_least(8)] = 24
    """Of the ensemble."""
    simplex_solves: Count = 200
    systems: tuple[str, ...] = tuple(SYSTEMS)
    """Which of them."""

    def __post_init__(self):
        super().__post_init__()
        if not self.systems or not set(self.systems) <= set(SYSTEMS):
            raise ValueError(f"systems must be some of {tuple(SYSTEMS)}, got {self.systems}")


class Found(NamedTuple):
    """Of the logarithms of the unknowns."""

    least_squares: Unknowns
    standard_errors: Unknowns
    spread: Unknowns
    """Of the ensemble."""
    minimise: Unknowns
    solves: dict[str, int | None]
    """None where the simplex did not come close."""


def solve(system: System, config: Config) -> Found:
    """All methods on the same measurements."""

    @eqx.filter_jit
    def observe(logarithms: Unknowns) -> Observed:
        return system.observe(jnp.exp(logarithms)).ravel()

    exact = observe(jnp.log(jnp.asarray(system.truth)))
    deviation = config.noise * jnp.sqrt(jnp.mean(exact**2))
    drawing, *keys = jax.random.split(jax.random.key(config.seed), 1 + config.members)
    seen = exact + deviation * jax.random.normal(drawing, exact.shape)
    start = jnp.log(jnp.asarray(system.start))

    def missed(logarithms: Unknowns, data: Observed) -> Observed:
        return (observe(logarithms) - data) / deviation

    def squares(logarithms: Unknowns) -> Array:
        return jnp.sum(missed(logarithms, seen) ** 2)

    estimate = least_squares(lambda q: missed(q, seen), start, noise=1.0, steps=STEPS)
    lowest = minimise(squares, start)

    def member(key: Array) -> Unknowns:
        other = seen + deviation * jax.random.normal(key, seen.shape)
        found = least_squares(lambda q: missed(q, other), estimate.values, noise=1.0, steps=STEPS)
        return found.values

    ensemble = jax.lax.map(member, jnp.stack(keys))
    spread = jnp.std(ensemble, axis=0, ddof=1)
    counted = _simplex(eqx.filter_jit(squares), start, float(estimate.chi2), config.simplex_solves)
    solves = {
        "least_squares": int(estimate.steps),
        "minimise": int(lowest.steps),
        "simplex": counted,
    }
    errors = jnp.asarray(estimate.standard_errors)
    return Found(estimate.values, errors, spread, lowest.argmin, solves)


def _simplex(loss: Callable, start: Unknowns, lowest: float, limit: int) -> int | None:
    """Evaluations until the sum of squares is within one of the lowest, the size that the
    logarithm of a likelihood cannot tell; None if that is not reached within the limit."""
    values: list[float] = []

    class Close(Exception):
        """To end the search."""

    def counted(logarithms: np.ndarray) -> float:
        values.append(float(loss(jnp.asarray(logarithms, start.dtype))))
        if values[-1] <= lowest + 1:
            raise Close
        return values[-1]

    try:
        scipy.optimize.minimize(
            counted, np.asarray(start, float), method="Nelder-Mead",
            options={"maxfev": limit, "xatol": 0, "fatol": 0},
        )  # fmt: skip
    except Close:
        return len(values)
    return None


def run(config: Config, folder: Path, known: Mapping[str, System] = SYSTEMS) -> Result:
    """Solve them in double precision; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    systems = {name: system for name, system in known.items() if name in config.systems}
    with jax.enable_x64(True):
        found = {name: solve(system, config) for name, system in systems.items()}
    for name, one in found.items():
        off = np.abs(np.asarray(one.least_squares) - np.log(systems[name].truth))
        sigma = np.asarray(one.standard_errors)
        metrics |= {
            f"{name}.error": float(off.max()),
            f"{name}.error_minimise": float(
                np.abs(np.asarray(one.minimise) - np.log(systems[name].truth)).max()
            ),
            f"{name}.standard_error": float(sigma.max()),
            f"{name}.errors_over_sigma": float((off / sigma).max()),
            f"{name}.spread_over_sigma": float(np.mean(np.asarray(one.spread) / sigma)),
            **{
                f"{name}.solves_{way}": float("nan") if count is None else count
                for way, count in one.solves.items()
            },
        }
    metrics["largest_error"] = max(metrics[f"{name}.error"] for name in systems)
    _picture(found, systems, folder)
    return Result(metrics)


def _picture(found: dict[str, Found], systems: Mapping[str, System], folder: Path) -> None:
    """`unknowns.png`: what was found over what is true, with twice the standard errors."""
    figure, axes = plotting.figure(1, 1, size=(6.4, 2.8))
    ax = axes[0, 0]
    for place, (name, one) in enumerate(found.items()):
        off = np.asarray(one.least_squares) - np.log(systems[name].truth)
        for shift, value, sigma in zip((-0.1, 0.1), off, one.standard_errors, strict=True):
            ax.errorbar(place + shift, 100 * value, 200 * float(sigma), fmt="o", markersize=3)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(found)), list(found))
    ax.set(ylabel="off the truth, %, and twice the standard error")
    plotting.save(figure, folder / "unknowns.png")


EXPERIMENT = Experiment(
    name="inverse-problems",
    summary="unknowns of nine systems from noisy measurements by the same three calls",
    presets={"quick": Config(), "full": Config(members=100, simplex_solves=1000)},
    run=run,
)
