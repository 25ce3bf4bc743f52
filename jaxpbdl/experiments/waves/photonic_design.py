"""Photonic devices found by gradient: the ceviche challenges.

Between the guides of a device each pixel of a design is silicon or oxide, so that the light of one
port leaves by the others as it should, at all wavelengths. The unknown is an image in [0, 1]. It is
smoothed by a cone and projected with rising sharpness b,

    rho = (tanh(b / 2) + tanh(b (x - 1/2))) / (2 tanh(b / 2))

(F. Wang, B. S. Lazarov and O. Sigmund, Struct. Multidiscip. Optim. 43 (2011) 767); Adam follows the
adjoint of the field. Then each step takes a design near the smooth image that a brush of the width
asked for can paint, with pixels of 0 and 1, and the gradient at this design goes back
through the projection as if it had been made by that (M. F. Schubert, A. K. C. Cheung, I. A. D.
Williamson, A. Spyra and D. H. Alexander, ACS Photonics 9 (2022) 2327). To the best of these designs
by the metric of the challenges single touches of the brush are made as long as some better it. The
result goes to a csv file that invrs-gym takes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import (
    Count,
    NonNegative,
    NonNegativeInt,
    Positive,
    Validated,
)
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.waves.photonic_brushes import paintable, touched_designs, widths
from jaxpbdl.experiments.waves.photonic_devices import (
    DEVICES,
    LAYER,
    SOFT,
    Device,
    Referee,
    background,
    metric,
    referee,
    shortfall,
)
from jaxpbdl.experiments.waves.photonic_shaping import shaping, surroundings

LEADERBOARD = "invrs-io leaderboard, commit ed27c5c"
SIX = (1265.0, 1270.0, 1275.0, 1285.0, 1290.0, 1295.0)


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in nm."""

    seed: int = 0
    """Of the noise that the design starts with."""
    challenges: tuple[str, ...] = ("bend",)
    cell: Count = 40
    """Width of a cell and of a pixel; a divisor of 40."""
    wavelengths: tuple[Positive, ...] = (1270.0, 1290.0)
    width: Positive = 120.0
    """Of the brush that paints the design: the smallest width and spacing."""
    feature: Positive = 160.0
    """Radius of the cone that smooths the image."""
    sharpnesses: tuple[Positive, ...] = (4.0, 8.0, 16.0)
    steps: Count = 30
    """Of Adam at each sharpness."""
    painted_steps: Count = 100
    """Of Adam with painted designs."""
    slope: Positive = 8.0
    """Sharpness of the projection through which the gradient at a painted design goes back."""
    learning_rate: Positive = 0.03
    painted_rate: Positive = 0.01
    """Of the steps with painted designs at first."""
    patience: Count = 20
    """Steps without a better design after which they go back to the best and halve the rate."""
    trials: NonNegativeInt = 100
    """Touches of the brush that are tried at the end."""
    noise: NonNegative = 0.1
    coarse: Count = 1
    """A first image has cells larger by this factor and the sharpnesses up to `handed`; the fine
    one goes on with those above, if any. 1 is none."""
    handed: Positive = 16.0

    def __post_init__(self):
        super().__post_init__()
        for name in self.challenges:
            if name not in DEVICES:
                raise ValueError(f"challenges must be of {', '.join(DEVICES)}, got {name!r}")
        if 40 % (self.cell * self.coarse):
            raise ValueError(
                f"cell times coarse must be a divisor of 40, got {self.cell * self.coarse}"
            )
        for name in ("wavelengths", "sharpnesses"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold at least one, got none")
        if self.coarse > 1 and self.handed < min(self.sharpnesses):
            raise ValueError(
                f"handed must be at least the smallest of the sharpnesses, "
                f"{min(self.sharpnesses):g}, got {self.handed:g}"
            )


class Found(NamedTuple):
    """A painted design, its powers, its metric, and the losses on the way."""

    design: Float[np.ndarray, "x y"]
    powers: Float[np.ndarray, "wavelengths ports"]
    metric: float
    losses: list[float]


class DesignSearch:
    """Adam on the image of a device with cells of some nm."""

    def __init__(self, device: Device, config: Config, cell: int):
        self.device, self.config, self.cell = device, config, cell
        self.referee: Referee = referee(device, cell, config.wavelengths)
        shape = self.shape = shaping(device, config.feature, cell)
        self.projected = eqx.filter_jit(shape)
        self.smooth = eqx.filter_jit(shape.smooth)
        self.back = eqx.filter_jit(
            lambda image, sharp, slope: jax.vjp(lambda one: shape(one, sharp), image)[1](slope)[0]
        )
        self.losses: list[float] = []

    def slope(self, design: np.ndarray | Array) -> tuple[np.ndarray, np.ndarray]:
        """The gradient of the loss to a design, and the powers; the loss is kept."""
        values, powers, slopes = self.referee.slopes(design)
        self.losses.append(float(np.mean(values)))
        return np.mean(slopes, axis=0), powers

    def metric_slope(self, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """That of the metric with the other sign, all maxima smooth."""
        values, powers, slopes = self.referee.slopes(design, shortfall)
        weights = np.exp((values - values.max()) / SOFT)
        return np.tensordot(weights / weights.sum(), slopes, 1), powers

    def grey(
        self, image: Array, sharpnesses: Sequence[float], show: Callable[[str], None] = print
    ) -> Array:
        """The image after the steps at each sharpness in turn; `show` gets a line after each."""
        optimiser = optax.adam(self.config.learning_rate)
        for sharpness in sharpnesses:
            state, sharp = optimiser.init(image), jnp.asarray(sharpness)
            for _ in range(self.config.steps):
                slope, _ = self.slope(self.projected(image, sharp))
                change, state = optimiser.update(self.back(image, sharp, slope), state)
                image = _moved(image, change)
            show(f"  cells of {self.cell} nm, sharpness {sharpness:g}: loss {self.losses[-1]:.4g}")
        return image

    def painted(self, image: Array, show: Callable[[str], None] = print) -> Found:
        """The best design that the brush of the config paints, of those along the way from an
        image; `show` gets a line now and then."""
        config = self.config
        (around, brush), sharp = self.canvas(), jnp.asarray(config.slope)
        fixed = np.asarray(self.shape.fixed)
        rate, behind, slope_of = config.painted_rate, 0, self.slope
        optimiser = optax.inject_hyperparams(optax.adam)(rate)
        state = optimiser.init(image)
        best: Found | None = None
        start = image
        for step in range(config.painted_steps):
            wanted = np.asarray(self.smooth(image)) - 0.5
            solid = paintable(wanted, fixed, around, brush, self.device.mirrors)
            design = solid.astype(float)
            slope, powers = slope_of(design)
            score, behind = metric(self.referee.edges, powers), behind + 1
            if best is None or score > best.metric:
                best, start, behind = Found(design, powers, score, self.losses), image, 0
            if (step + 1) % 20 == 0 or step + 1 == config.painted_steps:
                show(f"  {step + 1} painted designs: metric {score:.4f}, best {best.metric:.4f}")
            change, state = optimiser.update(self.back(image, sharp, jnp.asarray(slope)), state)
            image = _moved(image, change)
            if behind == config.patience:
                # Back to the best image, in smaller steps; the windows met, by the metric itself.
                image, rate, behind = start, rate / 2, 0
                slope_of = self.metric_slope if best.metric > 0 else self.slope
                state = optax.inject_hyperparams(optax.adam)(rate).init(image)
        assert best is not None
        return best

    def touched(self, best: Found, show: Callable[[str], None] = print) -> Found:
        """A design better than one: touches of the brush that should raise the metric are tried,
        those first that should most, and the first that does is kept."""
        config, rng = self.config, np.random.default_rng(self.config.seed)
        if not config.trials:
            return best
        around, brush = self.canvas()
        fixed, seen = np.asarray(self.shape.fixed), {best.design.tobytes()}
        slope, _ = self.metric_slope(best.design)
        trials = idle = 0
        while trials < config.trials and idle < 5:
            others = touched_designs(
                best.design > 0.5, slope, fixed, around, brush, self.device.mirrors, rng, 24
            )
            idle += 1
            for solid in others:
                design = solid.astype(float)
                if trials == config.trials or design.tobytes() in seen:
                    continue
                seen.add(design.tobytes())
                trials, idle = trials + 1, 0
                powers, _ = self.referee.powers(design)
                score = metric(self.referee.edges, powers)
                if score > best.metric:
                    best = Found(design, powers, score, self.losses)
                    slope, _ = self.metric_slope(design)
                    break
        show(f"  {trials} touches tried: best {best.metric:.4f}")
        return best

    def canvas(self) -> tuple[np.ndarray, int]:
        """What lies about the design as far as the brush reaches, and the brush's width."""
        brush = round(-(-self.config.width // self.cell))
        return surroundings(self.device, self.cell, brush), brush


def _moved(image: Array, change: Array | optax.Updates) -> Array:
    return jnp.clip(jnp.asarray(optax.apply_updates(image, change)), 0.0, 1.0)  # pyright: ignore[reportArgumentType]


def designed(name: str, config: Config) -> Found:
    """A device from its noisy start, by way of larger cells if there are any."""
    device = DEVICES[name]
    cell = config.cell * config.coarse
    # Of the pixels of 40 nm whatever the cells are, so that a seed means one start.
    noise = np.random.default_rng(config.seed).uniform(-1, 1, [n // 40 for n in device.size])
    start = np.kron(0.5 + config.noise * noise, np.ones((40 // cell, 40 // cell)))
    search, image, before = DesignSearch(device, config, cell), jnp.asarray(start), []
    rest = config.sharpnesses
    if config.coarse > 1:
        image = search.grey(image, [one for one in rest if one <= config.handed])
        image = jnp.kron(image, jnp.ones((config.coarse, config.coarse)))
        before, rest = search.losses, [one for one in rest if one > config.handed]
        search = DesignSearch(device, config, config.cell)
    found = search.touched(search.painted(search.grey(image, rest)))
    return found._replace(losses=before + found.losses)


def run(config: Config, folder: Path) -> Result:
    """Find the designs; a picture and a csv file of each go to `folder`."""
    metrics, published, histories, notes = {}, {}, {}, {}
    with jax.enable_x64(True):
        for name in config.challenges:
            print(f"{name}:")
            start = time.perf_counter()
            found = designed(name, config)
            device = DEVICES[name]
            around = surroundings(device, config.cell, 400 // config.cell)
            width = widths(found.design > 0.5, around)
            metrics |= {
                f"{name}.metric": found.metric,
                f"{name}.reflection": float(found.powers[:, 0].max()),
                f"{name}.transmission": float(found.powers[:, 1].min()),
                f"{name}.width_nm": config.cell * width.solid,
                f"{name}.spacing_nm": config.cell * width.void,
                f"{name}.seconds": time.perf_counter() - start,
            }
            if device.best is not None and config.cell == 10 and config.wavelengths == SIX:
                published[f"{name}.metric"] = Published(device.best, LEADERBOARD)
            histories[name] = found.losses
            notes[name] = f"largest reflection, smallest power of port 2; cells of {config.cell} nm"
            np.savetxt(folder / f"{name}.csv", found.design, fmt="%d", delimiter=",")
            _picture(name, config, found, folder)
    return Result(metrics, published, histories, notes=notes)


def _picture(name: str, config: Config, found: Found, folder: Path) -> None:
    """The density with its guides, and |E|."""
    density, (x, y) = background(DEVICES[name], config.cell)
    density[x, y] = found.design
    middle = config.wavelengths[len(config.wavelengths) // 2]
    _, field = referee(DEVICES[name], config.cell, (middle,)).powers(found.design)
    inner = slice(LAYER, -LAYER), slice(LAYER, -LAYER)
    size = tuple(n * config.cell / 1000 for n in density[inner].shape)
    figure, axes = plotting.figure(1, 2, size=(3.6, 3.0))
    plotting.field(axes[0, 0], density[inner], (size[0], size[1]), title=f"{name}: density")
    plotting.field(axes[0, 1], field[inner], (size[0], size[1]), title="|E_z|", bar="")
    plotting.save(figure, folder / f"{name}.png")


EXPERIMENT = Experiment(
    name="photonic-design",
    summary="a waveguide bend, or another device of the ceviche challenges, designed by gradient",
    presets={
        "quick": Config(),
        "light": Config(challenges=tuple(DEVICES), steps=60, painted_steps=120, trials=300),
        "full": Config(
            cell=10,
            coarse=2,
            wavelengths=SIX,
            width=80.0,
            feature=100.0,
            sharpnesses=(4.0, 8.0, 16.0, 32.0),
            handed=32.0,
            steps=15,
            painted_steps=30,
            trials=4,
        ),
    },
    run=run,
)
