"""What the members of a committee disagree on."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def force_deviation(forces: Float[Array, "members atoms 3"]) -> Float[Array, " atoms"]:
    """The standard deviation over the members of the force on each atom,

        sqrt(sum over members of |F - mean F|^2 / (members - 1))

    in the units of the forces. Raises ValueError for fewer than two members.
    """
    if forces.shape[0] < 2:
        raise ValueError(
            f"a standard deviation needs at least two members, got forces of {forces.shape[0]}"
        )
    return jnp.sqrt(jnp.sum(jnp.var(forces, axis=0, ddof=1), axis=-1))
