"""Sod's shock tube by each scheme beside the exact solution, and four shocks that meet in a plane.

Two gases at rest meet in the middle of a tube, (density, velocity, pressure) = (1, 0, 1) and
(0.125, 0, 0.1) with gamma = 1.4 (G. A. Sod, J. Comput. Phys. 27 (1978) 1). The error is the mean
over the tube of the difference of the density to the exact means of the cells at t = 0.2, by HLLC
fluxes at a Courant number of 0.4. In the plane: configuration 3 of C. W. Schulz-Rinne, J. P.
Collins and H. M. Glaz, SIAM J. Sci. Comput. 14 (1993) 1394, symmetric about a diagonal.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.experiments.configuration import Count, NonNegativeInt, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.grids import Cells
from jaxpbdl.solvers import time
from jaxpbdl.solvers.compressible import (
    FiniteVolumeStep,
    Weno5,
    characteristic,
    exact,
    finite_volumes,
    first_order,
    minmod,
    muscl,
    primitive,
    van_leer,
    weno5,
)

LEFT, RIGHT, END = (1.0, 0.0, 1.0), (0.125, 0.0, 0.1), 0.2
FASTEST = 2.2
"""Of all waves of Sod's problem."""
CORNERS = (
    ((0.138, 1.206, 1.206, 0.029), (0.5323, 1.206, 0.0, 0.3)),
    ((0.5323, 0.0, 1.206, 0.3), (1.5, 0.0, 0.0, 1.5)),
)
"""Of the plane: first index to the right, second up, each (density, velocity, pressure)."""
MEETING = 0.8
"""Where the four gases meet, along both axes."""
PLANE_END, PLANE_FASTEST = 0.8, 5.0
"""The sum over both axes of the fastest waves stays below."""
SOURCE = "our own reference runs with these schemes, HLLC, SSP Runge-Kutta, Courant number 0.4"

SCHEMES = {
    "first_order": {"reconstruction": first_order, "variables": primitive, "scheme": time.euler},
    "minmod": {"reconstruction": muscl(minmod), "variables": primitive},
    "van_leer": {"reconstruction": muscl(van_leer), "variables": primitive},
    "weno_square": {"reconstruction": Weno5(power=2), "variables": primitive},
    "weno_characteristic": {"reconstruction": Weno5(power=2), "variables": characteristic},
    "weno": {"reconstruction": weno5, "variables": primitive},
}
TABLE = {
    "first_order": {100: 1.749e-2, 200: 1.149e-2, 400: 7.23e-3, 800: 4.52e-3},
    "minmod": {100: 6.88e-3, 200: 4.06e-3, 400: 2.23e-3, 800: 1.22e-3},
    "van_leer": {100: 4.50e-3, 200: 2.69e-3, 400: 1.43e-3, 800: 7.56e-4},
    "weno_square": {100: 3.55e-3, 200: 2.01e-3, 400: 1.00e-3, 800: 4.96e-4},
    "weno_characteristic": {100: 4.12e-3, 200: 2.28e-3, 400: 1.11e-3, 800: 5.34e-4},
    "weno": {100: 3.55e-3, 200: 2.01e-3, 400: 1.00e-3, 800: 4.96e-4},
}
NOTES = {
    "first_order": "in time by Euler's step",
    "weno_square": "WENO5-Z with the square of the ratio, primitive variables",
    "weno_characteristic": "WENO5-Z with the square of the ratio, characteristic variables",
    "weno": "WENO5-Z with the first power of the ratio, beside the figures for the square",
}


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    """Of nothing: nothing is random."""
    cells: tuple[Count, ...] = (100, 200)
    courant: Positive = 0.4
    plane: NonNegativeInt = 64
    """Cells a side in the plane; 0 leaves it out."""


def tube(cells: int, courant: float, scheme: str) -> tuple[FiniteVolumeStep, int]:
    """A scheme on Sod's problem, and the steps to its end."""
    steps = int(np.ceil(END * FASTEST * cells / courant))
    grid = Cells(cells, 1.0, dtype=float)
    return finite_volumes(CompressibleFlow(1), grid, END / steps, **SCHEMES[scheme]), steps


