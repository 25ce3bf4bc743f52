"""Transforms along the axes of a box that is shared out over devices.

Each device transforms the axes it holds whole; then devices exchange blocks (`all_to_all`), so that
a split axis becomes whole and the next one split, and the next transform is local again. Slabs take
one exchange a transform, pencils two; a device sends `(P - 1) / P` of its part in each. Left to
itself the compiler gathers the whole box on every device.

Where the parts do not divide the modes of an axis that becomes split, it is filled up with zeros.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxpbdl.distributed.space import box_spec, check_parts, parts_of

Whole = Callable[[Array, tuple[int, ...]], Array]
"""Transforms a block along axes at once."""
Along = Callable[[Array, int], Array]
"""Transforms a block along one axis, counted from the last."""


def check_box(shape: tuple[int, ...], mesh: Mesh) -> None:
    """Refuse a box whose transforms a mesh cannot share."""
    check_parts(shape, mesh)
    if len(parts_of(mesh)) >= len(shape):
        raise ValueError(
            f"transforms need an axis that is not split, the mesh splits all {len(shape)}; "
            "see distributed.space_mesh"
        )


def filled(modes: tuple[int, ...], mesh: Mesh) -> tuple[int, ...]:
    """The numbers of modes along each axis with what fills them up."""
    parts = (1, *parts_of(mesh), *(1,) * len(modes))
    return tuple(n + -n % count for n, count in zip(modes, parts, strict=False))


def modes_spec(leading: int, ndim: int, mesh: Mesh) -> PartitionSpec:
    """How coefficients are split: along the axes after those that are split in space."""
    names = mesh.axis_names
    return PartitionSpec(*(None,) * (leading + 1), *names, *(None,) * (ndim - 1 - len(names)))


def scattered_modes(coefficients: Array, ndim: int, mesh: Mesh) -> Array:
    """Coefficients, filled up already, on the devices that share them."""
    spec = modes_spec(coefficients.ndim - ndim, ndim, mesh)
    return jax.device_put(coefficients, NamedSharding(mesh, spec))


def forward(values: Array, ndim: int, mesh: Mesh, whole: Whole, along: Along) -> Array:
    """Coefficients of values in the box: `whole` transforms the axes that are not split, `along`
    each of the others, from the last to the first."""
    leading = values.ndim - ndim
    axes = tuple(range(-ndim, 0))
    split = list(zip(axes, mesh.axis_names, strict=False))

    def on_one_device(block: Array) -> Array:
        block = whole(block, axes[len(split) :])
        for axis, name in reversed(split):
            missing = -block.shape[axis + 1] % mesh.shape[name]
            block = _exchange(_filled_up(block, axis + 1, missing), name, axis + 1, axis)
            block = along(block, axis)
        return block

    before, after = box_spec(leading, ndim, mesh), modes_spec(leading, ndim, mesh)
    return _shared(on_one_device, mesh, before, after)(values)


def backward(modes: Array, sizes: tuple[int, ...], mesh: Mesh, whole: Whole, along: Along) -> Array:
    """The inverse of `forward`, from the inverse transforms; `sizes` are the numbers of modes
    without what fills them up."""
    ndim = len(sizes)
    leading = modes.ndim - ndim
    axes = tuple(range(-ndim, 0))
    split = list(zip(axes, mesh.axis_names, strict=False))

    def on_one_device(block: Array) -> Array:
        for axis, name in split:
            block = _exchange(along(block, axis), name, axis, axis + 1)
            block = lax.slice_in_dim(block, 0, sizes[axis + 1], axis=block.ndim + axis + 1)
        return whole(block, axes[len(split) :])

    before, after = modes_spec(leading, ndim, mesh), box_spec(leading, ndim, mesh)
    return _shared(on_one_device, mesh, before, after)(modes)


def _filled_up(block: Array, axis: int, missing: int) -> Array:
    if not missing:
        return block
    filling = [(0, 0)] * block.ndim
    filling[axis] = (0, missing)
    return jnp.pad(block, filling)


def _exchange(block: Array, name: str, split: int, joined: int) -> Array:
    """The axis `split` is split over the devices, the axis `joined` whole again."""
    # Without a barrier XLA gives the blocks of small boxes unlike layouts, and refuses them.
    block = lax.optimization_barrier(block)
    return lax.all_to_all(block, name, block.ndim + split, block.ndim + joined, tiled=True)


def _shared(
    function: Callable[[Array], Array], mesh: Mesh, before: PartitionSpec, after: PartitionSpec
) -> Callable[[Array], Array]:
    return jax.shard_map(function, mesh=mesh, in_specs=before, out_specs=after, check_vma=False)
