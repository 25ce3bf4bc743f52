"""What an optimiser that looks at more than one gradient is given, as vectors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree


class Flat(NamedTuple):
    """Parameters and their gradient as vectors, and the loss as a function of such a vector."""

    parameters: Float[Array, " n"]
    gradient: Float[Array, " n"]
    loss: Callable[[Array], Array]
    unravel: Callable[[Array], PyTree]

    def gradient_at(self, parameters: Float[Array, " n"]) -> Float[Array, " n"]:
        return jax.grad(self.loss)(parameters)

    def curved(self, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        """The Hessian times a vector: two gradients' worth of work."""
        return jax.jvp(jax.grad(self.loss), (self.parameters,), (vector,))[1]


def flat(who: str, updates: PyTree, params: PyTree | None, extra: dict[str, Any]) -> Flat:
    """Raises ValueError where `params` or `value_fn`, the loss of them, is missing."""
    if params is None or "value_fn" not in extra:
        raise ValueError(f"{who} needs params and value_fn, as `fit` gives them")
    parameters, unravel = ravel_pytree(params)
    return Flat(
        parameters,
        ravel_pytree(updates)[0],
        lambda vector: extra["value_fn"](unravel(vector)),
        unravel,
    )
