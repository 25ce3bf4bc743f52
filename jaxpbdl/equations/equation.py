"""What an equation is: named parameters, a residual that judges any field, and the terms a
discretisation needs.
"""

from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxpbdl import checks
from jaxpbdl.fields import Field, Interpolant, interpolate
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum, total

Parameter: TypeAlias = Any
"""Given as a number or an array, kept as an array of floats."""


def parameter(**options: Any) -> Any:
    """A field of an equation that `jax.grad` and `jax.vmap` reach: converted to an array of
    floats.
    """
    return eqx.field(converter=checks.as_floats, **options)


def optional_parameter(**options: Any) -> Any:
    """Like `parameter`, but None (the default) leaves the term out of the computation
    altogether.
    """
    return eqx.field(
        converter=lambda v: None if v is None else checks.as_floats(v), default=None, **options
    )


class Equation(eqx.Module):
    """A semi-linear evolution equation, du/dt = L u + N(u) + source, on a periodic box.

    To write one: name the parameters, give the diagonal of L in Fourier space (`symbol`), the
    Fourier coefficients of N (`nonlinear`) and the `residual`. The rest has defaults.
    """

    judged_quantity: ClassVar[str | None] = None
    """What a field that `residual` takes gives, where that is not the unknown itself."""

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of the unknown at one point: () for a scalar, (c,) for c components."""
        return ()

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of what a field that `residual` judges gives at a point."""
        return self.value_shape

    @property
    def keep(self) -> float:
        """Fraction of wavenumbers free of aliasing: 2/3 for products of two, 1/2 of three, 1
        without products.
        """
        return 2 / 3

    def symbol(self, spectrum: Spectrum) -> Array:
        """The eigenvalues of L, broadcasting against the coefficients; real where L is
        symmetric.
        """
        raise NotImplementedError(f"{type(self).__name__} must define symbol")

    def nonlinear(
        self, modes: Complex[Array, "*value_and_modes"], spectrum: Spectrum
    ) -> Complex[Array, "*value_and_modes"]:
        """Fourier coefficients of N; the solver removes the aliased ones and adds `source`."""
        return jnp.zeros_like(modes)

    def source(self, spectrum: Spectrum) -> Array | None:
        """Fourier coefficients of a force that depends on space alone, or None."""
        return None

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """du/dt - L u - N(u) - source of a field at the point (x_1, .., x_d, t), zero for a
        solution.
        """
        raise NotImplementedError(f"{type(self).__name__} must define residual")

    def field_of(
        self,
        grid: Periodic,
        states: Float[Array, "times *value_and_grid"],
        times: Float[Array, " times"],
        degree: int = 4,
    ) -> Interpolant:
        """The field that `residual` takes, through the states of a rollout.

            residual_loss(equation, equation.field_of(grid, states, times), points)

        **Arguments:** `states` as `rollout` gives them on `grid`; `times` of each; `degree` of the
        interpolation in time (see `interpolate`).

        **Raises:** ValueError where shapes do not fit, or the equation does not live on the grid.
        """
        self.check_grid(grid)
        states = jnp.asarray(states)
        checks.shape("states", states, (np.size(times), *self.value_shape, *grid.shape))
        judged = eqx.filter_jit(type(self).judged_states)(self, states, Spectrum(grid))
        return interpolate(grid, judged, times, degree, self.judged_quantity)

    def judged_states(self, states: Array, spectrum: Spectrum) -> Array:
        """What `residual` takes the fields of, at the times of the states; by default the states
        themselves."""
        return states

    def check_field(self, field: Field) -> None:
        """Raise ValueError for a numerical solution of another quantity than `residual` takes: of
        the vorticity, say, where that is the stream function."""
        if isinstance(field, Interpolant) and field.quantity != self.judged_quantity:
            takes = self.judged_quantity or "its own unknown"
            raise ValueError(
                f"{type(self).__name__} judges fields of {takes}, this interpolant is of "
                f"{field.quantity or 'a quantity that is not named'}; make it from the states of "
                "a rollout by `equation.field_of(grid, states, times)`, or name it by "
                "`interpolate(.., quantity=..)`"
            )

    def flux(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """The flux through space-time, its last component the conserved quantity, on a new last
        axis of the value: where the equation is a balance, residual = div flux - production.
        """
        raise ValueError(f"{type(self).__name__} with these terms has no flux: use its residual")

    def production(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """What the balance produces at the point."""
        return jnp.zeros(self.value_shape, point.dtype)

    def enter(self, modes: Array, spectrum: Spectrum) -> Array:
        """Coefficients of the unknown to the variables in which L is diagonal."""
        return modes

    def leave(self, modes: Array, spectrum: Spectrum) -> Array:
        """The inverse of `enter`."""
        return modes

    def kept(self, spectrum: Spectrum) -> Array:
        """1 on the modes that dealiasing keeps and 0 elsewhere, in the variables of `enter`."""
        return spectrum.mask

    def transport_rate(
        self, state: Float[Array, "*value_and_grid"], spectrum: Spectrum
    ) -> Array | None:
        """Rate at which the fastest motion carries each mode along, sum_i max|u_i| |k_i|, in the
        layout of `symbol`;
        None where nothing is transported explicitly. It bounds dt."""
        return None

    def check_grid(self, grid: Periodic) -> None:
        """Raise ValueError if the equation cannot live on the grid."""


def advective_rate(speeds: Any, wavenumbers: Any) -> Array:
    """sum_i speed_i |k_i| from the largest speed along each axis."""
    return total(s * jnp.abs(k) for s, k in zip(speeds, wavenumbers, strict=True))


def require_ndim(equation: Equation, grid: Periodic, *allowed: int) -> None:
    """Refuse a grid of another dimension."""
    if grid.ndim not in allowed:
        choice = " or ".join(str(n) for n in allowed)
        raise ValueError(
            f"{type(equation).__name__} needs a grid of {choice} axes, got shape {grid.shape}"
        )


def laplacian_symbol(spectrum: Spectrum) -> Array:
    """The Laplacian in Fourier space."""
    return -spectrum.k_squared
