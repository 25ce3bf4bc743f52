"""A body in a plane wave: the frame of boxes about it, and what it scatters and absorbs.

The wave travels up the first axis inside of a box (`solvers.waves.plane_wave`). What is absorbed
flows into a box within that one, what is scattered out of a box about it; both over the power that
falls on the section of the body are its efficiencies (C. F. Bohren and D. R. Huffman, Absorption
and Scattering of Light by Small Particles, 1983, section 3.4).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree
from matplotlib.axes import Axes

import jaxpbdl as jp
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.waves import (
    Fields,
    MaxwellStep,
    absorbing,
    box,
    far_amplitude,
    pec,
    plane_wave,
    pmc,
    spectra,
)
from jaxpbdl.solvers.waves.monitors import Box, Tangential, transformed
from jaxpbdl.solvers.waves.plane_wave import BoundPlaneWave, PlaneWave
from jaxpbdl.solvers.waves.sides import Sides
from jaxpbdl.solvers.waves.sources import Signal


@dataclass(frozen=True)
class RoundBody(Validated):
    """Settings of a dielectric cylinder or sphere; `radius` and `wavelength` in one unit, times in
    that unit over the speed of light."""

    seed: int = 0
    """Of nothing: nothing is random."""
    radius: Positive = 0.175
    wavelength: Positive = 1.0
    permittivity: Positive = 4.0
    cells: Count = 20
    """In a wavelength inside of the body or in its radius, whichever is shorter."""
    coarser: tuple[Count, ...] = ()
    """Numbers of cells of further runs, for the order of convergence."""
    layer: Count = 10
    """Cells of the absorbing layers."""
    periods: Positive = 15.0
    """Duration; sharp resonances need more."""

    @property
    def size(self) -> float:
        """The circumference over the wavelength."""
        return 2 * np.pi * self.radius / self.wavelength

    @property
    def width(self) -> float:
        """Of a cell."""
        inside = self.wavelength / max(1.0, self.permittivity**0.5)
        return min(inside, self.radius) / self.cells

    def frame_with(self, ndim: int, gap: float) -> "Frame":
        """The boxes about the body, at least six cells and `gap` wavelengths from the layers."""
        cells = max(6, int(np.ceil(gap * self.wavelength / self.width)))
        return Frame(ndim, self.radius, self.width, cells, self.layer)


def order_of_convergence(errors: Mapping[int, float]) -> float:
    """Of errors by their numbers of cells: the slope of the line through the logarithms."""
    slope = np.polyfit(np.log(list(errors)), np.log(list(errors.values())), 1)[0]
    return -float(slope)


def draw_circle(ax: Axes, centre: float, radius: float) -> None:
    """A thin line about a body in the middle of a square picture."""
    angles = np.linspace(0, 2 * np.pi, 200)
    x, y = (centre + radius * one(angles) for one in (np.cos, np.sin))
    ax.plot(x, y, color="black", linewidth=0.7)


@dataclass(frozen=True)
class Frame:
    """Boxes about a round body at the origin; half their sides are counted in cells.

    In three dimensions the frame is the quarter y > 0, z > 0, for a wave with E along y: E along
    the plane y = 0 is odd, that along z = 0 is even.
    """

    ndim: int
    radius: float
    width: float
    """Of a cell."""
    gap: int
    """Cells between the outer box and the absorbing layer."""
    layer: int
    """Cells of the absorbing layer."""

    @property
    def within(self) -> int:
        """Of the box of what is absorbed."""
        return self.total - 2

    @property
    def total(self) -> int:
        """Of the box of the wave."""
        return int(np.ceil(self.radius / self.width)) + 4

    @property
    def outside(self) -> int:
        """Of the box of what is scattered."""
        return self.total + 4

    @property
    def domain(self) -> int:
        """Of all cells."""
        return self.outside + self.gap + self.layer

    @property
    def section(self) -> float:
        """Of the body in this frame: the diameter, or a quarter of a circle."""
        return 2 * self.radius if self.ndim == 2 else np.pi * self.radius**2 / 4

    def grid(self) -> Cells:
        """All cells."""
        n = self.domain
        shape = (2 * n, 2 * n) if self.ndim == 2 else (2 * n, n, n)
        lengths = tuple(count * self.width for count in shape)
        return Cells(shape, lengths, self.lower(n))

    def sides(self) -> Sides:
        """Absorbing layers, and mirrors at the planes of symmetry."""
        side = absorbing(self.layer)
        return (side, side) if self.ndim == 2 else (side, (pec, side), (pmc, side))

    def lower(self, half: int) -> tuple[float, ...]:
        """Corner of a box."""
        end = -half * self.width
        return (end, end) if self.ndim == 2 else (end, 0.0, 0.0)

    def upper(self, half: int) -> tuple[float, ...]:
        """Corner of a box."""
        return (half * self.width,) * self.ndim

    def wave(self, component: int, signal: Signal) -> PlaneWave:
        """The plane wave, E along `component`."""
        return plane_wave(self.lower(self.total), self.upper(self.total), 0, component, signal)

    def box(self, step: MaxwellStep, half: int) -> Box:
        """For what flows through it."""
        return box(step, self.lower(half), self.upper(half))


class Scattered(NamedTuple):
    """Efficiencies at the wavelengths, what was observed, and what lies on the faces of the outer
    box, `around`; these two for an incident wave of E = 1 at the origin."""

    scattering: Float[Array, " wavelengths"]
    absorption: Float[Array, " wavelengths"]
    observed: PyTree
    around: Box
    faces: tuple[Tangential, ...]
    wavelengths: Float[Array, " wavelengths"]

    def pattern(
        self, directions: Float[np.ndarray, "directions dim"]
    ) -> Float[np.ndarray, "wavelengths directions"]:
        """The power that is scattered into each radian or steradian, over that of the incident wave
        on a unit of length or area."""
        far = far_amplitude(self.around, self.faces, self.wavelengths, directions)
        return np.sum(np.abs(np.asarray(far)) ** 2, axis=-1)


def nothing(fields: Fields) -> tuple[()]:
    """What is observed besides the boxes, by default."""
    return ()


def scattered(
    frame: Frame,
    step: MaxwellStep,
    wavelengths: ArrayLike,
    duration: float,
    observe: Callable[[Fields], PyTree] = nothing,
) -> Scattered:
    """What the body of `step`, whose first source is the wave of `frame`, does to the wave.

    **Arguments:** `wavelengths` in vacuum; `duration`, a time after which the fields are gone;
    `observe`, of whose value the transforms are wanted.
    """
    source = step.sources[0]
    if not isinstance(source, BoundPlaneWave):
        raise ValueError(
            f"the first source of step must be a plane wave, got {type(source).__name__}"
        )
    around, inner = frame.box(step, frame.outside), frame.box(step, frame.within)

    def shown(fields: Fields) -> tuple:
        incident = source.incident_electric(fields.sources[0]).ravel()[frame.domain]
        return around(fields), inner(fields), incident, observe(fields)

    watched = transformed(step, shown, wavelengths)
    steps = int(np.ceil(duration / float(step.dt)))
    final = eqx.filter_jit(jp.repeat(watched, steps))(watched.start(step.start()))
    outer_faces, inner_faces, incident, observed = spectra(final)

    def relative(one: Array) -> Array:
        return one / incident.reshape([-1] + [1] * (one.ndim - 1))

    outer_faces, inner_faces, observed = jax.tree.map(
        relative, (outer_faces, inner_faces, observed)
    )
    falling = frame.section / 2
    return Scattered(
        around.flux(outer_faces, watched.wavelengths) / falling,
        -inner.flux(inner_faces, watched.wavelengths) / falling,
        observed,
        around,
        outer_faces,
        watched.wavelengths,
    )
