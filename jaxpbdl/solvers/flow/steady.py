"""The steady state of a flow by Newton's method, with derivatives of the steady state itself.

A steady flow is one that a step with implicit diffusion leaves as it is, its pressure included: the
root of `step(x) - x`. The step is to Newton's linear equations what a preconditioner is: diffusion
and pressure are solved for in it, so that Krylov's method is left with what the flow carries
(Tuckerman and Barkley, in: Numerical Methods for Bifurcation Problems, Springer 2000, 453). The
root does not depend on dt.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.solvers.flow.semi_implicit import Pressed, SemiImplicitStep, carried_part
from jaxpbdl.solvers.flow.state import Flow
from jaxpbdl.solvers.krylov import gmres, implicit_root
from jaxpbdl.solvers.time.scheme import combined

FORCING = 1e-2
"""Accuracy of the linear equations of a Newton step."""


def steady(
    step: SemiImplicitStep,
    start: Flow,
    *,
    tolerance: float = 1e-5,
    iterations: int = 20,
    krylov: int = 100,
) -> Flow:
    """The steady flow near a start. Derivatives follow from the implicit function theorem: one more
    linear solution, whatever the way to the root.

    **Arguments:**

    - `step`: made by `semi_implicit`. Its dt is that of the preconditioner, and may be above the
      stability limit of a rollout.
    - `start`: a state not too far from the steady one, such as that of a smaller Reynolds number:
      Newton's method shortens steps that make things worse, but has no other strategy.
    - `tolerance`: of what a step still changes, over the norm of velocity, pressure and scalars; of
      the linear equations of a derivative, relative. Some thousand roundings or more.
    - `iterations`: of Newton's method, at most.
    - `krylov`: vectors of GMRES between restarts; memory grows with them, and a flow that carries
      much needs them.

    **Raises:** a runtime error where Newton's method does not converge. A scalar that no side and
    no inflow gives a value has no single steady state.
    """
    checks.positive("tolerance", tolerance)
    checks.counts(iterations=iterations, krylov=krylov)
    step.check_state(start)
    return _steady(step, start, tolerance, iterations, krylov)


@eqx.filter_jit
def _steady(
    step: SemiImplicitStep, start: Flow, tolerance: float, iterations: int, krylov: int
) -> Flow:
    guess, parts = ravel_pytree(packed(Pressed(start, step.flow.pressure(start))))

    def change(values: Array) -> Array:
        """What a first step brings about, the time held; the level of a pressure that has none is
        zero."""
        pressed = unpacked(parts(values), start.time)
        velocity, scalars, pressure = packed(stepped(step, pressed))
        if step.flow.boundary.closed:
            pressure = pressure - step.grid.integral(pressed.pressure) / step.grid.volume
        return ravel_pytree((velocity, scalars, pressure))[0] - values

    def root(function: Callable[[Array], Array], first: Array) -> Array:
        found = newton(function, first, tolerance, iterations, krylov)
        off = ~(jnp.linalg.norm(function(found)) <= tolerance * jnp.linalg.norm(found))
        return eqx.error_if(
            found, off, f"no steady flow within {iterations} iterations of Newton's method"
        )

    values = implicit_root(change, guess, root, tolerance=tolerance, restart=krylov)
    return unpacked(parts(values), start.time).flow


def newton(
    function: Callable[[Array], Array],
    start: Float[Array, " n"],
    tolerance: float,
    iterations: int,
    krylov: int,
) -> Float[Array, " n"]:
    """A root of a function of a vector to a residual of `tolerance` times the norm of the root, or
    what was reached. A step is halved up to six times until it lowers the residual."""

    def once(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        values, residual, count = carry
        _, linear = jax.linearize(function, values)
        whole = gmres(linear, -residual, tolerance=FORCING, restart=krylov)
        size = jnp.linalg.norm(residual)

        def worse(trial: tuple[Array, Array, Array]) -> Array:
            return ~(jnp.linalg.norm(trial[1]) < size) & (trial[2] > 1 / 64)

        def halved(trial: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            share = trial[2] / 2
            return values + share * whole, function(values + share * whole), share

        first = (values + whole, function(values + whole), jnp.ones_like(size))
        values, residual, _ = lax.while_loop(worse, halved, first)
        return values, residual, count + 1

    def going(carry: tuple[Array, Array, Array]) -> Array:
        values, residual, count = carry
        left = jnp.linalg.norm(residual) > tolerance * jnp.linalg.norm(values)
        return left & (count < iterations)

    return lax.while_loop(going, once, (start, function(start), jnp.asarray(0)))[0]


def stepped(step: SemiImplicitStep, state: Pressed) -> Pressed:
    """One step of first order, at the same time."""
    system, one = step.system(), jnp.ones((), step.grid.dtype)
    right = combined((one, step.flow.dt), (carried_part(state), system.rates(state)))
    return system.solve(right._replace(time=state.flow.time), one, state)


def packed(state: Pressed) -> tuple[Any, Any, Any]:
    """What is sought: all but the time."""
    return state.flow.velocity, state.flow.scalars, state.pressure


def unpacked(parts: tuple[Any, Any, Any], time: jax.Array) -> Pressed:
    velocity, scalars, pressure = parts
    return Pressed(Flow(velocity, time, scalars), pressure)
