"""Incompressible Navier-Stokes equations: vorticity in two dimensions, velocity in three."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float

from jaxpbdl import checks
from jaxpbdl.equations.centred_modes import CentredModes
from jaxpbdl.equations.equation import Parameter, optional_parameter, parameter, require_ndim
from jaxpbdl.equations.half_modes import HalfModes
from jaxpbdl.equations.semilinear import SemilinearEquation, advective_rate
from jaxpbdl.fields import Field, at_time, curl, divergence, gradient, laplacian, time_derivative
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.spectrum import Spectrum, scaled, total

Force = Callable[[Float[Array, " dim"]], Float[Array, " dim"]]


class NavierStokes2D(SemilinearEquation):
    """Vorticity w = dv/dx - du/dy of a two-dimensional flow.

        dw/dt + u . grad w + beta v = viscosity lap w - drag w + curl force,   lap psi = -w,
        u = dpsi/dy, v = -dpsi/dx

    **Arguments:** `viscosity` >= 0; `drag` >= 0, linear friction; `beta`, gradient of the planetary
    vorticity along the second axis; `forcing`, a field of space that gives the force vector, for
    example `kolmogorov()`. Terms that are None are absent.
    """

    judged_quantity = "stream function"

    viscosity: Parameter = parameter(default=1e-3)
    drag: Parameter = optional_parameter()
    beta: Parameter = optional_parameter()
    forcing: Force | None = None

    def __check_init__(self):
        checks.non_negative("viscosity", self.viscosity)
        if self.drag is not None:
            checks.non_negative("drag", self.drag)

    def check_grid(self, grid: Grid) -> None:
        require_ndim(self, grid, 2)

    def layout(self, spectrum: Spectrum) -> CentredModes | HalfModes:
        """Complex velocities, or the vorticity where devices share the box."""
        return CentredModes(spectrum) if spectrum.mesh is None else HalfModes(spectrum)

    def enter(self, modes: Array, layout: CentredModes | HalfModes) -> Array:
        return layout.enter(modes)

    def leave(self, modes: Array, layout: CentredModes | HalfModes) -> Array:
        return layout.leave(modes)

    def symbol(self, layout: CentredModes | HalfModes) -> Array:
        symbol = -self.viscosity * layout.k_squared
        if self.drag is not None:
            symbol = symbol - self.drag
        if self.beta is not None:
            symbol = symbol + 1j * self.beta * layout.k[0] * layout.inverse_k_squared
        return symbol

    def nonlinear(self, modes: Array, layout: CentredModes | HalfModes) -> Array:
        """-u . grad w with one complex transform each way, the work of four real ones.

        Basdevant (J. Comput. Phys. 50 (1983) 209): u . grad w = (d_xx - d_yy)(u v) + d_xy (v^2 -
        u^2), and the square S of u + i v holds both products: -u . grad w is the imaginary part of
        the field with coefficients (kx - i ky)^2 / 2 S(k). The imaginary part needs S(-k) too, and
        times (kx + i ky) / k^2 it is again a complex velocity.
        """
        return layout.transport(modes)

    def source(self, spectrum: Spectrum) -> Array | None:
        return None if self.forcing is None else _modes_of(curl(self.forcing), spectrum)

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """Of a field that gives the stream function psi; see `field_of` for states of vorticity."""
        self.check_field(field)
        position = point[:-1]
        stream = at_time(field, point[-1])

        def vorticity(at: Array) -> Array:
            return -laplacian(at_time(field, at[-1]))(at[:-1])

        psi_x, psi_y = gradient(stream)(position)
        snapshot = at_time(vorticity, point[-1])
        total = (
            time_derivative(vorticity)(point)
            + gradient(snapshot)(position) @ jnp.stack([psi_y, -psi_x])
            - self.viscosity * laplacian(snapshot)(position)
        )
        if self.drag is not None:
            total = total + self.drag * vorticity(point)
        if self.beta is not None:
            total = total - self.beta * psi_x
        if self.forcing is not None:
            total = total - curl(self.forcing)(position)
        return total

    def judged_states(self, states: Array, grid: Grid) -> Array:
        """The stream function of vorticities, of mean zero."""
        spectrum = Spectrum(grid)
        return spectrum.to_grid(scaled(spectrum.inverse_k_squared, spectrum.transform(states)))

    def transport_rate(self, state: Array, spectrum: Spectrum) -> Array:
        velocity = spectrum.to_grid(velocity_modes(spectrum.transform(state), spectrum))
        return advective_rate(jnp.max(jnp.abs(velocity), axis=(1, 2)), self.layout(spectrum).k)


class NavierStokes3D(SemilinearEquation):
    """Velocity u of shape (3, *grid) of a three-dimensional flow; the pressure keeps it free of
    divergence.

        du/dt + (u . grad) u = -grad p + viscosity lap u - drag u + force,   div u = 0

    **Arguments:** `viscosity` >= 0; `drag` >= 0; `forcing`, a field of space that gives the force
    vector.
    """

    judged_quantity = "velocity and pressure"

    viscosity: Parameter = parameter(default=1e-3)
    drag: Parameter = optional_parameter()
    forcing: Force | None = None

    def __check_init__(self):
        checks.non_negative("viscosity", self.viscosity)
        if self.drag is not None:
            checks.non_negative("drag", self.drag)

    @property
    def value_shape(self) -> tuple[int, ...]:
        return (3,)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Velocity and pressure."""
        return (4,)

    def check_grid(self, grid: Grid) -> None:
        require_ndim(self, grid, 3)

    def symbol(self, spectrum: Spectrum) -> Array:
        symbol = self.viscosity * spectrum.laplacian
        return symbol if self.drag is None else symbol - self.drag

    def enter(self, modes: Array, spectrum: Spectrum) -> Array:
        return project(modes, spectrum)

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        """Minus the projected divergence of u u, eight transforms: the pressure absorbs the trace
        of
        the stress, so five of its six entries remain (Basdevant 1983)."""
        u, v, w = spectrum.each_to_grid(modes)
        products = (u * u - w * w, v * v - w * w, u * v, u * w, v * w)
        xx, yy, xy, xz, yz = spectrum.transform_each(products)
        kx, ky, kz = spectrum.k
        flux = (
            scaled(kx, xx) + scaled(ky, xy) + scaled(kz, xz),
            scaled(kx, xy) + scaled(ky, yy) + scaled(kz, yz),
            scaled(kx, xz) + scaled(ky, yz),
        )
        flux = project(flux, spectrum)
        return lax.complex(flux.imag, -flux.real)  # times -i, which the derivatives left out

    def source(self, spectrum: Spectrum) -> Array | None:
        if self.forcing is None:
            return None
        return _modes_of(self.forcing, spectrum)

    def pressure(self, state: Float[Array, "3 *grid"], spectrum: Spectrum) -> Float[Array, "*grid"]:
        """Pressure (over density, zero mean) of a velocity: lap p = -div((u . grad) u - force)."""
        modes = spectrum.transform(state)
        gradients = spectrum.to_grid(
            jnp.stack([spectrum.gradient(component) for component in modes])
        )
        transport = spectrum.transform(jnp.einsum("jxyz,ijxyz->ixyz", state, gradients))
        if self.forcing is not None:
            transport = transport - _modes_of(self.forcing, spectrum)
        flux = total(spectrum.derivative(transport[axis], axis) for axis in range(3))
        return spectrum.to_grid(flux * spectrum.inverse_k_squared)

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """Of a field that gives (u, v, w, p): three components of momentum and the divergence; see
        `field_of` for states of velocity."""
        self.check_field(field)
        position, snapshot = point[:-1], at_time(field, point[-1])

        def velocity(at: Array) -> Array:
            return snapshot(at)[:3]

        value = velocity(position)
        momentum = (
            time_derivative(field)(point)[:3]
            + gradient(velocity)(position) @ value
            + gradient(lambda at: snapshot(at)[3])(position)
            - self.viscosity * laplacian(velocity)(position)
        )
        if self.drag is not None:
            momentum = momentum + self.drag * value
        if self.forcing is not None:
            momentum = momentum - self.forcing(position)
        return jnp.append(momentum, divergence(velocity)(position))

    def judged_states(self, states: Array, grid: Grid) -> Array:
        """The velocities with their pressure as a fourth component."""
        spectrum = Spectrum(grid)
        pressure = jax.lax.map(lambda velocity: self.pressure(velocity, spectrum), states)
        return jnp.concatenate([states, pressure[:, None]], axis=1)

    def transport_rate(self, state: Array, spectrum: Spectrum) -> Array:
        return advective_rate(jnp.max(jnp.abs(state), axis=(1, 2, 3)), spectrum.k)


