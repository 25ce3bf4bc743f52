"""A physics-informed network solves the Allen-Cahn equation, whose thin interfaces plain ones miss.

u_t = 1e-4 u_xx + 5 u - 5 u^3 on -1 < x < 1, 0 < t < 1, periodic, u = x^2 cos(pi x) at t = 0
(Raissi, Perdikaris and Karniadakis, J. Comput. Phys. 378 (2019) 686). Periodicity and initial
values are built into the field.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations import AllenCahn
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.pinns.training import Settings, reference, report, train
from jaxpbdl.fields import Box, Joined, Snapshot
from jaxpbdl.networks import Chain, Constant, Dense, Periodic

DOMAIN = Box((-1.0, 0.0), (1.0, 1.0))
WAVES = 3


@dataclass(frozen=True)
class Config(Settings):
    """Network, points, optimisers and windows."""

    windows: int = 1
    """Of time, each with a network of its own that goes on from the one before."""

    def __post_init__(self):
        super().__post_init__()
        checks.count("windows", self.windows)


class Interfaces(eqx.Module):
    """A periodic field on a window of time that starts as it must, whatever its network says."""

    network: Chain
    start: Constant
    window: Box

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        begin, end = self.window.lower[-1], self.window.upper[-1]
        passed = (point[-1] - begin) / (end - begin)
        return self.start()(point) + passed * self.network(point.at[-1].set(passed))[0]


def initial(x: Array) -> Array:
    return x**2 * jnp.cos(jnp.pi * x)


def run(config: Config, folder: Path) -> Result:
    """Train window after window, compare with the reference, draw."""
    with jax.enable_x64(True):
        equation = AllenCahn(diffusivity=1e-4, growth=5.0, saturation=5.0)
        posed = lambda field: (equation, field)  # noqa: E731
        windows = DOMAIN.split(-1, config.windows)
        sizes = (1 + 2 * WAVES, *[config.width] * config.depth, 1)
        start, pieces, points = (lambda point: initial(point[0])), [], []
        key = jax.random.key(config.seed)
        for number, window in enumerate(windows):
            network_key, key = jax.random.split(key)
            network = Chain(Periodic(0, 2.0, WAVES), Dense(sizes, key=network_key))
            field, at = train(
                config,
                Interfaces(network, Constant(start), window),
                posed,
                window,
                key,
                folder / f"window-{number}",
            )
            pieces.append(field)
            points.append(at)
            start = Snapshot(field, window.upper[-1])
        truth = reference("allen-cahn", config.data, equation, initial)
        field = Joined(pieces, windows)
        metrics = report(field, equation, truth, jnp.concatenate(points), folder)
    source = "jaxpi with 300,000 updates on an accelerator; its plain recipe has 5.8e-4"
    return Result(metrics, {"relative_l2": Published(5.37e-5, source)})


EXPERIMENT = Experiment(
    name="pinn-allen-cahn",
    summary="a physics-informed network resolves the thin interfaces of the Allen-Cahn equation",
    presets={"quick": Config(width=24, updates=8000)},
    run=run,
)
