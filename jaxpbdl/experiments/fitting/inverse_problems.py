"""Two numbers of each of six systems from noisy measurements, by the same three calls.

    Burgers      viscosity, size of the start             u at two times
    turbulence   viscosity, size of the force             vorticity at two times
    light        permittivity and width of a layer        what it sends back to a receiver
    quantum      height and width of a barrier            |psi|^2 at two times
    gas          pressure and density behind a membrane   density at two times
    molecule     depth and range of a pair potential      places of four atoms at eight times

The noise is 2 % of the root mean square of the measurements, the starts are off by factors of 1.05
to 2. `minimise` of the sum of squares; `least_squares` with the covariance at its minimum; an
ensemble of least squares on measurements with more noise of the same size, whose spread is what the
covariance should be (randomised maximum likelihood; Oliver, He and Reynolds, ECMOR V, 1996). Beside
them Nelder and Mead's simplex on the same sum of squares, counted until it is within one of the
minimum. The unknowns are logarithms of what must be positive. `solves` are those of least squares,
each with its derivatives by both unknowns, steps of the quasi-Newton method of `minimise`, and
evaluations of the simplex.
"""

from collections.abc import Callable
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
from jaxpbdl.equations import Burgers, CompressibleFlow, NavierStokes2D, kolmogorov
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.grids import Cells, Periodic
from jaxpbdl.inference import least_squares, minimise
from jaxpbdl.initial_states import random_vorticity
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers import quantum, waves
from jaxpbdl.solvers.compressible import finite_volumes, transmissive
from jaxpbdl.solvers.molecular import Phase, verlet
from jaxpbdl.solvers.spectral import semilinear
from jaxpbdl.solvers.time import etdrk2

Unknowns = Float[Array, "2"]
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


class System(NamedTuple):
    """`observe` gives the measurements of two positive unknowns."""

    observe: Callable[[Unknowns], Array]
    truth: tuple[float, float]
    start: tuple[float, float]


def burgers(unknowns: Unknowns) -> Array:
    grid = Periodic(64)
    step = semilinear(Burgers(unknowns[0]), grid, 0.05)
    return rollout(step, unknowns[1] * jnp.sin(grid.axes[0]), 40, every=20)[1:]


def turbulence(unknowns: Unknowns) -> Array:
    grid = Periodic((24, 24))
    flow = NavierStokes2D(unknowns[0], forcing=kolmogorov(4, unknowns[1]))
    start = random_vorticity(jax.random.key(0), grid)
    return rollout(semilinear(flow, grid, 0.05, etdrk2), start, 40, every=20)[1:]


def light(unknowns: Unknowns) -> Array:
    """A layer with soft faces, so that what is seen depends smoothly on where they are."""
    permittivity, width = unknowns
    grid = Cells(200, 10.0)

    def medium(place: Float[Array, "1"]) -> Array:
        inside = jnp.tanh((place[0] - 6.0) / 0.1) - jnp.tanh((place[0] - 6.0 - width) / 0.1)
        return 1 + (permittivity - 1) * inside / 2

    side = waves.absorbing(12)
    source = waves.dipole((4.0,), 2, waves.pulse(1.0))
    step = waves.maxwell(
        grid, 0.04, permittivity=medium, components=waves.ez_hy, sides=(side,), sources=(source,)
    )
    return rollout(step, step.start(), 400, observe=lambda fields: fields.electric[0][60])[200:]


def barrier(unknowns: Unknowns) -> Array:
    height, width = unknowns
    grid = Periodic(128, 40.0)
    x = grid.axes[0] - 20.0
    step = quantum.schroedinger(grid, 0.05, potential=height * jnp.exp(-((x / width) ** 2)))
    packet = jnp.exp(-((x + 8.0) ** 2) / 4) * jnp.exp(1.5j * x)
    return jnp.abs(rollout(step, packet, 160, every=80)[1:]) ** 2


def gas(unknowns: Unknowns) -> Array:
    pressure, density = unknowns
    right = jnp.array([0.125, 0.0, 0.1])
    left = jnp.stack([density, jnp.zeros_like(density), pressure])
    step = finite_volumes(CompressibleFlow(1), Cells(64, 1.0), 2e-3, [transmissive])
    start = step.start(lambda x: jnp.where(x[0] < 0.5, left, right))
    return rollout(step, start, 80, every=40)[1:, 0]


def molecule(unknowns: Unknowns) -> Array:
    """Four atoms of argon, of 0.01 eV and 3.4 Angstrom in units of which the unknowns are."""
    depth, reach = unknowns

    def energy(x: Float[Array, "4 3"]) -> Array:
        apart = jnp.linalg.norm(x[:, None] - x[None] + jnp.eye(4)[..., None], axis=-1)
        sixth = (3.4 * reach / apart) ** 6
        return jnp.sum(jnp.triu(0.04 * depth * (sixth**2 - sixth), 1))

    corners = jnp.array([[0.0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
    step = verlet(energy, np.full(4, 39.948), 8.0)
    states = rollout(step, Phase(2.9 * corners, jnp.zeros((4, 3))), 160, every=20)
    return states.positions[1:] - states.positions[0]


SYSTEMS = {
    "burgers": System(burgers, (0.05, 1.0), (0.1, 0.6)),
    "turbulence": System(turbulence, (0.02, 1.0), (0.04, 0.6)),
    "light": System(light, (4.0, 0.6), (3.2, 0.66)),
    "quantum": System(barrier, (1.2, 1.0), (1.6, 1.3)),
    "gas": System(gas, (1.0, 1.0), (1.5, 0.7)),
    "molecule": System(molecule, (1.0, 1.0), (1.3, 1.05)),
}


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


def run(config: Config, folder: Path, systems: dict[str, System] = SYSTEMS) -> Result:
    """Solve them all; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
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


def _picture(found: dict[str, Found], systems: dict[str, System], folder: Path) -> None:
    """`unknowns.png`: what was found over what is true, with twice the standard errors."""
    figure, axes = plotting.figure(1, 1, size=(4.6, 2.8))
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
    summary="unknowns of six systems from noisy measurements by the same three calls",
    presets={"quick": Config(), "full": Config(members=100, simplex_solves=1000)},
    run=run,
)
