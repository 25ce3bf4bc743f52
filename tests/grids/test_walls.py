"""Spectra between walls: bases, eigenvalues of the Laplacian, dealiasing, what is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

import jaxpbdl as jp
from jaxpbdl.grids.walls import Wall, WallBasis

pytestmark = pytest.mark.x64
NO_FLUX, ZERO = Wall.no_flux, Wall.zero
KINDS = list(itertools.product((NO_FLUX, ZERO), repeat=2))
every_kind = pytest.mark.parametrize("sides", KINDS, ids=lambda s: f"{s[0].name}-{s[1].name}")


@pytest.mark.parametrize("n", [4, 5, 12, 13])
@every_kind
def test_transforms_are_those_of_scipy(sides, n):
    """Unnormalised, of the type that the walls ask for; and back."""
    values = jax.random.normal(jax.random.key(n), (2, n, 3))
    basis = WallBasis(n, *sides)
    kind = {"no_flux-no_flux": (scipy.fft.dct, 2), "zero-zero": (scipy.fft.dst, 2)}
    kind |= {"no_flux-zero": (scipy.fft.dct, 4), "zero-no_flux": (scipy.fft.dst, 4)}
    transform, which = kind[f"{sides[0].name}-{sides[1].name}"]
    modes = basis.forward(values, -2)
    np.testing.assert_allclose(modes, transform(np.asarray(values), which, axis=1) / 2, atol=1e-12)
    np.testing.assert_allclose(basis.backward(modes, -2), values, atol=1e-12)


@every_kind
def test_laplacian_of_each_basis_function(sides):
    """Along one axis between walls, with waves along the other."""
    grid = jp.grids.Cells((10, 8), (2.0, 3.0), (1.0, 0.0), periodic=(False, True))
    spectrum = jp.grids.Spectrum(grid, sides=(sides, None))
    x, y = grid.coordinates
    m = 3 if sides[0] == sides[1] else 2.5
    shape = jnp.cos if sides[0] is NO_FLUX else jnp.sin
    values = shape(jnp.pi * m * (x - 1.0) / 2.0) * jnp.cos(2 * jnp.pi * y / 3.0)
    found = spectrum.to_grid(spectrum.laplacian * spectrum.transform(values))
    expected = -((jnp.pi * m / 2) ** 2 + (2 * jnp.pi / 3) ** 2) * values
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert spectrum.modes == (10, 5)
    slope = spectrum.to_grid(spectrum.derivative(spectrum.transform(values), 1))
    np.testing.assert_allclose(
        slope, -2 * jnp.pi / 3 * shape(jnp.pi * m * (x - 1.0) / 2.0) * jnp.sin(2 * jnp.pi * y / 3),
        atol=1e-10,
    )  # fmt: skip


@every_kind
@pytest.mark.parametrize("factors", [2, 3])
def test_products_are_free_of_aliasing(sides, factors):
    """On the kept modes a product equals that on a grid three times as fine (an odd number of
    sines is one again, of two sines the product is a series of its own)."""
    if factors == 2 and sides != (NO_FLUX, NO_FLUX):
        pytest.skip("a square between walls of value zero leaves the space of sines")
    n, keep = 12, 2 / (factors + 1)
    coarse, fine = (jp.grids.Spectrum(jp.grids.Cells(m, 1.0), keep, (sides,)) for m in (n, 3 * n))
    modes = jnp.where(coarse.mask > 0, jax.random.normal(jax.random.key(0), (n,)), 0.0)
    power = coarse.to_modes(coarse.to_grid(modes) ** factors)
    wide = jnp.pad(modes, (0, 2 * n)) * 3  # unnormalised: three times as many points
    right = fine.transform(fine.to_grid(wide) ** factors)[:n] / 3 * coarse.mask
    np.testing.assert_allclose(power, right, atol=1e-10)
    highest = int(np.flatnonzero(coarse.mask).max())
    assert highest >= int(keep * n) - 2, "dealiasing cuts no more than it must"


def test_all_walls_give_real_coefficients_and_waves_in_many_axes_are_exact():
    closed = jp.grids.Spectrum(jp.grids.Cells((4, 5, 6)))
    assert not jnp.iscomplexobj(closed.transform(jnp.ones((4, 5, 6))))
    phase_space = jp.grids.Spectrum(jp.grids.Periodic((4, 5, 3, 4)))
    values = jax.random.normal(jax.random.key(0), (4, 5, 3, 4))
    modes = phase_space.transform(values)
    np.testing.assert_allclose(modes, np.fft.rfftn(values), atol=1e-10)
    np.testing.assert_allclose(phase_space.to_grid(modes), values, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: jp.grids.Spectrum(jp.grids.Periodic(8), sides=(NO_FLUX,)),
            "sides belong to a box",
        ),
        (lambda: jp.grids.Spectrum(jp.grids.Cells(8), sides=(None, None)), "must have 1 entries"),
        (
            lambda: jp.grids.Spectrum(jp.grids.Cells(8, periodic=True), sides=(NO_FLUX,)),
            "axis 0 is periodic",
        ),
        (
            lambda: jp.grids.Spectrum(jp.grids.Cells((4,), edges=(np.array([0, 1, 2, 3, 5.0]),))),
            "equidistant",
        ),
        (
            lambda: jp.solvers.spectral.semilinear(
                jp.equations.Burgers(0.1), jp.grids.Cells(8), 0.1
            ).largest_dt(jnp.ones(8)),
            "axis 0 has walls",
        ),
    ],
)
def test_what_cannot_work_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
