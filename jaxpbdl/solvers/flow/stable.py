"""Incompressible flow by operators one after another: never unstable, first order.

    scalars: carried, diffused, fed;  velocity: carried, pushed, diffused, freed of its divergence

Every part but diffusion is stable at any dt (Stam, Stable Fluids, SIGGRAPH 1999, 121), so the fluid
may cross several cells in a step: the smoke of the Physics-based Deep Learning book.
"""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from jaxpbdl import checks
from jaxpbdl.equations.incompressible import IncompressibleFlow
from jaxpbdl.grids.cells import Cells, FieldLike, along
from jaxpbdl.grids.operators import Ends, Velocity
from jaxpbdl.solvers.flow.assembly import incompressible
from jaxpbdl.solvers.flow.backtracing import Transport, around_cells, around_faces, backtraced
from jaxpbdl.solvers.flow.conditions import OnSide
from jaxpbdl.solvers.flow.diffusion import velocity_laplacian
from jaxpbdl.solvers.flow.limits import decay_rate
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.scalars import scalar_diffusion
from jaxpbdl.solvers.flow.sides import Sides
from jaxpbdl.solvers.flow.state import Flow
from jaxpbdl.solvers.flow.step_of_flow import StepOfFlow


class StableStep(StepOfFlow):
    """One step of stable fluids; created by `stable_fluids`. An input is an acceleration, as of
    `IncompressibleStep`.

    **Attributes:** `flow` holds equation, grid, dt, sides, sources and the projection; the others
    are the arguments of `stable_fluids`.
    """

    flow: IncompressibleStep
    slip_length: Array
    scalar_transport: Transport = eqx.field(static=True)

    @property
    def dt(self) -> Array:
        return self.flow.dt

    def advance(self, working: Flow, *inputs: PyTree) -> Flow:
        velocity, time, scalars = working
        scalars = {
            name: self._next_scalar(name, values, velocity, time)
            for name, values in scalars.items()
        }
        ends = self._ends(velocity, time)
        moved = tuple(
            backtraced(u, around_faces(component, velocity, ends[component], self.dt, self.grid))
            for component, u in enumerate(velocity)
        )
        pushed = self._pushed(moved, scalars, *inputs)
        laplacians = velocity_laplacian(pushed, self._ends(pushed, time), self.grid)
        amount = self.dt * self.flow.equation.viscosity
        diffused = tuple(u + amount * change for u, change in zip(pushed, laplacians, strict=True))
        velocity, _ = self.flow.projected(diffused, time + self.dt)
        return Flow(velocity, time + self.dt, scalars)

    def _next_scalar(self, name: str, values: Array, velocity: Velocity, time: Array) -> Array:
        sides = self.flow.scalar_sides(name, time)
        # Where the flow comes from beyond a side: from what is given there.
        ends = [(_brought(low), _brought(high)) for low, high in sides]
        values = self.scalar_transport(values, around_cells(velocity, ends, self.dt, self.grid))
        rate = scalar_diffusion(
            values, self.flow.equation.scalars[name].diffusivity, sides, self.grid
        )
        if name in self.flow.sources:
            rate = rate + self.flow.sources[name]
        return values + self.dt * rate

    def _pushed(self, velocity: Velocity, scalars: dict[str, Array], *inputs: PyTree) -> Velocity:
        """By forces and the buoyancy of the scalars; slowed by drag."""
        for force in (self.flow.forces, self.flow.buoyancy(scalars), *inputs):
            velocity = velocity if force is None else _plus(velocity, self.dt, force)
        drag = self.flow.equation.drag
        if drag is None:
            return velocity
        return tuple(jnp.exp(-drag * self.dt) * u for u in velocity)

    def _ends(self, velocity: Velocity, time: Array) -> list[list[Ends]]:
        """What is given of each component on the sides of each axis. Along a side that the fluid
        sticks to, up to the slip."""
        grid, planes = self.grid, self.flow.boundary.at(time)

        def given(component: int, axis: int, end: int) -> Array | None:
            pair = planes[axis]
            value = None if pair is None else pair[end][component]
            if value is None:
                return None
            # On a line from the first value in the fluid to the side's, a slip length beyond it.
            n = velocity[component].shape[axis]
            first = along(velocity[component], axis, *((0, 1), (n - 1, n))[end])
            share = self.slip_length / (self.slip_length + float(grid.widths[axis][0]) / 2)
            return value + share * (first - value)

        ends: list[list[Ends]] = []
        for component in range(grid.ndim):
            axes = [axis for axis in range(grid.ndim) if axis != component]
            pairs: list[Ends] = [(None, None)] * grid.ndim
            for axis in axes:
                pairs[axis] = given(component, axis, 0), given(component, axis, 1)
            ends.append(pairs)
        return ends

    def largest_dt(self, state: Flow) -> Array:
        """The largest stable dt: that of the explicit diffusion, at any velocity."""
        equation = self.flow.equation
        coefficients = [equation.viscosity, *(s.diffusivity for s in equation.scalars.values())]
        limits = [_diffusive_limit(one, self.grid) for one in coefficients]
        return jnp.min(jnp.stack(limits))


