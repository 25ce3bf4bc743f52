"""Equations of motion from a scalar: Lagrange's and Hamilton's, also of networks.

    d/dt dL/dv - dL/dq = force,   so  (d2L/dv2) a = dL/dq - (d2L/dv dq) v + force
    dq/dt = dH/dp,   dp/dt = -dH/dq - friction dH/dp

by automatic differentiation. A network for L or H makes motion that has an energy, which friction
alone takes away (Greydanus, Dzamba and Yosinski, NeurIPS 2019; Cranmer et al., arXiv 2003.04630;
Zhong, Dey and Chakraborty, arXiv 2002.08860 for the friction); `AccelerationNetwork` is the one
without such structure (Chen et al., NeurIPS 2018). States are `(q, v)` or `(q, p)` in one array.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.dense import Dense
from jaxpbdl.solvers.time.runge_kutta import rk4
from jaxpbdl.solvers.time.scheme import Scheme, System
from jaxpbdl.step import Step

Vector = Float[Array, " angles"]
State = Float[Array, " state"]
OfState = Callable[[Vector, Vector], Float[Array, ""]]


def lagrangian_acceleration(
    lagrangian: OfState, position: Vector, velocity: Vector, force: Vector
) -> Vector:
    """The acceleration of `lagrangian(q, v)` under a generalised force. The matrix of its second
    derivatives with respect to the velocities must be invertible."""
    slope = jax.grad(lagrangian, argnums=1)
    inertia = jax.jacfwd(slope, argnums=1)(position, velocity)
    convected = jax.jvp(lambda q: slope(q, velocity), (position,), (velocity,))[1]
    pull = jax.grad(lagrangian)(position, velocity)
    return jnp.linalg.solve(inertia, pull - convected + force)


def hamiltonian_rates(
    hamiltonian: OfState, position: Vector, momentum: Vector, friction: ArrayLike = 0.0
) -> tuple[Vector, Vector]:
    """dq/dt and dp/dt of `hamiltonian(q, p)`, with a friction, a number, times dH/dp."""
    pull, velocity = jax.grad(hamiltonian, argnums=(0, 1))(position, momentum)
    return velocity, -pull - friction * velocity


def halves(state: State) -> tuple[Vector, Vector]:
    """Positions, and velocities or momenta."""
    return state[: len(state) // 2], state[len(state) // 2 :]


def waves_of_angles(angles: Vector) -> Float[Array, " waves"]:
    """Sines and cosines, so that a turn changes nothing."""
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])


class AccelerationNetwork(eqx.Module):
    """dq/dt = v, dv/dt = a network of the angles' sines and cosines and of v: no energy."""

    network: Dense
    speed: float = eqx.field(static=True)

    def __init__(self, angles: int, width: int, *, speed: float = 1.0, key: PRNGKeyArray):
        """`speed` is the size of the velocities; raises ValueError for one that is not above 0."""
        checks.positive("speed", speed)
        self.network = Dense((3 * angles, width, width, angles), zero_last=True, key=key)
        self.speed = speed

    def __call__(self, state: State) -> State:
        angles, velocity = halves(state)
        seen = jnp.concatenate([waves_of_angles(angles), velocity / self.speed])
        # A velocity of this size turns over in about a unit of angle.
        return jnp.concatenate([velocity, self.speed**2 * self.network(seen)])


