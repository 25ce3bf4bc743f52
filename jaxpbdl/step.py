"""The step: a pure function `state -> state`, or `(state, input) -> state`, one time step ahead.

Any callable of that form is a step; a state is any pytree of arrays. A solver that works in other
variables (Fourier coefficients, the memory of a multistep method) derives from `Step` and says how
a state enters and leaves them, so that a rollout converts once and not at every step.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks

AnyStep: TypeAlias = Callable[..., PyTree]


class Step(eqx.Module):
    """One step ahead in working variables of its own.

    `step(state)` equals `step.leave(step.advance(step.enter(state)))`. A step that takes an input
    (a force, a control, noise) has it as a second argument of `advance`: `step(state, input)`.

    The class attribute `trainable_fields` names the fields that training may change: none in a
    solver, the network in a hybrid. Without it each part is looked at in turn (see `trainable`).
    """

    def enter(self, state: PyTree) -> PyTree:
        """The working variables of a state."""
        return state

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        """The working variables one step later."""
        raise NotImplementedError(f"{type(self).__name__} must define advance")

    def leave(self, working: PyTree) -> PyTree:
        """The state of working variables."""
        return working

    @property
    def interval(self) -> Array | None:
        """The time that one step covers; None for a step without a notion of it."""
        return None

    def largest_dt(self, state: PyTree) -> Array | float:
        """The largest stable `interval` about a state; infinite without a limit."""
        return float("inf")

    def check_state(self, state: PyTree) -> None:  # noqa: B027 - nothing to refuse by default
        """Raise ValueError for what is no state of this step: another shape, another dtype, values
        that are not finite."""

    def check(self, state: PyTree) -> None:
        """Raise ValueError if `state` cannot be stepped: no state, or an interval above
        `largest_dt`."""
        self.check_state(state)
        if self.interval is None or not checks.is_concrete((state, self)):
            return
        self.refuse_above(self.largest_dt(state))

    def refuse_above(self, limit: Array | float) -> None:
        """Raise ValueError for an interval above a limit, where both are known."""
        if self.interval is None or not checks.is_concrete((self.interval, limit)):
            return
        if float(self.interval) > float(limit):
            raise ValueError(
                f"dt = {float(self.interval):.4g} is above the stability limit of this state: "
                f"use dt <= {float(limit):.3g}, or a scheme with a larger stability region"
            )

    def channels(self, state: PyTree) -> Float[Array, "channels *grid"]:
        """What a network sees of a state: its components at the points of a grid, channels first.

        Raises ValueError for a step that does not know the grid of its states."""
        raise ValueError(
            f"{type(self).__name__} does not say how its states become channels: give `features`, "
            "a function from the state to an array (channels, *grid)"
        )

    def corrected(self, state: PyTree, change: Float[Array, "channels *grid"]) -> PyTree:
        """The state plus a change of its `channels`; an array of as many values by default."""
        return state + change.reshape(state.shape).astype(state.dtype)

    def equation_and_field(
        self, states: PyTree, times: Float[Array, " times"], degree: int = 4
    ) -> tuple[PyTree, Callable[[Array], Array]]:
        """The equation that this step solves, and the field that its residual takes through the
        states of a rollout, leaves `(times, ..)`; `learning.residual_of` puts the two together."""
        raise ValueError(f"{type(self).__name__} solves no equation whose residual takes a field")

    def __eq__(self, other: object) -> bool:
        # While JAX traces, numbers cannot be compared: a step then equals itself alone.
        if self is other or type(self) is not type(other):
            return self is other
        if not checks.is_concrete((self, other)):
            return False
        return bool(eqx.tree_equal(self, other))

    def __hash__(self) -> int:
        # `jax.jit(step)` wants one. Arrays have none: their shapes serve, the same for equal steps.
        leaves, structure = jax.tree.flatten(self)
        if not checks.is_concrete(leaves):
            return id(self)
        shapes = [(x.shape, x.dtype) if eqx.is_array(x) else x for x in leaves]
        try:
            return hash((structure, *shapes))
        except TypeError:  # a part without a hash
            return hash(type(self))

    def __call__(self, state: PyTree, *inputs: PyTree) -> PyTree:
        self.check(state)
        return self.leave(self.advance(self.enter(state), *inputs))


class FunctionStep(Step):
    """A plain function seen as a `Step`."""

    function: AnyStep

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        return self.function(working, *inputs)


def as_step(step: AnyStep) -> Step:
    """`step` itself if it is a `Step`, else a wrapper around the callable."""
    if isinstance(step, Step):
        return step
    if not callable(step):
        raise ValueError(f"a step must be a callable state -> state, got {type(step).__name__}")
    return FunctionStep(step)
