"""An equation of your own: Zakharov-Kuznetsov, ion-acoustic waves in a magnetised plasma.

    du/dt + u du/dx + d(lap u)/dx = 0

One class; the solver, its gradients and the residual of any field follow. Takes 10 seconds.
"""

import jax.numpy as jnp

import jaxpbdl as jp
from jaxpbdl import equations, fields


class ZakharovKuznetsov(equations.SemilinearEquation):
    """du/dt + advection u du/dx + dispersion d(lap u)/dx = 0, in two or three dimensions."""

    advection: equations.Parameter = equations.parameter(default=1.0)
    dispersion: equations.Parameter = equations.parameter(default=1.0)

    def symbol(self, spectrum):
        return -1j * self.dispersion * spectrum.k[0] * spectrum.laplacian

    def nonlinear(self, modes, spectrum):
        square = spectrum.transform(spectrum.to_grid(modes) ** 2)
        return -self.advection / 2 * spectrum.derivative(square, 0)

    def residual(self, field, point):
        snapshot, position = fields.at_time(field, point[-1]), point[:-1]
        slope = fields.partial(fields.laplacian(snapshot), 0)(position)
        carried = field(point) * fields.partial(snapshot, 0)(position)
        rate = fields.time_derivative(field)(point)
        return rate + self.advection * carried + self.dispersion * slope

    def transport_rate(self, state, spectrum):
        return jnp.max(jnp.abs(self.advection * state)) * jnp.abs(spectrum.k[0])


if __name__ == "__main__":
    # A soliton along x, u = 3 c sech^2(sqrt(c) (x - c t) / 2), crosses the box once.
    speed, length = 4.0, 24.0
    grid = jp.grids.Periodic((192, 8), (length, 4.0), (-length / 2, 0.0))

    def soliton(x):
        return 3 * speed / jnp.cosh(jnp.sqrt(speed) / 2 * x) ** 2

    start = soliton(grid.coordinates[0])
    step = jp.solvers.spectral.semilinear(ZakharovKuznetsov(), grid, 2e-3)
    steps = round(length / speed / 2e-3)
    states = jp.rollout(step, start, steps, every=steps)
    error = float(jp.diagnostics.relative_l2(states[-1], start))
    print(f"after one turn of the box the soliton is off by {error:.1e} of its size")

    early, times = jp.rollout(step, start, 32, every=4), 8e-3 * jnp.arange(9)
    left, rate = jp.learning.residual_of(step, early, times), (early[1] - early[0]) / 8e-3
    share = float(jp.diagnostics.mean_square(left, 0 * left) ** 0.5 / jnp.std(rate))
    print(f"its residual is {share:.1e} of the rate of change")
    assert error < 1e-3 and share < 1e-2
