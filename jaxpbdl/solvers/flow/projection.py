"""The step of incompressible flow on a staggered grid, projected after every evaluation.

    du/dt = -div(u u) + viscosity lap u + force - grad p,   div u = 0
    ds/dt = -div(u s) + diffusivity lap s + source          for each scalar s

Second order in space, third in time.
"""

import dataclasses
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
from jaxpbdl.solvers.flow.conditions import OnSide
from jaxpbdl.solvers.flow.limits import buoyancy_frequency, crossing_rate, fastest_decay
from jaxpbdl.solvers.flow.moving_bodies import MovingBody, SlidingBody
from jaxpbdl.solvers.flow.operators import (
    Interpolation,
    momentum_rate,
    with_sides,
)
from jaxpbdl.solvers.flow.scalars import scalar_rate
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

    trainable_fields = ()

    equation: IncompressibleFlow
    grid: Cells
    dt: Array
    boundary: Boundary
    fast: FastSolver
    body: Body | SlidingBody | MovingBody | None
    forces: Velocity | None
    force: StateForce | None
    sources: dict[str, Array]
    on_body: dict[str, HeldOnBody]
    scheme: Scheme
    interpolation: Interpolation
    scalar_interpolation: Interpolation

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
        return self.scheme.start(self._entered(state), self.system())

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        check_inputs(self.scheme, inputs)
        return self.scheme.advance(working, self.system(*inputs))

    def leave(self, working: PyTree) -> Flow:
        state = self.scheme.current(working)
        if not isinstance(self.body, MovingBody):
            return state
        return state._replace(velocity=self.body.at(state.time).opened(state.velocity))

    def _entered(self, state: Flow) -> Flow:
        """Between stages the velocity is continued into a body that moves: faces that open until
        the next stage start from there."""
        if not isinstance(self.body, MovingBody):
            return state
        return state._replace(velocity=self.body.at(state.time).continued(state.velocity))

    def rates(self, flow: Flow, push: Sequence[ArrayLike] | Array | None = None) -> Rates:
        """How fast velocity and scalars change but for the pressure, with an acceleration."""
        body = self._body(flow.time)
        inside = flow.velocity if body is None else body.continued(flow.velocity)
        rates = self._with_forces(
            _corrected(self._stress(inside, flow.time), inside, body, self.grid), flow
        )
        if push is not None:
            rates = tuple(rate + push[axis] for axis, rate in enumerate(rates))
        scalars = {name: self._scalar_rate(name, flow, inside, body) for name in flow.scalars}
        return Rates(rates, jnp.ones_like(flow.time), scalars)

    def scalar_sides(self, name: str, time: Array) -> list[tuple[OnSide, OnSide]]:
        """What is given of a scalar on the sides of each axis at a time."""
        return self.boundary.scalars[name].at(time)

    def _scalar_rate(self, name: str, flow: Flow, inside: Velocity, body: Body | None) -> Array:
        """`inside`: the velocity, continued into the body."""
        values, sides = flow.scalars[name], self.scalar_sides(name, flow.time)
        diffusivity, grid = self.equation.scalars[name].diffusivity, self.grid
        on_body = self.on_body.get(name)
        if on_body is not None:
            values, body = on_body.continued(values), None
        rate = scalar_rate(
            values, inside, diffusivity, sides, grid, self.scalar_interpolation, body
        )
        if on_body is not None:
            rate = on_body.outside(rate, values, inside, grid)
        return rate + self.sources[name] if name in self.sources else rate

    def moved(self, flow: Flow, change: Rates) -> Flow:
        """The flow plus a change, projected."""
        velocity = tuple(u + du for u, du in zip(flow.velocity, change.velocity, strict=True))
        time = flow.time + change.time
        scalars = {name: values + change.scalars[name] for name, values in flow.scalars.items()}
        body = self._body(time)
        velocity = self._freed(velocity, time, body)[0]
        if body is not None and body.moves:
            velocity = body.continued(velocity)
        return Flow(velocity, time, scalars)

    def projected(self, velocity: Velocity, time: Array) -> tuple[Velocity, Array]:
        """The velocity with its sides and bodies as given at a time and without divergence, and the
        potential whose gradient that took."""
        return self._freed(velocity, time, self._body(time))

    def _freed(self, velocity: Velocity, time: Array, body: Body | None) -> tuple[Velocity, Array]:
        velocity = with_sides(velocity, self.boundary.at(time), self.grid)
        potential, push = self._potential(velocity, body)
        clean = tuple(u - slope for u, slope in zip(velocity, push, strict=True))
        return clean if body is None else body.opened(clean), potential

    def divergence(self, velocity: Velocity, time: ArrayLike = 0.0) -> Float[Array, "*cells"]:
        """Volume that leaves each cell a unit of time, through the open part of its faces and with
        the body, as that is at a time."""
        body = self._body(jnp.asarray(time, self.grid.dtype))
        return (
            divergence(velocity, self.grid) if body is None else body.outflow(velocity, self.grid)
        )

    def pressure(self, state: Flow) -> Float[Array, "*cells"]:
        """Pressure over density at a state, zero at an outflow, of mean zero in a closed box."""
        return self.balance(state)[0]

    def balance(self, state: Flow) -> tuple[Array, Velocity, Velocity]:
        """Pressure, what the stencils give as the rate of change without it and without forces,
        and its gradient."""
        body = self._body(state.time)
        inside = state.velocity if body is None else body.continued(state.velocity)
        stress = self._stress(inside, state.time)
        rates = self._with_forces(_corrected(stress, inside, body, self.grid), state)
        # Sides whose velocity is given do not change but by their ramp, which is smooth.
        before, after = (self.boundary.at(state.time + lag) for lag in (0.0, self.dt))
        sides = jax.tree.map(lambda first, second: (second - first) / self.dt, before, after)
        if body is not None and isinstance(self.body, MovingBody):
            body = dataclasses.replace(body, walls=self.body.accelerations(state.time))
        pressure, push = self._potential(with_sides(rates, sides, self.grid), body)
        return pressure, stress, push

    def _body(self, time: Array) -> Body | None:
        return None if self.body is None else self.body.at(time)

    def _potential(self, velocity: Velocity, body: Body | None) -> tuple[Array, Velocity]:
        """Whose gradient holds the divergence of a velocity, and that gradient."""
        if body is None:
            missing = -divergence(velocity, self.grid)
        else:
            missing = -body.outflow(body.opened(velocity), self.grid)
        potential = pressure_of(missing, body, self.fast, self.grid, self.holds)
        return potential, self.pressure_gradient(potential)

    def pressure_gradient(self, pressure: Array) -> Velocity:
        """On the faces, zero on sides where the velocity is given."""
        return gradient(pressure, self.grid, self.holds)

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
        for push in (self.buoyancy(state.scalars), self._state_force(state)):
            if push is not None:
                rates = tuple(r + f for r, f in zip(rates, push, strict=True))
        return rates

    def buoyancy(self, scalars: Mapping[str, Array]) -> Velocity | None:
        """The acceleration of the faces by the buoyancy of scalars, the mean of two cells."""
        total = None
        for name, values in scalars.items():
            one = self.equation.scalars[name]
            if one.buoyancy is not None:
                vector = jnp.broadcast_to(one.buoyancy, (self.grid.ndim,))
                push = vector.reshape(-1, *[1] * self.grid.ndim) * (values - one.reference)
                total = push if total is None else total + push
        return None if total is None else self.grid.to_faces(total)

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
        """The largest stable dt about a state, and about the velocities given on the sides."""
        planes = self.boundary.at(state.time)
        oscillation = crossing_rate(state.velocity, planes, self.grid)
        oscillation = oscillation + buoyancy_frequency(state.scalars, self.equation, self.grid)
        return self.scheme.largest_dt(oscillation, fastest_decay(self.equation, self.grid))

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
        forces that are not the equation's."""
        if self.body is not None:
            raise ValueError("a flow about a body is not smooth: its residual takes no interpolant")
        if self.sources or self.force is not None:
            raise ValueError("the equation does not know the `sources` and `force` of the step")

        def values(state: Flow) -> Array:
            parts = [self.grid.to_cells(state.velocity), self.pressure(state)[None]]
            parts.extend(state.scalars[name][None] for name in sorted(state.scalars))
            return jnp.concatenate(parts)

        judged = eqx.filter_jit(lambda flows: jax.lax.map(values, flows))(states)
        return self.equation, interpolate(self.grid, judged, times, degree)

    @property
    def surface_faces(self) -> int:
        """Faces that the body's surface cuts or closes; of a traced or moving body those with
        space."""
        if self.body is None:
            return 0
        if isinstance(self.body, MovingBody):
            return self.body.capacity
        roots = (self.body if isinstance(self.body, Body) else self.body.fixed).roots
        return int(np.count_nonzero(roots)) if checks.is_concrete(roots) else len(roots)


def _corrected(rates: Velocity, velocity: Velocity, body: Body | None, grid: Cells) -> Velocity:
    """The rates of the fluid, without what the divergence of the continued velocity brings in."""
    spurious = None if body is None else body.unbrought(velocity, grid)
    if spurious is None:
        return rates
    return tuple(rate + extra for rate, extra in zip(rates, spurious, strict=True))
