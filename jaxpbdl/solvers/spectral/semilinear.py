"""Fourier pseudo-spectral discretisation of an equation on a periodic grid."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxpbdl import checks
from jaxpbdl.equations.equation import Equation
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum
from jaxpbdl.solvers.time.exponential import etdrk4, phi
from jaxpbdl.solvers.time.integrator import Integrator, Scheme
from jaxpbdl.step import Step


class SpectralStep(Step):
    """One time step of an equation in Fourier space; made by `semilinear`.

    States are real arrays of shape `equation.value_shape + grid.shape`. Inside a rollout the state
    stays in Fourier space and is transformed back for saved frames only.
    """

    trainable_fields = ()

    equation: Equation
    spectrum: Spectrum
    integrator: Integrator
    source: Array | None
    dt: Array

    @property
    def grid(self) -> Periodic:
        return self.spectrum.grid

    def nonlinear(self, modes: Array) -> Array:
        slope = self.equation.nonlinear(modes, self.spectrum)
        return slope if self.source is None else slope + self.source

    def enter(self, state: Array) -> Any:
        modes = self.equation.enter(self.spectrum.to_modes(state), self.spectrum)
        return self.integrator.start(modes, self.nonlinear)

    def advance(self, working: Any) -> Any:
        return self.integrator.advance(working, self.nonlinear)

    def leave(self, working: Any) -> Array:
        modes = self.integrator.current(working)
        return self.spectrum.to_grid(self.equation.leave(modes, self.spectrum))

    def check(self, state: Any) -> None:
        """Refuse a state of another shape or dtype, with non-finite values, or too fast for dt."""
        self.grid.check_state(state, self.equation.value_shape)
        if not checks.is_concrete((state, self)):
            return
        checks.finite("state", state)
        limit = self.largest_dt(state)
        if self.dt > limit:
            raise ValueError(
                f"dt = {float(self.dt):g} is above the stability limit of this state: "
                f"use dt <= {limit:.3g}, or a scheme with a larger stability region"
            )

    def largest_dt(self, state: Array) -> float:
        """Estimate of the largest stable dt: the fastest resolved wave, damped by the linear part,
        stays inside
        the scheme's stability region."""
        rate = self.equation.transport_rate(state, self.spectrum)
        if rate is None:
            return float("inf")
        damping = phi(1, self.equation.symbol(self.spectrum).real * self.dt)
        fastest = float(jnp.max(rate * damping * self.equation.kept(self.spectrum)))
        return self.integrator.stability / fastest if fastest > 0 else float("inf")


def semilinear(
    equation: Equation,
    grid: Periodic,
    dt: Any,
    scheme: Scheme = etdrk4,
    keep: float | None = None,
) -> SpectralStep:
    """The step of `equation` on `grid`: exact in space up to truncation, of the scheme's order in
    time.

    **Arguments:**

    - `equation`: any equation with a diagonal linear symbol and a nonlinear term.
    - `grid`: a periodic grid with as many axes as the equation has.
    - `dt`: time step, > 0. May be traced: gradients reach it.
    - `scheme`: `etdrk1` .. `etdrk4`, `etd_multistep`, `etd_adams`, `imex`, or another function of
      its kind.
    - `keep`: fraction of wavenumbers kept; by default what the equation's nonlinearity needs to be
      free of aliasing.

    **Raises:** ValueError for a dt that is not finite and positive or a grid of the wrong
    dimension.
    """
    checks.positive("dt", dt)
    equation.check_grid(grid)
    dt = jnp.asarray(dt, grid.dtype)
    equation = jax.tree.map(
        lambda leaf: leaf.astype(grid.dtype) if eqx.is_inexact_array(leaf) else leaf, equation
    )
    spectrum = Spectrum(grid, equation.keep if keep is None else keep)
    symbol = equation.symbol(spectrum)
    precision = jnp.complex64 if grid.dtype == jnp.float32 else jnp.complex128
    symbol = symbol.astype(precision if jnp.iscomplexobj(symbol) else grid.dtype)
    # One compiled program instead of one for each of the many operations in the coefficients.
    integrator = eqx.filter_jit(scheme)(symbol, dt, equation.kept(spectrum))
    return SpectralStep(equation, spectrum, integrator, equation.source(spectrum), dt)
