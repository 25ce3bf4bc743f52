"""Compressible flow of an ideal gas: Euler's equations, and those of Navier and Stokes.

    d(rho)/dt + div(rho u) = 0
    d(rho u)/dt + div(rho u u) + grad p = div tau
    dE/dt + div((E + p) u) = div(tau u + conductivity grad T)

    E = p / (gamma - 1) + rho |u|^2 / 2,   T = p / rho
    tau = viscosity (grad u + grad u^T - 2/3 div u)

with temperature in units of which the gas constant is one. The waves are those of E. F. Toro,
Riemann Solvers and Numerical Methods for Fluid Dynamics, Springer 2009, section 3.2.
"""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.conservation_law import ConservationLaw
from jaxpbdl.equations.equation import Parameter, optional_parameter, parameter


class CompressibleFlow(ConservationLaw):
    """An ideal gas in one to three dimensions.

    The state is (density, momentum, total energy a unit of volume), `ndim + 2` components; the
    primitive variables are (density, velocity, pressure).

    **Arguments:** `ndim`, of space; `gamma` > 1, the ratio of specific heats; `viscosity` >= 0, the
    dynamic one, and `conductivity` >= 0 of heat. Without both these are Euler's equations.
    """

    ndim: int = eqx.field(static=True)
    gamma: Parameter = parameter(default=1.4)
    viscosity: Parameter = optional_parameter()
    conductivity: Parameter = optional_parameter()

    def __check_init__(self):
        if self.ndim not in (1, 2, 3):
            raise ValueError(f"ndim must be 1, 2 or 3, got {self.ndim!r}")
        if checks.is_concrete(self.gamma) and not np.all(np.asarray(self.gamma) > 1):
            raise ValueError(f"gamma must be > 1, got {self.gamma}")
        for name in ("viscosity", "conductivity"):
            if getattr(self, name) is not None:
                checks.non_negative(name, getattr(self, name))

    @property
    def diffusive(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the gas has a viscosity or conducts heat."""
        return self.viscosity is not None or self.conductivity is not None

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Density, momentum, energy."""
        return (self.ndim + 2,)

    def pressure(self, state: Float[Array, "value *cells"]) -> Float[Array, "*cells"]:
        """Of conserved variables."""
        kinetic = jnp.sum(state[1:-1] ** 2, axis=0) / (2 * state[0])
        return (self.gamma - 1) * (state[-1] - kinetic)

    def sound_speed(self, state: Float[Array, "value *cells"]) -> Float[Array, "*cells"]:
        """sqrt(gamma p / rho), of conserved variables."""
        return jnp.sqrt(self.gamma * self.pressure(state) / state[0])

    def primitive(self, state: Float[Array, "value *cells"]) -> Float[Array, "value *cells"]:
        """(density, velocity, pressure)."""
        velocity = state[1:-1] / state[0]
        return jnp.concatenate([state[:1], velocity, self.pressure(state)[None]])

    def conserved(self, primitive: Float[Array, "value *cells"]) -> Float[Array, "value *cells"]:
        """(density, momentum, energy)."""
        density, velocity, pressure = primitive[:1], primitive[1:-1], primitive[-1:]
        kinetic = density * jnp.sum(velocity**2, axis=0, keepdims=True) / 2
        energy = pressure / (self.gamma - 1) + kinetic
        return jnp.concatenate([density, density * velocity, energy])

    def flux(self, state: Float[Array, "value *cells"], axis: int) -> Float[Array, "value *cells"]:
        pressure, velocity = self.pressure(state), state[1 + axis] / state[0]
        push = [jnp.zeros_like(pressure)] * self.ndim
        push[axis] = pressure
        return state * velocity + jnp.stack([0 * pressure, *push, pressure * velocity])

    def wave_speeds(
        self, state: Float[Array, "value *cells"], axis: int
    ) -> tuple[Float[Array, "*cells"], Float[Array, "*cells"]]:
        velocity, sound = state[1 + axis] / state[0], self.sound_speed(state)
        return velocity - sound, velocity + sound

    def mirrored(
        self, state: Float[Array, "value *cells"], axis: int
    ) -> Float[Array, "value *cells"]:
        signs = np.ones((self.ndim + 2, *[1] * (state.ndim - 1)))
        signs[1 + axis] = -1
        return state * jnp.asarray(signs, state.dtype)

    def positive(self, state: Float[Array, "value *cells"]) -> Mapping[str, Float[Array, "*cells"]]:
        return {"density": state[0], "pressure": self.pressure(state)}

    def to_waves(
        self,
        change: Float[Array, "value *cells"],
        mean: Float[Array, "value *#cells"],
        axis: int,
    ) -> Float[Array, "value *cells"]:
        """In the place of the density the entropy wave, of the momentum along `axis` the sound
        against it, of the other momenta the shear waves, of the energy the sound along it."""
        velocity, sound = mean[1:-1] / mean[0], self.sound_speed(mean)
        speeds = (change[1:-1] - velocity * change[0]) / mean[0]
        work = jnp.sum(velocity * change[1:-1], axis=0)
        kinetic = jnp.sum(velocity**2, axis=0) / 2
        pressure = (self.gamma - 1) * (change[-1] - work + kinetic * change[0]) / sound**2
        across = mean[0] / sound * speeds[axis]
        middle = list(speeds)
        middle[axis] = (pressure - across) / 2
        return jnp.stack([change[0] - pressure, *middle, (pressure + across) / 2])

    def from_waves(
        self,
        waves: Float[Array, "value *cells"],
        mean: Float[Array, "value *#cells"],
        axis: int,
    ) -> Float[Array, "value *cells"]:
        velocity, sound = mean[1:-1] / mean[0], self.sound_speed(mean)
        against, along = waves[1 + axis], waves[-1]
        density = waves[0] + against + along
        middle = list(waves[1:-1])
        middle[axis] = (along - against) * sound / mean[0]
        speeds = jnp.stack(middle)
        momentum = velocity * density + mean[0] * speeds
        kinetic = jnp.sum(velocity**2, axis=0) / 2 * density
        work = mean[0] * jnp.sum(velocity * speeds, axis=0)
        energy = sound**2 / (self.gamma - 1) * (against + along) + kinetic + work
        return jnp.concatenate([density[None], momentum, energy[None]])

    def diffusive_flux(
        self,
        primitive: Float[Array, "value *cells"],
        slopes: Sequence[Float[Array, "value *cells"]],
        axis: int,
    ) -> Float[Array, "value *cells"]:
        velocity = primitive[1:-1]
        stress, heat = jnp.zeros_like(velocity), jnp.zeros_like(primitive[0])
        if self.viscosity is not None:
            spread = sum((slope[1 + a] for a, slope in enumerate(slopes)), start=heat)
            shear = jnp.stack([slope[1 + axis] for slope in slopes]) + slopes[axis][1:-1]
            stress = self.viscosity * shear.at[axis].add(-2 / 3 * spread)
        if self.conductivity is not None:
            density, pressure = primitive[0], primitive[-1]
            slope = slopes[axis]
            warming = (slope[-1] - pressure / density * slope[0]) / density
            heat = self.conductivity * warming
        energy = jnp.sum(velocity * stress, axis=0) + heat
        return jnp.concatenate([jnp.zeros_like(heat)[None], stress, energy[None]])

    def diffusivity(self, state: Float[Array, "value *cells"]) -> Float[Array, "*cells"]:
        """The larger one of momentum along its own direction and of heat."""
        viscosity = 0.0 if self.viscosity is None else self.viscosity
        conductivity = 0.0 if self.conductivity is None else self.conductivity
        return jnp.maximum(4 / 3 * viscosity, (self.gamma - 1) * conductivity) / state[0]
