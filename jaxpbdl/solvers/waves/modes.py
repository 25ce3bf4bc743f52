"""Modes of a closed or a periodic box without losses: all frequencies of a small grid at once.

Without magnetic fields one step makes E - dt^2 K E of E, with K the curl of the curl over the
permittivity. On the step's own waves exp(-i w t) the eigenvalues of K are (2 sin(w dt / 2) / dt)^2.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.solvers.waves.interfaces import MixedMedium
from jaxpbdl.solvers.waves.yee import MaxwellStep

LARGEST = 3000
"""Numbers of the electric field whose matrix is made at once."""


def frequencies(step: MaxwellStep) -> Float[Array, " modes"]:
    """Angular frequencies of the modes of `step`, rising: those of its own oscillations, with the
    dispersion of the cells and of dt. Fields of charges at rest, and E on conductors, count as
    modes of frequency zero. It goes through jit, and through vmap over the phases of Bloch's sides.

    **Raises:** ValueError for a medium with losses or an interface, absorbing layers, and a grid
    with more than 3000 numbers of E.
    """
    if isinstance(step.medium, MixedMedium):
        raise ValueError("the permittivity must be one for each component, not an interface")
    if step.medium.conductivity is not None or step.medium.poles:
        raise ValueError("the medium must have no conductivity and no poles")
    if any(pair is not None and any(side.cells for side in pair) for pair in step.pairs):
        raise ValueError("the sides must have no absorbing layers")
    zero = step.start()
    count = sum(field.size for field in zero.electric)
    if count > LARGEST:
        raise ValueError(f"the grid must have at most {LARGEST} numbers of E, got {count}")
    lines = [
        jnp.sqrt(jnp.broadcast_to(eps, field.shape)).ravel()
        for eps, field in zip(step.medium.permittivity, zero.electric, strict=True)
    ]
    root = jnp.concatenate(lines)

    def column(unit: Array) -> Array:
        """Of sqrt(eps) K / sqrt(eps), which is Hermitian."""
        parts, start = [], 0
        for field in zero.electric:
            parts.append((unit / root)[start : start + field.size].reshape(field.shape))
            start += field.size
        held = tuple(part * free for part, free in zip(parts, step.free, strict=True))
        later = step.advance(zero._replace(electric=held)).electric
        change = [(a - b).ravel() for a, b in zip(held, later, strict=True)]
        return root * jnp.concatenate(change) / step.dt**2

    matrix = jax.vmap(column, out_axes=1)(jnp.eye(count, dtype=step.dtype))
    squares = jnp.linalg.eigvalsh((matrix + jnp.conj(matrix.T)) / 2)
    sines = jnp.sqrt(jnp.maximum(squares, 0.0)) * step.dt / 2
    return 2 * jnp.arcsin(jnp.minimum(sines, 1.0)) / step.dt
