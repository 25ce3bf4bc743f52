"""Fields put together from windows of time, each of which goes on where the one before ended."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.fields.derivatives import Field
from jaxpbdl.fields.sampling import Box


class Snapshot(eqx.Module):
    """A field held at one instant, for all times: what a next window starts from."""

    field: Field
    time: float

    def __call__(self, point: Float[Array, " dim"]) -> Array:
        return self.field(jnp.append(point[:-1], self.time))


class Joined(eqx.Module):
    """Fields of successive windows of time as one; at a point in two windows, the earlier.

    Before the first and after the last window, their fields are continued.
    """

    fields: tuple[Field, ...]
    ends: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, fields: Sequence[Field], windows: Sequence[Box]):
        """Raises ValueError if there is not one window a field, or if windows leave gaps."""
        if len(fields) != len(windows) or not fields:
            raise ValueError(
                f"fields and windows must be equally many, got {len(fields)} and {len(windows)}"
            )
        ends = [window.upper[-1] for window in windows]
        starts = [window.lower[-1] for window in windows]
        if ends[:-1] != starts[1:]:
            raise ValueError(f"each window must start where the last ends, got {starts}, {ends}")
        self.fields = tuple(fields)
        self.ends = tuple(ends[:-1])

    def __call__(self, point: Float[Array, " dim"]) -> Array:
        values = jnp.stack([field(point) for field in self.fields])
        return values[jnp.searchsorted(jnp.asarray(self.ends, point.dtype), point[-1])]