def density(cells: int, courant: float, scheme: str) -> np.ndarray:
    """In the cells at the end."""
    step, steps = tube(cells, courant, scheme)
    start = step.start(lambda x: jnp.where(x[0] < 0.5, jnp.array(LEFT), jnp.array(RIGHT)))
    return np.asarray(jp.rollout(step, start, steps, every=steps)[-1, 0])


def exact_density(cells: int, parts: int = 64) -> np.ndarray:
    """Means over the cells, each of many parts."""
    places = (np.arange(cells * parts) + 0.5) / (cells * parts)
    found = exact.riemann(LEFT, RIGHT)(jnp.asarray((places - 0.5) / END))[0]
    return np.asarray(found).reshape(cells, parts).mean(axis=1)


def plane(config: Config) -> np.ndarray:
    """The density in the plane at the end."""
    n = config.plane
    steps = int(np.ceil(PLANE_END * PLANE_FASTEST * n / config.courant))
    grid = Cells((n, n), 1.0, dtype=float)
    step = finite_volumes(
        CompressibleFlow(2), grid, PLANE_END / steps, reconstruction=weno5, variables=primitive
    )
    corners = jnp.array(CORNERS)

    def start(x: jax.Array) -> jax.Array:
        right, up = (x > MEETING).astype(int)
        return corners[right, up]

    state = step.start(start)
    step.check(state)
    return np.asarray(eqx.filter_jit(jp.repeat(step, steps))(state)[0])


def run(config: Config, folder: Path) -> Result:
    """Each scheme at each number of cells; a picture goes to `folder`."""
    metrics, published, shown = {}, {}, {}
    with jax.enable_x64(True):
        for cells in config.cells:
            truth = exact_density(cells)
            for scheme in SCHEMES:
                found = density(cells, config.courant, scheme)
                name = f"{scheme}.l1_{cells}"
                metrics[name] = float(np.mean(np.abs(found - truth)))
                if cells in TABLE[scheme] and config.courant == 0.4:
                    published[name] = Published(TABLE[scheme][cells], SOURCE)
                if cells == config.cells[0]:
                    shown[scheme] = found
        flat = plane(config) if config.plane else None
        if flat is not None:
            metrics["plane.asymmetry"] = float(np.abs(flat - flat.T).max())
            metrics["plane.density_max"] = float(flat.max())
            metrics["plane.density_min"] = float(flat.min())
        fine = exact_density(1000, 4)
    _picture(shown, fine, flat, folder)
    return Result(metrics, trained_here=published, notes=NOTES)


def _picture(
    shown: dict[str, np.ndarray], fine: np.ndarray, flat: np.ndarray | None, folder: Path
) -> None:
    """`density.png`: the density along the tube, its contact and shock, and in the plane."""
    figure, axes = plotting.figure(1, 2 if flat is None else 3, size=(3.6, 3.0))
    for ax, (low, high) in zip(axes[0], ((0.0, 1.0), (0.6, 0.9)), strict=False):
        places = (np.arange(len(fine)) + 0.5) / len(fine)
        inside = (places >= low) & (places <= high)
        ax.plot(places[inside], fine[inside], color="black", linewidth=0.8, label="exact")
        for name in ("first_order", "minmod", "weno"):
            x = (np.arange(len(shown[name])) + 0.5) / len(shown[name])
            inside = (x >= low) & (x <= high)
            plotting.curves(
                ax, {name.replace("_", " "): shown[name][inside]}, x[inside], xlabel="x",
                ylabel="density",
            )  # fmt: skip
    axes[0, 0].legend(frameon=False, fontsize=8)
    axes[0, 1].set_title("contact and shock")
    if flat is not None:
        plotting.field(axes[0, 2], flat, (1.0, 1.0), title="four shocks", bar="density")
    plotting.save(figure, folder / "density.png")


EXPERIMENT = Experiment(
    name="shock-tube",
    summary="Sod's shock tube by each scheme beside the exact solution, and shocks in a plane",
    presets={"quick": Config(), "full": Config(cells=(100, 200, 400, 800), plane=400)},
    run=run,
)
