"""What the step of incompressible flow in a box is made of: grid, sides, a body, what drives it."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxpbdl import checks
from jaxpbdl.distributed.space import check_periodic
from jaxpbdl.equations.incompressible import IncompressibleFlow
from jaxpbdl.grids.cells import Cells, FieldLike
from jaxpbdl.grids.poisson import FastSolver
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.flow.body_scalars import held_on_body
from jaxpbdl.solvers.flow.closures import Closure
from jaxpbdl.solvers.flow.immersion import immersed
from jaxpbdl.solvers.flow.operators import Interpolation, central, limited
from jaxpbdl.solvers.flow.projection import IncompressibleStep, StateForce
from jaxpbdl.solvers.flow.shared import blocks_for
from jaxpbdl.solvers.flow.sides import Boundary, Sides
from jaxpbdl.solvers.flow.state import known_scalars
from jaxpbdl.solvers.flow.surfaces import SurfaceVelocity, with_surface
from jaxpbdl.solvers.time.runge_kutta import rk3
from jaxpbdl.solvers.time.scheme import Scheme


def incompressible(
    equation: IncompressibleFlow,
    grid: Cells,
    dt: ArrayLike,
    sides: Sides | None = None,
    *,
    body: Shape | None = None,
    max_cut_faces: int | None = None,
    surface: SurfaceVelocity | Sequence[SurfaceVelocity] | None = None,
    on_body: Mapping[str, FieldLike] | None = None,
    force: StateForce | None = None,
    closure: Closure | None = None,
    sources: Mapping[str, FieldLike] | None = None,
    scheme: Scheme = rk3,
    interpolation: Interpolation = central,
    scalar_interpolation: Interpolation = limited,
    mesh: Mesh | None = None,
) -> IncompressibleStep:
    """The step of incompressible flow in a box with walls, inflow, outflow and a body.

    **Arguments:**

    - `equation`: viscosity, force, scalars with their buoyancy; its parameters are differentiable.
    - `grid`: staggered, equidistant or graded.
    - `dt`: > 0.
    - `sides`: one entry per axis, a pair of sides (`wall()`, `slip()`, `inflow(..)`, `outflow()`),
      one for both, or None for a periodic axis; walls by default. Each says what the scalars do
      there, as in `wall(temperature=1.0)`.
    - `body`: a signed distance, negative inside; the fluid sticks to it. Gradients reach its
      parameters.
    - `max_cut_faces`: where the shape is traced, how many faces it may cut (see `immersed`). A
      fixed shape needs none, also inside jit.
    - `surface`: a velocity of the body's surface along itself, a function `point -> velocity` such
      as `spin(centre, rate)`, or one for each shape of a union; at rest by default. `sliding` makes
      a step whose inputs are its factors in time.
    - `on_body`: values of scalars on the surface of the body (functions of the point or constants)
      by name; nothing of the others passes it.
    - `force`: an acceleration that depends on the state, `Flow -> acceleration`: (dim, *cells), or
      one array for each component on its faces. Evaluated at every stage.
    - `closure`: what motions smaller than the cells do, `Smagorinsky(0.17)` or any function
      `(velocity, planes, grid) -> acceleration`, all on the faces, where `planes` are the
      velocities given on the sides. In two or three dimensions, without a body. One that has a
      method `fastest_decay` with the same arguments counts in `largest_dt`; of others dt is yours
      to choose.
    - `sources`: of scalars, a unit of time, by name: functions of the point, constants or arrays.
    - `scheme`: `time.rk3`, `time.rk4`, or `time.adams_bashforth` at a third of the cost a step.
    - `interpolation`: of the velocity that is carried: `central` (keeps energy) or `limited`
      (bounded at fronts).
    - `scalar_interpolation`: of the scalars: `limited` (no new extrema) or `central` (smooth in
      all it depends on, second order everywhere; oscillates where fronts are not resolved).
    - `mesh`: devices that share the box (`distributed.space_mesh`), without walls on the axes that
      they split. States are then placed by `distributed.scatter(state, mesh, grid.shape)`. Devices
      exchange halos and blocks of transforms; with a body, a closure, graded cells along an axis
      that is split, or an interpolation other than the two, the compiler may gather more.

    **Raises:** ValueError for a dt that is not positive, inflow that does not balance outflow in a
    box without an `outflow()`, a scalar that the equation does not have, a body that the grid
    does not resolve, a `closure` with a body or in one dimension, a `surface` without a body or
    that moves across itself, or a mesh that splits an axis with walls or leaves a device less than
    two cells along one. Warns of parts of a body thinner than two cells.
    """
    checks.positive("dt", dt)
    if mesh is not None:
        check_periodic(grid.periodic, mesh)
    if closure is not None and (body is not None or grid.ndim < 2):
        what = "no flow about a body" if body is not None else f"2 or 3 axes, got {grid.ndim}"
        raise ValueError(f"closure takes {what}")
    boundary = Boundary(sides, grid, equation.scalar_names)
    holds = [boundary.holds(axis) for axis in range(grid.ndim)]
    with jax.ensure_compile_time_eval():  # the grid is known, also where jit traces the rest
        fast = FastSolver(grid, [(not lower, not upper) for lower, upper in holds], mesh)
    bounded = interpolation is limited
    inside = None if body is None else immersed(body, grid, fast, max_cut_faces, bounded)
    if surface is not None:
        if body is None or inside is None:
            raise ValueError("surface gives a velocity, but there is no body")
        inside = with_surface(inside, body, surface, grid)
    forces = None if equation.forcing is None else grid.velocity(equation.forcing)
    on_body, sources = dict(on_body or {}), dict(sources or {})
    known_scalars("on_body", on_body, equation)
    known_scalars("sources", sources, equation)
    if on_body and body is None:
        raise ValueError(f"on_body gives {sorted(on_body)}, but there is no body")
    return IncompressibleStep(
        equation,
        grid,
        jnp.asarray(dt, grid.dtype),
        boundary,
        fast,
        inside,
        forces,
        force,
        {name: grid.scalar(field) for name, field in sources.items()},
        {} if body is None else held_on_body(body, on_body, grid, max_cut_faces),
        scheme,
        interpolation,
        scalar_interpolation,
        None if body is not None else blocks_for(grid, mesh),
        closure,
    )
