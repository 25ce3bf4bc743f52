"""The equation at points (strong form) or against test functions (weak form), as rows of a linear
system."""

from collections.abc import Sequence
from math import ceil, comb, log, perm, tau
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.inference.sparse_identification.derivatives import check_window, local_weights
from jaxpbdl.inference.sparse_identification.terms import Differentiate, Term


class LinearSystem(NamedTuple):
    """Rows `matrix @ coefficients = target`, by time."""

    matrix: Float[Array, "times rows terms"]
    target: Float[Array, "times rows"]


def strong_form(
    values: Float[Array, "times points"],
    terms: Sequence[Term],
    differentiate: Differentiate,
    interval: float,
    *,
    half: int = 2,
    degree: int = 4,
) -> LinearSystem:
    """The equation at each point: rates in time against terms.

    **Arguments**

    - `differentiate`: along x (`FourierDerivative`, `LocalPolynomial`).
    - `interval`: between two times. Rates are those of polynomials of `degree` fitted to
      `2 half + 1` times, and the terms are taken of the smoothed values; the default are central
      differences of fourth order. `half` times are lost at both ends.

    **Raises** ValueError for no terms, values that are not finite, an interval that is not above 0
    and too few times.
    """
    _check(values, terms)
    checks.positive("interval", interval)
    check_window(half, degree)
    if len(values) < 2 * half + 1:
        raise ValueError(f"values must have at least {2 * half + 1} times, got {len(values)}")
    places = np.arange(len(values) - 2 * half)[:, None] + np.arange(2 * half + 1)

    def derived(order: int) -> Array:
        weights = jnp.asarray(local_weights(half, degree, order), values.dtype)
        return jnp.einsum("w,twx->tx", weights, values[places]) / interval**order

    smooth, rate = derived(0), derived(1)
    columns = [differentiate(term.product(smooth, differentiate), term.order) for term in terms]
    return LinearSystem(jnp.stack(columns, axis=-1), rate)


class Bump(eqx.Module):
    """A test function along one axis, (1 - (z / width)^2)^power with the width in points."""

    width: int = eqx.field(static=True)
    power: int = eqx.field(static=True)

    def __check_init__(self):
        checks.count("width", self.width, 2)
        checks.count("power", self.power)

    def weights(self, order: int, spacing: float) -> Float[np.ndarray, " window"]:
        """Its derivative at `2 width + 1` points, times the spacing: a sum with these weights is
        the integral by the trapezoidal rule.

        **Raises** ValueError for an order that is not below the power: the derivative would not
        vanish at the ends.
        """
        if not 0 <= order < self.power:
            raise ValueError(f"order must be from 0 to power - 1 = {self.power - 1}, got {order}")
        z = np.arange(-self.width, self.width + 1) / self.width
        # Leibniz' rule for (1 - z)^power (1 + z)^power: powers of z would cancel near the ends.
        values = sum(
            comb(order, n)
            * (-1) ** n
            * perm(self.power, n)
            * perm(self.power, order - n)
            * (1 - z) ** (self.power - n)
            * (1 + z) ** (self.power - order + n)
            for n in range(order + 1)
        )
        return np.asarray(values) * spacing / (self.width * spacing) ** order


def fitting_bump(
    values: Float[np.ndarray, "times points"],
    axis: int,
    order: int,
    *,
    deviations: float = 2.0,
    end: float = 1e-10,
) -> Bump:
    """The narrowest test function along an axis that damps what lies above the corner of the
    spectrum of the data, after Messenger and Bortz (2021, section 4.3): the corner, where the
    cumulative amplitudes bend from signal to noise, lies `deviations` standard deviations out in
    its spectrum, of about sqrt(2 power + 3) / width.

    **Arguments**

    - `axis`: 0 for time, 1 for x; `order`: of the highest derivative that is to be taken of it.
    - `end`: its size one point inside of its end, where its smoothness is what the sums need.

    **Raises** ValueError for values with fewer than 16 points along the axis.
    """
    points = values.shape[axis]
    if points < 16:
        raise ValueError(f"values must have at least 16 points along axis {axis}, got {points}")
    amplitudes = np.mean(np.abs(np.fft.rfft(values, axis=axis)), axis=1 - axis)
    corner = tau * _bend(np.cumsum(amplitudes[1:])) / points
    widest = (points - 1) // 2 - 1
    for width in range(3, widest + 1):
        power = max(order + 1, ceil(log(end) / log((2 * width - 1) / width**2)))
        if width * corner >= deviations * (2 * power + 3) ** 0.5:
            return Bump(width, power)
    return Bump(widest, max(order + 1, ceil(log(end) / log((2 * widest - 1) / widest**2))))


def _bend(curve: Float[np.ndarray, " n"]) -> int:
    """The place, counted from one, at which two straight pieces fit a curve best."""

    def left(piece: np.ndarray) -> float:
        place = np.arange(len(piece))
        return float(np.sum((piece - np.polyval(np.polyfit(place, piece, 1), place)) ** 2))

    places = range(2, len(curve) - 2)
    return min(places, key=lambda n: left(curve[:n]) + left(curve[n - 1 :]), default=1)


def weak_form(
    values: Float[Array, "times points"],
    terms: Sequence[Term],
    bumps: tuple[Bump, Bump],
    spacings: tuple[float, float],
    *,
    differentiate: Differentiate | None = None,
) -> LinearSystem:
    """The equation against test functions, their centres a quarter of their half widths apart.

    **Arguments**

    - `bumps`, `spacings`: of time and of x.
    - `differentiate`: along x, for terms with derivatives inside of the product; those that are
      derivatives of powers of u (`derivative_terms`) need none.

    **Raises** ValueError for no terms, values that are not finite, a spacing that is not above 0,
    test functions wider than the data, and a term that needs `differentiate`.
    """
    _check(values, terms)
    checks.positive("spacings", spacings)
    (in_time, along), (interval, spacing) = bumps, spacings
    times, points = values.shape
    for axis, bump, size in ((0, in_time, times), (1, along, points)):
        if 2 * bump.width + 1 > size:
            raise ValueError(
                f"bumps[{axis}] must be at most {(size - 1) // 2} wide, got {bump.width}"
            )
    for term in terms:
        if differentiate is None and any(term.powers[1:]):
            raise ValueError(f"differentiate must be given for the term {term.name}")
    starts = np.arange(0, times - 2 * in_time.width, max(1, in_time.width // 4))
    centres = np.arange(0, points, max(1, along.width // 4))

    def over_time(order: int) -> Array:
        rows = np.zeros((len(starts), times))
        places = starts[:, None] + np.arange(2 * in_time.width + 1)
        rows[np.arange(len(starts))[:, None], places] = in_time.weights(order, interval)
        return jnp.asarray(rows, values.dtype)

    def over_points(order: int) -> Array:
        rows = np.zeros((len(centres), points))
        places = (centres[:, None] + np.arange(-along.width, along.width + 1)) % points
        rows[np.arange(len(centres))[:, None], places] = along.weights(order, spacing)
        return jnp.asarray(rows, values.dtype)

    still = over_time(0)
    columns = [
        (-1) ** term.order
        * (still @ term.product(values, differentiate or _unchanged) @ over_points(term.order).T)
        for term in terms
    ]
    target = -over_time(1) @ values @ over_points(0).T
    return LinearSystem(jnp.stack(columns, axis=-1), target)


def _unchanged(values: Array, order: int) -> Array:
    return values


def _check(values: Array, terms: Sequence[Term]) -> None:
    checks.real("values", values)
    checks.finite("values", values)
    if not terms:
        raise ValueError("terms must hold at least one term, got none")
