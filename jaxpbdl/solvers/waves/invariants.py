"""What Yee's scheme keeps: an energy without losses, and the divergence of D without currents."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.grids.grid import outer
from jaxpbdl.grids.location import Location
from jaxpbdl.solvers.waves.components import electric_location, magnetic_location
from jaxpbdl.solvers.waves.differences import difference
from jaxpbdl.solvers.waves.interfaces import MixedMedium
from jaxpbdl.solvers.waves.yee import Fields, MaxwellStep


def energy(step: MaxwellStep, state: Fields) -> Float[Array, ""]:
    """int (eps E^n . E^n + H^{n-1/2} . H^{n+1/2}) / 2, which stays the same to round-off without
    losses, poles, sources and absorbing layers.

    Each value counts with the volume between its neighbours, half of it on the sides of the box.
    """
    later = step.magnetic_half(state).magnetic
    total = jnp.zeros((), step.grid.dtype)
    for component, field, flux in zip(
        step.components.electric, state.electric, _displacement(step, state), strict=True
    ):
        location = electric_location(component, step.grid.ndim)
        total = total + jnp.sum(_volumes(step, location) * jnp.real(jnp.conj(flux) * field))
    for component, old, new in zip(step.components.magnetic, state.magnetic, later, strict=True):
        location = magnetic_location(component, step.grid.ndim)
        total = total + jnp.sum(_volumes(step, location) * jnp.real(jnp.conj(old) * new))
    return total / 2


def _displacement(step: MaxwellStep, state: Fields) -> tuple[Array, ...]:
    """D without the P of poles, which an interface has in it."""
    if isinstance(step.medium, MixedMedium):
        return state.displacement
    return tuple(
        permittivity * field
        for permittivity, field in zip(step.medium.permittivity, state.electric, strict=True)
    )


def charge(step: MaxwellStep, state: Fields) -> Float[Array, "*nodes"]:
    """div(eps E + P) at the nodes: the density of charge, which nothing but currents changes.

    Without meaning on the sides of the box, where conductors carry charges.
    """
    grid, components = step.grid, step.components.electric
    location = electric_location(3, grid.ndim)
    total = jnp.zeros(grid.shape_at(location), step.dtype)
    fluxes, mixed = _displacement(step, state), isinstance(step.medium, MixedMedium)
    turns = step.turns or (None,) * grid.ndim
    for position, component in enumerate(components):
        if component >= grid.ndim:
            continue
        flux = fluxes[position]
        for now, _ in () if mixed else state.polarisation:
            flux = flux + now[position]
        along = difference(grid, (None,) * grid.ndim, component, True, turns[component])
        total = total + along(flux, None, step.dt)[0]
    return total


def _volumes(step: MaxwellStep, location: Location) -> Array:
    grid = step.grid
    lines = []
    for axis, nodal in enumerate(location.on_boundary(grid.ndim)):
        n = grid.shape_at(location)[axis]
        lines.append(np.asarray(grid.gaps[axis][:n] if nodal else grid.widths[axis]))
    return jnp.asarray(outer(lines), grid.dtype)