def velocity_modes(vorticity: Complex[Array, "*modes"], spectrum: Spectrum) -> Array:
    """Coefficients of (u, v) from those of the vorticity in two dimensions, without mean flow."""
    kx, ky = spectrum.k
    stream = scaled(spectrum.inverse_k_squared, vorticity)
    return jnp.stack([1j * ky * stream, -1j * kx * stream])


def project(modes: Array | Sequence[Array], spectrum: Spectrum) -> Array:
    """The divergence-free part of a vector field's coefficients (Helmholtz-Hodge)."""
    flux = total(scaled(k, component) for k, component in zip(spectrum.k, modes, strict=True))
    squared = total(k**2 for k in spectrum.k)  # of the first derivatives: without Nyquist modes
    potential = scaled(1 / jnp.where(squared == 0, 1.0, squared), flux)
    return jnp.stack([c - scaled(k, potential) for k, c in zip(spectrum.k, modes, strict=True)])


def _modes_of(field: Field, spectrum: Spectrum) -> Array:
    """Coefficients of a field of space evaluated on the grid, components first."""
    grid = spectrum.grid
    values = eqx.filter_jit(eqx.filter_vmap(field))(grid.points.reshape(-1, grid.ndim))
    return spectrum.transform(jnp.moveaxis(values, 0, -1).reshape(*values.shape[1:], *grid.shape))
