"""Many independent members at once, on all devices."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import PyTree

from jaxpbdl.checks import is_concrete
from jaxpbdl.distributed.devices import devices_along, placed
from jaxpbdl.distributed.devices import mesh as mesh_along


def map_members(
    function: Callable[..., PyTree], *batched: PyTree, mesh: Mesh | None = None
) -> PyTree:
    """`function` of each member along the first axis of `batched`, like
    `jax.vmap(function)(*batched)`.

    Members are shared out over the devices without communication; where the devices do not divide
    them, some repeat the last member, and what they find is dropped. On a CPU each device takes its
    members one after another, which beats batching them (their working set stays in the cache); on
    an accelerator it batches them.

    The results are on the first device.

    **Arguments:** `function`, of pytrees of arrays; `batched`, pytrees whose arrays share their
    first axis; `mesh`, devices along an axis "member", by default all (`distributed.mesh`).

    **Raises:** ValueError if there is no member, first axes differ, a number is given for an array
    (a list of numbers is a pytree of them, not an array), or the mesh has no axis "member".
    """
    count = _count(batched)
    mesh = mesh_for(count, mesh)
    if mesh is None:
        return _mapped(function, batched, None)
    missing = -count % devices_of(mesh)
    batched = _padded(batched, missing)
    concrete = is_concrete((function, batched))
    if concrete:
        # What is bound to one device (the outcome of a fit, say) has to move to where it is needed.
        function = placed(function, mesh)
        batched = placed(batched, mesh, "member")
    results = _mapped(function, batched, mesh)
    if missing:
        results = jax.tree.map(lambda a: a[:count], results)
    return jax.device_put(results, mesh.devices.flat[0]) if concrete else results


def mesh_for(count: int, mesh: Mesh | None) -> Mesh | None:
    """The mesh that so many members fill, by default of all devices; None if one device does, which
    leaves the work where the arrays are."""
    mesh = mesh_along("member") if mesh is None else mesh
    available = devices_of(mesh)
    if min(available, count) < 2:
        return None
    if available <= count:
        return mesh
    axis = mesh.axis_names.index("member")
    used = np.take(mesh.devices, range(count), axis)
    return Mesh(used, mesh.axis_names, axis_types=mesh.axis_types)


def devices_of(mesh: Mesh) -> int:
    """How many devices share the members."""
    return devices_along(mesh, "member")


def _count(batched: tuple[PyTree, ...]) -> int:
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(batched) if eqx.is_array_like(leaf)]
    if not shapes or any(shape[:1] in ((), (0,)) for shape in shapes):
        raise ValueError(
            f"batched must hold arrays with a first axis of at least 1, got shapes {shapes}"
        )
    counts = {shape[0] for shape in shapes}
    if len(counts) != 1:
        raise ValueError(f"batched must share a first axis, got sizes {sorted(counts)}")
    return counts.pop()


def _padded(batched: PyTree, missing: int) -> PyTree:
    """The last member again, as often as it takes to give every device as many."""
    if not missing:
        return batched
    return jax.tree.map(lambda a: jnp.concatenate([a, jnp.repeat(a[-1:], missing, 0)]), batched)


@eqx.filter_jit
def _mapped(
    function: Callable[..., PyTree], batched: tuple[PyTree, ...], mesh: Mesh | None
) -> PyTree:
    # As an argument: JAX refuses to gather from an array on the mesh that is closed over.
    arrays, rest = eqx.partition(function, eqx.is_array)

    def on_one_device(arrays: PyTree, batched: tuple[PyTree, ...]) -> PyTree:
        function = eqx.combine(arrays, rest)
        if jax.default_backend() == "cpu":
            return lax.map(lambda member: function(*member), batched)
        return jax.vmap(function)(*batched)

    if mesh is None:
        return on_one_device(arrays, batched)
    whole, split = PartitionSpec(), PartitionSpec("member")
    return jax.shard_map(
        on_one_device, mesh=mesh, in_specs=(whole, split), out_specs=split, check_vma=False
    )(arrays, batched)
