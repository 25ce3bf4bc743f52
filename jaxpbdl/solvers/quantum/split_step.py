"""Schroedinger's equation in time: motion and potential in turn, each of them exact.

    i dpsi/dt = -lap psi / (2 mass) + V(x, t) psi + interaction |psi|^2 psi,   hbar = 1

A potential turns the phase at each point, motion that of each Fourier mode (M. D. Feit, J. A. Fleck
and A. Steiger, J. Comput. Phys. 47 (1982) 412). Half a motion, the potential, half a motion is of
order 2 (G. Strang, SIAM J. Numer. Anal. 5 (1968) 506), three of these of order 4 (H. Yoshida, Phys.
Lett. A 150 (1990) 262). |psi|^2 stays as it is while the potential acts, so the interaction of a
condensate (Gross-Pitaevskii) is exact too.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import constant, fourier_modes
from jaxpbdl.solvers.time.symplectic import Leapfrog, SeparableSystem, leapfrog
from jaxpbdl.step import Step

MOST_AXES = 3
Wave: TypeAlias = Complex[Array, "*grid"]
Potential: TypeAlias = ArrayLike | Callable[[Array], Array]
"""One number, values on the grid, or a function from the time to either."""


class TimedWave(NamedTuple):
    """The state where the potential depends on time."""

    wave: Complex[Array, "*grid"]
    time: Float[Array, ""]


class SchroedingerStep(Step):
    """One step of a wave function; created by `schroedinger`.

    States are complex arrays of the grid's shape, or a `TimedWave` where the potential is a
    function of time. Working variables are their Fourier modes: two transforms for each force of
    the scheme.
    """

    trainable_fields = ()

    grid: Periodic
    dt: Array
    kinetic: Float[Array, "*grid"]
    potential: Array | Callable[[Array], Array]
    interaction: Array
    absorption: Array | None
    control: Callable[[PyTree], Array] | None
    scheme: Leapfrog

    @property
    def interval(self) -> Array:
        return self.dt

    def start(self, wave: ArrayLike, time: ArrayLike = 0.0) -> Wave | TimedWave:
        """The state of a wave function, made complex, at a time."""
        dtype = np.result_type(self.grid.dtype, np.complex64)
        wave = jnp.asarray(wave).astype(dtype)
        if not callable(self.potential):
            return wave
        return TimedWave(wave, jnp.asarray(time, self.grid.dtype))

    def enter(self, state: Wave | TimedWave) -> Wave | TimedWave:
        return _with_wave(state, jnp.fft.fftn(_wave(state)))

    def advance(self, working: Wave | TimedWave, *inputs: PyTree) -> Wave | TimedWave:
        return self.scheme.advance(working, self.system(*inputs))

    def leave(self, working: Wave | TimedWave) -> Wave | TimedWave:
        return _with_wave(working, jnp.fft.ifftn(_wave(working)))

    def system(self, *inputs: PyTree) -> SeparableSystem:
        """Motion and potential, as a splitting scheme takes them."""

        def force(working: PyTree) -> tuple[Array, Array]:
            wave = jnp.fft.ifftn(_wave(working))
            time = working.time if isinstance(working, TimedWave) else jnp.zeros(())
            rate = self.potential_at(time, *inputs)
            return wave, rate + self.interaction * (wave.real**2 + wave.imag**2)

        def kick(working: PyTree, force: PyTree, dt: Array) -> PyTree:
            wave, rate = force
            turned = wave * _turn(-dt * rate)
            if self.absorption is not None:
                turned = turned * jnp.exp(-dt * self.absorption)
            return _with_wave(working, jnp.fft.fftn(turned))

        def drift(working: PyTree, dt: Array) -> PyTree:
            moved = _with_wave(working, _wave(working) * _turn(-dt * self.kinetic))
            return moved._replace(time=moved.time + dt) if isinstance(moved, TimedWave) else moved

        return SeparableSystem(force, kick, drift, self.dt)

    def potential_at(self, time: ArrayLike, *inputs: PyTree) -> Float[Array, "..."]:
        """V at a time, with that of an input of the step."""
        time = jnp.asarray(time, self.grid.dtype)
        value = self.potential(time) if callable(self.potential) else self.potential
        for given in inputs:
            value = value + (given if self.control is None else self.control(given))
        return value

    def check_state(self, state: PyTree) -> None:
        if callable(self.potential) != isinstance(state, TimedWave):
            wanted = "a TimedWave, as `start` gives," if callable(self.potential) else "an array"
            raise ValueError(f"state must be {wanted} for this potential; got {type(state)}")
        checks.shape("state", _wave(state), self.grid.shape)
        expected = np.result_type(self.grid.dtype, np.complex64)
        if _wave(state).dtype != expected:
            raise ValueError(
                f"state must be complex, of dtype {expected}, got {_wave(state).dtype}: use "
                "`step.start(wave)`"
            )

    def channels(self, state: Wave | TimedWave) -> Float[Array, "2 *grid"]:
        wave = _wave(state)
        return jnp.stack([wave.real, wave.imag])

    def corrected(
        self, state: Wave | TimedWave, change: Float[Array, "2 *grid"]
    ) -> Wave | TimedWave:
        return _with_wave(state, _wave(state) + lax.complex(change[0], change[1]))


def schroedinger(
    grid: Periodic,
    dt: ArrayLike,
    *,
    potential: Potential = 0.0,
    mass: ArrayLike = 1.0,
    interaction: ArrayLike = 0.0,
    absorption: ArrayLike | None = None,
    control: Callable[[PyTree], Array] | None = None,
    scheme: Leapfrog = leapfrog,
) -> SchroedingerStep:
    """The step of a wave function on a periodic box of one to three axes.

        i dpsi/dt = -lap psi / (2 mass) + V psi + interaction |psi|^2 psi - i absorption psi

    Stable for any dt; a dt above pi over the largest kinetic energy on the grid may let round-off
    of some modes grow where there is an interaction. Gradients reach the potential, mass,
    interaction, absorption, dt and the inputs.

    **Arguments:**

    - `dt`: > 0. May be traced.
    - `potential`: a number, values on the grid, or a function of the time, whose states are
      `TimedWave`s. It is taken at the middle of each half of motion, so the order stays.
    - `mass`: > 0.
    - `interaction`: attractive below 0.
    - `absorption`: >= 0 on the grid, the rate at which the amplitude decays, such as
      `absorbing_layer(grid, ..)`.
    - `control`: the potential that an input of the step brings about, `control(input)`, added to
      `potential`; without it an input is that potential itself. It is constant over a step.
    - `scheme`: `time.leapfrog`, order 2, or `time.yoshida`, order 4.

    **Raises:** ValueError for more than three axes, a dt or mass that is not above 0, and a
    potential, interaction or absorption that is not finite, not real or of another shape.
    """
    if not isinstance(grid, Periodic):
        raise ValueError(f"grid must be grids.Periodic, got {type(grid).__name__}")
    if grid.ndim > MOST_AXES:
        raise ValueError(f"grid must have one to {MOST_AXES} axes, got {grid.ndim}")
    checks.positive("dt", dt)
    checks.positive("mass", mass)
    checks.finite("interaction", interaction)
    if absorption is not None:
        absorption = _on_grid("absorption", absorption, grid)
        checks.non_negative("absorption", absorption)
    if callable(potential):
        _on_grid("potential", potential(jnp.zeros((), grid.dtype)), grid)
    else:
        potential = _on_grid("potential", potential, grid)
    return SchroedingerStep(
        grid,
        jnp.asarray(dt, grid.dtype),
        _k_squared(grid) / (2 * jnp.asarray(mass, grid.dtype)),
        potential,
        jnp.asarray(interaction, grid.dtype),
        absorption,
        control,
        scheme,
    )


def absorbing_layer(grid: Periodic, width: float, strength: float) -> Float[Array, "*grid"]:
    """A rate of decay that rises within `width` of both ends of each axis as the square of a sine,
    from zero to `strength` at the end (D. Neuhauser and M. Baer, J. Chem. Phys. 90 (1989) 4351).

    A wave of speed v that crosses the layers of both ends of an axis is left with the share
    exp(-width strength / v) of its amplitude; what is slow beside width times strength is
    reflected by the rise.

    **Raises:** ValueError for a width that is not above 0 or above half of an axis, and a strength
    below 0.
    """
    checks.positive("width", width)
    checks.non_negative("strength", strength)
    if width > min(grid.lengths) / 2:
        raise ValueError(f"width must be at most half of each axis {grid.lengths}, got {width}")
    rate = np.zeros(grid.shape)
    for axis, (line, start, length) in enumerate(
        zip(grid.lines, grid.origin, grid.lengths, strict=True)
    ):
        from_end = np.minimum(line - start, start + length - line)
        depth = np.clip(1 - from_end / width, 0, 1)
        along = [-1 if other == axis else 1 for other in range(grid.ndim)]
        rate = rate + (strength * np.sin(np.pi / 2 * depth) ** 2).reshape(along)
    return constant(rate, grid)


def _k_squared(grid: Periodic) -> Float[Array, "*grid"]:
    lines = [
        (2 * np.pi / length * fourier_modes(n, half=False)) ** 2
        for n, length in zip(grid.shape, grid.lengths, strict=True)
    ]
    return constant(np.sum(np.meshgrid(*lines, indexing="ij"), axis=0), grid)


def _on_grid(name: str, value: ArrayLike, grid: Periodic) -> Array:
    """Real values on the grid, or one number, checked."""
    if jnp.iscomplexobj(value):
        raise ValueError(f"{name} must be real, got dtype {jnp.result_type(value)}")
    if np.ndim(value):
        checks.shape(name, value, grid.shape)
    if checks.is_concrete(value) and not bool(np.all(np.isfinite(np.asarray(value)))):
        bad = int(np.sum(~np.isfinite(np.asarray(value))))
        raise ValueError(f"{name} must be finite, got {bad} values that are not")
    return jnp.asarray(value, grid.dtype)


def _turn(phase: Float[Array, "..."]) -> Complex[Array, "..."]:
    """exp(i phase)."""
    return lax.complex(jnp.cos(phase), jnp.sin(phase))


def _wave(state: PyTree) -> Array:
    return state.wave if isinstance(state, TimedWave) else state


def _with_wave(state: PyTree, wave: Array) -> PyTree:
    return state._replace(wave=wave) if isinstance(state, TimedWave) else wave
