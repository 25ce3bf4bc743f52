"""What devices exchange and hold when they share the box of a three-dimensional flow.

    python benchmarks/decomposition.py [POINTS]

compiles one step (fourth-order exponential, 8 transforms an evaluation, 4 evaluations) on fake
devices of a CPU, counts the collectives of the compiled program and what each moves, and predicts
from it how the step would scale (see docs/scaling.md).
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
from jaxpbdl.equations import NavierStokes3D
from jaxpbdl.grids.spectrum import highest_kept
from jaxpbdl.solvers.spectral import semilinear

COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-to-all|all-reduce|collective-permute|reduce-scatter)[\w-]*\("
)
ARRAY = re.compile(r"(f32|c64|f64|c128|s32|pred)\[([\d,]*)\]")
BYTES = {"f32": 4, "c64": 8, "f64": 8, "c128": 16, "s32": 4, "pred": 1}
TRANSFORMS = 8 * 4  # of one field, in the four evaluations of a step


def compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    lowered = eqx.filter_jit(function).lower(*arguments).compile()
    return getattr(lowered, "compiled", lowered)


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
    spread = scatter(state, mesh, shape)

    def advance(step: Any, state: Any) -> Any:
        return step(state)

    def slope(step: Any, state: Any) -> Any:
        return jax.grad(lambda start: jnp.sum(step(start) ** 2))(state)

    values = [
        eqx.filter_jit(f)(s, u)
        for f in (advance, slope)
        for s, u in ((one, state), (shared, spread))
    ]
    programs = [
        compiled(f, s, u) for f in (advance, slope) for s, u in ((one, state), (shared, spread))
    ]
    kinds, moved = collectives(programs[1])

    def error(expected: Any, found: Any) -> float:
        expected, found = np.asarray(expected), np.asarray(found)
        return float(np.abs(found - expected).max() / np.abs(expected).max())

    return {
        "parts": parts,
        "error": error(values[0], values[1]),
        "gradient_error": error(values[2], values[3]),
        "operations": kinds,
        "gradient_operations": collectives(programs[3])[0],
        "bytes": moved,
        "bytes_of_theory": bytes_of_theory(shape, parts),
        "gradient_bytes": collectives(programs[3])[1],
        "memory_share": held(programs[1]) / held(programs[0]),
        "gradient_memory_share": held(programs[3]) / held(programs[2]),
    }


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


def main() -> None:
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
