"""Sparse identification: the few terms of an evolution equation, from snapshots of its solution.

    du/dt = sum_j c_j F_j(u),   F_j = d^q/dx^q of a product of u and its derivatives

with most of the `c_j` zero. Each point, or each test function, gives a row of a linear system, and
sequentially thresholded least squares takes one term after another out of it (Brunton, Proctor and
Kutz, PNAS 113 (2016) 3932; Rudy, Brunton, Proctor and Kutz, Science Advances 3 (2017) e1602614).

`strong_form` takes rates and derivatives of the snapshots, which noise spoils; `weak_form` moves
derivatives to test functions phi by parts (Messenger and Bortz, J. Comput. Phys. 443 (2021)
110525),

    - integral of u dphi/dt = sum_j c_j (-1)^q integral of P_j(u) d^q phi/dx^q,   F_j = d^q P_j/dx^q

Values are `(times, points)`, equidistant both ways, and periodic along x.
"""

from collections.abc import Callable, Sequence
from math import ceil, comb, factorial, log, perm, tau
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxpbdl import checks

Differentiate: TypeAlias = Callable[[Array, int], Array]
"""`differentiate(values, order)` along the last axis; order 0 smooths, if anything."""


class Term(NamedTuple):
    """d^order/dx^order of u^powers[0] (du/dx)^powers[1] (d^2u/dx^2)^powers[2] ..; no power at all
    is the constant one."""

    powers: tuple[int, ...]
    order: int = 0

    @property
    def name(self) -> str:
        """As one writes it: `1`, `u`, `u_xx`, `u^2 u_x`, `(u^2)_x`."""
        symbols = ["u" + ("_" + "x" * n if n else "") for n in range(len(self.powers))]
        factors = [
            symbol if power == 1 else f"{symbol}^{power}"
            for symbol, power in zip(symbols, self.powers, strict=True)
            if power
        ]
        product = " ".join(factors) or "1"
        if not self.order:
            return product
        return (product if product == "u" else f"({product})") + "_" + "x" * self.order

    @property
    def degree(self) -> int:
        """The number of factors."""
        return sum(self.powers)

    @property
    def is_linear(self) -> bool:
        """Whether it is u or one of its derivatives."""
        return self.degree == 1

    @property
    def total_order(self) -> int:
        """The number of derivatives in all factors and outside."""
        return self.order + sum(n * power for n, power in enumerate(self.powers))

    def product(self, values: Float[Array, "*rest"], differentiate: Differentiate) -> Array:
        """What stands inside of the outer derivatives."""
        found = jnp.ones_like(values)
        for n, power in enumerate(self.powers):
            if power:
                found = found * differentiate(values, n) ** power
        return found


def derivative_terms(power: int, order: int) -> tuple[Term, ...]:
    """1 and d^q (u^p) / dx^q for p = 1 .. `power` and q = 0 .. `order`: terms that the weak form
    takes without any derivative of the data. u du/dx is half of (u^2)_x.

    **Raises** ValueError for a power or an order below one.
    """
    checks.counts(power=power, order=order)
    found = [Term((p,), q) for p in range(1, power + 1) for q in range(order + 1)]
    return (Term(()), *found)


def product_terms(power: int, order: int) -> tuple[Term, ...]:
    """1, u^p and u^p d^q u / dx^q for p = 0 .. `power` and q = 1 .. `order`, as Rudy et al. (2017)
    take them.

    **Raises** ValueError for a power or an order below one.
    """
    checks.counts(power=power, order=order)
    plain = [Term((p,)) for p in range(1, power + 1)]
    linear = [Term((1,), q) for q in range(1, order + 1)]
    mixed = [Term((p, *[0] * (q - 1), 1)) for p in range(1, power + 1) for q in range(1, order + 1)]
    return (Term(()), *plain, *linear, *mixed)


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
        _check_window(self.half, self.degree)

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
    _check_window(half, degree)
    if not 0 <= order <= degree:
        raise ValueError(f"order must be from 0 to degree = {degree}, got {order}")
    powers = np.vander(np.arange(-half, half + 1.0), degree + 1, increasing=True)
    return factorial(order) * np.linalg.pinv(powers)[order]


def _check_window(half: int, degree: int) -> None:
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
    _check_window(half, degree)
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


class Identified(NamedTuple):
    """What `sparse_regression` found."""

    coefficients: Float[Array, " terms"]
    """Zero for terms that are not kept."""
    kept: Bool[Array, " terms"]
    covariance: Float[Array, "terms terms"]
    """Of the rows' errors alone: noise in the terms also shifts the coefficients."""
    standard_errors: Float[Array, " terms"]
    threshold: Float[Array, ""]
    held_out_error: Float[Array, ""]
    """Of the rates at the times held out, relative to the root mean square of these."""
    path_errors: Float[Array, " thresholds"]
    """The same for each threshold."""
    path_counts: Int[Array, " thresholds"]
    """Terms that are kept for each threshold."""


THRESHOLDS = tuple(np.geomspace(1e-4, 1.0, 60).tolist())


def thresholded_least_squares(
    system: LinearSystem, threshold: float | Float[Array, ""]
) -> Float[Array, " terms"]:
    """Least squares over and over, each time without the terms that contribute less than
    `threshold`, until none does: |c_j| |column j| < threshold |target|, by the lengths of vectors.
    Goes through jit and vmap.

    **Raises** ValueError for a threshold below 0.
    """
    checks.non_negative("threshold", threshold)
    return _thresholded(*_reduced(system), jnp.asarray(threshold))


