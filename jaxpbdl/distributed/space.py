"""A box shared out over devices: meshes for its axes, and states placed on them.

The first axis of the box is split into slabs, or the first two into pencils. Steps are written for
the whole box; where arrays are placed like this, the compiler gives each device its part of the
work, with halos exchanged between neighbours where a stencil reaches over (`roll`, `pad`, slices),
and `transforms` does what it would do badly: Fourier transforms.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxpbdl import checks
from jaxpbdl.distributed.processes import put

SPACE = ("space_0", "space_1")
"""The names of a mesh's axes that split the first and the second axis of a box."""


def space_mesh(*parts: int, devices: Sequence[Any] | None = None) -> Mesh:
    """Devices that share a box: `space_mesh(8)` cuts its first axis into 8 slabs, `space_mesh(4,
    2)` its first two into 4 x 2 pencils.

    **Arguments:** `parts`, one or two numbers >= 1; by default one, that of all devices; `devices`,
    by default all, those of other processes too (`jax.distributed.initialize`).

    **Raises:** ValueError for more than two numbers, or more parts than devices.
    """
    found = jax.devices() if devices is None else list(devices)
    parts = parts or (len(found),)
    if len(parts) > len(SPACE):
        raise ValueError(f"parts must be one or two numbers, got {len(parts)}: {parts}")
    counts = tuple(checks.count("parts", part) for part in parts)
    if prod(counts) > len(found):
        raise ValueError(
            f"parts {counts} need {prod(counts)} devices, there are {len(found)}; a CPU counts as "
            "several after jax.config.update('jax_num_cpu_devices', number)"
        )
    grid = np.array(found[: prod(counts)]).reshape(counts)
    return Mesh(grid, SPACE[: len(counts)], axis_types=(AxisType.Auto,) * len(counts))


def parts_of(mesh: Mesh) -> tuple[int, ...]:
    """Into how many parts a mesh splits the first axes of a box. Raises ValueError for a mesh that
    splits no box."""
    if mesh.axis_names != SPACE[: len(mesh.axis_names)]:
        raise ValueError(
            f"mesh must split a box (distributed.space_mesh), got axes {mesh.axis_names}"
        )
    return tuple(mesh.shape[name] for name in mesh.axis_names)


def box_spec(leading: int, ndim: int, mesh: Mesh) -> PartitionSpec:
    """How an array with `leading` axes before the `ndim` of the box is split."""
    names = mesh.axis_names
    return PartitionSpec(*(None,) * leading, *names, *(None,) * (ndim - len(names)))


def scatter(tree: PyTree, mesh: Mesh, shape: Sequence[int]) -> PyTree:
    """The arrays of a tree on the devices of a mesh: those that hold a box (in the cells, or on
    their faces across axes that are not split) are split along its first axes, all others are whole
    on each device.

    Every process gives the same arrays and keeps its own part of them. `numpy.asarray` gathers an
    array again where one process has all devices.

    **Arguments:** `tree`, a state, a step, or any pytree; `mesh`, of `space_mesh`; `shape`, that of
    the grid.

    **Raises:** ValueError if the parts do not divide the axes they split, or an axis that is split
    has walls (an array has one value more along it than there are cells).
    """
    shape = tuple(shape)
    check_parts(shape, mesh)
    parts = parts_of(mesh)

    def place(leaf: jax.Array) -> jax.Array:
        leading = leaf.ndim - len(shape)
        spec = PartitionSpec()
        if leading >= 0 and _on_box(leaf.shape[leading:], shape):
            for axis, more in enumerate(leaf.shape[leading : leading + len(parts)]):
                if more != shape[axis] and parts[axis] > 1:
                    raise ValueError(
                        f"axis {axis} has walls ({more} values for {shape[axis]} cells); devices "
                        "split axes without, put the walls on the others"
                    )
            spec = box_spec(leading, len(shape), mesh)
        return put(leaf, NamedSharding(mesh, spec))

    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.tree.map(place, arrays), rest)


def _on_box(extents: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array has one value for each cell, or one more along axes with walls."""
    return all(n in (cells, cells + 1) for n, cells in zip(extents, shape, strict=True))


def check_periodic(periodic: Sequence[bool], mesh: Mesh) -> None:
    """Refuse a mesh that splits an axis of a box along which it has sides."""
    parts = parts_of(mesh)
    for axis, (is_periodic, count) in enumerate(zip(periodic, parts, strict=False)):
        if count > 1 and not is_periodic:
            raise ValueError(
                f"mesh splits axis {axis} into {count} parts, so it must be periodic; got "
                f"periodic={tuple(periodic)}"
            )


def check_parts(shape: tuple[int, ...], mesh: Mesh) -> None:
    """Refuse a mesh whose parts do not divide the axes of a box."""
    parts = parts_of(mesh)
    if len(parts) > len(shape):
        raise ValueError(f"mesh splits {len(parts)} axes, the box has {len(shape)}")
    for axis, (points, count) in enumerate(zip(shape, parts, strict=False)):
        if points % count:
            raise ValueError(
                f"axis {axis} has {points} points, which {count} parts do not divide evenly"
            )
