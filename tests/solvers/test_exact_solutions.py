"""Spectral accuracy on exact solutions, for even, odd and prime numbers of points, unequal sides.

A new exact solution is one line of `SOLUTIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import jax
import jax.numpy as jnp
import pytest

import jaxpbdl as jp
from jaxpbdl import equations as eq

pytestmark = pytest.mark.x64


@dataclass(frozen=True)
class Solution:
    """`value(grid, t)` solves the equation exactly; `points` per axis are `factors * n`."""

    name: str
    make: Callable[[], eq.Equation]
    lengths: tuple[float, ...]
    value: Callable
    factors: tuple[int, ...] = (1,)
    time: float = 0.5
    steps: int = 50
    tolerance: float = 1e-11


def advected(grid, t):
    return jnp.exp(jnp.sin(grid.axes[0] - 1.5 * t))


def heat(grid, t):
    x, y = grid.coordinates
    return 1 + jnp.exp(-0.2 * (4 / 9 + 9) * t) * jnp.cos(2 * x / 3) * jnp.sin(3 * y)


def dispersed(grid, t):
    """u_t = 0.3 u_xxx - 0.1 u_xxxx."""
    x = grid.axes[0]
    return sum(jnp.exp(-0.1 * k**4 * t) * jnp.cos(k * x - 0.3 * k**3 * t) for k in (1, 2, 3))


def dalembert(grid, t):
    """Profiles that run left and right at speed 2, on top of a mean that rises at rate 0.3."""
    x = grid.axes[0]
    left, right = jnp.exp(jnp.sin(x + 2 * t)), jnp.exp(jnp.cos(x - 2 * t))
    rate = 2 * jnp.cos(x + 2 * t) * left + 2 * jnp.sin(x - 2 * t) * right
    return jnp.stack([left + right + 0.3 * t, rate + 0.3])


def oblique_wave(grid, t):
    x, y = grid.coordinates
    k = (2 / 3, 2.0)
    phase, frequency = k[0] * x + k[1] * y, 1.5 * sqrt(k[0] ** 2 + k[1] ** 2)
    return jnp.stack([jnp.cos(phase - frequency * t), frequency * jnp.sin(phase - frequency * t)])


def cole_hopf(grid, t):
    """u = -2 viscosity d_x log(phi), phi a solution of the heat equation (Hopf 1950, Cole 1951)."""
    x = grid.axes[0]
    decay = 0.2 * jnp.exp(-0.3 * t)
    return 2 * 0.3 * decay * jnp.sin(x) / (1 + decay * jnp.cos(x))


def cole_hopf_2d(grid, t):
    x, y = grid.coordinates
    along, across = 0.1 * jnp.exp(-0.3 * 4 / 9 * t), 0.1 * jnp.exp(-0.3 * t)
    phi = 1 + along * jnp.cos(2 * x / 3) + across * jnp.sin(y)
    slopes = jnp.stack([-along * 2 / 3 * jnp.sin(2 * x / 3), across * jnp.cos(y)])
    return -2 * 0.3 * slopes / phi


def soliton(grid, t):
    return 0.5 / jnp.cosh(0.5 * (grid.axes[0] - 30 - t)) ** 2


def breather(grid, t):
    """A wave train that gathers into a peak at t = 1, periodic in space (Akhmediev, Eleonskii and
    Kulagin 1985).
    """
    x, t = grid.axes[0], t - 1
    grown, wave = sqrt(0.75) * t, sqrt(0.75) * jnp.cos(x)
    shape = (-0.5 * jnp.cosh(grown) + wave + 1j * sqrt(0.75) * jnp.sinh(grown)) / (
        wave - jnp.cosh(grown)
    )
    value = shape * jnp.exp(1j * t)
    return jnp.stack([value.real, value.imag])


def taylor_green(grid, t):
    return jp.initial_states.taylor_green_2d(grid, t, 0.1, 2.0) * jnp.exp(-0.3 * t)


def rossby(grid, t):
    """One wave, which does not advect itself; it drifts at -beta kx / k^2."""
    x, y = grid.coordinates
    k_squared = 4 / 9 + 4
    frequency = -2.0 * (2 / 3) / k_squared
    return jnp.cos(2 * x / 3 + 2 * y - frequency * t) * jnp.exp(-0.1 * k_squared * t)


def laminar(grid, t):
    """Kolmogorov's laminar flow u = amplitude / (viscosity k^2 + drag) sin(k y), from rest."""
    rate = 0.1 * 4 + 0.2
    return -2 * 0.5 / rate * (1 - jnp.exp(-rate * t)) * jnp.cos(2 * grid.coordinates[1])


def laminar_3d(grid, t):
    rate = 0.1 * 4 + 0.2
    u = 0.5 / rate * (1 - jnp.exp(-rate * t)) * jnp.sin(2 * grid.coordinates[1])
    return jnp.stack([u, jnp.zeros_like(u), jnp.zeros_like(u)])


def beltrami(grid, t):
    """The flow of Arnold, Beltrami and Childress: parallel to its vorticity, so it only decays."""
    x, y, z = grid.coordinates
    flow = jnp.stack(
        [
            jnp.sin(z) + 0.7 * jnp.cos(y),
            0.5 * jnp.sin(x) + jnp.cos(z),
            0.7 * jnp.sin(y) + 0.5 * jnp.cos(x),
        ]
    )
    return flow * jnp.exp(-0.2 * t)


