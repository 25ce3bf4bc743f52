"""Cells that the surface of a body cuts: a permittivity that is a tensor there, also of a body with
poles of dispersion.

With f the share of the body at a point, n the normal, N = n n^T, T = 1 - N, and e and o the
permittivities inside and outside, what lies along the surface sees the mean of the permittivity and
what crosses it the mean of its inverse,

    E = (T / (f e + (1 - f) o) + N (f / e + (1 - f) / o)) D = C D

(A. Farjadpour et al., Opt. Lett. 31 (2006) 2972): E along and D across are the ones that do not
jump, and errors stay of second order. A body with poles adds P to D, and its poles are driven by
the field inside of it, G, which is E along the surface and (D - P) / e across it (A. Deinega and I.
Valuev, Opt. Lett. 32 (2007) 3429). With R = sqrt(f) P,

    E = C D - X R,   sqrt(f) G = X D - Y R,
    X = sqrt(f) (T / (f e + (1 - f) o) + N / e),   Y = f T / (f e + (1 - f) o) + N / e

both of them derivatives of one form of D and R, which has no direction in which it falls.

The diagonal of a tensor is known on the edges; what is between two components stands at the nodes,
between means of both (G. R. Werner and J. R. Cary, J. Comput. Phys. 226 (2007) 1085). The form of
the whole is the sum over the nodes, for components a and b, of

    mean over the ends of u_a S_a u_a + mean of u_b S_b u_b + 2 <u_a> K <u_b>,   u = (D, R)

whose first two are at least <u> H <u> with H the harmonic mean of S at both ends. It falls in no
direction if |H_a^-1/2 K H_b^-1/2| <= 1, and K is made smaller where it is not: the step is stable
up to its limit whatever the body.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import combinations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells, along
from jaxpbdl.grids.location import Location, node
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.waves.components import electric_location
from jaxpbdl.solvers.waves.differences import Mean
from jaxpbdl.solvers.waves.media import Pole
from jaxpbdl.solvers.waves.sides import Turns

Vector = tuple[Array, ...]
"""One array for each electric component, on its edges."""


POINTS, WEIGHTS = np.polynomial.legendre.leggauss(8)
SMALLEST = 1e-4
"""Share of a cell below which it counts as whole."""
SINGULAR = 1e-4
"""What is added to forms on edges before their harmonic mean, over the largest entry."""


class Interface(eqx.Module):
    """A body in a medium; created by `interface`."""

    shape: Shape
    inside: Array = eqx.field(converter=checks.as_floats)
    outside: Array = eqx.field(converter=checks.as_floats)
    width: float = eqx.field(static=True)
    poles: tuple[Pole, ...] = ()

    def share_and_normal(
        self, point: Float[Array, " dim"]
    ) -> tuple[Float[Array, ""], Float[Array, " dim"]]:
        """The share of the body in the cell about a point, its surface taken as a plane (but for
        its mean curvature), and the normal of the surface, zero where the cell is whole.

        Along a normal the share rises over the width of the cell in each direction, one after the
        other: exactly over the widest of them, the mean over the others by Gauss's points. Shares
        of all cells then add up to the body whatever the slope of the plane.
        """

        def shape(x: Array) -> Array:
            return jnp.asarray(self.shape(x), x.dtype)

        distance = shape(point)
        near = jnp.abs(distance) < self.width * len(point) ** 0.5 / 2
        # A distance may have no slope far from the surface, and its derivative must not be NaN.
        slope = jax.grad(shape)(point)
        slope = jnp.where(near, slope, jnp.ones_like(slope))
        normal = slope / jnp.sqrt(jnp.sum(slope**2))
        # The mean of the distance over the cell is that at its centre but for the curvature.
        bend = jnp.where(near, jnp.trace(jax.hessian(shape)(point)), 0.0)
        distance = distance + self.width**2 / 24 * jnp.clip(bend, -1 / self.width, 1 / self.width)
        *others, widest = jnp.sort(jnp.abs(normal) * self.width)
        moved, weights = distance[None], jnp.ones(1, point.dtype)
        for other in others:
            moved = (moved[:, None] + other / 2 * jnp.asarray(POINTS, point.dtype)).ravel()
            weights = (weights[:, None] * jnp.asarray(WEIGHTS / 2, point.dtype)).ravel()
        share = jnp.sum(weights * jnp.clip(0.5 - moved / widest, 0.0, 1.0))
        share = jnp.where(near, share, jnp.where(distance < 0, 1.0, 0.0))
        cut = (share > SMALLEST) & (share < 1 - SMALLEST)
        return jnp.where(cut, share, jnp.round(share)), jnp.where(cut, normal, 0.0)


def interface(
    shape: Shape,
    inside: ArrayLike,
    outside: ArrayLike,
    width: float,
    poles: Sequence[Pole] = (),
) -> Interface:
    """The permittivity of a body with a sharp surface, for `maxwell`: a tensor in the cells that
    the surface cuts. Gradients reach the shape.

    **Arguments:**

    - `shape`: signed distance of the body, negative inside.
    - `inside`, `outside`: permittivities > 0; with poles, `inside` is that of high frequencies.
    - `width`: of a cell; the same along every axis.
    - `poles`: `drude(..)` and `lorentz(..)` that fill the body; their own `share` must be 1.

    **Raises:** ValueError for a permittivity or a width that is not above 0, and for poles with a
    share of their own.
    """
    for name, value in {"inside": inside, "outside": outside, "width": width}.items():
        checks.positive(name, value)
    for number, pole in enumerate(poles):
        if not isinstance(pole.share, (int, float)) or pole.share != 1:
            raise ValueError(
                f"share of pole {number} must be 1, the body's own is that of its shape; got "
                f"{pole.share}"
            )
    return Interface(shape, inside, outside, float(width), tuple(poles))


class Crossing(eqx.Module):
    """The entry of a tensor between two components: their positions, the means from their edges to
    the nodes, and the entry at the nodes."""

    positions: tuple[int, int] = eqx.field(static=True)
    to_nodes: tuple[Mean, Mean]
    to_edges: tuple[Mean, Mean]
    entry: Array


class Tensor(eqx.Module):
    """A symmetric tensor: its diagonal on the edges of each component, the rest at the nodes."""

    diagonal: Vector
    crossings: tuple[Crossing, ...]

    def __call__(self, vector: Vector) -> Vector:
        found = [entry * part for entry, part in zip(self.diagonal, vector, strict=True)]
        for one in self.crossings:
            for here, there in ((0, 1), (1, 0)):
                crossed = one.entry * one.to_nodes[there](vector[one.positions[there]])
                position = one.positions[here]
                found[position] = found[position] + one.to_edges[here](crossed)
        return tuple(found)

    def bounds(self) -> Vector:
        """At each edge the sum of magnitudes in its row; the largest bounds the eigenvalues."""
        found = [jnp.abs(entry) for entry in self.diagonal]
        for one in self.crossings:
            for here in (0, 1):
                position = one.positions[here]
                found[position] = found[position] + jnp.abs(one.to_edges[here](jnp.abs(one.entry)))
        return tuple(found)


class MixedMedium(eqx.Module):
    """An interface on a grid.

    **Attributes:** `inverse`, C above; `coupling` (X) and `binding` (Y), None without poles;
    `poles`, and their strengths for each component.
    """

    trainable_fields = ()

    inverse: Tensor
    coupling: Tensor | None
    binding: Tensor | None
    poles: tuple[Pole, ...]
    strengths: tuple[Vector, ...]

    def electric(self, displacement: Vector, polarisations: Sequence[Vector]) -> Vector:
        """E, from D and the R of each pole."""
        field = self.inverse(displacement)
        if self.coupling is None:
            return field
        return _minus(field, self.coupling(_sum(polarisations)))

    def driving(self, displacement: Vector, polarisations: Sequence[Vector]) -> Vector:
        """sqrt(f) G, the field inside of the body."""
        if self.coupling is None or self.binding is None:
            raise ValueError("a body without poles has no field that drives them")
        return _minus(self.coupling(displacement), self.binding(_sum(polarisations)))

    def stiffness(self, curl: float) -> Vector:
        """A bound on the square of the frequency at each edge but for the springs of the poles;
        `curl` that of the curl of the curl in vacuum."""
        bounds = [curl * one for one in self.inverse.bounds()]
        if self.binding is None:
            return tuple(bounds)
        total = jnp.sum(jnp.stack([pole.strength for pole in self.poles]))
        return tuple(a + total * b for a, b in zip(bounds, self.binding.bounds(), strict=True))


def _sum(vectors: Sequence[Vector]) -> Vector:
    return tuple(reduce(jnp.add, parts) for parts in zip(*vectors, strict=True))


def _minus(first: Vector, second: Vector) -> Vector:
    return tuple(a - b for a, b in zip(first, second, strict=True))


def mixed(body: Interface, grid: Cells, electric: tuple[int, ...], turns: Turns) -> MixedMedium:
    """`body` on the edges of the electric components; `turns` of the sides of the grid."""
    inside, outside = (one.astype(grid.dtype) for one in (body.inside, body.outside))
    poles = bool(body.poles)

    def forms(location: Location, a: int, b: int) -> Float[Array, "*points m m"]:
        """What (D, R) of component a and of b are multiplied by: ((C, -X), (-X, Y)), or C alone."""
        points = grid.points_at(location)
        share, normal = jax.vmap(body.share_and_normal)(points.reshape(-1, grid.ndim))
        share, normal = share.astype(grid.dtype), normal.astype(grid.dtype)
        root = jnp.sqrt(jnp.where(share > 0, share, 1.0)) * (share > 0)
        mean = 1 / (share * inside + (1 - share) * outside)

        def entry(along: Array, across: Array) -> Array:
            unit = along if a == b else jnp.zeros_like(along)
            if max(a, b) >= grid.ndim:  # such a component lies along the surface
                return unit
            return unit + (across - along) * normal[..., a] * normal[..., b]

        inverse = entry(mean, share / inside + (1 - share) / outside)
        if not poles:
            return inverse.reshape(*points.shape[:-1], 1, 1)
        coupling = -entry(root * mean, root / inside)
        binding = entry(share * mean, jnp.ones_like(share) / inside)
        binding = jnp.where((share > 0) | (a != b), binding, 0.0)
        rows = jnp.stack(
            [jnp.stack([inverse, coupling], -1), jnp.stack([coupling, binding], -1)], -1
        )
        return rows.reshape(*points.shape[:-1], 2, 2)

    diagonal = {a: forms(electric_location(a, grid.ndim), a, a) for a in electric}
    pairs = list(combinations([a for a in electric if a < grid.ndim], 2))
    # A component shares its diagonal among all the pairs that it belongs to.
    most = 1.0 if grid.ndim < 3 else 0.5
    crossed = {
        (a, b): _calmed(
            forms(node, a, b),
            _harmonic(diagonal[a], a, grid.periodic[a]),
            _harmonic(diagonal[b], b, grid.periodic[b]),
            most,
        )
        for a, b in pairs
    }

    def tensor(row: int, column: int, sign: int) -> Tensor:
        crossings = []
        for (a, b), form in crossed.items():
            means = [
                tuple(Mean(axis, to_nodes, grid.periodic[axis], turns[axis]) for axis in (a, b))
                for to_nodes in (True, False)
            ]
            crossings.append(
                Crossing(
                    (electric.index(a), electric.index(b)),
                    (means[0][0], means[0][1]),
                    (means[1][0], means[1][1]),
                    sign * form[..., row, column],
                )
            )
        parts = tuple(sign * diagonal[a][..., row, column] for a in electric)
        return Tensor(parts, tuple(crossings))

    return MixedMedium(
        tensor(0, 0, 1),
        tensor(0, 1, -1) if poles else None,
        tensor(1, 1, 1) if poles else None,
        body.poles,
        tuple((pole.strength.astype(grid.dtype),) * len(electric) for pole in body.poles),
    )


def _harmonic(
    forms: Float[Array, "*edges m m"], axis: int, periodic: bool
) -> Float[Array, "*nodes m m"]:
    """The harmonic mean of the forms on the two edges that meet in each node; at the end of an axis
    that of the last edge."""
    n, size = forms.shape[axis], forms.shape[-1]
    # Singular forms are common: a pole outside of the body, one inside that D alone drives.
    forms = forms + SINGULAR * jnp.max(jnp.abs(forms)) * jnp.eye(size, dtype=forms.dtype)
    first, last = along(forms, axis, 0, 1), along(forms, axis, n - 1, n)
    if periodic:
        below, above = jnp.concatenate([last, along(forms, axis, 0, n - 1)], axis), forms
    else:
        below, above = (jnp.concatenate(parts, axis) for parts in ((first, forms), (forms, last)))
    return 2 * below @ jnp.linalg.solve(below + above, above)


def _calmed(
    crossed: Float[Array, "*nodes m m"],
    first: Float[Array, "*nodes m m"],
    second: Float[Array, "*nodes m m"],
    most: float,
) -> Float[Array, "*nodes m m"]:
    """K, smaller where |H_a^-1/2 K H_b^-1/2| would be above `most`."""
    square = jnp.linalg.solve(first, crossed) @ jnp.linalg.solve(
        second, jnp.swapaxes(crossed, -1, -2)
    )
    half = jnp.trace(square, axis1=-2, axis2=-1) / 2
    if square.shape[-1] == 1:
        largest = 2 * half
    else:
        spread = half**2 - jnp.linalg.det(square)
        largest = half + jnp.sqrt(jnp.where(spread > 0, spread, 1.0)) * (spread > 0)
    too_large = largest > most**2
    factor = jnp.where(too_large, most / jnp.sqrt(jnp.where(too_large, largest, 1.0)), 1.0)
    return factor[..., None, None] * crossed