def stable_fluids(
    equation: IncompressibleFlow,
    grid: Cells,
    dt: ArrayLike,
    sides: Sides | None = None,
    *,
    scalar_transport: Transport = backtraced,
    sources: Mapping[str, FieldLike] | None = None,
    slip_length: ArrayLike = 0.0,
) -> StableStep:
    """The step of incompressible flow that follows the velocity backwards over dt.

    **Arguments:**

    - `equation`: viscosity, force, scalars with their buoyancy; its parameters are differentiable.
    - `grid`: staggered and equidistant.
    - `dt`: > 0, at most `1 / (2 d sum_i 1 / dx_i^2)` for the largest d of viscosity and
      diffusivities; of any size for advection.
    - `sides`: one entry per axis, as for `incompressible`; walls by default. What follows the flow
      back beyond a side gets the value on it.
    - `scalar_transport`: `backtraced` (first order) or `maccormack` (second order, bounded).
    - `sources`: of scalars, a unit of time, by name: functions of the point, constants or arrays.
    - `slip_length` >= 0: depth behind a sticking side at which the velocity along it would be the
      side's (Navier 1823). Half a cell is what a row of cells beyond the side that holds its
      velocity amounts to, the usual padding of image-like codes.

    **Raises:** ValueError for a graded grid, a dt that is not positive or above the limit of
    diffusion, or inflow that does not balance outflow in a box without an `outflow()`.
    """
    if not grid.uniform:
        raise ValueError(
            "stable_fluids needs an equidistant grid; `incompressible` solves on graded ones"
        )
    checks.non_negative("slip_length", slip_length)
    flow = incompressible(equation, grid, dt, sides, sources=sources)
    with jax.ensure_compile_time_eval():  # whatever the state: refused before it is there
        for one in (equation.viscosity, *(s.diffusivity for s in equation.scalars.values())):
            flow.refuse_above(_diffusive_limit(one, grid))
    return StableStep(flow, jnp.asarray(slip_length, grid.dtype), scalar_transport)


def _brought(side: OnSide) -> Array | None:
    """By fluid that comes from beyond a side."""
    return side.value if side.returning is None else side.returning


def _diffusive_limit(coefficient: ArrayLike, grid: Cells) -> Array:
    """Above which an explicit Euler step of diffusion makes the shortest wave grow."""
    rate = decay_rate(jnp.asarray(coefficient), [float(h[0]) for h in grid.widths])
    return 2 / jnp.maximum(rate, 1e-30)


def _plus(velocity: Velocity, dt: Array, rates: Sequence[ArrayLike] | Array) -> Velocity:
    return tuple(u + dt * rate for u, rate in zip(velocity, rates, strict=True))
