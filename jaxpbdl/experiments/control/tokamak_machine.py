"""The machine of `tokamak_control`, its plasmas and their responses, and the settings of all parts.

Coils and vessel are filaments; each plasma is a free-boundary equilibrium of a profile of its own,
and its `Response` what it does with the circuits.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated
from jaxpbdl.experiments.training import Training
from jaxpbdl.solvers.plasma import (
    Equilibrium,
    EvolutionStep,
    PlasmaShape,
    PoloidalBeta,
    PowerShape,
    Rectangle,
    Response,
    ShapeTargets,
    Tokamak,
    coils,
    filaments,
    plasma_evolution,
    plasma_response,
    round_plasma,
    shaped,
    tokamak,
)

RADIUS, INNER, OUTER, HALF = 0.88, 0.624, 1.136, 0.74
"""Of the profiles; of the limiter, with half its height; in m."""


MINOR = 0.22
"""Half the width of the reference plasma, which leans on the inner wall; its centre:"""
CENTRE = (INNER + MINOR, 0.0)


DRIVEN, COIL = 17, 16
"""Circuits with voltages, the solenoid last; those of the other coils."""


TURNS, SOLENOID_TURNS = 36.0, 144.0


COIL_RADIUS, WALL_RADIUS = 0.04, 0.02
"""Of the conductors, as round ones."""


COPPER, STEEL = 1.9e-8, 7.3e-7
"""Resistivities in Ohm m."""


WALL_SECTION = 0.015 * 0.13
"""Of what a filament of the vessel stands for, in m^2."""


PLASMA_OHM = 6e-6


CENTIMETRE, KILOAMPERE = 1e-2, 1e3


LONGEST_DELAY = 2
"""Steps that a measurement is late by at most."""


GOALS = 0.5, 0.3
"""Of the shape in cm and the current in kA: the units of the loss."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    nodes: Count = 25
    """Along R; twice as many along Z."""
    rays: Count = 12
    current: Positive = 1.2e5
    """Of the plasma, in A."""
    elongation: Positive = 1.35
    known: tuple[tuple[Positive, Positive], ...] = (
        (0.3, 1.5), (0.2, 1.2), (0.5, 1.2), (0.2, 2.0), (0.5, 2.0),
    )  # fmt: skip
    """Poloidal beta and the exponent of the current's profile of the plasmas of the training, the
    nominal one first."""
    held: tuple[tuple[Positive, Positive], ...] = ((0.25, 1.35), (0.4, 1.7), (0.55, 1.5))
    """Of those of the judgement."""
    interval: Positive = 1e-4
    """Between actions, in s."""
    knots: Count = 150
    """Steps from one target to the next, along a smooth curve."""
    shift: NonNegative = 1.5
    """Of targets up or down at most, in cm."""
    growth: NonNegative = 0.5
    """Of the minor radius of targets at most, in cm."""
    stretch: NonNegative = 0.05
    """Of the elongation of targets at most."""
    current_range: NonNegative = 3.0
    """Of targets of the plasma current about its reference, in kA."""
    beta_jump: NonNegative = 0.05
    """Standard deviation."""
    start_height: NonNegative = 0.3
    """Standard deviation of the axis of the unstable mode at the start, in cm."""
    shape_noise: NonNegative = 0.2
    """Of each distance, in cm."""
    current_noise: NonNegative = 0.1
    """Of the plasma current, in kA; a hundredth of it for those of the coils."""
    coil_voltage: Positive = 600.0
    solenoid_voltage: Positive = 1000.0
    """Limits, in V."""
    horizon: Count = 300
    """Steps of a scenario of the training."""
    judged: Count = 1000
    scenarios: Count = 8
    """Of the judgement, of each plasma."""
    width: Count = 32
    members: Count = 1
    """Networks and other controllers, of other random weights, draws and scenarios."""
    draws: Count = 100
    """Of the gains, the best of which is tuned."""
    training: Training = field(default_factory=lambda: Training(100, 16, 1e-2, average=None))
    tuning_rate: Positive = 2e-2
    """The largest learning rate of the exponents of the gains; all else as in the training."""
    timed: Count = 2000
    """Calls of the network by which its time is measured."""


