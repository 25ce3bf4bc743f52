"""Pseudo-spectral discretisation of a semilinear equation on a box, periodic or with walls."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.equations.equation import Equation
from jaxpbdl.equations.semilinear import Layout, SemilinearEquation
from jaxpbdl.fields import Interpolant
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.harmonics import SphericalHarmonics
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Sides, Spectrum
from jaxpbdl.solvers.time.exponential import etdrk4, phi
from jaxpbdl.solvers.time.scheme import Exponential, Scheme, System, check_inputs
from jaxpbdl.step import Step


class SpectralStep(Step):
    """One time step of an equation in spectral space; created by `semilinear` and, on a sphere, by
    `solvers.sphere.on_sphere`.

    States are real arrays of shape `equation.value_shape + grid.shape`. Inside a rollout the state
    stays in spectral space and is transformed back for saved states only. An input is a force of
    the shape of a state, held over the step: du/dt = L u + N(u) + force.
    """

    trainable_fields = ()

    equation: SemilinearEquation
    spectrum: Spectrum | SphericalHarmonics
    layout: Layout
    scheme: Scheme
    source: Array | None
    dt: Array

    @property
    def grid(self) -> Any:
        """Periodic points, cells, or a sphere."""
        return self.spectrum.grid

    @property
    def interval(self) -> Array:
        return self.dt

    def system(self, force: Array | None = None) -> System:
        """N with the sources, what dealiasing removes set to zero."""

        def rates(modes: Array) -> Array:
            slope = self.layout.truncate(self.equation.nonlinear(modes, self.layout))
            for push in (self.source, force):
                slope = slope if push is None else slope + push
            return slope

        return System(rates, self.dt)

    def enter(self, state: Array) -> PyTree:
        return self.scheme.start(self._modes(state), self.system())

    def advance(self, working: PyTree, *inputs: Array) -> PyTree:
        check_inputs(self.scheme, inputs)
        return self.scheme.advance(working, self.system(*map(self._modes, inputs)))

    def leave(self, working: PyTree) -> Array:
        modes = self.scheme.current(working)
        return self.spectrum.to_grid(self.equation.leave(modes, self.layout))

    def _modes(self, values: Array) -> Array:
        return self.equation.enter(self.spectrum.to_modes(values), self.layout)

    def check_state(self, state: PyTree) -> None:
        """Refuse a state of another shape or dtype, or with non-finite values."""
        self.grid.check_state(state, self.equation.value_shape)
        checks.finite("state", state)

    def largest_dt(self, state: Array) -> Array | float:
        """Estimate of the largest stable dt: the fastest resolved wave, damped by the linear part,
        stays inside the scheme's stability region."""
        # An equation takes the transforms of its own domain.
        rate = self.equation.transport_rate(state, self.spectrum)  # pyright: ignore[reportArgumentType]
        if rate is None:
            return float("inf")
        damping = phi(1, self.equation.symbol(self.layout).real * self.dt)
        return self.scheme.largest_dt(jnp.max(rate * damping * self.layout.mask))

    def channels(self, state: Array) -> Float[Array, "channels *grid"]:
        """The components of the unknown; of a scalar one channel."""
        return state.reshape(-1, *self.grid.shape)

    def equation_and_field(
        self, states: Array, times: Float[Array, " times"], degree: int = 4
    ) -> tuple[Equation, Interpolant]:
        """The equation, and the field that its residual takes through the states of a rollout."""
        return self.equation, self.equation.field_of(self.grid, states, times, degree)


def semilinear(
    equation: SemilinearEquation,
    grid: Periodic | Cells,
    dt: ArrayLike,
    scheme: Exponential = etdrk4,
    keep: float | None = None,
    sides: Sides | None = None,
    mesh: Mesh | None = None,
) -> SpectralStep:
    """The step of `equation` on `grid`: exact in space up to truncation, of the scheme's order in
    time.

    **Arguments:**

    - `equation`: any equation with a diagonal linear symbol and a nonlinear term.
    - `grid`: periodic points, or equidistant cells for a box with walls, with as many axes as the
      equation has.
    - `dt`: time step, > 0. May be traced: gradients reach it.
    - `scheme`: `etdrk1` .. `etdrk4`, `etd_multistep`, `etd_adams`, `imex`, or another function of
      its kind.
    - `keep`: fraction of modes kept; by default what the equation's nonlinearity needs to be
      free of aliasing.
    - `sides`: of a box with walls, one entry per axis: `Wall.no_flux` (the default) or
      `Wall.zero`, a pair of them for the lower and the upper side, None for a periodic axis.
      Equations whose N is odd in u converge spectrally between walls of both kinds, others between
      walls without flux.
    - `mesh`: devices that share the box (`distributed.space_mesh`). States are then placed by
      `distributed.scatter(state, mesh, grid.shape)`.

    **Raises:** ValueError for a dt that is not finite and positive, a grid of the wrong
    dimension, or walls for an equation that holds first derivatives.
    """
    checks.positive("dt", dt)
    equation.check_grid(grid)
    spectrum = Spectrum(grid, equation.keep if keep is None else keep, sides, mesh)
    return assembled(equation, spectrum, equation.layout(spectrum), dt, scheme)


def assembled(
    equation: SemilinearEquation,
    spectrum: Any,
    layout: Any,
    dt: ArrayLike,
    scheme: Exponential,
) -> SpectralStep:
    """The step of an equation in a spectrum, all of it in the precision of the grid."""
    grid = spectrum.grid
    dt = jnp.asarray(dt, grid.dtype)
    equation = jax.tree.map(
        lambda leaf: leaf.astype(grid.dtype) if eqx.is_inexact_array(leaf) else leaf, equation
    )
    symbol = equation.symbol(layout)
    precision = jnp.complex64 if grid.dtype == jnp.float32 else jnp.complex128
    symbol = symbol.astype(precision if jnp.iscomplexobj(symbol) else grid.dtype)
    # One compiled program instead of one for each of the many operations in the coefficients.
    integrator = eqx.filter_jit(scheme)(symbol, dt)
    source = equation.source(spectrum)
    if source is not None:
        source = equation.enter(spectrum.truncate(source), layout)
    return SpectralStep(equation, spectrum, layout, integrator, source, dt)
