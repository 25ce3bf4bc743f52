"""Divergence, gradient and pressure on a grid of unit cells, periodic or in a closed box.

Velocities live on the faces (Harlow and Welch, Phys. Fluids 8 (1965) 2182): component `a` at
index `i` is that of the face below cell `i` along axis `a`, so that velocities and pressure have
the same shape. In a closed box the first face along an axis is a wall, its velocity zero, and the
wall beyond the last cell is not stored.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.networks.convolution import shifted


def divergence(velocity: Float[Array, "dim *cells"], periodic: bool) -> Float[Array, "*cells"]:
    """What leaves each cell: `sum_a v_a[i + 1] - v_a[i]`."""
    out = [shifted(part, 1, axis, periodic) - part for axis, part in enumerate(velocity)]
    return jnp.sum(jnp.stack(out), axis=0)


def gradient(pressure: Float[Array, "*cells"], periodic: bool) -> Float[Array, "dim *cells"]:
    """`p[i] - p[i - 1]` on the face between two cells, zero on walls: minus the adjoint of
    `divergence`."""
    return jnp.stack([_slope(pressure, axis, periodic) for axis in range(pressure.ndim)])


def laplacian(pressure: Float[Array, "*cells"], periodic: bool) -> Float[Array, "*cells"]:
    """The divergence of the gradient, which vanishes for constants alone."""
    return divergence(gradient(pressure, periodic), periodic)


def solve(source: Float[Array, "*cells"], periodic: bool) -> Float[Array, "*cells"]:
    """The pressure of zero mean whose Laplacian is `source` less its mean: waves, or in a closed
    box cosines, are the eigenvectors."""
    turns = [(1.0 if periodic else 0.5) * np.arange(n) / n for n in source.shape]
    eigenvalues = np.zeros(())
    for turn in turns:
        eigenvalues = np.add.outer(eigenvalues, -((2 * np.sin(np.pi * turn)) ** 2))
    inverse = np.divide(1, eigenvalues, out=np.zeros_like(eigenvalues), where=eigenvalues < 0)
    inverse = jnp.asarray(inverse, source.dtype)
    if periodic:
        return jnp.fft.ifftn(inverse * jnp.fft.fftn(source)).real
    return jax.scipy.fft.idctn(inverse * jax.scipy.fft.dctn(source))


def _slope(pressure: Array, axis: int, periodic: bool) -> Array:
    slope = pressure - shifted(pressure, -1, axis, periodic)
    if periodic:
        return slope
    wall = jnp.arange(pressure.shape[axis]) == 0
    return jnp.where(
        jnp.expand_dims(wall, [a for a in range(pressure.ndim) if a != axis]), 0, slope
    )
