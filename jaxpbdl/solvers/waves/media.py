"""What fills the box: permittivity, conductivity, and poles of dispersion.

Relative to vacuum and at the angular frequency w of exp(-i w t),

    eps(w) = permittivity + i conductivity / w + sum_k strength_k / (w_k^2 - w^2 - i w damping_k)

A pole is an oscillator P of its own, P'' + damping P' + w_k^2 P = strength E (method of auxiliary
differential equations; A. Taflove and S. C. Hagness, Computational Electrodynamics, 3rd ed. 2005,
chapter 9).
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.waves.components import NAMES, electric_location

Property: TypeAlias = Callable[[Array], ArrayLike] | ArrayLike | Sequence[ArrayLike]
"""A property of the medium: a number; a function `point -> number` or `point -> (3,)`, one for each
direction of E; or a tuple with a number or an array on its edges for each electric component."""


class Pole(eqx.Module):
    """One oscillator; created by `drude` or `lorentz`.

    **Attributes:** `resonance` w_k and `damping`, angular frequencies; `strength` >= 0, where the
    medium is; all in units of the speed of light over the unit of length, squared for `strength`.
    """

    resonance: Array = eqx.field(converter=checks.as_floats)
    damping: Array = eqx.field(converter=checks.as_floats)
    strength: Array = eqx.field(converter=checks.as_floats)
    share: Property = 1.0

    def __check_init__(self):
        for name in ("resonance", "damping", "strength"):
            checks.non_negative(name, getattr(self, name))
            checks.shape(name, getattr(self, name), ())

    def susceptibility(self, frequency: ArrayLike) -> Array:
        """Its part of the permittivity at an angular frequency, where `share` is one."""
        w = jnp.asarray(frequency)
        return self.strength / (self.resonance**2 - w**2 - 1j * w * self.damping)


def drude(plasma_frequency: ArrayLike, damping: ArrayLike = 0.0, share: Property = 1.0) -> Pole:
    """Free charges: -w_p^2 / (w^2 + i w damping), times `share`, the share of the medium at each
    point."""
    checks.non_negative("plasma_frequency", plasma_frequency)
    return Pole(0.0, damping, jnp.asarray(plasma_frequency) ** 2, share)


def lorentz(
    resonance: ArrayLike, change: ArrayLike, damping: ArrayLike = 0.0, share: Property = 1.0
) -> Pole:
    """Bound charges: change w_0^2 / (w_0^2 - w^2 - i w damping), times `share`; `change` is what
    they add to the permittivity of slow fields."""
    checks.positive("resonance", resonance)
    checks.non_negative("change", change)
    return Pole(resonance, damping, jnp.asarray(change) * jnp.asarray(resonance) ** 2, share)


def smoothed(
    shape: Shape, inside: ArrayLike, outside: ArrayLike, width: float
) -> Callable[[Array], Array]:
    """A property that changes from `inside` to `outside` linearly over `width` about the surface:
    for the width of a cell, nearly the mean over a cell. Gradients reach the shape.

    The mean of the permittivity is right for an electric field along the surface.
    """
    checks.positive("width", width)

    def value(point: Array) -> Array:
        share = jnp.clip(0.5 - shape(point) / width, 0.0, 1.0)
        return jnp.asarray(outside) + share * (jnp.asarray(inside) - jnp.asarray(outside))

    return value


class Medium(eqx.Module):
    """The properties on the edges of each electric component; numbers where they are constant.

    **Attributes:** `permittivity`, `conductivity` (None without any), `poles`, and the strength of
    each pole for each component, `strengths`.
    """

    trainable_fields = ()

    permittivity: tuple[Array, ...]
    conductivity: tuple[Array, ...] | None
    poles: tuple[Pole, ...]
    strengths: tuple[tuple[Array, ...], ...]


def medium(
    grid: Cells,
    electric: tuple[int, ...],
    permittivity: Property,
    conductivity: Property,
    poles: Sequence[Pole],
) -> Medium:
    """Sampled, and checked: the permittivity above 0, the conductivity and the strengths at
    least 0."""
    eps = sampled("permittivity", permittivity, grid, electric)
    sigma = sampled("conductivity", conductivity, grid, electric)
    for one in eps:
        checks.positive("permittivity", one)
    for one in sigma:
        checks.non_negative("conductivity", one)
    lossless = checks.is_concrete(sigma) and not any(np.any(np.asarray(one)) for one in sigma)
    strengths = []
    for number, pole in enumerate(poles):
        shares = sampled(f"share of pole {number}", pole.share, grid, electric)
        for share in shares:
            checks.non_negative(f"share of pole {number}", share)
        strengths.append(tuple((pole.strength * share).astype(grid.dtype) for share in shares))
    return Medium(eps, None if lossless else sigma, tuple(poles), tuple(strengths))


def sampled(
    name: str, given: Property, grid: Cells, electric: tuple[int, ...]
) -> tuple[Array, ...]:
    """A property on the edges of each electric component, in the grid's dtype."""
    if callable(given):
        found = []
        for component in electric:
            points = grid.points_at(electric_location(component, grid.ndim))

            def value(point: Array, component: int = component) -> Array:
                one = jnp.asarray(given(point), grid.dtype)
                return one if one.ndim == 0 else one[component]

            flat = jax.vmap(value)(points.reshape(-1, grid.ndim))
            found.append(flat.reshape(points.shape[:-1]))
        return tuple(found)
    if not isinstance(given, (tuple, list)):
        checks.shape(name, given, ())
        if checks.is_concrete(given):  # stays known where jit traces the rest
            with jax.ensure_compile_time_eval():
                return (jnp.asarray(given, grid.dtype),) * len(electric)
        return (jnp.asarray(given, grid.dtype),) * len(electric)
    if len(given) != len(electric):
        axes = ", ".join(f"E_{NAMES[a]}" for a in electric)
        raise ValueError(f"{name} must have {len(electric)} entries, {axes}; got {len(given)}")
    parts = []
    for component, one in zip(electric, given, strict=True):
        part = jnp.asarray(one, grid.dtype)
        if part.ndim:
            shape = grid.shape_at(electric_location(component, grid.ndim))
            checks.shape(f"{name} of E_{NAMES[component]}", part, shape)
        parts.append(part)
    return tuple(parts)
