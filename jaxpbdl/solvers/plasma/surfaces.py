"""The magnetic axis, X-points, contact with the limiter and the nodes within the last closed
surface.

Which node or candidate is the right one is a choice without a derivative; the place and the flux
that follow from it are smooth: a critical point by Newton's method whose last step is
differentiable, which gives the derivative of the implicit function theorem, and the highest flux on
the limiter likewise along its side.

A flux surface is looked for along rays from the axis, and its safety factor is

    q = F / (2 pi) integral of dl / (R |grad psi|) = F / (2 pi) integral of r dt / (R |psi_r|)

with F = R B_phi and the distance r along the ray of the angle t (J. P. Freidberg, Ideal MHD, 2014,
section 6.2); the trapezoidal rule in the angle converges faster than any power for smooth surfaces.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.solvers.plasma.rectangle import Rectangle

SADDLES = 2
"""X-points that are looked for: a single and a double null."""
NEWTON_STEPS = 8
BARRIER = 4.0
"""Cells about an X-point in which the far side is closed to the plasma."""
RAYS = 256
"""From the axis to the points of a surface."""
ALONG = 200
"""Places on each ray, up to the side of the grid, between which a surface is looked for."""


class Surfaces(NamedTuple):
    """What bounds a plasma."""

    axis: Float[Array, "2"]
    axis_flux: Float[Array, ""]
    x_points: Float[Array, "2 2"]
    """The two saddles within the limiter that are nearest to the axis in flux, NaN for none."""
    x_flux: Float[Array, "2"]
    contact: Float[Array, "2"]
    """Where the flux on the limiter is nearest to that of the axis."""
    contact_flux: Float[Array, ""]
    boundary_flux: Float[Array, ""]
    limited: Bool[Array, ""]
    """Whether the plasma ends on the limiter rather than at an X-point."""
    inside: Bool[Array, "nr nz"]
    """The nodes within the last closed surface."""


class Limiter(eqx.Module):
    """A closed polygon that the plasma stays in: points along it, and the nodes within."""

    trainable_fields = ()

    points: Float[Array, "m 2"]
    region: Bool[Array, "nr nz"]


def limiter(grid: Rectangle, corners: np.ndarray) -> Limiter:
    """The limiter of given corners `(n, 2)`.

    **Raises** ValueError for fewer than three corners, corners outside of the grid or within a cell
    of its sides, and a polygon with fewer than 16 nodes in it.
    """
    corners = np.asarray(corners, float)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(f"limiter must have shape (n, 2) with n >= 3, got {corners.shape}")
    h = np.asarray(grid.spacing)
    low, high = np.asarray(grid.lower) + 0.999 * h, np.asarray(grid.upper) - 0.999 * h
    if np.any(corners < low) or np.any(corners > high):
        raise ValueError(
            f"limiter must lie between {low.tolist()} and {high.tolist()}, a cell within the grid, "
            f"got corners from {corners.min(axis=0).tolist()} to {corners.max(axis=0).tolist()}"
        )
    pieces = []
    for start, stop in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        count = max(2, int(np.ceil(2 * np.max(np.abs(stop - start) / h))))
        pieces.append(start + (stop - start) * np.arange(count)[:, None] / count)
    region = within(corners, np.stack(np.meshgrid(*grid.lines, indexing="ij"), axis=-1))
    if region.sum() < 16:
        raise ValueError(f"limiter must hold at least 16 nodes of the grid, got {region.sum()}")
    return Limiter(jnp.asarray(np.concatenate(pieces), grid.dtype), jnp.asarray(region))


def within(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points `(..., 2)` lie in a polygon: a ray to larger R crosses it an odd number of
    times."""
    inside = np.zeros(points.shape[:-1], bool)
    for (r0, z0), (r1, z1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        straddles = (z0 > points[..., 1]) != (z1 > points[..., 1])
        meets = r0 + (points[..., 1] - z0) / (z1 - z0 if z1 != z0 else 1.0) * (r1 - r0)
        inside ^= straddles & (points[..., 0] < meets)
    return inside


def surfaces(grid: Rectangle, wall: Limiter, psi: Float[Array, "nr nz"]) -> Surfaces:
    """Of a flux that is highest on the axis."""
    frozen = lax.stop_gradient(psi)
    highest = jnp.argmax(jnp.where(wall.region, frozen, -jnp.inf))
    top = jnp.stack(jnp.unravel_index(highest, grid.shape))
    nodes, found = saddle_nodes(grid, wall.region, frozen)
    starts = jax.vmap(lambda node: _place(grid, node))(jnp.concatenate([top[None], nodes]))
    points = jax.vmap(lambda start: critical_point(grid, psi, start))(starts)
    values = grid.at_each(psi, points)
    axis, axis_flux = points[0], values[0]
    x_points, x_flux = points[1:], values[1:]
    low = jnp.asarray(-jnp.inf, psi.dtype)
    x_flux = jnp.where(found, x_flux, low)
    separatrix = jnp.max(x_flux)
    behind = jnp.any(jax.vmap(lambda p, f: f & _behind(grid, frozen, p, axis))(x_points, found), 0)
    core = connected((frozen > lax.stop_gradient(separatrix)) & ~behind, top)
    contact, contact_flux = _contact(grid, wall, psi, core, lax.stop_gradient(separatrix))
    boundary = jnp.maximum(separatrix, contact_flux)
    return Surfaces(
        axis,
        axis_flux,
        jnp.where(found[:, None], x_points, jnp.nan),
        x_flux,
        contact,
        contact_flux,
        boundary,
        contact_flux > separatrix,
        core & wall.region & (frozen > lax.stop_gradient(boundary)),
    )


def _place(grid: Rectangle, node: Array) -> Array:
    spacing = jnp.asarray(grid.spacing, grid.dtype)
    return jnp.asarray(grid.lower, grid.dtype) + node * spacing


def critical_point(
    grid: Rectangle, psi: Float[Array, "nr nz"], start: Float[Array, "2"]
) -> Float[Array, "2"]:
    """The place near a start where the flux has no slope."""
    spacing = jnp.asarray(grid.spacing, grid.dtype)
    low = jnp.asarray(grid.lower, grid.dtype)
    high = jnp.asarray(grid.upper, grid.dtype)

    def step(values: Array, point: Array) -> Array:
        _, slope, ((rr, rz), (_, zz)) = grid.expansion(values, point)
        det = rr * zz - rz**2
        det = jnp.where(det == 0, 1.0, det)
        whole = jnp.stack([rz * slope[1] - zz * slope[0], rz * slope[0] - rr * slope[1]]) / det
        # At most a cell: farther away the quadratic model is worth nothing.
        return whole / jnp.maximum(1.0, jnp.max(jnp.abs(lax.stop_gradient(whole) / spacing)))

    frozen = lax.stop_gradient(psi)
    near = lax.fori_loop(
        0, NEWTON_STEPS, lambda _, p: jnp.clip(p + step(frozen, p), low, high), start
    )
    near = lax.stop_gradient(near)
    return near + step(psi, near)


def saddle_nodes(
    grid: Rectangle, region: Bool[Array, "nr nz"], psi: Float[Array, "nr nz"]
) -> tuple[Array, Array]:
    """The nodes `(2, 2)` next to the saddles with the highest flux, and whether there are any: the
    quadratic through the neighbours has its saddle within a cell of the node."""
    c = psi[1:-1, 1:-1]
    gr, gz = (psi[2:, 1:-1] - psi[:-2, 1:-1]) / 2, (psi[1:-1, 2:] - psi[1:-1, :-2]) / 2
    rr = psi[2:, 1:-1] - 2 * c + psi[:-2, 1:-1]
    zz = psi[1:-1, 2:] - 2 * c + psi[1:-1, :-2]
    rz = (psi[2:, 2:] - psi[2:, :-2] - psi[:-2, 2:] + psi[:-2, :-2]) / 4
    det = rr * zz - rz**2
    safe = jnp.where(det < 0, det, -1.0)
    near = jnp.maximum(jnp.abs(rz * gz - zz * gr), jnp.abs(rz * gr - rr * gz)) / -safe <= 0.75
    score = jnp.where((det < 0) & near, c, -jnp.inf)
    score = jnp.where(region, jnp.pad(score, 1, constant_values=-jnp.inf), -jnp.inf)
    i, j = jnp.arange(grid.shape[0])[:, None], jnp.arange(grid.shape[1])
    nodes, found = [], []
    for _ in range(SADDLES):
        best = jnp.argmax(score)
        row, column = jnp.unravel_index(best, grid.shape)
        nodes.append(jnp.stack([row, column]))
        found.append(jnp.isfinite(score[row, column]))
        close = (jnp.abs(i - row) <= 3) & (jnp.abs(j - column) <= 3)
        score = jnp.where(close, -jnp.inf, score)
    return jnp.stack(nodes), jnp.stack(found)


def _behind(grid: Rectangle, psi: Array, x_point: Array, axis: Array) -> Array:
    """Nodes near an X-point on its side away from the axis. Across it the flux falls most along the
    eigenvector of the Hessian with the positive eigenvalue, on which the plasma lies."""
    spacing = jnp.asarray(grid.spacing, grid.dtype)
    x_point, axis = lax.stop_gradient(x_point), lax.stop_gradient(axis)
    (rr, rz), (_, zz) = grid.expansion(psi, x_point)[2]
    angle = jnp.arctan2(2 * rz, rr - zz) / 2
    rising = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    rising = rising * jnp.where(rising @ (axis - x_point) < 0, -1.0, 1.0)
    offset = grid.points - x_point
    close = jnp.max(jnp.abs(offset / spacing), axis=-1) < BARRIER
    return close & (offset @ rising < 0)


def connected(allowed: Bool[Array, "nr nz"], seed: Array) -> Bool[Array, "nr nz"]:
    """The allowed nodes that a path of neighbours along the axes joins with the seed."""

    def grown(mask: Array) -> Array:
        wide = jnp.pad(mask, 1)
        near = wide[2:, 1:-1] | wide[:-2, 1:-1] | wide[1:-1, 2:] | wide[1:-1, :-2]
        return (mask | near) & allowed

    def going(carry: tuple[Array, Array]) -> Array:
        return jnp.any(carry[0] != carry[1])

    start = jnp.zeros_like(allowed).at[seed[0], seed[1]].set(True)
    return lax.while_loop(going, lambda carry: (grown(carry[0]), carry[0]), (start, ~start))[0]


def _contact(
    grid: Rectangle, wall: Limiter, psi: Array, core: Array, separatrix: Array
) -> tuple[Array, Array]:
    """The place of the highest flux on the part of the limiter that the plasma may touch, and that
    flux; minus infinity where there is none."""
    flux = grid.at_each(psi, wall.points)
    spacing, lower = np.asarray(grid.spacing), np.asarray(grid.lower)
    cell = jnp.floor((wall.points - lower) / spacing).astype(int)
    corners = [core[cell[:, 0] + i, cell[:, 1] + j] for i in (0, 1) for j in (0, 1)]
    frozen = lax.stop_gradient(flux)
    touched = jnp.any(jnp.stack(corners), axis=0) & (frozen > separatrix)
    best = jnp.argmax(jnp.where(touched, frozen, -jnp.inf))
    before, after = frozen[best - 1], frozen[(best + 1) % len(flux)]
    at = wall.points[best]
    other = jnp.where(after > before, wall.points[(best + 1) % len(flux)], wall.points[best - 1])
    way = other - at

    def step(share: Array, values: Array) -> Array:
        _, slope, hessian = grid.expansion(values, at + share * way)
        bend = -(way @ hessian @ way)
        whole = slope @ way / jnp.where(bend > 0, bend, jnp.inf)
        return jnp.clip(share + whole, 0.0, 1.0)

    still = lax.stop_gradient(psi)
    share = lax.fori_loop(0, NEWTON_STEPS, lambda _, t: step(t, still), jnp.zeros_like(flux[0]))
    place = at + step(lax.stop_gradient(share), psi) * way
    return place, jnp.where(jnp.any(touched), grid.at(psi, place), -jnp.inf)


class RayHits(NamedTuple):
    """Where rays from the axis meet a flux surface, NaN for rays that do not."""

    points: Float[Array, "rays 2"]
    distance: Float[Array, " rays"]
    """From the axis, in m."""
    slope: Float[Array, " rays"]
    """Of the flux along the ray."""


@eqx.filter_jit
def _hits(grid: Rectangle, psi: Array, axis: Array, level: Array, rays: int) -> RayHits:
    """Of rays at equal angles. The first crossing counts; its last step is differentiated."""
    frozen, still, wanted = map(lax.stop_gradient, (psi, axis, level))
    low, high = (jnp.asarray(corner, grid.dtype) for corner in (grid.lower, grid.upper))
    sign = jnp.sign(grid.at(frozen, still) - wanted)

    def along(values: Array, origin: Array, distance: Array, way: Array) -> tuple[Array, Array]:
        value, slope, _ = grid.expansion(values, origin + distance * way)
        return value, slope @ way

    def one(angle: Array) -> RayHits:
        way = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        reach = jnp.min(jnp.where(way > 0, high - still, low - still) / way)
        places = reach * jnp.linspace(0.0, 1.0, ALONG, dtype=psi.dtype)
        depth = jax.vmap(lambda t: sign * (along(frozen, still, t, way)[0] - wanted))(places)
        beyond = jnp.argmax(depth <= 0)
        first, last = places[beyond - 1], places[beyond]
        share = depth[beyond - 1] / (depth[beyond - 1] - depth[beyond])

        def nearer(_: Array, t: Array) -> Array:
            value, slope = along(frozen, still, t, way)
            return jnp.clip(t - (value - wanted) / slope, first, last)

        near = lax.fori_loop(0, NEWTON_STEPS, nearer, first + share * (last - first))
        met = (beyond > 0) & (sign != 0)
        near = lax.stop_gradient(jnp.where(met, near, reach / 2))
        value, slope = along(psi, axis, near, way)
        distance = near - (value - level) / slope
        distance = jnp.where(met, distance, jnp.nan)
        slope = along(psi, axis, jnp.where(met, distance, near), way)[1]
        return RayHits(axis + distance * way, distance, slope)

    angles = 2 * jnp.pi * (jnp.arange(rays, dtype=psi.dtype) + 0.5) / rays
    return jax.vmap(one)(angles)


def flux_surface(
    grid: Rectangle,
    psi: Float[Array, "nr nz"],
    axis: Float[Array, "2"],
    level: Float[Array, ""],
    *,
    rays: int = RAYS,
) -> Float[Array, "rays 2"]:
    """Points of the surface with a flux of `level` about the axis, on rays at equal angles from it.

    Every ray is to meet the surface once. Goes through jit, grad (of `psi`, `axis` and `level`) and
    vmap.

    **Raises** ValueError, outside of jit, for a level that no closed surface about the axis has;
    inside, points are NaN.
    """
    return _met(_hits(grid, psi, axis, level, checks.count("rays", rays, 3)), level).points


def safety_factor(
    grid: Rectangle,
    psi: Float[Array, "nr nz"],
    axis: Float[Array, "2"],
    level: Float[Array, ""],
    f: Numbers,
    *,
    rays: int = RAYS,
) -> Float[Array, ""]:
    """q of the surface with a flux of `level` (Wb/rad): turns around the torus for one around the
    axis, with the sign of `f`.

    **Arguments:** `psi`, `axis`, `level`, `rays` as of `flux_surface`; `f`: R B_phi on the surface,
    in T m.

    **Raises** as `flux_surface`.
    """
    checks.finite("f", f)
    hits = _met(_hits(grid, psi, axis, level, checks.count("rays", rays, 3)), level)
    mean = jnp.mean(hits.distance / (hits.points[:, 0] * jnp.abs(hits.slope)))
    return checks.as_floats(f) * mean


def _met(hits: RayHits, level: Array) -> RayHits:
    if checks.is_concrete((hits, level)):
        missed = int(jnp.sum(jnp.isnan(hits.distance)))
        if missed:
            raise ValueError(
                f"level must be the flux of a closed surface about the axis, got {float(level):.6g}"
                f", which {missed} of {len(hits.distance)} rays from the axis do not meet"
            )
    return hits
