"""A staggered flow in a periodic plane, seen as its vorticity: the states of spectral solvers."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.equations.navier_stokes import velocity_modes
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.state import Flow
from jaxpbdl.step import Step


class VorticityForm(Step):
    """A step of incompressible flow whose states are the vorticity at the points of a periodic
    plane; created by `vorticity_form`. Its working variables are those of `flow`."""

    trainable_fields = ()

    flow: IncompressibleStep
    spectrum: Spectrum
    to_faces: tuple[Complex[Array, "1 my"], Complex[Array, "mx 1"]]
    paired: Float[Array, "mx my"]
    """1 on modes whose mirror image the grid holds too: a shift of others is not real."""

    @property
    def grid(self) -> Any:
        return self.spectrum.grid

    def velocity(self, vorticity: Float[Array, "nx ny"]) -> tuple[Array, Array]:
        """The mean of the velocity over each face: its flux, so without divergence exactly."""
        vorticity_modes = self.paired * self.spectrum.transform(vorticity)
        modes = velocity_modes(vorticity_modes, self.spectrum)
        u, v = (self.spectrum.to_grid(m * c) for m, c in zip(modes, self.to_faces, strict=True))
        return u, v

    def enter(self, state: Float[Array, "nx ny"]) -> PyTree:
        flow = self.flow
        return flow.enter(Flow(self.velocity(state), jnp.zeros((), flow.dt.dtype)))

    def advance(self, working: PyTree) -> PyTree:
        return self.flow.advance(working)

    def leave(self, working: PyTree) -> Float[Array, "nx ny"]:
        velocity = self.flow.leave(working).velocity
        u, v = (
            self.spectrum.transform(part) / c
            for part, c in zip(velocity, self.to_faces, strict=True)
        )
        return self.spectrum.to_grid(
            self.spectrum.derivative(v, 0) - self.spectrum.derivative(u, 1)
        )

    @property
    def interval(self) -> Array:
        return self.flow.dt

    def check_state(self, state: PyTree) -> None:
        """Refuse a state of another shape, or that is not finite."""
        checks.finite("state", self.grid.check_state(state))

    def largest_dt(self, state: PyTree) -> Array | float:
        return self.flow.largest_dt(Flow(self.velocity(state), jnp.zeros((), self.flow.dt.dtype)))

    def channels(self, state: Float[Array, "nx ny"]) -> Float[Array, "1 nx ny"]:
        """The vorticity as one channel."""
        return state[None]


def vorticity_form(flow: IncompressibleStep) -> VorticityForm:
    """The step `flow` on states that are the vorticity w = dv/dx - du/dy at the points of
    `Periodic(flow.grid.shape, ...)`, without mean flow: so it stands beside spectral solvers,
    starts from their states and is measured as they are.

    Raises ValueError unless the grid is two-dimensional, equidistant and periodic.
    """
    cells = flow.grid
    if cells.ndim != 2 or not all(cells.periodic) or not cells.uniform:
        raise ValueError(
            "vorticity_form needs an equidistant periodic grid of 2 axes, got "
            f"{cells.ndim} axes, periodic {cells.periodic}"
        )
    corner = tuple(line[0] for line in cells.edges)
    spectrum = Spectrum(Periodic(cells.shape, cells.lengths, corner, dtype=cells.dtype))
    factors = []
    for component in range(2):
        other = 1 - component
        half = spectrum.k[other] * (cells.lengths[other] / cells.shape[other] / 2)
        mean = jnp.sinc(half / np.pi)  # over the face, whose centre lies half a cell on
        factors.append(mean * jnp.exp(1j * half))
    first, second = (
        np.arange(n) * 2 != m for n, m in zip(spectrum.modes, cells.shape, strict=True)
    )
    paired = jnp.asarray(np.logical_and.outer(first, second), cells.dtype)
    return VorticityForm(flow, spectrum, (factors[0], factors[1]), paired)