def sparse_regression(
    system: LinearSystem,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    held_out: float = 0.25,
    groups: int = 8,
) -> Identified:
    """The terms by sequentially thresholded least squares, the threshold by the last part of the
    time: the terms of the earlier part for which

        error of the rates held out, relative to them + kept terms / all terms

    is smallest (the loss of Messenger and Bortz 2021, section 4.2, on times held out). Then their
    coefficients from all times. Goes through jit and vmap.

    **Arguments**

    - `thresholds`: relative contributions below which a term is left out, tried one by one.
    - `held_out`: share of the times.
    - `groups`: of successive times, among which the errors of the rows count as independent in the
      covariance (Liang and Zeger, Biometrika 73 (1986) 13).

    **Raises** ValueError for no thresholds or one below 0, a share outside of (0, 1), fewer than
    two groups or more than times.
    """
    if not len(thresholds):
        raise ValueError("thresholds must hold at least one number, got none")
    checks.non_negative("thresholds", thresholds)
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be in (0, 1), got {held_out}")
    times = len(system.target)
    if checks.count("groups", groups, 2) > times:
        raise ValueError(f"groups must be at most {times}, the times, got {groups}")
    early = min(max(1, round((1 - held_out) * times)), times - 1)
    return _sparse_regression(
        system, jnp.asarray(thresholds, system.target.dtype), early=early, groups=groups
    )


@eqx.filter_jit
def _sparse_regression(
    system: LinearSystem, thresholds: Float[Array, " thresholds"], early: int, groups: int
) -> Identified:
    earlier = LinearSystem(system.matrix[:early], system.target[:early])
    later = LinearSystem(system.matrix[early:], system.target[early:])
    square, right, lengths, size = _reduced(earlier)
    path = jax.vmap(lambda one: _thresholded(square, right, lengths, size, one))(thresholds)
    left = jnp.einsum("trn,cn->ctr", later.matrix, path) - later.target
    errors = jnp.sqrt(jnp.mean(left**2, axis=(1, 2)) / jnp.mean(later.target**2))
    counts = jnp.sum(path != 0, axis=1)
    best = jnp.argmin(errors + counts / path.shape[1])
    kept = path[best] != 0
    square, right, lengths, _ = _reduced(system)
    coefficients = _masked(square, right, kept) / lengths
    covariance = _grouped_covariance(system, coefficients, kept, square, lengths, groups)
    return Identified(
        coefficients=coefficients,
        kept=kept,
        covariance=covariance,
        standard_errors=jnp.sqrt(jnp.diagonal(covariance)),
        threshold=thresholds[best],
        held_out_error=errors[best],
        path_errors=errors,
        path_counts=counts,
    )


def _reduced(system: LinearSystem) -> tuple[Array, Array, Array, Array]:
    """The same least-squares problem with as many rows as terms and columns of length one; the
    lengths that the columns had, and that of the target."""
    terms = system.matrix.shape[-1]
    matrix, target = system.matrix.reshape(-1, terms), system.target.reshape(-1)
    lengths = jnp.linalg.norm(matrix, axis=0)
    lengths = jnp.where(lengths > 0, lengths, 1)
    # By QR, not the normal equations: those lose half of the digits.
    orthogonal, square = jnp.linalg.qr(matrix / lengths)
    return square, orthogonal.T @ target, lengths, jnp.linalg.norm(target)


def _masked(square: Array, right: Array, kept: Array) -> Array:
    """The solution with zeros for the terms that are not kept, columns of length one."""
    return jnp.where(kept, jnp.linalg.lstsq(square * kept, right)[0], 0)


def _thresholded(
    square: Array, right: Array, lengths: Array, size: Array, threshold: Array
) -> Float[Array, " terms"]:
    def turn(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        kept, scaled = carry
        kept = kept & (jnp.abs(scaled) >= threshold * size)
        return kept, _masked(square, right, kept)

    everything = jnp.ones(len(lengths), bool)
    start = (everything, _masked(square, right, everything))
    # Each turn takes out one term at least, or nothing changes any more.
    kept, scaled = lax.fori_loop(0, len(lengths), turn, start)
    return jnp.where(kept, scaled, 0) / lengths


def _grouped_covariance(
    system: LinearSystem,
    coefficients: Array,
    kept: Array,
    square: Array,
    lengths: Array,
    groups: int,
) -> Float[Array, "terms terms"]:
    """(A^T A)^-1 (sum over groups of s s^T) (A^T A)^-1 G / (G - 1) with s = A_g^T r_g, the score
    of each of the G groups."""
    times, _, terms = system.matrix.shape
    left = system.target - system.matrix @ coefficients
    scores = jnp.einsum("trn,tr->tn", system.matrix, left) / lengths
    group = np.arange(times) * groups // times
    scores = jax.ops.segment_sum(scores, jnp.asarray(group), groups)
    inverse = jnp.linalg.pinv(square * kept)
    # (A^T A)^-1 s for each group; zero for terms that are not kept.
    moved = scores @ (inverse @ inverse.T) / lengths
    moved = jnp.where(kept, moved, 0)
    return groups / (groups - 1) * moved.T @ moved


def written(terms: Sequence[Term], coefficients: Float[Array, " terms"], digits: int = 4) -> str:
    """The equation as a line of text, such as `u_t = -0.5 (u^2)_x + 0.1 u_xx`."""
    parts = []
    for term, value in zip(terms, np.asarray(coefficients), strict=True):
        if value:
            sign = "-" if value < 0 else "+"
            parts.append(f"{sign} {abs(value):.{digits}g} {term.name}")
    line = " ".join(parts) or "0"
    return "u_t = " + (line[2:] if line.startswith("+ ") else line.replace("- ", "-", 1))
