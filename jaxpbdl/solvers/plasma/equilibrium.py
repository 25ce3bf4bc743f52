"""The free-boundary equilibrium of a tokamak, and its derivatives.

    Delta* psi = -mu_0 R J(psi),   psi = flux of the coils + flux of the plasma

The flux of the plasma is solved for in a rectangle; on its sides it is the sum of the fluxes of all
currents within (Green's function), which is what makes the boundary free. The map from the flux of
the plasma to that of the current it makes has a root by Newton's method with GMRES after a few
damped Picard iterations (J. Blum, Numerical Simulation and Optimal Control in Plasma Physics, 1989,
chapter II; N. C. Amorisco et al., Phys. Plasmas 31 (2024) 042517). Newton's method also finds
equilibria that move vertically without control, at which Picard's iteration drifts away.

Derivatives with respect to currents, coil positions and profiles are those of the implicit function
theorem: one linear equation more, whatever the way to the root.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.solvers.krylov import gmres, implicit_root
from jaxpbdl.solvers.plasma.circuits import MU_0, Coils, filament_flux
from jaxpbdl.solvers.plasma.delta_star import DeltaStar
from jaxpbdl.solvers.plasma.profiles import Density, Profile
from jaxpbdl.solvers.plasma.rectangle import Rectangle
from jaxpbdl.solvers.plasma.surfaces import Limiter, Surfaces, limiter, surfaces, within

LINEAR_TOLERANCE = 1e-11
"""Of the linear equation of a derivative, relative."""
KRYLOV = 60
FORCING = 1e-3
"""Accuracy of the linear equations of a step of Newton's method."""
DAMPING = 0.5
CurrentsOf = Callable[[Array], Array]
"""From the flux of the plasma to the currents of the circuits."""


class EquilibriumError(RuntimeError):
    """There is no closed surface, or the iteration did not converge."""


class Tokamak(eqx.Module):
    """Grid, coils and limiter, with what does not change from one equilibrium to another."""

    trainable_fields = ()

    operator: DeltaStar
    coils: Coils
    limiter: Limiter
    response: Float[Array, "circuits nr nz"]
    """Flux per ampere of each circuit."""
    to_sides: Float[Array, "sides cells"]
    """Flux on the sides per ampere in each node of the window about the limiter."""
    window: tuple[int, int, int, int] = eqx.field(static=True)

    @property
    def grid(self) -> Rectangle:
        return self.operator.grid

    def plasma_flux(self, density: Float[Array, "nr nz"]) -> Float[Array, "nr nz"]:
        """Of a current density that is zero outside of the limiter."""
        i0, i1, j0, j1 = self.window
        hr, hz = self.grid.spacing
        sides = self.to_sides @ (density[i0:i1, j0:j1].ravel() * hr * hz)
        boundary = jnp.zeros_like(density).at[self.grid.frame].set(sides)
        return self.operator.solve(-MU_0 * self.grid.radius * density, boundary)

    def coil_flux(self, currents: Float[Array, " circuits"]) -> Float[Array, "nr nz"]:
        """Of the circuits together."""
        return jnp.tensordot(currents, self.response, axes=1)


def tokamak(
    grid: Rectangle, coils: Coils, limiter_corners: Numbers | None = None, *, order: int = 4
) -> Tokamak:
    """A machine. Gradients reach the positions and turns of the coils.

    **Arguments:**

    - `grid`: reaches at least a cell beyond the limiter; coils may lie in it or beyond.
    - `limiter_corners`: `(n, 2)`, of the polygon that the plasma stays in; None for a rectangle two
      cells within the grid.
    - `order`: of the operator, 2 or 4.

    **Raises:** ValueError for a limiter that does not fit, filaments within it or on a node of the
    grid.
    """
    h = np.asarray(grid.spacing)
    if limiter_corners is None:
        (r0, z0), (r1, z1) = np.asarray(grid.lower) + 2 * h, np.asarray(grid.upper) - 2 * h
        corners = np.array([[r0, z0], [r1, z0], [r1, z1], [r0, z1]])
    else:
        corners = np.asarray(limiter_corners, float)
    wall = limiter(grid, corners)
    if checks.is_concrete((coils.r, coils.z)):
        _check_coils(grid, coils, corners)
    region = np.asarray(wall.region)
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    window = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    r, z = grid.coordinates
    cells = tuple(c[window[0] : window[1], window[2] : window[3]].ravel() for c in (r, z))
    sides = r[grid.frame], z[grid.frame]
    to_sides = lax.map(lambda s: filament_flux(s[0], s[1], cells[0], cells[1]), sides)
    return Tokamak(DeltaStar(grid, order), coils, wall, coils.flux(r, z), to_sides, window)


