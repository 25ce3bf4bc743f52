"""PhiFlow's step of two-dimensional flow, in a process of its own: importing it switches JAX to
float64.

    python phiflow_peer.py POINTS DT STEPS [periodic | closed | heat | turning]

Semi-Lagrangian advection (order 1-2) and PhiFlow's default pressure solve, to 1e-3: another method
of lower order, so its time stands beside ours for orientation. `heat` carries a buoyant scalar in a
closed box, `turning` has a disc in it that turns. (Its implicit diffusion does not run under jit.)
Each step is a call of its compiled function from Python, where ours run in one scan. Prints seconds
per step, minimum and median.
"""

import sys
import time

import numpy as np


def main(points: int, dt: float, steps: int, sides: str = "periodic") -> None:
    from phi.jax import flow

    flow.math.set_global_precision(32)
    box = flow.Box(x=2 * np.pi, y=2 * np.pi)
    outside = flow.extrapolation.PERIODIC if sides == "periodic" else 0
    discs = ()
    if sides == "turning":
        discs = (flow.Obstacle(flow.Sphere(x=np.pi, y=np.pi, radius=0.7), angular_velocity=1.0),)
    velocity = flow.StaggeredGrid(flow.Noise(scale=1.5), outside, x=points, y=points, bounds=box)

    heat = flow.CenteredGrid(
        flow.Noise(scale=1.5), flow.ZERO_GRADIENT, x=points, y=points, bounds=box
    )

    # Once outside of jit: the grid keeps its centres from the first call, traced or not.
    flow.advect.semi_lagrangian(heat, velocity, dt)

    @flow.math.jit_compile
    def step(velocity, pressure, heat):
        carried = flow.advect.semi_lagrangian(velocity, velocity, dt)
        if sides == "heat":
            heat = flow.diffuse.explicit(flow.advect.semi_lagrangian(heat, velocity, dt), 1e-3, dt)
            carried = carried + dt * flow.resample(heat * (0, 1.0), to=velocity)
        carried = flow.diffuse.explicit(carried, 1e-3, dt)
        solve = flow.Solve(x0=pressure, rel_tol=1e-3)
        return *flow.fluid.make_incompressible(carried, discs, solve), heat

    state = step(velocity, None, heat)
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
