"""Maxwell's equations at one frequency in two dimensions, E out of the plane (FDFD).

With fields that go as exp(-i w t), lengths in one unit and times in that unit over the speed of
light, the current J drives

    (d_x d_x + d_y d_y) E + w^2 eps E = -i w J,      d_x = 1/s(x) d/dx

on Yee's cells: E, J and eps on the nodes, each derivative a difference over a cell or between the
centres of two. In an absorbing layer the coordinates are complex, s = kappa + sigma / (alpha - i w)
(W. C. Chew and W. H. Weedon, Microw. Opt. Technol. Lett. 7 (1994) 599, with the shift alpha of
J. A. Roden and S. D. Gedney, ibid. 27 (2000) 334); elsewhere s = 1.

The matrix is factored by SuperLU (X. S. Li, ACM Trans. Math. Softw. 31 (2005) 302), in double
precision and outside of JAX; each solution is put back into the equation. The derivatives are those
of the equation: the adjoint is one more solve, with the transpose and the same factors.
"""

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float, Inexact

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.location import node
from jaxpbdl.solvers.waves.factors import by_factors, numbers_of, pieces_of, words_of
from jaxpbdl.solvers.waves.sides import Pairs, Side, absorbing, require_inside

LayerSides: TypeAlias = Sequence[None | Side | tuple[Side, Side]]
"""One entry per axis: the lower and the upper side, one for both."""


class SecondDifference(eqx.Module):
    """d_x d_x along one axis: what each unknown node takes from the next, the one before and
    itself."""

    after: Complex[Array, " nodes"]
    before: Complex[Array, " nodes"]
    middle: Complex[Array, " nodes"]

    def __call__(self, values: Complex[Array, "nodes others"]) -> Complex[Array, "nodes others"]:
        after, before = jnp.roll(values, -1, axis=0), jnp.roll(values, 1, axis=0)
        return (
            self.after[:, None] * after
            + self.before[:, None] * before
            + self.middle[:, None] * values
        )


