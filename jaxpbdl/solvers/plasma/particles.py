"""The Vlasov-Poisson system in one dimension by particles in cells.

    dx_p/dt = v_p,   dv_p/dt = -E(x_p),   lap phi = n - 1,   E = -grad phi

A particle is a cloud: the density `n` at a point of the grid is the sum over particles of a spline
of their distance, and the field at a particle is the sum over points with the same weights, so that
no particle pushes itself and the momentum is kept (Hockney and Eastwood, Computer Simulation Using
Particles, 1988; Birdsall and Langdon, Plasma Physics via Computer Simulation, 1985). Units as in
`vlasov`. The step is a leapfrog that knows positions, velocities and the field at the same time.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxpbdl import checks
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum
from jaxpbdl.solvers.plasma.vlasov import electric_field
from jaxpbdl.solvers.time.symplectic import SeparableSystem, velocity_verlet
from jaxpbdl.step import Step

Cloud = Callable[[Float[Array, " particles"]], tuple[Int[Array, "nodes particles"], Array]]
"""From positions in units of the spacing to the points that a particle covers and its share in
each."""


class Spline(eqx.Module):
    """The shape of a particle: a B-spline of some degree over as many points as the degree and one
    more. 0 is the nearest point, 1 cloud in cell, 2 the triangular cloud."""

    degree: int = eqx.field(static=True)

    def __call__(
        self, places: Float[Array, " particles"]
    ) -> tuple[Int[Array, "nodes particles"], Float[Array, "nodes particles"]]:
        first = jnp.ceil(places - (self.degree + 1) / 2).astype(int)
        # From the left end of the spline's support to the place, by de Boor's recurrence; each row
        # is the spline at the distance of one more point.
        part = places - first + (self.degree + 1) / 2
        offsets = part - jnp.arange(self.degree + 1)[:, None]
        values = [((offsets >= m) & (offsets < m + 1)).astype(places.dtype)
                  for m in range(self.degree + 1)]  # fmt: skip
        for order in range(1, self.degree + 1):
            values = [
                ((offsets - m) * values[m] + (m + order + 1 - offsets) * values[m + 1]) / order
                for m in range(self.degree + 1 - order)
            ]
        return first + jnp.arange(self.degree + 1)[:, None], values[0]


nearest_point, cloud_in_cell, triangular_cloud = Spline(0), Spline(1), Spline(2)


class Electrons(NamedTuple):
    """The state: particles, and the field that they make."""

    positions: Float[Array, " particles"]
    velocities: Float[Array, " particles"]
    electric: Float[Array, " points"]
    """At the points of the grid."""


class ParticleStep(Step):
    """One step of particles and field; created by `particle_in_cell`."""

    trainable_fields = ()

    grid: Periodic
    dt: Float[Array, ""]
    cloud: Cloud
    space: Spectrum

    @property
    def interval(self) -> Float[Array, ""]:
        return self.dt

    def start(
        self, positions: Float[Array, " particles"], velocities: Float[Array, " particles"]
    ) -> Electrons:
        """The state of particles, with the field that they make. Positions are taken into the box.

        Raises ValueError for arrays of different lengths, or fewer particles than points.
        """
        checks.shape("velocities", velocities, positions.shape)
        if len(positions) < self.grid.size:
            raise ValueError(
                f"positions must hold at least {self.grid.size} particles, one for each point of "
                f"the grid, got {len(positions)}"
            )
        positions = self._within(jnp.asarray(positions, self.grid.dtype))
        velocities = jnp.asarray(velocities, self.grid.dtype)
        return Electrons(positions, velocities, self._field(positions))

    def check_state(self, state: Electrons) -> None:
        """Refuse shapes that do not fit, and numbers that are not finite."""
        checks.shape("velocities", state.velocities, state.positions.shape)
        checks.shape("electric", state.electric, self.grid.shape)
        for name, value in state._asdict().items():
            checks.real(name, value)
            checks.finite(name, value)

    def largest_dt(self, state: Electrons) -> Float[Array, ""]:
        """From the plasma frequency of the densest place; the nearest electron may move by several
        points."""
        return 2 / jnp.sqrt(jnp.max(self.density(state)))

    def density(self, state: Electrons) -> Float[Array, " points"]:
        """Electrons at the points of the grid, one on average."""
        return self._density(state.positions)

    def energy(self, state: Electrons) -> Float[Array, ""]:
        """Kinetic, and that of the field."""
        kinetic = self.grid.volume / 2 * jnp.mean(state.velocities**2)
        return kinetic + self.grid.integral(state.electric**2) / 2

    def momentum(self, state: Electrons) -> Float[Array, ""]:
        """Of all electrons."""
        return self.grid.volume * jnp.mean(state.velocities)

    def system(self) -> SeparableSystem:
        """Kicks by the field at the particles, and drifts."""

        def kick(state: Electrons, field: Array, dt: Array) -> Electrons:
            nodes, shares = self._nodes(state.positions)
            velocities = state.velocities - dt * jnp.sum(shares * field[nodes], axis=0)
            return Electrons(state.positions, velocities, field)

        def drift(state: Electrons, dt: Array) -> Electrons:
            positions = self._within(state.positions + dt * state.velocities)
            return state._replace(positions=positions)

        return SeparableSystem(lambda state: self._field(state.positions), kick, drift, self.dt)

    def enter(self, state: Electrons) -> tuple[Electrons, Array]:
        return state, state.electric

    def advance(self, working: tuple[Electrons, Array]) -> tuple[Electrons, Array]:
        return velocity_verlet.advance(working, self.system())

    def leave(self, working: tuple[Electrons, Array]) -> Electrons:
        return velocity_verlet.current(working)

    def _within(self, positions: Array) -> Array:
        origin, length = self.grid.origin[0], self.grid.lengths[0]
        return origin + jnp.mod(positions - origin, length)

    def _nodes(self, positions: Array) -> tuple[Array, Array]:
        places = (positions - self.grid.origin[0]) / self.grid.spacing[0]
        nodes, shares = self.cloud(places)
        return jnp.mod(nodes, self.grid.size), shares

    def _density(self, positions: Array) -> Array:
        nodes, shares = self._nodes(positions)
        counts = jnp.zeros(self.grid.shape, self.grid.dtype).at[nodes].add(shares)
        return counts * (self.grid.size / positions.size)

    def _field(self, positions: Array) -> Array:
        return electric_field(self.space, self._density(positions))[0]


def particle_in_cell(
    grid: Periodic, dt: ArrayLike, cloud: Cloud = triangular_cloud
) -> ParticleStep:
    """The step of electrons as particles.

    **Arguments**

    - `grid`: of the positions, one axis.
    - `dt`: > 0, over the inverse plasma frequency. May be traced.
    - `cloud`: the shape of a particle: `nearest_point`, `cloud_in_cell`, `triangular_cloud`, or
      `Spline(degree)`.

    **Raises** ValueError for a grid of several axes; when called, for a dt above the stability
    limit of the state.
    """
    checks.positive("dt", dt)
    if grid.ndim != 1:
        raise ValueError(f"grid must have one axis, got {grid.ndim}")
    return ParticleStep(grid, jnp.asarray(dt, grid.dtype), cloud, Spectrum(grid))


def quiet_beam(
    count: int, length: float, drift: ArrayLike = 0.0, width: ArrayLike = 0.0
) -> tuple[Float[Array, " particles"], Float[Array, " particles"]]:
    """Positions and velocities of a uniform beam, spread evenly rather than drawn: the noise of its
    density falls like 1 / count. Velocities are those of a Maxwellian about `drift`, in the order
    of the digits of the particles' numbers reversed (van der Corput's sequence).

    **Arguments**

    - `count`: of particles.
    - `length`: of the box, which begins at zero.
    - `drift`, `width`: mean and standard deviation of the velocities.

    **Raises** ValueError for a count below 1, or a length that is not above 0.
    """
    checks.count("count", count)
    checks.positive("length", length)
    checks.non_negative("width", width)
    levels = (np.arange(count) + 0.5) / count
    bits = np.zeros(count)
    number, weight = np.arange(count) + 1, 0.5
    while np.any(number):
        bits, number, weight = bits + weight * (number % 2), number // 2, weight / 2
    normal = ndtri(jnp.asarray(bits, float))
    return jnp.asarray(length * levels), jnp.asarray(drift + width * normal)
