"""The step: a pure function `state -> state`, one time step ahead.

Any callable of that form is a step. A solver that works in other variables (Fourier coefficients,
the memory of a multistep method) derives from `Step` and says how a state enters and leaves them,
so that a rollout converts once and not at every step.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
from jaxtyping import Array

AnyStep: TypeAlias = Callable[[Any], Any]


class Step(eqx.Module):
    """One step ahead in working variables of its own.

    `step(state)` equals `step.leave(step.advance(step.enter(state)))`.

    The class attribute `trainable_fields` names the fields that training may change: none in a
    solver, the network in a hybrid. Without it each part is asked in turn (see `trainable`).
    """

    def enter(self, state: Any) -> Any:
        """The working variables of a state."""
        return state

    def advance(self, working: Any) -> Any:
        """The working variables one step later."""
        raise NotImplementedError(f"{type(self).__name__} must define advance")

    def leave(self, working: Any) -> Any:
        """The state of working variables."""
        return working

    def check(self, state: Any) -> None:  # noqa: B027 - nothing to refuse by default
        """Raise ValueError if `state` cannot be stepped (wrong shape or dtype, dt above the
        limit).
        """

    def __hash__(self) -> int:
        # By identity, as functions are: `jax.jit(step)` wants a hash, and arrays have none.
        return id(self)

    def __call__(self, state: Any) -> Any:
        self.check(state)
        return self.leave(self.advance(self.enter(state)))


class FunctionStep(Step):
    """A plain function seen as a `Step`."""

    function: AnyStep

    def advance(self, working: Array) -> Array:
        return self.function(working)


def as_step(step: AnyStep) -> Step:
    """`step` itself if it is a `Step`, else a wrapper around the callable."""
    if isinstance(step, Step):
        return step
    if not callable(step):
        raise ValueError(f"a step must be a callable state -> state, got {type(step).__name__}")
    return FunctionStep(step)
