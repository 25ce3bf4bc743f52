"""Current densities of a plasma in terms of its flux,

    J = L (b R / R_0 + (1 - b) R_0 / R) s(x),   x = (psi_axis - psi) / (psi_axis - psi_boundary)

that is `p' = L b s / R_0` and `F F' = mu_0 L (1 - b) R_0 s` (Y. M. Jeon, J. Korean Phys. Soc. 67
(2015) 843). L and b follow from the plasma current and one more figure, the pressure on the axis or
the poloidal beta. Or p' and F F' are tables over x,

    J = L (R p'(x) + F F'(x) / (mu_0 R))

with L from the plasma current: one, where the tables are those of the equilibrium.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxpbdl import checks
from jaxpbdl.solvers.plasma.circuits import MU_0

Shape = Callable[[Array], Array]
"""From the normalised flux, 0 on the axis and 1 on the boundary, to a relative density."""
POINTS, WEIGHTS = np.polynomial.legendre.leggauss(40)


class Density(NamedTuple):
    """The toroidal current density on the nodes in A/m^2, and the two numbers of its profile."""

    values: Float[Array, "nr nz"]
    strength: Float[Array, ""]
    """L, in A/m^2; of tables without a unit."""
    share: Float[Array, ""]
    """b, of the part that pressure makes; of tables its share of the current."""


class Profile(eqx.Module):
    """What `free_boundary` needs of a profile."""

    current: eqx.AbstractVar[Float[Array, ""]]
    """Of the plasma, in A."""

    @abstractmethod
    def density(
        self,
        radius: Float[Array, "nr 1"],
        x: Float[Array, "nr nz"],
        inside: Bool[Array, "nr nz"],
        depth: Float[Array, ""],
        area: float,
    ) -> Density:
        """On nodes of major `radius` with normalised flux `x`, zero but `inside`; `depth` is the
        flux of the axis above the boundary in Wb/rad, `area` that of a cell."""
        ...


class PowerShape(eqx.Module):
    """`s(x) = (1 - x^a)^c`."""

    a: Float[Array, ""] = eqx.field(converter=checks.as_floats)
    c: Float[Array, ""] = eqx.field(converter=checks.as_floats)

    def __check_init__(self):
        checks.positive("a", self.a)
        checks.positive("c", self.c)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return (1 - x**self.a) ** self.c


class AxisPressure(Profile):
    """The profile with a given current (A) and pressure on the axis (Pa); `radius` is R_0 (m)."""

    shape: Shape
    current: Float[Array, ""] = eqx.field(converter=checks.as_floats)
    pressure: Float[Array, ""] = eqx.field(converter=checks.as_floats)
    radius: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        checks.positive("the magnitude of current", abs(self.current))
        checks.non_negative("pressure", self.pressure)
        checks.positive("radius", self.radius)

    def density(
        self,
        radius: Float[Array, "nr 1"],
        x: Float[Array, "nr nz"],
        inside: Bool[Array, "nr nz"],
        depth: Float[Array, ""],
        area: float,
    ) -> Density:
        """See `Profile`."""
        part = self.pressure * self.radius / (depth * above(self.shape, jnp.zeros_like(depth)))
        return _closed(self, radius, x, inside, area, part)


class PoloidalBeta(Profile):
    """The profile with a given current (A) and `beta_p = 8 pi / mu_0 (integral of p) / current^2`;
    `radius` is R_0 (m)."""

    shape: Shape
    current: Float[Array, ""] = eqx.field(converter=checks.as_floats)
    beta: Float[Array, ""] = eqx.field(converter=checks.as_floats)
    radius: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        checks.positive("the magnitude of current", abs(self.current))
        checks.non_negative("beta", self.beta)
        checks.positive("radius", self.radius)

    def density(
        self,
        radius: Float[Array, "nr 1"],
        x: Float[Array, "nr nz"],
        inside: Bool[Array, "nr nz"],
        depth: Float[Array, ""],
        area: float,
    ) -> Density:
        """See `Profile`."""
        content = area * jnp.sum(jnp.where(inside, above(self.shape, x), 0.0)) * depth
        energy = self.beta * MU_0 * self.current**2 / (8 * np.pi)
        return _closed(self, radius, x, inside, area, energy * self.radius / content)


class Tabulated(Profile):
    """Tables of p' (Pa per Wb/rad) and F F' (T^2 m^2 per Wb/rad) at equal steps of x from 0 on the
    axis to 1 on the boundary, linear between them, times the number that gives the current (A).

    Both are derivatives by the flux, which for a positive current is highest on the axis: a
    pressure that falls outwards has a positive p'."""

    pressure_slope: Float[Array, " n"]
    field_slope: Float[Array, " n"]
    current: Float[Array, ""] = eqx.field(converter=checks.as_floats)

    def __check_init__(self):
        checks.positive("the magnitude of current", abs(self.current))
        checks.finite("pressure_slope", self.pressure_slope)
        checks.finite("field_slope", self.field_slope)
        checks.shape("field_slope", self.field_slope, self.pressure_slope.shape)
        if len(self.pressure_slope) < 2:
            raise ValueError(f"tables must have 2 entries or more, got {len(self.pressure_slope)}")

    def density(
        self,
        radius: Float[Array, "nr 1"],
        x: Float[Array, "nr nz"],
        inside: Bool[Array, "nr nz"],
        depth: Float[Array, ""],
        area: float,
    ) -> Density:
        """See `Profile`."""
        known = jnp.linspace(0.0, 1.0, len(self.pressure_slope), dtype=x.dtype)
        by_pressure = radius * jnp.interp(x, known, self.pressure_slope)
        by_field = jnp.interp(x, known, self.field_slope) / (MU_0 * radius)
        outward = jnp.where(inside, by_pressure, 0.0)
        values = outward + jnp.where(inside, by_field, 0.0)
        total = jnp.sum(values)
        strength = self.current / (area * total)
        return Density(strength * values, strength, jnp.sum(outward) / total)


def _closed(
    profile: AxisPressure | PoloidalBeta,
    radius: Array,
    x: Array,
    inside: Array,
    area: float,
    part: Array,
) -> Density:
    """The density whose L b is `part`, with L from the plasma current."""
    ratio = radius / profile.radius
    s = jnp.where(inside, profile.shape(x), 0.0)
    outward, inward = area * jnp.sum(s * ratio), area * jnp.sum(s / ratio)
    strength = (profile.current - part * (outward - inward)) / inward
    values = (part * ratio + (strength - part) / ratio) * s
    return Density(values, strength, part / strength)


def above(shape: Shape, x: Float[Array, "*nodes"]) -> Float[Array, "*nodes"]:
    """The integral of a shape from x to 1, by Gauss's rule: the pressure over that of a gradient of
    one."""
    nodes = jnp.asarray((POINTS + 1) / 2, x.dtype)
    weights = jnp.asarray(WEIGHTS / 2, x.dtype)
    at = x[..., None] + (1 - x)[..., None] * nodes
    return (1 - x) * (shape(at) @ weights)
