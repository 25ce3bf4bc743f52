"""A physics-informed network solves Burgers' equation up to its steep front.

u_t + u u_x = 0.01 / pi u_xx on -1 < x < 1, 0 < t < 1, u = -sin(pi x) at t = 0 and zero at both ends
(Raissi, Perdikaris and Karniadakis, J. Comput. Phys. 378 (2019) 686). Initial and boundary values
are built into the field.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.equations import Burgers
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.pinns.training import Settings, files, reference, report, train
from jaxpbdl.fields import Box
from jaxpbdl.networks import Dense

DOMAIN = Box((-1.0, 0.0), (1.0, 1.0))


class Front(eqx.Module):
    """A field with the initial and boundary values of the problem, whatever its network says."""

    network: Dense

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        x, t = point
        return initial(x) + t * (1 - x**2) * self.network(point)[0]


def initial(x: Array) -> Array:
    return -jnp.sin(jnp.pi * x)


def run(config: Settings, folder: Path) -> Result:
    """Train, compare with the reference, draw."""
    with jax.enable_x64(True):
        equation = Burgers(0.01 / np.pi)
        truth = reference("burgers-shock", config.data, equation, initial)
        posed = lambda field: (equation, field)  # noqa: E731
        network_key, key = jax.random.split(jax.random.key(config.seed))
        field = Front(Dense((2, *[config.width] * config.depth, 1), key=network_key))
        field, points, losses = train(config, field, posed, DOMAIN, key, folder)
        metrics = report(field, equation, truth, points, folder)
    source = (
        "SOAP, arXiv:2502.00604, second hand: others quote its table so, one of them also 1.97e-6; "
        "not checked in the paper"
    )
    published = {"relative_l2": Published(4.03e-5, source)}
    return Result(metrics, published, losses)


EXPERIMENT = Experiment(
    name="pinn-burgers",
    summary="a physics-informed network follows Burgers' equation up to its steep front",
    presets={"quick": Settings()},
    run=run,
    files=lambda config: files("burgers-shock", config.data),
)
