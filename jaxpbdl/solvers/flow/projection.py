"""The step of incompressible flow on a staggered grid, projected after every evaluation.

    du/dt = -div(u u) + viscosity lap u + force - grad p,   div u = 0
    ds/dt = -div(u s) + diffusivity lap s + source          for each scalar s

Second order in space, third in time.
"""

from collections.abc import Callable, Mapping, Sequence

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
from jaxpbdl.grids.operators import Velocity, divergence, gradient
from jaxpbdl.grids.poisson import FastSolver
from jaxpbdl.solvers.flow.bodies import Body, pressure_of
from jaxpbdl.solvers.flow.body_scalars import HeldOnBody
from jaxpbdl.solvers.flow.closures import Closure, closure_decay
from jaxpbdl.solvers.flow.conditions import OnSide
from jaxpbdl.solvers.flow.limits import buoyancy_frequency, crossing_rate, fastest_decay
from jaxpbdl.solvers.flow.operators import (
    Interpolation,
    momentum_rate,
    with_sides,
)
from jaxpbdl.solvers.flow.scalars import scalar_rate
from jaxpbdl.solvers.flow.shared import Carried, FlowBlocks, buoyancy_on_faces, reach_of
from jaxpbdl.solvers.flow.sides import Boundary
from jaxpbdl.solvers.flow.state import Flow, Rates, check_flow, known_scalars
from jaxpbdl.solvers.time.scheme import Scheme, System, check_inputs
from jaxpbdl.step import Step

StateForce = Callable[[Flow], Array | Velocity]
"""From a state to an acceleration: a vector in the cells, (dim, *cells), or its components on their
faces."""


