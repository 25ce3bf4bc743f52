"""Molecular dynamics: atoms under the forces of any energy, alone or in a bath of heat.

    m d2x/dt2 = -grad E(x)                                              (`verlet`)
    m d2x/dt2 = -grad E(x) - m friction v + noise of temperature T      (`langevin`)

Units: Angstrom, femtosecond, electronvolt, atomic mass unit, kelvin. A step takes one gradient,
which it hands to the next one, so `rollout` runs it inside jit, and `vmap` many trajectories.

Atoms of a large or periodic structure meet their neighbours alone: with `neighbours` the energy is
that of a graph, which is made again whenever an atom has come far enough.

Sources: Swope, Andersen, Berens and Wilson, J. Chem. Phys. 76 (1982) 637 (velocity Verlet);
Leimkuhler and Matthews, Appl. Math. Res. Express (2013) 34 (the splitting BAOAB).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.molecules.atoms import Graph
from jaxpbdl.molecules.moving_neighbours import NeighbourSearch
from jaxpbdl.solvers.time.symplectic import SeparableSystem, velocity_verlet
from jaxpbdl.step import Step

ACCELERATION = 9.648533212331e-3
"""Of one amu by one eV/Angstrom, in Angstrom/fs^2 (CODATA 2018)."""
BOLTZMANN = 8.617333262145e-5
"""eV/K (CODATA 2018)."""

Positions = Float[Array, "atoms 3"]
Energy = Callable[[Positions], Float[Array, ""]]
GraphEnergy = Callable[[Graph], Float[Array, "*components"]]


class Phase(NamedTuple):
    """Positions in Angstrom and velocities in Angstrom/fs, and the key from which a bath of heat
    draws (see `thermal`). `graph` is a working variable: who is near whom."""

    positions: Positions
    velocities: Float[Array, "atoms 3"]
    key: PRNGKeyArray | None = None
    graph: Graph | None = None


class Verlet(Step):
    """Velocity Verlet: half a kick, a drift, half a kick. Of second order, reversible in time and
    symplectic, so that the energy does not drift. Working variables: the state and its forces."""

    trainable_fields = ("energy",)

    energy: Energy | GraphEnergy
    masses: Float[Array, " atoms"]
    dt: Float[Array, ""]
    neighbours: NeighbourSearch | None = eqx.field(default=None, kw_only=True)

    @property
    def interval(self) -> Float[Array, ""]:
        return self.dt

    def system(self, dtype: DTypeLike) -> SeparableSystem:
        """Kicks by accelerations and drifts, in the precision of the positions."""

        def kick(state: Phase, acceleration: Array, dt: Array) -> Phase:
            return state._replace(velocities=state.velocities + dt * acceleration)

        def drift(state: Phase, dt: Array) -> Phase:
            return self._listed(state._replace(positions=state.positions + dt * state.velocities))

        def force(state: Phase) -> Array:
            return _accelerations(self._energy(state), self.masses, state.positions)

        return SeparableSystem(force, kick, drift, self.dt.astype(dtype))

    def enter(self, state: Phase) -> tuple[Phase, Array]:
        return velocity_verlet.start(self._listed(state), self.system(state.positions.dtype))

    def leave(self, working: tuple[Phase, Array]) -> Phase:
        return velocity_verlet.current(working)._replace(graph=None)

    def advance(self, working: tuple[Phase, Array]) -> tuple[Phase, Array]:
        return velocity_verlet.advance(working, self.system(working[0].positions.dtype))

    def check_state(self, state: Phase) -> None:
        """Refuse a state of another shape, of mixed dtypes, or that is not finite."""
        for name in ("positions", "velocities"):
            value = getattr(state, name)
            checks.shape(name, value, (len(self.masses), 3))
            checks.real(name, value)
            checks.finite(name, value)
        dtypes = jnp.result_type(state.positions), jnp.result_type(state.velocities)
        if dtypes[0] != dtypes[1]:
            raise ValueError(
                f"velocities must have the dtype {dtypes[0]} of positions, got {dtypes[1]}"
            )

    def largest_dt(self, state: Phase) -> Float[Array, ""]:
        """Above which the fastest vibration of this state would grow, in fs; a tenth of it gives
        accurate trajectories."""
        return stable_dt(self._energy(self._listed(state)), self.masses, state.positions)

    def _listed(self, state: Phase) -> Phase:
        """The state with its neighbours, where there is a search for them."""
        if self.neighbours is None:
            return state
        if state.graph is None:
            return state._replace(graph=self.neighbours(state.positions))
        return state._replace(graph=self.neighbours.updated(state.graph, state.positions))

    def _energy(self, state: Phase) -> Energy:
        """Of positions near those of the state."""
        if state.graph is None:
            return self.energy  # pyright: ignore[reportReturnType]
        return eqx.Partial(_of_graph, self.energy, state.graph)


class Langevin(Verlet):
    """BAOAB: half a kick, half a drift, friction and noise solved exactly, half a drift, half a
    kick. Positions of a harmonic system have the exact distribution at any stable dt."""

    friction: Float[Array, ""]
    temperature: Float[Array, ""]

    def advance(self, working: tuple[Phase, Array]) -> tuple[Phase, Array]:
        state, acceleration = working
        assert state.key is not None  # see check_state
        key, draw = jax.random.split(state.key)
        dtype = state.positions.dtype
        numbers = (self.friction, self.temperature, self.masses)
        friction, heat, masses = (value.astype(dtype) for value in numbers)
        system = self.system(dtype)
        half = system.dt / 2
        state = system.drift(system.kick(state, acceleration, half), half)
        kept = jnp.exp(-friction * system.dt)
        share = jnp.sqrt(-jnp.expm1(-2 * friction * system.dt))
        noise = share * thermal_velocities(draw, masses, heat)
        state = state._replace(velocities=kept * state.velocities + noise, key=key)
        state = system.drift(state, half)
        acceleration = system.force(state)
        return system.kick(state, acceleration, half), acceleration

    def check_state(self, state: Phase) -> None:
        """As above; and a state without a key."""
        if state.key is None:
            raise ValueError("a bath of heat draws from the key of its state: make it by thermal()")
        super().check_state(state)


def verlet(
    energy: Energy | GraphEnergy,
    masses: ArrayLike,
    dt: ArrayLike,
    *,
    neighbours: NeighbourSearch | None = None,
) -> Verlet:
    """The step `Phase -> Phase` of constant energy.

    **Arguments**

    - `energy`: of the positions `(atoms, 3)` in Angstrom, eV; a learned potential at a graph, say
      `lambda x: potential(graph.at(x))`, or anything that JAX can differentiate.
    - `masses`: `(atoms,)`, atomic mass units.
    - `dt`: femtoseconds.
    - `neighbours`: of `molecules.neighbour_search`; `energy` is then of a `Graph`, as a learned
      potential is, and gets the pairs within the search's reach, also those beyond its cutoff.

    **Raises** ValueError for masses or a dt that are not > 0; when called, for a dt above the
    stability limit of the state. A runtime error where neighbours do not fit into their slots.
    """
    return Verlet(energy, *_numbers(masses, dt), neighbours=neighbours)


def langevin(
    energy: Energy | GraphEnergy,
    masses: ArrayLike,
    dt: ArrayLike,
    friction: ArrayLike,
    temperature: ArrayLike,
    *,
    neighbours: NeighbourSearch | None = None,
) -> Langevin:
    """The step in a bath of `temperature`, kelvin, with `friction` in 1/fs; the rest as `verlet`.

    Its states carry a key: `thermal` makes one. **Raises** ValueError also for a negative friction
    or temperature.
    """
    checks.non_negative("friction", friction)
    checks.non_negative("temperature", temperature)
    bath = (checks.as_floats(value) for value in (friction, temperature))
    return Langevin(energy, *_numbers(masses, dt), *bath, neighbours=neighbours)


def thermal(
    key: PRNGKeyArray, positions: Positions, masses: ArrayLike, temperature: ArrayLike
) -> Phase:
    """A state with velocities of a temperature, the motion of the whole taken off."""
    drawing, later = jax.random.split(key)
    positions = checks.as_floats(positions)
    masses = jnp.asarray(masses, positions.dtype)
    velocities = thermal_velocities(drawing, masses, temperature)
    drift = jnp.sum(masses[:, None] * velocities, 0) / jnp.sum(masses)
    return Phase(positions, velocities - drift, later)


def thermal_velocities(
    key: PRNGKeyArray, masses: Float[Array, " atoms"], temperature: ArrayLike
) -> Float[Array, "atoms 3"]:
    """Drawn from Maxwell's and Boltzmann's distribution, Angstrom/fs."""
    deviation = jnp.sqrt(BOLTZMANN * temperature * ACCELERATION / masses)
    return deviation[:, None] * jax.random.normal(key, (len(masses), 3), masses.dtype)


def kinetic_energy(masses: ArrayLike, velocities: Float[Array, "atoms 3"]) -> Float[Array, ""]:
    """eV."""
    return 0.5 * jnp.sum(jnp.asarray(masses)[:, None] * velocities**2) / ACCELERATION


def temperature(masses: ArrayLike, velocities: Float[Array, "atoms 3"]) -> Float[Array, ""]:
    """Kelvin, of as many degrees of freedom as there are velocities."""
    return 2 * kinetic_energy(masses, velocities) / (velocities.size * BOLTZMANN)


@eqx.filter_jit
def stable_dt(energy: Energy, masses: ArrayLike, positions: Positions) -> Float[Array, ""]:
    """`2 / omega`, above which velocity Verlet amplifies the fastest vibration, in fs.

    `omega^2` by a power iteration on the Hessian over the masses: never too large, so that a dt
    above the limit is too long for sure. Infinite where the energy is nowhere curved upwards.
    """
    masses = jnp.asarray(masses, positions.dtype)
    root = jnp.sqrt(masses)[:, None]

    def image(direction: Array) -> Array:
        def slope(x: Array) -> Array:
            return -_accelerations(energy, masses, x)

        return root * jax.jvp(slope, (positions,), (direction / root,))[1]

    def turn(direction: Array, _: None) -> tuple[Array, Array]:
        moved = image(direction)
        length = jnp.linalg.norm(moved)
        new = moved / jnp.where(length > 0, length, 1)
        return new, jnp.sum(direction * moved)

    start = jax.random.normal(jax.random.key(0), positions.shape, positions.dtype)
    curvatures = lax.scan(turn, start / jnp.linalg.norm(start), None, length=30)[1]
    curvature = jnp.max(curvatures)
    return jnp.where(curvature > 0, 2 / jnp.sqrt(jnp.maximum(curvature, 1e-30)), jnp.inf)


def _of_graph(energy: GraphEnergy, graph: Graph, positions: Positions) -> Float[Array, ""]:
    return jnp.sum(energy(graph.at(positions)))


def _accelerations(energy: Energy, masses: Array, positions: Positions) -> Array:
    # In the precision of the positions, whatever that of the masses.
    return -ACCELERATION * jax.grad(energy)(positions) / masses.astype(positions.dtype)[:, None]


def _numbers(masses: ArrayLike, dt: ArrayLike) -> tuple[Array, Array]:
    checks.positive("masses", masses)
    checks.positive("dt", dt)
    return checks.as_floats(masses), checks.as_floats(dt)
