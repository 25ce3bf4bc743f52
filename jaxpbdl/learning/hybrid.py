"""Steps that hold a network: a solver with a learned correction, one with a learned part, and a
network alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.step import AnyStep, Step, as_step

Network: TypeAlias = Callable[[Any], Any]
"""From features to increments, both usually of shape (channels, *grid)."""
Features: TypeAlias = Callable[[Any], Any]
Change: TypeAlias = Callable[[Any, Any], Any]
"""From a state and the increments of a network to the changed state."""


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
    - `features`: from the state to the channels the network sees; by default the solver's own
      `channels`.
    - `change`: from a state and the scaled increments to the corrected state; by default the
      solver's own `corrected`, which keeps what the solver keeps (a velocity without divergence).
    - `substeps`: solver steps between corrections.
    """

    trainable_fields = ("network",)

    solver: Step
    network: Network
    scale: Array
    features: Features | None
    change: Change | None
    substeps: int = eqx.field(static=True)

    def __init__(
        self,
        solver: AnyStep,
        network: Network,
        *,
        scale: ArrayLike = 1.0,
        features: Features | None = None,
        change: Change | None = None,
        substeps: int = 1,
    ):
        checks.count("substeps", substeps)
        self.solver, self.network = as_step(solver), network
        self.scale = jnp.asarray(scale, float)
        self.features, self.change = features, change
        self.substeps = substeps

    @property
    def interval(self) -> Array | None:
        return None if self.solver.interval is None else self.substeps * self.solver.interval

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        inner = self.solver.enter(working)
        for _ in range(self.substeps):
            inner = self.solver.advance(inner, *inputs)
        state = self.solver.leave(inner)
        features = self.solver.channels if self.features is None else self.features
        change = self.solver.corrected if self.change is None else self.change
        return change(state, scaled(self.network(features(state)), self.scale))

    def check(self, state: PyTree) -> None:
        self.solver.check(state)

    def channels(self, state: PyTree) -> Array:
        return self.solver.channels(state)

    def corrected(self, state: PyTree, change: Array) -> PyTree:
        return self.solver.corrected(state, change)


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

    def enter(self, state: PyTree) -> PyTree:
        return self.solver.enter(state)

    @property
    def interval(self) -> Array | None:
        return None if self.solver.interval is None else self.substeps * self.solver.interval

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        def once(working: PyTree, _: None) -> tuple[PyTree, None]:
            part = self.part(self.network(self.features(working)))
            return eqx.tree_at(self.place, self.solver, part).advance(working, *inputs), None

        return lax.scan(once, working, None, length=self.substeps)[0]

    def leave(self, working: PyTree) -> PyTree:
        return self.solver.leave(working)

    def check(self, state: PyTree) -> None:
        self.solver.check(state)


class Varied(NamedTuple):
    """A state of `Varying`."""

    state: PyTree
    parameter: PyTree


class Varying(Step):
    """A solver one part of which travels in the state: one step for a whole family of flows, each
    trajectory with a Reynolds number of its own.

    **Arguments:** `solver`, any step; `place`, where the part stands in it, a function `solver ->
    part`. States are `Varied(state, parameter)`.
    """

    trainable_fields = ()

    solver: Step
    place: Callable[[Any], Any] = eqx.field(static=True)

    @property
    def interval(self) -> Array | None:
        return self.solver.interval

    def with_parameter(self, parameter: PyTree) -> Step:
        """The solver of one member of the family."""
        return eqx.tree_at(self.place, self.solver, parameter)

    def enter(self, state: Varied) -> Varied:
        solver = self.with_parameter(state.parameter)
        return Varied(solver.enter(state.state), state.parameter)

    def advance(self, working: Varied, *inputs: PyTree) -> Varied:
        solver = self.with_parameter(working.parameter)
        return Varied(solver.advance(working.state, *inputs), working.parameter)

    def leave(self, working: Varied) -> Varied:
        solver = self.with_parameter(working.parameter)
        return Varied(solver.leave(working.state), working.parameter)

    def check(self, state: Varied) -> None:
        self.with_parameter(state.parameter).check(state.state)

    def largest_dt(self, state: Varied) -> Array | float:
        return self.with_parameter(state.parameter).largest_dt(state.state)

    def channels(self, state: Varied) -> Array:
        return self.solver.channels(state.state)

    def corrected(self, state: Varied, change: Array) -> Varied:
        return Varied(self.solver.corrected(state.state, change), state.parameter)


class Emulator(Step):
    """A network alone as a step: state -> state + scale * network(features(state)).

    The comparison every hybrid owes: what the same network learns without a solver.

    **Arguments:** `network` and `scale` as of `Corrected`; `features`, from the state to what the
    network sees, such as the `channels` of the solver that it replaces; `change`, from a state and
    the scaled increments to the next state, by default their sum, where the state is an array.
    """

    trainable_fields = ("network",)

    network: Network
    scale: Array
    features: Features
    change: Change

    def __init__(
        self,
        network: Network,
        *,
        features: Features,
        scale: ArrayLike = 1.0,
        change: Change | None = None,
    ):
        self.network, self.scale = network, jnp.asarray(scale, float)
        self.features = features
        self.change = _sum if change is None else change

    def advance(self, working: PyTree) -> PyTree:
        return self.change(working, scaled(self.network(self.features(working)), self.scale))


def _sum(state: Array, increment: Array) -> Array:
    return state + increment.reshape(state.shape).astype(state.dtype)


def scaled(increments: PyTree, scale: Array) -> PyTree:
    """Each leaf times a number, in the leaf's own precision."""
    return jax.tree.map(lambda leaf: scale.astype(leaf.dtype) * leaf, increments)
