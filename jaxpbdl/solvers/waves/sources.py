"""Sources: currents at a point, and plane waves by total and scattered fields."""

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.solvers.waves.components import Components, electric_location
from jaxpbdl.solvers.waves.sides import Pairs, Turns, require_inside
from jaxpbdl.solvers.waves.yee import Rates, Source

Signal = Callable[[Float[Array, ""]], Array]
"""A function of time."""


class Setting(NamedTuple):
    """Where a source is put: the grid, its components, dt, the sides, and what fields are
    multiplied by once round a periodic axis."""

    grid: Cells
    components: Components
    dt: Array
    pairs: Pairs
    turns: Turns = ()


@runtime_checkable
class Excitation(Protocol):
    """A source that is not bound to a grid yet."""

    def bound(self, setting: Setting) -> Source:
        """On a grid. Raises ValueError where it does not fit."""
        ...


class Pulse(eqx.Module):
    """exp(-(t - delay)^2 / (2 width^2)) cos(2 pi (t - delay) / wavelength): a wave in vacuum of
    about that wavelength; created by `pulse`."""

    wavelength: Array = eqx.field(converter=checks.as_floats)
    width: Array = eqx.field(converter=checks.as_floats)
    delay: Array = eqx.field(converter=checks.as_floats)

    def __call__(self, time: Float[Array, ""]) -> Float[Array, ""]:
        since = time - self.delay
        envelope = jnp.exp(-((since / self.width) ** 2) / 2)
        return envelope * jnp.cos(2 * jnp.pi / self.wavelength * since)


def pulse(wavelength: float, cycles: float = 1.0) -> Pulse:
    """A pulse whose envelope falls to 0.61 within `cycles` periods of its middle; it starts from
    1e-7 of its height at time zero."""
    checks.positive("wavelength", wavelength)
    checks.positive("cycles", cycles)
    width = cycles * wavelength
    return Pulse(wavelength, width, 5.7 * width)


class BoundDipole(Source):
    """A dipole on the edges about it, with the share of its moment of each over the volume of that
    edge."""

    signal: Signal
    position: int = eqx.field(static=True)
    places: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    densities: Array

    def to_electric(self, rates: Rates, memory: tuple, time: Array) -> tuple[Rates, tuple]:
        rate = rates[self.position]
        current = (self.signal(time) * self.densities).astype(rate.dtype)
        rate = rate.at[tuple(np.asarray(self.places).T)].add(-current)
        return (*rates[: self.position], rate, *rates[self.position + 1 :]), memory


class Dipole(eqx.Module):
    """Created by `dipole`."""

    place: tuple[float, ...] = eqx.field(static=True)
    component: int = eqx.field(static=True)
    signal: Signal

    def bound(self, setting: Setting) -> BoundDipole:
        grid, component = setting.grid, self.component
        require_inside("place", self.place, setting.pairs, grid)
        if component not in setting.components.electric:
            raise ValueError(
                f"component must be one of the electric ones {setting.components.electric}, "
                f"got {component}"
            )
        location = electric_location(component, grid.ndim)
        choices = []
        for axis, (line, nodal) in enumerate(
            zip(grid.lines_at(location), location.on_boundary(grid.ndim), strict=True)
        ):
            n, x = len(line), self.place[axis]
            sizes = grid.gaps[axis][:n] if nodal else grid.widths[axis]
            low = int(np.clip(np.searchsorted(line, x, side="right") - 1, -1, n - 1))
            if grid.periodic[axis]:
                start = line[low] - (grid.lengths[axis] if low < 0 else 0.0)
                stop = line[(low + 1) % n] + (grid.lengths[axis] if low == n - 1 else 0.0)
                low, high = low % n, (low + 1) % n
            else:
                low, high = max(min(low, n - 2), 0), max(min(low, n - 2), 0) + 1
                start, stop = line[low], line[high]
            share = float(np.clip((x - start) / (stop - start), 0.0, 1.0))
            choices.append(((low, (1 - share) / sizes[low]), (high, share / sizes[high])))
        corners = list(product(*choices))
        return BoundDipole(
            self.signal,
            setting.components.electric.index(component),
            tuple(tuple(index for index, _ in corner) for corner in corners),
            jnp.asarray([prod(share for _, share in corner) for corner in corners], grid.dtype),
        )


def dipole(place: Sequence[float], component: int, signal: Signal) -> Dipole:
    """A current along an axis at a point: in two dimensions a line, in one a sheet of current.

    **Arguments:** `place` in the domain, outside of its absorbing layers; `component`, the axis of
    the current; `signal`, the current as a function of time (in three dimensions the rate of change
    of the dipole's moment). It is shared out linearly over the edges about the point.
    """
    return Dipole(tuple(float(x) for x in place), int(component), signal)
