"""The equilibrium of an ITER hybrid discharge from its own profiles and boundary.

A file in the G-EQDSK format (scenario of J. Citrin et al., Nucl. Fusion 50 (2010) 115007, computed
by CHEASE) holds the flux, tables of p' and F F', the current and the boundary. From the last three
the flux is solved for again,

    Delta* psi = -mu_0 R^2 p' - F F' within the boundary,   psi the same on all of it

A fixed boundary is a free one whose currents hold it: filaments around the plasma, with the
currents of least squares for one flux at the points of the boundary (method of fundamental
solutions: G. Fairweather and A. Karageorghis, Adv. Comput. Math. 9 (1998) 69). Flux, axis and the
safety factor stand beside those of the file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.interpolate import CubicSpline

from jaxpbdl import plotting
from jaxpbdl.data import find
from jaxpbdl.data.geqdsk import FluxFile, read_geqdsk
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.solvers.plasma import (
    Equilibrium,
    Rectangle,
    ShapeTargets,
    Tabulated,
    Tokamak,
    coils,
    filaments,
    round_plasma,
    safety_factor,
    shaped,
    tokamak,
)
from jaxpbdl.solvers.plasma.surfaces import within

SOURCE = "the file itself (CHEASE)"
CORNERS = 1200
"""Of the polygon that stands for the boundary: its chords are within 1e-5 m of it."""
INNER, OUTER = 0.02, 0.98
"""Normalised flux between which q is compared: at the axis surfaces shrink to a point, and at the
boundary the current density ends within a cell."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    """Of nothing: nothing is random."""
    data: Path | None = None
    """The file in the G-EQDSK format; else looked for in the folder JAXPBDL_DATA."""
    nodes: Annotated[int, at_least(33)] = 65
    """Along R and along Z."""
    filaments: Count = 96
    """Around the plasma."""
    distance: Positive = 1.2
    """Of a filament from the middle of the plasma, in those of the boundary."""
    tolerance: Positive = 1e-7
    """Residual of the equilibrium."""


class Case(NamedTuple):
    """What the file asks for, with flux and slopes in the signs of `solvers.plasma`: the flux is
    zero on the boundary, and its sign on the axis is that of the current."""

    machine: Tokamak
    targets: ShapeTargets
    profile: Tabulated
    start: Float[Array, "nr nz"]
    sign: float
    """From the file's flux to this one."""


