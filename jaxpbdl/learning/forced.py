"""A solver with a learned force in its equation."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from jaxpbdl import checks
from jaxpbdl.learning.hybrid import Features, Network, scaled
from jaxpbdl.step import AnyStep, Step, as_step


class Forced(Step):
    """A solver whose right-hand side holds a learned force, seen by every stage of its scheme.

        state -> solver(.. solver(state, f), f),   f = force(scale * network(features(state)))

    One step of the hybrid is `substeps` steps of the solver, over which the force is held. What
    the solver does to a right-hand side it does to the force: a flow stays free of divergence
    without a projection of its own, and an error of the network grows with dt and not with the
    number of steps (the indirect corrector of Wei et al., NeurIPS 2025, arXiv:2511.12764).

    **Arguments:**

    - `solver`: any step that takes an input `(state, input) -> state`, such as the acceleration of
      a flow, of a scheme without memory.
    - `network`, `features`, `substeps`: as of `Corrected`.
    - `scale`: typical size of the force.
    - `force`: from the scaled output of the network to the input; by default the output itself. A
      staggered flow wants it on the faces (`Cells.to_faces`).
    """

    trainable_fields = ("network",)

    solver: Step
    network: Network
    scale: Array
    features: Features | None
    force: Features | None
    substeps: int = eqx.field(static=True)

    def __init__(
        self,
        solver: AnyStep,
        network: Network,
        *,
        scale: ArrayLike = 1.0,
        features: Features | None = None,
        force: Features | None = None,
        substeps: int = 1,
    ):
        self.substeps = checks.count("substeps", substeps)
        self.solver, self.network = as_step(solver), network
        self.scale = jnp.asarray(scale, float)
        self.features, self.force = features, force

    @property
    def interval(self) -> Array | None:
        return None if self.solver.interval is None else self.substeps * self.solver.interval

    def advance(self, working: PyTree, *inputs: Any) -> PyTree:
        """**Raises:** ValueError for an input: the place is taken by the learned force."""
        if inputs:
            raise ValueError("the input of the solver of a Forced step is the learned force")
        features = self.solver.channels if self.features is None else self.features
        held = scaled(self.network(features(working)), self.scale)
        held = held if self.force is None else self.force(held)
        inner = self.solver.enter(working)
        for _ in range(self.substeps):
            inner = self.solver.advance(inner, held)
        return self.solver.leave(inner)

    def check(self, state: PyTree) -> None:
        self.solver.check(state)

    def channels(self, state: PyTree) -> Array:
        return self.solver.channels(state)

    def corrected(self, state: PyTree, change: Array) -> PyTree:
        return self.solver.corrected(state, change)
