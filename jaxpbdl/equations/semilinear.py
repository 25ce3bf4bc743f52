"""The layer between an equation and a spectral solver: what is diagonal, and what is not."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.equations.equation import Equation
from jaxpbdl.grids.spectrum import Spectrum, total


@runtime_checkable
class Layout(Protocol):
    """How coefficients are kept between steps: a `Spectrum`, or an order of an equation's own."""

    @property
    def mask(self) -> Array:
        """1 on modes that dealiasing keeps, 0 elsewhere."""
        ...

    def truncate(self, coefficients: Array, /) -> Array:
        """The coefficients without those that dealiasing removes."""
        ...


class SemilinearEquation(Equation):
    """A semilinear evolution equation, du/dt = L u + N(u) + source, with L diagonal in a spectrum.

    To write one: name the parameters, give the eigenvalues of L (`symbol`), the coefficients of N
    (`nonlinear`) and the `residual`; and `transport_rate` where N carries the unknown along. The
    rest has defaults. An equation that uses no more of the spectrum than `laplacian`, `transform`
    and `to_grid` runs on periodic boxes and between walls alike.
    """

    @property
    def keep(self) -> float:
        """Fraction of the modes free of aliasing: 2/3 for products of two, 1/2 of three, 1
        without products. The one place that says how N is dealiased; the solver does it.
        """
        return 2 / 3

    def layout(self, spectrum: Spectrum) -> Layout:
        """In what order coefficients are kept between steps: that of the spectrum, or an object
        with a `mask` and a `truncate` of its own. The methods below are given it."""
        return spectrum

    def symbol(self, layout: Layout) -> Array:
        """The eigenvalues of L, broadcasting against the coefficients; real where L is
        symmetric.
        """
        raise NotImplementedError(f"{type(self).__name__} must define symbol")

    def nonlinear(self, modes: Array, layout: Layout) -> Array:
        """Coefficients of N; the solver removes the aliased ones and adds `source`."""
        return jnp.zeros_like(modes)

    def enter(self, modes: Array, layout: Layout) -> Array:
        """Coefficients of the unknown to the variables in which L is diagonal."""
        return modes

    def leave(self, modes: Array, layout: Layout) -> Array:
        """The inverse of `enter`."""
        return modes

    def source(self, spectrum: Spectrum) -> Array | None:
        """Coefficients of a force that depends on space alone, in the variables of the unknown, or
        None."""
        return None

    def transport_rate(
        self, state: Float[Array, "*value_and_grid"], spectrum: Spectrum
    ) -> Array | None:
        """Rate at which the fastest motion carries each mode along, sum_i max|u_i| |k_i|,
        broadcasting against `symbol`; None where N transports nothing. It bounds dt."""
        return None


def advective_rate(speeds: Array | Sequence[Array], wavenumbers: Sequence[Array]) -> Array:
    """sum_i speed_i |k_i| from the largest speed along each axis."""
    return total(s * jnp.abs(k) for s, k in zip(speeds, wavenumbers, strict=True))