class TimeHarmonic(eqx.Module):
    """The equation at one frequency on a grid; created by `time_harmonic`.

    **Attributes:**

    - `grid`, `pairs`: the cells, and the lower and upper side of each axis.
    - `offset`: cells by which the layers are moved up the axes.
    - `frequency`: w, the wavenumber in vacuum.
    - `differences`: d_x d_x and d_y d_y.
    """

    trainable_fields = ()

    grid: Cells
    pairs: Pairs
    offset: float = eqx.field(static=True)
    frequency: Float[Array, ""]
    differences: tuple[SecondDifference, SecondDifference]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the nodes."""
        return self.grid.shape_at(node)

    def solve(
        self,
        permittivity: Inexact[Array, "nx ny"],
        current: Inexact[Array, "*sources nx ny"],
    ) -> Complex[Array, "*sources nx ny"]:
        """E on the nodes, zero on the walls. Goes through jit, vmap, grad and jvp.

        **Arguments:**

        - `permittivity`: on the nodes, relative to vacuum; with losses its imaginary part is above
          zero.
        - `current`: J on the nodes, of one source or of some that share the factors.

        **Raises:** ValueError for another shape, a permittivity whose real part is not finite and
        above 0 or in which two cells do not resolve the wavelength, a current that is not finite
        or flows inside an absorbing layer. A JaxRuntimeError, with the reason, for an equation that
        is singular, fields that are not finite, or a residual above `RESIDUAL` of the source (of
        the module `factors`): without losses, at a resonance.
        """
        self._check(permittivity, current)
        inner = tuple(slice(None) if p else slice(1, -1) for p in self.grid.periodic)
        dtype = jnp.result_type(self.grid.dtype, jnp.complex64)
        w = self.frequency
        weight = (w**2 * permittivity[inner]).astype(dtype)
        right = (-1j * w * current[(..., *inner)]).astype(dtype)
        flat = right.reshape(-1, *weight.shape)
        along_x, along_y = self.differences

        def applied(values: Array) -> Array:
            """The equation's left side, of all sources."""
            return jax.vmap(lambda one: along_x(one) + along_y(one.T).T + weight * one)(values)

        def solved(kind: str, values: Array) -> Array:
            given = jax.tree.map(lax.stop_gradient, (self.differences, weight, values))
            leaves = tuple(words_of(one) for one in jax.tree.leaves(given))
            words = jax.pure_callback(
                partial(by_factors, kind, tuple(one.shape for one in leaves)),
                jax.ShapeDtypeStruct(leaves[-1].shape, jnp.uint32),
                tuple(pieces_of(one) for one in leaves),
                vmap_method="sequential",
            )
            return numbers_of(words)

        found = lax.custom_linear_solve(
            applied,
            flat,
            solve=lambda _, values: solved("N", values),
            transpose_solve=lambda _, values: solved("T", values),
        )
        found = found.reshape(*right.shape)
        walls = [(0, 0) if p else (1, 1) for p in self.grid.periodic]
        return jnp.pad(found, [(0, 0)] * (found.ndim - 2) + walls)

    def magnetic(
        self, electric: Complex[Array, "*sources nx ny"]
    ) -> tuple[Complex[Array, "*sources nx gaps_y"], Complex[Array, "*sources gaps_x ny"]]:
        """H_x and H_y between the nodes, from E; outside of the layers, where s is 1:

        i w H_x = d_y E,   i w H_y = -d_x E.
        """
        slopes = []
        for axis in (0, 1):
            values = jnp.moveaxis(electric, axis - 2, -1)
            if self.grid.periodic[axis]:
                values = jnp.concatenate([values, values[..., :1]], axis=-1)
            slope = jnp.diff(values) / jnp.asarray(self.grid.widths[axis], self.grid.dtype)
            slopes.append(jnp.moveaxis(slope, -1, axis - 2))
        unit = 1j * self.frequency
        return slopes[1] / unit, -slopes[0] / unit

    def _check(self, permittivity: Array, current: Array) -> None:
        checks.shape("permittivity", permittivity, self.shape)
        if current.shape[-2:] != self.shape:
            raise ValueError(
                f"current must have the last axes {self.shape}, the nodes, got {current.shape}"
            )
        if checks.is_concrete(permittivity):
            _check_permittivity(np.asarray(permittivity))
            if checks.is_concrete(self.frequency):
                self._check_resolved(float(np.max(np.real(np.asarray(permittivity)))))
        if checks.is_concrete(current):
            values = np.asarray(current)
            checks.finite("current", values)
            self._check_places(np.any(values != 0, axis=tuple(range(values.ndim - 2))))

    def _check_resolved(self, largest: float) -> None:
        width = max(float(h.max()) for h in self.grid.widths)
        wavelength = 2 * np.pi / float(self.frequency)
        if wavelength < 2 * width * largest**0.5:
            raise ValueError(
                f"wavelength must be at least two cells of {width:.6g} in the permittivity "
                f"{largest:.6g}, {2 * width * largest**0.5:.6g}, got {wavelength:.6g}"
            )

    def _check_places(self, there: np.ndarray) -> None:
        """Refuse a current in a layer; the mask says where it flows."""
        lines = self.grid.lines_at(node)
        for axis, line in enumerate(lines):
            flows = np.flatnonzero(there.any(axis=1 - axis))
            for place in flows[[0, -1]] if flows.size else ():
                if _depth(self.pairs[axis], self.grid, axis, self.offset, line[[place]])[0] > 0:
                    other = np.flatnonzero(np.take(there, place, axis=axis))[0]
                    point = [float(lines[1 - axis][other])] * 2
                    point[axis] = float(line[place])
                    require_inside("current at", point, self.pairs, self.grid)
                    raise ValueError(f"current at {tuple(point)} is inside the absorbing layer")


def time_harmonic(
    grid: Cells,
    wavelength: float,
    sides: LayerSides | None = None,
    *,
    offset: float = 0.0,
) -> TimeHarmonic:
    """Maxwell's equations at a wavelength in vacuum, E out of the plane, for `solve`.

    **Arguments:**

    - `grid`: of two axes, in the unit of the wavelength.
    - `sides`: absorbing layers of `absorbing`, or `pec`, by default layers of 20 cells before
      conductors. On a periodic axis layers stand before its seam, and None is none.
    - `offset`: cells by which both layers of an axis are moved up it. With periodic axes, layers
      `ceviche_layer` and an offset of 0.5 the matrix is that of the package ceviche (T. W. Hughes,
      I. A. D. Williamson, M. Minkov and S. Fan, ACS Photonics 6 (2019) 3010), conjugated (there
      fields go as exp(+i w t)), but for the seam, where next to nothing is left of them.

    **Raises:** ValueError for a grid of other than two axes, a wavelength that is not above 0 or
    below two cells, other sides than conductors and layers, layers that leave no cell between them.
    """
    if grid.ndim != 2:
        raise ValueError(f"grid must have two axes, got {grid.ndim}")
    checks.positive("wavelength", wavelength)
    width = max(float(h.max()) for h in grid.widths)
    if wavelength < 2 * width:
        raise ValueError(
            f"wavelength must be at least two cells, {2 * width:.6g}, got {wavelength}"
        )
    checks.finite("offset", offset)
    pairs = _pairs(sides, grid)
    w = 2 * np.pi / wavelength
    differences = [_second_difference(grid, axis, pairs[axis], w, offset) for axis in (0, 1)]
    return TimeHarmonic(
        grid, pairs, float(offset), jnp.asarray(w, grid.dtype), (differences[0], differences[1])
    )


