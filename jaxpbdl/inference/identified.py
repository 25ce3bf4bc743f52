"""Identified equations as they run: terms with coefficients as an equation for the spectral solver,
and its coefficients fitted to the snapshots through the step.

`sparse_regression` compares rates, or averages of them, with terms of noisy values, whose products
are biased. The fit through the step compares solutions of the equation with the snapshots,

    minimum over c, u(0) of sum over snapshots and points of (u(t; c, u(0)) - data)^2,

so that noise enters where it is independent, and the covariance of `least_squares` holds.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxpbdl import checks
from jaxpbdl.equations import Parameter, SemilinearEquation, parameter
from jaxpbdl.equations.equation import require_ndim
from jaxpbdl.fields import Field, partial, time_derivative
from jaxpbdl.grids import Periodic
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.spectrum import Spectrum, total
from jaxpbdl.inference.least_squares import least_squares
from jaxpbdl.inference.sparse import Identified, Term
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import semilinear

TURNS = (1, 1j, -1, -1j)
"""Powers of i."""


class TermEquation(SemilinearEquation):
    """du/dt = sum_j coefficients[j] terms[j], of one unknown along one periodic axis.

    **Arguments:** `coefficients`, one a term; `terms`, at least one.
    """

    coefficients: Parameter = parameter()
    terms: tuple[Term, ...] = eqx.field(static=True)

    def __check_init__(self):
        if not self.terms:
            raise ValueError("terms must hold at least one term, got none")
        checks.shape("coefficients", self.coefficients, (len(self.terms),))
        checks.finite("coefficients", self.coefficients)

    @property
    def keep(self) -> float:
        """A product of d factors needs 2 / (d + 1)."""
        return min(1.0, 2 / (1 + max(term.degree for term in self.terms)))

    def check_grid(self, grid: Grid) -> None:
        require_ndim(self, grid, 1)

    def symbol(self, spectrum: Spectrum) -> Array:
        found = jnp.zeros_like(spectrum.k[0] * 1j)
        for value, term in zip(self.coefficients, self.terms, strict=True):
            if term.is_linear:
                order = term.total_order
                found = found + value * TURNS[order % 4] * spectrum.k[0] ** order
        return found

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        def differentiated(modes: Array, order: int) -> Array:
            for _ in range(order):
                modes = spectrum.derivative(modes, 0)
            return modes

        values = spectrum.to_grid(modes)
        found = jnp.zeros_like(modes)
        for value, term in zip(self.coefficients, self.terms, strict=True):
            if not term.is_linear:
                product = term.product(
                    values, lambda _, order: spectrum.to_grid(differentiated(modes, order))
                )
                moved = differentiated(spectrum.transform(product), term.order)
                found = found + value * moved
        return found

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        def slope(field: Field, order: int) -> Field:
            return partial(field, 0, order) if order else field

        def product(term: Term) -> Field:
            def at(point: Array) -> Array:
                found = jnp.ones(())
                for order, power in enumerate(term.powers):
                    found = found * slope(field, order)(point) ** power if power else found
                return found

            return at

        return time_derivative(field)(point) - total(
            value * slope(product(term), term.order)(point)
            for value, term in zip(self.coefficients, self.terms, strict=True)
        )


def identified_equation(terms: tuple[Term, ...], found: Identified) -> TermEquation:
    """The terms that `sparse_regression` keeps as an equation.

    **Raises** ValueError if it keeps none.
    """
    kept: Bool[np.ndarray, " terms"] = np.asarray(found.kept)
    chosen = tuple(term for term, keep in zip(terms, kept, strict=True) if keep)
    return TermEquation(found.coefficients[np.flatnonzero(kept)], chosen)


class Refined(NamedTuple):
    """What `fit_through_step` found."""

    equation: TermEquation
    standard_errors: Float[Array, " terms"]
    """Of the coefficients."""
    covariance: Float[Array, "terms terms"]
    start: Float[Array, " points"]
    """The state at the first time."""
    residual_rms: Float[Array, ""]
    """The root mean square of what is left: the noise, for an equation that is right."""
    converged: Bool[Array, ""]


def fit_through_step(
    equation: TermEquation,
    values: Float[Array, "times points"],
    length: float,
    interval: float,
    *,
    waves: int,
    substeps: int = 1,
    steps: int = 10,
) -> Refined:
    """Coefficients and first state for which the solution meets the snapshots best.

    **Arguments**

    - `equation`: the terms, and coefficients near which the search starts.
    - `values`: snapshots at equidistant times and points of a periodic box.
    - `length`: of the box; `interval`: between two snapshots.
    - `waves`: of the Fourier series of the first state that is fitted (`resolved_modes`).
    - `substeps`: of the solver from one snapshot to the next.
    - `steps`: of the least-squares method, at most.

    **Raises** ValueError for fewer than two snapshots, values that are not finite, more waves than
    the points resolve, and arguments that are not above 0.
    """
    checks.counts(waves=waves, substeps=substeps, steps=steps)
    checks.positive("interval", interval)
    checks.real("values", values)
    checks.finite("values", values)
    times, points = values.shape
    if times < 2:
        raise ValueError(f"values must hold at least two snapshots, got {times}")
    if 2 * waves >= points:
        raise ValueError(f"waves must be below {points / 2:g}, half the points, got {waves}")
    return _fit_through_step(
        equation, jnp.asarray(values), float(length), float(interval), waves, substeps, steps
    )


@eqx.filter_jit
def _fit_through_step(
    equation: TermEquation,
    values: Float[Array, "times points"],
    length: float,
    interval: float,
    waves: int,
    substeps: int,
    steps: int,
) -> Refined:
    """Compiled as a whole, so that other values of the same shape find it compiled."""
    times, points = values.shape
    grid = Periodic((points,), lengths=length, dtype=values.dtype)
    angles = 2 * np.pi / points * np.arange(points)[:, None] * np.arange(1, waves + 1)
    series = np.concatenate([np.ones((points, 1)), np.cos(angles), np.sin(angles)], axis=1)
    series = jnp.asarray(series, values.dtype)
    amplitudes = series.T @ values[0] / jnp.sum(series**2, axis=0)

    def residuals(unknown: tuple[TermEquation, Array]) -> Array:
        step = semilinear(unknown[0], grid, interval / substeps)
        start = series @ unknown[1]
        return rollout(step, start, (times - 1) * substeps, substeps, checkpoint=False) - values

    found = least_squares(residuals, (equation, amplitudes), steps=steps)
    fitted, amplitudes = found.values
    count = len(equation.terms)
    return Refined(
        equation=fitted,
        standard_errors=found.standard_errors[0].coefficients,
        covariance=found.covariance[:count, :count],
        start=series @ amplitudes,
        residual_rms=found.residual_rms,
        converged=found.converged,
    )
