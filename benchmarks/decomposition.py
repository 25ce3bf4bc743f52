"""What devices exchange and hold when they share the box of a flow, a gas or a field.

    python benchmarks/decomposition.py [POINTS]
    python benchmarks/decomposition.py stencils

The first compiles one spectral step (fourth-order exponential, 8 transforms an evaluation, 4
evaluations) on fake devices of a CPU, counts the collectives of the compiled program and what each
moves, and predicts from it how the step would scale (see docs/devices.md). The second does so for
the stencils of staggered flow, finite volumes and Yee's scheme; a scheme in stages is a loop, of
which the program holds one stage.
"""

import re
import sys
from collections.abc import Callable
from math import prod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)

import jaxpbdl as jp
from jaxpbdl.distributed import scatter, space_mesh
from jaxpbdl.distributed.space import parts_of
from jaxpbdl.equations import CompressibleFlow, IncompressibleFlow, NavierStokes3D, Scalar
from jaxpbdl.grids import Cells
from jaxpbdl.grids.spectrum import highest_kept
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.compressible import finite_volumes, muscl, primitive, van_leer
from jaxpbdl.solvers.flow import central, incompressible, limited
from jaxpbdl.solvers.spectral import semilinear

COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-to-all|all-reduce|collective-permute|reduce-scatter)[\w-]*\("
)
ARRAY = re.compile(r"(f32|c64|f64|c128|s32|pred)\[([\d,]*)\]")
BYTES = {"f32": 4, "c64": 8, "f64": 8, "c128": 16, "s32": 4, "pred": 1}
TRANSFORMS = 8 * 4  # of one field, in the four evaluations of a step


def collectives(program: Any) -> tuple[list[str], int]:
    """Their kinds, and the bytes of the blocks that a device gives to them."""
    kinds, moved = set(), 0
    for shapes, kind in COLLECTIVE.findall(program.as_text()):
        kinds.add(kind)
        for dtype, extents in ARRAY.findall(shapes):
            moved += BYTES[dtype] * prod(int(n) for n in extents.split(",") if n)
    return sorted(kinds), moved


def held(program: Any) -> int:
    """Bytes of a device: arguments and working memory."""
    memory = program.memory_analysis()
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes


def bytes_of_theory(shape: tuple[int, ...], parts: tuple[int, ...]) -> int:
    """Of a step in single precision: what a device holds of the surviving coefficients of the axes
    that are transformed already, before each exchange of each transform. Entering and leaving the
    spectrum are six transforms more."""
    nx, _, nz = shape
    _, my, mz = (2 * highest_kept(n, 2 / 3) + 1 for n in shape)
    mz = mz // 2 + 1
    if len(parts) == 1:  # whole (y, z), then y is split and x whole
        blocks = [nx * up(my, parts[0]) * mz * (parts[0] > 1)]
    else:  # whole z, then z is split and y whole, then y is split and x whole
        blocks = [
            nx * up(my, parts[0]) * up(mz, parts[1]) * (parts[0] > 1),
            nx * shape[1] * up(mz, parts[1]) * (parts[1] > 1),
        ]
    return (TRANSFORMS + 6) * 8 * sum(blocks) // prod(parts)


def up(n: int, parts: int) -> int:
    """The next multiple."""
    return n + -n % parts


def measured(shape: tuple[int, ...], parts: tuple[int, ...]) -> dict[str, Any]:
    """One step and its gradient, on one device and on those of a mesh."""
    grid, mesh = jp.grids.Periodic(shape), space_mesh(*parts)
    x, y, z = grid.points[..., 0], grid.points[..., 1], grid.points[..., 2]
    vortex = (jnp.sin(x) * jnp.cos(y) * jnp.cos(z), -jnp.cos(x) * jnp.sin(y) * jnp.cos(z))
    state = jnp.stack([*vortex, 0.1 * jnp.sin(x + y)])
    equation = NavierStokes3D(viscosity=1e-2)
    one, shared = (semilinear(equation, grid, 0.02, mesh=m) for m in (None, mesh))
    return {
        **compared(one, shared, state, shape, mesh),
        "bytes_of_theory": bytes_of_theory(shape, parts),
    }


