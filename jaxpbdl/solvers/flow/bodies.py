"""A body inside the box: the velocity just inside its surface, and the pressure that keeps the flow
out. `immersion` makes one from a shape, `moving_bodies` one whose surface moves.

A face takes part in the flow with its open fraction (the projection of Ng, Min and Gibou, J.
Comput. Phys. 228 (2009) 8807). On closed faces next to open ones the velocity is continued through
the surface, where it is that of the body; all stencils are then those of the open box.

The pressure's matrix differs from that of the open box in the faces cut or closed by the surface
alone, so the fast solver gives the exact solution with one small dense matrix more (Buzbee, Dorr,
George and Golub, SIAM J. Numer. Anal. 8 (1971) 722). The dense matrix of a body that moves would
change at every stage: there the fast solver is the preconditioner of conjugate gradients.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxpbdl.grids.cells import Cells, along, close, face_widths, outer
from jaxpbdl.grids.operators import Velocity, divergence, gradient
from jaxpbdl.grids.poisson import FastSolver
from jaxpbdl.solvers.krylov import conjugate_gradients

NEARLY_CLOSED = 0.5
"""Cells with less of the conductance of open ones than this."""
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
"""Of the pressure about a body that moves: the residual over the right side."""


class Continuation(eqx.Module):
    """How the values of one component on some closed faces, or of a scalar in some cells within the
    body, follow from values in the fluid, and from those on the surface where these are not zero
    (`surface`)."""

    faces: Int[Array, " k"]
    sources: Int[Array, "k stencil"]
    weights: Float[Array, "k stencil"]
    surface: Float[Array, " k"] | None = None

    def __call__(self, u: Array) -> Array:
        flat = u.reshape(-1)
        values = jnp.sum(self.weights * flat[self.sources], axis=-1)
        values = values if self.surface is None else values + self.surface
        # Entries to spare point beyond the end and are dropped.
        return flat.at[self.faces].set(values, mode="drop").reshape(u.shape)


class Body(eqx.Module):
    """A body on a grid as it is at a time.

    **Attributes:**

    - `open`: open fraction of each face, per component.
    - `solid`: 1 on faces within the body, 0 in the fluid, the fraction in between: the share of the
      control volume of a face that is not fluid.
    - `continuations`: per component.
    - `cells`: (here, there) of each face with less than full opening; `roots`: the square roots of
      what their conductance lacks; `inverse`: the dense matrix. Empty, None, for a body that moves.
    - `walls`: the velocity of the surface, on all faces; None where it is zero.
    """

    trainable_fields = ()

    open: Velocity
    solid: Velocity
    continuations: tuple[Continuation, ...]
    cells: Int[Array, "2 m"]
    roots: Float[Array, " m"]
    inverse: Float[Array, "m m"] | None
    walls: Velocity | None = None

    def at(self, time: Array) -> "Body":
        """The body at a time: always the same."""
        return self

    def continued(self, velocity: Velocity) -> Velocity:
        """The velocity with its closed faces set: continued near the surface, that of the body
        deeper."""
        pairs = zip(self.continuations, self.opened(velocity), strict=True)
        return tuple(fill(u) for fill, u in pairs)

    def opened(self, velocity: Velocity) -> Velocity:
        """On closed faces that of the body, zero where it has none."""
        walls = self.walls if self.moves and self.walls is not None else (0.0,) * len(velocity)
        return tuple(
            jnp.where(fraction > 0, u, wall)
            for u, fraction, wall in zip(velocity, self.open, walls, strict=True)
        )

    @property
    def moves(self) -> bool:
        """Whether it takes volume along; a surface that slides along itself does not."""
        return self.inverse is None

    def weighted(self, velocity: Velocity) -> Velocity:
        """Times the open fractions."""
        return tuple(f * u for f, u in zip(self.open, velocity, strict=True))

    def outflow(self, velocity: Velocity, grid: Cells) -> Array:
        """Volume that leaves each cell a unit of time: through the open part of its faces, and with
        the body through the rest. Zero within the body."""
        through = self.weighted(velocity)
        if self.walls is None or not self.moves:
            return divergence(through, grid)
        with_body = tuple(
            u + (1 - f) * wall for u, f, wall in zip(through, self.open, self.walls, strict=True)
        )
        # Within the body it is that of the body, zero but for rounding.
        wet = diagonal(self.open, grid) > 0
        return jnp.where(wet, divergence(with_body, grid), 0.0)

    def unbrought(self, velocity: Velocity, grid: Cells) -> Velocity | None:
        """The momentum that the conservative form brings in with the divergence that a continued
        velocity has next to the surface, at the speed of the surface: to be taken out. About a body
        that moves the flow is then what it is in the frame of the body."""
        if self.walls is None:
            return None
        away, found = divergence(velocity, grid), []
        for axis, wall in enumerate(self.walls):
            n = grid.shape[axis]
            last, first = along(away, axis, n - 1, n), along(away, axis, 0, 1)
            if not grid.periodic[axis]:
                last, first = jnp.zeros_like(last), jnp.zeros_like(first)
            before = jnp.concatenate([last, away], axis)
            after = jnp.concatenate([away, first], axis)
            both = along(before + after, axis, 0, wall.shape[axis])
            volume = jnp.asarray(outer(face_widths(axis, grid)), grid.dtype)
            found.append(wall * both / (2 * volume))
        return tuple(found)

    def solve(self, b: Array, fast: FastSolver) -> Array:
        """The pressure of `b` with the body, from two fast solutions without it."""
        assert self.inverse is not None
        here, there = self.cells
        first = fast(b).reshape(-1)
        jumps = self.roots * (self.inverse @ (self.roots * (first[here] - first[there])))
        extra = jnp.zeros(b.size, b.dtype).at[here].add(jumps).at[there].add(-jumps)
        return first.reshape(b.shape) + fast(extra.reshape(b.shape))


def diagonal(open_: Velocity, grid: Cells) -> Float[Array, "*cells"]:
    """Of the pressure's matrix: the conductances of the faces of each cell, times a fraction."""
    total = jnp.zeros(grid.shape, open_[0].dtype)
    for axis, (fraction, n) in enumerate(zip(open_, grid.shape, strict=True)):
        weighted = close(fraction, axis, grid.periodic[axis]) * conductance(axis, grid)
        total = total + along(weighted, axis, 1, n + 1) + along(weighted, axis, 0, n)
    return total


