"""Work against precision, and the Taylor-Green vortex at Re 1600 against the 512³ reference."""

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flows import DRAG, FLOW, VISCOSITY, loop, vorticity
from peers import exponax_navier_stokes_2d, jax_cfd_navier_stokes_2d
from timing import Line, side_by_side

import jaxpbdl as jp


def work_precision(points: int = 128, horizon: float = 1.0) -> list[Line]:
    """Time to a relative error at t = 1 (dt free, float64) against a converged run of the same
    equation.

    Each method is compared with its own converged run, so that differences of discretisation do not
    count. The number of steps that reaches an error is interpolated between those measured.
    """
    w0 = vorticity(points)
    counts = [20, 28, 40, 57, 80, 113, 160, 320, 640, 1280]
    physics = dict(viscosity=VISCOSITY, drag=DRAG)

    def ours(scheme: Any, steps: int):
        step = jp.solvers.spectral.semilinear(
            FLOW, jp.grids.Periodic((points, points)), horizon / steps, scheme
        )
        return step.advance, step.enter(w0), lambda w: step.leave(w)

    def exponax(order: int, steps: int):
        advance, start = exponax_navier_stokes_2d(
            points, horizon / steps, w0, order=order, **physics
        )
        return advance, start, lambda w: jnp.fft.irfftn(w[0], s=(points, points))

    def cfd(steps: int):
        advance, start = jax_cfd_navier_stokes_2d(points, horizon / steps, w0, **physics)
        return advance, start, lambda w: jnp.fft.irfftn(w, s=(points, points))

    methods = {
        "ours etdrk4": partial(ours, jp.solvers.time.etdrk4),
        "ours etdrk2": partial(ours, jp.solvers.time.etdrk2),
        "ours etd_adams": partial(ours, jp.solvers.time.etd_adams),
        "exponax etdrk4": partial(exponax, 4),
        "exponax etdrk2": partial(exponax, 2),
        "jax-cfd spectral CN-RK4": cfd,
    }
    errors: dict[str, list[tuple[int, float]]] = {}
    candidates = {}
    timed = 160
    start_up = {"ours etd_adams": 8}  # its first slopes, 16 evaluations, as steps of two
    for name, make in methods.items():
        advance, start, leave = make(2 * counts[-1])
        converged = leave(loop(advance, start, 2 * counts[-1])())
        errors[name] = []
        for steps in counts:
            advance, start, leave = make(steps)
            run = loop(advance, start, steps)
            error = float(jp.diagnostics.relative_l2(leave(run()), converged))
            if np.isfinite(error) and error < 0.5:
                errors[name].append((steps, error))
            if steps == timed:
                candidates[name] = run
    times: Any = side_by_side(candidates)
    lines = []
    for target in (1e-2, 1e-3, 1e-4):
        prices = {
            name: times[name] / (timed / (steps_to(target, curve) + start_up.get(name, 0)))
            for name, curve in errors.items()
            if curve[-1][1] <= target
        }
        mine = min((n for n in prices if n.startswith("ours")), key=lambda n: prices[n].minimum)
        peer = min((n for n in prices if not n.startswith("ours")), key=lambda n: prices[n].minimum)
        work = f"2D Navier-Stokes {points}² to t = 1 with error {target:g}, float64 ({mine[5:]})"
        lines.append(Line(work, prices[mine], peer, prices[peer], "ms", 2.0))
    return lines


def steps_to(target: float, curve: list[tuple[int, float]]) -> float:
    """Steps that reach an error, between the measured ones log-log; at least the fewest stable."""
    steps, errors = np.log(np.array(curve, dtype=float)).T
    return float(np.exp(np.interp(-np.log(target), -errors, steps)))


def taylor_green_3d(points: int = 64, dt: float = 0.02) -> str:
    """Dissipation of the Taylor-Green vortex at Re 1600: peak, its time, and the distance to the
    reference curve.
    """
    grid, viscosity = jp.grids.Periodic((points,) * 3), 1 / 1600
    step = jp.solvers.spectral.semilinear(jp.equations.NavierStokes3D(viscosity), grid, dt)

    def enstrophy(u: jax.Array) -> jax.Array:
        return jnp.stack([jp.diagnostics.kinetic_energy(u),
                          jp.diagnostics.kinetic_energy(jp.diagnostics.curl(u, grid))])  # fmt: skip

    snapshots, every = round(12 / dt), 5
    begin = time.perf_counter()
    values = np.asarray(
        jp.rollout(
            step, jp.initial_states.taylor_green_3d(grid), snapshots, every, observe=enstrophy
        )
    )
    seconds = time.perf_counter() - begin
    times = np.arange(len(values)) * every * dt
    dissipation = 2 * viscosity * values[:, 1]
    total = -np.gradient(values[:, 0], times)
    peak = int(np.argmax(dissipation))
    text = (
        f"Taylor-Green Re 1600 on {points}³: peak resolved dissipation {dissipation[peak]:.6f} at "
        f"t = {times[peak]:.2f} (-dE/dt: {total.max():.6f} at {times[np.argmax(total)]:.2f}; "
        f"512³ reference 0.012858 at 8.97), {seconds:.0f} s"
    )
    folder = os.environ.get("JAXPBDL_DATA")
    if folder is None:
        return text + "; set JAXPBDL_DATA for the distance to the reference curve"
    path = Path(folder) / "flow-references" / "taylor_green_3d_Re1600_spectral_512.gdiag"
    reference = np.loadtxt(path)
    inside = reference[:, 0] <= times[-1]
    exact = reference[inside, 2]
    distance = np.interp(reference[inside, 0], times, dissipation) - exact
    share = np.sqrt(np.mean(distance**2) / np.mean(exact**2))
    return f"{text}; relative L2 distance of the dissipation curve to t = 12: {share:.3f}"
