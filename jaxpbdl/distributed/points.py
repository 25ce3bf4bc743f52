"""Sums over many points, whose gradient is accumulated chunk by chunk.

The loss of a physics-informed network is a mean over thousands of points. In one piece its
intermediate results overflow the cache; in chunks of a few hundred points, each with its gradient
at once, they do not, and the memory no longer grows with the number of points.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.distributed.devices import devices_along


def sum_points(
    function: Callable[[PyTree, Array], Array],
    model: PyTree,
    points: Float[Array, "points *point"],
    *,
    weights: Float[Array, " points"] | None = None,
    chunk: int = 512,
    mesh: Mesh | None = None,
) -> Float[Array, ""]:
    """The sum over `points` of `function(model, point)`, a scalar, times the point's weight.

    Gradients with respect to `model` are those of the plain sum, by reverse mode, once.

    **Arguments:**

    - `function`: pure; what is differentiated belongs into `model`, and other arrays into the
      fields of a module (a bound method such as `equation.residual` is one).
    - `points`, `weights`: along their first axis; held fixed under differentiation. The weights are
      1 by default.
    - `chunk`: points worked on at once by a device.
    - `mesh`: devices along an axis "points" that share them (`distributed.mesh`); by default one.

    **Raises:** ValueError if there is no point, `function` gives no scalar, there is not one weight
    a point, or the mesh has no axis "points".
    """
    if jnp.ndim(points) == 0 or points.shape[0] == 0:
        raise ValueError(f"points must have a first axis of at least 1, got {jnp.shape(points)}")
    checks.count("chunk", chunk)
    count = points.shape[0]
    weights = jnp.ones(count, points.dtype) if weights is None else weights
    checks.shape("weights", weights, (count,))
    sharing = 1 if mesh is None else devices_along(mesh, "points")
    missing = -count % (chunk * sharing)
    if missing:  # the last point again, with no weight
        points = jnp.concatenate([points, jnp.repeat(points[-1:], missing, axis=0)])
        weights = jnp.concatenate([weights, jnp.zeros(missing, weights.dtype)])
    data = jax.tree.map(lax.stop_gradient, (points, weights))
    return _sum(model, function, data, chunk, None if sharing == 1 else mesh)


def _total(
    reduce_chunk: Callable[[PyTree, Callable, PyTree], PyTree],
    model: PyTree,
    function: Callable,
    data: tuple[Array, Array],
    chunk: int,
    mesh: Mesh | None,
) -> PyTree:
    """The sum over all chunks and devices of the pytree that `reduce_chunk` gives for each."""
    arrays, rest = eqx.partition((model, function), eqx.is_array)

    def on_one_device(arrays: PyTree, data: PyTree) -> PyTree:
        model, function = eqx.combine(arrays, rest)
        chunks = jax.tree.map(lambda a: a.reshape(-1, chunk, *a.shape[1:]), data)
        first = jax.tree.map(lambda a: a[0], chunks)
        start = jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype),
            eqx.filter_eval_shape(reduce_chunk, model, function, first),
        )

        def body(total: PyTree, data: PyTree) -> tuple[PyTree, None]:
            return jax.tree.map(jnp.add, total, reduce_chunk(model, function, data)), None

        total, _ = lax.scan(body, start, chunks)
        return total if mesh is None else lax.psum(total, "points")

    if mesh is None:
        return on_one_device(arrays, data)
    whole, split = PartitionSpec(), PartitionSpec("points")
    return jax.shard_map(
        on_one_device, mesh=mesh, in_specs=(whole, split), out_specs=whole, check_vma=False
    )(arrays, data)


def _weighted_sum(model: PyTree, function: Callable, data: tuple[Array, Array]) -> Array:
    points, weights = data
    values = jax.vmap(lambda point: function(model, point))(points)
    if values.ndim != 1:
        raise ValueError(f"function must return a scalar at a point, got shape {values.shape[1:]}")
    return jnp.sum(weights * values)


def _gradient(model: PyTree, function: Callable, data: tuple[Array, Array]) -> tuple[Array, PyTree]:
    return eqx.filter_value_and_grad(_weighted_sum)(model, function, data)


@eqx.filter_custom_vjp
def _sum(model: PyTree, function: Callable, data: PyTree, chunk: int, mesh: Mesh | None) -> Array:
    return _total(_weighted_sum, model, function, data, chunk, mesh)


@_sum.def_fwd
def _sum_forward(perturbed, model, function, data, chunk, mesh):
    """The value together with its gradient, so that no chunk is visited twice."""
    # A number that is differentiated arrives as such, and is no array that a gradient would reach.
    model = jax.tree.map(lambda leaf, moves: jnp.asarray(leaf) if moves else leaf, model, perturbed)
    return _total(_gradient, model, function, data, chunk, mesh)


@_sum.def_bwd
def _sum_backward(gradient, cotangent, perturbed, model, function, data, chunk, mesh):
    del perturbed, model, function, data, chunk, mesh
    return jax.tree.map(lambda g: cotangent * g, gradient)
