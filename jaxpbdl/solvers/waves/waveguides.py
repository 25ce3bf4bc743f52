"""Modes of a slab waveguide in two dimensions: their shape, a source that sends one of them one
way, and a monitor of how much of it goes either way.

A mode along axis x at the frequency w is a shape over y times exp(i (beta x - w t)). On Yee's cells
both derivatives are differences, with B = 2 sin(beta h / 2) / h and W = 2 sin(w dt / 2) / dt, so
that the shapes are exact solutions of the scheme:

    E out of the plane:  B^2 E = (D D + W^2 eps) E,               H = B/W E
    H out of the plane:  B^2 H = eps (W^2 + D 1/eps_x D) H,       E = B/(W eps) H

with D the difference over y, eps of the component of E across the guide (out of the plane or along
y) and eps_x of the one along it; H and E of the second column are those across the guide, up to
signs of handedness (D. Marcuse, Theory of Dielectric Optical Waveguides, 1991, chapter 1). The
source is a plane with the total field on one side and what comes back on the other, as for a plane
wave (`solvers.waves.plane_wave`).
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.solvers.waves.components import electric_location, permutation_sign
from jaxpbdl.solvers.waves.media import Medium
from jaxpbdl.solvers.waves.monitors import Box, Tangential
from jaxpbdl.solvers.waves.sides import require_inside
from jaxpbdl.solvers.waves.slabs import in_plane, out_of_plane, require_fallen
from jaxpbdl.solvers.waves.sources import Setting, Signal
from jaxpbdl.solvers.waves.yee import Fields, MaxwellStep, Rates, Source


class Mode(eqx.Module):
    """A mode of a slab waveguide on a grid; created by `slab_modes`.

    **Attributes:**

    - `axis` of the guide; `electric_component` and `magnetic_component` across it.
    - `node`: where it stands along the axis; `lower`, `upper`: nodes across, where it ends.
    - `wavelength` in vacuum; `index`, beta over the wavenumber in vacuum.
    - `electric`, `magnetic`: its fields at the same place and time, up the axis; down it `magnetic`
      has the other sign. Its power is 1 as the flux of a `box` has it, where H is a mean of two.
    """

    trainable_fields = ()

    grid: Cells
    axis: int = eqx.field(static=True)
    electric_component: int = eqx.field(static=True)
    magnetic_component: int = eqx.field(static=True)
    node: int = eqx.field(static=True)
    lower: int = eqx.field(static=True)
    upper: int = eqx.field(static=True)
    wavelength: float = eqx.field(static=True)
    index: float = eqx.field(static=True)
    electric: Array
    magnetic: Array

    @property
    def width(self) -> float:
        """Of a cell along the guide."""
        return float(self.grid.widths[self.axis][self.node])

    @property
    def half_phase(self) -> float:
        """That the mode gains over half a cell along the guide."""
        return np.pi * self.index / self.wavelength * self.width


def slab_modes(
    step: MaxwellStep,
    axis: int,
    place: float,
    bounds: tuple[float, float],
    wavelength: float,
    count: int = 1,
) -> tuple[Mode, ...]:
    """The guided modes of largest index in a cut through the medium of `step`, as its cells and its
    dt have them.

    **Arguments:**

    - `step`: in two dimensions, with the components `tm` or `te` (for E or H out of the plane); its
      sources do not matter.
    - `axis`, `place`: of the guide, and where it is cut, at the nearest node.
    - `bounds`: of the cut across the guide, at the nearest nodes; it ends as if conductors were
      there, and must do so where the modes have fallen to a tenth of their largest.
    - `wavelength` in vacuum; `count`, of modes.

    **Raises:** ValueError for a grid or components of another kind, a medium with losses, poles or
    an interface, a cut outside of the domain or inside an absorbing layer, cells along the guide
    that differ at the cut, a wavelength below two cells (in the guide, too), more modes than it
    carries, and modes that have not fallen off at `bounds`.
    """
    grid, (electric, magnetic) = step.grid, step.components
    if grid.ndim != 2 or len(electric) + len(magnetic) != 3:
        raise ValueError(
            f"step must have two axes and the components tm or te, got {grid.ndim} axes and "
            f"{step.components}"
        )
    if axis not in (0, 1) or grid.periodic[axis]:
        raise ValueError(f"axis must be 0 or 1, not a periodic one, got {axis}")
    medium = step.medium
    if not isinstance(medium, Medium) or medium.conductivity is not None or medium.poles:
        raise ValueError("the medium must have no interface, no conductivity and no poles")
    checks.positive("wavelength", wavelength)
    checks.count("count", count)
    across = 1 - axis
    node, lower, upper = _nodes(step, axis, place, bounds)
    h, dt = float(grid.widths[axis][node]), float(step.dt)
    if abs(grid.widths[axis][node - 1] / h - 1) > 1e-6:
        raise ValueError(f"the cells along axis {axis} must be equal about place, {place}")
    if wavelength < 2 * h:
        raise ValueError(f"wavelength must be at least two cells, {2 * h:.6g}, got {wavelength}")
    w = 2 * np.pi / wavelength
    square = (2 * np.sin(w * dt / 2) / dt) ** 2
    widths = grid.widths[across][lower:upper]
    e = 2 if electric == (2,) else across
    h_component = 3 - axis - e
    sign = permutation_sign(axis, e, h_component)
    normal = _line(medium.permittivity[electric.index(e)], grid, e, axis, node)
    if e == 2:
        normal = normal[lower + 1 : upper]
        squares, shapes = out_of_plane(normal, widths, square, count)
        areas = (widths[1:] + widths[:-1]) / 2
    else:
        along = _line(medium.permittivity[electric.index(axis)], grid, axis, axis, node)
        normal = normal[lower:upper]
        squares, shapes = in_plane(normal, along[lower + 1 : upper], widths, square, count)
        areas = widths
    carried = int(np.sum(squares > square * max(normal[0], normal[-1])))
    if carried < count:
        raise ValueError(
            f"count must be at most {carried}, the modes that the guide carries at the wavelength "
            f"{wavelength}, got {count}"
        )
    if squares[0] * h**2 >= 4:
        raise ValueError(
            f"wavelength must be at least two cells of {h:.6g} in the guide, got {wavelength}"
        )
    modes = []
    for b_square, shape in zip(squares, shapes, strict=True):
        require_fallen(shape, b_square - square * normal[[0, -1]], widths, bounds, e == 2)
        ratio = sign * np.sqrt(b_square / square)  # B / W
        fields = (shape, ratio * shape) if e == 2 else (ratio / normal * shape, shape)
        half_phase = np.arcsin(np.sqrt(b_square) * h / 2)
        power = np.sum(sign * fields[0] * fields[1] * areas) * np.cos(half_phase) / 2
        if e == 2:  # zero at the ends, too
            fields = tuple(np.pad(one, 1) for one in fields)
        modes.append(
            Mode(
                grid,
                axis,
                e,
                h_component,
                node,
                lower,
                upper,
                float(wavelength),
                float(2 * half_phase / h / w),
                *(jnp.asarray(one / np.sqrt(power), grid.dtype) for one in fields),
            )
        )
    return tuple(modes)


class BoundModeSource(Source):
    """A mode source on a grid: `electric` and `magnetic`, the shapes over the width of a cell along
    the guide, with their signs, and the indices of their components."""

    signal: Signal
    positions: tuple[int, int] = eqx.field(static=True)
    axis: int = eqx.field(static=True)
    places: tuple[int, int] = eqx.field(static=True)
    lower: int = eqx.field(static=True)
    lead: float = eqx.field(static=True)
    electric: Array
    magnetic: Array

    def to_magnetic(self, rates: Rates, memory: tuple, time: Array) -> tuple[Rates, tuple]:
        change = self.signal(time) * self.electric
        return self._added(rates, self.positions[1], self.places[1], change), memory

    def to_electric(self, rates: Rates, memory: tuple, time: Array) -> tuple[Rates, tuple]:
        # H of the mode is wanted half a cell before its E, where the phase is ahead.
        change = self.signal(time + self.lead) * self.magnetic
        return self._added(rates, self.positions[0], self.places[0], change), memory

    def _added(self, rates: Rates, position: int, place: int, change: Array) -> Rates:
        across = slice(self.lower, self.lower + len(change))
        at = (place, across) if self.axis == 0 else (across, place)
        rate = rates[position]
        rate = rate.at[at].add(change.astype(rate.dtype))
        return (*rates[:position], rate, *rates[position + 1 :])


class ModeSource(eqx.Module):
    """Created by `mode_source`."""

    mode: Mode
    signal: Signal
    direction: int = eqx.field(static=True)

    def bound(self, setting: Setting) -> BoundModeSource:
        mode, grid = self.mode, setting.grid
        _require_grid(mode, grid)
        e, h = mode.electric_component, mode.magnetic_component
        if e not in setting.components.electric or h not in setting.components.magnetic:
            raise ValueError(
                f"components must hold E {e} and H {h} of the mode, got {setting.components}"
            )
        nodes = np.asarray(grid.edges[1 - mode.axis])
        place = grid.edges[mode.axis][mode.node]
        for end in (nodes[mode.lower], nodes[mode.upper]):
            point = (place, float(end)) if mode.axis == 0 else (float(end), place)
            require_inside("an end of the mode", point, setting.pairs, grid)
        sign = permutation_sign(h, mode.axis, e)
        return BoundModeSource(
            self.signal,
            (setting.components.electric.index(e), setting.components.magnetic.index(h)),
            mode.axis,
            (mode.node, mode.node - 1 if self.direction == 1 else mode.node),
            mode.lower,
            mode.index * mode.width / 2,
            self.direction * sign / mode.width * mode.electric,
            sign / mode.width * mode.magnetic,
        )


def mode_source(mode: Mode, signal: Signal, direction: int = 1) -> ModeSource:
    """A source for `maxwell` that sends a mode up its axis, or down it, and nothing the other way.

    **Arguments:**

    - `mode`: of `slab_modes`. Its shape is that of its own wavelength: at others some of the power
      goes the other way and beside the guide.
    - `signal`: of time; its transform is the amplitude of the mode, the square of that the power.
    - `direction`: 1 or -1.
    """
    if direction not in (1, -1):
        raise ValueError(f"direction must be 1 or -1, got {direction}")
    return ModeSource(mode, signal, int(direction))


class ModeMonitor(eqx.Module):
    """What goes up and down a guide in a mode; created by `mode_monitor`. Call it with the fields
    to get what lies on the cut."""

    trainable_fields = ()

    cut: Box
    modes: tuple[Mode, ...]

    def __call__(self, fields: Fields) -> Tangential:
        mode = self.modes[0]
        return self.cut.face(fields, mode.axis, mode.node)

    @property
    def wavelengths(self) -> np.ndarray:
        """Of the modes, for `transformed`."""
        return np.asarray([mode.wavelength for mode in self.modes])

    def amplitudes(
        self, face: Tangential
    ) -> tuple[Complex[Array, " modes"], Complex[Array, " modes"]]:
        """Up and down the axis, of each mode at its wavelength, from the transforms of what lies on
        the cut; their squares are powers. Other modes do not count: over the cut their products
        with this one vanish.

            a + b = int E h / int e h,   a - b = int H e / int e h
        """
        first = self.modes[0]
        areas = self.cut.areas(first.axis, first.electric_component)
        e, h = (
            jnp.expand_dims(jnp.stack([getattr(mode, name) for mode in self.modes]), first.axis + 1)
            for name in ("electric", "magnetic")
        )
        # H was summed with the phase of the time of E, half a step late, and is a mean over a cell.
        waves = jnp.asarray(self.wavelengths, areas.dtype)
        late = jnp.exp(-1j * jnp.pi / waves * self.cut.step.dt)
        mean = jnp.asarray([np.cos(mode.half_phase) for mode in self.modes], areas.dtype)

        def over(product: Array) -> Array:
            return jnp.sum(areas * product, axis=(1, 2))

        norm = over(e * h)
        both = over(face.electric[0] * h) / norm
        excess = over(face.magnetic[0] * e) * late / mean / norm
        return (both + excess) / 2, (both - excess) / 2


def mode_monitor(step: MaxwellStep, modes: Sequence[Mode]) -> ModeMonitor:
    """For `transformed(step, monitor, monitor.wavelengths)`.

    **Arguments:** `modes`, one for each wavelength, all in one cut.

    **Raises:** ValueError for no modes, modes of different cuts or of another grid.
    """
    modes = tuple(modes)
    if not modes:
        raise ValueError("modes must hold at least one, got none")
    first = modes[0]
    for mode in modes:
        _require_grid(mode, step.grid)
        if _cut(mode) != _cut(first):
            raise ValueError(f"modes must lie in one cut, got {_cut(first)} and {_cut(mode)}")
    lower, upper = [first.lower] * 2, [first.upper] * 2
    lower[first.axis] = upper[first.axis] = first.node
    return ModeMonitor(Box(step, tuple(lower), tuple(upper)), modes)


def _cut(mode: Mode) -> tuple[int, ...]:
    """Axis, component, and nodes."""
    return mode.axis, mode.electric_component, mode.node, mode.lower, mode.upper


def _require_grid(mode: Mode, grid: Cells) -> None:
    if mode.grid.edges != grid.edges:
        raise ValueError(
            f"the mode must belong to the grid of the step, of {grid.shape} cells, got one of "
            f"{mode.grid.shape} cells or other edges"
        )


def _nodes(
    step: MaxwellStep, axis: int, place: float, bounds: tuple[float, float]
) -> tuple[int, int, int]:
    """Of the cut along its axis, and of its ends across."""
    grid, across = step.grid, 1 - axis
    for name, end in zip(("lower end", "upper end"), bounds, strict=True):
        point = (place, end) if axis == 0 else (end, place)
        require_inside(f"{name} of the cut", point, step.pairs, grid)
    node = int(np.argmin(np.abs(np.asarray(grid.edges[axis]) - place)))
    if not 0 < node < grid.shape[axis]:
        raise ValueError(f"place must lie a cell or more within the domain, got {place}")
    lower, upper = (int(np.argmin(np.abs(np.asarray(grid.edges[across]) - x))) for x in bounds)
    if upper - lower < 4:
        raise ValueError(f"bounds must be four cells or more apart, got {bounds}")
    return node, lower, upper


def _line(value: Array, grid: Cells, component: int, axis: int, node: int) -> np.ndarray:
    """A property of a component of E across the guide, in the cut."""
    whole = np.broadcast_to(
        np.asarray(value, float), grid.shape_at(electric_location(component, grid.ndim))
    )
    return np.take(whole, node, axis=axis)
