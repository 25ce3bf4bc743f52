"""Networks between physical units, and in another precision than what surrounds them.

    y = centre_out + scale_out network((x - centre_in) / scale_in)            (`Standardised`)

The numbers are parts of the model: they are saved, shared and exported with it, so that nobody has
to remember by what the training data were divided.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

Network = Callable[[Array], Array]


class Units(eqx.Module):
    """What is zero and what is one of each channel: `standard = (value - centre) / scale`."""

    trainable_fields = ()

    centre: Float[Array, " channels *ones"]
    scale: Float[Array, " channels *ones"]

    @classmethod
    def of(cls, data: ArrayLike) -> "Units":
        """Mean and standard deviation of each channel of training data.

        **Arguments:** `data` `(samples, channels, *grid)`, a JAX or NumPy array, also one mapped
        from a file; the mean is over samples and grid, in double precision. A channel that never
        changes has the scale 1.

        **Raises:** ValueError for fewer than two axes, no sample, or numbers that are not finite.
        """
        values = np.asarray(data)
        if values.ndim < 2 or not values.size:
            raise ValueError(f"data must be (samples, channels, *grid), got shape {values.shape}")
        others = (0, *range(2, values.ndim))
        centre = values.mean(others, dtype=np.float64)
        scale = np.empty_like(centre)
        for channel, middle in enumerate(centre):  # one at a time: a copy of one, not of all
            scale[channel] = np.sqrt(np.mean((values[:, channel] - middle) ** 2, dtype=np.float64))
        if not np.all(np.isfinite([centre, scale])):
            bad = int(np.argmin(np.isfinite(centre + scale)))
            raise ValueError(f"data must be finite, but channel {bad} is not")
        unchanging = scale <= 1e-6 * np.abs(centre)  # what rounding leaves of a constant
        shape = (-1, *(1 for _ in others[1:]))
        numbers = centre, np.where(unchanging | (scale == 0), 1.0, scale)
        return cls(*(jnp.asarray(each.reshape(shape), dtype=float) for each in numbers))

    def standard(self, values: Float[Array, " channels *grid"]) -> Float[Array, " channels *grid"]:
        """Of zero mean and deviation one over the data these units are of."""
        return (values - self.centre) / self.scale

    def physical(self, values: Float[Array, " channels *grid"]) -> Float[Array, " channels *grid"]:
        """What `standard` came from."""
        return self.centre + self.scale * values


class Standardised(eqx.Module):
    """A network that sees standard numbers and answers in the units of its training data.

        y = centre_out + scale_out network((x - centre_in) / scale_in)

    Only the network is trained. In front of a loss it is a model like any other.

    **Arguments:** `network`, of one sample `(channels, *grid)` or one vector; `inputs`, `outputs`,
    the `Units` of either side, as of `Units.of(training_inputs)`.
    """

    trainable_fields = ("network",)

    network: Network
    inputs: Units
    outputs: Units

    def __call__(self, x: Float[Array, " channels *grid"]) -> Float[Array, " _out *_grid"]:
        """Raises ValueError for another number of channels or axes than those of the units."""
        expected = self.inputs.centre
        if x.ndim != expected.ndim or x.shape[0] != expected.shape[0]:
            raise ValueError(
                f"Standardised expects one sample of {expected.shape[0]} channels in "
                f"{expected.ndim} axes, got shape {tuple(x.shape)}; use jax.vmap for a batch"
            )
        return self.outputs.physical(self.network(self.inputs.standard(x)))


class InPrecision(eqx.Module):
    """A network that computes in another precision; its parameters and what it returns keep theirs.

    A network in bfloat16 needs half the memory traffic and uses the matrix units of accelerators.
    The solver beside it and the optimiser's sums stay in single precision, where small changes are
    not rounded away; so does the gradient. On a CPU it costs time.

    **Arguments:** `network`, on arrays; `dtype`, `jnp.bfloat16` by default, or float32 or float64.

    **Raises:** ValueError for another type: float16 overflows at 65504, and gradients in it want a
    scale of the loss.
    """

    trainable_fields = ("network",)

    network: Network
    dtype: DTypeLike = eqx.field(static=True)

    def __init__(self, network: Network, dtype: DTypeLike = jnp.bfloat16):
        self.network, self.dtype = network, jnp.dtype(dtype)
        admissible = [jnp.dtype(kind) for kind in (jnp.bfloat16, jnp.float32, jnp.float64)]
        if self.dtype not in admissible:
            raise ValueError(f"dtype must be bfloat16, float32 or float64, got {self.dtype}")
        if jax.dtypes.canonicalize_dtype(self.dtype) != self.dtype:
            raise ValueError(f"{self.dtype} needs jax.config.update('jax_enable_x64', True)")

    def __call__(self, x: Float[Array, " *_in"]) -> Float[Array, " *_out"]:
        def cast(leaf: Array) -> Array:
            return leaf.astype(self.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        arrays, rest = eqx.partition(self.network, eqx.is_array)
        network = eqx.combine(jax.tree.map(cast, arrays), rest)
        return network(cast(x)).astype(x.dtype)
