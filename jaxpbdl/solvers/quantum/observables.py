"""What is measured of a wave function: probability, overlap, position, energies.

The energy of psi and its chemical potential, the derivative of the energy to the probability, are

    E = int |grad psi|^2 / (2 mass) + V |psi|^2 + interaction |psi|^4 / 2
    mu = (int |grad psi|^2 / (2 mass) + V |psi|^2 + interaction |psi|^4) / int |psi|^2

(L. Pitaevskii and S. Stringari, Bose-Einstein Condensation, 2003, chapter 5).
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, PyTree

from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.solvers.quantum.split_step import SchroedingerStep, TimedWave


def probability(grid: Periodic, wave: Complex[Array, "*grid"]) -> Float[Array, ""]:
    """int |psi|^2, which a step keeps to round-off where nothing absorbs."""
    return grid.integral(wave.real**2 + wave.imag**2)


def overlap(
    grid: Periodic, first: Complex[Array, "*grid"], second: Complex[Array, "*grid"]
) -> Complex[Array, ""]:
    """int conj(first) second."""
    return jnp.vdot(first, second) * (grid.volume / grid.size)


def mean_position(grid: Periodic, wave: Complex[Array, "*grid"]) -> Float[Array, " dim"]:
    """int x |psi|^2 / int |psi|^2, of a wave function that vanishes at the ends of the box."""
    density = wave.real**2 + wave.imag**2
    values = jnp.stack([grid.integral(x * density) for x in grid.coordinates])
    return values / grid.integral(density)


def total_energy(
    step: SchroedingerStep, state: Complex[Array, "*grid"] | TimedWave, *inputs: PyTree
) -> Float[Array, ""]:
    """E of a state, in the potential of its time and of an input; a step changes it by the error of
    the splitting, within bounds, where nothing depends on time."""
    return _energy(step, state, 0.5, *inputs)


def chemical_potential(
    step: SchroedingerStep, state: Complex[Array, "*grid"] | TimedWave, *inputs: PyTree
) -> Float[Array, ""]:
    """mu of a state, in the potential of its time and of an input."""
    wave = state.wave if isinstance(state, TimedWave) else state
    return _energy(step, state, 1.0, *inputs) / probability(step.grid, wave)


def _energy(
    step: SchroedingerStep,
    state: Complex[Array, "*grid"] | TimedWave,
    share: float,
    *inputs: PyTree,
) -> Float[Array, ""]:
    """With that share of the interaction."""
    time: ArrayLike = 0.0
    if isinstance(state, TimedWave):
        state, time = state
    density = state.real**2 + state.imag**2
    modes = jnp.fft.fftn(state)
    kinetic = jnp.sum(step.kinetic * (modes.real**2 + modes.imag**2))
    kinetic = kinetic * (step.grid.volume / step.grid.size**2)
    potential = step.potential_at(time, *inputs) + share * step.interaction * density
    return kinetic + step.grid.integral(potential * density)