class HamiltonianNetwork(eqx.Module):
    """H(q, p) = T(p) + V(q) for one angle or more, with networks for T (even in p) and V, and a
    friction that is not negative. Momenta are velocities times a mass of one at small speeds, where
    T is learned about p^2 / 2."""

    kinetic: Dense
    potential: Dense
    log_friction: Float[Array, ""]
    speed: float = eqx.field(static=True)

    def __init__(self, angles: int, width: int, *, speed: float = 1.0, key: PRNGKeyArray):
        """As `AccelerationNetwork`."""
        checks.positive("speed", speed)
        one, other = jax.random.split(key)
        self.kinetic = Dense((angles, width, 1), zero_last=True, key=one)
        self.potential = Dense((2 * angles, width, width, 1), zero_last=True, key=other)
        self.log_friction = jnp.asarray(-3.0)
        self.speed = speed

    def kinetic_energy(self, momentum: Vector) -> Float[Array, ""]:
        part = momentum / self.speed
        learned = self.kinetic(part)[0] + self.kinetic(-part)[0]
        return self.speed**2 * (jnp.sum(part**2) / 2 + learned)

    def potential_energy(self, position: Vector) -> Float[Array, ""]:
        return self.speed**2 * self.potential(waves_of_angles(position))[0]

    def energy(self, position: Vector, momentum: Vector) -> Float[Array, ""]:
        return self.kinetic_energy(momentum) + self.potential_energy(position)

    def __call__(self, state: State) -> State:
        friction = jnp.exp(self.log_friction)
        return jnp.concatenate(hamiltonian_rates(self.energy, *halves(state), friction))


class LagrangianNetwork(eqx.Module):
    """L = v . M(q) v / 2 - V(q), M = C C^T + I / 10 with a network for the triangle C and one for
    V, and a friction matrix R R^T of constants."""

    factor: Dense
    potential: Dense
    resistance: Float[Array, "angles angles"]
    speed: float = eqx.field(static=True)

    def __init__(self, angles: int, width: int, *, speed: float = 1.0, key: PRNGKeyArray):
        """As `AccelerationNetwork`."""
        checks.positive("speed", speed)
        one, other = jax.random.split(key)
        entries = angles * (angles + 1) // 2
        self.factor = Dense((2 * angles, width, width, entries), zero_last=True, key=one)
        self.potential = Dense((2 * angles, width, width, 1), zero_last=True, key=other)
        self.resistance = 0.1 * jnp.eye(angles)
        self.speed = speed

    def mass(self, position: Vector) -> Float[Array, "angles angles"]:
        count = len(position)
        entries = self.factor(waves_of_angles(position))
        lower = jnp.zeros((count, count)).at[jnp.tril_indices(count)].set(entries)
        lower = lower + jnp.eye(count)
        return lower @ lower.T + jnp.eye(count) / 10

    def potential_energy(self, position: Vector) -> Float[Array, ""]:
        return self.speed**2 * self.potential(waves_of_angles(position))[0]

    def lagrangian(self, position: Vector, velocity: Vector) -> Float[Array, ""]:
        kinetic = velocity @ self.mass(position) @ velocity / 2
        return kinetic - self.potential_energy(position)

    def energy(self, position: Vector, velocity: Vector) -> Float[Array, ""]:
        kinetic = velocity @ self.mass(position) @ velocity / 2
        return kinetic + self.potential_energy(position)

    def __call__(self, state: State) -> State:
        angles, velocity = halves(state)
        friction = -self.resistance @ (self.resistance.T @ velocity)
        turned = lagrangian_acceleration(self.lagrangian, angles, velocity, friction)
        return jnp.concatenate([velocity, turned])


class LearnedMotion(Step):
    """One step of d(state)/dt = rates(state), of whose parts the rates alone are trained."""

    trainable_fields = ("rates",)

    rates: Callable[[State], State]
    dt: Float[Array, ""]
    scheme: Scheme

    def __init__(self, rates: Callable[[State], State], dt: ArrayLike, scheme: Scheme = rk4):
        """A one-step scheme, such as `rk4`. Raises ValueError for a dt that is not above 0, and a
        scheme that remembers."""
        checks.positive("dt", dt)
        if scheme.remembers:
            raise ValueError(f"scheme must be of one step, got {type(scheme).__name__}")
        self.rates, self.dt, self.scheme = rates, jnp.asarray(dt, float), scheme

    @property
    def interval(self) -> Float[Array, ""]:
        return self.dt

    def advance(self, working: State) -> State:
        return self.scheme.advance(working, System(self.rates, self.dt))
