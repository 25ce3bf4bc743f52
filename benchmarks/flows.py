"""Time of a step and of its gradient: two-dimensional Navier-Stokes, three dimensions, one
dimension.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from peers import exponax_navier_stokes_2d, jax_cfd_finite_volume, jax_cfd_navier_stokes_2d
from timing import Line, Timing, side_by_side

import jaxpbdl as jp

VISCOSITY, DRAG = 1e-3, 0.1
FLOW = jp.equations.NavierStokes2D(VISCOSITY, DRAG, forcing=jp.equations.kolmogorov(4))


def loop(advance: Callable[[Any], Any], start: Any, steps: int) -> Callable[[], Any]:
    """`steps` applications in one compiled call."""

    @jax.jit
    def run(start: Any) -> Any:
        return lax.scan(lambda carry, _: (advance(carry), None), start, None, length=steps)[0]

    return partial(run, start)


def vorticity(points: int) -> jax.Array:
    return jp.initial_states.random_vorticity(
        jax.random.key(0), jp.grids.Periodic((points, points)), 4.0, 3.0
    )


def ours(points: int, dt: float, scheme: Any) -> tuple[Callable[[Any], Any], Any]:
    step = jp.solvers.spectral.semilinear(FLOW, jp.grids.Periodic((points, points)), dt, scheme)
    return step.advance, step.enter(vorticity(points))


def transforms(points: int, count: int) -> tuple[Callable[[Any], Any], Any]:
    """The complex transforms of a step and nothing else."""

    def advance(field: jax.Array) -> jax.Array:
        for _ in range(count // 2):
            field = jnp.fft.fft2(jnp.fft.ifft2(field))
        return field

    return advance, vorticity(points) + 0j


def navier_stokes_2d(points: int, steps: int) -> list[Line]:
    """A step of the same order and dt as each peer's, and over the transforms it needs."""
    dt, w0, physics = 0.64 / points, vorticity(points), dict(viscosity=VISCOSITY, drag=DRAG)
    exponax = partial(exponax_navier_stokes_2d, points, dt, w0, **physics)
    candidates = {
        "ours etdrk2": ours(points, dt, jp.solvers.time.etdrk2),
        "ours etdrk4": ours(points, dt, jp.solvers.time.etdrk4),
        "exponax etdrk2": lambda: exponax(order=2),
        "exponax etdrk4": lambda: exponax(order=4),
        "jax-cfd spectral CN-RK4": lambda: jax_cfd_navier_stokes_2d(points, dt, w0, **physics),
        "jax-cfd finite volume (order 1)": lambda: jax_cfd_finite_volume(points, dt, w0, **physics),
        "transforms of etdrk2": transforms(points, 4),
    }
    calls = {}
    for name, build in candidates.items():
        try:
            advance, start = build() if callable(build) else build
            calls[name] = loop(advance, start, steps)
        except Exception as error:  # noqa: BLE001
            calls[name] = partial(_raise, error)
    times = {
        name: t if isinstance(t, str) else t / steps for name, t in side_by_side(calls).items()
    }
    second, fourth = times["ours etdrk2"], times["ours etdrk4"]
    work = f"2D Navier-Stokes step {points}²"
    return [
        Line(f"{work}, order 2", second, "exponax etdrk2", times["exponax etdrk2"], bar=1.3),
        Line(f"{work}, order 4", fourth, "exponax etdrk4", times["exponax etdrk4"], bar=1.3),
        Line(f"{work}, order 4", fourth, *_named(times, "jax-cfd spectral CN-RK4"), bar=1.3),
        Line(f"{work}, order 2", second, *_named(times, "jax-cfd finite volume (order 1)")),
        Line(
            f"{work} over its bare transforms",
            second,
            *_named(times, "transforms of etdrk2"),
            bar=0.8,
            note="bar 0.8 = step at most 1.25 times its transforms",
        ),
    ]


