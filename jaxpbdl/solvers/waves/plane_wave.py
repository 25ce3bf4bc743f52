"""A plane wave by total and scattered fields.

Inside of a box the fields are those of the incident wave and what it meets, outside of the box only
what is scattered. With m one inside and zero outside, and D a difference of the scheme,

    dH/dt and curl H gain  m D F - D (m F),   F the incident field

which is zero but at the faces of the box. The incident wave is itself a numerical solution in one
dimension, so that none of it passes the box (A. Taflove and S. C. Hagness, Computational
Electrodynamics, 3rd ed. 2005, chapter 5).
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.grid import outer
from jaxpbdl.grids.location import Location
from jaxpbdl.solvers.waves.assembly import maxwell
from jaxpbdl.solvers.waves.components import (
    curl_terms,
    electric_location,
    ez_hy,
    magnetic_location,
    permutation_sign,
)
from jaxpbdl.solvers.waves.differences import Difference, difference, laid_along
from jaxpbdl.solvers.waves.sides import absorbing, require_inside
from jaxpbdl.solvers.waves.sources import Setting, Signal, dipole
from jaxpbdl.solvers.waves.yee import Fields, MaxwellStep, Rates, Source

LAYER, DISTANCE = 20, 4
"""Cells of the absorbing layer of the incident wave, and from there to its source; from the source
to the domain."""


class Correction(eqx.Module):
    """One term m D F - D (m F) of a rate: `position` that of the component of the rate."""

    position: int = eqx.field(static=True)
    sign: int = eqx.field(static=True)
    difference: Difference
    inside: Array
    inside_source: Array

    def __call__(self, rates: Rates, incident: Array) -> Rates:
        still = jnp.zeros(())
        outer_part, _ = self.difference(self.inside_source * incident, None, still)
        whole, _ = self.difference(
            jnp.broadcast_to(incident, self.inside_source.shape), None, still
        )
        change = self.sign * (self.inside * whole - outer_part)
        rate = rates[self.position] + change
        return (*rates[: self.position], rate, *rates[self.position + 1 :])


class BoundPlaneWave(Source):
    """A plane wave on a grid; its memory is the state of `line`, the incident wave along `axis`."""

    line: MaxwellStep
    axis: int = eqx.field(static=True)
    handed: int = eqx.field(static=True)
    cells: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    magnetic: tuple[Correction, ...]
    electric: tuple[Correction, ...]

    def start(self) -> Fields:
        return self.line.start()

    def incident_electric(self, memory: Fields) -> Array:
        """At the nodes along the axis, shaped to broadcast over the grid."""
        start = LAYER + 2 * DISTANCE
        return self._along(memory.electric[0][start : start + self.cells + 1])

    def incident_magnetic(self, memory: Fields) -> Array:
        """At the centres along the axis."""
        start = LAYER + 2 * DISTANCE
        # Along the line H_y = -E_z; on the grid E, H and the axis are right-handed or not.
        return self._along(-self.handed * memory.magnetic[0][start : start + self.cells])

    def to_magnetic(self, rates: Rates, memory: Fields, time: Array) -> tuple[Rates, Fields]:
        incident = self.incident_electric(memory)
        for one in self.magnetic:
            rates = one(rates, incident)
        return rates, self.line.magnetic_half(memory)

    def to_electric(self, rates: Rates, memory: Fields, time: Array) -> tuple[Rates, Fields]:
        incident = self.incident_magnetic(memory)
        for one in self.electric:
            rates = one(rates, incident)
        return rates, self.line.electric_half(memory)

    def _along(self, line: Array) -> Array:
        return laid_along(line, self.axis, self.ndim)


class PlaneWave(eqx.Module):
    """Created by `plane_wave`."""

    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)
    axis: int = eqx.field(static=True)
    component: int = eqx.field(static=True)
    signal: Signal
    permittivity: ArrayLike = 1.0

    def bound(self, setting: Setting) -> BoundPlaneWave:
        grid, axis, component = setting.grid, self.axis, self.component
        if not 0 <= axis < grid.ndim or grid.periodic[axis]:
            raise ValueError(
                f"axis must be one of the {grid.ndim} of the grid, not a periodic one, got {axis}"
            )
        if any(turn is not None for turn in setting.turns):
            raise ValueError("a plane wave along an axis has no phase across Bloch's sides")
        third = 3 - axis - component
        electric, magnetic = setting.components
        if component == axis or component not in electric or third not in magnetic:
            raise ValueError(
                f"component must be one of the electric ones {electric} across axis {axis}, got "
                f"{component}"
            )
        for name, place in {"lower": self.lower, "upper": self.upper}.items():
            require_inside(name, place, setting.pairs, grid)
        if not all(a < b for a, b in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"lower must be below upper, got {self.lower} and {self.upper}")

        def term(of: int, takes: int, magnetic_rate: bool) -> tuple[Correction, ...]:
            rate_location = (magnetic_location if magnetic_rate else electric_location)(
                of, grid.ndim
            )
            source_location = (electric_location if magnetic_rate else magnetic_location)(
                takes, grid.ndim
            )
            rated = (magnetic if magnetic_rate else electric).index(of)
            return tuple(
                Correction(
                    rated,
                    -one.sign if magnetic_rate else one.sign,
                    difference(grid, (None,) * grid.ndim, one.axis, not magnetic_rate),
                    self._inside(grid, rate_location),
                    self._inside(grid, source_location),
                )
                for one in curl_terms(of, grid.ndim)
                if one.component == takes
            )

        return BoundPlaneWave(
            self._line(grid, setting.dt),
            axis,
            permutation_sign(axis, component, third),
            grid.shape[axis],
            grid.ndim,
            tuple(one for of in magnetic for one in term(of, component, True)),
            tuple(one for of in electric for one in term(of, third, False)),
        )

    def _inside(self, grid: Cells, location: Location) -> Array:
        lines = [
            ((x >= low - 1e-9 * length) & (x <= high + 1e-9 * length)).astype(float)
            for x, low, high, length in zip(
                grid.lines_at(location), self.lower, self.upper, grid.lengths, strict=True
            )
        ]
        return jnp.asarray(outer(lines), grid.dtype)

    def _line(self, grid: Cells, dt: Array) -> MaxwellStep:
        """The incident wave in one dimension, on the cells of the axis and more at both ends."""
        nodes = np.asarray(grid.edges[self.axis])
        before, after = nodes[1] - nodes[0], nodes[-1] - nodes[-2]
        extra = LAYER + 2 * DISTANCE
        edges = np.concatenate(
            [
                nodes[0] + before * np.arange(-extra, 0),
                nodes,
                nodes[-1] + after * np.arange(1, LAYER + 1),
            ]
        )
        line = Cells(len(edges) - 1, edges=(edges,), dtype=grid.dtype)
        # A sheet of current sends half of it, times the impedance, both ways.
        impedance = 1 / np.sqrt(np.asarray(self.permittivity, float))
        place = nodes[0] - DISTANCE * before

        def current(time: Array) -> Array:
            return self.signal(time) * float(-2 / impedance)

        side = absorbing(LAYER, strength=0.8 * float(impedance))
        return maxwell(
            line,
            dt,
            permittivity=float(1 / impedance**2),
            sides=(side,),
            components=ez_hy,
            sources=(dipole((place,), 2, current),),
        )


def plane_wave(
    lower: Sequence[float],
    upper: Sequence[float],
    axis: int,
    component: int,
    signal: Signal,
    permittivity: float = 1.0,
) -> PlaneWave:
    """A plane wave that travels up an axis inside of a box.

    **Arguments:**

    - `lower`, `upper`: corners of the box, between the absorbing layers. Over all of a periodic
      axis the wave has no edge.
    - `axis`, `component`: of travel, and of its electric field.
    - `signal`: E as a function of time four cells below the lower side of the domain; it should
      start from zero.
    - `permittivity`: of the medium at the faces of the box, > 0.
    """
    checks.positive("permittivity", permittivity)
    ends = tuple(float(x) for x in lower), tuple(float(x) for x in upper)
    return PlaneWave(*ends, int(axis), int(component), signal, float(permittivity))
