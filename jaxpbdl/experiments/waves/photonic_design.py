"""Photonic devices found by gradient: the ceviche challenges.

Between the guides of a device each pixel of a design is silicon or oxide, so that the light of one
port leaves by the others as it should, at all wavelengths. The unknown is an image in [0, 1]. It is
smoothed by a cone of the smallest feature and projected with rising sharpness b,

    rho = (tanh(b / 2) + tanh(b (x - 1/2))) / (2 tanh(b / 2))

(F. Wang, B. S. Lazarov and O. Sigmund, Struct. Multidiscip. Optim. 43 (2011) 767); Adam follows the
adjoint of the field. Devices, windows, loss and metric are those of the ceviche challenges (M. F.
Schubert, A. K. C. Cheung, I. A. D. Williamson, A. Spyra and D. H. Alexander, ACS Photonics 9 (2022)
2327) as invrs-gym 1.6.2 has them: the metric is above 0 where all powers are in their windows. It
is that of the design with pixels of 0 and 1. Each design goes to a csv file that invrs-gym takes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Fraction, NonNegative, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.waves import Port, TimeHarmonic, ceviche_layer, slab_port, time_harmonic

SOLID, VOID = 12.25, 2.25
"""Permittivities of silicon and oxide."""
GUIDE, WINDOW, LAYER, INSIDE = 400, 1440, 20, 40
"""Width of the guides and of the cuts in nm; cells of the absorbing layers; nm from these to the
ports, and from the ports to the monitors."""
LEADERBOARD = "invrs-io leaderboard, commit ed27c5c"


class Guide(NamedTuple):
    """A guide that ends at the design: along `axis`, from its lower (-1) or upper side (1),
    `beside` its middle by nm; and the order of its mode."""

    axis: int
    side: int
    beside: int = 0
    order: int = 0


def _transposed(x: Array) -> Array:
    return x.T


def _flipped_y(x: Array) -> Array:
    return x[:, ::-1]


def _flipped_x(x: Array) -> Array:
    return x[::-1]


@dataclass(frozen=True)
class Device:
    """A challenge: the size of its design and what lies beside it along both axes, in nm, the
    guides, the first with the light, windows of power, and what leaves a design as it is."""

    size: tuple[int, int]
    beside: tuple[tuple[int, int], tuple[int, int]]
    guides: tuple[Guide, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    mirrors: tuple[Callable[[Array], Array], ...] = ()
    monitor_cells: int | None = None
    """From the ports to the monitors; None for 40 nm."""
    best: float | None = None
    """On the leaderboard."""


DEVICES = {
    "bend": Device(
        (1600, 1600), ((720, 400), (720, 400)), (Guide(0, -1), Guide(1, -1)),
        (0.0, 10**-0.05), (0.01, 1.0), (_transposed,), best=-1.2504,
    ),
    "converter": Device(
        (1600, 1600), ((720, 720), (400, 400)), (Guide(0, -1), Guide(0, 1, order=1)),
        (0.0, 10**-0.05), (0.01, 1.0), best=0.9095,
    ),
    "power_splitter": Device(
        (1600, 1600), ((720, 720), (400, 400)),
        (Guide(0, -1), Guide(0, 1, -480), Guide(0, 1, 480)),
        (0.0, 10**-0.35, 10**-0.35), (0.01, 1.0, 1.0), (_flipped_y,), 5, best=0.0090,
    ),
    "beam_splitter": Device(
        (3200, 2000), ((720, 720), (520, 520)),
        (Guide(0, -1, 760), Guide(0, 1, 760), Guide(0, 1, -760), Guide(0, -1, -760)),
        (0.0, 10**-0.35, 10**-0.35, 0.0), (0.01, 1 - 10**-0.35, 1 - 10**-0.35, 0.01),
        (_flipped_x, _flipped_y),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in nm."""

    seed: int = 0
    """Of the noise that the design starts with."""
    devices: tuple[str, ...] = ("bend",)
    cell: Count = 40
    """Width of a cell and of a pixel; a divisor of 40."""
    wavelengths: tuple[Positive, ...] = (1270.0, 1290.0)
    feature: Positive = 120.0
    """Radius of the cone that smooths the design; features are about half as wide or more."""
    sharpnesses: tuple[Positive, ...] = (4.0, 8.0, 16.0, 32.0, 64.0)
    steps: Count = 30
    """Of Adam at each sharpness."""
    learning_rate: Positive = 0.03
    noise: NonNegative = 0.1
    coarse: Count = 1
    """A first design has cells larger by this factor and all the sharpnesses up to `handed`; the
    fine one goes on from there. 1 is none."""
    handed: Positive = 16.0
    share: Fraction = 0.0
    """Of the wavelengths' worst loss, beside their mean."""

    def __post_init__(self):
        super().__post_init__()
        for name in self.devices:
            if name not in DEVICES:
                raise ValueError(f"devices must be of {', '.join(DEVICES)}, got {name!r}")
        if 40 % (self.cell * self.coarse):
            raise ValueError(
                f"cell times coarse must be a divisor of 40, got {self.cell * self.coarse}"
            )