def gradient(points: int = 128, steps: int = 64) -> list[Line]:
    """Gradient of the final enstrophy with respect to the initial state: time, and memory beyond
    the arguments.
    """
    dt, w0 = 0.005, vorticity(points)
    step = jp.solvers.spectral.semilinear(
        FLOW, jp.grids.Periodic((points, points)), dt, jp.solvers.time.etdrk2
    )
    stepper, _ = exponax_navier_stokes_2d(points, dt, w0, order=2, viscosity=VISCOSITY, drag=DRAG)
    cfd, _ = jax_cfd_navier_stokes_2d(points, dt, w0, viscosity=VISCOSITY, drag=DRAG)

    def peer_loss(advance: Callable[[Any], Any], lead: tuple[int, ...], w0: jax.Array) -> jax.Array:
        start = jnp.fft.rfftn(w0.reshape(*lead, points, points), axes=(-2, -1))
        final = lax.scan(lambda c, _: (advance(c), None), start, None, length=steps)[0]
        return jnp.mean(jnp.fft.irfftn(final, s=(points, points), axes=(-2, -1)) ** 2)

    def loss(checkpoint: bool, w0: jax.Array) -> jax.Array:
        return jnp.mean(jp.rollout(step, w0, steps, steps, checkpoint=checkpoint)[-1] ** 2)

    functions = {
        "ours": partial(loss, False),
        "ours, checkpointed": partial(loss, True),
        "exponax etdrk2": partial(peer_loss, stepper, (1,)),
        "jax-cfd spectral CN-RK4": partial(peer_loss, cfd, ()),
    }
    compiled = {n: jax.jit(jax.grad(f)).lower(w0).compile() for n, f in functions.items()}
    memory = {n: c.memory_analysis().temp_size_in_bytes / 1e6 for n, c in compiled.items()}
    times = side_by_side({n: partial(c, w0) for n, c in compiled.items()})
    work = f"gradient through {steps} steps at {points}²"
    lines = [
        Line(work, times["ours"], *_named(times, peer), unit="ms", bar=1.3)
        for peer in ("exponax etdrk2", "jax-cfd spectral CN-RK4")
    ]
    lines.append(
        Line(
            f"{work}, checkpointed",
            times["ours, checkpointed"],
            *_named(times, "exponax etdrk2"),
            "ms",
        )
    )
    for name, bar in (("ours", None), ("ours, checkpointed", 10.0)):
        minimum = min((v, k) for k, v in memory.items() if not k.startswith("ours"))
        lines.append(
            Line(
                f"memory of that, {name}",
                Timing(memory[name], memory[name]),
                minimum[1],
                Timing(minimum[0], minimum[0]),
                unit="MB",
                bar=bar,
            )
        )
    return lines


def other_dimensions() -> list[Line]:
    """Three dimensions at 64³; Kuramoto-Sivashinsky and Burgers in one."""
    import exponax as ex

    lines = []
    grid = jp.grids.Periodic((64,) * 3)
    flow = jp.solvers.spectral.semilinear(
        jp.equations.NavierStokes3D(1 / 1600), grid, 0.01, jp.solvers.time.etdrk2
    )
    u0 = jp.initial_states.taylor_green_3d(grid)
    peer = ex.stepper.NavierStokesVelocity(3, 2 * np.pi, 64, 0.01, diffusivity=1 / 1600, order=2)
    times = side_by_side(
        {
            "ours": loop(flow.advance, flow.enter(u0), 3),
            "exponax": loop(peer.step_fourier, ex.fft(u0, num_spatial_dims=3), 3),
        },
        repeats=5,
    )
    times = {n: t if isinstance(t, str) else t / 3 for n, t in times.items()}
    lines.append(
        Line(
            "3D Navier-Stokes step 64³",
            times["ours"],
            "exponax etdrk2",
            times["exponax"],
            "ms",
            1.0,
        )
    )
    line = jp.grids.Periodic(256, lengths=60.0)
    (x,) = line.coordinates
    start = jnp.cos(2 * np.pi * x / 60) * (1 + jnp.sin(4 * np.pi * x / 60))
    pairs = {
        "1D Kuramoto-Sivashinsky step 256": (
            jp.equations.KuramotoSivashinsky(),
            ex.stepper.KuramotoSivashinskyConservative(1, 60.0, 256, 0.1, order=2),
        ),
        "1D Burgers step 256": (
            jp.equations.Burgers(0.1),
            ex.stepper.Burgers(1, 60.0, 256, 0.1, diffusivity=0.1, order=2),
        ),
    }
    for work, (equation, peer) in pairs.items():
        step = jp.solvers.spectral.semilinear(equation, line, 0.1, jp.solvers.time.etdrk2)
        times = side_by_side(
            {
                "ours": loop(step.advance, step.enter(start), 5000),
                "exponax": loop(peer.step_fourier, ex.fft(start[None], num_spatial_dims=1), 5000),
            }
        )
        times = {n: t if isinstance(t, str) else t / 5000 for n, t in times.items()}
        lines.append(Line(work, times["ours"], "exponax etdrk2", times["exponax"], "us", 1.0))
    return lines


def _named(times: dict[str, Timing | str], name: str) -> tuple[str, Timing | str]:
    return name, times[name]


def _raise(error: Exception) -> None:
    raise error


if __name__ == "__main__":
    import sys

    from rich import print as show

    for points, steps in ((128, 200), (256, 50), (512, 15)):
        for line in navier_stokes_2d(points, steps):
            show(" | ".join(line.cells()))
    for line in [*gradient(), *other_dimensions()]:
        show(" | ".join(line.cells()))
    sys.exit(0)
