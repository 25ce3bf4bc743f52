"""Many independent members at once, on all devices."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxpbdl.checks import is_concrete


def map_members(
    function: Callable[..., Any], *batched: Any, devices: Sequence[Any] | None = None
) -> Any:
    """`function` of each member along the first axis of `batched`, like
    `jax.vmap(function)(*batched)`.

    Members are shared out over the devices without communication. On a CPU each device takes its
    members one after another, which beats batching them (their working set stays in the cache); on
    an accelerator it batches them. A CPU counts as several devices after
    `jax.config.update("jax_num_cpu_devices", cores)`, which must come before JAX's first
    computation; the command line does it.

    The results are on the first device.

    **Arguments:** `function`, of pytrees of arrays; `batched`, pytrees whose arrays share their
    first axis; `devices`, all by default.

    **Raises:** ValueError if there is no member, first axes differ, or a number is given for an
    array (a list of numbers is a pytree of them, not an array).
    """
    devices = jax.devices() if devices is None else list(devices)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(batched) if eqx.is_array_like(leaf)]
    if not shapes or any(shape[:1] in ((), (0,)) for shape in shapes):
        raise ValueError(
            f"batched must hold arrays with a first axis of at least 1, got shapes {shapes}"
        )
    counts = {shape[0] for shape in shapes}
    if len(counts) != 1:
        raise ValueError(f"batched must share a first axis, got sizes {sorted(counts)}")
    (members,) = counts
    devices = devices[: min(len(devices), members)]
    missing = -members % len(
        devices
    )  # the last member again, where members do not share out evenly
    if missing:
        batched = jax.tree.map(
            lambda a: jnp.concatenate([a, jnp.repeat(a[-1:], missing, 0)]), batched
        )
    concrete = len(devices) > 1 and is_concrete((function, batched))
    if concrete:
        # What is bound to one device (the outcome of a fit, say) has to move to where it is needed.
        mesh = Mesh(np.array(devices), ("member",))
        function = _placed(function, NamedSharding(mesh, PartitionSpec()))
        batched = _placed(batched, NamedSharding(mesh, PartitionSpec("member")))
    results = _mapped(function, batched, tuple(devices))
    if missing:
        results = jax.tree.map(lambda a: a[:members], results)
    return jax.device_put(results, devices[0]) if concrete else results


def _placed(tree: Any, sharding: NamedSharding) -> Any:
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.device_put(arrays, sharding), rest)


def of_each(function: Callable[..., Any], *batched: Any) -> Any:
    """`function` of each member on one device: a batch on accelerators; on a CPU one after another,
    where a batch overflows the cache and matrix products with a batch axis are slow."""
    if jax.default_backend() == "cpu":
        return lax.map(lambda member: function(*member), batched)
    return jax.vmap(function)(*batched)


@eqx.filter_jit
def _mapped(function: Callable[..., Any], batched: Any, devices: tuple[Any, ...]) -> Any:
    def on_one_device(*mine: Any) -> Any:
        return of_each(function, *mine)

    if len(devices) == 1:
        return on_one_device(*batched)
    mesh = Mesh(np.array(devices), ("member",))
    shared_out = PartitionSpec("member")
    return jax.shard_map(
        on_one_device, mesh=mesh, in_specs=shared_out, out_specs=shared_out, check_vma=False
    )(*batched)
