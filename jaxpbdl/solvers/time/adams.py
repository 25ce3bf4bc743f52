"""An exponential predictor-corrector of Adams' kind for du/dt = L u + N(u): fourth order with two
evaluations of N a step, where a Runge-Kutta method needs four.

As the Adams methods integrate the polynomial through the last slopes, these integrate it times the
propagator of L exactly (Beylkin, Keiser and Vozovoi, J. Comput. Phys. 147 (1998) 362).
"""

from math import factorial, inf
from typing import ClassVar

import numpy as np
from jaxtyping import Array

from jaxpbdl.grids.spectrum import total
from jaxpbdl.solvers.time.exponential import ExponentialRungeKutta, etdrk4, phi
from jaxpbdl.solvers.time.scheme import Scheme, System, weighted_sum

_PAST = (0, -1, -2, -3)
_AHEAD = (1, 0, -1, -2)


class ExponentialAdams(Scheme):
    """Predict with the slopes at 0, -1, -2, -3, correct with those at 1, 0, -1, -2 (in steps);
    working variables (u, those four slopes).
    """

    propagator: Array
    predictor: tuple[Array, ...]
    corrector: tuple[Array, ...]
    starter: ExponentialRungeKutta
    imaginary: ClassVar[float] = 1.15
    real: ClassVar[float] = inf
    remembers: ClassVar[bool] = True

    def start(self, state: Array, system: System) -> tuple[Array, tuple[Array, ...]]:
        """The slopes before the start, extrapolated from three Runge-Kutta steps ahead: backwards
        in time a stiff L would amplify everything.
        """
        slopes, ahead = [system.rates(state)], state
        for _ in range(3):
            ahead = self.starter.advance(ahead, system)
            slopes.append(system.rates(ahead))
        rows = _lagrange((0, 1, 2, 3))
        past = [
            total(
                float(weight) * slope
                for weight, slope in zip(rows @ float(at) ** np.arange(4), slopes, strict=True)
            )
            for at in _PAST[1:]
        ]
        return state, (slopes[0], *past)

    def advance(
        self, working: tuple[Array, tuple[Array, ...]], system: System
    ) -> tuple[Array, tuple[Array, ...]]:
        state, slopes = working
        predicted = weighted_sum(self.propagator, state, self.predictor, slopes)
        ahead = (system.rates(predicted), *slopes[:3])
        corrected = weighted_sum(self.propagator, state, self.corrector, ahead)
        return corrected, (system.rates(corrected), *slopes[:3])

    def current(self, working: tuple[Array, tuple[Array, ...]]) -> Array:
        return working[0]


def etd_adams(symbol: Array, dt: Array | float) -> ExponentialAdams:
    """Order 4 with two evaluations a step: the cheapest for small errors in long rollouts.

    It starts with three steps of `etdrk4`, so a single step is dear; and dt has to be 2.5 times
    smaller than that of `etdrk4` to be stable.
    """
    z = symbol * dt
    starter = etdrk4(symbol, dt)
    moments = [dt * factorial(k) * phi(k + 1, z) for k in range(4)]

    def weights(nodes: tuple[int, ...]) -> tuple[Array, ...]:
        return tuple(
            total(float(c) * moment for c, moment in zip(row, moments, strict=True))
            for row in _lagrange(nodes)
        )

    return ExponentialAdams(starter.propagator, weights(_PAST), weights(_AHEAD), starter)


def _lagrange(nodes: tuple[int, ...]) -> np.ndarray:
    """Row j: coefficients of the polynomial that is one at node j and zero at the others, lowest
    power first.
    """
    return np.linalg.inv(np.vander(np.array(nodes, dtype=float), increasing=True)).T