def _check_coils(grid: Rectangle, coils: Coils, corners: np.ndarray) -> None:
    places = np.stack([np.asarray(coils.r), np.asarray(coils.z)], axis=-1)
    inside = within(corners, places)
    if inside.any():
        r, z = places[np.argmax(inside)]
        raise ValueError(
            f"coils must lie outside of the limiter, where the plasma is, got a filament at "
            f"R = {r:.6g}, Z = {z:.6g}"
        )
    place = (places - np.asarray(grid.lower)) / np.asarray(grid.spacing)
    nearest = np.clip(np.round(place), 0, np.asarray(grid.shape) - 1)
    on_node = np.max(abs(place - nearest), axis=-1) < 1e-6
    if on_node.any():
        r, z = places[np.argmax(on_node)]
        raise ValueError(
            f"coils must not lie on a node of the grid, where their flux is infinite, got a "
            f"filament at R = {r:.6g}, Z = {z:.6g}: move the grid or the filament a little"
        )


class Equilibrium(NamedTuple):
    """What `free_boundary` and `shaped` find."""

    psi: Float[Array, "nr nz"]
    """Poloidal flux per radian, Wb/rad."""
    plasma: Float[Array, "nr nz"]
    """The part of it that the plasma makes; a start for the next equilibrium."""
    currents: Float[Array, " circuits"]
    density: Density
    surfaces: Surfaces
    """Of the flux times the sign of the plasma current."""
    sign: Float[Array, ""]
    residual: Float[Array, ""]
    """What one more evaluation changes of the flux of the plasma, relative."""

    @property
    def axis(self) -> Float[Array, "2"]:
        return self.surfaces.axis

    @property
    def axis_flux(self) -> Float[Array, ""]:
        return self.sign * self.surfaces.axis_flux

    @property
    def boundary_flux(self) -> Float[Array, ""]:
        return self.sign * self.surfaces.boundary_flux

    def normalised(self) -> Float[Array, "nr nz"]:
        """The flux, 0 on the axis and 1 on the boundary."""
        depth = self.axis_flux - self.boundary_flux
        return (self.axis_flux - self.psi) / depth


class ShapeTargets(eqx.Module):
    """What the coils are to hold in `shaped`: the field is zero at the X-points, the flux the same
    at all points of the boundary. In the sense of least squares; `ridge` times the currents is
    added to the rows (T and Wb/rad, per ampere)."""

    x_points: Float[Array, "n 2"]
    boundary: Float[Array, "m 2"]
    ridge: Float[Array, ""] = eqx.field(converter=checks.as_floats, default=0.0)

    def rows(self, grid: Rectangle, psi: Float[Array, "nr nz"]) -> Float[Array, " rows"]:
        """B_R and B_Z at the X-points, the flux at the boundary less that at its first point."""
        slopes = jax.vmap(lambda point: grid.gradient_at(psi, point))(self.x_points)
        field = jnp.stack([-slopes[:, 1], slopes[:, 0]]) / self.x_points[:, 0]
        flux = grid.at_each(psi, self.boundary)
        return jnp.concatenate([field.ravel(), flux[1:] - flux[:1]])


def free_boundary(
    machine: Tokamak,
    currents: Numbers,
    profile: Profile,
    *,
    start: Float[Array, "nr nz"] | None = None,
    tolerance: float = 1e-10,
    picard: int = 10,
    iterations: int = 30,
) -> Equilibrium:
    """The equilibrium for given currents of the circuits (A).

    **Arguments:**

    - `start`: flux of the plasma of an equilibrium nearby; None for that of a round current in the
      middle of the limiter (`round_plasma` makes others).
    - `tolerance`: of the residual.
    - `picard`, `iterations`: damped Picard iterations first, then Newton's method at most.

    Goes through jit, grad (both modes) and vmap. Inside of them nothing can be raised: look at
    `residual` there.

    **Raises:** ValueError for currents that do not fit; EquilibriumError, outside of jit, where the
    iteration does not converge or ends without a closed surface.
    """
    currents = checks.as_floats(currents)
    checks.shape("currents", currents, (machine.coils.count,))
    checks.finite("currents", currents)
    return _checked(machine, _free(machine, currents, profile, *_options(
        machine, profile, start, tolerance, picard, iterations
    )), tolerance, iterations)  # fmt: skip


