"""Any system of ordinary differential equations as a step."""

from collections.abc import Callable
from math import ceil, isfinite

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from jaxpbdl import checks
from jaxpbdl.rollouts import repeat
from jaxpbdl.solvers.time.runge_kutta import rk4
from jaxpbdl.solvers.time.scheme import Scheme, System, check_inputs
from jaxpbdl.step import Step


class ExplicitStep(Step):
    """One step of d(state)/dt = rates(state); created by `explicit`."""

    rates: Callable[..., PyTree]
    dt: Array
    scheme: Scheme
    limit: Callable[[PyTree], Array | float] | None

    @property
    def interval(self) -> Array:
        return self.dt

    def system(self, *inputs: PyTree) -> System:
        return System(lambda state: self.rates(state, *inputs), self.dt)

    def enter(self, state: PyTree) -> PyTree:
        return self.scheme.start(state, self.system())

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        check_inputs(self.scheme, inputs)
        return self.scheme.advance(working, self.system(*inputs))

    def leave(self, working: PyTree) -> PyTree:
        return self.scheme.current(working)

    def largest_dt(self, state: PyTree) -> Array | float:
        return float("inf") if self.limit is None else self.limit(state)


def explicit(
    rates: Callable[..., PyTree],
    dt: ArrayLike,
    scheme: Scheme = rk4,
    *,
    largest_dt: Callable[[PyTree], Array | float] | None = None,
) -> ExplicitStep:
    """The step of d(state)/dt = rates(state), the state any tree of arrays.

    **Arguments:**

    - `rates`: from a state to a tree of the same structure; `rates(state, input)` where the
      rollout feeds inputs, held over a step. Physics that depends on time has it in the state, at
      the rate of one.
    - `dt`: > 0. May be traced.
    - `scheme`: `rk3`, `rk4`, `ssp_rk3`, `adams_bashforth`.
    - `largest_dt`: of a state, where it is known: a dt above it is refused. `scheme.largest_dt(
      fastest oscillation, fastest decay)` turns rates into one.

    **Raises:** ValueError for a dt that is not finite and positive; when called, above
    `largest_dt`.
    """
    checks.positive("dt", dt)
    return ExplicitStep(rates, jnp.asarray(dt, float), scheme, largest_dt)


def substepped(
    make: Callable[[float], Step], interval: float, state: PyTree, safety: float = 0.9
) -> Step:
    """The step of a given interval by as many equal steps as stability wants about a state.

    **Arguments:** `make`, from dt to a step; `interval` between the states that are wanted;
    `state` with the fastest motion that is to come; `safety`, the share of the largest stable dt
    that is used.

    **Returns:** a step whose `interval` is the given one. **Raises:** ValueError where no dt is
    stable.
    """
    checks.positive("interval", interval)
    if not 0 < safety <= 1:
        raise ValueError(f"safety must be in (0, 1], got {safety}")
    count, wanted = 0, 1
    while wanted > count:  # the limit may depend on dt: what is damped within a step
        count = wanted
        limit = float(make(interval / count).largest_dt(state))
        if not limit > 0:
            raise ValueError(f"no dt is stable at this state: its largest dt is {limit}")
        wanted = ceil(interval / (safety * limit)) if isfinite(limit) else 1
    return repeat(make(interval / count), count)
