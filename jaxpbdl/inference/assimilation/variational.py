"""4D-Var: the trajectory of a window that fits its background and the measurements best,

    1/2 (x_0 - x_b)^T B^-1 (x_0 - x_b)
        + 1/2 sum_k (y_k - H(x_k))^T R^-1 (y_k - H(x_k)) + 1/2 sum_k q_k^T Q^-1 q_k,
    x_k = M(x_{k-1}) + q_k,

by Gauss-Newton through the model (the incremental form of Courtier, Thepaut and Hollingsworth, Q.
J. R. Meteorol. Soc. 120 (1994) 1367). Without the q_k the model is a strong constraint. The window
moves on by one analysis at a time, and the model takes its start along.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.inference.assimilation.cycle import Analysis, AssimilationMethod
from jaxpbdl.inference.assimilation.ensembles import check_inflation
from jaxpbdl.inference.assimilation.increments import (
    Increment,
    direct,
    gauss_newton,
    posterior_root,
)
from jaxpbdl.inference.assimilation.problems import Problem, root_of
from jaxpbdl.inference.assimilation.windows import active, chosen, through


class Window(NamedTuple):
    """What 4D-Var remembers: the state at the start of the window, and its measurements."""

    number: Int[Array, ""]
    start: Float[Array, " n"]
    observed: Float[Array, "lag m"]


class Cycled(NamedTuple):
    """The state at the start of the window, and a square root of its covariance."""

    number: Int[Array, ""]
    start: Float[Array, " n"]
    root: Float[Array, "n n"]


class FourDVar(AssimilationMethod):
    """4D-Var with a background covariance that never changes."""

    root: Float[Array, "n n"]
    model_root: Float[Array, "n n"] | None
    lag: int = eqx.field(static=True)
    iterations: int = eqx.field(static=True)
    overlapping: bool = eqx.field(static=True)
    increment: Increment

    def __init__(
        self,
        covariance: Float[Array, "n n"],
        lag: int | np.integer,
        iterations: int | np.integer = 3,
        *,
        overlapping: bool = False,
        model_error: Float[Array, "n n"] | None = None,
        increment: Increment = direct,
    ):
        """**Arguments:**

        - `covariance`: B at the start of the window, a part of the climatological one for instance.
        - `lag`: intervals between measurements in a window.
        - `iterations`: of Gauss-Newton, each from the increment before.
        - `overlapping`: let all measurements of the window enter each analysis. Then the start has
          seen most of them already, and B should be larger; without it only the newest enter.
        - `model_error`: Q, for weak constraints; None for a perfect model.
        - `increment`: `direct`, or `matrix_free(..)` for large states, which gives no
          covariance: the deviation of the estimate is then not a number.

        **Raises:** ValueError for covariances that are not symmetric and positive semi-definite, or
        a lag or iterations below one.
        """
        self.root = root_of(covariance)
        self.model_root = None if model_error is None else root_of(model_error)
        self.lag = checks.count("lag", lag)
        self.iterations = checks.count("iterations", iterations)
        self.overlapping = overlapping
        self.increment = increment

    def start(self, problem: Problem, key: PRNGKeyArray) -> Window:
        size = problem.measured(problem.start()).shape
        observed = jnp.zeros((self.lag, *size), problem.start().dtype)
        return Window(jnp.asarray(0), problem.start(), observed)

    def states(
        self, problem: Problem, window: Window, control: Float[Array, "parts n"]
    ) -> tuple[Float[Array, " n"], Float[Array, "lag n"]]:
        """The start of a window, and the states at its measurements, of a control vector: the start
        and, with weak constraints, the error of each interval, over their covariances' roots."""

        model_root = self.model_root

        def forecast(state: Array, error: Array | None) -> Array:
            state = problem.forecast(state)
            if model_root is None or error is None:
                return state
            return state + model_root @ error

        within = active(window.number, self.lag)
        start = window.start + self.root @ control[0]
        errors = None if self.model_root is None else control[1:]
        return start, through(forecast, start, within, errors)[1]

    def residual(
        self, problem: Problem, window: Window, states: Float[Array, "lag n"]
    ) -> Float[Array, " all"]:
        """Measurements minus what the states of the window measure, over their errors."""
        if not self.overlapping:
            return window.observed[-1] - problem.measured(states[-1])
        apart = window.observed - jax.vmap(problem.measured)(states)
        return jnp.where(active(window.number, self.lag)[:, None], apart, 0).ravel()

    def advance(
        self, problem: Problem, memory: Window, observed: Float[Array, " m"], key: PRNGKeyArray
    ) -> tuple[Window, Analysis]:
        window = memory._replace(observed=jnp.concatenate([memory.observed[1:], observed[None]]))
        parts = 1 if self.model_root is None else 1 + self.lag
        shape = (parts, len(window.start))

        def run(control: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            start, states = self.states(problem, window, control.reshape(shape))
            return (self.residual(problem, window, states), states[-1]), (start, states[0])

        first = jnp.zeros(parts * len(window.start), window.start.dtype)
        control = gauss_newton(
            lambda control: run(control)[0][0], first, self.iterations, self.increment
        )
        (_, end), (start, ahead) = run(control)
        spread = jnp.full_like(start, jnp.nan)
        if self.increment is direct:
            seen, moved = jax.jacfwd(lambda control: run(control)[0])(control)
            spread = jnp.linalg.norm(moved @ posterior_root(seen), axis=1)
        # Where all measurements of the window enter each time, none may be in the background of the
        # first windows, which begin where the experiment does.
        kept = window.start if self.overlapping else start
        moved_on = chosen(window.number + 1 >= self.lag, ahead, kept)
        return window._replace(number=window.number + 1, start=moved_on), Analysis(end, spread)


class CycledFourDVar(AssimilationMethod):
    """4D-Var whose background covariance comes from the analysis before, by the tangent-linear
    model: each measurement enters once, and in a linear model it is the Kalman smoother.

    **Arguments:**

    - `lag`: intervals between measurements in a window.
    - `iterations`: of Gauss-Newton.
    - `inflation`: of the deviations at the start of a window after each analysis, at least one: for
      what a linear covariance of chaotic errors leaves out.

    **Raises:** ValueError for a lag or iterations below one, or an inflation below one.
    """

    lag: int = eqx.field(static=True)
    iterations: int = eqx.field(static=True, default=3)
    inflation: float = 1.0

    def __check_init__(self):
        checks.counts(lag=self.lag, iterations=self.iterations)
        check_inflation(self.inflation)

    def start(self, problem: Problem, key: PRNGKeyArray) -> Cycled:
        return Cycled(jnp.asarray(0), problem.start(), problem.root)

    def advance(
        self, problem: Problem, memory: Cycled, observed: Float[Array, " m"], key: PRNGKeyArray
    ) -> tuple[Cycled, Analysis]:
        number, background, root = memory
        within = active(number, self.lag)

        def end(control: Array) -> Array:
            start = background + root @ control
            return through(lambda state, _: problem.forecast(state), start, within)[0]

        def residual(control: Array) -> Array:
            return observed - problem.measured(end(control))

        control = gauss_newton(residual, jnp.zeros_like(background), self.iterations, direct)
        last, push = jax.linearize(end, control)
        moved = _columns(push, jnp.eye(len(control), dtype=control.dtype))
        seen = _columns(jax.linearize(problem.measured, last)[1], moved)
        reduced = self.inflation * posterior_root(seen)
        start = background + root @ control
        if self.lag == 1:
            after = last, moved @ reduced
        else:
            ahead, push = jax.linearize(problem.forecast, start)
            after = chosen(
                number + 1 >= self.lag,
                (ahead, _columns(push, root @ reduced)),
                (start, root @ reduced),
            )
        spread = jnp.linalg.norm(moved @ reduced, axis=1)
        return Cycled(number + 1, *after), Analysis(last, spread)


def _columns(linear: Callable[[Array], Array], matrix: Float[Array, "n k"]) -> Float[Array, "m k"]:
    return jax.vmap(linear, in_axes=1, out_axes=1)(matrix)
