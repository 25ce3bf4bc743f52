"""Nine systems of two positive unknowns each, and what is measured of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.equations import (
    Burgers,
    CompressibleFlow,
    IncompressibleFlow,
    NavierStokes2D,
    ShallowWater,
    kolmogorov,
)
from jaxpbdl.equations.sphere import EARTH_RADIUS, EARTH_ROTATION
from jaxpbdl.grids import Cells, Periodic, Sphere
from jaxpbdl.grids.harmonics import SphericalHarmonics
from jaxpbdl.initial_states import random_vorticity
from jaxpbdl.rollouts import rollout
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers import plasma, quantum, waves
from jaxpbdl.solvers.compressible import finite_volumes, transmissive
from jaxpbdl.solvers.flow import Flow, incompressible, inflow, outflow, slip
from jaxpbdl.solvers.molecular import Phase, verlet
from jaxpbdl.solvers.spectral import semilinear
from jaxpbdl.solvers.sphere import on_sphere
from jaxpbdl.solvers.time import etdrk2

Unknowns = Float[Array, "2"]


class System(NamedTuple):
    """`observe` gives the measurements of two positive unknowns."""

    observe: Callable[[Unknowns], Array]
    truth: tuple[float, float]
    start: tuple[float, float]


def burgers(unknowns: Unknowns) -> Array:
    """A wave that steepens, at two times."""
    grid = Periodic(64)
    step = semilinear(Burgers(unknowns[0]), grid, 0.05)
    return rollout(step, unknowns[1] * jnp.sin(grid.axes[0]), 40, every=20)[1:]


def turbulence(unknowns: Unknowns) -> Array:
    """The vorticity of a flow that is driven, at two times."""
    grid = Periodic((24, 24))
    flow = NavierStokes2D(unknowns[0], forcing=kolmogorov(4, unknowns[1]))
    start = random_vorticity(jax.random.key(0), grid)
    return rollout(semilinear(flow, grid, 0.05, etdrk2), start, 40, every=20)[1:]


def light(unknowns: Unknowns) -> Array:
    """A layer with soft faces, so that what is seen depends smoothly on where they are."""
    permittivity, width = unknowns
    grid = Cells(200, 10.0)

    def medium(place: Float[Array, "1"]) -> Array:
        inside = jnp.tanh((place[0] - 6.0) / 0.1) - jnp.tanh((place[0] - 6.0 - width) / 0.1)
        return 1 + (permittivity - 1) * inside / 2

    side = waves.absorbing(12)
    source = waves.dipole((4.0,), 2, waves.pulse(1.0))
    step = waves.maxwell(
        grid, 0.04, permittivity=medium, components=waves.ez_hy, sides=(side,), sources=(source,)
    )
    return rollout(step, step.start(), 400, observe=lambda fields: fields.electric[0][60])[200:]


def barrier(unknowns: Unknowns) -> Array:
    """Where a particle is before a barrier and behind it."""
    height, width = unknowns
    grid = Periodic(128, 40.0)
    x = grid.axes[0] - 20.0
    step = quantum.schroedinger(grid, 0.05, potential=height * jnp.exp(-((x / width) ** 2)))
    packet = jnp.exp(-((x + 8.0) ** 2) / 4) * jnp.exp(1.5j * x)
    return jnp.abs(rollout(step, packet, 160, every=80)[1:]) ** 2


def gas(unknowns: Unknowns) -> Array:
    """The density of a gas after a membrane has burst, at two times."""
    pressure, density = unknowns
    right = jnp.array([0.125, 0.0, 0.1])
    left = jnp.stack([density, jnp.zeros_like(density), pressure])
    step = finite_volumes(CompressibleFlow(1), Cells(64, 1.0), 2e-3, [transmissive])
    start = step.start(lambda x: jnp.where(x[0] < 0.5, left, right))
    return rollout(step, start, 80, every=40)[1:, 0]


def molecule(unknowns: Unknowns) -> Array:
    """Four atoms of argon, of 0.01 eV and 3.4 Angstrom in units of which the unknowns are."""
    depth, reach = unknowns

    def energy(x: Float[Array, "4 3"]) -> Array:
        apart = jnp.linalg.norm(x[:, None] - x[None] + jnp.eye(4)[..., None], axis=-1)
        sixth = (3.4 * reach / apart) ** 6
        return jnp.sum(jnp.triu(0.04 * depth * (sixth**2 - sixth), 1))

    corners = jnp.array([[0.0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
    step = verlet(energy, np.full(4, 39.948), 8.0)
    states = rollout(step, Phase(2.9 * corners, jnp.zeros((4, 3))), 160, every=20)
    return states.positions[1:] - states.positions[0]


def wake(unknowns: Unknowns) -> Array:
    """Behind a cylinder that the stream starts to flow past."""
    viscosity, speed = unknowns
    grid = Cells((32, 20), (8.0, 5.0))
    step = incompressible(
        IncompressibleFlow(viscosity), grid, 0.04, ((inflow((speed, 0.0)), outflow()), slip()),
        body=Ball((2.0, 2.45), 0.5),
    )  # fmt: skip

    def seen(flow: Flow) -> Array:
        return grid.to_cells(flow.velocity)[:, 12:20:2, 6:14:2]

    start = step.start(lambda point: jnp.stack([speed + 0 * point[0], 0 * point[0]]))
    return rollout(step, start, 150, every=50, observe=seen)[1:]


def sphere(unknowns: Unknowns) -> Array:
    """A hill of water that spreads over the turning Earth; its depth at stations, in units."""
    rotation, size = unknowns
    harmonics = SphericalHarmonics(Sphere((24, 48), radius=EARTH_RADIUS), 15)
    north, east = harmonics.grid.coordinates
    away = (north - 0.6) ** 2 + (east - 3.0) ** 2 * jnp.cos(north) ** 2
    hill = 3e4 + 2e3 * size * jnp.exp(-away / 0.1)
    equation = ShallowWater(3e4, rotation=rotation * EARTH_ROTATION)
    step = on_sphere(equation, harmonics, 1800.0)
    state = jnp.stack([0 * hill, 0 * hill, hill])
    return rollout(step, state, 24, every=8)[1:, 2, 2::5, 2::7] / 1e3 - 30.0


UPPER = (-9336.0, 4340.0, 3192.0, -25104.0, -6025.0, -276.0)
"""Currents of the coils of `equilibrium` above its middle, A, in two columns, outwards."""


def equilibrium(unknowns: Unknowns) -> Array:
    """The flux of a plasma and its coils at 25 places within the limiter, in Wb / rad over 0.01."""
    current, beta = unknowns
    heights = np.array([-0.75, -0.45, -0.15, 0.15, 0.45, 0.75])
    grid = plasma.Rectangle((21, 37), (0.595, -0.54), (1.165, 0.54))
    coils = plasma.coils(*[plasma.filaments(r, z) for r in (0.5, 1.31) for z in heights])
    corners = np.array([[0.624, -0.5], [1.136, -0.5], [1.136, 0.5], [0.624, 0.5]])
    with jax.ensure_compile_time_eval():
        machine = plasma.tokamak(grid, coils, corners)
    profile = plasma.PoloidalBeta(
        shape=plasma.PowerShape(1.0, 1.5), current=1.2e5 * current, beta=0.3 * beta, radius=0.88
    )
    start = plasma.round_plasma(machine, 1.2e5, (0.86, 0.0), (0.23, 0.3))
    currents = np.concatenate([[*column[::-1], *column] for column in (UPPER[:3], UPPER[3:])])
    found = plasma.free_boundary(machine, currents, profile, start=start)
    return found.psi[2:-2:4, 2:-2:8] / 0.01


SYSTEMS = {
    "burgers": System(burgers, (0.05, 1.0), (0.1, 0.6)),
    "turbulence": System(turbulence, (0.02, 1.0), (0.04, 0.6)),
    "light": System(light, (4.0, 0.6), (3.2, 0.66)),
    "quantum": System(barrier, (1.2, 1.0), (1.6, 1.3)),
    "gas": System(gas, (1.0, 1.0), (1.5, 0.7)),
    "molecule": System(molecule, (1.0, 1.0), (1.3, 1.05)),
    "wake": System(wake, (0.02, 1.0), (0.03, 0.85)),
    "sphere": System(sphere, (1.0, 1.0), (0.8, 1.3)),
    "equilibrium": System(equilibrium, (1.0, 1.0), (1.05, 1.3)),
}
