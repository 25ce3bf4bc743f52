"""Random and classical initial states."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.diagnostics import velocity as velocity_of
from jaxpbdl.equations.navier_stokes import project
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum


def random_field(
    key: PRNGKeyArray,
    grid: Periodic,
    power: Callable[[Array], Array],
    components: tuple[int, ...] = (),
) -> Float[Array, "*components_and_grid"]:
    """A Gaussian random field with zero mean whose mean square per wavenumber shell follows
    `power(k)`, scaled to
    mean square 1 (per component, in expectation over many modes exactly in this sample)."""
    spectrum = Spectrum(grid)
    noise = jax.random.normal(key, components + grid.shape, grid.dtype)
    k = jnp.sqrt(spectrum.k_squared)
    # White noise fills a shell in proportion to its surface k^(d-1).
    safe = jnp.where(k == 0, 1.0, k)
    density = power(safe) / safe ** (grid.ndim - 1)
    amplitude = jnp.where(k == 0, 0.0, jnp.sqrt(jnp.maximum(density, 0.0)))
    field = spectrum.to_grid(spectrum.transform(noise) * amplitude)
    return field / jnp.sqrt(jnp.mean(field**2))


def gaussian_field(
    key: PRNGKeyArray, grid: Periodic, deviation: Callable[[Array], Array]
) -> Float[Array, "*grid"]:
    """A draw of the Gaussian measure with zero mean whose covariance has the waves of the box as
    eigenfunctions (orthonormal over its volume) and `deviation(k)**2` as eigenvalues.

    `lambda k: scale * (k**2 + inverse_length**2) ** -(order / 2)` is the covariance
    `scale^2 (-Laplace + inverse_length^2)^-order`. The wave k = 0 is left out. On a finer grid the
    statistics of the waves that both hold stay the same.
    """
    spectrum = Spectrum(grid)
    noise = spectrum.transform(jax.random.normal(key, grid.shape, grid.dtype))
    k = jnp.sqrt(spectrum.k_squared)
    amplitude = jnp.where(k == 0, 0.0, deviation(jnp.where(k == 0, 1.0, k)))
    return spectrum.to_grid(noise * amplitude) * (grid.size / grid.volume) ** 0.5


def peaked(wavenumber: float, slope: float = 4.0) -> Callable[[Array], Array]:
    """A spectrum k^slope exp(-slope/2 (k / wavenumber)^2), largest at `wavenumber`."""
    checks.positive("wavenumber", wavenumber)
    return lambda k: (k / wavenumber) ** slope * jnp.exp(-slope / 2 * ((k / wavenumber) ** 2 - 1))


def random_vorticity(
    key: PRNGKeyArray, grid: Periodic, peak_wavenumber: float = 4.0, max_speed: float = 1.0
) -> Float[Array, "nx ny"]:
    """Vorticity of a random two-dimensional flow whose energy peaks at `peak_wavenumber` and whose
    largest speed is `max_speed`. The same key gives the same large scales on grids that share the
    noise only; to compare grids draw on
    the finest and `resample`."""
    energy = peaked(peak_wavenumber)
    field = random_field(key, grid, lambda k: k**2 * energy(k))
    speed = jnp.sqrt(jnp.max(jnp.sum(velocity_of(field, grid) ** 2, axis=0)))
    return field * (max_speed / speed)


def random_velocity(
    key: PRNGKeyArray, grid: Periodic, peak_wavenumber: float = 4.0, energy: float = 0.5
) -> Float[Array, "dim *grid"]:
    """A divergence-free random velocity with the given mean kinetic energy, peaked at
    `peak_wavenumber`.
    """
    spectrum = Spectrum(grid)
    noise = random_field(key, grid, peaked(peak_wavenumber), (grid.ndim,))
    field = spectrum.to_grid(project(spectrum.transform(noise), spectrum))
    return field * jnp.sqrt(
        energy / (0.5 * jnp.sum(jnp.mean(field**2, axis=tuple(range(1, grid.ndim + 1)))))
    )


def taylor_green_2d(
    grid: Periodic, time: float = 0.0, viscosity: float = 0.0, wavenumber: float = 1.0
) -> Float[Array, "nx ny"]:
    """Vorticity 2 k cos(k x) cos(k y) exp(-2 viscosity k^2 t): an exact solution on a box of whole
    wavelengths
    (Taylor and Green, Proc. R. Soc. A 158 (1937) 499)."""
    x, y = grid.coordinates
    decay = np.exp(-2 * viscosity * wavenumber**2 * time)
    return 2 * wavenumber * jnp.cos(wavenumber * x) * jnp.cos(wavenumber * y) * decay


def taylor_green_3d(grid: Periodic) -> Float[Array, "3 nx ny nz"]:
    """Velocity (sin x cos y cos z, -cos x sin y cos z, 0), the start of the breakdown to turbulence
    (Brachet et al., J. Fluid Mech. 130 (1983) 411)."""
    x, y, z = grid.coordinates
    u = jnp.sin(x) * jnp.cos(y) * jnp.cos(z)
    v = -jnp.cos(x) * jnp.sin(y) * jnp.cos(z)
    return jnp.stack([u, v, jnp.zeros_like(u)])