ceviche_layer = absorbing(20, order=3.0, strength=0.75, shift=0.0)
"""20 cells, through which and back a wave in vacuum falls by exp(-30)."""


def _pairs(sides: LayerSides | None, grid: Cells) -> Pairs:
    given = (absorbing(20),) * 2 if sides is None else tuple(sides)
    if len(given) != 2:
        raise ValueError(f"sides must have 2 entries, one per axis; got {len(given)}")
    pairs: list[tuple[Side, Side] | None] = []
    for axis, one in enumerate(given):
        if one is None and not grid.periodic[axis]:
            raise ValueError(f"sides of axis {axis} must be pec or absorbing, got None")
        pair = one if one is None or isinstance(one, tuple) else (one, one)
        if pair is not None:
            if not all(side.conducting for side in pair):
                raise ValueError(f"sides of axis {axis} must be pec or absorbing, got {pair}")
            layers = pair[0].cells + pair[1].cells
            if layers >= grid.shape[axis]:
                raise ValueError(
                    f"absorbing layers on axis {axis} must take less than its {grid.shape[axis]} "
                    f"cells, got {pair[0].cells} + {pair[1].cells}"
                )
        pairs.append(pair)
    return tuple(pairs)


def _depth(
    pair: tuple[Side, Side] | None, grid: Cells, axis: int, offset: float, at: np.ndarray
) -> np.ndarray:
    """How far places along an axis are in its lower (minus) or upper layer, over the thickness of
    the layer; 0 between them."""
    found = np.zeros(len(at))
    line, h = np.asarray(grid.edges[axis]), grid.widths[axis]
    for sign, side in zip((-1, 1), pair or (), strict=False):
        if side.cells:
            face = line[side.cells] if sign < 0 else line[-1 - side.cells]
            thickness = sign * (line[0 if sign < 0 else -1] - face)
            face = face + offset * h[0 if sign < 0 else -1]
            found = np.maximum(found, sign * (at - face) / thickness)
    # A rounding error is not inside.
    return np.where(found > 1e-9, found, 0.0)


def _stretch(
    pair: tuple[Side, Side] | None, grid: Cells, axis: int, w: float, offset: float, at: np.ndarray
) -> Complex[np.ndarray, " places"]:
    """s at places along an axis."""
    s = np.ones(len(at), complex)
    line = np.asarray(grid.edges[axis])
    for one, side in enumerate(pair or ()):
        if side.cells:
            alone = (side, Side()) if one == 0 else (Side(), side)
            rho = _depth(alone, grid, axis, offset, at)
            ends = line[[0, side.cells]] if one == 0 else line[[-1 - side.cells, -1]]
            h = (ends[1] - ends[0]) / side.cells
            sigma = side.strength * (side.order + 1) / h * rho**side.order
            alpha = side.shift * np.maximum(1 - rho, 0.0) / h
            kappa = (side.stretch - 1) * rho**side.order
            s = s + np.where(rho > 0, kappa + sigma / (alpha - 1j * w), 0.0)
    return s


def _second_difference(
    grid: Cells, axis: int, pair: tuple[Side, Side] | None, w: float, offset: float
) -> SecondDifference:
    h, periodic = grid.widths[axis], grid.periodic[axis]
    line, centres, gaps = np.asarray(grid.edges[axis]), grid.centres[axis], grid.gaps[axis]
    cells = 1 / (h * _stretch(pair, grid, axis, w, offset, centres))
    unknown = slice(0, -1) if periodic else slice(1, -1)
    nodes = 1 / (gaps[unknown] * _stretch(pair, grid, axis, w, offset, line[unknown]))
    after = nodes * (cells if periodic else cells[1:])
    before = nodes * (np.roll(cells, 1) if periodic else cells[:-1])
    middle = -(after + before)
    if not periodic:  # E is zero on the walls
        after[-1] = before[0] = 0.0
    dtype = jnp.result_type(grid.dtype, jnp.complex64)
    return SecondDifference(*(jnp.asarray(one, dtype) for one in (after, before, middle)))


def _check_permittivity(values: np.ndarray) -> None:
    wrong = ~(np.isfinite(values) & (np.real(values) > 0))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"permittivity must be finite with a real part > 0, got {values[place]} at {place}"
        )
