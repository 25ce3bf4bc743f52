"""Conservation laws by finite volumes: the mean of each cell changes by what its faces let through.

    dU/dt = -sum_a (F at the upper face - F at the lower face) / h_a + source

The states on both sides of a face are reconstructed from the cells about it, a Riemann solver makes
a flux of them (Godunov's method). One path for one to three dimensions: an axis after the other.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.distributed.halos import Blocks
from jaxpbdl.distributed.space import check_periodic
from jaxpbdl.equations.conservation_law import ConservationLaw
from jaxpbdl.fields import Field
from jaxpbdl.grids.cells import Cells, along, block_of
from jaxpbdl.grids.operators import outward
from jaxpbdl.solvers.compressible.fluxes import NumericalFlux, hllc, rusanov
from jaxpbdl.solvers.compressible.quadrature import FaceQuadrature, midpoint
from jaxpbdl.solvers.compressible.reconstruction import (
    Reconstruction,
    Variables,
    characteristic,
    positivity,
    shifted,
    weno5,
)
from jaxpbdl.solvers.compressible.sides import (
    Pairs,
    Sides,
    pairs_of,
    same_everywhere,
    with_ghosts,
)
from jaxpbdl.solvers.time.runge_kutta import ssp_rk3
from jaxpbdl.solvers.time.scheme import Scheme, System, check_inputs
from jaxpbdl.step import Step

Guard: TypeAlias = Callable[[ConservationLaw, Array, Array], Array]
"""From an equation, a state and an admissible one to the share up to which one may go from that one
towards the first."""
Source: TypeAlias = Callable[[Array], Array]
"""From the state in the cells to what a unit of time adds to it."""


class FiniteVolumeStep(Step):
    """One step of a conservation law; created by `finite_volumes`.

    The state is an array `(components, *cells)` of the conserved variables. `step(state, source)`
    adds a second source, of that shape, held over the step.
    """

    equation: ConservationLaw
    grid: Cells
    dt: Array
    pairs: Pairs
    flux: NumericalFlux
    reconstruction: Reconstruction
    variables: Variables
    guard: Guard | None
    quadrature: FaceQuadrature
    source: Source | None
    scheme: Scheme
    blocks: Blocks | None = None

    @property
    def interval(self) -> Array:
        return self.dt

    def start(
        self, primitive: Callable[[Float[Array, " dim"]], ArrayLike]
    ) -> Float[Array, "value *cells"]:
        """The state of a function from a point to the primitive variables there, which are taken in
        the middle of the cells."""
        grid = self.grid
        points = grid.points.reshape(-1, grid.ndim)
        values = jax.vmap(lambda point: jnp.asarray(primitive(point), grid.dtype))(points)
        return self.equation.conserved(values.T.reshape(-1, *grid.shape))

    def rates(self, state: Float[Array, "value *cells"]) -> Float[Array, "value *cells"]:
        """Of change, a unit of time."""
        shares = self._parts(state)
        if self.blocks is None:
            total = self._through_all(state, shares)
        else:
            total = self._through_blocks(state, shares, self.blocks)
        return total if self.source is None else total + self.source(state)

    def _through_all(self, state: Array, shares: Sequence[Array | float]) -> Array:
        """What the faces let into the cells, with the share of each axis in the fastest waves."""
        total = jnp.zeros_like(state)
        for axis, share in enumerate(shares):
            flux = self._through(state, axis, share)
            total = total - outward(flux, axis - self.grid.ndim, self.grid)
        return total

    def _through_blocks(
        self, state: Array, shares: Sequence[Array | float], blocks: Blocks
    ) -> Array:
        """The same on the devices that share the box, each its block."""
        counts = {axis: count for axis, _, count in blocks.split}
        grid = block_of(self.grid, counts, blocks.width)
        reaches = [[(blocks.width, blocks.width)] * grid.ndim]
        # A source may hold arrays of the whole box, and is added outside.
        arrays, rest = eqx.partition(dataclasses.replace(self, source=None), eqx.is_array)

        def on_block(fields: tuple[Array, ...], _: None, whole: tuple) -> Array:
            arrays, shares = whole
            step = dataclasses.replace(eqx.combine(arrays, rest), grid=grid, blocks=None)
            return step._through_all(fields[0], shares)

        return blocks.map(on_block, (state,), reaches, whole=(arrays, tuple(shares)), leading=1)

    def through(
        self, state: Float[Array, "value *cells"], axis: int
    ) -> Float[Array, "value *faces"]:
        """The flux through the faces across an axis, one more than cells along it."""
        return self._through(state, axis, self._parts(state)[axis])

    def _through(self, state: Array, axis: int, share: Array | float) -> Array:
        equation, aside = self.equation, self.quadrature.reach
        reach = self.reconstruction.reach + 1
        widths = [reach if a == axis else aside for a in range(self.grid.ndim)]
        cells = with_ghosts(equation, state, self.grid, self.pairs, widths)
        states = self.variables(equation, cells, axis, self.reconstruction)
        states = self.quadrature.values(states, axis)
        if self.guard is not None:
            trim = 2 if self.quadrature.to_values is not None else 0
            means = _both_sides(cells, axis, reach - 1, trim)
            states = _drawn(states, means, self.guard(equation, states, means))
        flux = self.flux(equation, states[:, 0], states[:, 1], axis)
        flux = self.quadrature.means(flux[:, None], axis)[:, 0]
        if self.guard is not None:
            means = _both_sides(cells, axis, reach - 1, aside)
            flux = self._guarded(flux, means, share, axis, self.guard)
        return flux - self._diffused(state, axis) if equation.diffusive else flux

    def _parts(self, state: Array) -> list[Array | float]:
        """Of the fastest waves along all axes, in cells a unit of time, those along each axis; only
        a guard asks for them."""
        if self.grid.ndim == 1 or self.guard is None:
            return [1.0] * self.grid.ndim
        rates = [jnp.max(self._crossing(state, a)) for a in range(self.grid.ndim)]
        return [rate / sum(rates) for rate in rates]

    def _crossing(self, state: Array, axis: int) -> Array:
        """Cells that the fastest wave along an axis crosses a unit of time."""
        slow, fast = self.equation.wave_speeds(state, axis)
        speed = jnp.maximum(jnp.abs(slow), jnp.abs(fast))
        return speed / float(self.grid.widths[axis][0])

    def _guarded(
        self, flux: Array, means: Array, part: Array | float, axis: int, guard: Guard
    ) -> Array:
        """The flux, drawn towards Rusanov's of the means of the cells as far as needed for Euler's
        step to stay admissible: it is the mean of steps through one face alone, each longer by 2
        over the `part` of the axis, for which Rusanov's flux is safe up to half of `largest_dt`
        (X. Y. Hu, N. A. Adams and C.-W. Shu, J. Comput. Phys. 242 (2013) 169)."""
        safe = rusanov(self.equation, means[:, 0], means[:, 1], axis)
        signs = jnp.array([-1.0, 1.0], flux.dtype).reshape(2, *[1] * self.grid.ndim)
        ratio = signs * (2 * self.dt / part / float(self.grid.widths[axis][0]))
        share = guard(self.equation, means + ratio * flux[:, None], means + ratio * safe[:, None])
        return _drawn(flux, safe, jnp.clip(jnp.min(share, axis=0), 0.0, 1.0))

    def _diffused(self, state: Array, axis: int) -> Array:
        """The diffusive flux through the faces across an axis, by differences of second order."""
        equation, ndim = self.equation, self.grid.ndim
        cells = with_ghosts(equation, state, self.grid, self.pairs, [1] * ndim)
        values = equation.primitive(cells)
        n = values.shape[1 + axis]
        before, after = along(values, 1 + axis, 0, n - 1), along(values, 1 + axis, 1, n)
        mean, slopes = (before + after) / 2, []
        for other in range(ndim):
            h = float(self.grid.widths[other][0])
            if other == axis:
                slope = _trimmed((after - before) / h, axis, 0, 1)
            else:
                m = values.shape[1 + other]
                rise = along(mean, 1 + other, 2, m) - along(mean, 1 + other, 0, m - 2)
                slope = rise / (2 * h)
                for rest in set(range(ndim)) - {axis, other}:
                    slope = along(slope, 1 + rest, 1, slope.shape[1 + rest] - 1)
            slopes.append(slope)
        return equation.diffusive_flux(_trimmed(mean, axis, 0, 1), slopes, axis)

    def system(self, *inputs: Float[Array, "value *cells"]) -> System:
        """What the scheme in time advances."""
        return System(lambda state: sum(inputs, start=self.rates(state)), self.dt)

    def enter(self, state: PyTree) -> PyTree:
        return self.scheme.start(state, self.system())

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        check_inputs(self.scheme, inputs)
        return self.scheme.advance(working, self.system(*inputs))

    def leave(self, working: PyTree) -> PyTree:
        return self.scheme.current(working)

    def largest_dt(self, state: Float[Array, "value *cells"]) -> Array:
        """At which the fastest waves along all axes together cross one cell, less where something
        diffuses or the scheme in time wants less. Half of it is a prudent choice at shocks."""
        rate = sum(self._crossing(state, a) for a in range(self.grid.ndim))
        # Waves of the first order lose up to twice their rate; where the scheme bears more than
        # that, the limit is the dt up to which Euler's step makes no new extrema.
        decay = max(2.0, self.scheme.real) * rate
        if self.equation.diffusive:
            squares = sum(4 / float(widths[0]) ** 2 for widths in self.grid.widths)
            decay = decay + squares * self.equation.diffusivity(state)
        return jnp.asarray(self.scheme.largest_dt(0.0, jnp.max(decay)))

    def check_state(self, state: PyTree) -> None:
        checks.shape("state", state, (*self.equation.value_shape, *self.grid.shape))
        checks.real("state", state)
        if not checks.is_concrete((state, self.equation)):
            return
        checks.finite("state", state)
        for name, values in self.equation.positive(state).items():
            values = np.asarray(values)
            if not np.all(values > 0):  # also what is not a number
                cell = tuple(int(i) for i in np.argwhere(~(values > 0))[0])
                raise ValueError(f"{name} must be > 0, got {values[cell]:.6g} in cell {cell}")

    def channels(self, state: PyTree) -> Float[Array, "channels *grid"]:
        return state

    def equation_and_field(
        self, states: PyTree, times: Float[Array, " times"], degree: int = 4
    ) -> tuple[ConservationLaw, Field]:
        return self.equation, self.equation.field_of(self.grid, states, times, degree)


def finite_volumes(
    equation: ConservationLaw,
    grid: Cells,
    dt: ArrayLike,
    sides: Sides | None = None,
    *,
    flux: NumericalFlux = hllc,
    reconstruction: Reconstruction = weno5,
    variables: Variables = characteristic,
    guard: Guard | None = positivity,
    quadrature: FaceQuadrature = midpoint,
    source: Source | None = None,
    scheme: Scheme = ssp_rk3,
    mesh: Mesh | None = None,
) -> FiniteVolumeStep:
    """The step of a conservation law in a box.

    **Arguments:**

    - `equation`: such as `CompressibleFlow`; its parameters are differentiable.
    - `grid`: of as many axes as the equation, the cells of each axis equal.
    - `dt`: > 0, at most `step.largest_dt(state)`. May be traced.
    - `sides`: one entry per axis, a pair of `reflecting`, `transmissive`, `inflow(..)`, one for
      both, or None for a periodic axis; `transmissive` by default.
    - `flux`: `hllc` (an ideal gas) or `rusanov` (any conservation law).
    - `reconstruction`: `weno5`, `muscl(limiter)`, `first_order`.
    - `variables`: what is reconstructed, `characteristic`, `primitive` or, by lines alone,
      `primitive_lines`.
    - `guard`: keeps density and pressure positive, for certain up to half of `largest_dt`; None
      leaves states on faces and fluxes as they are.
    - `quadrature`: `midpoint`, or `sixth_order` for smooth flow in two and three dimensions.
    - `source`: from the state to what a unit of time adds to it.
    - `scheme`: in time.
    - `mesh`: devices that share the box (`distributed.space_mesh`), periodic along the axes that
      they split. States are then placed by `distributed.scatter(state, mesh, grid.shape)`.

    **Raises:** ValueError for a dt that is not positive, a grid of another dimension than the
    equation or with cells that are not equal, too few cells; a mesh that splits an axis with sides
    or leaves blocks thinner than the stencil reaches, or with sides that are not `reflecting`,
    `transmissive` or an `inflow` of constants. When called: a state of another shape, a density or
    pressure that is not positive, with its cell; a dt above the limit, with the limit.
    """
    checks.positive("dt", dt)
    equation.check_grid(grid)
    if not grid.uniform:
        raise ValueError("the cells of each axis must be equal: reconstructions count on it")
    needed = max(reconstruction.reach + 1, quadrature.reach if grid.ndim > 1 else 0)
    if min(grid.shape) < needed:
        raise ValueError(f"each axis must have at least {needed} cells, got shape {grid.shape}")
    pairs = pairs_of(sides, grid)
    blocks = None
    if mesh is not None:
        blocks = Blocks(mesh, grid.shape, needed)
        check_periodic(grid.periodic, mesh)
        if not same_everywhere(pairs):
            raise ValueError(
                "with a mesh sides must be `reflecting`, `transmissive` or an `inflow` of constants"
            )
    return FiniteVolumeStep(
        equation,
        grid,
        jnp.asarray(dt, grid.dtype),
        pairs,
        flux,
        reconstruction,
        variables,
        guard,
        quadrature,
        source,
        scheme,
        blocks,
    )


def _trimmed(values: Array, axis: int, here: int, elsewhere: int) -> Array:
    """Without some cells at both ends of one axis of space, and of each other one."""
    for other in range(values.ndim - 1):
        less = here if other == axis else elsewhere
        values = along(values, 1 + other, less, values.shape[1 + other] - less)
    return values


def _both_sides(cells: Array, axis: int, here: int, elsewhere: int) -> Array:
    """The cells `(value, 2, *faces)` before and after each face across an axis, without some at
    both ends of the axes, as in `_trimmed`."""
    return shifted(_trimmed(cells, axis, here, elsewhere), axis, 2)


def _drawn(wanted: Array, safe: Array, share: Array) -> Array:
    """From the safe value the share of the way to the wanted one, which itself stays as it is."""
    return jnp.where(share < 1, safe + share * (wanted - safe), wanted)