circle, plane, box = (2 * pi,), (3 * pi, 2 * pi), (2 * pi,) * 3
SOLUTIONS = [
    Solution("advection", lambda: eq.AdvectionDiffusion(1.5), circle, advected),
    Solution("heat-2d", lambda: eq.AdvectionDiffusion(diffusivity=0.2), plane, heat, (1, 1)),
    Solution(
        "dispersion",
        lambda: eq.AdvectionDiffusion(dispersion=0.3, hyper_diffusivity=0.1),
        circle,
        dispersed,
    ),
    Solution("wave", lambda: eq.Wave(2.0), circle, dalembert),
    Solution("wave-2d", lambda: eq.Wave(1.5), plane, oblique_wave, (1, 1)),
    Solution("cole-hopf", lambda: eq.Burgers(0.3), circle, cole_hopf, tolerance=1e-9),
    Solution("cole-hopf-2d", lambda: eq.Burgers(0.3, 2), plane, cole_hopf_2d, (1, 1),
             tolerance=1e-9),
    Solution("soliton", eq.KortewegDeVries, (60.0,), soliton, (8,), steps=100,
             tolerance=1e-9),
    Solution("breather", eq.Schroedinger, circle, breather, (4,), time=2.0, steps=400,
             tolerance=1e-6),
    Solution("taylor-green", lambda: eq.NavierStokes2D(0.1, drag=0.3), (2 * pi, pi), taylor_green,
             (1, 1)),
    Solution("rossby", lambda: eq.NavierStokes2D(0.1, beta=2.0), plane, rossby, (1, 1)),
    Solution("laminar", lambda: eq.NavierStokes2D(0.1, 0.2, forcing=eq.kolmogorov(2.0, 0.5)), plane,
             laminar, (1, 1)),
]  # fmt: skip
SMALL = [  # three dimensions, with fewer points an axis
    Solution("beltrami", lambda: eq.NavierStokes3D(0.2), box, beltrami, (1, 1, 1), steps=10),
    Solution("laminar-3d", lambda: eq.NavierStokes3D(0.1, 0.2, eq.kolmogorov(2.0, 0.5)), box,
             laminar_3d, (1, 1, 1), steps=10),
]  # fmt: skip


def error(solution, points):
    shape = tuple(factor * n for factor, n in zip(solution.factors, points, strict=True))
    grid = jp.grids.Periodic(shape, solution.lengths)

    @jax.jit
    def run():
        step = jp.solvers.spectral.semilinear(solution.make(), grid, solution.time / solution.steps)
        start, exact = solution.value(grid, 0.0), solution.value(grid, solution.time)
        result = jp.rollout(step, start, solution.steps, every=solution.steps)[-1]
        return jnp.max(jnp.abs(exact - start)), jnp.max(jnp.abs(result - exact))

    change, difference = run()
    assert change > 5e-3, "the solution must change"
    return float(difference)


def ids(solution):
    return solution.name


@pytest.mark.parametrize("n", [31, 32, 33, 97])
@pytest.mark.parametrize("solution", SOLUTIONS, ids=ids)
def test_fault_13_every_number_of_points(solution, n):
    points = (n, 27)[: len(solution.lengths)]
    assert error(solution, points) < solution.tolerance


@pytest.mark.parametrize("points", [(9, 10, 11), (13, 9, 8), (12, 16, 9)])
@pytest.mark.parametrize("solution", SMALL, ids=ids)
def test_every_number_of_points_in_three_dimensions(solution, points):
    assert error(solution, points) < solution.tolerance


@pytest.mark.parametrize(
    ("name", "n"), [("advection", 6), ("wave", 6), ("cole-hopf", 9), ("soliton", 9)]
)
def test_error_falls_exponentially(name, n):
    """Twice the points square an exponentially small error, up to a constant."""
    solution = next(s for s in SOLUTIONS if s.name == name)
    coarse, fine = error(solution, (n,)), error(solution, (2 * n,))
    assert 1e-14 < fine < 30 * coarse**1.8 and coarse < 0.2


def test_fault_13_one_cell_along_an_axis():
    """A flow that does not vary along an axis needs one point there."""
    grid = jp.grids.Periodic((16, 1), (2 * pi, 1.0))
    x, _ = grid.coordinates
    step = jp.solvers.spectral.semilinear(eq.AdvectionDiffusion((1.0, 5.0), 0.1), grid, 0.25)
    exact = jnp.exp(-0.1) * jnp.sin(x - 1.0)
    assert jnp.max(jnp.abs(jp.rollout(step, jnp.sin(x), 4)[-1] - exact)) < 1e-13


@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 9, 8), (7, 1, 1)])
def test_one_cell_along_axes_of_a_flow(shape):
    grid = jp.grids.Periodic(shape)
    state = beltrami(jp.grids.Periodic(shape), 0.0)
    state = jnp.stack([component - jnp.mean(component) for component in state])
    flow = eq.NavierStokes3D(0.2)
    run = jax.jit(lambda u: jp.rollout(jp.solvers.spectral.semilinear(flow, grid, 0.01), u, 5)[-1])
    result = run(state)
    assert jnp.all(jnp.isfinite(result))
    assert jnp.max(jnp.abs(jp.diagnostics.divergence(result, grid))) < 1e-12