def compared(
    one: Any, shared: Any, state: Any, shape: tuple[int, ...], mesh: Any
) -> dict[str, Any]:
    """A step and its gradient on one device, and the same on those of a mesh."""
    spread = scatter(state, mesh, shape)

    def advance(step: Any, state: Any) -> Any:
        return step(state)

    def slope(step: Any, state: Any) -> Any:
        def square(start: Any) -> Any:
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(step(start)))

        return jax.grad(square)(state)

    values, programs = [], []
    for function in (advance, slope):
        for step, start in ((one, state), (shared, spread)):
            arrays, rest = eqx.partition(step, eqx.is_array)

            def call(arrays: Any, start: Any, function: Any = function, rest: Any = rest) -> Any:
                return function(eqx.combine(arrays, rest), start)

            program = jax.jit(call).lower(arrays, start).compile()
            programs.append(program)
            values.append(jax.tree.leaves(program(arrays, start)))
    kinds, moved = collectives(programs[1])

    def error(expected: Any, found: Any) -> float:
        pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(expected, found, strict=True)]
        scale = max(np.abs(a).max() for a, _ in pairs)
        return float(max(np.abs(a - b).max() for a, b in pairs) / scale)

    return {
        "parts": parts_of(mesh),
        "error": error(values[0], values[1]),
        "gradient_error": error(values[2], values[3]),
        "operations": kinds,
        "gradient_operations": collectives(programs[3])[0],
        "bytes": moved,
        "gradient_bytes": collectives(programs[3])[1],
        "memory_share": held(programs[1]) / held(programs[0]),
        "gradient_memory_share": held(programs[3]) / held(programs[2]),
    }


def bytes_of_halos(block: list[int], reaches: list[int]) -> int:
    """Of one field in single precision: what a device sends of its block along each axis, the sum
    of the cells that stencils reach to both sides times the area; what came along the axes before
    is sent on."""
    total, block = 0, list(block)
    for axis, reach in enumerate(reaches):
        total += reach * prod(n for a, n in enumerate(block) if a != axis)
        block[axis] += reach
    return 4 * total


