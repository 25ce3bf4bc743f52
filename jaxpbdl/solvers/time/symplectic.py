"""Symplectic schemes for positions q and momenta p: dq/dt = velocity(p), dp/dt = force(q).

The energy of a Hamiltonian system does not drift, and the step is reversible in time. Yee's scheme
for electric and magnetic fields is of this form, molecular dynamics too.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from jaxpbdl import checks
from jaxpbdl.solvers.time.scheme import Scheme, added, combined
from jaxpbdl.step import Step

_OUTER = 1 / (2 - 2 ** (1 / 3))


class SeparableSystem(NamedTuple):
    """What a symplectic scheme advances.

    **Attributes:** `force`, from a state to what changes its momenta; `kick`, the state after a
    force over a time; `drift`, the state after moving over a time; `dt`.
    """

    force: Callable[[PyTree], PyTree]
    kick: Callable[[PyTree, PyTree, Array], PyTree]
    drift: Callable[[PyTree, Array], PyTree]
    dt: Array


class Leapfrog(Scheme):
    """Half a drift, a kick, half a drift, with one force: order 2; or several of these over shares
    of dt that add up to one."""

    shares: tuple[float, ...] = eqx.field(static=True, default=(1.0,))
    imaginary: float = eqx.field(static=True, default=2.0)
    real: float = eqx.field(static=True, default=0.0)

    def advance(self, working: PyTree, system: SeparableSystem) -> PyTree:
        for share in self.shares:
            dt = share * system.dt
            middle = system.drift(working, dt / 2)
            working = system.drift(system.kick(middle, system.force(middle), dt), dt / 2)
        return working

    def largest_dt(self, oscillation: Array | float, decay: Array | float = 0.0) -> Array | float:
        """From the fastest oscillation; nothing decays in a Hamiltonian system."""
        return self.imaginary / (oscillation + 1e-30)


class VelocityVerlet(Leapfrog):
    """Half a kick, a drift, half a kick, the force handed on to the next step (Swope, Andersen,
    Berens and Wilson, J. Chem. Phys. 76 (1982) 637): positions and momenta are known at the same
    time without another force. Working variables: the state and its force."""

    remembers: ClassVar[bool] = True

    def start(self, state: PyTree, system: SeparableSystem) -> tuple[PyTree, PyTree]:
        return state, system.force(state)

    def advance(
        self, working: tuple[PyTree, PyTree], system: SeparableSystem
    ) -> tuple[PyTree, PyTree]:
        state, force = working
        for share in self.shares:
            dt = share * system.dt
            state = system.drift(system.kick(state, force, dt / 2), dt)
            force = system.force(state)
            state = system.kick(state, force, dt / 2)
        return state, force

    def current(self, working: tuple[PyTree, PyTree]) -> PyTree:
        return working[0]


leapfrog = Leapfrog()
"""Order 2, one force a step."""
yoshida = Leapfrog(shares=(_OUTER, 1 - 2 * _OUTER, _OUTER), imaginary=1.57)
"""Order 4, three forces a step (Yoshida, Phys. Lett. A 150 (1990) 262)."""
velocity_verlet = VelocityVerlet()
"""Order 2, one force a step, remembered."""


class PhasePoint(NamedTuple):
    """The working variables of `hamiltonian`: positions and momenta, any trees of arrays."""

    position: PyTree
    momentum: PyTree


class HamiltonianStep(Step):
    """One step of positions and momenta; created by `hamiltonian`."""

    velocity: Callable[[PyTree], PyTree]
    force: Callable[..., PyTree]
    dt: Array
    scheme: Leapfrog
    limit: Callable[[PyTree], Array | float] | None

    @property
    def interval(self) -> Array:
        return self.dt

    def system(self, *inputs: PyTree) -> SeparableSystem:
        def kick(state: PhasePoint, force: PyTree, dt: Array) -> PhasePoint:
            return PhasePoint(state.position, added(state.momentum, combined((dt,), (force,))))

        def drift(state: PhasePoint, dt: Array) -> PhasePoint:
            moved = combined((dt,), (self.velocity(state.momentum),))
            return PhasePoint(added(state.position, moved), state.momentum)

        return SeparableSystem(lambda s: self.force(s.position, *inputs), kick, drift, self.dt)

    def enter(self, state: tuple[PyTree, PyTree]) -> PhasePoint:
        return PhasePoint(*state)

    def advance(self, working: PhasePoint, *inputs: PyTree) -> PhasePoint:
        return self.scheme.advance(working, self.system(*inputs))

    def leave(self, working: PhasePoint) -> tuple[PyTree, PyTree]:
        return tuple(working)

    def largest_dt(self, state: PyTree) -> Array | float:
        return float("inf") if self.limit is None else self.limit(state)


def hamiltonian(
    velocity: Callable[[PyTree], PyTree],
    force: Callable[..., PyTree],
    dt: ArrayLike,
    scheme: Leapfrog = leapfrog,
    *,
    largest_dt: Callable[[PyTree], Array | float] | None = None,
) -> HamiltonianStep:
    """The step of dq/dt = velocity(p), dp/dt = force(q) on states `(q, p)`.

    **Arguments:**

    - `velocity`, `force`: functions of trees of arrays; `force(q, input)` where the rollout feeds
      inputs.
    - `dt`: > 0. May be traced.
    - `scheme`: `leapfrog` or `yoshida`.
    - `largest_dt`: of a state, where it is known: `scheme.largest_dt(fastest frequency)`.
    """
    checks.positive("dt", dt)
    return HamiltonianStep(velocity, force, jnp.asarray(dt, float), scheme, largest_dt)
