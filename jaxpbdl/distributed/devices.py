"""Devices along named axes, and arrays that are placed on them."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxpbdl.distributed.processes import put

AXES = ("member", "points", "batch")
"""What devices can share: the members of an ensemble, the points of a mean, a batch."""


def mesh(axis: str, devices: Sequence[Any] | None = None) -> Mesh:
    """Devices along one named axis: what `map_members` and `fit_ensemble` ("member") or
    `sum_points` and the losses over points ("points") share their work over, or `fit` ("batch").

    A CPU counts as several devices after `jax.config.update("jax_num_cpu_devices", cores)`, which
    must come before JAX's first computation; the command line does it.

    **Arguments:** `axis`, "member", "points" or "batch"; `devices`, by default all of this process.

    **Raises:** ValueError for another axis or no device.
    """
    if axis not in AXES:
        raise ValueError(f"axis must be one of {AXES}, got {axis!r}")
    devices = jax.local_devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("devices must hold at least one device, got none")
    # Explicit axes, the default of `jax.make_mesh`, refuse rolls and gathers along them.
    return Mesh(np.array(devices), (axis,), axis_types=(AxisType.Auto,))


def devices_along(mesh: Mesh, axis: str) -> int:
    """How many devices a mesh has along an axis. Raises ValueError if it has no such axis."""
    if axis not in mesh.shape:
        raise ValueError(f"mesh must have the axis {axis!r}, got axes {mesh.axis_names}")
    return mesh.shape[axis]


def placed(tree: PyTree, mesh: Mesh | None, axis: str | None = None) -> PyTree:
    """The arrays of a tree on the devices of a mesh: split along their first axis if the devices
    along `axis` divide it, else whole on each. Without a mesh they stay where they are."""
    if mesh is None:
        return tree
    share = 0 if axis is None else devices_along(mesh, axis)

    def place(leaf: jax.Array) -> jax.Array:
        return put(leaf, NamedSharding(mesh, _along_first(leaf, axis, share)))

    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.tree.map(place, arrays), rest)


def split_first(tree: PyTree, mesh: Mesh, axis: str) -> PyTree:
    """Inside jit: the arrays of a tree split along their first axis, where the devices divide it.

    Raises ValueError if they divide that of no array.
    """
    share = devices_along(mesh, axis)
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
    if not any(size and size[0] % share == 0 for size in sizes):
        found = sorted(size[0] for size in sizes if size)
        raise ValueError(f"{share} devices must divide a first axis of the {axis}, got {found}")

    def split(leaf: jax.typing.ArrayLike) -> jax.Array:
        leaf = jnp.asarray(leaf)
        sharding = NamedSharding(mesh, _along_first(leaf, axis, share))
        return lax.with_sharding_constraint(leaf, sharding)

    return jax.tree.map(split, tree)


def _along_first(leaf: jax.Array, axis: str | None, share: int) -> PartitionSpec:
    """Split along the first axis if `share` devices divide it, else whole."""
    split = share and leaf.ndim and leaf.shape[0] % share == 0
    return PartitionSpec(axis) if split else PartitionSpec()