class IncompressibleStep(Step):
    """One step of incompressible flow; created by `incompressible`.

    An input is an acceleration of the fluid, held over the step: a vector for all of it, or one
    array for each component on its faces.
    """

    trainable_fields = ("closure",)

    equation: IncompressibleFlow
    grid: Cells
    dt: Array
    boundary: Boundary
    fast: FastSolver
    body: Body | None
    forces: Velocity | None
    force: StateForce | None
    sources: dict[str, Array]
    on_body: dict[str, HeldOnBody]
    scheme: Scheme
    interpolation: Interpolation
    scalar_interpolation: Interpolation
    blocks: FlowBlocks | None = None
    closure: Closure | None = None

    @property
    def holds(self) -> tuple[tuple[bool, bool], ...]:
        return tuple(self.boundary.holds(axis) for axis in range(self.grid.ndim))

    def start(
        self, velocity: FieldLike | None = None, *, time: float = 0.0, **scalars: FieldLike
    ) -> Flow:
        """A state: a velocity (a function `point -> velocity`, constants, or arrays on the faces;
        rest by default) fitted to the sides and the body and freed of its divergence, and the
        scalars by their names (a function of the point, a constant or an array in the cells; zero
        by default)."""
        grid = self.grid
        if isinstance(velocity, tuple) and all(jnp.ndim(u) == grid.ndim for u in velocity):
            u = tuple(jnp.asarray(part, grid.dtype) for part in velocity)
        else:
            u = grid.velocity(velocity)
        now = jnp.asarray(time, grid.dtype)
        known_scalars("start", scalars, self.equation)
        values = {name: grid.scalar(scalars.get(name, 0.0)) for name in self.equation.scalar_names}
        return Flow(eqx.filter_jit(type(self).projected)(self, u, now)[0], now, values)

    @property
    def interval(self) -> Array:
        return self.dt

    def system(self, push: Sequence[ArrayLike] | Array | None = None) -> System:
        """Momentum and scalars but for the pressure, which `moved` takes care of."""
        return System(lambda flow: self.rates(flow, push), self.dt, self.moved)

    def enter(self, state: Flow) -> PyTree:
        return self.scheme.start(state, self.system())

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        check_inputs(self.scheme, inputs)
        return self.scheme.advance(working, self.system(*inputs))

    def leave(self, working: PyTree) -> Flow:
        return self.scheme.current(working)

    def rates(self, flow: Flow, push: Sequence[ArrayLike] | Array | None = None) -> Rates:
        """How fast velocity and scalars change but for the pressure, with an acceleration."""
        carried = self._carried(flow)
        rates = _pushed(self._with_forces(carried, flow), push)
        scalars = {
            name: rate + self.sources[name] if name in self.sources else rate
            for name, rate in carried.scalars.items()
        }
        return Rates(rates, jnp.ones_like(flow.time), scalars)

    def _carried(self, flow: Flow) -> Carried:
        """What the stencils give, the closure included."""
        carried = self._without_closure(flow)
        if self.closure is None:
            return carried
        closing = self.closure(flow.velocity, self.boundary.at(flow.time), self.grid)
        return carried._replace(momentum=_pushed(carried.momentum, closing))

    def _without_closure(self, flow: Flow) -> Carried:
        inside, equation = self._continued(flow.velocity), self.equation
        planes = self.boundary.at(flow.time)
        schemes = self.interpolation, self.scalar_interpolation
        if self.blocks is not None and None not in map(reach_of, schemes):
            sides = {name: self.scalar_sides(name, flow.time) for name in flow.scalars}
            return self.blocks.carried(equation, inside, flow.scalars, planes, sides, *schemes)
        rates = momentum_rate(inside, planes, equation.viscosity, self.grid, self.interpolation)
        return Carried(
            _pushed(rates, self.restored(inside)),
            {name: self._scalar_rate(name, flow, inside) for name in flow.scalars},
            self.buoyancy(flow.scalars),
        )

    def scalar_sides(self, name: str, time: Array) -> list[tuple[OnSide, OnSide]]:
        """What is given of a scalar on the sides of each axis at a time."""
        return self.boundary.scalars[name].at(time)

    def _scalar_rate(self, name: str, flow: Flow, inside: Velocity) -> Array:
        """`inside`: the velocity, continued into the body."""
        values, sides = flow.scalars[name], self.scalar_sides(name, flow.time)
        diffusivity, grid = self.equation.scalars[name].diffusivity, self.grid
        on_body, body = self.on_body.get(name), self.body
        if on_body is not None:
            values, body = on_body.continued(values), None
        rate = scalar_rate(
            values, inside, diffusivity, sides, grid, self.scalar_interpolation, body
        )
        if on_body is not None:
            rate = on_body.outside(rate, values, inside, grid)
        return rate

    def moved(self, flow: Flow, change: Rates) -> Flow:
        """The flow plus a change, projected."""
        velocity = tuple(u + du for u, du in zip(flow.velocity, change.velocity, strict=True))
        time = flow.time + change.time
        scalars = {name: values + change.scalars[name] for name, values in flow.scalars.items()}
        return Flow(self.projected(velocity, time)[0], time, scalars)

    def projected(self, velocity: Velocity, time: Array) -> tuple[Velocity, Array]:
        """The velocity with its sides as given and without divergence, and the potential whose
        gradient that took."""
        velocity = with_sides(velocity, self.boundary.at(time), self.grid)
        potential, push = self._potential(velocity)
        clean = tuple(u - slope for u, slope in zip(velocity, push, strict=True))
        return clean if self.body is None else self.body.opened(clean), potential

    def divergence(self, velocity: Velocity) -> Float[Array, "*cells"]:
        """Volume that leaves each cell a unit of time, through the open part of its faces."""
        if self.blocks is not None:
            return self.blocks.divergence(velocity)
        if self.body is not None:
            velocity = self.body.weighted(velocity)
        return divergence(velocity, self.grid)

    def pressure(self, state: Flow) -> Float[Array, "*cells"]:
        """Pressure over density at a state, zero at an outflow, of mean zero in a closed box."""
        return self.balance(state)[0]

    def balance(
        self, state: Flow, push: Sequence[ArrayLike] | Array | None = None
    ) -> tuple[Array, Velocity, Velocity]:
        """Pressure, what the stencils give as the rate of change without it and without forces,
        and its gradient, at a state that is pushed by an acceleration (an input of the step)."""
        carried = self._carried(state)
        rates = _pushed(self._with_forces(carried, state), push)
        # Sides whose velocity is given do not change but by their ramp, which is smooth.
        before, after = (self.boundary.at(state.time + lag) for lag in (0.0, self.dt))
        sides = jax.tree.map(lambda first, second: (second - first) / self.dt, before, after)
        pressure, push = self._potential(with_sides(rates, sides, self.grid))
        return pressure, carried.momentum, push

    def _potential(self, velocity: Velocity) -> tuple[Array, Velocity]:
        """Whose gradient holds the divergence of a velocity, and that gradient."""
        if self.body is not None:
            velocity = self.body.opened(velocity)
        missing = -self.divergence(velocity)
        potential = pressure_of(missing, self.body, self.fast, self.grid, self.holds)
        return potential, self.pressure_gradient(potential)

    def pressure_gradient(self, pressure: Array) -> Velocity:
        """On the faces, zero on sides where the velocity is given."""
        if self.blocks is not None:
            return self.blocks.gradient(pressure, self.holds)
        return gradient(pressure, self.grid, self.holds)

    def _continued(self, velocity: Velocity) -> Velocity:
        return velocity if self.body is None else self.body.continued(velocity)

    def restored(self, velocity: Velocity) -> Velocity | None:
        """What a sliding surface restores of the momentum of a continued velocity."""
        return None if self.body is None else self.body.restored(velocity, self.grid)

    def _with_forces(self, carried: Carried, state: Flow) -> Velocity:
        rates = _pushed(carried.momentum, self.forces)
        drag = self.equation.drag
        if drag is not None:
            rates = tuple(r - drag * u for r, u in zip(rates, state.velocity, strict=True))
        rates = _pushed(rates, carried.buoyancy)
        return _pushed(rates, self._state_force(state))

    def buoyancy(self, scalars: Mapping[str, Array]) -> Velocity | None:
        """The acceleration of the faces by the buoyancy of scalars, the mean of two cells."""
        return buoyancy_on_faces(scalars, self.equation, self.grid)

    def _state_force(self, state: Flow) -> Velocity | None:
        if self.force is None:
            return None
        push = self.force(state)
        return push if isinstance(push, tuple) else self.grid.to_faces(push)

    def check_state(self, state: Flow) -> None:
        """Refuse a state of other shapes, or with values that are not finite."""
        check_flow(state, self.grid, self.equation.scalar_names)

    @eqx.filter_jit
    def largest_dt(self, state: Flow) -> Array | float:
        """The largest stable dt about a state, and about the velocities given on the sides and on
        surfaces that slide."""
        planes = self.boundary.at(state.time)
        oscillation = crossing_rate(state.velocity, planes, self.grid)
        if self.body is not None and self.body.walls is not None:
            speeds = [jnp.max(jnp.abs(wall)) for wall in self.body.walls]
            turning = sum(s / float(h.min()) for s, h in zip(speeds, self.grid.widths, strict=True))
            oscillation = jnp.maximum(oscillation, turning)
        oscillation = oscillation + buoyancy_frequency(state.scalars, self.equation, self.grid)
        closing = closure_decay(self.closure, state.velocity, planes, self.grid)
        decay = fastest_decay(self.equation, self.grid, closing)
        return self.scheme.largest_dt(oscillation, decay)

    def channels(self, state: Flow) -> Float[Array, "channels *cells"]:
        """The velocity in the cells, and the scalars after it in alphabetical order."""
        scalars = [state.scalars[name][None] for name in sorted(state.scalars)]
        return jnp.concatenate([self.grid.to_cells(state.velocity), *scalars])

    def corrected(self, state: Flow, change: Float[Array, "channels *cells"]) -> Flow:
        """The flow plus a change of its channels, freed of its divergence."""
        ndim = self.grid.ndim
        faces = self.grid.to_faces(change[:ndim].astype(self.grid.dtype))
        velocity = tuple(u + du for u, du in zip(state.velocity, faces, strict=True))
        scalars = {
            name: state.scalars[name] + change[place].astype(self.grid.dtype)
            for place, name in enumerate(sorted(state.scalars), ndim)
        }
        return Flow(self.projected(velocity, state.time)[0], state.time, scalars)

    def equation_and_field(
        self, states: Flow, times: Float[Array, " times"], degree: int = 4
    ) -> tuple[IncompressibleFlow, Interpolant]:
        """The equation, and the field of velocity, pressure and scalars in the cells. Raises
        ValueError where there is a body, at whose surface fields have a kink, and for sources and
        forces that are not the equation's, a closure among them."""
        if self.body is not None:
            raise ValueError("a flow about a body is not smooth: its residual takes no interpolant")
        if self.sources or self.force is not None or self.closure is not None:
            raise ValueError(
                "the equation does not know the `sources`, `force` and `closure` of the step"
            )

        def values(state: Flow) -> Array:
            parts = [self.grid.to_cells(state.velocity), self.pressure(state)[None]]
            parts.extend(state.scalars[name][None] for name in sorted(state.scalars))
            return jnp.concatenate(parts)

        judged = eqx.filter_jit(lambda flows: jax.lax.map(values, flows))(states)
        return self.equation, interpolate(self.grid, judged, times, degree)

    @property
    def surface_faces(self) -> int:
        """Faces that the body's surface cuts or closes; of a traced body those with space."""
        if self.body is None:
            return 0
        roots = self.body.roots
        return int(np.count_nonzero(roots)) if checks.is_concrete(roots) else len(roots)


def _pushed(rates: Velocity, push: Sequence[ArrayLike] | Array | None) -> Velocity:
    """Rates with an acceleration, if there is one."""
    if push is None:
        return rates
    return tuple(rate + push[axis] for axis, rate in enumerate(rates))
