"""Monitors: running Fourier transforms of what a state shows, and the flux through a box.

    F(w) = sum over steps of dt f(t) exp(i w t)

`transformed(step, observe, wavelengths)` is a step whose state carries these sums along, so that a
long run keeps nothing but them. `Box` gives the fields on the faces of a box to observe, and the
energy that flows out of it at a wavelength, half the real part of oint (E x H*) . n.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.grids.cells import along
from jaxpbdl.grids.grid import outer
from jaxpbdl.solvers.waves.components import permutation_sign
from jaxpbdl.solvers.waves.sides import require_inside
from jaxpbdl.solvers.waves.yee import Fields, MaxwellStep
from jaxpbdl.step import Step


class Transformed(NamedTuple):
    """The state of `transformed`: the fields, and the sums of cosines and sines, real and imaginary
    part of the transform, wavelengths first."""

    fields: Fields
    cosines: PyTree
    sines: PyTree


class TransformedStep(Step):
    """A step with running Fourier transforms; created by `transformed`."""

    trainable_fields = ()

    step: MaxwellStep
    observe: Callable[[Fields], PyTree]
    wavelengths: Float[Array, " wavelengths"]

    @property
    def interval(self) -> Array:
        return self.step.dt

    def start(self, fields: Fields) -> Transformed:
        """The state with sums of zero."""
        count = len(self.wavelengths)
        zero = jax.tree.map(
            lambda one: jnp.zeros((count, *one.shape), one.dtype),
            jax.eval_shape(self.observe, fields),
        )
        return Transformed(fields, zero, zero)

    def advance(self, working: Transformed, *inputs: Sequence[Array]) -> Transformed:
        fields = self.step.advance(working.fields, *inputs)
        angles = 2 * jnp.pi / self.wavelengths * fields.time
        seen = self.observe(fields)

        def summed(factors: Array, sums: PyTree) -> PyTree:
            return jax.tree.map(
                lambda total, one: (
                    total
                    + (self.step.dt * factors).reshape([-1] + [1] * one.ndim).astype(one.dtype)
                    * one
                ),
                sums,
                seen,
            )

        return Transformed(
            fields, summed(jnp.cos(angles), working.cosines), summed(jnp.sin(angles), working.sines)
        )

    def check_state(self, state: PyTree) -> None:
        if not isinstance(state, Transformed):
            raise ValueError(
                f"state must be Transformed, as `start` gives, got {type(state).__name__}"
            )
        self.step.check_state(state.fields)

    def largest_dt(self, state: PyTree = None) -> Array:
        return self.step.largest_dt()

    def refuse_above(self, limit: Array | float) -> None:
        self.step.refuse_above(limit)


def transformed(
    step: MaxwellStep, observe: Callable[[Fields], PyTree], wavelengths: ArrayLike
) -> TransformedStep:
    """`step` with running Fourier transforms of `observe(fields)`, a tree of arrays, at some
    wavelengths in vacuum; `spectra(state)` are the transforms.

    **Raises:** ValueError for wavelengths that are not above 0 or shorter than two cells.
    """
    waves = np.atleast_1d(np.asarray(wavelengths, float))
    checks.positive("wavelengths", waves)
    coarsest = max(float(h.max()) for h in step.grid.widths)
    if waves.min() < 2 * coarsest:
        raise ValueError(
            f"wavelengths must be at least two cells, {2 * coarsest:.6g}, got {waves.min():.6g}"
        )
    return TransformedStep(step, observe, jnp.asarray(waves, step.grid.dtype))


def spectra(state: Transformed) -> PyTree:
    """The transforms, complex, wavelengths first."""
    return jax.tree.map(lambda re, im: re + 1j * im, state.cosines, state.sines)


class Tangential(NamedTuple):
    """On a face of a box: the parts of E along it, and the part of H that each makes a flux with,
    in pairs; H half a step before E."""

    electric: tuple[Array, ...]
    magnetic: tuple[Array, ...]


class Box(eqx.Module):
    """A box with faces on nodes; created by `box`. Call it with the fields to get what lies on its
    faces."""

    trainable_fields = ()

    step: MaxwellStep
    lower: tuple[int, ...] = eqx.field(static=True)
    upper: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, fields: Fields) -> tuple[Tangential, ...]:
        """For each axis the lower and then the upper face, those on sides of the domain left
        out."""
        return tuple(self.face(fields, axis, index) for axis, index, _ in self.faces())

    def face(self, fields: Fields, axis: int, index: int) -> Tangential:
        """What lies on the cut through the box at a node of an axis."""
        pairs = self.pairs(axis)
        return Tangential(
            tuple(self._electric(fields, axis, index, e) for e, _, _ in pairs),
            tuple(self._magnetic(fields, axis, index, h) for _, h, _ in pairs),
        )

    def flux(
        self, faces: tuple[Tangential, ...], wavelengths: Float[Array, " wavelengths"]
    ) -> Float[Array, " wavelengths"]:
        """Out of the box, of the transforms of its faces: half the real part of E x H*."""
        # H was summed with the phase of the time of E, half a step late.
        late = jnp.exp(-1j * jnp.pi / wavelengths * self.step.dt)
        total = jnp.zeros(len(wavelengths), self.step.grid.dtype)
        for (axis, _, outward), face in zip(self.faces(), faces, strict=True):
            for (e, _, sign), electric, magnetic in zip(
                self.pairs(axis), face.electric, face.magnetic, strict=True
            ):
                areas = self.areas(axis, e)
                density = electric * jnp.conj(magnetic)
                over = jnp.sum(density * areas, axis=tuple(range(1, density.ndim)))
                total = total + outward * sign * jnp.real(over * jnp.conj(late)) / 2
        return total

    def faces(self) -> list[tuple[int, int, int]]:
        """Of each face: its axis, the index of its node, and the sign of what flows out up the
        axis."""
        return [
            (axis, index, outward)
            for axis, cells in enumerate(self.step.grid.shape)
            for index, outward in ((self.lower[axis], -1), (self.upper[axis], 1))
            if 0 < index < cells
        ]

    def pairs(self, axis: int) -> list[tuple[int, int, int]]:
        """Electric and magnetic components along the face, and the sign of their product."""
        electric, magnetic = self.step.components
        pairs = [(e, 3 - axis - e) for e in electric if e != axis]
        return [(e, h, permutation_sign(axis, e, h)) for e, h in pairs if h in magnetic]

    def _electric(self, fields: Fields, axis: int, index: int, component: int) -> Array:
        values = fields.electric[self.step.components.electric.index(component)]
        return self._cut(along(values, axis, index, index + 1), axis, component)

    def _magnetic(self, fields: Fields, axis: int, index: int, component: int) -> Array:
        values = fields.magnetic[self.step.components.magnetic.index(component)]
        both = along(values, axis, index - 1, index + 1)
        # Linear between the centres of the two cells beside the face.
        before, after = self.step.grid.widths[axis][index - 1 : index + 1]
        share = before / (before + after)
        low, high = along(both, axis, 0, 1), along(both, axis, 1, 2)
        return self._cut((1 - share) * low + share * high, axis, 3 - axis - component)

    def _cut(self, values: Array, axis: int, electric: int) -> Array:
        for other in range(values.ndim):
            if other != axis:
                stop = self.upper[other] + (0 if other == electric else 1)
                values = along(values, other, self.lower[other], stop)
        return values

    def lines(self, axis: int, index: int, electric: int) -> tuple[np.ndarray, ...]:
        """Along each axis the coordinates of the values on a face, of the component `electric` and
        of the magnetic one beside it."""
        grid = self.step.grid
        found = []
        for other, (nodes, centres) in enumerate(zip(grid.edges, grid.centres, strict=True)):
            low, high = self.lower[other], self.upper[other]
            if other == axis:
                found.append(np.asarray(nodes[index : index + 1]))
            elif other == electric:
                found.append(centres[low:high])
            else:
                found.append(np.asarray(nodes[low : high + 1]))
        return tuple(found)

    def areas(self, axis: int, electric: int) -> Array:
        """That each value of a face across `axis` stands for, of the component `electric`."""
        grid, lines = self.step.grid, []
        for other in range(grid.ndim):
            widths = grid.widths[other][self.lower[other] : self.upper[other]]
            if other == axis:
                lines.append(np.ones(1))
            elif other == electric:
                lines.append(widths)
            else:  # at nodes: half a cell of each neighbour
                ends = np.concatenate([[0.0], widths, [0.0]])
                lines.append((ends[1:] + ends[:-1]) / 2)
        return jnp.asarray(outer(lines), grid.dtype)


def box(step: MaxwellStep, lower: Sequence[float], upper: Sequence[float]) -> Box:
    """The box whose faces are the nodes nearest to the corners `lower` and `upper`.

    A corner on a conductor, electric or magnetic, leaves out the face there: nothing flows through
    it. So about a plane of symmetry one takes half of a box and half of the flux.

    **Raises:** ValueError for corners outside of the domain, inside an absorbing layer, on the
    ends of a periodic axis, or less than a cell apart.
    """
    grid = step.grid
    indices = []
    for name, place in {"lower": lower, "upper": upper}.items():
        require_inside(name, place, step.pairs, grid)
        found = [
            int(np.argmin(np.abs(np.asarray(line) - x)))
            for line, x in zip(grid.edges, place, strict=True)
        ]
        for axis, index in enumerate(found):
            if grid.periodic[axis] and not 0 < index < grid.shape[axis]:
                raise ValueError(
                    f"{name} {tuple(place)} must lie a cell or more within the domain on axis "
                    f"{axis}"
                )
        indices.append(tuple(found))
    if not all(a < b for a, b in zip(*indices, strict=True)):
        raise ValueError(
            f"lower must be a cell or more below upper, got {tuple(lower)} and {tuple(upper)}"
        )
    return Box(step, *indices)