def bytes_of_solution(shape: tuple, periodic: tuple, parts: tuple) -> int:
    """Of the transforms of a pressure solution, to the modes and back."""
    half = max(axis for axis, wraps in enumerate(periodic) if wraps)
    modes = [n // 2 + 1 if axis == half else n for axis, n in enumerate(shape)]
    total, last = 0, len(parts) - 1
    for axis in range(last, -1, -1):
        number = 8 if any(periodic[axis + 1 :]) else 4
        block = [n // count for n, count in zip(shape[: axis + 1], parts, strict=False)]
        block.append(up(modes[axis + 1], parts[axis]))
        for other in range(axis + 2, len(shape)):
            count = parts[other - 1] if other - 1 <= last else 1
            block.append(up(modes[other], count) // count)
        total += 2 * number * prod(block)
    return total


def flow_on_devices(
    shape: tuple, periodic: tuple, parts: tuple, interpolation: Any, scalars: int = 1
) -> dict[str, Any]:
    """A stage of staggered flow, with a scalar (limited) whose buoyancy drives it."""
    grid, mesh = Cells(shape, 1.0, periodic=periodic), space_mesh(*parts)
    heat = {"heat": Scalar(0.02, buoyancy=1.0)} if scalars else {}
    one, shared = (
        incompressible(
            IncompressibleFlow(0.01, scalars=heat), grid, 1e-3, interpolation=interpolation, mesh=m
        )
        for m in (None, mesh)
    )
    warm: dict[str, Any] = {name: lambda x: jnp.cos(2 * jnp.pi * x[0]) for name in heat}
    state = one.start(lambda x: jnp.sin(2 * jnp.pi * jnp.roll(x, 1)), **warm)
    block = [n // c for n, c in zip(shape, (*parts, 1, 1), strict=False)]
    split, reach = len(parts), 1 if interpolation is central else 2
    stencils = sum(
        bytes_of_halos(
            [n + (a == own and not periodic[a]) for a, n in enumerate(block)], [2 * reach] * split
        )
        for own in range(len(shape))
    )
    stencils += scalars * bytes_of_halos(block, [4] * split)
    faces = 4 * sum(prod(block) // block[axis] for axis in range(split))
    rest = 2 * faces + bytes_of_solution(shape, periodic, parts)
    # A gradient computes a stage once more, but for the projection, which is linear.
    theory = {"bytes_of_theory": stencils + rest, "gradient_theory": 3 * stencils + 2 * rest}
    return {**compared(one, shared, state, shape, mesh), **theory}


def gas_on_devices(shape: tuple, parts: tuple, **more: Any) -> dict[str, Any]:
    """A stage of finite volumes, of second order: two cells to each side."""
    grid, mesh, ndim = Cells(shape, 1.0, periodic=True), space_mesh(*parts), len(shape)
    options = {"reconstruction": muscl(van_leer), "variables": primitive, **more}
    one, shared = (
        finite_volumes(CompressibleFlow(ndim), grid, 1e-3, mesh=m, **options) for m in (None, mesh)
    )

    def waves_about_one(x: Any) -> Any:
        # Varied along all axes: where all is even, limiters have the gradient of rounding errors.
        phases = 2 * jnp.pi * jnp.sum(x) + jnp.arange(ndim + 2)
        return 1 + 0.1 * jnp.sin(phases) + 0.05 * jnp.cos(2 * jnp.pi * x[0] + 0.5)

    state = one.start(waves_about_one)
    block = [n // c for n, c in zip(shape, (*parts, 1, 1), strict=False)]
    theory = (ndim + 2) * bytes_of_halos(block, [4] * len(parts))
    found = {"bytes_of_theory": theory, "gradient_theory": 3 * theory}
    return {**compared(one, shared, state, shape, mesh), **found}


def light_on_devices(shape: tuple, parts: tuple) -> dict[str, Any]:
    """A step of Yee's scheme in three dimensions: along each axis that is split one plane of two
    components of E and two of H."""
    grid, mesh = Cells(shape, 1.0, periodic=True), space_mesh(*parts)
    one, shared = (waves.maxwell(grid, 1e-3, mesh=m) for m in (None, mesh))
    state = one.start(lambda x: jnp.sin(2 * jnp.pi * jnp.roll(x, 1)))
    block = [n // c for n, c in zip(shape, (*parts, 1, 1), strict=False)]
    theory = sum(4 * 4 * prod(block) // block[axis] for axis in range(len(parts)))
    found = {"bytes_of_theory": theory, "gradient_theory": 2 * theory}
    return {**compared(one, shared, state, shape, mesh), **found}


MEMORY, INSIDE, OUTSIDE = 3.35e12, 450e9, 50e9
"""Published bytes a second of an H100 (SXM): its memory, NVLink in one direction to the others of
its node, and one 400 Gb/s adapter of InfiniBand to all other nodes."""
LATENCY, EXCHANGES = 5e-6, 8
"""Seconds a message between nodes, an assumption; and exchanges a step: velocities in one, products
in one, four times."""
WORK = 1000
"""Bytes of memory that a step moves a point: 32 transforms of three passes, and what is between."""


def predicted(points: float, nodes: int) -> float:
    """The share of one device's speed that each of 8 a node keeps, with so many points each, in
    pencils: the first exchange stays inside a node, the second crosses. Nothing overlaps."""
    alone = WORK * points / (0.7 * MEMORY)
    first, second = (TRANSFORMS * 8 * part * points for part in (1 / 3, 2 / 9))
    crossing = (nodes > 1) * (second / OUTSIDE + EXCHANGES * nodes * LATENCY)
    return alone / (alone + first / INSIDE + crossing)


def stencils() -> None:
    rows: list[tuple[str, Callable[..., Any], tuple]] = [
        ("flow 64^2", flow_on_devices, ((64, 64), (True, True), (8,), central, 0)),
        ("channel 64x32", flow_on_devices, ((64, 32), (True, False), (8,), limited)),
        ("flow 32^3", flow_on_devices, ((32,) * 3, (True,) * 3, (8,), central)),
        ("flow 32^3", flow_on_devices, ((32,) * 3, (True,) * 3, (4, 2), central)),
        ("channel 32x32x16", flow_on_devices, ((32, 32, 16), (True, True, False), (4, 2), limited)),
        ("gas 64x32", gas_on_devices, ((64, 32), (8,))),
        ("gas 64x32", gas_on_devices, ((64, 32), (4, 2))),
        ("light 32^3", light_on_devices, ((32,) * 3, (8,))),
        ("light 32^3", light_on_devices, ((32,) * 3, (4, 2))),
    ]
    for name, function, arguments in rows:
        found = function(*arguments)
        print(
            f"{name} on {found['parts']}: {' '.join(found['operations'])}; bytes a device "
            f"{found['bytes']:,} (theory {found['bytes_of_theory']:,}), gradient "
            f"{' '.join(found['gradient_operations'])}: {found['gradient_bytes']:,} (theory "
            f"{found['gradient_theory']:,}); memory of one device times "
            f"{found['memory_share']:.3f}, gradient {found['gradient_memory_share']:.3f}; errors "
            f"{found['error']:.1e}, {found['gradient_error']:.1e}",
            flush=True,
        )


def main() -> None:
    if sys.argv[1:] == ["stencils"]:
        stencils()
        return
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    for parts in ((1,), (2,), (4,), (8,), (2, 2), (4, 2)):
        found = measured((points,) * 3, parts)
        print(
            f"{points}^3 on {parts}: {' '.join(found['operations']) or 'none'}; bytes a device "
            f"{found['bytes']:,} (theory {found['bytes_of_theory']:,}), gradient "
            f"{found['gradient_bytes']:,}; memory of one device times {found['memory_share']:.4f}, "
            f"gradient {found['gradient_memory_share']:.4f}; errors {found['error']:.1e}, "
            f"{found['gradient_error']:.1e}"
        )
    for nodes in (1, 4, 32, 128, 512):
        shares = (predicted(each, nodes) for each in (1e6, 16e6, 128e6))
        row = ", ".join(f"{100 * share:.0f} %" for share in shares)
        print(f"predicted, {8 * nodes} devices with 1, 16, 128 million points each: {row}")


if __name__ == "__main__":
    main()
