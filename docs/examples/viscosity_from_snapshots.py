"""Viscosity and forcing amplitude of a Kolmogorov flow from noisy snapshots, with a covariance."""

import jax
import jax.numpy as jnp

import jaxpbdl as jp
from jaxpbdl.equations import NavierStokes2D, kolmogorov
from jaxpbdl.inference import least_squares

SNAPSHOTS, INTERVAL, DT, NOISE = 4, 20, 0.05, 0.3
grid = jp.grids.Periodic((24, 24), lengths=2 * jnp.pi)
start = jp.initial_states.random_vorticity(jax.random.key(0), grid)


def snapshots(unknown):
    """The vorticity at a few times for a viscosity and an amplitude of the force."""
    equation = NavierStokes2D(unknown["viscosity"], forcing=kolmogorov(4, unknown["amplitude"]))
    step = jp.solvers.spectral.semilinear(equation, grid, DT)
    return jp.rollout(step, start, SNAPSHOTS * INTERVAL, INTERVAL)[1:]


truth = {"amplitude": 1.0, "viscosity": 0.02}
data = snapshots(truth)
data += NOISE * jax.random.normal(jax.random.key(1), data.shape)
found = least_squares(
    lambda unknown: snapshots(unknown) - data, {"amplitude": 0.3, "viscosity": 0.05}
)

for name, true in truth.items():
    print(f"{name:9} {found.values[name]:.5f} +- {found.standard_errors[name]:.5f}, truth {true}")
    assert abs(found.values[name] - true) < 4 * found.standard_errors[name]
    assert found.standard_errors[name] < 0.05 * true
errors = jnp.sqrt(jnp.diagonal(found.covariance))
print(f"correlation {found.covariance[0, 1] / errors[0] / errors[1]:.2f}")
print(f"noise     {found.residual_rms:.4f}, truth {NOISE}")
assert found.converged and abs(found.residual_rms / NOISE - 1) < 0.05
