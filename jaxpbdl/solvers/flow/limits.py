"""How fast a flow moves, sways and decays on a grid, and so the stability limits of its step."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array

from jaxpbdl.equations.incompressible import IncompressibleFlow
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.operators import Velocity, line, slope
from jaxpbdl.solvers.flow.sides import Plane
from jaxpbdl.solvers.time.runge_kutta import rk3
from jaxpbdl.solvers.time.scheme import Scheme


def stable_dt(
    speeds: Sequence[float],
    widths: Sequence[float],
    viscosity: Array | float,
    scheme: Scheme = rk3,
    *,
    diffusivity: Array | float | None = None,
) -> Array | float:
    """The largest stable dt of `incompressible` at given speeds along the axes, on cells of given
    widths, without drag: before there is a state to ask `largest_dt` about. `diffusivity` is that
    of the scalar that diffuses fastest, where there is one."""
    advective = sum(speed / h for speed, h in zip(speeds, widths, strict=True))
    coefficient = viscosity if diffusivity is None else jnp.maximum(viscosity, diffusivity)
    # Velocity and scalars do not add up: each is carried at the same speed, decays on its own.
    return scheme.largest_dt(advective, decay_rate(coefficient, widths))


def decay_rate(coefficient: Array | float, widths: Sequence[float]) -> Array | float:
    """Of the shortest wave on cells of given widths, under diffusion by a coefficient."""
    return sum(4 * coefficient / h**2 for h in widths)


def crossing_rate(
    velocity: Velocity, planes: Sequence[tuple[Plane, Plane] | None], grid: Cells
) -> Array:
    """Cells that the fluid crosses a unit of time, all axes together, the largest speeds; those
    given on the sides count too."""
    total = jnp.zeros(())
    cells = jnp.abs(grid.to_cells(velocity))
    for axis, h in enumerate(grid.widths):
        rate = jnp.max(cells[axis] / line(h, axis, grid))
        for pair in planes:
            for plane in pair or ():
                given = plane[axis]
                if given is not None:
                    rate = jnp.maximum(rate, jnp.max(jnp.abs(given)) / float(h.max()))
        total = total + rate
    return total


def fastest_decay(
    equation: IncompressibleFlow, grid: Cells, closing: Array | float = 0.0
) -> Array | float:
    """Of velocity and scalars, by diffusion and drag, on the smallest cells; `closing` is that of
    the velocity by a closure."""
    smallest = [float(h.min()) for h in grid.widths]
    decay = decay_rate(equation.viscosity, smallest) + closing
    if equation.drag is not None:
        decay = decay + equation.drag
    for scalar in equation.scalars.values():
        decay = jnp.maximum(decay, decay_rate(scalar.diffusivity, smallest))
    return decay


def buoyancy_frequency(
    scalars: Mapping[str, Array], equation: IncompressibleFlow, grid: Cells
) -> Array | float:
    """At which buoyancy brings back what is lifted where the stratification is most stable: the
    square is buoyancy times the gradient of the scalar."""
    squared = None
    for name, values in scalars.items():
        vector = equation.scalars[name].buoyancy
        if vector is not None:
            vector = jnp.broadcast_to(vector, (grid.ndim,))
            for axis in range(grid.ndim):
                most = jnp.max(vector[axis] * slope(values, axis, grid, (None, None)))
                squared = most if squared is None else jnp.maximum(squared, most)
    return 0.0 if squared is None else jnp.sqrt(jnp.maximum(squared, 0.0))
