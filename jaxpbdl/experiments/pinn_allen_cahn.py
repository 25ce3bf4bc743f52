"""A physics-informed network solves the Allen-Cahn equation, whose thin interfaces plain ones miss.

u_t = 1e-4 u_xx + 5 u - 5 u^3 on -1 < x < 1, 0 < t < 1, periodic, u = x^2 cos(pi x) at t = 0
(Raissi, Perdikaris and Karniadakis, J. Comput. Phys. 378 (2019) 686). Periodicity and initial
values are built into the field.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.equations import AllenCahn
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.pinn import Settings, reference, report, train
from jaxpbdl.fields import Box
from jaxpbdl.networks import Chain, Dense, Periodic

DOMAIN = Box((-1.0, 0.0), (1.0, 1.0))
WAVES = 3


class Interfaces(eqx.Module):
    """A periodic field with the initial values of the problem, whatever its network says."""

    network: Chain

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        x, t = point
        return initial(x) + t * self.network(point)[0]


def initial(x: Array) -> Array:
    return x**2 * jnp.cos(jnp.pi * x)


def run(config: Settings, folder: Path) -> Result:
    """Train, compare with the reference, draw."""
    with jax.enable_x64(True):
        equation = AllenCahn(diffusivity=1e-4, growth=5.0, saturation=5.0)
        network_key, key = jax.random.split(jax.random.key(config.seed))
        sizes = (1 + 2 * WAVES, *[config.width] * config.depth, 1)
        network = Chain(Periodic(0, 2.0, WAVES), Dense(sizes, key=network_key))
        field, points = train(config, Interfaces(network), equation, DOMAIN, key, folder)
        truth = reference("allen-cahn", config.data, equation, initial)
        metrics = report(field, equation, truth, points, folder)
    source = "jaxpi with 300,000 updates on an accelerator; its plain recipe has 5.8e-4"
    return Result(metrics, {"relative_l2": Published(5.37e-5, source)})


EXPERIMENT = Experiment(
    name="pinn-allen-cahn",
    summary="a physics-informed network resolves the thin interfaces of the Allen-Cahn equation",
    presets={"quick": Settings(width=24, updates=8000)},
    run=run,
)
