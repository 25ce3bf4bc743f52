"""Means over many points, whose gradient is accumulated chunk by chunk.

The loss of a physics-informed network is a mean over thousands of points. In one piece its
intermediate results overflow the cache; in chunks of a few hundred points, each with its gradient
at once, they do not, and the memory no longer grows with the number of points.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations import Equation
from jaxpbdl.fields import expanded, weak_residual
from jaxpbdl.fields.sampling import Points


def mean_over(
    function: Callable[[Any, Float[Array, " dim"]], Array],
    model: Any,
    points: Points,
    *,
    weights: Float[Array, " points"] | None = None,
    chunk: int = 512,
    devices: Sequence[Any] | None = None,
) -> Float[Array, ""]:
    """The mean over `points` of `function(model, point)`, a scalar, times the point's weight.

    **Arguments:**

    - `function`: pure; what is differentiated belongs into `model`, and other arrays into the
      fields of a module (a bound method such as `equation.residual` is one).
    - `weights`: one number a point, held fixed under differentiation.
    - `chunk`: points worked on at once.
    - `devices`: devices that share the points; by default one.

    Gradients with respect to `model` are those of the plain mean, by reverse mode, once.

    **Raises:** ValueError if there is no point, or `points` or `weights` have another rank.
    """
    if jnp.ndim(points) != 2 or points.shape[0] == 0:
        raise ValueError(
            "points must have shape (number of points, dim) with at least one point, "
            f"got {jnp.shape(points)}"
        )
    checks.count("chunk", chunk)
    count = points.shape[0]
    weights = jnp.ones(count, points.dtype) if weights is None else weights
    checks.shape("weights", weights, (count,))
    devices = None if devices is None or len(devices) < 2 else tuple(devices)
    share = chunk * (1 if devices is None else len(devices))
    missing = -count % share
    if missing:  # the last point again, with no weight
        points = jnp.concatenate([points, jnp.repeat(points[-1:], missing, axis=0)])
        weights = jnp.concatenate([weights, jnp.zeros(missing, weights.dtype)])
    data = jax.tree.map(lax.stop_gradient, (points, weights / count))
    return _mean(model, function, data, chunk, devices)


def _total(
    reduce_chunk: Callable[[Any, Any, Any], Any],
    model: Any,
    function: Any,
    data: tuple[Array, Array],
    chunk: int,
    devices: tuple[Any, ...] | None,
) -> Any:
    """The sum over all chunks and devices of a pytree that `reduce_chunk` makes of each."""
    arrays, rest = eqx.partition((model, function), eqx.is_array)

    def on_one_device(arrays: Any, data: Any) -> Any:
        model, function = eqx.combine(arrays, rest)
        chunks = jax.tree.map(lambda a: a.reshape(-1, chunk, *a.shape[1:]), data)
        first = jax.tree.map(lambda a: a[0], chunks)
        start = jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype),
            eqx.filter_eval_shape(reduce_chunk, model, function, first),
        )

        def body(total: Any, data: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, reduce_chunk(model, function, data)), None

        total, _ = lax.scan(body, start, chunks)
        return total if devices is None else lax.psum(total, "points")

    if devices is None:
        return on_one_device(arrays, data)
    mesh = Mesh(np.array(devices), ("points",))
    everywhere, shared_out = PartitionSpec(), PartitionSpec("points")
    return jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(everywhere, shared_out),
        out_specs=everywhere,
        check_vma=False,
    )(arrays, data)


def _weighted_sum(model: Any, function: Callable, data: tuple[Array, Array]) -> Array:
    points, weights = data
    values = jax.vmap(lambda point: function(model, point))(points)
    if values.ndim != 1:
        raise ValueError(f"function must return a scalar at a point, got shape {values.shape[1:]}")
    return jnp.sum(weights * values)


def _gradient(model: Any, function: Callable, data: tuple[Array, Array]) -> tuple[Array, Any]:
    return eqx.filter_value_and_grad(_weighted_sum)(model, function, data)


@eqx.filter_custom_vjp
def _mean(model: Any, function: Callable, data: Any, chunk: int, devices: Any) -> Array:
    return _total(_weighted_sum, model, function, data, chunk, devices)


@_mean.def_fwd
def _mean_forward(perturbed, model, function, data, chunk, devices):
    """The value together with its gradient, so that no chunk is visited twice."""
    # A number that is differentiated arrives as such, and is no array that a gradient would reach.
    model = jax.tree.map(lambda leaf, moves: jnp.asarray(leaf) if moves else leaf, model, perturbed)
    return _total(_gradient, model, function, data, chunk, devices)


@_mean.def_bwd
def _mean_backward(gradient, cotangent, perturbed, model, function, data, chunk, devices):
    del perturbed, model, function, data, chunk, devices
    return jax.tree.map(lambda g: cotangent * g, gradient)


def residual_loss(
    equation: Any,
    field: Callable[[Float[Array, " dim"]], Array],
    points: Points,
    *,
    weights: Float[Array, " points"] | None = None,
    chunk: int = 512,
    devices: Sequence[Any] | None = None,
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
    return mean_over(
        _squared_residual, model, points, weights=weights, chunk=chunk, devices=devices
    )


def _opened(equation: Any, field: Any, points: Points) -> Any:
    """The field, checked, as a pytree that shows its arrays: a lambda hides what it closes over."""
    if jnp.ndim(points) != 2 or not len(points):
        return field
    if isinstance(equation, Equation):
        equation.check_field(field)
    expected = getattr(equation, "field_shape", None)
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


def _squared_residual(model: Any, point: Array) -> Array:
    equation, field = model
    return jnp.sum(jnp.abs(expanded(equation.residual, field, point)) ** 2)


def weak_loss(
    equation: Any,
    field: Callable[[Float[Array, " dim"]], Array],
    centres: Points,
    size: Sequence[float],
    tests: int = 3,
    *,
    weights: Float[Array, " points"] | None = None,
    chunk: int = 16,
    devices: Sequence[Any] | None = None,
) -> Float[Array, ""]:
    """Mean square of the weak residual (`fields.weak_residual`) over cells of one size around the
    `centres`, summed over test functions and components: for fronts that points miss.

    A cell costs (tests + 2)^dim points. Otherwise as `residual_loss`.
    """
    squared = _SquaredWeakResidual(tuple(size), tests)
    model = (equation, _opened(equation, field, centres))
    return mean_over(squared, model, centres, weights=weights, chunk=chunk, devices=devices)


class _SquaredWeakResidual(eqx.Module):
    size: tuple[float, ...] = eqx.field(static=True)
    tests: int = eqx.field(static=True)

    def __call__(self, model: Any, centre: Array) -> Array:
        equation, field = model
        return jnp.sum(weak_residual(equation, field, centre, self.size, self.tests) ** 2)


def residual_at(
    equation: Any, field: Callable, points: Points, chunk: int = 256
) -> Float[Array, " points"]:
    """The size of the residual at every point, the root of the sum over its components' squares:
    what `fields.refine` takes.
    """
    return _residual_at((equation, _opened(equation, field, points)), points, chunk)


@eqx.filter_jit
def _residual_at(model: Any, points: Points, chunk: int) -> Float[Array, " points"]:
    one = lambda point: _squared_residual(model, point) ** 0.5  # noqa: E731
    return lax.map(one, points, batch_size=chunk)
