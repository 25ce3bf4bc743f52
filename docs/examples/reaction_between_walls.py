"""Two species that react and diffuse between walls: Schnakenberg's equations, which make spots.

    du/dt = lap u + rate (feed - u + u^2 v),   dv/dt = ratio lap v + rate (supply - u^2 v)

Nothing flows through the walls: cells instead of periodic points, and the rest is the same. A wave
on top of the uniform state grows as linear theory has it. Takes 10 seconds.
"""

import jax.numpy as jnp
import numpy as np

import jaxpbdl as jp
from jaxpbdl import equations, fields


class Schnakenberg(equations.SemilinearEquation):
    """Activator u and substrate v, a state of shape (2, *grid)."""

    ratio: equations.Parameter = equations.parameter(default=40.0)
    rate: equations.Parameter = equations.parameter(default=100.0)
    feed: equations.Parameter = equations.parameter(default=0.1)
    supply: equations.Parameter = equations.parameter(default=0.9)

    value_shape = (2,)
    keep = 1 / 2  # a product of three

    def symbol(self, spectrum):
        return jnp.stack([spectrum.laplacian - self.rate, self.ratio * spectrum.laplacian])

    def nonlinear(self, modes, spectrum):
        u, v = spectrum.to_grid(modes)
        reaction = self.rate * spectrum.transform(u**2 * v)
        return jnp.stack([reaction, -reaction])

    def source(self, spectrum):
        one = spectrum.transform(jnp.ones(spectrum.grid.shape, spectrum.grid.dtype))
        return self.rate * jnp.stack([self.feed * one, self.supply * one])

    def residual(self, field, point):
        (u, v), spread = field(point), fields.laplacian(fields.at_time(field, point[-1]))
        reactions = jnp.stack([self.feed - u + u**2 * v, self.supply - u**2 * v])
        diffusion = jnp.stack([jnp.ones(()), self.ratio]) * spread(point[:-1])
        return fields.time_derivative(field)(point) - diffusion - self.rate * reactions


if __name__ == "__main__":
    equation, grid = Schnakenberg(), jp.grids.Cells((64, 48), (1.0, 0.75))
    u, v = 1.0, 0.9  # uniform: u = feed + supply, v = supply / u^2
    k_squared = (2 * np.pi) ** 2 + (np.pi / 0.75) ** 2  # of the wave below
    jacobian = 100 * np.array([[-1 + 2 * u * v, u**2], [-2 * u * v, -(u**2)]])
    rates, vectors = np.linalg.eig(jacobian - k_squared * np.diag([1.0, 40.0]))
    growth, shape = rates.real.max(), vectors[:, rates.real.argmax()].real

    x, y = grid.coordinates
    wave = jnp.cos(2 * np.pi * x) * jnp.cos(np.pi * y / 0.75)
    start = jnp.stack([u + 1e-3 * shape[0] * wave, v + 1e-3 * shape[1] * wave])
    step = jp.solvers.spectral.semilinear(equation, grid, 1e-3)
    states = jp.rollout(step, start, 40, every=10)
    size = jnp.std(states[:, 0], axis=(1, 2))
    measured = float(jnp.log(size[-1] / size[0])) / 0.04
    print(f"growth {measured:.3f}, by linear theory {growth:.3f}")

    spots = jp.rollout(step, states[-1], 2000, every=2000)[-1]
    print(f"then spots: the activator lies between {spots[0].min():.2f} and {spots[0].max():.2f}")
    assert abs(measured / growth - 1) < 0.01
