"""Controls within limits: parameters without bounds become amplitudes that cannot leave them.

A map takes the parameters of each control, any numbers, into a box or a ball, whose faces it
reaches. A `HeldPulse` keeps each value for a slice of time. A `FilteredPulse` takes the mean of the
values about a time by a Gaussian,

    u(t) = sum_j w_j(t) map(p_j),   w_j(t) = h exp(-(t - t_j)^2 / (2 width^2)) / sqrt(2 pi) width

with h between the values. A mean stays within limits that are convex, and the spectrum of u falls
as exp(-(2 pi f width)^2 / 2): both limits hold for every parameter, to 1e-8 of the limit.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks

Limit: TypeAlias = Callable[[Array], Array]
"""From parameters (.., controls), any numbers, to amplitudes (.., controls)."""


class WithinBox(eqx.Module):
    """Each control within -limit..limit: limit sin(p)."""

    trainable_fields = ()

    limit: Float[Array, "..."] = eqx.field(converter=checks.as_floats)

    def __call__(self, parameters: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
        return self.limit * jnp.sin(parameters)


class WithinBall(eqx.Module):
    """The root of the sum of the controls' squares at most limit: along p, limit sin|p|."""

    trainable_fields = ()

    limit: Float[Array, ""] = eqx.field(converter=checks.as_floats)

    def __call__(self, parameters: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
        size = jnp.sqrt(jnp.sum(parameters**2, axis=-1, keepdims=True) + 1e-30)
        return self.limit * parameters * (jnp.sin(size) / size)


class HeldPulse(eqx.Module):
    """Values each held over a slice of the duration."""

    trainable_fields = ("parameters",)

    parameters: Float[Array, "slices k"]
    duration: Float[Array, ""] = eqx.field(converter=checks.as_floats)
    limit: Limit

    def __check_init__(self):
        checks.positive("duration", self.duration)

    def __call__(self, times: Float[Array, " times"]) -> Float[Array, "times k"]:
        slices = len(self.parameters)
        number = jnp.floor(times / self.duration * slices).astype(int)
        return self.limit(self.parameters)[jnp.clip(number, 0, slices - 1)]


class FilteredPulse(eqx.Module):
    """Values at equal distances, from `inset` after the begin to `inset` before the end of the
    duration, and the means of them by a Gaussian. Their distance must be at most its width; with an
    inset of 4 widths the pulse begins and ends at 1e-4 of its limit at most."""

    trainable_fields = ("parameters",)

    parameters: Float[Array, "values k"]
    duration: Float[Array, ""] = eqx.field(converter=checks.as_floats)
    width: float = eqx.field(static=True)
    inset: float = eqx.field(static=True)
    limit: Limit

    def __check_init__(self):
        checks.positive("duration", self.duration)
        checks.positive("width", self.width)
        checks.non_negative("inset", self.inset)
        if not checks.is_concrete(self.duration):
            return
        if self.inset > float(self.duration) / 2:
            raise ValueError(f"inset must be at most half of the duration, got {self.inset}")
        if float(self.spacing) > self.width * (1 + 1e-6):
            raise ValueError(
                f"parameters must hold a value at least every width = {self.width:g}, their "
                f"distance is {float(self.spacing):g}"
            )

    @property
    def spacing(self) -> Float[Array, ""]:
        """Between two values."""
        return (self.duration - 2 * self.inset) / max(1, len(self.parameters) - 1)

    def __call__(self, times: Float[Array, " times"]) -> Float[Array, "times k"]:
        at = self.inset + self.spacing * jnp.arange(len(self.parameters), dtype=times.dtype)
        weights = jnp.exp(-(((times[:, None] - at) / self.width) ** 2) / 2)
        weights = weights * (self.spacing / self.width / (2 * jnp.pi) ** 0.5)
        return weights @ self.limit(self.parameters)


def in_slices(pulse: HeldPulse | FilteredPulse, slices: int) -> Float[Array, "slices k"]:
    """The amplitudes at the middle of equal slices of the duration: inputs of as many steps."""
    slices = checks.count("slices", slices)
    middles = (jnp.arange(slices) + 0.5) * (pulse.duration / slices)
    return pulse(middles.astype(pulse.parameters.dtype))
