"""Ports of a device at one frequency: a mode of a slab waveguide, a current that excites it, and
how much of it goes either way; from these the scattering parameters.

A mode along axis x is a shape e(y) times exp(i beta x). On the cells both derivatives are
differences, so that e is an eigenvector, with B = 2 sin(beta h / 2) / h:

    B^2 e = (D D + w^2 eps) e

(D. Marcuse, Theory of Dielectric Optical Waveguides, 1991, chapter 1). Between two nodes along the
guide the mean of E is cos(beta h / 2) (a + b) e, its difference 2 i sin(beta h / 2) (a - b) e, with
the amplitudes a up and b down the axis; the products with e over the cut give both, and the other
modes of the cut give nothing.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from jaxpbdl import checks
from jaxpbdl.grids.location import node as nodes
from jaxpbdl.solvers.waves.frequency import TimeHarmonic
from jaxpbdl.solvers.waves.sides import require_inside
from jaxpbdl.solvers.waves.slabs import out_of_plane, require_fallen


class Port(eqx.Module):
    """A mode in a cut across a guide; created by `slab_port`.

    **Attributes:**

    - `axis` of the guide; `place`, the node of the cut along it; `lower`, `upper`, the outermost
      nodes across it.
    - `shape`: E at these nodes, of power 1; `area`, of the cut about each of them.
    - `half_phase`: that the mode gains over half a cell.
    """

    trainable_fields = ()

    axis: int = eqx.field(static=True)
    place: int = eqx.field(static=True)
    lower: int = eqx.field(static=True)
    upper: int = eqx.field(static=True)
    nodes: tuple[int, ...] = eqx.field(static=True)
    width: float = eqx.field(static=True)
    shape: Float[Array, " cut"]
    area: Float[Array, " cut"]
    half_phase: Float[Array, ""]
    frequency: Float[Array, ""]

    @property
    def index(self) -> Array:
        """beta over the wavenumber in vacuum."""
        return 2 * self.half_phase / (self.width * self.frequency)

    def current(self, direction: int = 0) -> Complex[Array, "nx ny"]:
        """A current on the nodes that sends the mode up the axis with the amplitude 1 at the cut
        (`direction` 1), or down it (-1), or both ways (0).

        To send it one way takes the node before the cut too (after it, for -1).

        **Raises:** ValueError for another direction.
        """
        if direction not in (-1, 0, 1):
            raise ValueError(f"direction must be -1, 0 or 1, got {direction}")
        # A sheet I e / h at one node gives E = -I w h / (2 sin(beta h)) e either way.
        phase = 2 * self.half_phase
        sheet = -2 * jnp.sin(phase) / (self.frequency * self.width**2) * self.shape
        there = sheet.astype(jnp.result_type(sheet, jnp.complex64))
        found = jnp.zeros(self.nodes, there.dtype)
        if direction == 0:
            return found.at[self._at(self.place)].set(there)
        # The second sheet takes away what goes back, and changes what goes on.
        there = there / (1 - jnp.exp(2j * phase))
        found = found.at[self._at(self.place)].set(there)
        return found.at[self._at(self.place - direction)].set(-jnp.exp(1j * phase) * there)

    def amplitudes(
        self, electric: Inexact[Array, "*sources nx ny"]
    ) -> tuple[Complex[Array, "*sources"], Complex[Array, "*sources"]]:
        """Up and down the axis, half a cell before the cut; their squares are powers."""
        both, excess = self.overlaps(electric)
        both = both / jnp.cos(self.half_phase)
        return (both + excess) / 2, (both - excess) / 2

    def overlaps(
        self, electric: Inexact[Array, "*sources nx ny"]
    ) -> tuple[Complex[Array, "*sources"], Complex[Array, "*sources"]]:
        """Of E and of H with the mode: cos(beta h / 2) (a + b) and a - b.

        **Raises:** ValueError for a field of another shape.
        """
        if electric.shape[-2:] != self.nodes:
            raise ValueError(
                f"electric must have the last axes {self.nodes}, the nodes, got {electric.shape}"
            )
        before, here = (electric[(..., *self._at(at))] for at in (self.place - 1, self.place))
        weight = self.area * self.shape / jnp.sum(self.area * self.shape**2)
        mean, step = (here + before) / 2, here - before
        return mean @ weight, step @ weight / (2j * jnp.sin(self.half_phase))

    def _at(self, place: int) -> tuple[int | slice, int | slice]:
        across = slice(self.lower, self.upper + 1)
        return (place, across) if self.axis == 0 else (across, place)


def slab_port(
    problem: TimeHarmonic,
    permittivity: Float[Array | np.ndarray, "nx ny"],
    axis: int,
    place: float,
    bounds: tuple[float, float],
    order: int = 0,
) -> Port:
    """A guided mode at a cut through a permittivity, as the cells have it.

    **Arguments:**

    - `permittivity`: on the nodes, real, of the guide without what is to be designed; it must be
      known, not traced.
    - `axis`, `place`: of the guide, and where it is cut, at the nearest node.
    - `bounds`: of the cut across the guide, its outermost nodes; E is zero one node further, where
      the mode must have fallen to a tenth of its largest.
    - `order`: 0 for the mode of largest index.

    **Raises:** ValueError for another axis, a permittivity of another shape, not finite or not
    above 0, a cut outside of the domain or inside an absorbing layer, cells along the guide that
    differ at the cut, cells that do not resolve the mode, an order of which there is no guided
    mode, and a mode that has not fallen off at `bounds`.
    """
    grid = problem.grid
    if axis not in (0, 1):
        raise ValueError(f"axis must be 0 or 1, got {axis}")
    checks.count("order", order, 0)
    checks.shape("permittivity", permittivity, problem.shape)
    checks.positive("permittivity", permittivity)
    across = 1 - axis
    for name, end in zip(("lower end", "upper end"), bounds, strict=True):
        point = (place, end) if axis == 0 else (end, place)
        require_inside(f"{name} of the cut", point, problem.pairs, grid)
    lines = grid.lines_at(nodes)
    at = int(np.argmin(np.abs(lines[axis] - place)))
    lower, upper = (int(np.argmin(np.abs(lines[across] - x))) for x in bounds)
    if not 0 < at < len(lines[axis]) - 1 or not 0 < lower < upper < len(lines[across]) - 1:
        raise ValueError(
            f"the cut must lie a cell or more within the domain, got nodes {lower}..{upper} at {at}"
        )
    h = float(grid.widths[axis][at])
    if abs(grid.widths[axis][at - 1] / h - 1) > 1e-6:
        raise ValueError(f"the cells along axis {axis} must be equal about place, {place}")
    gaps = grid.gaps[across][lower : upper + 1]
    line = np.take(np.asarray(permittivity, float), at, axis=axis)[lower : upper + 1]
    w = float(problem.frequency)
    widths = grid.widths[across][lower - 1 : upper + 1]
    squares, shapes = out_of_plane(line, widths, w**2, len(line))
    carried = int(np.sum(squares > w**2 * max(line[0], line[-1])))
    if order >= carried:
        raise ValueError(f"order must be below {carried}, the modes of the guide, got {order}")
    if squares[order] * h**2 >= 4:
        raise ValueError(
            f"the cells along the guide must be below half a wavelength in it, got {h:.6g}"
        )
    half_phase = np.arcsin(np.sqrt(squares[order]) * h / 2)
    shape = shapes[order]
    require_fallen(shape, squares[order] - w**2 * line[[0, -1]], widths, bounds, zero=True)
    power = np.sum(shape**2 * gaps) * np.sqrt(squares[order]) / w * np.cos(half_phase) / 2
    dtype = grid.dtype
    return Port(
        axis,
        at,
        lower,
        upper,
        problem.shape,
        h,
        jnp.asarray(shape / np.sqrt(power), dtype),
        jnp.asarray(gaps, dtype),
        jnp.asarray(half_phase, dtype),
        problem.frequency,
    )
