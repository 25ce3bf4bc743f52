"""Incompressible flow on a staggered grid, projected after every evaluation.

    du/dt = -div(u u) + viscosity lap u + force - grad p,   div u = 0

Second order in space, third in time.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.equations.incompressible import IncompressibleFlow
from jaxpbdl.fields import Interpolant, interpolate
from jaxpbdl.grids.cells import Cells, FieldLike
from jaxpbdl.grids.operators import Velocity, divergence, gradient, line
from jaxpbdl.grids.poisson import FastSolver
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.flow.bodies import Body, pressure_of
from jaxpbdl.solvers.flow.immersion import immersed
from jaxpbdl.solvers.flow.marker import marker_rate
from jaxpbdl.solvers.flow.operators import (
    Interpolation,
    central,
    limited,
    momentum_rate,
    with_sides,
)
from jaxpbdl.solvers.flow.sides import Boundary, Sides
from jaxpbdl.solvers.flow.state import Flow, Rates, check_flow
from jaxpbdl.solvers.time.runge_kutta import rk3
from jaxpbdl.solvers.time.scheme import Scheme, System, check_inputs
from jaxpbdl.step import Step


class IncompressibleStep(Step):
    """One step of incompressible flow; created by `incompressible`.

    An input is an acceleration of the fluid, held over the step: a vector for all of it, or one
    array for each component on its faces.
    """

    trainable_fields = ()

    equation: IncompressibleFlow
    grid: Cells
    dt: Array
    boundary: Boundary
    fast: FastSolver
    body: Body | None
    forces: Velocity | None
    source: Array | None
    scheme: Scheme
    interpolation: Interpolation

    @property
    def holds(self) -> tuple[tuple[bool, bool], ...]:
        return tuple(self.boundary.holds(axis) for axis in range(self.grid.ndim))

    def start(
        self, velocity: FieldLike | None = None, marker: FieldLike | None = None, time: float = 0.0
    ) -> Flow:
        """A state: a velocity (a function `point -> velocity`, constants, or arrays on the faces;
        rest by default) fitted to the sides and the body and freed of its divergence, and a
        marker (a function of the point, a constant or an array in the cells)."""
        grid = self.grid
        if isinstance(velocity, tuple) and all(jnp.ndim(u) == grid.ndim for u in velocity):
            u = tuple(jnp.asarray(part, grid.dtype) for part in velocity)
        else:
            u = grid.velocity(velocity)
        now = jnp.asarray(time, grid.dtype)
        if marker is not None:
            marker = grid.scalar(marker)
        return Flow(eqx.filter_jit(type(self).projected)(self, u, now)[0], now, marker)

    @property
    def interval(self) -> Array:
        return self.dt

    def system(self, push: Sequence[ArrayLike] | Array | None = None) -> System:
        """Momentum and marker but for the pressure, which `moved` takes care of."""
        return System(lambda flow: self.rates(flow, push), self.dt, self.moved)

    def enter(self, state: Flow) -> PyTree:
        return self.scheme.start(state, self.system())

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        check_inputs(self.scheme, inputs)
        return self.scheme.advance(working, self.system(*inputs))

    def leave(self, working: PyTree) -> Flow:
        return self.scheme.current(working)

    def rates(self, flow: Flow, push: Sequence[ArrayLike] | Array | None = None) -> Rates:
        """How fast velocity and marker change but for the pressure, with an acceleration."""
        inside, marker, one = self._continued(flow.velocity), flow.marker, jnp.ones_like(flow.time)
        rates = self._with_forces(self._stress(inside, flow.time), flow)
        if push is not None:
            rates = tuple(rate + push[axis] for axis, rate in enumerate(rates))
        if marker is None:
            return Rates(rates, one, None)
        diffusivity = self.equation.diffusivity
        carried = marker_rate(marker, inside, diffusivity, self.grid, self.source, self.body)
        return Rates(rates, one, carried)

    def moved(self, flow: Flow, change: Rates) -> Flow:
        """The flow plus a change, projected."""
        velocity = tuple(u + du for u, du in zip(flow.velocity, change.velocity, strict=True))
        time, marker = flow.time + change.time, flow.marker
        if marker is not None and change.marker is not None:
            marker = marker + change.marker
        return Flow(self.projected(velocity, time)[0], time, marker)

    def projected(self, velocity: Velocity, time: Array) -> tuple[Velocity, Array]:
        """The velocity with its sides as given and without divergence, and the potential whose
        gradient that took."""
        velocity = with_sides(velocity, self.boundary.at(time), self.grid)
        potential, push = self._potential(velocity)
        clean = tuple(u - slope for u, slope in zip(velocity, push, strict=True))
        return clean if self.body is None else self.body.opened(clean), potential

    def divergence(self, velocity: Velocity) -> Float[Array, "*cells"]:
        """Volume that leaves each cell a unit of time, through the open part of its faces."""
        if self.body is not None:
            velocity = self.body.weighted(velocity)
        return divergence(velocity, self.grid)

    def pressure(self, state: Flow) -> Float[Array, "*cells"]:
        """Pressure over density at a state, zero at an outflow, of mean zero in a closed box."""
        return self.balance(state)[0]

    def balance(self, state: Flow) -> tuple[Array, Velocity, Velocity]:
        """Pressure, what the stencils give as the rate of change without it and without forces,
        and its gradient."""
        inside = self._continued(state.velocity)
        stress = self._stress(inside, state.time)
        rates = self._with_forces(stress, state)
        # Sides whose velocity is given do not change but by their ramp, which is smooth.
        before, after = (self.boundary.at(state.time + lag) for lag in (0.0, self.dt))
        sides = jax.tree.map(lambda first, second: (second - first) / self.dt, before, after)
        pressure, push = self._potential(with_sides(rates, sides, self.grid))
        return pressure, stress, push

    def _potential(self, velocity: Velocity) -> tuple[Array, Velocity]:
        """Whose gradient holds the divergence of a velocity, and that gradient."""
        if self.body is not None:
            velocity = self.body.opened(velocity)
        missing = -self.divergence(velocity)
        potential = pressure_of(missing, self.body, self.fast, self.grid, self.holds)
        return potential, gradient(potential, self.grid, self.holds)

    def _continued(self, velocity: Velocity) -> Velocity:
        return velocity if self.body is None else self.body.continued(velocity)

    def _stress(self, velocity: Velocity, time: Array) -> Velocity:
        """What momentum carried and friction do."""
        planes, viscosity = self.boundary.at(time), self.equation.viscosity
        return momentum_rate(velocity, planes, viscosity, self.grid, self.interpolation)

    def _with_forces(self, rates: Velocity, state: Flow) -> Velocity:
        if self.forces is not None:
            rates = tuple(r + f for r, f in zip(rates, self.forces, strict=True))
        drag = self.equation.drag
        if drag is not None:
            rates = tuple(r - drag * u for r, u in zip(rates, state.velocity, strict=True))
        push = self.buoyancy(state.marker)
        if push is None:
            return rates
        return tuple(r + f for r, f in zip(rates, push, strict=True))

    def buoyancy(self, marker: Array | None) -> Velocity | None:
        """The acceleration of the faces by the buoyancy of a marker, the mean of two cells."""
        if marker is None or self.equation.buoyancy is None:
            return None
        vector = jnp.broadcast_to(self.equation.buoyancy, (self.grid.ndim,))
        return self.grid.to_faces(vector.reshape(-1, *[1] * self.grid.ndim) * marker)

    def check_state(self, state: Flow) -> None:
        """Refuse a state of other shapes, or with values that are not finite."""
        check_flow(state, self.grid)

    @eqx.filter_jit
    def largest_dt(self, state: Flow) -> Array | float:
        """The largest stable dt about a state, and about the velocities given on the sides. The
        diffusivity counts where the state has a marker."""
        advective, smallest = jnp.zeros(()), [float(h.min()) for h in self.grid.widths]
        planes = self.boundary.at(state.time)
        cells = jnp.abs(self.grid.to_cells(state.velocity))
        for axis, h in enumerate(self.grid.widths):
            rate = jnp.max(cells[axis] / line(h, axis, self.grid))
            for pair in planes:
                for plane in pair or ():
                    given = plane[axis]
                    if given is not None:
                        rate = jnp.maximum(rate, jnp.max(jnp.abs(given)) / float(h.max()))
            advective = advective + rate
        decay = decay_rate(self.equation.viscosity, smallest)
        if self.equation.drag is not None:
            decay = decay + self.equation.drag
        if state.marker is not None:
            decay = jnp.maximum(decay, decay_rate(self.equation.diffusivity, smallest))
        return self.scheme.largest_dt(advective, decay)

    def channels(self, state: Flow) -> Float[Array, "channels *cells"]:
        """The velocity in the cells, and the marker after it."""
        velocity = self.grid.to_cells(state.velocity)
        return velocity if state.marker is None else jnp.append(velocity, state.marker[None], 0)

    def corrected(self, state: Flow, change: Float[Array, "channels *cells"]) -> Flow:
        """The flow plus a change of its channels, freed of its divergence."""
        ndim = self.grid.ndim
        faces = self.grid.to_faces(change[:ndim].astype(self.grid.dtype))
        velocity = tuple(u + du for u, du in zip(state.velocity, faces, strict=True))
        marker = state.marker
        if marker is not None:
            marker = marker + change[ndim].astype(marker.dtype)
        return Flow(self.projected(velocity, state.time)[0], state.time, marker)

    def equation_and_field(
        self, states: Flow, times: Float[Array, " times"], degree: int = 4
    ) -> tuple[IncompressibleFlow, Interpolant]:
        """The equation, and the field of velocity, pressure and, with buoyancy, marker in the
        cells. Raises ValueError where there is a body, at whose surface fields have a kink."""
        if self.body is not None:
            raise ValueError("a flow about a body is not smooth: its residual takes no interpolant")

        def values(state: Flow) -> Array:
            parts = [self.grid.to_cells(state.velocity), self.pressure(state)[None]]
            if state.marker is not None and self.equation.buoyancy is not None:
                parts.append(state.marker[None])
            return jnp.concatenate(parts)

        judged = eqx.filter_jit(lambda flows: jax.lax.map(values, flows))(states)
        return self.equation, interpolate(self.grid, judged, times, degree)

    @property
    def surface_faces(self) -> int:
        """Faces that the body's surface cuts or closes; of a traced body those with space."""
        if self.body is None:
            return 0
        roots = self.body.roots
        return np.count_nonzero(roots) if checks.is_concrete(roots) else len(roots)


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
    of the marker, where there is one."""
    advective = sum(speed / h for speed, h in zip(speeds, widths, strict=True))
    coefficient = viscosity if diffusivity is None else jnp.maximum(viscosity, diffusivity)
    # Velocity and marker do not add up: each is carried at the same speed, decays on its own.
    return scheme.largest_dt(advective, decay_rate(coefficient, widths))


def decay_rate(coefficient: Array | float, widths: Sequence[float]) -> Array | float:
    """Of the shortest wave on cells of given widths, under diffusion by a coefficient."""
    return sum(4 * coefficient / h**2 for h in widths)


def incompressible(
    equation: IncompressibleFlow,
    grid: Cells,
    dt: ArrayLike,
    sides: Sides | None = None,
    *,
    body: Shape | None = None,
    max_cut_faces: int | None = None,
    scheme: Scheme = rk3,
    interpolation: Interpolation = central,
    marker_source: FieldLike | None = None,
) -> IncompressibleStep:
    """The step of incompressible flow in a box with walls, inflow, outflow and a body.

    **Arguments:**

    - `equation`: viscosity, force, buoyancy; its parameters are differentiable.
    - `grid`: staggered, equidistant or graded.
    - `dt`: > 0.
    - `sides`: one entry per axis, a pair of sides (`wall()`, `slip()`, `inflow(..)`, `outflow()`),
      one for both, or None for a periodic axis; walls by default.
    - `body`: a signed distance, negative inside; the fluid sticks to it. Gradients reach its
      parameters.
    - `max_cut_faces`: where the shape is traced, how many faces it may cut (see `immersed`). A
      fixed shape needs none, also inside jit.
    - `scheme`: `time.rk3`, `time.rk4`, or `time.adams_bashforth` at a third of the cost a step.
    - `interpolation`: of the velocity that is carried: `central` (keeps energy) or `limited`
      (bounded at fronts).
    - `marker_source`: of the marker, a unit of time: a function of the point, or an array.

    **Raises:** ValueError for a dt that is not positive, inflow that does not balance outflow in a
    box without an `outflow()`, or a body that the grid does not resolve. Warns of parts of a body
    thinner than two cells.
    """
    checks.positive("dt", dt)
    boundary = Boundary(sides, grid)
    holds = [boundary.holds(axis) for axis in range(grid.ndim)]
    with jax.ensure_compile_time_eval():  # the grid is known, also where jit traces the rest
        fast = FastSolver(grid, [(not lower, not upper) for lower, upper in holds])
    bounded = interpolation is limited
    inside = None if body is None else immersed(body, grid, fast, max_cut_faces, bounded)
    forces = None if equation.forcing is None else grid.velocity(equation.forcing)
    source = None if marker_source is None else grid.scalar(marker_source)
    return IncompressibleStep(
        equation,
        grid,
        jnp.asarray(dt, grid.dtype),
        boundary,
        fast,
        inside,
        forces,
        source,
        scheme,
        interpolation,
    )
