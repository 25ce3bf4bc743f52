"""What heat, implicit diffusion and a body cost a step of the staggered solver, in one run.

    python benchmarks/heat_and_motion.py

Each step with the part and without, and its gradient; beside them PhiFlow in a process of its own
where it can do the same (its implicit diffusion does not run under jit): semi-Lagrangian, conjugate
gradients to 1e-3. Closed boxes of 2 pi; the disc has a radius of 0.7, is cut out by our immersed
boundary, and turns or is driven about by an input a step.
"""

import flows
import jax.numpy as jnp
from timing import Line, in_own_process, side_by_side
from walls import gradient

import jaxpbdl as jp
from jaxpbdl.equations import IncompressibleFlow, Scalar
from jaxpbdl.solvers.flow import (
    frame_inputs,
    in_frame,
    incompressible,
    inflow,
    outflow,
    semi_implicit,
    slip,
    spin,
    wall,
)

VISCOSITY, DT, CENTRE = 1e-3, 0.005, (jnp.pi, jnp.pi)


def swirl(point):
    x, y = point
    return jnp.stack([jnp.sin(x) * jnp.cos(y), -jnp.cos(x) * jnp.sin(y)])


def box(points: int):
    return jp.grids.Cells((points,) * 2, 2 * jnp.pi)


def loop(step, state):
    return step.advance, step.enter(state)


def still(points: int, **options):
    """A closed box."""
    return incompressible(IncompressibleFlow(VISCOSITY), box(points), DT, **options)


def heated(points: int):
    """With a buoyant temperature, given on the lower and the upper wall."""
    scalars = {"temperature": Scalar(VISCOSITY, buoyancy=(0.0, 1.0))}
    sides = wall(), (wall(temperature=1.0), wall(temperature=0.0))
    return incompressible(IncompressibleFlow(VISCOSITY, scalars=scalars), box(points), DT, sides)


def turning(points: int):
    """With a disc that turns."""
    return still(points, body=jp.shapes.Ball(CENTRE, 0.7), surface=spin(CENTRE, 1.0))


def driven(points: int):
    """With a disc on a path, in the frame that goes with it: a step and its one input."""
    calm = inflow((0.0, 0.0))
    flow = incompressible(
        IncompressibleFlow(VISCOSITY), box(points), DT, ((calm, outflow()), slip()),
        body=jp.shapes.Ball(CENTRE, 0.7),
    )  # fmt: skip
    step = in_frame(flow)
    given = frame_inputs(jnp.array([[-0.1, 0.0], [-0.1, 0.0]]), 1)[0]
    state = step.begin((-0.1, 0.0))
    return lambda working: step.advance(working, given), step.enter(state)


def lines() -> list[Line]:
    found = []
    for points, steps in ((128, 40), (256, 10)):
        base = still(points)
        implicit = semi_implicit(still(points))
        warm, disc = heated(points), turning(points)
        pairs = {
            "a closed box": loop(base, base.start(swirl)),
            "a temperature": loop(warm, warm.start(swirl)),
            "implicit diffusion": loop(implicit, implicit.start(swirl)),
            "a disc that turns": loop(disc, disc.start(swirl)),
            "a disc on a path": driven(points),
        }
        peers = {"a temperature": "heat", "a disc that turns": "turning"}
        for work, calls in (
            ("step", {name: flows.loop(*pair, steps) for name, pair in pairs.items()}),
            ("gradient of a step", {name: gradient(*pair, steps) for name, pair in pairs.items()}),
        ):
            times = {name: time / steps for name, time in side_by_side(calls).items()}
            for name, time in times.items():
                if work == "step" and name in peers:
                    peer = in_own_process("phiflow_peer.py", points, DT, 10, peers[name])
                    found.append(
                        Line(f"{work} {points}², {name}", time, "PhiFlow", peer, "ms", 2.0)
                    )
                if name != "a closed box":
                    text = f"{work} {points}², {name}"
                    found.append(Line(text, time, "ours without", times["a closed box"], "ms"))
    return found


if __name__ == "__main__":
    for line in lines():
        print(" | ".join(line.cells()), flush=True)