class Bench(eqx.Module):
    """A device at one wavelength, but for its design: the equation, the current in the first port
    and the monitors of all."""

    problem: TimeHarmonic
    current: Array
    monitors: tuple[Port, ...]
    sides: tuple[int, ...] = eqx.field(static=True)

    def powers(self, permittivity: Float[Array, "nx ny"]) -> tuple[Float[Array, " ports"], Array]:
        """|S_j1|^2 of the ports, and E."""
        electric = self.problem.solve(permittivity, self.current)
        out, into = [], jnp.zeros(())
        for number, (port, side) in enumerate(zip(self.monitors, self.sides, strict=True)):
            # As the challenges have it: E is a mean over a cell, and is left so.
            both, excess = port.overlaps(electric)
            unit = 2 * jnp.sqrt(jnp.cos(port.half_phase))
            out.append((both + side * excess) / unit)
            if number == 0:
                into = (both - side * excess) / unit
        return jnp.abs(jnp.stack(out) / into) ** 2, electric


def background(device: Device, cell: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The density of a device without its design, and where that lies."""
    pixels = [size // cell for size in device.size]
    start = [LAYER + before // cell for before, _ in device.beside]
    shape = [
        2 * LAYER + n + (before + after) // cell
        for n, (before, after) in zip(pixels, device.beside, strict=True)
    ]
    density = np.zeros(shape)
    design = tuple(slice(a, a + n) for a, n in zip(start, pixels, strict=True))
    for guide in device.guides:
        middle = _middle(device, guide, cell)
        across = slice(middle - GUIDE // 2 // cell, middle + GUIDE // 2 // cell)
        here = design[guide.axis]
        along = slice(None, here.start) if guide.side < 0 else slice(here.stop, None)
        density[(along, across) if guide.axis == 0 else (across, along)] = 1.0
    return density, (design[0], design[1])


def _middle(device: Device, guide: Guide, cell: int) -> int:
    """The node in the middle of a guide, across it."""
    across = 1 - guide.axis
    offset = device.beside[across][0] + device.size[across] // 2 + guide.beside
    return LAYER + offset // cell


def bench(device: Device, cell: int, wavelength: float) -> Bench:
    """A device at a wavelength in nm, on cells of some nm."""
    density, _ = background(device, cell)
    permittivity = VOID + (SOLID - VOID) * density
    h = cell / 1000
    grid = Cells(density.shape, tuple(n * h for n in density.shape), periodic=True)
    problem = time_harmonic(grid, wavelength / 1000, (ceviche_layer,) * 2, offset=0.5)
    way = INSIDE // cell if device.monitor_cells is None else device.monitor_cells

    def port(guide: Guide, further: int) -> Port:
        n = density.shape[guide.axis]
        at = LAYER + INSIDE // cell + further
        middle, half = _middle(device, guide, cell), WINDOW // 2 // cell
        at = at if guide.side < 0 else n - at
        bounds = ((middle - half) * h, (middle + half - 1) * h)
        return slab_port(problem, permittivity, guide.axis, at * h, bounds, guide.order)

    return Bench(
        problem,
        port(device.guides[0], 0).current(),
        tuple(port(guide, way) for guide in device.guides),
        tuple(guide.side for guide in device.guides),
    )


def distances(device: Device, powers: Float[Array, "*any ports"], power: float = 1.0) -> Array:
    """Of powers, to some power, from the nearest edge of their windows, positive outside; edges at
    0 and 1 do not count."""
    lower, upper = np.asarray(device.lower), np.asarray(device.upper)
    below = jnp.where(lower > 0, lower**power - powers**power, -1.0)
    above = jnp.where(upper < 1, powers**power - upper**power, -1.0)
    return jnp.maximum(below, above)


def metric(device: Device, powers: Float[np.ndarray, "wavelengths ports"]) -> float:
    """The smallest distance from the edge of a window, over its width; negative outside."""
    widths = np.asarray(device.upper) - np.asarray(device.lower)
    return -float(np.max(np.asarray(distances(device, jnp.asarray(powers))) / widths))


def loss(device: Device, powers: Float[Array, " ports"]) -> Float[Array, ""]:
    """Of one wavelength: the softplus of the distances of amplitudes over the narrowest window,
    squared and summed."""
    narrow = np.min(np.asarray(device.upper) - np.asarray(device.lower))
    return jnp.sum(jax.nn.softplus(distances(device, powers, 0.5) / narrow) ** 2)


def cone(radius: float) -> Float[np.ndarray, "n n"]:
    """Weights that fall linearly to zero at a radius in pixels; their sum is 1."""
    reach = int(np.ceil(radius)) - 1 if radius > 1 else 0
    x = np.arange(-reach, reach + 1)
    weights = np.maximum(1 - np.hypot(x[:, None], x) / max(radius, 1.0), 0.0)
    return weights / weights.sum()


class Shaping(eqx.Module):
    """From the unknown image to the density of the pixels."""

    outside: Float[Array, "nx ny"]
    """The density about the design, as wide as the cone reaches."""
    fixed: Float[Array, "x y"]
    """At the border that of the pixel outside; NaN within."""
    kernel: Float[Array, "n n"]
    mirrors: tuple[Callable[[Array], Array], ...] = eqx.field(static=True)

    def symmetric(self, image: Float[Array, "x y"]) -> Float[Array, "x y"]:
        for mirror in self.mirrors:
            image = (image + mirror(image)) / 2
        return image

    def __call__(self, image: Float[Array, "x y"], sharpness: Array | float) -> Array:
        """The projected density."""
        reach = len(self.kernel) // 2
        whole = self.outside
        inner = slice(reach, whole.shape[0] - reach), slice(reach, whole.shape[1] - reach)
        whole = whole.at[inner].set(self.symmetric(image))
        smooth = jax.scipy.signal.convolve(whole, self.kernel, mode="valid")
        half = jnp.tanh(sharpness / 2)
        density = (half + jnp.tanh(sharpness * (smooth - 0.5))) / (2 * half)
        return jnp.where(jnp.isnan(self.fixed), density, jnp.nan_to_num(self.fixed))


def shaping(device: Device, config: Config, cell: int) -> Shaping:
    """Of a device with pixels of some nm."""
    density, (x, y) = background(device, cell)
    kernel = cone(config.feature / cell)
    reach = len(kernel) // 2
    fixed = np.full((x.stop - x.start, y.stop - y.start), np.nan)
    fixed[0], fixed[-1] = density[x.start - 1, y], density[x.stop, y]
    side = density[x, y.start - 1], density[x, y.stop]
    fixed[:, 0], fixed[:, -1] = np.fmax(fixed[:, 0], side[0]), np.fmax(fixed[:, -1], side[1])
    around = density[x.start - reach : x.stop + reach, y.start - reach : y.stop + reach]
    return Shaping(jnp.asarray(around), jnp.asarray(fixed), jnp.asarray(kernel), device.mirrors)


class Found(NamedTuple):
    """A design of pixels of 0 and 1, its powers, its metric, the losses on the way, and |E| at the
    middle wavelength."""

    design: Float[np.ndarray, "x y"]
    powers: Float[np.ndarray, "wavelengths ports"]
    metric: float
    losses: list[float]
    field: np.ndarray


@eqx.filter_jit
def _slope(
    one: Bench, density: Array, design: Array, corner: tuple[int, int], device: Device
) -> tuple[tuple[Array, Array], Array]:
    """Loss and powers of a wavelength, and the gradient to the design."""

    def value(design: Array) -> tuple[Array, Array]:
        powers, _ = one.powers(_permittivity(density, design, corner))
        return loss(device, powers), powers

    return jax.value_and_grad(value, has_aux=True)(design)


@eqx.filter_jit
def _powers(
    one: Bench, density: Array, design: Array, corner: tuple[int, int]
) -> tuple[Array, Array]:
    return one.powers(_permittivity(density, design, corner))


def _permittivity(density: Array, design: Array, corner: tuple[int, int]) -> Array:
    whole = jax.lax.dynamic_update_slice(density, design, corner)
    return VOID + (SOLID - VOID) * whole


def judged(
    device: Device,
    cell: int,
    wavelengths: Sequence[float],
    design: Float[np.ndarray, "x y"],
) -> tuple[Float[np.ndarray, "wavelengths ports"], np.ndarray]:
    """The powers of a design, and |E| at the middle wavelength."""
    density, (x, y) = background(device, cell)
    powers, fields = [], []
    for wavelength in wavelengths:
        one, electric = _powers(
            bench(device, cell, wavelength), jnp.asarray(density), jnp.asarray(design),
            (x.start, y.start),
        )  # fmt: skip
        powers.append(np.asarray(one))
        fields.append(np.abs(np.asarray(electric)))
    return np.stack(powers), fields[len(fields) // 2]


def optimised(
    device: Device,
    config: Config,
    cell: int,
    sharpnesses: Sequence[float],
    image: Float[np.ndarray, "x y"],
    show: Callable[[str], None] = print,
) -> tuple[Float[np.ndarray, "x y"], Found]:
    """Adam from an image, at each sharpness in turn.

    **Arguments**

    - `cell`: width of a cell and a pixel in nm; `image`: the start, in pixels.
    - `show`: gets a line after each sharpness.

    **Returns** the image at the end, and the best design of 0 and 1 among those after each
    sharpness.

    **Raises** ValueError for no sharpness.
    """
    if not sharpnesses:
        raise ValueError("sharpnesses must hold at least one, got none")
    density, (x, y) = background(device, cell)
    corner = (x.start, y.start)
    benches = [bench(device, cell, wavelength) for wavelength in config.wavelengths]
    shape = shaping(device, config, cell)
    projected = eqx.filter_jit(shape)
    back = eqx.filter_jit(lambda image, sharp, slope: jax.vjp(lambda i: shape(i, sharp), image)[1](
        slope)[0])  # fmt: skip
    optimiser = optax.adam(config.learning_rate)
    losses: list[float] = []
    best: Found | None = None
    unknown = jnp.asarray(image)
    for sharpness in sharpnesses:
        state, sharp = optimiser.init(unknown), jnp.asarray(sharpness)
        for _ in range(config.steps):
            design = projected(unknown, sharp)
            found = [_slope(one, jnp.asarray(density), design, corner, device) for one in benches]
            values = np.asarray([float(value) for (value, _), _ in found])
            weights = np.full(len(values), (1 - config.share) / len(values))
            weights[np.argmax(values)] += config.share
            slope = sum(weight * one for weight, (_, one) in zip(weights, found, strict=True))
            losses.append(float(values @ weights))
            change, state = optimiser.update(back(unknown, sharp, slope), state)
            moved = jnp.asarray(optax.apply_updates(unknown, change))  # pyright: ignore[reportArgumentType]
            unknown = jnp.clip(moved, 0.0, 1.0)
        binary = np.asarray(projected(unknown, sharp) > 0.5, float)
        powers, field = judged(device, cell, config.wavelengths, binary)
        score = metric(device, powers)
        show(f"  cells of {cell} nm, sharpness {sharpness:g}: loss {losses[-1]:.4g}, "
             f"metric {score:.4f}")  # fmt: skip
        if best is None or score > best.metric:
            best = Found(binary, powers, score, losses, field)
    assert best is not None
    return np.asarray(unknown), best


def designed(name: str, config: Config) -> Found:
    """A device from its noisy start, by way of larger cells if there are any."""
    device = DEVICES[name]
    cell = config.cell * config.coarse
    # Of the pixels of 40 nm whatever the cells are, so that a seed means one start.
    noise = np.random.default_rng(config.seed).uniform(-1, 1, [n // 40 for n in device.size])
    image = np.kron(0.5 + config.noise * noise, np.ones((40 // cell, 40 // cell)))
    first = [one for one in config.sharpnesses if config.coarse == 1 or one <= config.handed]
    image, found = optimised(device, config, cell, first, image)
    if config.coarse == 1:
        return found
    image = np.kron(image, np.ones((config.coarse, config.coarse)))
    later = [one for one in config.sharpnesses if one >= config.handed]
    before = found.losses
    _, found = optimised(device, config, config.cell, later, image)
    return found._replace(losses=before + found.losses)


def smallest(solid: Bool[np.ndarray, "x y"]) -> int:
    """The width in pixels of the smallest feature of an image: the largest disc whose opening (an
    erosion, then a dilation) removes nothing but pixels at the edge of what it leaves. A simple
    measure of our own; the image goes on beyond its border."""
    from scipy import ndimage  # waits for its first use

    largest = min(solid.shape)
    for width in range(2, largest):
        x = np.arange(width) - (width - 1) / 2
        disc = np.hypot(x[:, None], x) <= width / 2
        wide = np.pad(solid, width, mode="edge")
        kept = ndimage.binary_dilation(ndimage.binary_erosion(wide, disc, border_value=1), disc)
        near = np.asarray(ndimage.binary_dilation(kept, np.ones((3, 3))), bool)
        inner = slice(width, -width)
        if np.any((wide & ~near)[inner, inner]):
            return width - 1
    return largest


def run(config: Config, folder: Path) -> Result:
    """Find the designs; a picture and a csv file of each go to `folder`."""
    metrics, published, histories, notes = {}, {}, {}, {}
    with jax.enable_x64(True):
        for name in config.devices:
            print(f"{name}:")
            found = designed(name, config)
            device = DEVICES[name]
            solid = found.design > 0.5
            metrics |= {
                f"{name}.metric": found.metric,
                f"{name}.reflection": float(found.powers[:, 0].max()),
                f"{name}.transmission": float(found.powers[:, 1].min()),
                f"{name}.width_nm": config.cell * smallest(solid),
                f"{name}.spacing_nm": config.cell * smallest(~solid),
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
    inner = slice(LAYER, -LAYER), slice(LAYER, -LAYER)
    size = tuple(n * config.cell / 1000 for n in density[inner].shape)
    figure, axes = plotting.figure(1, 2, size=(3.6, 3.0))
    plotting.field(axes[0, 0], density[inner], (size[0], size[1]), title=f"{name}: density")
    plotting.field(axes[0, 1], found.field[inner], (size[0], size[1]), title="|E_z|", bar="")
    plotting.save(figure, folder / f"{name}.png")


SIX = (1265.0, 1270.0, 1275.0, 1285.0, 1290.0, 1295.0)
EXPERIMENT = Experiment(
    name="photonic-design",
    summary="a waveguide bend, or another device of the ceviche challenges, designed by gradient",
    presets={
        "quick": Config(),
        "light": Config(devices=tuple(DEVICES), steps=60),
        "full": Config(
            devices=tuple(DEVICES), cell=10, coarse=2, wavelengths=SIX, feature=100.0, handed=16.0
        ),
    },
    run=run,
)
