"""PhiFlow's step of two-dimensional flow, in a process of its own: importing it switches JAX to
float64.

Semi-Lagrangian advection (order 1-2) and PhiFlow's default pressure solve, to 1e-3: another method
of lower order, so its time stands beside ours for orientation. Each step is a call of its compiled
function from Python, where ours run in one scan. Prints seconds per step, minimum and median.
"""

import sys
import time

import numpy as np


def main(points: int, dt: float, steps: int, sides: str = "periodic") -> None:
    from phi.jax import flow

    flow.math.set_global_precision(32)
    box = flow.Box(x=2 * np.pi, y=2 * np.pi)
    outside = flow.extrapolation.PERIODIC if sides == "periodic" else 0
    velocity = flow.Cells(flow.Noise(scale=1.5), outside, x=points, y=points, bounds=box)

    @flow.math.jit_compile
    def step(velocity, pressure):
        velocity = flow.advect.semi_lagrangian(velocity, velocity, dt)
        velocity = flow.diffuse.explicit(velocity, 1e-3, dt)
        return flow.fluid.make_incompressible(velocity, (), flow.Solve(x0=pressure, rel_tol=1e-3))

    state = step(velocity, None)
    state = step(*state)
    seconds = []
    for _ in range(steps):
        begin = time.perf_counter()
        state = step(*state)
        np.asarray(state[1].values.native("x,y"))
        seconds.append(time.perf_counter() - begin)
    print(min(seconds), float(np.median(seconds)))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