def shaped(
    machine: Tokamak,
    targets: ShapeTargets,
    profile: Profile,
    *,
    start: Float[Array, "nr nz"] | None = None,
    tolerance: float = 1e-10,
    picard: int = 10,
    iterations: int = 30,
) -> Equilibrium:
    """The equilibrium whose currents hold a shape: those of least squares for its own plasma.

    **Arguments:** `targets`; the others as of `free_boundary`. Fewer conditions than circuits give
    the smallest currents.

    **Raises:** as `free_boundary`.
    """
    return _checked(machine, _shaped(machine, targets, profile, *_options(
        machine, profile, start, tolerance, picard, iterations
    )), tolerance, iterations)  # fmt: skip


def round_plasma(
    machine: Tokamak, current: Numbers, centre: Sequence[float], radii: Sequence[float]
) -> Float[Array, "nr nz"]:
    """The flux of a plasma current that falls off in an ellipse as a parabola, within the
    limiter."""
    r, z = machine.grid.coordinates
    distance = ((r - centre[0]) / radii[0]) ** 2 + ((z - centre[1]) / radii[1]) ** 2
    density = jnp.where(machine.limiter.region, jnp.maximum(1 - distance, 0.0), 0.0)
    area = machine.grid.spacing[0] * machine.grid.spacing[1]
    return machine.plasma_flux(density * checks.as_floats(current) / (area * jnp.sum(density)))


def _options(
    machine: Tokamak,
    profile: Profile,
    start: Array | None,
    tolerance: float,
    picard: int,
    iterations: int,
) -> tuple[Array, float, int, int]:
    checks.positive("tolerance", tolerance)
    checks.count("picard", picard, 0)
    checks.count("iterations", iterations, 0)
    if start is None:
        points = np.asarray(machine.limiter.points)
        low, high = points.min(axis=0), points.max(axis=0)
        radii = [float(min(high - low)) / 3] * 2
        start = round_plasma(machine, profile.current, ((low + high) / 2).tolist(), radii)
    return machine.grid.check_state(start), tolerance, picard, iterations


def _checked(
    machine: Tokamak, found: Equilibrium, tolerance: float, iterations: int
) -> Equilibrium:
    if checks.is_concrete((found.residual, found.surfaces)):
        depth = float(found.surfaces.axis_flux - found.surfaces.boundary_flux)
        count = int(jnp.sum(found.surfaces.inside))
        if not depth > 0 or not np.isfinite(depth) or count < 9:
            raise EquilibriumError(
                f"no closed flux surface within the limiter: the axis is {depth:.3g} Wb/rad above "
                f"the boundary, with {count} nodes between them; start from a plasma nearer to the "
                "one sought, or change the currents"
            )
        if not float(found.residual) <= tolerance:
            raise EquilibriumError(
                f"the equilibrium did not converge: after {iterations} iterations of Newton's "
                f"method the residual is {float(found.residual):.3g}, above {tolerance:.3g}; start "
                "nearer, raise picard or iterations"
            )
    return found


@eqx.filter_jit
def _free(
    machine: Tokamak, currents: Array, profile: Profile, start: Array, tolerance: float,
    picard: int, iterations: int,
) -> Equilibrium:  # fmt: skip
    constant = lambda plasma: currents  # noqa: E731
    return _solved(machine, constant, profile, start, tolerance, picard, iterations)


@eqx.filter_jit
def _shaped(
    machine: Tokamak, targets: ShapeTargets, profile: Profile, start: Array, tolerance: float,
    picard: int, iterations: int,
) -> Equilibrium:  # fmt: skip
    grid = machine.grid
    matrix = jax.vmap(lambda psi: targets.rows(grid, psi), out_axes=1)(machine.response)
    extra = targets.ridge * jnp.eye(machine.coils.count, dtype=matrix.dtype)
    inverse = jnp.linalg.pinv(jnp.concatenate([matrix, extra]))[:, : len(matrix)]
    currents = lambda plasma: -inverse @ targets.rows(grid, plasma)  # noqa: E731
    return _solved(machine, currents, profile, start, tolerance, picard, iterations)


