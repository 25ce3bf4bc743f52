"""A solver whose equation lacks a term, and what its user may say of the viscosity.

The flow obeys Burgers' equation with a friction that the model does not know,

    du/dt + u du/dx = viscosity d2u/dx2 - friction u |u|

Five noisy snapshots are given. The viscosity is inferred through the solver with and without a
discrepancy delta(u), a Gaussian process of the velocity, in the equation (Kennedy and O'Hagan
2001). Every draw has a start, a viscosity, a friction and a noise of its own. Judged are the share
of draws whose 95 % interval holds the true viscosity, and the relative error of a forecast over
the same time again. `alone` is a discrepancy that knows nothing of the equation, `right` the
equation with its friction among the unknowns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.diagnostics import relative_l2
from jaxpbdl.distributed import map_members, mesh
from jaxpbdl.equations import Parameter, SemilinearEquation, parameter
from jaxpbdl.equations.semilinear import advective_rate
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.grids import Periodic, Spectrum
from jaxpbdl.initial_states import peaked, random_field
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import semilinear
from jaxpbdl.uncertainty import Discrepancy, infer, normal_half_width
from jaxpbdl.uncertainty import Gaussian as Kernel
from jaxpbdl.uncertainty.discrepancy import Expansion

HALF_WIDTH = normal_half_width(0.95)
SNAPSHOTS = 5
FRICTION, VISCOSITY = (0.3, 1.0), (0.03, 0.1)
"""Ranges of the draws."""
SIZE, PEAK = 1.5, 2.0
"""Of the velocity at the start: root mean square, wavenumber."""
POINTS = np.linspace(-5.0, 5.0, 11)
"""Velocities at which the discrepancy is sought; `LENGTH` is that of its covariance."""
LENGTH = 1.5


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the draws."""

    seed: int = 0
    draws: Count = 100
    cells: Count = 48
    dt: Positive = 0.04
    steps: Count = 50
    """To the last snapshot; a forecast goes as far again."""
    noise: Positive = 0.05
    amplitudes: tuple[Positive, ...] = (1.0, 3.0)
    """Of the discrepancy before any data; each draw takes the one with the larger evidence."""

    def __post_init__(self):
        super().__post_init__()
        if self.steps % SNAPSHOTS or not self.amplitudes:
            raise ValueError(
                f"steps must be a multiple of {SNAPSHOTS} and amplitudes at least one, got "
                f"{self.steps} and {self.amplitudes}"
            )


class WithTerm(SemilinearEquation):
    """du/dt + carried u du/dx = viscosity d2u/dx2 + term(u)."""

    term: eqx.Module
    viscosity: Parameter = parameter(default=0.05)
    carried: float = eqx.field(static=True, default=1.0)

    def symbol(self, spectrum: Spectrum) -> Array:
        return self.viscosity * spectrum.laplacian

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        velocity = spectrum.to_grid(modes)
        square = spectrum.transform(-0.5 * self.carried * velocity**2)
        added = self.term(velocity)  # pyright: ignore[reportCallIssue]
        return spectrum.derivative(square, 0) + spectrum.transform(added)

    def transport_rate(self, state: Array, spectrum: Spectrum) -> Array:
        return advective_rate(jnp.max(jnp.abs(state))[None], spectrum.k)


class Friction(eqx.Module):
    """The term that is there."""

    strength: Float[Array, ""]

    def __call__(self, velocity: Float[Array, " x"]) -> Float[Array, " x"]:
        return -self.strength * velocity * jnp.abs(velocity)


class Nothing(eqx.Module):
    """No term."""

    def __call__(self, velocity: Float[Array, " x"]) -> Float[Array, " x"]:
        return jnp.zeros_like(velocity)


class Unknown(eqx.Module):
    """The term that is sought."""

    delta: Discrepancy | Expansion

    def __call__(self, velocity: Float[Array, " x"]) -> Float[Array, " x"]:
        return self.delta(velocity[:, None])


def sought(term: eqx.Module) -> Discrepancy | None:
    """The discrepancy among the unknowns, if the term is one."""
    delta = term.delta if isinstance(term, Unknown) else None
    return delta if isinstance(delta, Discrepancy) else None


class Way(NamedTuple):
    """What one way of inference makes of one draw."""

    deviation: Float[Array, ""]
    """Of the logarithm of the viscosity from the true one, in standard errors."""
    factor: Float[Array, ""]
    """The inferred viscosity over the true one."""
    width: Float[Array, ""]
    """The standard error of its logarithm."""
    forecast: Float[Array, ""]
    """Relative error."""
    evidence: Float[Array, ""]
    end: Float[Array, " x"]


class Outcome(NamedTuple):
    """Of one draw."""

    without: Way
    right: Way
    with_: Way
    alone: Way
    truth: Float[Array, " x"]


