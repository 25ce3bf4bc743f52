"""The closed loop of `tokamak_control`: what controllers see, the controllers, targets, scenarios.

measurements, late and noisy -> signals -> controller -> voltages within limits -> plasma
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from jaxpbdl.experiments.control.tokamak_machine import (
    CENTIMETRE,
    COIL,
    DRIVEN,
    GOALS,
    KILOAMPERE,
    LONGEST_DELAY,
    MINOR,
    Config,
    Plasmas,
    boundary,
)
from jaxpbdl.networks import Dense
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.plasma import Deviation, Drive, EvolutionStep, Response
from jaxpbdl.step import Step


class Signals(NamedTuple):
    """What a controller sees: distances in cm and the plasma current in kA (`controlled`), and the
    currents of the coils in kA over those of the reference."""

    errors: Float[Array, "3 controlled"]
    """Targets less measurements, the latest first."""
    integral: Float[Array, " controlled"]
    """Of the errors over time, in ms."""
    slope_of_target: Float[Array, " controlled"]
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
        parts = jnp.stack([now, signals.integral, (now - before) / 2, signals.slope_of_target])
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
        every = [
            now,
            3 * (now - last),
            3 * (now - before),
            signals.integral / 5,
            signals.slope_of_target,
        ]
        found = self.network(jnp.concatenate([*every, signals.currents]))
        return jnp.tanh(inverse @ found[: len(now)] + 0.1 * found[len(now) :])


class LoopState(NamedTuple):
    """Of a closed loop."""

    plasma: Deviation
    measured: Float[Array, "delays measured"]
    """The latest first."""
    errors: Float[Array, "2 controlled"]
    integral: Float[Array, " controlled"]
    shares: Float[Array, " driven"]
    """Of the largest voltages, the last ones."""


class Given(NamedTuple):
    """What a step of a closed loop is given."""

    target: Float[Array, " controlled"]
    slope_of_target: Float[Array, " controlled"]
    beta: Float[Array, "1"]
    noise: Float[Array, " measured"]


class ClosedLoop(Step):
    """A plasma under control."""

    plant: EvolutionStep
    controller: Controller
    delay: Int[Array, ""]
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
        measured = jnp.tile(seen, (LONGEST_DELAY + 1, 1))
        errors = -jnp.tile(seen[: self.rays + 1], (2, 1))
        return LoopState(plasma, measured, errors, none, jnp.zeros(DRIVEN, seen.dtype))

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        (given,) = inputs
        latest = self.measured(working.plasma) + given.noise
        measured = jnp.concatenate([latest[None], working.measured[:-1]])
        known = measured[self.delay]
        error = given.target - known[: self.rays + 1]
        errors = jnp.concatenate([error[None], working.errors])
        integral = working.integral + error * 1e3 * self.plant.dt
        signals = Signals(errors, integral, given.slope_of_target, known[self.rays + 1 :])
        shares = jnp.clip(self.controller(signals), -1.0, 1.0)
        drive = Drive(shares * self.limits, given.beta)
        return LoopState(
            self.plant.advance(working.plasma, drive), measured, errors[:2], integral, shares
        )


class Scenario(NamedTuple):
    """One task: a plasma, where it starts, and what happens."""

    plasma: Int[Array, ""]
    delay: Int[Array, ""]
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
        slope = (wanted[10:] - wanted[:-10]) * (1e-4 / config.interval)
        jump = config.beta_jump * jax.random.normal(keys[1])
        when = jax.random.randint(keys[2], (), 0, steps)
        beta = jnp.where(jnp.arange(steps) < when, 0.0, jump)[:, None]
        size = np.full(config.rays + 1 + DRIVEN, config.current_noise / 100)
        size[: config.rays], size[config.rays] = config.shape_noise, config.current_noise
        noise = jax.random.normal(keys[3], (steps, len(size))) * jnp.asarray(size)
        delay = jax.random.randint(keys[4], (), 1, LONGEST_DELAY + 1)
        height = config.start_height * jax.random.normal(keys[5])
        return Scenario(plasma, delay, height, Given(wanted[:-10], slope, beta, noise))

    def course(self, controller: Controller, scenario: Scenario) -> Course:
        """Of one scenario."""
        plant = jax.tree.map(lambda leaf: leaf[scenario.plasma], self.steps)
        bound = jnp.asarray(limits(self.config), plant.dt.dtype)
        loop = ClosedLoop(plant, controller, scenario.delay, bound, self.config.rays)
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
