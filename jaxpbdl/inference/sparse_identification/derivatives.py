"""Derivatives of noisy snapshots: Fourier modes that stand out of the noise, polynomials fitted to
few neighbours, and how wide both should be."""

from collections.abc import Sequence
from math import factorial, tau

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks


class FourierDerivative(eqx.Module):
    """Derivatives along a periodic axis by its Fourier series, cut off above a mode."""

    length: float = eqx.field(static=True)
    """Of the axis."""
    highest: int | None = eqx.field(static=True, default=None)
    """The highest mode that is kept; None keeps all."""

    def __check_init__(self):
        checks.positive("length", self.length)
        if self.highest is not None:
            checks.count("highest", self.highest)

    def __call__(
        self, values: Float[Array, "*rest points"], order: int
    ) -> Float[Array, "*rest points"]:
        checks.count("order", order, 0)
        points = values.shape[-1]
        mode = np.arange(points // 2 + 1)
        kept = mode <= (points if self.highest is None else self.highest)
        if order % 2 and points % 2 == 0:
            kept[-1] = False  # a cosine with zeros at the points: its slope is not known
        factor = np.where(kept, (tau / self.length * mode) ** order, 0.0)
        # i^order one by one: a power of a complex number is not exact.
        factor = factor * [1, 1j, -1, -1j][order % 4]
        return jnp.fft.irfft(jnp.fft.rfft(values) * jnp.asarray(factor), points)


class LocalPolynomial(eqx.Module):
    """Derivatives along a periodic axis of polynomials fitted to `2 half + 1` points around each
    (Savitzky and Golay, Anal. Chem. 36 (1964) 1627). With `degree = 2 half` the polynomials go
    through all points: central finite differences."""

    spacing: float = eqx.field(static=True)
    half: int = eqx.field(static=True)
    degree: int = eqx.field(static=True)

    def __check_init__(self):
        checks.positive("spacing", self.spacing)
        check_window(self.half, self.degree)

    def __call__(
        self, values: Float[Array, "*rest points"], order: int
    ) -> Float[Array, "*rest points"]:
        weights = local_weights(self.half, self.degree, order) / self.spacing**order
        around = np.arange(-self.half, self.half + 1)
        places = (np.arange(values.shape[-1])[:, None] + around) % values.shape[-1]
        return values[..., places] @ jnp.asarray(weights, values.dtype)


def local_weights(half: int, degree: int, order: int) -> Float[np.ndarray, " window"]:
    """Weights of `2 half + 1` points of spacing one in the derivative at the middle of the
    polynomial fitted to them.

    **Raises** ValueError for a half below one, a degree that the points do not determine, and an
    order above the degree.
    """
    check_window(half, degree)
    if not 0 <= order <= degree:
        raise ValueError(f"order must be from 0 to degree = {degree}, got {order}")
    powers = np.vander(np.arange(-half, half + 1.0), degree + 1, increasing=True)
    return factorial(order) * np.linalg.pinv(powers)[order]


def check_window(half: int, degree: int) -> None:
    checks.count("half", half)
    checks.count("degree", degree)
    if degree > 2 * half:
        raise ValueError(f"degree must be at most 2 half = {2 * half}, got {degree}")


def smoothing_window(
    values: Float[np.ndarray, "times points"], degree: int, halves: Sequence[int]
) -> int:
    """The half width of local polynomials in time that best predict each value from its neighbours
    alone (leave-one-out cross-validation).

    **Arguments**

    - `degree`: of the polynomials; `halves`: the candidates, each above `degree / 2`.

    **Raises** ValueError for a candidate that is too narrow, or wider than the series.
    """
    widest = max(halves)
    if 2 * widest + 1 > len(values):
        raise ValueError(f"halves must be at most {(len(values) - 1) // 2}, got {widest}")
    errors = []
    for half in halves:
        if 2 * half <= degree:
            raise ValueError(f"halves must be above degree / 2 = {degree / 2:g}, got {half}")
        weights = local_weights(half, degree, 0)
        window = np.lib.stride_tricks.sliding_window_view(values, 2 * half + 1, axis=0)
        trim = widest - half  # the same times for all
        smooth = (window @ weights)[trim : len(window) - trim]
        left = values[widest : len(values) - widest] - smooth
        errors.append(np.mean((left / (1 - weights[half])) ** 2))
    return int(halves[int(np.argmin(errors))])


def resolved_modes(values: Float[np.ndarray, "times points"]) -> int:
    """The highest Fourier mode along x that stands out of the noise, before three in succession
    that do not: of more than twice the median power of the upper half of the modes, averaged over
    time."""
    power = np.mean(np.abs(np.fft.rfft(values, axis=1)) ** 2, axis=0)
    floor = np.median(power[len(power) // 2 :])
    below = power[1:] <= 2 * floor
    successive = np.flatnonzero(below[:-2] & below[1:-1] & below[2:])
    return max(1, int(successive[0]) if len(successive) else len(power) - 1)
