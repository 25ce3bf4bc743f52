"""Incompressible flow with implicit diffusion: steps as large as what is carried allows.

    3/2 u* - 2 u(t) + 1/2 u(t - dt) = dt (2 N(t) - N(t - dt) + viscosity lap u* - grad p(t))
    u(t + dt) = u* - grad q,  div u(t + dt) = 0,  p(t + dt) = p(t) + 3/2 q / dt - viscosity div u*

N is all but pressure and diffusion. Velocity and scalars of second order in time; a steady flow is
that of `incompressible`, whatever dt. Source: Timmermans, Minev and Van de Vosse, Int. J. Numer.
Meth. Fluids 22 (1996) 673; Guermond and Shen, Math. Comput. 73 (2004) 1719.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.helmholtz import Helmholtz
from jaxpbdl.grids.location import cell, face
from jaxpbdl.grids.operators import Ends
from jaxpbdl.solvers.flow.closures import closure_decay
from jaxpbdl.solvers.flow.conditions import OnSide
from jaxpbdl.solvers.flow.diffusion import velocity_laplacian
from jaxpbdl.solvers.flow.limits import buoyancy_frequency, crossing_rate
from jaxpbdl.solvers.flow.operators import with_sides
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.scalars import scalar_diffusion
from jaxpbdl.solvers.flow.sides import Boundary
from jaxpbdl.solvers.flow.state import Flow, Rates
from jaxpbdl.solvers.flow.step_of_flow import StepOfFlow
from jaxpbdl.solvers.time.backward_difference import StiffSystem, backward_difference
from jaxpbdl.solvers.time.scheme import check_inputs


class Pressed(NamedTuple):
    """A flow and its pressure over density."""

    flow: Flow
    pressure: Float[Array, "*cells"]


class SemiImplicitStep(StepOfFlow):
    """One step of a flow with implicit diffusion; created by `semi_implicit`.

    Its working variables hold the pressure and the step before: a rollout is of second order, a
    single step of first.

    **Attributes:** `flow`: equation, grid, dt, sides and forces; `viscous`, `diffusive`: the
    solvers of each component, and of each scalar.
    """

    flow: IncompressibleStep
    viscous: tuple[Helmholtz, ...]
    diffusive: dict[str, Helmholtz]

    def system(self) -> StiffSystem:
        """Velocity, time and scalars; the pressure is taken on."""
        return StiffSystem(self.rates, carried_part, self.solve, self.flow.dt)

    def enter(self, state: Flow) -> PyTree:
        pressed = Pressed(state, self.flow.pressure(state))
        return backward_difference.start(pressed, self.system())

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        check_inputs(backward_difference, inputs)
        return backward_difference.advance(working, self.system())

    def leave(self, working: PyTree) -> Flow:
        return backward_difference.current(working).flow

    def rates(self, state: Pressed) -> Rates:
        """How fast velocity and scalars change but for pressure and diffusion."""
        return _without_diffusion(self.flow).rates(state.flow)

    def solve(self, right: Rates, level: Array, state: Pressed) -> Pressed:
        """The next flow and pressure, of a step with the given right side."""
        flow, dt, grid = self.flow, self.flow.dt, self.grid
        time, viscosity = right.time / level, self.equation.viscosity
        planes = flow.boundary.at(time)
        # The change from a velocity that has the sides' values already: of it they are zero.
        guess = with_sides(state.flow.velocity, planes, grid)
        spread = velocity_laplacian(guess, ends_of(flow.boundary, time, grid), grid, flow.holds)
        push = flow.pressure_gradient(state.pressure)
        velocity = tuple(
            u + solver(r - level * u + dt * (viscosity * lap - slope), level, dt * viscosity)
            for u, r, lap, slope, solver in zip(
                guess, right.velocity, spread, push, self.viscous, strict=True
            )
        )
        lost = viscosity * flow.divergence(velocity) / grid.volumes
        clean, potential = flow.projected(velocity, time)
        pressure = state.pressure + level / dt * potential - lost
        scalars = {
            name: self._diffused(name, values, right.scalars[name], level, time)
            for name, values in state.flow.scalars.items()
        }
        return Pressed(Flow(clean, time, scalars), pressure)

    def _diffused(self, name: str, values: Array, right: Array, level: Array, time: Array) -> Array:
        amount = self.flow.dt * self.equation.scalars[name].diffusivity
        # Fluxes through the sides are among the explicit rates.
        sides = [
            (OnSide(value=low.value), OnSide(value=high.value))
            for low, high in self.flow.scalar_sides(name, time)
        ]
        spread = scalar_diffusion(values, amount, sides, self.grid)
        return values + self.diffusive[name](right - level * values + spread, level, amount)

    @eqx.filter_jit
    def largest_dt(self, state: Flow) -> Array | float:
        """The largest stable dt about a state: of what is carried, buoyancy, drag and a closure,
        which is explicit."""
        planes = self.flow.boundary.at(state.time)
        rate = crossing_rate(state.velocity, planes, self.grid)
        rate = rate + buoyancy_frequency(state.scalars, self.equation, self.grid)
        drag = 0.0 if self.equation.drag is None else self.equation.drag
        closing = closure_decay(self.flow.closure, state.velocity, planes, self.grid)
        return backward_difference.largest_dt(rate, drag + closing)


def carried_part(state: Pressed) -> Rates:
    """What the rates change."""
    return Rates(*state.flow)


def _without_diffusion(flow: IncompressibleStep) -> IncompressibleStep:
    scalars = {
        name: eqx.tree_at(lambda s: s.diffusivity, one, jnp.zeros_like(one.diffusivity))
        for name, one in flow.equation.scalars.items()
    }
    equation = eqx.tree_at(
        lambda e: (e.viscosity, e.scalars),
        flow.equation,
        (jnp.zeros_like(flow.equation.viscosity), scalars),
    )
    return eqx.tree_at(lambda step: step.equation, flow, equation)


def ends_of(boundary: Boundary, time: Array, grid: Cells) -> list[list[Ends]]:
    """What is given of each component on the sides of each axis."""
    planes = boundary.at(time)
    found: list[list[Ends]] = []
    for component in range(grid.ndim):
        pairs: list[Ends] = []
        for pair in planes:
            low, high = (None, None) if pair is None else pair
            pairs.append(tuple(None if p is None else p[component] for p in (low, high)))  # type: ignore[arg-type]
        found.append(pairs)
    return found


def semi_implicit(flow: IncompressibleStep) -> SemiImplicitStep:
    """The step of a flow whose viscosity and diffusivities set no limit to dt.

        step = semi_implicit(incompressible(equation, grid, dt, sides))

    Diffusion is solved for directly, by the eigenvectors of each axis; everything else is as
    `incompressible` has it, the scheme in time apart, which is `time.backward_difference`. It takes
    no inputs.

    **Raises:** ValueError for a flow with a body: the directions of an open box are not those of
    one with a body in it.
    """
    if flow.body is not None:
        raise ValueError("semi_implicit takes no flow with a body: use `incompressible` alone")
    grid = flow.grid
    with jax.ensure_compile_time_eval():
        viscous = tuple(
            Helmholtz(grid, face(component), _held(flow.boundary, component, grid))
            for component in range(grid.ndim)
        )
        diffusive = {
            name: Helmholtz(grid, cell, _scalar_held(flow, name))
            for name in flow.equation.scalar_names
        }
    return SemiImplicitStep(flow, viscous, diffusive)


def _held(boundary: Boundary, component: int, grid: Cells) -> list[tuple[bool, bool]]:
    """For each axis whether a component of the velocity is given on its sides."""
    found = []
    for axis in range(grid.ndim):
        pair = boundary.sides[axis]
        given = (
            []
            if pair is None
            else [side.crossing if axis == component else side.sticking for side in pair]
        )
        found.append(tuple(given) if given else (False, False))
    return found


def _scalar_held(flow: IncompressibleStep, name: str) -> list[tuple[bool, bool]]:
    sides = flow.scalar_sides(name, jnp.zeros((), flow.grid.dtype))
    return [(low.value is not None, high.value is not None) for low, high in sides]