def draw(config: Config, key: PRNGKeyArray) -> Outcome:
    """One flow, its noisy snapshots, and what is made of them."""
    grid = Periodic(config.cells)
    first, viscosity_key, friction_key, noise_key = jax.random.split(key, 4)
    start = random_field(first, grid, peaked(PEAK))
    start = SIZE * start / jnp.std(start)
    viscosity = jax.random.uniform(viscosity_key, (), minval=VISCOSITY[0], maxval=VISCOSITY[1])
    friction = jax.random.uniform(friction_key, (), minval=FRICTION[0], maxval=FRICTION[1])

    def flow(equation: WithTerm, steps: int) -> Array:
        step = semilinear(equation, grid, config.dt)
        return rollout(step, start, steps, config.steps // SNAPSHOTS)[1:]

    whole = flow(WithTerm(Friction(friction), viscosity), 2 * config.steps)
    seen, future = whole[:SNAPSHOTS], whole[SNAPSHOTS:]
    data = seen + config.noise * jax.random.normal(noise_key, seen.shape)

    def way(equation: WithTerm, known: bool = True) -> Way:
        """The viscosity by its logarithm, unless it is known to be nothing."""
        middle = jnp.log(jnp.sqrt(VISCOSITY[0] * jnp.asarray(VISCOSITY[1])))
        unknowns = {"term": equation.term, **({"viscosity": middle} if known else {})}

        def made(p: Mapping) -> WithTerm:
            value = jnp.exp(p["viscosity"]) if known else jnp.zeros(())
            delta = sought(p["term"])
            term = p["term"] if delta is None else Unknown(delta.function())
            return WithTerm(term, value, equation.carried)

        def prior(p: Mapping) -> Array:
            delta = sought(p["term"])
            return jnp.zeros(0) if delta is None else delta.white

        found = infer(
            lambda p: flow(made(p), config.steps), data, unknowns,
            noise=config.noise, prior=prior, steps=30,
        )  # fmt: skip
        ahead = flow(made(found.values), 2 * config.steps)[SNAPSHOTS:]
        off = found.values["viscosity"] - jnp.log(viscosity) if known else jnp.nan
        error = found.standard_errors["viscosity"] if known else jnp.nan
        numbers = (off / error, jnp.exp(off), error, relative_l2(ahead, future), found.log_evidence)
        return Way(*(jnp.asarray(number) for number in numbers), end=ahead[-1])  # pyright: ignore[reportCallIssue]

    points = jnp.asarray(POINTS, start.dtype)[:, None]

    def best(carried: float) -> Way:
        """Of the discrepancies of all amplitudes, the one with the largest evidence."""
        ways = [
            way(
                WithTerm(Unknown(Discrepancy(Kernel(a, LENGTH), points)), carried=carried),
                carried > 0,
            )
            for a in config.amplitudes
        ]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *ways)
        top = jnp.argmax(stacked.evidence)
        return jax.tree.map(lambda leaf: leaf[top], stacked)

    right = WithTerm(Friction(jnp.full((), np.mean(FRICTION))))
    return Outcome(way(WithTerm(Nothing())), way(right), best(1.0), best(0.0), future[-1])


def run(config: Config, folder: Path) -> Result:
    """Judge all draws; a picture goes to `folder`."""
    keys = jax.random.split(jax.random.key(config.seed), config.draws)
    # On one device: lineax, which least squares stand on, refuses to be split among several.
    one = mesh("member", jax.devices()[:1])
    found = map_members(eqx.Partial(draw, config), keys, mesh=one)
    metrics: dict[str, float] = {}
    for name, way in (("with", found.with_), ("without", found.without), ("right", found.right)):
        held = jnp.abs(way.deviation) < HALF_WIDTH
        metrics |= {
            f"{name}.coverage": float(jnp.mean(held)),
            f"{name}.forecast_error": float(jnp.median(way.forecast)),
            f"{name}.factor": float(jnp.median(way.factor)),
            f"{name}.standard_error": float(jnp.median(way.width)),
        }
    metrics["alone.forecast_error"] = float(jnp.median(found.alone.forecast))
    _picture(found, folder)
    return Result(metrics)


def _picture(found: Outcome, folder: Path) -> None:
    """`discrepancy.png`: intervals of the viscosity over the true one, and one forecast."""
    figure, axes = plotting.figure(1, 2, size=(3.6, 2.8))
    ax, flow = axes[0]
    for name, way, shift in (("without", found.without, -0.15), ("with", found.with_, 0.15)):
        shown = slice(0, 20)
        places = np.arange(len(way.factor[shown])) + shift
        middle, width = np.log(way.factor[shown]), HALF_WIDTH * np.asarray(way.width[shown])
        ax.errorbar(places, middle, width, fmt=".", markersize=3, linewidth=1, label=name)
        flow.plot(way.end[0], label=name)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="draw", ylabel="log(viscosity / true one), 95 %")
    flow.plot(found.truth[0], color="black", linewidth=0.8, label="truth")
    flow.set(xlabel="cell", ylabel="velocity, end of the forecast")
    ax.legend()
    flow.legend()
    plotting.save(figure, folder / "discrepancy.png")


EXPERIMENT = Experiment(
    name="discrepancy",
    summary="viscosity by a solver that lacks a term, with and without a discrepancy",
    presets={"quick": Config(), "full": Config(draws=400)},
    run=run,
)