def machine(nodes: int) -> Tokamak:
    """Sixteen coils, the solenoid, the vessel; the grid ends inside of them."""
    heights = 0.11 + 0.22 * np.arange(4)
    heights = np.concatenate([-heights[::-1], heights])
    circuits = [filaments(r, z, TURNS) for r in (0.505, 1.31) for z in heights]
    circuits.append(filaments(0.43, np.linspace(-0.8, 0.8, 16), SOLENOID_TURNS / 16))
    circuits += [filaments(r, z) for r in (0.59, 1.17) for z in np.linspace(-0.75, 0.75, 12)]
    circuits += [filaments(r, z) for z in (-0.80, 0.80) for r in np.linspace(0.62, 1.14, 5)]
    grid = Rectangle((nodes, 2 * nodes - 1), (0.60, -0.775), (1.16, 0.775))
    corners = [[INNER, -HALF], [OUTER, -HALF], [OUTER, HALF], [INNER, HALF]]
    return tokamak(grid, coils(*circuits), corners)


def driven_alone(whole: Tokamak) -> Tokamak:
    """The machine without its vessel."""
    kept = slice(0, COIL + 16)
    some = type(whole.coils)(
        whole.coils.r[kept], whole.coils.z[kept], whole.coils.turns[:DRIVEN, kept]
    )
    return Tokamak(
        whole.operator, some, whole.limiter, whole.response[:DRIVEN], whole.to_sides, whole.window
    )


def resistances(whole: Tokamak) -> Float[np.ndarray, " circuits"]:
    """Of all circuits, by their length and section."""
    turns, radii = np.asarray(whole.coils.turns), np.asarray(whole.coils.r)
    length = 2 * np.pi * radii
    coil = COPPER * (turns[:DRIVEN] ** 2 @ length) / (0.7 * np.pi * COIL_RADIUS**2)
    wall = STEEL * (turns[DRIVEN:] @ length) / WALL_SECTION
    return np.concatenate([coil, wall])


def boundary(
    rays: int, size: float, elongation: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points of a boundary on the inner wall, and its distances from the reference's centre along
    the rays."""
    angle = np.linspace(0, 2 * np.pi, 721)
    centre = INNER + size
    points = np.stack(
        [
            centre + size * np.cos(angle + np.arcsin(0.1) * np.sin(angle)),
            height + elongation * size * np.sin(angle),
        ],
        axis=-1,
    )
    offset = points - CENTRE
    at = np.unwrap(np.arctan2(offset[:, 1], offset[:, 0]))
    wanted = 2 * np.pi * (np.arange(rays) + 0.5) / rays
    wanted = np.where(wanted < at[0], wanted + 2 * np.pi, wanted)
    return points[:-1:20], np.interp(wanted, at, np.linalg.norm(offset, axis=-1))


class Plasmas(NamedTuple):
    """Reference equilibria of several profiles and the linear steps about them, on a first axis."""

    profiles: tuple[tuple[float, float], ...]
    found: list[Equilibrium]
    responses: list[Response]
    steps: EvolutionStep


class ProfileOf(eqx.Module):
    """From plasma current and beta to a profile of given exponent."""

    exponent: Float[Array, ""]

    def __call__(self, current: Float[Array, ""], disturbances: Float[Array, "1"]) -> PoloidalBeta:
        return PoloidalBeta(
            shape=PowerShape(1.0, self.exponent),
            current=current,
            beta=disturbances[0],
            radius=RADIUS,
        )


def plasmas(config: Config, whole: Tokamak, profiles: tuple[tuple[float, float], ...]) -> Plasmas:
    """All by the same compiled programs; needs float64."""
    alone, found, responses = driven_alone(whole), [], []
    view = PlasmaShape(whole.grid, CENTRE, config.rays)
    points, _ = boundary(config.rays, MINOR, config.elongation, 0.0)
    targets = ShapeTargets(jnp.zeros((0, 2)), jnp.asarray(points), 1e-6)
    size = MINOR, config.elongation * MINOR
    plasma = round_plasma(alone, config.current, CENTRE, size)
    for beta, exponent in profiles:
        of = ProfileOf(jnp.asarray(exponent))
        current = jnp.asarray(config.current)
        one = shaped(alone, targets, of(current, jnp.asarray([beta])), start=plasma, picard=6)
        none = jnp.zeros(whole.coils.count - DRIVEN)
        one = one._replace(currents=jnp.concatenate([one.currents, none]))
        radii = np.where(np.arange(len(whole.coils.r)) < COIL + 16, COIL_RADIUS, WALL_RADIUS)
        response = plasma_response(
            whole, one, of, config.current, view, resistances=resistances(whole),
            plasma_resistance=PLASMA_OHM, radii=radii, disturbances=[beta],
        )  # fmt: skip
        found.append(one)
        responses.append(response)
    steps = [plasma_evolution(response, config.interval, DRIVEN) for response in responses]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)
    return Plasmas(profiles, found, responses, stacked)
