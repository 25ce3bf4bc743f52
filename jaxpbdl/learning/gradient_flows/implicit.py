"""Implicit Euler on d(theta)/dt = -grad loss(theta): the proximal point method, as an optimiser.

    theta+ = theta - dt grad loss(theta+),
    that is the minimum over x of  dt loss(x) + |x - theta|^2 / 2

(Martinet 1970; Rockafellar, SIAM J. Control Optim. 14 (1976) 877). The minimum is found by Newton's
method, its linear equations by conjugate gradients with products of the Hessian, which end at a
direction of negative curvature (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.1).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxpbdl import checks
from jaxpbdl.learning.gradient_flows.flat import flat

HALVINGS = 8
"""Lengths of a Newton step that are tried, each half the one before."""
DECREASE = 1e-4
"""The share of what the slope promises by which a step must lower the function."""


class ImplicitState(NamedTuple):
    """How many gradients were computed, a product with the Hessian as two, a try of a length of a
    step as one."""

    gradients: Int[Array, ""]


class Search(NamedTuple):
    """A point, value and gradient there, what was spent, and whether the last step was taken."""

    point: Float[Array, " n"]
    value: Float[Array, ""]
    gradient: Float[Array, " n"]
    spent: Int[Array, ""]
    steps: Int[Array, ""]
    taken: Bool[Array, ""]


def implicit_euler(
    dt: ArrayLike, *, newton_steps: int = 2, products: int = 10, tolerance: ArrayLike = 1e-2
) -> optax.GradientTransformationExtraArgs:
    """An implicit Euler step of the gradient flow an update.

    No dt is too large for stability: the loss never rises, convex or not, because the quantity that
    is minimised starts as dt times the loss. For dt -> infinity it is a Newton method.

    **Arguments:**

    - `dt`: > 0.
    - `newton_steps`: at most, an update.
    - `products`: with the Hessian, at most, a Newton step; as many as there are parameters, and a
      small tolerance, for exact steps.
    - `tolerance`: of the gradient of what is minimised, relative to that at the start, and of the
      residual of the linear equations.

    **Raises:** ValueError for a dt or a tolerance that is not finite and positive, and counts below
    one; in `update`, without `params`, `value` and `value_fn`.
    """
    checks.positive("dt", dt)
    checks.positive("tolerance", tolerance)
    checks.counts(newton_steps=newton_steps, products=products)

    def init(params: PyTree) -> ImplicitState:
        return ImplicitState(jnp.asarray(0))

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, ImplicitState]:
        at = flat("implicit_euler", updates, params, extra)
        if "value" not in extra:
            raise ValueError("implicit_euler needs value, as `fit` gives it")

        step = jnp.asarray(dt, at.parameters.dtype)
        allowed = jnp.asarray(tolerance, at.parameters.dtype)

        def proximal(point: Array) -> Array:
            return step * at.loss(point) + jnp.sum((point - at.parameters) ** 2) / 2

        start = Search(
            at.parameters,
            (step * extra["value"]).astype(step.dtype),
            step * at.gradient,
            jnp.asarray(1),
            jnp.asarray(0),
            jnp.asarray(True),
        )
        goal = allowed * jnp.linalg.norm(start.gradient)

        def going(search: Search) -> Array:
            unfinished = jnp.linalg.norm(search.gradient) > goal
            return unfinished & search.taken & (search.steps < newton_steps)

        end = lax.while_loop(
            going, lambda search: _newton(proximal, search, products, allowed), start
        )
        change = at.unravel(end.point - at.parameters)
        return change, ImplicitState(state.gradients + end.spent)

    return optax.GradientTransformationExtraArgs(init, update)


def _newton(
    function: Callable[[Array], Array], search: Search, products: int, tolerance: Array
) -> Search:
    """One step of Newton's method, halved until it lowers the function."""
    point, value, gradient, spent, steps, _ = search

    def curved(vector: Array) -> Array:
        return jax.jvp(jax.grad(function), (point,), (vector,))[1]

    direction, used = conjugate_gradients(curved, -gradient, products, tolerance)
    promised = DECREASE * (direction @ gradient)

    def lower(length: Array, value_there: Array) -> Array:
        return value_there < value + length * promised

    def attempt(carry: tuple) -> tuple:
        length = carry[0] / 2
        return (length, *jax.value_and_grad(function)(point + length * direction), carry[3] + 1)

    def wanting(carry: tuple) -> Array:
        return ~lower(carry[0], carry[1]) & (carry[3] < HALVINGS)

    untried = (jnp.asarray(2.0, value.dtype), jnp.full_like(value, jnp.nan), gradient, 0)
    length, value_there, gradient_there, tries = lax.while_loop(wanting, attempt, untried)
    taken = lower(length, value_there)
    return Search(
        jnp.where(taken, point + length * direction, point),
        jnp.where(taken, value_there, value),
        jnp.where(taken, gradient_there, gradient),
        spent + 2 * used + tries,
        steps + 1,
        taken,
    )


def conjugate_gradients(
    apply: Callable[[Array], Array], b: Float[Array, " n"], products: int, tolerance: ArrayLike
) -> tuple[Float[Array, " n"], Int[Array, ""]]:
    """The x with `apply(x) = b`, to a residual of `tolerance` times the norm of b or after as many
    products, and how many these were. At a direction of negative curvature it ends with the x
    before it, or with b if it is the first."""
    goal = tolerance * jnp.linalg.norm(b)

    def turn(carry: tuple) -> tuple:
        x, residual, direction, used, _ = carry
        image = apply(direction)
        curvature, square = direction @ image, residual @ residual
        convex = curvature > 0
        share = square / jnp.where(convex, curvature, 1.0)
        ahead = residual - share * image
        stopped = jnp.where(used == 0, b, x)
        x = jnp.where(convex, x + share * direction, stopped)
        direction = ahead + (ahead @ ahead) / square * direction
        return x, ahead, direction, used + 1, convex

    def going(carry: tuple) -> Array:
        _, residual, _, used, convex = carry
        return convex & (used < products) & (jnp.linalg.norm(residual) > goal)

    start = (jnp.zeros_like(b), b, b, jnp.asarray(0), jnp.asarray(True))
    x, _, _, used, _ = lax.while_loop(going, turn, start)
    return x, used
