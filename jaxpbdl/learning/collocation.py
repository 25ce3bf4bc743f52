"""Losses over collocation points: means in chunks that devices can share."""

from collections.abc import Callable, Sequence
from math import prod

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float, PyTree

from jaxpbdl.distributed import sum_points
from jaxpbdl.equations import Equation
from jaxpbdl.fields import expanded, weak_residual
from jaxpbdl.fields.derivatives import Judge
from jaxpbdl.fields.sampling import Points
from jaxpbdl.fields.weak import Balance


def mean_over(
    function: Callable[[PyTree, Float[Array, " dim"]], Array],
    model: PyTree,
    points: Points,
    *,
    weights: Float[Array, " points"] | None = None,
    chunk: int = 512,
    mesh: Mesh | None = None,
) -> Float[Array, ""]:
    """The mean over `points` of `function(model, point)`, a scalar, times the point's weight.

    It is `distributed.sum_points` with the weights over their number: the arguments and what is
    differentiated are the same.

    **Raises:** ValueError if there is no point, or `points` or `weights` have another rank; else as
    `sum_points`.
    """
    if jnp.ndim(points) != 2 or points.shape[0] == 0:
        raise ValueError(
            "points must have shape (number of points, dim) with at least one point, "
            f"got {jnp.shape(points)}"
        )
    count = points.shape[0]
    weights = jnp.ones(count, points.dtype) if weights is None else weights
    return sum_points(function, model, points, weights=weights / count, chunk=chunk, mesh=mesh)


def residual_loss(
    equation: Judge,
    field: Callable[[Float[Array, " dim"]], Array],
    points: Points,
    *,
    weights: Float[Array, " points"] | None = None,
    chunk: int = 512,
    mesh: Mesh | None = None,
) -> Float[Array, ""]:
    """Mean square of an equation's residual of a field over collocation points, summed over its
    components: the physical part of the loss of a physics-informed network.

    Derivatives come from one Taylor expansion a point (`fields.expanded`). Gradients reach the
    field, be it a module or a function that closes over one, and the parameters of the equation;
    arguments and errors are those of `mean_over`; a field whose value has another size than the
    equation's is refused as well, and a numerical solution of another quantity than it judges
    (`Equation.field_of` makes the right one from the states of a rollout).
    """
    model = (equation, _opened(equation, field, points))
    return mean_over(_squared_residual, model, points, weights=weights, chunk=chunk, mesh=mesh)


def _opened(equation: object, field: Callable, points: Points) -> PyTree:
    """The field, checked, as a pytree that shows its arrays: a lambda hides what it closes over."""
    if jnp.ndim(points) != 2 or not len(points):
        return field
    expected = None
    if isinstance(equation, Equation):
        equation.check_field(field)
        expected = equation.field_shape
    given = eqx.filter_eval_shape(field, points[0]).shape
    if expected is not None and prod(given) != prod(expected):
        raise ValueError(
            f"{type(equation).__name__} judges fields with values of shape {expected}, "
            f"this one gives shape {given}"
        )
    if isinstance(field, eqx.Module):
        return field
    return _Opened(*jax.closure_convert(field, points[0]))


class _Opened(eqx.Module):
    function: Callable = eqx.field(static=True)
    arrays: list[Array]

    def __call__(self, point: Array) -> Array:
        return self.function(point, *self.arrays)


def _squared_residual(model: PyTree, point: Array) -> Array:
    equation, field = model
    return jnp.sum(jnp.abs(expanded(equation.residual, field, point)) ** 2)


def weak_loss(
    equation: Balance,
    field: Callable[[Float[Array, " dim"]], Array],
    centres: Points,
    size: Sequence[float],
    tests: int = 3,
    *,
    weights: Float[Array, " points"] | None = None,
    chunk: int = 16,
    mesh: Mesh | None = None,
) -> Float[Array, ""]:
    """Mean square of the weak residual (`fields.weak_residual`) over cells of one size around the
    `centres`, summed over test functions and components: for fronts that points miss.

    A cell costs (tests + 2)^dim points. Otherwise as `residual_loss`.
    """
    squared = _SquaredWeakResidual(tuple(size), tests)
    model = (equation, _opened(equation, field, centres))
    return mean_over(squared, model, centres, weights=weights, chunk=chunk, mesh=mesh)


class _SquaredWeakResidual(eqx.Module):
    size: tuple[float, ...] = eqx.field(static=True)
    tests: int = eqx.field(static=True)

    def __call__(self, model: PyTree, centre: Array) -> Array:
        equation, field = model
        return jnp.sum(weak_residual(equation, field, centre, self.size, self.tests) ** 2)


def residual_at(
    equation: Judge, field: Callable, points: Points, chunk: int = 256
) -> Float[Array, " points"]:
    """The size of the residual at every point, the root of the sum over its components' squares:
    what `fields.refine` takes.
    """
    return _residual_at((equation, _opened(equation, field, points)), points, chunk)


@eqx.filter_jit
def _residual_at(model: PyTree, points: Points, chunk: int) -> Float[Array, " points"]:
    one = lambda point: _squared_residual(model, point) ** 0.5  # noqa: E731
    return lax.map(one, points, batch_size=chunk)
