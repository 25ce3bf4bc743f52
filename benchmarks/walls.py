"""The staggered solver beside its peers, in one run.

jax-cfd's finite volumes on a periodic box (central advection, explicit diffusion, its direct
pressure solve) with the Runge-Kutta scheme of three projected stages written here in its own terms,
and as it comes, forward Euler with one; PhiFlow in a process of its own, semi-Lagrangian with
conjugate gradients to 1e-3, in a closed box. Two schemes of ours, both of third order: Runge-Kutta
with three projections a step, stable up to 1.7 cells a step, and Adams-Bashforth with one, up to
0.72.
"""

import sys

import flows
import jax
import jax.numpy as jnp
from peers import jax_cfd_base
from timing import Line, in_own_process, side_by_side

import jaxpbdl as jp
from jaxpbdl.solvers.flow import incompressible
from jaxpbdl.solvers.time import adams_bashforth, rk3

VISCOSITY, DT = 1e-3, 0.005


def ours(points: int, scheme=rk3, *, periodic: bool = True, ndim: int = 2):
    grid = jp.grids.Cells((points,) * ndim, 2 * jnp.pi, periodic=periodic)
    step = incompressible(jp.equations.IncompressibleFlow(VISCOSITY), grid, DT, scheme=scheme)

    def vortices(point):
        still = jnp.zeros(ndim - 2)
        swirl = [jnp.sin(point[0]) * jnp.cos(point[1]), -jnp.cos(point[0]) * jnp.sin(point[1])]
        return jnp.concatenate([jnp.stack(swirl), still])

    return step.advance, step.enter(step.start(vortices))


def jax_cfd(points: int, *, stages: bool):
    """Its step and state."""
    cfd = jax_cfd_base()
    box = ((0, 2 * jnp.pi),) * 2
    grid = cfd.grids.Grid((points, points), domain=box)
    start = cfd.initial_conditions.filtered_velocity_field(jax.random.key(0), grid, 1.0, 2)
    options = {}
    if stages:
        tableau = cfd.time_stepping.ButcherTableau(a=[[1 / 2], [-1, 2]], b=[1 / 6, 2 / 3, 1 / 6])
        options = {
            "convect": lambda v: tuple(cfd.advection.advect_linear(u, v, DT) for u in v),
            "time_stepper": lambda equation, dt: cfd.time_stepping.navier_stokes_rk(
                tableau, equation, dt
            ),
        }
    step = cfd.equations.semi_implicit_navier_stokes(1.0, VISCOSITY, DT, grid, **options)
    return step, start


def gradient(step, state, steps: int):
    """A call that differentiates `steps` steps to the initial state."""

    def end(state):
        scanned = jax.lax.scan(lambda s, _: (jax.checkpoint(step)(s), None), state, length=steps)
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(scanned[0]))

    call = jax.jit(jax.grad(end, allow_int=True))
    return lambda: jax.tree.leaves(call(state))


def lines() -> list[Line]:
    found = []
    bandwidth = copying()
    for points, steps in ((128, 40), (256, 10)):
        pairs = {
            "three": ours(points),
            "one": ours(points, adams_bashforth),
            "peer's three": jax_cfd(points, stages=True),
            "peer's one": jax_cfd(points, stages=False),
        }
        ahead = {name: flows.loop(*pair, steps) for name, pair in pairs.items()}
        back = {name: gradient(*pair, steps) for name, pair in pairs.items()}
        for work, calls in (("step", ahead), (f"gradient of {steps} steps", back)):
            times = {name: _share(t, steps) for name, t in side_by_side(calls).items()}
            for count, peer in (("three", "3 stages"), ("one", "Euler")):
                text = f"{work} {points}², periodic, projections: {count}"
                against = times[f"peer's {count}"]
                found.append(Line(text, times[count], f"jax-cfd, {peer}", against, "ms", 2.0))
            if work == "step":
                _say(f"{points}² periodic", times["one"], points**2, 2, bandwidth)
        call = flows.loop(*ours(points, periodic=False), steps)
        closed = side_by_side({"ours": call})["ours"] / steps
        peer = in_own_process("phiflow_peer.py", points, DT, 10, "closed")
        found.append(Line(f"step {points}² in a closed box", closed, "PhiFlow", peer, "ms", 2.0))
    schemes = {"Runge-Kutta": rk3, "Adams-Bashforth": adams_bashforth}
    deep = {
        name: flows.loop(*ours(64, scheme, periodic=False, ndim=3), 5)
        for name, scheme in schemes.items()
    }
    for name, timing in side_by_side(deep).items():
        _say(f"64³ closed box, {name}", _share(timing, 5), 64**3, 3, bandwidth)
    return found


def copying() -> float:
    """Bytes a second that go from and to memory while 128 MiB are increased by one in place."""
    array, turns = jnp.zeros(2**25), 10
    call = flows.loop(lambda x: x + 1, array, turns)
    return 2 * turns * array.nbytes / side_by_side({"copy": call})["copy"].minimum


def _say(work: str, timing, cells: int, components: int, bandwidth: float) -> None:
    """How fast, and as a share of what reading and writing the velocity once a step would allow."""
    rate = cells / timing.minimum
    share = 100 * rate * components * 8 / bandwidth
    text = f"{work}: {timing.minimum * 1e3:.3g} ms a step, {rate / 1e6:.0f} million cells a second"
    print(f"{text}, {share:.0f} % of {bandwidth / 1e9:.0f} GB/s", file=sys.stderr)


def _share(timing, steps: int):
    return timing if isinstance(timing, str) else timing / steps


if __name__ == "__main__":
    for line in lines():
        print(" | ".join(line.cells()), flush=True)
