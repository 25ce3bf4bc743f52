"""A scalar whose value is given on the surface of a body, as the velocity is: continued through the
surface into the cells within, so that all stencils are those of the open box."""

from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxpbdl.grids.cells import Cells, FieldLike
from jaxpbdl.grids.operators import Velocity, divergence
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.flow.bodies import Continuation
from jaxpbdl.solvers.flow.immersion import BAND, continuation, is_fixed
from jaxpbdl.solvers.flow.resolution import cell_width, distances


class HeldOnBody(eqx.Module):
    """One scalar and the body: `fill` continues it through the surface, `fluid` marks the cells
    whose centre lies outside."""

    trainable_fields = ()

    fill: Continuation
    fluid: Bool[Array, "*cells"]

    def continued(self, values: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """The values with those within the body near its surface set."""
        return self.fill(values)

    def outside(self, rate: Array, values: Array, velocity: Velocity, grid: Cells) -> Array:
        """The rate of cells in the fluid, none within. The continued velocity has a divergence next
        to the surface, which is no source of the scalar."""
        spurious = values * divergence(velocity, grid) / grid.volumes
        return jnp.where(self.fluid, rate + spurious, 0.0)


def held_on_body(
    shape: Shape, values: Mapping[str, FieldLike], grid: Cells, max_cut_faces: int | None
) -> dict[str, HeldOnBody]:
    """For each scalar with a value on the surface of a shape (a function of the point or a
    constant); `max_cut_faces` as for `immersed`."""

    def make(count: int | None) -> dict[str, HeldOnBody]:
        distance, width = distances(shape, grid.points), cell_width(grid)
        near = (distance <= 0) & (distance > -BAND * width)
        count = int(jnp.sum(near)) if count is None else count
        return {
            name: HeldOnBody(
                continuation(shape, near, grid.lines, width, count, _at(value)), distance > 0
            )
            for name, value in values.items()
        }

    if not values:
        return {}
    if max_cut_faces is None and is_fixed(shape, grid):
        with jax.ensure_compile_time_eval():
            return make(None)
    return make(None if max_cut_faces is None else 2 * max_cut_faces)


def _at(value: FieldLike) -> Callable[[Array], Array]:
    return lambda point: jnp.asarray(value(point) if callable(value) else value, point.dtype)
