"""A semilinear equation on a sphere, by spherical harmonics and the schemes of `solvers.time`."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.equations.sphere import BarotropicVorticity, ShallowWater
from jaxpbdl.grids.harmonics import SphericalHarmonics
from jaxpbdl.grids.sphere import Sphere
from jaxpbdl.solvers.time.exponential import etdrk4, phi
from jaxpbdl.solvers.time.scheme import Exponential, Scheme, System, check_inputs
from jaxpbdl.step import Step


class SphereStep(Step):
    """One time step of an equation on a sphere; created by `on_sphere`.

    States are real arrays of shape `equation.value_shape + grid.shape`. Inside a rollout the state
    stays in coefficients and is transformed back for saved states only. An input is a rate of
    change of the shape of a state, held over the step.
    """

    trainable_fields = ()

    equation: BarotropicVorticity | ShallowWater
    harmonics: SphericalHarmonics
    scheme: Scheme
    source: Array | None
    dt: Array

    @property
    def grid(self) -> Sphere:
        return self.harmonics.grid

    @property
    def interval(self) -> Array:
        return self.dt

    def system(self, force: Array | None = None) -> System:
        """What the scheme does not treat as the linear part."""

        def rates(modes: Array) -> Array:
            slope = self.equation.nonlinear(modes, self.harmonics)
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
        return self.harmonics.to_grid(self.equation.leave(modes, self.harmonics))

    def _modes(self, values: Array) -> Array:
        return self.equation.enter(self.harmonics.transform(values), self.harmonics)

    def check_state(self, state: PyTree) -> None:
        """Refuse a state of another shape or dtype, or with non-finite values."""
        self.grid.check_state(state, self.equation.value_shape)
        checks.finite("state", state)

    def largest_dt(self, state: Array) -> Array | float:
        """Estimate of the largest stable dt: the fastest motion that is left to the explicit part,
        damped by the linear one, stays inside the scheme's stability region."""
        rate = self.equation.transport_rate(state, self.harmonics)
        damping = phi(1, self.equation.symbol(self.harmonics).real * self.dt)
        return self.scheme.largest_dt(jnp.max(rate * damping))

    def channels(self, state: Array) -> Float[Array, "channels latitudes longitudes"]:
        """The components of the unknown."""
        return state.reshape(-1, *self.grid.shape)


def on_sphere(
    equation: BarotropicVorticity | ShallowWater,
    harmonics: SphericalHarmonics,
    dt: ArrayLike,
    scheme: Exponential = etdrk4,
) -> SphereStep:
    """The step of an equation on a sphere: exact in space up to the truncation, of the scheme's
    order in time.

    **Arguments**

    - `harmonics`: of a grid of the equation's radius, free of aliasing in products of two fields.
    - `dt`: time step, > 0. May be traced: gradients reach it.
    - `scheme`: `etdrk1` .. `etdrk4`, `etd_multistep`, `etd_adams`, `imex`, or another function of
      its kind.

    **Raises** ValueError for a dt that is not finite and positive, another radius, or a truncation
    at which products are aliased on the grid.
    """
    checks.positive("dt", dt)
    grid = harmonics.grid
    equation.check_grid(grid)
    if harmonics.truncation > grid.alias_free:
        raise ValueError(
            f"truncation must be at most {grid.alias_free} on {grid.shape[0]} latitudes and "
            f"{grid.shape[1]} longitudes for products free of aliasing, got {harmonics.truncation}"
        )
    dt = jnp.asarray(dt, grid.dtype)
    equation = jax.tree.map(
        lambda leaf: leaf.astype(grid.dtype) if eqx.is_inexact_array(leaf) else leaf, equation
    )
    precision = jnp.complex64 if grid.dtype == jnp.float32 else jnp.complex128
    symbol = equation.symbol(harmonics).astype(precision)
    # One compiled program instead of one for each of the many operations in the coefficients.
    integrator = eqx.filter_jit(scheme)(symbol, dt)
    source = equation.source(harmonics)
    if source is not None:
        source = equation.enter(source, harmonics)
    return SphereStep(equation, harmonics, integrator, source, dt)
