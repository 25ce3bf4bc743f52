"""Gradients under the protocol of Mosaic (arXiv:2606.27895), on our spectral solvers.

J = sum(output^2) of the velocity after some steps, its gradient to the initial velocity by one
reverse sweep. Random directions of unit length, central differences of eps times the root mean
square of the initial velocity. Of each direction |fd - g.v| / max(|fd|, |g.v|); the score is the
smallest over eps of the median over directions, beside the largest cosine of the vectors of fd and
g.v. Initial states are Taylor-Green vortices in three dimensions and random waves about wavenumber
2 of largest speed 0.3 in two; the latter are ours, not Mosaic's random bits.

    python benchmarks/mosaic.py [LONGEST]     # the steps of the longest horizon, by default 640
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxpbdl as jp
from jaxpbdl.diagnostics import velocity
from jaxpbdl.grids.spectrum import Spectrum
from jaxpbdl.initial_states import random_vorticity, taylor_green_3d

EPSILONS = (5.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)
VISCOSITY, DT = 1e-3, 0.05
Flow = Callable[[Array], Array]


class Check(NamedTuple):
    """The smallest error over the sizes of the perturbation, and the largest cosine."""

    error: float
    cosine: float


def energy_after(flow: Flow) -> Flow:
    """J of an initial velocity."""
    return lambda start: jnp.sum(flow(start) ** 2)


def fd_check(
    flow: Flow, start: Array, count: int, key: Array, epsilons: Sequence[float] = EPSILONS
) -> Check:
    """The gradient of `energy_after(flow)` beside central differences along `count` directions."""
    of_start = jax.jit(energy_after(flow))
    gradient = jax.jit(jax.grad(energy_after(flow)))(start)
    found = jax.random.normal(key, (count, *start.shape), start.dtype)
    directions = [v / jnp.linalg.norm(v) for v in found]
    slopes = np.array([float(jnp.vdot(gradient, v)) for v in directions])
    size = float(jnp.sqrt(jnp.mean(start**2)))
    errors, cosines = [], []
    for epsilon in epsilons:
        h = epsilon * size
        # Differences of the sums in double precision: those of single precision hold no digit more.
        fd = np.array(
            [(float(of_start(start + h * v)) - float(of_start(start - h * v))) for v in directions]
        ) / (2 * h)
        largest = np.maximum(np.abs(fd), np.abs(slopes))
        errors.append(np.median(np.abs(fd - slopes) / np.where(largest == 0, 1.0, largest)))
        cosines.append(fd @ slopes / (np.linalg.norm(fd) * np.linalg.norm(slopes)))
    return Check(float(np.nanmin(errors)), float(np.nanmax(cosines)))


def flow_2d(points: int, steps: int) -> Flow:
    """From velocity to velocity."""
    grid = jp.grids.Periodic((points, points))
    spectrum = Spectrum(grid)
    step = jp.solvers.spectral.semilinear(jp.equations.NavierStokes2D(VISCOSITY), grid, DT)
    ahead = jp.repeat(step, steps)

    def flow(start: Array) -> Array:
        u, v = spectrum.transform(start)
        curl = spectrum.to_grid(spectrum.derivative(v, 0) - spectrum.derivative(u, 1))
        return velocity(ahead(curl), grid)

    return flow


def flow_3d(points: int, steps: int) -> Flow:
    """From velocity to velocity."""
    grid = jp.grids.Periodic((points,) * 3)
    step = jp.solvers.spectral.semilinear(jp.equations.NavierStokes3D(VISCOSITY), grid, DT)
    return jp.repeat(step, steps)


def start_2d(points: int) -> Array:
    """Random waves."""
    grid = jp.grids.Periodic((points, points))
    return velocity(random_vorticity(jax.random.key(42), grid, 2.0, 0.3), grid)


def start_3d(points: int) -> Array:
    """Taylor-Green vortices."""
    return taylor_green_3d(jp.grids.Periodic((points,) * 3))


class Horizon(NamedTuple):
    """Of one reverse sweep: the norm of the gradient, the seconds of it and of the flow alone, the
    bytes that the sweep needs at a time."""

    norm: float
    seconds: float
    forward: float
    bytes: int


def horizon(steps: int, points: int = 20) -> Horizon:
    """A gradient through `steps` steps."""
    flow, start = flow_3d(points, steps), start_3d(points)
    forward = jax.jit(energy_after(flow)).lower(start).compile()
    reverse = jax.jit(jax.grad(energy_after(flow))).lower(start).compile()
    seconds = []
    for call in (forward, reverse):
        jax.block_until_ready(call(start))
        begun = time.perf_counter()
        jax.block_until_ready(call(start))
        seconds.append(time.perf_counter() - begun)
    memory = reverse.memory_analysis()
    assert memory is not None
    norm = float(jnp.linalg.norm(reverse(start)))
    return Horizon(norm, seconds[1], seconds[0], memory.temp_size_in_bytes)


def main(longest: int) -> None:
    """Print the checks and the sweep."""
    for precise in (True, False):
        with jax.enable_x64(precise):
            key = jax.random.key(0)
            for name, flow, start, count in (
                ("2D", flow_2d(16, 20), start_2d(16), 20),
                ("3D", flow_3d(16, 10), start_3d(16), 10),
            ):
                found = fd_check(flow, start, count, key)
                print(f"{name} {start.dtype}: error {found.error:.2g}, cosine {found.cosine:.8f}")
    steps = 40
    while steps <= longest:
        found = horizon(steps)
        print(
            f"{steps} steps: gradient {found.norm:.4g}, {found.seconds:.3g} s, "
            f"{found.seconds / found.forward:.2f} times the flow, {found.bytes / 2**20:.1f} MiB",
            flush=True,
        )
        steps *= 2


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 640)
