"""The stencils of a flow in a box that devices share: each device its block, with halos."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxpbdl.distributed.halos import Blocks
from jaxpbdl.distributed.space import parts_of
from jaxpbdl.equations.incompressible import IncompressibleFlow
from jaxpbdl.grids.cells import Cells, block_of
from jaxpbdl.grids.operators import Velocity, divergence, gradient
from jaxpbdl.solvers.flow.conditions import OnSide
from jaxpbdl.solvers.flow.operators import Interpolation, central, limited, momentum_rate
from jaxpbdl.solvers.flow.scalars import scalar_rate
from jaxpbdl.solvers.flow.sides import Plane


def reach_of(interpolation: Interpolation) -> int | None:
    """How many cells the stencils of momentum and of scalars reach to each side; None where that is
    not known, nor whether the values depend on the place."""
    if interpolation is central:
        return 1
    return 2 if interpolation is limited else None


class Carried(NamedTuple):
    """What stencils give as rates of change: of momentum carried and friction, of the scalars, and
    the acceleration of their buoyancy, None without."""

    momentum: Velocity
    scalars: dict[str, Array]
    buoyancy: Velocity | None


class FlowBlocks(eqx.Module):
    """The stencils of a flow on a grid whose cells a mesh shares."""

    trainable_fields = ()

    grid: Cells
    mesh: Mesh = eqx.field(static=True)

    def __check_init__(self):
        self._blocks(2)

    def _blocks(self, width: int) -> tuple[Blocks, Cells]:
        """And the grid of one, its halo included."""
        blocks = Blocks(self.mesh, self.grid.shape, width)
        counts = {axis: count for axis, _, count in blocks.split}
        return blocks, block_of(self.grid, counts, width)

    def carried(
        self,
        equation: IncompressibleFlow,
        velocity: Velocity,
        scalars: Mapping[str, Array],
        planes: Sequence[tuple[Plane, Plane] | None],
        sides: Mapping[str, Sequence[tuple[OnSide, OnSide]]],
        interpolation: Interpolation,
        scalar_interpolation: Interpolation,
    ) -> Carried:
        """All rates after one exchange."""
        names, ndim = sorted(scalars), self.grid.ndim
        reach, scalar_reach = reach_of(interpolation), reach_of(scalar_interpolation)
        if reach is None or scalar_reach is None:
            raise ValueError("blocks need an interpolation whose reach is known")
        width = max(reach, scalar_reach) if names else reach
        blocks, grid = self._blocks(width)

        def rates(fields: tuple[Array, ...], given: tuple, equation: IncompressibleFlow) -> Carried:
            planes, sides = given
            velocity, values = fields[:ndim], dict(zip(names, fields[ndim:], strict=True))
            momentum = momentum_rate(velocity, planes, equation.viscosity, grid, interpolation)
            changes = {
                name: scalar_rate(
                    values[name],
                    velocity,
                    equation.scalars[name].diffusivity,
                    sides[name],
                    grid,
                    scalar_interpolation,
                    None,
                )
                for name in names
            }
            return Carried(momentum, changes, buoyancy_on_faces(values, equation, grid))

        fields = (*velocity, *(scalars[name] for name in names))
        reaches = [[(reach, reach)] * ndim] * ndim
        reaches += [[(scalar_reach, scalar_reach)] * ndim] * len(names)
        # The force of the equation is no stencil, and a function of points in the whole box.
        known = eqx.tree_at(lambda e: e.forcing, equation, None, is_leaf=lambda leaf: leaf is None)
        return blocks.map(rates, fields, reaches, (tuple(planes), dict(sides)), known)

    def divergence(self, velocity: Velocity) -> Float[Array, "*cells"]:
        """As `grids.operators.divergence`."""
        blocks, grid = self._blocks(1)
        ndim = grid.ndim
        reaches = [[(0, int(axis == own)) for axis in range(ndim)] for own in range(ndim)]
        return blocks.map(lambda u, *_: divergence(u, grid), velocity, reaches)

    def gradient(self, pressure: Array, holds: Sequence[tuple[bool, bool]]) -> Velocity:
        """As `grids.operators.gradient`."""
        blocks, grid = self._blocks(1)
        reaches = [[(1, 0)] * grid.ndim]
        return blocks.map(lambda p, *_: gradient(p[0], grid, holds), (pressure,), reaches)


def blocks_for(grid: Cells, mesh: Mesh | None) -> FlowBlocks | None:
    """None without a mesh, and where cells differ along an axis that is split: there the stencils
    of blocks would differ, and the compiler shares out those of the box."""
    if mesh is None:
        return None
    equal = all(map(grid.equal_along, range(len(parts_of(mesh)))))
    return FlowBlocks(grid, mesh) if equal else None


def buoyancy_on_faces(
    scalars: Mapping[str, Array], equation: IncompressibleFlow, grid: Cells
) -> Velocity | None:
    """The acceleration of the faces by the buoyancy of scalars, the mean of two cells."""
    total = None
    for name, values in scalars.items():
        one = equation.scalars[name]
        if one.buoyancy is not None:
            vector = jnp.broadcast_to(one.buoyancy, (grid.ndim,))
            push = vector.reshape(-1, *[1] * grid.ndim) * (values - one.reference)
            total = push if total is None else total + push
    return None if total is None else grid.to_faces(total)
