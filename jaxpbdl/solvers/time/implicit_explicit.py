"""An implicit-explicit Runge-Kutta scheme: diffusion implicit, everything else explicit."""

from math import inf, sqrt
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from jaxpbdl.grids.spectrum import scaled
from jaxpbdl.solvers.time.scheme import Scheme, System

_GAMMA = 1 - 1 / sqrt(2)
_DELTA = 1 - 1 / (2 * _GAMMA)


class ImplicitExplicitRungeKutta(Scheme):
    """ARS(2,2,2): both stages solve (1 - gamma dt L) U = ..., L-stable for L, order 2 together."""

    inverse: Array
    explicit_symbol: Array
    step: Array
    imaginary: ClassVar[float] = 1.0
    real: ClassVar[float] = inf

    def advance(self, working: Array, system: System) -> Array:
        first = system.rates(working)
        stage = scaled(self.inverse, working + scaled(_GAMMA * self.step, first))
        second = system.rates(stage)
        slope = scaled(self.step, _DELTA * first + (1 - _DELTA) * second)
        return scaled(self.inverse, working + slope + scaled(self.explicit_symbol, stage))


def imex(symbol: Array, dt: Array | float) -> ImplicitExplicitRungeKutta:
    """Ascher, Ruuth and Spiteri, Appl. Numer. Math. 25 (1997) 151, section 2.6: order 2, two
    evaluations.
    """
    return ImplicitExplicitRungeKutta(
        inverse=1 / (1 - _GAMMA * dt * symbol),
        explicit_symbol=(1 - _GAMMA) * dt * symbol,
        step=jnp.asarray(dt),
    )
