"""The ceviche challenges: devices between waveguides, the windows of their powers, loss and metric.

Each pixel of a design is silicon or oxide. Devices, windows, loss and metric are those of
M. F. Schubert, A. K. C. Cheung, I. A. D. Williamson, A. Spyra and D. H. Alexander, ACS Photonics 9
(2022) 2327, as invrs-gym 1.6.2 has them: the metric is above 0 where all powers are in their
windows. Lengths are in nm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.grids import Cells
from jaxpbdl.solvers.waves import Port, TimeHarmonic, ceviche_layer, slab_port, time_harmonic

SOLID, VOID = 12.25, 2.25
"""Permittivities of silicon and oxide."""
GUIDE, WINDOW, LAYER, INSIDE = 400, 1440, 20, 40
"""Width of the guides and of the cuts in nm; cells of the absorbing layers; nm from these to the
ports, and from the ports to the monitors."""


Mirror: TypeAlias = Callable[[Any], Any]
"""Of the pixels of an image."""


class Guide(NamedTuple):
    """A guide that ends at the design: along `axis`, from its lower (-1) or upper side (1),
    `beside` its middle by nm; and the order of its mode."""

    axis: int
    side: int
    beside: int = 0
    order: int = 0


def _transposed(x: Any) -> Any:
    return x.T


def _flipped_y(x: Any) -> Any:
    return x[:, ::-1]


def _flipped_x(x: Any) -> Any:
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
    mirrors: tuple[Mirror, ...] = ()
    monitor_cells: int | None = None
    """From the ports to the monitors; None for 40 nm."""
    swapped: float | None = None
    """Above this wavelength the second and the third port swap their windows."""
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
    "demultiplexer": Device(
        (3200, 3200), ((720, 720), (400, 400)),
        (Guide(0, -1), Guide(0, 1, -1000), Guide(0, 1, 1000)),
        (0.0, 10**-0.3, 0.0), (0.01, 1.0, 0.01), monitor_cells=5, swapped=1280.0,
    ),
}  # fmt: skip


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


class PowerWindows(NamedTuple):
    """Lower and upper edges of the powers, at each wavelength."""

    lower: Float[np.ndarray | Array, "*wavelengths ports"]
    upper: Float[np.ndarray | Array, "*wavelengths ports"]


def power_windows(device: Device, wavelengths: Sequence[float]) -> PowerWindows:
    """Of a device at some wavelengths in nm."""
    swap = [0, 2, 1, *range(3, len(device.lower))] if device.swapped is not None else []
    beyond = float("inf") if device.swapped is None else device.swapped
    edges = [
        np.stack([np.asarray(edge)[swap] if one > beyond else np.asarray(edge)
                  for one in wavelengths])
        for edge in (device.lower, device.upper)
    ]  # fmt: skip
    return PowerWindows(edges[0], edges[1])


def beyond_windows(
    edges: PowerWindows, powers: Float[Array, "*any ports"], exponent: float = 1.0
) -> Array:
    """Of powers, to some power, from the nearest edge of their windows, positive outside; edges at
    0 and 1 do not count."""
    lower, upper = edges
    below = jnp.where(lower > 0, lower**exponent - powers**exponent, -1.0)
    above = jnp.where(upper < 1, powers**exponent - upper**exponent, -1.0)
    return jnp.maximum(below, above)


def metric(edges: PowerWindows, powers: Float[np.ndarray, "wavelengths ports"]) -> float:
    """The smallest distance from the edge of a window, over its width; negative outside."""
    found = np.asarray(beyond_windows(edges, jnp.asarray(powers))) / (edges.upper - edges.lower)
    return -float(np.max(found))


def loss(edges: PowerWindows, powers: Float[Array, " ports"]) -> Float[Array, ""]:
    """Of one wavelength: the softplus of the distances of amplitudes over the narrowest window,
    squared and summed."""
    narrow = jnp.min(edges.upper - edges.lower)
    return jnp.sum(jax.nn.softplus(beyond_windows(edges, powers, 0.5) / narrow) ** 2)


Loss: TypeAlias = Callable[[PowerWindows, Array], Array]
SOFT = 0.1
"""Of the metric: by how much `shortfall` differs from it, about."""


def shortfall(edges: PowerWindows, powers: Float[Array, " ports"]) -> Float[Array, ""]:
    """The metric of one wavelength with the other sign, with a smooth maximum."""
    found = beyond_windows(edges, powers) / (edges.upper - edges.lower)
    return SOFT * jax.nn.logsumexp(found / SOFT)


class Referee(eqx.Module):
    """A device on cells of some width at some wavelengths: it finds the powers of a design."""

    benches: tuple[Bench, ...]
    edges: PowerWindows
    density: Float[Array, "nx ny"]
    """Of the guides, without a design."""
    corner: tuple[int, int] = eqx.field(static=True)
    """Of the design."""

    def powers(
        self, design: Float[np.ndarray, "x y"]
    ) -> tuple[Float[np.ndarray, "wavelengths ports"], np.ndarray]:
        """Of a design, and |E| at the middle wavelength."""
        found = [
            _powers(one, self.density, jnp.asarray(design), self.corner) for one in self.benches
        ]
        field = np.abs(np.asarray(found[len(found) // 2][1]))
        return np.stack([np.asarray(powers) for powers, _ in found]), field

    def slopes(
        self, design: Float[np.ndarray | Array, "x y"], loss: Loss = loss
    ) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, "wavelengths x y"]]:
        """Losses and powers at each wavelength, and the gradients of the losses to the design."""
        found = [
            _slope(loss, one, PowerWindows(jnp.asarray(lower), jnp.asarray(upper)), self.density,
                   jnp.asarray(design), self.corner)
            for one, lower, upper in zip(self.benches, *self.edges, strict=True)
        ]  # fmt: skip
        losses, powers, slopes = zip(*((*first, slope) for first, slope in found), strict=True)
        return np.asarray(losses), np.asarray(powers), np.asarray(slopes)


def referee(device: Device, cell: int, wavelengths: Sequence[float]) -> Referee:
    """Of a device on cells of some nm at wavelengths in nm."""
    density, (x, y) = background(device, cell)
    benches = tuple(bench(device, cell, wavelength) for wavelength in wavelengths)
    return Referee(
        benches, power_windows(device, wavelengths), jnp.asarray(density), (x.start, y.start)
    )


@eqx.filter_jit
def _slope(
    loss: Loss,
    one: Bench,
    edges: PowerWindows,
    density: Array,
    design: Array,
    corner: tuple[int, int],
) -> tuple[tuple[Array, Array], Array]:
    def value(design: Array) -> tuple[Array, Array]:
        powers, _ = one.powers(_permittivity(density, design, corner))
        return loss(edges, powers), powers

    return jax.value_and_grad(value, has_aux=True)(design)


@eqx.filter_jit
def _powers(
    one: Bench, density: Array, design: Array, corner: tuple[int, int]
) -> tuple[Array, Array]:
    return one.powers(_permittivity(density, design, corner))


def _permittivity(density: Array, design: Array, corner: tuple[int, int]) -> Array:
    whole = jax.lax.dynamic_update_slice(density, design, corner)
    return VOID + (SOLID - VOID) * whole