def _solved(
    machine: Tokamak,
    currents_of: CurrentsOf,
    profile: Profile,
    start: Array,
    tolerance: float,
    picard: int,
    iterations: int,
) -> Equilibrium:
    shape = start.shape

    def parts(plasma: Array) -> tuple[Array, Array, Surfaces, Density]:
        currents = currents_of(plasma)
        psi = plasma + machine.coil_flux(currents)
        bounds, density = surfaces_and_current(machine, profile, psi)
        return currents, psi, bounds, density

    def change(flat: Array) -> Array:
        density = parts(flat.reshape(shape))[3]
        return machine.plasma_flux(density.values).ravel() - flat

    def root(function: Callable[[Array], Array], first: Array) -> Array:
        return damped_newton(function, first, tolerance / 2, picard, iterations)

    flat = implicit_root(change, start.ravel(), root, tolerance=LINEAR_TOLERANCE, restart=KRYLOV)
    left = jnp.linalg.norm(lax.stop_gradient(change(flat))) / jnp.linalg.norm(flat)
    currents, psi, bounds, density = parts(flat.reshape(shape))
    sign = jnp.sign(profile.current).astype(psi.dtype)
    return Equilibrium(psi, flat.reshape(shape), currents, density, bounds, sign, left)


class Iterate(NamedTuple):
    """Of `damped_newton`: the best vector so far and its residual, the step from it, the share of
    the step that is tried next, and the steps so far."""

    values: Float[Array, " n"]
    residual: Float[Array, " n"]
    step: Float[Array, " n"]
    share: Float[Array, ""]
    count: Int[Array, ""]


def damped_newton(
    function: Callable[[Array], Array],
    start: Float[Array, " n"],
    tolerance: float,
    picard: int,
    iterations: int,
) -> Float[Array, " n"]:
    """A root to a residual of `tolerance` times its norm, or what was reached: `picard` steps along
    the residual, then Newton's with GMRES, halved until they lower the residual. The function is
    in the program once, as compiling it takes long."""

    def going(state: Iterate) -> Array:
        left = ~(jnp.linalg.norm(state.residual) <= tolerance * jnp.linalg.norm(state.values))
        return left & (state.count < picard + iterations) & (state.share > 1e-3)

    def once(state: Iterate) -> Iterate:
        trial = state.values + state.share * state.step
        residual, linear = jax.linearize(function, trial)
        free = state.count <= picard
        better = free | (jnp.linalg.norm(residual) < jnp.linalg.norm(state.residual))

        def accepted() -> Iterate:
            step = lax.cond(
                state.count < picard,
                lambda: DAMPING * residual,
                lambda: gmres(linear, -residual, tolerance=FORCING, restart=KRYLOV, restarts=2),
            )
            return Iterate(trial, residual, step, jnp.ones_like(state.share), state.count + 1)

        def refused() -> Iterate:
            return state._replace(share=state.share / 2)

        return lax.cond(better, accepted, refused)

    zero = jnp.zeros_like(start)
    first = Iterate(start, zero + jnp.inf, zero, jnp.ones((), start.dtype), jnp.asarray(0))
    return lax.while_loop(going, once, first).values


def surfaces_and_current(
    machine: Tokamak, profile: Profile, psi: Array
) -> tuple[Surfaces, Density]:
    """The surfaces of a flux, and the current density in them."""
    grid = machine.grid
    sign = jnp.sign(profile.current).astype(psi.dtype)
    bounds = surfaces(grid, machine.limiter, sign * psi)
    depth = bounds.axis_flux - bounds.boundary_flux
    x = jnp.clip((bounds.axis_flux - sign * psi) / depth, 0.0, 1.0)
    x = jnp.where(bounds.inside, x, 1.0)
    area = grid.spacing[0] * grid.spacing[1]
    density = profile.density(grid.radius, x, bounds.inside, sign * depth, area)
    return bounds, density
