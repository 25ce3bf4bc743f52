"""A first picture: two-dimensional turbulence, and what a small change of its viscosity does.

The program below is run as it stands, and printed, so that it can be copied.
"""

import time
from pathlib import Path
from typing import Any

from jaxpbdl import plotting

PROGRAM = """\
import jax, jax.numpy as jnp, jaxpbdl as jp

grid = jp.grids.Periodic((96, 96))  # of side 2 pi
start = jp.initial_states.random_vorticity(jax.random.key(0), grid, 6.0, max_speed=3.0)

def vorticity(viscosity):
    flow = jp.equations.NavierStokes2D(viscosity)
    step = jp.solvers.spectral.semilinear(flow, grid, dt=0.01)
    return jp.rollout(step, start, 400, every=200)

snapshots = vorticity(4e-3)
_, sensitivity = jax.jvp(vorticity, (4e-3,), (1e-3,))
"""


def demo(file: Path) -> None:
    """Run the program, draw what it found into `file`, print both. Raises ValueError for a file
    that is no picture or lies in no folder, before anything is computed."""
    plotting.format_of(file)
    if not file.absolute().parent.is_dir():
        raise ValueError(f"--out must lie in a folder that exists, got {str(file)!r}")
    print(PROGRAM)
    begun = time.perf_counter()
    found: dict[str, Any] = {}
    exec(PROGRAM, found)
    snapshots, change = found["snapshots"], found["sensitivity"][-1]
    figure, axes = plotting.figure(1, 4, size=(2.6, 2.6))
    for ax, snapshot, moment in zip(axes[0], snapshots, (0, 2, 4), strict=False):
        plotting.field(ax, snapshot, found["grid"].lengths, title=f"vorticity, t = {moment}")
    title = "its change with the viscosity"
    plotting.field(axes[0, 3], change, found["grid"].lengths, title=title)
    plotting.save(figure, file)
    print(f"{file} after {time.perf_counter() - begun:.0f} s; `jaxpbdl list` shows what there is")
