"""A tokamak plasma that follows moving targets, by a network trained through its response.

The machine is of the size of TCV (major radius 0.88 m, 120 kA, 10 kHz; J. Degrave et al., Nature
602 (2022) 414), with coils of its own: eight on each side of 36 turns, a solenoid of 144, and a
vessel of 34 filaments of steel. The plasma is elongated, leans on the inner wall and is vertically
unstable: the linear response of `solvers.plasma` about free-boundary equilibria of several profiles
(beta and the peaking of the current); controllers are made on some, without knowing which one they
have, and judged on others. Measured are the distances from a fixed point to the boundary along rays
and the plasma current, as a reconstruction of the equilibrium in real time gives them, and the
currents of the coils; all with noise and late by one or two steps. Beta jumps at a random time.

Beside the network stands a controller with proportional, integral and derivative parts of the four
quantities that targets move (height, size, elongation, current), decoupled by the pseudo-inverse of
the response of a nominal plasma, with what the moving target asks for in advance. Its gains and the
ridge of the pseudo-inverse are the best of a random search, tuned by the same gradient on the same
scenarios, and as often. The network works through the same pseudo-inverse and starts from no
voltages at all; the same without hidden layers is linear and shows what these are worth. In the end
the free boundary is solved for at currents that the network made, beside the linear response.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.networks import Dense
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.plasma import (
    Deviation,
    Drive,
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
    free_boundary,
    plasma_evolution,
    plasma_response,
    round_plasma,
    shaped,
    tokamak,
)
from jaxpbdl.step import Step

RADIUS, INNER, OUTER, HALF = 0.88, 0.624, 1.136, 0.74
"""Of the profiles; of the limiter, with half its height; in m."""
MINOR = 0.22
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
LATEST = 2
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
    offset = points - (INNER + MINOR, 0.0)
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
    view = PlasmaShape(whole.grid, (INNER + MINOR, 0.0), config.rays)
    points, _ = boundary(config.rays, MINOR, config.elongation, 0.0)
    targets = ShapeTargets(jnp.zeros((0, 2)), jnp.asarray(points), 1e-6)
    size = MINOR, config.elongation * MINOR
    plasma = round_plasma(alone, config.current, (INNER + MINOR, 0.0), size)
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


class Signals(NamedTuple):
    """What a controller sees: distances in cm and the plasma current in kA (`controlled`), and the
    currents of the coils in kA over those of the reference."""

    errors: Float[Array, "3 controlled"]
    """Targets less measurements, the latest first."""
    integral: Float[Array, " controlled"]
    """Of the errors over time, in ms."""
    ahead: Float[Array, " controlled"]
    """The change of the targets in the next ms."""
    currents: Float[Array, " driven"]


Controller: TypeAlias = Callable[[Signals], Float[Array, " driven"]]
"""From the signals to shares of the largest voltages; what is beyond one is cut off."""


class Decoupled(eqx.Module):
    """From rates (cm/ms, kA/ms) to shares of the voltages that make them in a nominal plasma, by a
    pseudo-inverse with a ridge."""

    rates: Float[Array, "controlled driven"]
    """That the largest voltages make."""

    def matrix(self, ridge: Float[Array, ""]) -> Float[Array, "driven controlled"]:
        """Of the pseudo-inverse; `ridge` in units of the mean square."""
        square = self.rates @ self.rates.T
        size = jnp.trace(square) / len(square)
        return jnp.linalg.solve(square + ridge * size * jnp.eye(len(square)), self.rates).T


def controlled_rows(rays: int) -> np.ndarray:
    """Of what is seen of a plasma, and over their units."""
    return np.append(np.arange(rays), rays + 2)


def units(rays: int) -> np.ndarray:
    """Of what is controlled."""
    return np.append(np.full(rays, CENTIMETRE), KILOAMPERE)


def limits(config: Config) -> np.ndarray:
    """Of the voltages."""
    return np.append(np.full(COIL, config.coil_voltage), config.solenoid_voltage)


def decoupled(config: Config, response: Response) -> Decoupled:
    """Of a response."""
    seen = np.asarray(response.outputs)[controlled_rows(config.rays)]
    seen = seen / units(config.rays)[:, None]
    rates = seen @ np.linalg.inv(np.asarray(response.inductance))[:, :DRIVEN] * limits(config)
    return Decoupled(jnp.asarray(1e-3 * rates, jnp.float32))


class Gains(eqx.Module):
    """Proportional, integral, derivative and in advance, of each of the four quantities that
    targets move, as exponents of ten; what of the shape is none of them is left alone. And the
    voltages that hold the currents of the coils."""

    inverse: Decoupled
    wishes: Float[Array, "4 controlled"]
    quantities: Float[Array, "controlled 4"]
    """How much of each there is in a change of what is controlled."""
    holding: Float[Array, " driven"]
    """Of a kA, as a share of the largest voltage."""
    powers: Float[Array, "4 4"]
    """Parts by quantities."""
    ridge: Float[Array, ""]
    """As an exponent of ten."""

    trainable_fields = ("powers", "ridge")

    def __call__(self, signals: Signals) -> Float[Array, " driven"]:
        now, _, before = signals.errors
        parts = jnp.stack([now, signals.integral, (now - before) / 2, signals.ahead])
        each = parts @ self.quantities
        wanted = jnp.sum(10.0**self.powers * each, axis=0) @ self.wishes
        return self.inverse.matrix(10.0**self.ridge) @ wanted + self.holding * signals.currents


class Policy(eqx.Module):
    """A network from all signals to rates, decoupled, and voltages; none before training. Without
    hidden layers it is linear but for the limits of the voltages."""

    network: Dense
    inverse: Decoupled
    ridge: Float[Array, ""]

    trainable_fields = ("network", "ridge")

    def __init__(self, inverse: Decoupled, hidden: Sequence[int], key: PRNGKeyArray):
        controlled, driven = inverse.rates.shape
        sizes = (5 * controlled + driven, *hidden, controlled + driven)
        self.network = Dense(sizes, zero_last=True, key=key)
        self.inverse, self.ridge = inverse, jnp.asarray(-2.0)

    def __call__(self, signals: Signals) -> Float[Array, " driven"]:
        return self.act(signals, self.inverse.matrix(10.0**self.ridge))

    def act(
        self, signals: Signals, inverse: Float[Array, "driven controlled"]
    ) -> Float[Array, " driven"]:
        """With the pseudo-inverse at hand, which does not change from one step to another."""
        now, last, before = signals.errors
        every = [now, 3 * (now - last), 3 * (now - before), signals.integral / 5, signals.ahead]
        found = self.network(jnp.concatenate([*every, signals.currents]))
        return jnp.tanh(inverse @ found[: len(now)] + 0.1 * found[len(now) :])


class LoopState(NamedTuple):
    """Of a closed loop."""

    plasma: Deviation
    measured: Float[Array, "late measured"]
    """The latest first."""
    errors: Float[Array, "2 controlled"]
    integral: Float[Array, " controlled"]
    shares: Float[Array, " driven"]
    """Of the largest voltages, the last ones."""


class Given(NamedTuple):
    """What a step of a closed loop is given."""

    target: Float[Array, " controlled"]
    ahead: Float[Array, " controlled"]
    beta: Float[Array, "1"]
    noise: Float[Array, " measured"]


class ClosedLoop(Step):
    """A plasma under control."""

    plant: EvolutionStep
    controller: Controller
    late: Int[Array, ""]
    limits: Float[Array, " driven"]
    rays: int = eqx.field(static=True)

    def controlled(self, plasma: PyTree) -> Float[Array, " controlled"]:
        """Distances in cm and current in kA over the reference."""
        response, rows = self.plant.response, controlled_rows(self.rays)
        change = response.outputs @ plasma.currents + response.disturbed @ plasma.disturbances
        return change[rows] / jnp.asarray(units(self.rays), change.dtype)

    def measured(self, plasma: PyTree) -> Float[Array, " measured"]:
        """What is controlled and the currents of the coils in kA, without noise."""
        return jnp.concatenate([self.controlled(plasma), plasma.currents[:DRIVEN] / KILOAMPERE])

    def start(self, plasma: Deviation) -> LoopState:
        """With a perfect memory of a plasma that has been there for long."""
        seen = self.measured(plasma)
        none = jnp.zeros(self.rays + 1, seen.dtype)
        return LoopState(
            plasma, jnp.tile(seen, (LATEST + 1, 1)), -jnp.tile(seen[: self.rays + 1], (2, 1)),
            none, jnp.zeros(DRIVEN, seen.dtype),
        )  # fmt: skip

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        (given,) = inputs
        latest = self.measured(working.plasma) + given.noise
        measured = jnp.concatenate([latest[None], working.measured[:-1]])
        known = measured[self.late]
        error = given.target - known[: self.rays + 1]
        errors = jnp.concatenate([error[None], working.errors])
        integral = working.integral + error * 1e3 * self.plant.dt
        signals = Signals(errors, integral, given.ahead, known[self.rays + 1 :])
        shares = jnp.clip(self.controller(signals), -1.0, 1.0)
        drive = Drive(shares * self.limits, given.beta)
        return LoopState(
            self.plant.advance(working.plasma, drive), measured, errors[:2], integral, shares
        )


class Scenario(NamedTuple):
    """One task: a plasma, where it starts, and what happens."""

    plasma: Int[Array, ""]
    late: Int[Array, ""]
    height: Float[Array, ""]
    """Of the axis at the start, in cm."""
    given: Given
    """Of all steps."""


class Course(NamedTuple):
    """What a controller made of a scenario, after each step."""

    controlled: Float[Array, "steps controlled"]
    shares: Float[Array, "steps driven"]
    plasma: PyTree
    """A `Deviation`."""


class Room(eqx.Module):
    """All plasmas, how they start, and what the targets ask for."""

    trainable_fields = ()

    steps: EvolutionStep
    modes: Float[Array, "plasmas n"]
    """The unstable mode, with the axis 1 cm above the reference."""
    wishes: Float[Array, "4 controlled"]
    """The change of what is controlled by a target of the largest shift, size, elongation,
    current."""
    config: Config = eqx.field(static=True)

    def scenario(self, key: PRNGKeyArray, plasma: Int[Array, ""], steps: int) -> Scenario:
        """Random targets, jump of beta, delay and noise."""
        config, keys = self.config, jax.random.split(key, 6)
        wanted = smooth(keys[0], steps + 10, config.knots, 4) @ self.wishes
        ahead = (wanted[10:] - wanted[:-10]) * (1e-4 / config.interval)
        jump = config.beta_jump * jax.random.normal(keys[1])
        when = jax.random.randint(keys[2], (), 0, steps)
        beta = jnp.where(jnp.arange(steps) < when, 0.0, jump)[:, None]
        size = np.full(config.rays + 1 + DRIVEN, config.current_noise / 100)
        size[: config.rays], size[config.rays] = config.shape_noise, config.current_noise
        noise = jax.random.normal(keys[3], (steps, len(size))) * jnp.asarray(size)
        late = jax.random.randint(keys[4], (), 1, LATEST + 1)
        height = config.start_height * jax.random.normal(keys[5])
        return Scenario(plasma, late, height, Given(wanted[:-10], ahead, beta, noise))

    def course(self, controller: Controller, scenario: Scenario) -> Course:
        """Of one scenario."""
        plant = jax.tree.map(lambda leaf: leaf[scenario.plasma], self.steps)
        bound = jnp.asarray(limits(self.config), plant.dt.dtype)
        loop = ClosedLoop(plant, controller, scenario.late, bound, self.config.rays)
        moved = scenario.height * self.modes[scenario.plasma]
        start = loop.start(Deviation(moved, jnp.zeros(1, moved.dtype)))

        def look(state: PyTree) -> PyTree:
            return loop.controlled(state.plasma), state.shares, state.plasma

        count = len(scenario.given.target)
        # The states are small: keeping them costs less than computing them again.
        seen, shares, states = rollout(
            loop, start, count, inputs=scenario.given, observe=look, checkpoint=False
        )
        return Course(seen[1:], shares[1:], jax.tree.map(lambda leaf: leaf[1:], states))


def smooth(key: PRNGKeyArray, steps: int, knots: int, many: int) -> Float[Array, "steps many"]:
    """Random curves in [-1, 1] that start from zero: from one random value to the next along half a
    cosine."""
    count = -(-steps // knots) + 1
    values = jax.random.uniform(key, (count, many), minval=-1.0).at[0].set(0.0)
    place = jnp.arange(steps) / knots
    first = jnp.floor(place).astype(int)
    share = (1 - jnp.cos(jnp.pi * (place - first)))[:, None] / 2
    return (1 - share) * values[first] + share * values[first + 1]


def room(config: Config, group: Plasmas) -> Room:
    """In float32, from responses in float64."""
    modes = []
    for response in group.responses:
        mode = response.unstable_mode
        height = np.asarray(response.outputs)[config.rays + 1] @ mode
        modes.append(mode * CENTIMETRE / height)
    about = boundary(config.rays, MINOR, config.elongation, 0.0)[1]
    changed = (
        boundary(config.rays, MINOR, config.elongation, CENTIMETRE * config.shift),
        boundary(config.rays, MINOR + CENTIMETRE * config.growth, config.elongation, 0.0),
        boundary(config.rays, MINOR, config.elongation + config.stretch, 0.0),
    )
    wishes = np.zeros((4, config.rays + 1))
    wishes[:3, :-1] = np.stack([(distances - about) / CENTIMETRE for _, distances in changed])
    wishes[3, -1] = config.current_range
    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), group.steps)
    one, other = (jnp.asarray(x, jnp.float32) for x in (np.stack(modes), wishes))
    return Room(steps=single, modes=one, wishes=other, config=config)


class Tracking(eqx.Module):
    """The loss of a controller: errors over their goals, squared where they are small, and a little
    for voltages; of their mean over time the logarithm, as a plasma that is lost has errors beyond
    all others."""

    room: Room

    def __call__(self, controller: Controller, scenarios: Scenario) -> Float[Array, ""]:
        def one(scenario: Scenario) -> Array:
            course = self.room.course(controller, scenario)
            error = course.controlled - scenario.given.target
            shape = jnp.mean(error[:, :-1] ** 2, axis=1) / GOALS[0] ** 2
            current = error[:, -1] ** 2 / GOALS[1] ** 2
            both = jnp.sqrt(1 + shape) + jnp.sqrt(1 + current) - 2
            return jnp.log1p(jnp.mean(both) + 0.1 * jnp.mean(course.shares**2))

        return jnp.mean(jax.vmap(one)(scenarios))


class Scenarios(eqx.Module):
    """Batches for the training: of all known plasmas in turn."""

    room: Room
    count: int = eqx.field(static=True)

    def __call__(self, key: PRNGKeyArray) -> Scenario:
        keys = jax.random.split(key, self.count)
        which = jnp.arange(self.count) % len(self.room.modes)
        steps = self.room.config.horizon
        return jax.vmap(lambda k, n: self.room.scenario(k, n, steps))(keys, which)


LOW = np.array([[-0.5, -1.0, -1.0, -1.0], [-3.0] * 4, [-1.5, -2.5, -2.5, -2.5], [-0.5] * 4])
HIGH = np.array([[0.9, 0.3, 0.3, 0.3], [-1.0] * 4, [1.0, 0.0, 0.0, 0.0], [0.1] * 4])
"""Exponents of ten between which gains are looked for first."""
RIDGES = -3.0, 1.0


def drawn(first: Gains, key: PRNGKeyArray) -> Gains:
    """Gains at random."""
    gain, ridge = jax.random.split(key)
    powers = jax.random.uniform(gain, LOW.shape, minval=jnp.asarray(LOW), maxval=jnp.asarray(HIGH))
    found = powers, jax.random.uniform(ridge, (), minval=RIDGES[0], maxval=RIDGES[1])
    return eqx.tree_at(lambda g: (g.powers, g.ridge), first, found)


@eqx.filter_jit
def best_drawn(
    loss: Tracking, first: Gains, scenarios: Scenario, key: PRNGKeyArray, many: int
) -> Gains:
    """Of so many random gains those with the smallest loss."""
    keys = jax.random.split(key, many)
    values = jax.lax.map(lambda k: loss(drawn(first, k), scenarios), keys)
    values = jnp.where(jnp.isfinite(values), values, jnp.inf)
    return drawn(first, keys[jnp.argmin(values)])


def first_gains(config: Config, inverse: Decoupled, wishes: Array, response: Response) -> Gains:
    """Before the search."""
    ohm = np.asarray(response.resistance)[:DRIVEN]
    holding = jnp.asarray(ohm * KILOAMPERE / limits(config), jnp.float32)
    middle = jnp.asarray((LOW + HIGH) / 2, jnp.float32)
    return Gains(inverse, wishes, jnp.linalg.pinv(wishes), holding, middle, jnp.asarray(-1.0))


@eqx.filter_jit
def judged(place: Room, controller: Controller, key: PRNGKeyArray) -> tuple[Scenario, Course]:
    """The same scenarios of each plasma for all controllers."""
    config = place.config
    count = config.scenarios * len(place.modes)
    which = jnp.arange(count) % len(place.modes)

    def one(given: tuple[PRNGKeyArray, Array]) -> tuple[Scenario, Course]:
        scenario = place.scenario(*given, config.judged)
        return scenario, place.course(controller, scenario)

    return jax.lax.map(one, (jax.random.split(key, count), which))


LOST = 5.0
"""Error of a distance in cm from which a plasma counts as lost."""


def measures(scenarios: Scenario, courses: Course) -> dict[str, float]:
    """Over all scenarios and times; of the worst scenario; and how many are lost."""
    error = np.asarray(courses.controlled - scenarios.given.target, float)
    shape = np.sqrt(np.mean(error[..., :-1] ** 2, axis=(1, 2)))
    current = np.sqrt(np.mean(error[..., -1] ** 2, axis=1))
    return {
        "shape_rmse_cm": float(np.sqrt(np.mean(shape**2))),
        "current_rmse_ka": float(np.sqrt(np.mean(current**2))),
        "worst_shape_cm": float(np.max(shape)),
        "lost": float(np.sum(np.max(abs(error[..., :-1]), axis=(1, 2)) > LOST)),
        "voltage_share": float(np.sqrt(np.mean(np.asarray(courses.shares) ** 2))),
    }


class Checked(NamedTuple):
    """One moment of a course by the equilibrium of its currents; root mean squares of distances in
    cm."""

    found: Equilibrium
    difference: float
    """From the linear model."""
    off: float
    """From the target."""
    moved: float
    """From the reference."""


def checked(
    config: Config, whole: Tokamak, group: Plasmas, scenario: Scenario, course: Course, step: int
) -> Checked:
    """Solve for the free boundary at the currents after a step (from 0); needs float64."""
    number = int(scenario.plasma)
    beta, exponent = group.profiles[number]
    response, start = group.responses[number], group.found[number]
    currents = np.asarray(response.reference) + np.asarray(course.plasma.currents[step], float)
    now = jnp.asarray([beta]) + jnp.asarray(course.plasma.disturbances[step], float)
    of = ProfileOf(jnp.asarray(exponent))(jnp.asarray(currents[-1]), now)
    found = free_boundary(whole, currents[:-1], of, start=start.plasma, picard=0, tolerance=1e-9)
    view = PlasmaShape(whole.grid, (INNER + MINOR, 0.0), config.rays)
    change = np.asarray(view(found) - response.seen)[controlled_rows(config.rays)]
    change = (change / units(config.rays))[:-1]
    linear = np.asarray(course.controlled[step, :-1])
    target = np.asarray(scenario.given.target[step, :-1])
    sizes = [float(np.sqrt(np.mean(x**2))) for x in (change - linear, change - target, change)]
    return Checked(found, *sizes)


def seconds_of_a_call(policy: Policy, calls: int) -> float:
    """Of the compiled network, one set of signals each: the median."""
    controlled, driven = policy.inverse.rates.shape
    inverse = policy.inverse.matrix(10.0**policy.ridge)
    act = jax.jit(lambda signals: policy.act(signals, inverse))
    none = jnp.zeros(controlled)
    signals = Signals(jnp.zeros((3, controlled)), none, none, jnp.zeros(driven))
    act(signals).block_until_ready()
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        act(signals).block_until_ready()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def run(config: Config, folder: Path) -> Result:
    """Linearise, tune, train, judge, check by equilibria; a picture goes to `folder`."""
    with jax.enable_x64(True):
        whole = machine(config.nodes)
        known, held = (plasmas(config, whole, each) for each in (config.known, config.held))
        practice, test = room(config, known), room(config, held)
        inverse = decoupled(config, known.responses[0])
    rates = [response.rates[0] for group in (known, held) for response in group.responses]
    metrics: dict[str, float] = {
        "slowest_growth_per_s": float(min(rates)), "fastest_growth_per_s": float(max(rates)),
    }  # fmt: skip
    loss, histories, ends = Tracking(practice), {}, {}
    methods: dict[str, Controller] = {}
    tuning = replace(config.training, learning_rate=config.tuning_rate)
    keys = jax.random.split(jax.random.key(config.seed), config.members + 1)
    for number, key in enumerate(keys[1:]):
        end = f"_{number}" if number else ""
        draw, which, weights, batches = jax.random.split(key, 4)
        begin = time.perf_counter()
        gains = first_gains(config, inverse, practice.wishes, known.responses[0])
        few = Scenarios(practice, config.training.batch)
        gains = best_drawn(loss, gains, few(which), draw, config.draws)
        gains, history = train(tuning, gains, loss, few, batches, folder, f"pid{end}", b2=0.99)
        methods[f"pid{end}"], histories[f"pid{end}"] = gains, history.loss
        metrics[f"pid{end}.seconds"] = time.perf_counter() - begin
        hidden = {"linear": (), "network": (config.width, config.width)}
        for kind, layers in hidden.items():
            begin, name = time.perf_counter(), f"{kind}{end}"
            policy, history = train(
                config.training, Policy(inverse, layers, weights), loss,
                few, batches, folder, name, b2=0.99,
            )  # fmt: skip
            methods[name], histories[name] = policy, history.loss
            metrics[f"{name}.seconds"] = time.perf_counter() - begin
            metrics[f"{name}.microseconds"] = 1e6 * seconds_of_a_call(policy, config.timed)
    for name, controller in methods.items():
        ends[name] = judged(test, controller, keys[0])
        metrics |= {f"{name}.{what}": value for what, value in measures(*ends[name]).items()}
    for what in ("shape_rmse_cm", "current_rmse_ka"):
        every = [metrics[f"{name}.{what}"] for name in methods if name.startswith("network")]
        metrics[what] = max(every)
    with jax.enable_x64(True):
        far, late = [], []
        for number in range(len(config.held)):
            scenario, course = jax.tree.map(lambda leaf, n=number: leaf[n], ends["network"])
            farthest = int(jnp.argmax(jnp.sum(scenario.given.target[:, :-1] ** 2, axis=1)))
            for moments, step in ((far, farthest), (late, config.judged - 1)):
                moments.append(checked(config, whole, held, scenario, course, step))
    for name, found in (("equilibrium_far", far), ("equilibrium_end", late)):
        metrics[f"{name}.difference_cm"] = max(one.difference for one in found)
        metrics[f"{name}.off_target_cm"] = max(one.off for one in found)
        metrics[f"{name}.moved_cm"] = max(one.moved for one in found)
    _picture(config, whole, held, ends, far[0], folder / "control.png")
    published = {
        what: Published(value, "Degrave et al. 2022, on hardware with magnetic probes")
        for what, value in (("shape_rmse_cm", 0.75), ("current_rmse_ka", 0.62))
    }
    notes = {
        "pid": f"the best of {config.draws} draws, then {config.training.updates} updates",
        "linear": "the network without hidden layers",
        "equilibrium_far": "solved at the currents of the network's first course of each plasma, "
        "where its target is farthest from the reference; the largest",
        "equilibrium_end": "the same at the end",
    }
    return Result(metrics, published, histories, notes=notes)


def _picture(
    config: Config,
    whole: Tokamak,
    group: Plasmas,
    ends: dict[str, tuple[Scenario, Course]],
    far: Checked,
    path: Path,
) -> None:
    """`control.png`: the first scenario, and its boundary where the target is farthest beside that
    of the reference."""
    figure, axes = plotting.figure(1, 4, size=(2.8, 3.0))
    times = 1e3 * config.interval * np.arange(1, config.judged + 1)
    scenario = ends["network"][0]
    upwards = config.rays // 4
    shown = ((upwards, "distance upwards (cm)"), (config.rays, "plasma current (kA)"))
    for ax, (row, title) in zip(axes[0], shown, strict=False):
        ax.plot(times, scenario.given.target[0, :, row], "k--", label="target", linewidth=0.9)
        for name in ("pid", "network"):
            ax.plot(times, ends[name][1].controlled[0, :, row], label=name, linewidth=0.9)
        ax.set(title=title, xlabel="time (ms)")
    axes[0, 0].legend(fontsize=7)
    axes[0, 2].plot(times, ends["network"][1].shares[0], linewidth=0.6)
    axes[0, 2].set(title="voltages over their limits", xlabel="time (ms)")
    ax = axes[0, 3]
    r, z = whole.grid.lines
    for one, colour in ((group.found[0], plotting.LINES[5]), (far.found, plotting.LINES[0])):
        ax.contour(r, z, np.asarray(one.normalised()).T, [1.0], colors=colour, linewidths=1.3)
    box = [(INNER, -HALF), (OUTER, -HALF), (OUTER, HALF), (INNER, HALF), (INNER, -HALF)]
    ax.plot(*np.transpose(box), color="black", linewidth=0.8)
    ax.plot(whole.coils.r, whole.coils.z, "s", color=plotting.LINES[1], markersize=2)
    ax.set(aspect="equal", title="boundaries", xlabel="R (m)")
    plotting.save(figure, path)


EXPERIMENT = Experiment(
    name="tokamak-control",
    summary="a network that moves an unstable tokamak plasma, trained through its response",
    presets={
        "quick": Config(),
        "full": Config(
            nodes=33, members=3, scenarios=16, draws=300,
            training=Training(300, 20, 1e-2, average=None),
        ),
    },
    run=run,
)  # fmt: skip
