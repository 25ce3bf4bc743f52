"""Frequencies and growth rates of a measured wave.

A sum of `n` waves `a exp(-i omega t)` at equal intervals solves a linear recurrence of order `n`,
whose coefficients are found by least squares and whose roots are `exp(-i omega dt)` (R. de Prony
1795; Marple, Digital Spectral Analysis, 1987).
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Inexact

from jaxpbdl import checks


def wave_frequencies(
    series: Inexact[Array | np.ndarray, " times"], interval: float, waves: int
) -> Complex[np.ndarray, " waves"]:
    """The complex frequencies of so many waves, that which grows fastest first.

    **Arguments**

    - `series`: an amplitude at equal intervals; a real one of a standing wave holds two waves, of
      frequencies `omega` and `-omega`.
    - `interval`: between the values; frequencies are below `pi / interval`.
    - `waves`: in the series.

    **Raises** ValueError for fewer than two values a wave, or values that are not finite.
    """
    checks.positive("interval", interval)
    checks.count("waves", waves)
    values = np.asarray(series)
    checks.finite("series", values)
    if len(values) < 2 * waves:
        raise ValueError(f"{waves} waves need a series of at least {2 * waves}, got {len(values)}")
    history = np.stack([values[i : len(values) - waves + i] for i in range(waves)], axis=1)
    coefficients = np.linalg.lstsq(history, values[waves:], rcond=None)[0]
    roots = np.roots(np.concatenate([[1.0], -coefficients[::-1]]).astype(complex))
    frequencies = 1j * np.log(roots) / interval
    return frequencies[np.lexsort((-frequencies.real, -frequencies.imag.round(9)))]


def growth_rate(amplitudes: Inexact[Array, " times"], interval: ArrayLike) -> Float[Array, ""]:
    """The slope of the logarithm of an amplitude, by least squares: of one wave alone, or of one
    that stands and grows. Can be differentiated."""
    heights = jnp.log(jnp.abs(amplitudes))
    times = jnp.arange(len(heights)) * jnp.asarray(interval, heights.dtype)
    times = times - jnp.mean(times)
    return jnp.sum(times * heights) / jnp.sum(times**2)