def conductance(axis: int, grid: Cells) -> Array:
    """Area over gap of all faces across an axis."""
    lines = list(grid.widths)
    lines[axis] = 1 / grid.gaps[axis]
    return jnp.asarray(outer(lines), grid.dtype)


def pressure_of(
    b: Float[Array, "*cells"],
    body: Body | None,
    fast: FastSolver,
    grid: Cells,
    holds: Sequence[tuple[bool, bool]],
) -> Float[Array, "*cells"]:
    """The pressure whose open gradients carry the volume `b` into each cell.

    Its derivatives are those of the equation, one more solution, whatever its way.
    """
    if body is None:
        return fast(b)

    def apply(pressure: Array) -> Array:
        return -divergence(body.weighted(gradient(pressure, grid, holds)), grid)

    def solve(_: Callable, right: Array) -> Array:
        if body.inverse is not None:
            return body.solve(right, fast)
        if all(lower and upper for lower, upper in holds):
            # A closed box has a solution only without a mean; what rounding leaves would keep the
            # iterations from their goal.
            wet = diagonal(body.open, grid) > 0
            right = jnp.where(wet, right - jnp.sum(right) / jnp.sum(wet), 0.0)
        tolerance = TOLERANCE[str(right.dtype)]
        return conjugate_gradients(apply, right, preconditioner, tolerance=tolerance)

    preconditioner = fast if body.inverse is not None else with_slivers(body, fast, grid)
    return lax.custom_linear_solve(apply, b, solve, symmetric=True)


def with_slivers(body: Body, fast: FastSolver, grid: Cells) -> Callable[[Array], Array]:
    """The fast solver, plus the inverse of the diagonal in cells that are nearly closed: these hang
    on their neighbours by less than the open box has it, which the fast solver does not see."""
    ones = tuple(jnp.ones_like(fraction) for fraction in body.open)
    open_, full = (diagonal(part, grid) for part in (body.open, ones))
    nearly = (open_ > 0) & (open_ < NEARLY_CLOSED * full)
    extra = jnp.where(nearly, 1 / jnp.where(nearly, open_, 1.0), 0.0)
    return lambda residual: fast(residual) + extra * residual
