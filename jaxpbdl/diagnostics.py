"""What one measures in a flow or a prediction: energies, spectra, correlation, errors."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.equations.navier_stokes import velocity_modes
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum, fourier_modes, total


def velocity(vorticity: Float[Array, "nx ny"], grid: Periodic) -> Float[Array, "2 nx ny"]:
    """Velocity (u, v) of a two-dimensional flow from its vorticity w = dv/dx - du/dy (no mean
    flow).
    """
    spectrum = Spectrum(grid)
    return spectrum.to_grid(velocity_modes(spectrum.transform(vorticity), spectrum))


def kinetic_energy(velocity: Float[Array, "dim *grid"]) -> Float[Array, ""]:
    """Mean of |u|^2 / 2 over the box."""
    return 0.5 * jnp.sum(jnp.mean(velocity**2, axis=tuple(range(1, velocity.ndim))))


def enstrophy(vorticity: Float[Array, "*grid"]) -> Float[Array, ""]:
    """Mean of |w|^2 / 2 over the box (sum over components, if there are any, is up to the
    caller).
    """
    return 0.5 * jnp.mean(vorticity**2)


def curl(velocity: Float[Array, "3 *grid"], grid: Periodic) -> Float[Array, "3 *grid"]:
    """Vorticity of a three-dimensional velocity."""
    spectrum = Spectrum(grid)
    modes = spectrum.transform(velocity)
    return spectrum.to_grid(
        jnp.stack(
            [
                spectrum.derivative(modes[(i + 2) % 3], (i + 1) % 3)
                - spectrum.derivative(modes[(i + 1) % 3], (i + 2) % 3)
                for i in range(3)
            ]
        )
    )


def divergence(velocity: Float[Array, "dim *grid"], grid: Periodic) -> Float[Array, "*grid"]:
    """Divergence of a velocity field."""
    spectrum = Spectrum(grid)
    modes = spectrum.transform(velocity)
    return spectrum.to_grid(total(spectrum.derivative(modes[i], i) for i in range(grid.ndim)))


def power_spectrum(
    values: Float[Array, "*grid"], grid: Periodic
) -> tuple[Float[np.ndarray, " shells"], Float[Array, " shells"]]:
    """Mean square of a field by shells of wavenumber: (k, power), with sum(power) = mean(values^2).

    Shell `m` holds the wave vectors within half a fundamental wavenumber of `m` times it (the
    fundamental of the longest side). Shells beyond the largest wavenumber of an axis are filled in
    part only.
    """
    longest = max(grid.lengths)
    # In units of the fundamental, so that shells do not depend on rounding of the box's length.
    along = (
        longest / grid.lengths[a] * fourier_modes(n, half=a == grid.ndim - 1)
        for a, n in enumerate(grid.shape)
    )
    shell = np.rint(np.sqrt(sum(k**2 for k in np.meshgrid(*along, indexing="ij")))).astype(int)
    shells = int(shell.max()) + 1
    # The half spectrum stands for its mirror image too, except where it is its own (m = 0 and
    # Nyquist).
    last = np.arange(grid.shape[-1] // 2 + 1)
    twice = np.where((last == 0) | (2 * last == grid.shape[-1]), 1.0, 2.0)
    modes = Spectrum(grid).transform(values)
    power = jnp.abs(modes) ** 2 * jnp.asarray(twice / grid.size**2, grid.dtype)
    return 2 * np.pi / longest * np.arange(shells), jax.ops.segment_sum(
        power.ravel(), shell.ravel(), shells
    )


def energy_spectrum(
    vorticity: Float[Array, "nx ny"], grid: Periodic
) -> tuple[Float[np.ndarray, " shells"], Float[Array, " shells"]]:
    """Kinetic energy of a two-dimensional flow by shells of wavenumber, from its vorticity: sum =
    energy.
    """
    u, v = velocity(vorticity, grid)
    k, of_u = power_spectrum(u, grid)
    return k, 0.5 * (of_u + power_spectrum(v, grid)[1])


def correlation(first: PyTree, second: PyTree) -> Float[Array, ""]:
    """Pearson correlation of two states over all their values."""
    first, second = _vector(first), _vector(second)
    first, second = first - jnp.mean(first), second - jnp.mean(second)
    norms = jnp.sqrt(jnp.sum(first**2) * jnp.sum(second**2))
    return jnp.sum(first * second) / jnp.where(norms == 0, 1.0, norms)


def relative_l2(value: PyTree, reference: PyTree) -> Float[Array, ""]:
    """|value - reference| / |reference| of states in the Euclidean norm over all their values."""
    value, reference = _vector(value), _vector(reference)
    return jnp.linalg.norm(value - reference) / jnp.linalg.norm(reference)


def mean_square(value: PyTree, reference: PyTree) -> Float[Array, ""]:
    """The mean of the squared differences over all values of two states."""
    pairs = list(zip(jax.tree.leaves(value), jax.tree.leaves(reference), strict=True))
    squares = total(jnp.sum((a - b) ** 2) for a, b in pairs)
    return squares / sum(b.size for _, b in pairs)


def _vector(state: PyTree) -> Float[Array, " values"]:
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(state)])


def time_above(times: checks.Numbers, values: checks.Numbers, threshold: float) -> float:
    """The time until which `values` stay above `threshold`, linear between samples; the last time
    if they always do.
    """
    times, values = np.asarray(times, float), np.asarray(values, float)
    checks.shape("values", values, times.shape)
    below = np.flatnonzero(~(values >= threshold))  # NaN counts as below
    if len(below) == 0:
        return float(times[-1])
    i = int(below[0])
    if i == 0:
        return float(times[0])
    if not np.isfinite(values[i]):
        return float(times[i - 1])
    share = (values[i - 1] - threshold) / (values[i - 1] - values[i])
    return float(times[i - 1] + share * (times[i] - times[i - 1]))


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """Of the hits over the false alarms as the threshold falls: the chance that a positive sample
    scores above a negative one. Equal scores count half."""
    _, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[at]
    positives = int(np.sum(positive))
    negatives = len(positive) - positives
    below = np.sum(ranks[positive]) - positives * (positives + 1) / 2
    return float(below / (positives * negatives))
