"""Steps that hold a network: a solver with a learned correction, one with a learned part, and a
network alone.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.step import AnyStep, Step, as_step

Network: TypeAlias = Callable[[Float[Array, "channels *grid"]], Float[Array, "channels *grid"]]
Features: TypeAlias = Callable[[Array], Float[Array, "channels *grid"]]


class Corrected(Step):
    """A solver with a learned correction after every `substeps` of its steps.

        state -> s + scale * network(features(s)),  s = solver(.. solver(state))

    One step of the hybrid is `substeps` steps of the solver. Training goes through both (Um et al.,
    NeurIPS 2020, "Solver-in-the-Loop"); only the network is trained.

    **Arguments:**

    - `solver`: any step.
    - `network`: maps the features to as many values as the state has.
    - `scale`: typical size of a correction, so that a network with small output starts near the
      plain solver.
    - `features`: from the state to the channels the network sees; by default `as_channels`.
    - `substeps`: solver steps between corrections.
    """

    trainable_fields = ("network",)

    solver: Step
    network: Network
    scale: Array
    features: Features
    substeps: int = eqx.field(static=True)

    def __init__(
        self,
        solver: AnyStep,
        network: Network,
        *,
        scale: Any = 1.0,
        features: Features | None = None,
        substeps: int = 1,
    ):
        checks.count("substeps", substeps)
        self.solver, self.network = as_step(solver), network
        self.scale = jnp.asarray(scale, float)
        self.features = as_channels if features is None else features
        self.substeps = substeps

    def advance(self, working: Array) -> Array:
        inner = self.solver.enter(working)
        for _ in range(self.substeps):
            inner = self.solver.advance(inner)
        return _add(self.solver.leave(inner), self.network, self.features, self.scale)

    def check(self, state: Any) -> None:
        self.solver.check(state)


class Parametrised(Step):
    """A solver one part of which a network makes anew for each of its steps.

        working -> solver with part(network(features(working))) at its place, applied to working

    One step of the hybrid is `substeps` of these. A correction adds to what a solver has done; this
    changes how it does it, so what holds for any such part (a conserved quantity, consistency)
    holds for the learned one.

    **Arguments:**

    - `solver`: any step.
    - `network`: maps the features to the channels that `part` takes.
    - `part`: from these channels to the part, a pytree.
    - `place`: where the part stands in the solver, a function `solver -> part`.
    - `features`: from the working variables of the solver to the channels the network sees.
    - `substeps`: solver steps in one of the hybrid.
    """

    trainable_fields = ("network",)

    solver: Step
    network: Network
    part: Callable[[Array], Any]
    features: Callable[[Any], Float[Array, "channels *grid"]]
    place: Callable[[Any], Any] = eqx.field(static=True)
    substeps: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        checks.count("substeps", self.substeps)

    def enter(self, state: Any) -> Any:
        return self.solver.enter(state)

    def advance(self, working: Any) -> Any:
        def once(working: Any, _: None) -> tuple[Any, None]:
            part = self.part(self.network(self.features(working)))
            return eqx.tree_at(self.place, self.solver, part).advance(working), None

        return lax.scan(once, working, None, length=self.substeps)[0]

    def leave(self, working: Any) -> Any:
        return self.solver.leave(working)

    def check(self, state: Any) -> None:
        self.solver.check(state)


class Emulator(Step):
    """A network alone as a step: state -> state + scale * network(features(state)).

    The comparison every hybrid owes: what the same network learns without a solver. Arguments as
    for `Corrected`.
    """

    trainable_fields = ("network",)

    network: Network
    scale: Array
    features: Features

    def __init__(self, network: Network, *, scale: Any = 1.0, features: Features | None = None):
        self.network, self.scale = network, jnp.asarray(scale, float)
        self.features = as_channels if features is None else features

    def advance(self, working: Array) -> Array:
        return _add(working, self.network, self.features, self.scale)


def as_channels(state: Array) -> Float[Array, "channels *grid"]:
    """A scalar field in two dimensions as one channel; arrays of another rank as they are, channels
    first.

    A scalar field in one or three dimensions needs `features=lambda state: state[None]`.
    """
    return state[None] if state.ndim == 2 else state


def _add(state: Array, network: Network, features: Features, scale: Array) -> Array:
    increment = network(features(state))
    return state + scale.astype(state.dtype) * increment.reshape(state.shape)
