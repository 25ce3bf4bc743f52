"""A body inside the box: the velocity just inside its surface, and the pressure that keeps the flow
out. `immersion` makes one from a shape, `surfaces` what its surface does.

A face takes part in the flow with its open fraction (the projection of Ng, Min and Gibou, J.
Comput. Phys. 228 (2009) 8807). On closed faces next to open ones the velocity is continued through
the surface, where it is that of the body; all stencils are then those of the open box.

The pressure's matrix differs from that of the open box in the faces cut or closed by the surface
alone, so the fast solver gives the exact solution with one small dense matrix more (Buzbee, Dorr,
George and Golub, SIAM J. Numer. Anal. 8 (1971) 722).
"""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxpbdl.grids.cells import Cells, along, face_widths
from jaxpbdl.grids.grid import outer
from jaxpbdl.grids.operators import Velocity, divergence, gradient
from jaxpbdl.grids.poisson import FastSolver


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


class Sliding(eqx.Module):
    """What velocities of the surface along itself do, one after the other.

    **Attributes:** per component `added`: to the continued values, and `walls`: the velocity of the
    surface on the faces about it, zero on the others; `wet`: 1 in cells with an open face.
    """

    added: tuple[Float[Array, "_k surfaces"], ...]
    walls: tuple[Float[Array, "..."], ...]
    wet: Float[Array, "*cells"]


class Body(eqx.Module):
    """A fixed body on a grid.

    **Attributes:**

    - `open`: open fraction of each face, per component.
    - `solid`: 1 on faces within the body, 0 in the fluid, the fraction in between: the share of the
      control volume of a face that is not fluid.
    - `continuations`: per component.
    - `cells`: (here, there) of each face with less than full opening; `roots`: the square roots of
      what their conductance lacks; `inverse`: the dense matrix.
    - `sliding`: what the surface's velocities along itself do, and `walls`: their sum on the faces
      about it; None where it is at rest.
    """

    trainable_fields = ()

    open: Velocity
    solid: Velocity
    continuations: tuple[Continuation, ...]
    cells: Int[Array, "2 m"]
    roots: Float[Array, " m"]
    inverse: Float[Array, "m m"]
    sliding: Sliding | None = None
    walls: Velocity | None = None

    def continued(self, velocity: Velocity) -> Velocity:
        """The velocity with its closed faces set: continued near the surface, zero deeper."""
        pairs = zip(self.continuations, self.opened(velocity), strict=True)
        return tuple(fill(u) for fill, u in pairs)

    def at_factors(self, factors: Float[Array, " surfaces"]) -> "Body":
        """The body whose surfaces move at given factors of their velocities."""
        if self.sliding is None:
            raise ValueError("the surface of the body has no velocity: give `incompressible` one")
        filled = tuple(
            Continuation(one.faces, one.sources, one.weights, added @ factors)
            for one, added in zip(self.continuations, self.sliding.added, strict=True)
        )
        walls = tuple(jnp.tensordot(factors, part, 1) for part in self.sliding.walls)
        return dataclasses.replace(self, continuations=filled, walls=walls)

    def restored(self, velocity: Velocity, grid: Cells) -> Velocity | None:
        """The rate of momentum that the conservative form takes away with the divergence which a
        continued velocity has next to the surface, at the speed of the surface; None where that is
        zero. What is left is carried as next to a surface at rest, by one who moves along."""
        if self.sliding is None or self.walls is None:
            return None
        leaving, found = self.sliding.wet * divergence(velocity, grid), []
        for axis, wall in enumerate(self.walls):
            n = grid.shape[axis]
            first, last = along(leaving, axis, 0, 1), along(leaving, axis, n - 1, n)
            if not grid.periodic[axis]:
                first, last = jnp.zeros_like(first), jnp.zeros_like(last)
            before = jnp.concatenate([last, leaving], axis)
            after = jnp.concatenate([leaving, first], axis)
            both = along(before + after, axis, 0, wall.shape[axis]) / 2
            found.append(wall * both / jnp.asarray(outer(face_widths(axis, grid)), grid.dtype))
        return tuple(found)

    def opened(self, velocity: Velocity) -> Velocity:
        """Zero on closed faces."""
        pairs = zip(velocity, self.open, strict=True)
        return tuple(jnp.where(fraction > 0, u, 0.0) for u, fraction in pairs)

    def weighted(self, velocity: Velocity) -> Velocity:
        """Times the open fractions."""
        return tuple(f * u for f, u in zip(self.open, velocity, strict=True))

    def solve(self, b: Array, fast: FastSolver) -> Array:
        """The pressure of `b` with the body, from two fast solutions without it."""
        here, there = self.cells
        first = fast(b).reshape(-1)
        jumps = self.roots * (self.inverse @ (self.roots * (first[here] - first[there])))
        extra = jnp.zeros(b.size, b.dtype).at[here].add(jumps).at[there].add(-jumps)
        return first.reshape(b.shape) + fast(extra.reshape(b.shape))


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

    return lax.custom_linear_solve(
        apply, b, lambda _, right: body.solve(right, fast), symmetric=True
    )