def smooth(points: Float[np.ndarray, "n 2"], count: int) -> Float[np.ndarray, "count 2"]:
    """Points at equal steps along the periodic cubic spline through those of a closed curve, of
    which the last may repeat the first."""
    kept = points[:-1] if np.allclose(points[0], points[-1]) else points
    closed = np.concatenate([kept, kept[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    spline = CubicSpline(length, closed, bc_type="periodic")
    return spline(length[-1] * np.arange(count) / count)


def case(file: FluxFile, config: Config) -> Case:
    """The machine of filaments around the file's boundary, and its profile."""
    sign = float(np.sign(file.current) * np.sign(file.axis_flux - file.boundary_flux))
    corners = smooth(file.boundary, CORNERS)
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    around = middle + config.distance * (smooth(file.boundary, config.filaments) - middle)
    grid = Rectangle((config.nodes, config.nodes), (file.r[0], file.z[0]), (file.r[-1], file.z[-1]))
    machine = tokamak(grid, coils(*(filaments(r, z) for r, z in around)), corners)
    profile = Tabulated(
        pressure_slope=jnp.asarray(sign * file.pressure_slope),
        field_slope=jnp.asarray(sign * file.field_slope),
        current=file.current,
    )
    held = jnp.asarray(smooth(file.boundary, 4 * config.filaments))
    size = (corners.max(axis=0) - corners.min(axis=0)) / 2
    start = round_plasma(machine, file.current, middle.tolist(), (0.9 * size).tolist())
    return Case(machine, ShapeTargets(jnp.zeros((0, 2)), held), profile, start, sign)


@eqx.filter_jit
def safety_factors(
    grid: Rectangle,
    psi: Float[Array, "nr nz"],
    axis: Float[Array, "2"],
    levels: Float[Array, " n"],
    f: Float[Array, " n"],
) -> Float[Array, " n"]:
    """q of several surfaces."""
    return jax.vmap(lambda level, one: safety_factor(grid, psi, axis, level, one))(levels, f)


class Compared(NamedTuple):
    """The file's nodes within the boundary, with the flux of the equilibrium and of the file there,
    zero on it; normalised flux of surfaces with q of the equilibrium, of the file's flux and of its
    table."""

    inside: Bool[np.ndarray, "nr nz"]
    flux: Float[np.ndarray, " n"]
    flux_file: Float[np.ndarray, " n"]
    x: Float[np.ndarray, " m"]
    q: Float[np.ndarray, " m"]
    q_of_flux: Float[np.ndarray, " m"]
    q_table: Float[np.ndarray, " m"]


def compared(file: FluxFile, one: Case, found: Equilibrium) -> Compared:
    """The equilibrium beside the file."""
    grid = one.machine.grid
    nodes = np.stack(np.meshgrid(file.r, file.z, indexing="ij"), axis=-1)
    inside = within(smooth(file.boundary, CORNERS), nodes)
    flux = np.asarray(grid.at_each(found.psi, jnp.asarray(nodes[inside])))
    table = np.linspace(0, 1, len(file.q))
    shown = (table >= INNER) & (table <= OUTER)
    x = table[shown]
    f = jnp.asarray(file.f[shown])
    levels = found.axis_flux + jnp.asarray(x) * (found.boundary_flux - found.axis_flux)
    q = safety_factors(grid, found.psi, found.axis, levels, f)
    file_grid = Rectangle(file.psi.shape, (file.r[0], file.z[0]), (file.r[-1], file.z[-1]))
    theirs = jnp.asarray(file.axis_flux + x * (file.boundary_flux - file.axis_flux))
    q_of_flux = safety_factors(file_grid, jnp.asarray(file.psi), jnp.asarray(file.axis), theirs, f)
    return Compared(
        inside,
        flux - float(found.boundary_flux),
        one.sign * (file.psi[inside] - file.boundary_flux),
        x,
        np.asarray(q),
        np.asarray(q_of_flux),
        file.q[shown],
    )


def relative(found: Float[np.ndarray, " n"], known: Float[np.ndarray, " n"]) -> float:
    """The L2 norm of the difference over that of the known values."""
    return float(np.linalg.norm(found - known) / np.linalg.norm(known))


def files(config: Config) -> list[Path]:
    """The equilibrium."""
    return [find("iter-hybrid", given=config.data)]


def run(config: Config, folder: Path) -> Result:
    """Solve for the equilibrium of the file; a picture goes to `folder`."""
    file = read_geqdsk(files(config)[0])
    with jax.enable_x64(True):
        one = case(file, config)
        found = shaped(
            one.machine, one.targets, one.profile, start=one.start, tolerance=config.tolerance
        )
        seen = compared(file, one, found)
        held = np.asarray(one.machine.grid.at_each(found.psi, one.targets.boundary))
    depth = one.sign * (file.axis_flux - file.boundary_flux)
    spread = held - float(found.boundary_flux)
    axis = np.asarray(found.axis)
    at95 = int(np.argmin(abs(seen.x - 0.95)))
    metrics = {
        "iter.psi_l2": relative(seen.flux, seen.flux_file),
        "iter.psi_largest": float(np.max(abs(seen.flux - seen.flux_file)) / abs(depth)),
        "iter.axis_error_cm": 100 * float(np.linalg.norm(axis - file.axis)),
        "iter.axis_r": float(axis[0]),
        "iter.axis_z": float(axis[1]),
        "iter.axis_flux": float(found.axis_flux - found.boundary_flux),
        "iter.q_l2": relative(seen.q, seen.q_table),
        "iter.q_largest": float(np.max(abs(seen.q / seen.q_table - 1))),
        "iter.q95": float(seen.q[at95]),
        "iter.profile_factor": float(found.density.strength),
        "iter.boundary_flux_spread": float(np.ptp(spread) / abs(depth)),
        "iter.residual": float(found.residual),
        "file.q_l2": relative(seen.q_of_flux, seen.q_table),
    }
    published = {
        "iter.axis_r": Published(float(file.axis[0]), SOURCE),
        "iter.axis_z": Published(float(file.axis[1]), SOURCE),
        "iter.axis_flux": Published(depth, SOURCE),
        "iter.q95": Published(float(seen.q_table[at95]), SOURCE),
        "iter.profile_factor": Published(1.0, "tables and current of the file agree"),
    }
    _picture(one, found, seen, file, folder)
    return Result(metrics, published, notes=_notes(config))


def _notes(config: Config) -> dict[str, str]:
    return {
        "iter": (
            f"{config.nodes} x {config.nodes} nodes, {config.filaments} filaments; q for "
            f"{INNER} <= psi_N <= {OUTER}"
        ),
        "file": "q from the flux and F of the file, by the same integral, beside its table",
    }


def _picture(one: Case, found: Equilibrium, seen: Compared, file: FluxFile, folder: Path) -> None:
    """`equilibrium.png`: flux surfaces of both, the difference of the flux, and q."""
    figure, axes = plotting.figure(1, 3, size=(3.0, 4.2))
    left, middle, right = axes[0]
    r, z = one.machine.grid.lines
    surfaces = np.linspace(0.1, 0.9, 9)
    theirs = (file.axis_flux - file.psi) / (file.axis_flux - file.boundary_flux)
    left.contour(file.r, file.z, theirs.T, surfaces, colors=plotting.LINES[1], linewidths=1.6)
    x = np.asarray(found.normalised()).T
    left.contour(r, z, x, surfaces, colors=plotting.LINES[0], linewidths=0.7)
    for ax in (left, middle):
        ax.plot(*file.boundary.T, color="black", linewidth=0.8)
        ax.set(aspect="equal", xlabel="R (m)")
    left.set(title="red: file, blue: here", ylabel="Z (m)")
    off = np.full(file.psi.shape, np.nan)
    off[seen.inside] = 100 * (seen.flux - seen.flux_file) / np.max(abs(seen.flux_file))
    limit = float(np.nanmax(abs(off)))
    image = middle.imshow(
        off.T, origin="lower", extent=(file.r[0], file.r[-1], file.z[0], file.z[-1]),
        cmap=plotting.SIGNED, vmin=-limit, vmax=limit,
    )  # fmt: skip
    plotting.colour_bar(image, middle, "difference of the flux (%)")
    plotting.curves(right, {"file": seen.q_table, "here": seen.q}, seen.x, xlabel="psi_N")
    right.set_title("q")
    plotting.save(figure, folder / "equilibrium.png")


EXPERIMENT = Experiment(
    name="tokamak-equilibrium",
    summary="an ITER equilibrium from its own profiles and boundary: flux, axis, safety factor",
    presets={"quick": Config(filaments=64, distance=1.3), "full": Config(nodes=129)},
    run=run,
    files=files,
)
