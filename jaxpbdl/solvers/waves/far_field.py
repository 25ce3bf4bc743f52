"""From the fields on a box to those far away of it.

Outside of a box that holds all sources and bodies the fields are those of currents on its faces, in
vacuum, with n the normal out of it (equivalence principle),

    J = n x H,   M = -n x E,   N(r) = oint J exp(-i k r . x),   L(r) = oint M exp(-i k r . x)

and at a distance R in the direction of the unit vector r, with k the wavenumber,

    E = F(r) exp(i k R) / R^((dim - 1)/2),   F = a (N - r (r . N) + L x r)
    a = i k / (4 pi) in three dimensions,   a = -exp(-i pi/4) sqrt(k / (8 pi)) in two

(C. A. Balanis, Advanced Engineering Electromagnetics, 1989, chapter 6, whose time factor is the
conjugate one; in two dimensions the integral over the third coordinate). Half of |F|^2 is the power
that goes into each radian or steradian.
"""

from collections.abc import Iterator
from itertools import product

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxpbdl import checks
from jaxpbdl.solvers.waves.monitors import Box, Tangential


def far_amplitude(
    monitor: Box,
    faces: tuple[Tangential, ...],
    wavelengths: Float[Array, " wavelengths"],
    directions: Float[Array | np.ndarray, "directions dim"],
) -> Complex[Array, "wavelengths directions 3"]:
    """The amplitude F of E far away, at wavelengths in vacuum.

    **Arguments:**

    - `monitor`, `faces`: a box in vacuum with all that radiates inside of it, in two or three
      dimensions, and the transforms of what it shows. Where it ends on a conductor, electric or
      magnetic, the other half of the space is the mirror image.
    - `wavelengths`: of the transforms.
    - `directions`: unit vectors.

    **Raises:** ValueError for directions that are not unit vectors of the grid's dimension, a grid
    of one axis or with a periodic one, and a box between two mirrors.
    """
    grid, ndim = monitor.step.grid, monitor.step.grid.ndim
    if ndim < 2 or any(grid.periodic):
        raise ValueError(
            f"the grid must have two or three axes, none of them periodic, got {ndim} and "
            f"{grid.periodic}"
        )
    checks.shape("directions", directions, (len(directions), ndim))
    if checks.is_concrete(directions):
        lengths = np.linalg.norm(np.asarray(directions), axis=1)
        if np.any(abs(lengths - 1) > 1e-5):
            raise ValueError(f"directions must be unit vectors, got lengths {lengths}")
    directions = jnp.asarray(directions, grid.dtype)
    k = 2 * jnp.pi / wavelengths
    # H was summed with the phase of the time of E, half a step late.
    late = jnp.exp(-0.5j * k * monitor.step.dt)[:, None]
    shape = (len(wavelengths), len(directions), 3)
    electric = jnp.zeros(shape, late.dtype)
    magnetic = jnp.zeros(shape, late.dtype)
    for (axis, index, outward), face in zip(monitor.faces(), faces, strict=True):
        for (e, h, sign), tangential, along in zip(
            monitor.pairs(axis), face.electric, face.magnetic, strict=True
        ):
            lines = monitor.lines(axis, index, e)
            areas = monitor.areas(axis, e)
            for signs, parity, turned, shift in _images(monitor, directions):
                phase = jnp.exp(-1j * k[:, None] * shift)
                # n x h = -sign e, and n x e = sign h.
                current = phase * late * _summed(areas * along, lines, k, turned)
                electric = electric.at[..., e].add(-outward * sign * signs[e] * current)
                current = phase * _summed(areas * tangential, lines, k, turned)
                magnetic = magnetic.at[..., h].add(-outward * sign * parity * signs[h] * current)
    return _electric(electric, magnetic, k, directions)


def _electric(electric: Array, magnetic: Array, k: Array, directions: Array) -> Array:
    """F of N and L."""
    count, ndim = directions.shape
    unit = jnp.concatenate([directions, jnp.zeros((count, 3 - ndim), directions.dtype)], axis=1)
    ahead = jnp.sum(electric * unit, axis=-1, keepdims=True)
    vector = electric - ahead * unit + jnp.cross(magnetic, jnp.broadcast_to(unit, magnetic.shape))
    if ndim == 3:
        factor = 1j * k / (4 * jnp.pi)
    else:
        factor = -jnp.exp(-0.25j * jnp.pi) * jnp.sqrt(k / (8 * jnp.pi))
    return factor[:, None, None] * vector


def _images(monitor: Box, directions: Array) -> Iterator[tuple[tuple[int, ...], int, Array, Array]]:
    """Of the currents on a box and of each of their mirror images: the signs of the components of
    electric currents; the factor to those of magnetic ones; what an image sends in the directions
    is what the box itself sends in others, from a place that far ahead."""
    step = monitor.step
    mirrors: list[tuple[int, int, float]] = []
    for axis, pair in enumerate(step.pairs):
        line, cells = step.grid.edges[axis], step.grid.shape[axis]
        ends = [
            (axis, 1 if side.conducting else -1, line[node])
            for node, reached, side in zip(
                (0, cells), (monitor.lower[axis], monitor.upper[axis]), pair or (), strict=True
            )
            if reached == node
        ]
        if len(ends) == 2:
            raise ValueError(f"the box must end on one side of axis {axis} at most, got both")
        mirrors += ends
    for chosen in product((False, True), repeat=len(mirrors)):
        signs, parity = np.ones(3, int), 1
        turned, shift = directions, jnp.zeros(len(directions), directions.dtype)
        for (axis, sign, place), used in zip(mirrors, chosen, strict=True):
            if not used:
                continue
            # At an electric conductor currents along it are turned round, across it they are not;
            # at a magnetic one the reverse, and the reverse for magnetic currents.
            signs = signs * np.where(np.arange(3) == axis, sign, -sign)
            parity = -parity
            shift = shift + 2 * place * turned[:, axis]
            turned = turned.at[:, axis].multiply(-1)
        yield tuple(int(one) for one in signs), parity, turned, shift


def _summed(values: Array, lines: tuple[np.ndarray, ...], k: Array, directions: Array) -> Array:
    """The sum over a face of values times exp(-i k r . x), axis by axis."""
    for axis in reversed(range(len(lines))):
        line = jnp.asarray(lines[axis], directions.dtype)
        phase = jnp.exp(-1j * k[:, None, None] * directions[:, axis, None] * line)
        if axis == len(lines) - 1:  # the directions come last, and stay there
            values = jnp.einsum("w...x,wdx->w...d", values, phase)
        else:
            values = jnp.einsum("w...xd,wdx->w...d", values, phase)
    return values
