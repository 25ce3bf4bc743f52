"""What the step of Maxwell's equations is made of: grid, media, sides, sources."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxpbdl import checks
from jaxpbdl.distributed.halos import Blocks
from jaxpbdl.distributed.space import check_periodic
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.grid import outer
from jaxpbdl.solvers.waves.components import (
    Components,
    checked,
    curl_terms,
    electric_location,
)
from jaxpbdl.solvers.waves.curls import Curl, Derivative
from jaxpbdl.solvers.waves.differences import difference
from jaxpbdl.solvers.waves.interfaces import Interface, mixed
from jaxpbdl.solvers.waves.media import Pole, Property, medium
from jaxpbdl.solvers.waves.sides import Pairs, Sides, Turns, pairs_of, turns_of, wall_lines
from jaxpbdl.solvers.waves.sources import Excitation, Setting
from jaxpbdl.solvers.waves.yee import MaxwellStep


def maxwell(
    grid: Cells,
    dt: ArrayLike,
    *,
    permittivity: Property | Interface = 1.0,
    conductivity: Property = 0.0,
    poles: Sequence[Pole] = (),
    sides: Sides | None = None,
    components: Components | None = None,
    sources: Sequence[Excitation] = (),
    mesh: Mesh | None = None,
) -> MaxwellStep:
    """The step of electric and magnetic fields in a box by Yee's scheme.

        dH/dt = -curl E,   permittivity dE/dt + conductivity E + sum_k dP_k/dt = curl H - J

    Lengths are in a unit of the user, times in that unit over the speed of light.

    **Arguments:**

    - `grid`: one to three axes, equidistant or graded.
    - `dt`: > 0 and at most `step.largest_dt()`.
    - `permittivity`: > 0, relative to vacuum; see `media.Property`. Gradients reach it. An
      `interface(..)` makes it a tensor at the surface of a body, which has its poles, too.
    - `conductivity`: >= 0, times the impedance of vacuum, a unit of length.
    - `poles`: of dispersion, `drude(..)` and `lorentz(..)`, as many as wanted.
    - `sides`: one entry per axis, a pair of `pec`, `pmc`, `absorbing(cells)`, one for both, or None
      or `bloch(phase)` for a periodic axis; `pec` by default.
    - `components`: which there are: `tm`, `te` or `full` in two dimensions, `ez_hy`, `ey_hz` or
      `full` in one. In three dimensions all six.
    - `sources`: `dipole(..)`, `plane_wave(..)`; a current density may also be an input of the step.
    - `mesh`: devices that share the box (`distributed.space_mesh`), without absorbing layers, and
      periodic with equal cells along the axes that they split. States are then placed by
      `distributed.scatter(state, mesh, grid.shape)`.

    **Raises:** ValueError for a dt above Courant's limit, naming that limit; a permittivity that is
    not above 0; a conductivity below 0; an interface beside a conductivity or `poles`; absorbing
    layers that fill the grid; sources outside of the domain or inside an absorbing layer; a mesh
    that cannot share the box.
    """
    checks.positive("dt", dt)
    components = checked(components, grid)
    pairs, turns = pairs_of(sides, grid), turns_of(sides, grid)
    with jax.ensure_compile_time_eval():  # the grid is known, also where jit traces the rest
        curl_electric = _curl(grid, pairs, turns, components.magnetic, components.electric, False)
        curl_magnetic = _curl(grid, pairs, turns, components.electric, components.magnetic, True)
        free = tuple(_free(grid, pairs, component) for component in components.electric)
    interval = jnp.asarray(dt, grid.dtype)
    setting = Setting(grid, components, interval, pairs, turns)
    if isinstance(permittivity, Interface):
        if poles or not isinstance(conductivity, (int, float)) or conductivity != 0:
            raise ValueError(
                f"permittivity is an interface, which has its own poles and does not conduct: "
                f"conductivity must be 0 and poles empty, got {conductivity} and {len(poles)} poles"
            )
        filling = mixed(permittivity, grid, components.electric, turns)
    else:
        filling = medium(grid, components.electric, permittivity, conductivity, poles)
    step = MaxwellStep(
        grid,
        interval,
        components,
        filling,
        curl_electric,
        curl_magnetic,
        free,
        tuple(source.bound(setting) for source in sources),
        pairs,
        turns,
        None if mesh is None else _blocks(grid, mesh, pairs, turns),
    )
    step.refuse_above(step.largest_dt())
    return step


def _blocks(grid: Cells, mesh: Mesh, pairs: Pairs, turns: Turns) -> Blocks:
    """The blocks of a box whose sides let devices share it."""
    check_periodic(grid.periodic, mesh)
    blocks = Blocks(mesh, grid.shape, 1)
    if any(side.cells for pair in pairs for side in pair or ()):
        raise ValueError("devices share no box with absorbing layers: leave out mesh")
    for axis, _, _ in blocks.split:
        if not grid.equal_along(axis) or turns[axis] is not None:
            raise ValueError(f"mesh splits axis {axis}, which must have equal cells and no phase")
    return blocks


def _curl(
    grid: Cells,
    pairs: Pairs,
    turns: Turns,
    of: tuple[int, ...],
    takes: tuple[int, ...],
    to_nodes: bool,
) -> Curl:
    """The terms of each of the components `of`, which take the components `takes`."""
    return tuple(
        tuple(
            Derivative(
                term.sign,
                takes.index(term.component),
                difference(grid, pairs, term.axis, to_nodes, turns[term.axis]),
            )
            for term in curl_terms(component, grid.ndim)
        )
        for component in of
    )


def _free(grid: Cells, pairs: Pairs, component: int) -> Array:
    """0 on conductors, 1 elsewhere, on the edges of an electric component; a number where there are
    none."""
    location = electric_location(component, grid.ndim)
    lines = wall_lines(pairs, grid, location.on_boundary(grid.ndim))
    if all(line is None for line in lines):
        return jnp.ones((), grid.dtype)
    shape = grid.shape_at(location)
    lines = [np.ones(n) if line is None else line for n, line in zip(shape, lines, strict=True)]
    return jnp.asarray(outer(lines), grid.dtype)
