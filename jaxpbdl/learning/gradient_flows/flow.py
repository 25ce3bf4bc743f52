"""Gradient flow, and the motion of a heavy ball with friction, as steps of the parameters.

    d(theta)/dt = -grad loss(theta)
    d(theta)/dt = p,   dp/dt = -grad loss(theta) - friction p

Forward Euler turns the first into gradient descent, whose learning rate is dt. The second (Polyak,
USSR Comput. Math. Math. Phys. 4 (1964) 1) splits into a Hamiltonian part and friction, each of
which has an exact answer within a leapfrog step; what comes out is gradient descent with momentum.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from jaxpbdl import checks
from jaxpbdl.learning.update import slope
from jaxpbdl.solvers.time import ExplicitStep, HamiltonianStep, Scheme, SeparableSystem, explicit
from jaxpbdl.solvers.time.runge_kutta import euler
from jaxpbdl.solvers.time.scheme import combined
from jaxpbdl.solvers.time.symplectic import Leapfrog, PhasePoint, leapfrog


def gradient_flow(
    loss: Callable[[PyTree], Array], dt: ArrayLike, scheme: Scheme = euler
) -> ExplicitStep:
    """The step of d(theta)/dt = -grad loss(theta), theta any tree of arrays.

    **Arguments:**

    - `loss`: a scalar.
    - `dt`: > 0. With `euler`, the default, it is the learning rate of `optax.sgd`, and the
      parameters are the same to the bit.
    - `scheme`: `euler`, `rk3`, `rk4`, `ssp_rk3`, `adams_bashforth`.

    **Raises:** ValueError for a dt that is not finite and positive.
    """
    return explicit(lambda theta: _descent(loss, theta), dt, scheme)


def _descent(loss: Callable[[PyTree], Array], theta: PyTree) -> PyTree:
    return jax.tree.map(jnp.negative, slope(loss, theta)[1])


class DampedStep(HamiltonianStep):
    """One step of positions and momenta that lose some to friction; created by `damped_flow`."""

    friction: Array

    def system(self, *inputs: PyTree) -> SeparableSystem:
        def kick(state: PhasePoint, force: PyTree, dt: Array) -> PhasePoint:
            # Half of the friction, the whole force, half of the friction.
            half = jnp.exp(-self.friction * dt / 2)
            return PhasePoint(
                state.position, combined((half**2, half * dt), (state.momentum, force))
            )

        return super().system(*inputs)._replace(kick=kick)


def damped_flow(
    loss: Callable[[PyTree], Array], dt: ArrayLike, friction: ArrayLike, scheme: Leapfrog = leapfrog
) -> DampedStep:
    """The step of a heavy ball with friction on states `(theta, p)`.

    **Arguments:**

    - `loss`: of theta, a scalar.
    - `dt`: > 0.
    - `friction`: >= 0, the rate at which momentum is lost; 0 keeps the energy.
    - `scheme`: `leapfrog` or `yoshida`.

    **Raises:** ValueError for a dt or a friction outside its range.
    """
    checks.positive("dt", dt)
    checks.non_negative("friction", friction)
    return DampedStep(
        lambda momentum: momentum,
        lambda theta: _descent(loss, theta),
        jnp.asarray(dt, float),
        scheme,
        None,
        jnp.asarray(friction, float),
    )


def heavy_ball(dt: float | Array, friction: float | Array) -> optax.GradientTransformation:
    """Gradient descent with momentum, by the time step and the friction of `damped_flow`:

        optax.sgd(learning_rate=dt**2 exp(-friction dt / 2), momentum=exp(-friction dt))

    Steps of `leapfrog` follow one another as half a drift, a kick, a whole drift, a kick, ..; the
    parameters of this optimiser are the positions at the kicks, in the middle of each step. For
    friction dt -> 0 its learning rate is dt**2 and its momentum 1 - friction dt. Where friction is
    strong the momentum does not last, and n updates go as far along the gradient flow as a time
    n dt**2 / (2 sinh(friction dt / 2)), about n dt / friction.

    **Raises:** ValueError for a dt that is not above 0, or a friction below 0.
    """
    checks.positive("dt", dt)
    checks.non_negative("friction", friction)
    exp = math.exp if isinstance(friction * dt, float) else jnp.exp
    return optax.sgd(dt**2 * exp(-friction * dt / 2), momentum=exp(-friction * dt))
