"""An implicit-explicit Runge-Kutta scheme: diffusion implicit, everything else explicit."""

from math import sqrt
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from jaxpbdl.grids.spectrum import scaled
from jaxpbdl.solvers.time.integrator import Integrator, NonlinearTerm

_GAMMA = 1 - 1 / sqrt(2)
_DELTA = 1 - 1 / (2 * _GAMMA)


class ImplicitExplicitRungeKutta(Integrator):
    """ARS(2,2,2): both stages solve (1 - gamma dt L) U = ..., L-stable for L, order 2 together."""

    inverse: Array
    explicit_symbol: Array
    step: Array
    stability: ClassVar[float] = 1.0

    def advance(self, working: Array, nonlinear: NonlinearTerm) -> Array:
        first = nonlinear(working)
        stage = scaled(self.inverse, working + scaled(_GAMMA * self.step, first))
        second = nonlinear(stage)
        slope = scaled(self.step, _DELTA * first + (1 - _DELTA) * second)
        return scaled(self.inverse, working + slope + scaled(self.explicit_symbol, stage))


def imex(symbol: Array, dt: Any, mask: Any = 1.0) -> ImplicitExplicitRungeKutta:
    """Ascher, Ruuth and Spiteri, Appl. Numer. Math. 25 (1997) 151, section 2.6: order 2, two
    evaluations.
    """
    return ImplicitExplicitRungeKutta(
        inverse=1 / (1 - _GAMMA * dt * symbol),
        explicit_symbol=(1 - _GAMMA) * dt * symbol,
        step=jnp.asarray(dt * mask),
    )
