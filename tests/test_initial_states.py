"""Initial states: random fields follow their spectrum, flows have no divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import diagnostics, initial_states

pytestmark = pytest.mark.x64
GRIDS = [((64,), (9.0,)), ((33,), (2.0,)), ((32, 32), (6.0, 6.0)), ((31, 24), (6.0, 4.0)),
         ((16, 15, 12), (6.0, 6.0, 5.0))]  # fmt: skip
every_grid = pytest.mark.parametrize(("shape", "lengths"), GRIDS, ids=str)


@every_grid
def test_random_field_has_zero_mean_and_unit_mean_square(shape, lengths):
    grid = jp.grids.Periodic(shape, lengths)
    field = initial_states.random_field(jax.random.key(0), grid, initial_states.peaked(4.0))
    assert field.shape == shape and abs(jnp.mean(field)) < 1e-13
    np.testing.assert_allclose(jnp.mean(field**2), 1.0, rtol=1e-12)


@pytest.mark.parametrize(("shape", "samples"), [((64,), 2000), ((32, 31), 200), ((16, 17, 18), 50)])
def test_random_field_follows_the_prescribed_spectrum(shape, samples):
    """Averaged over samples: a mode of wavenumber k holds power(k) / k^(d-1). The slope is gentle
    so that scaling every sample to mean square 1 hardly changes the proportions.
    """
    grid = jp.grids.Periodic(shape)

    @jax.jit
    def mean_spectrum(keys):
        def one(key):
            field = initial_states.random_field(key, grid, lambda k: k**-0.5)
            return diagnostics.power_spectrum(field, grid)[1]

        return jnp.mean(jax.vmap(one)(keys), axis=0)

    measured = mean_spectrum(jax.random.split(jax.random.key(1), samples))
    modes = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape))
    k = np.sqrt(sum(m**2 for m in modes)).ravel()
    density = np.where(k == 0, 0.0, np.maximum(k, 1) ** (0.5 - len(shape)))
    expected = np.bincount(np.rint(k).astype(int), density)[:8] / density.sum()
    np.testing.assert_allclose(measured[:8], expected, rtol=0.1, atol=1e-12)


def test_peaked_is_largest_at_its_wavenumber():
    k = np.linspace(0.1, 20, 2000)
    for wavenumber in (2.0, 7.0):
        values = initial_states.peaked(wavenumber)(k)
        assert abs(k[int(jnp.argmax(values))] - wavenumber) < 0.02
        np.testing.assert_allclose(jnp.max(values), 1.0, rtol=1e-4)
    with pytest.raises(ValueError, match="wavenumber must be finite and > 0, got -1"):
        initial_states.peaked(-1)


@pytest.mark.parametrize("shape", [(32, 32), (31, 40)], ids=str)
def test_random_vorticity_has_the_wanted_speed(shape):
    grid = jp.grids.Periodic(shape)
    vorticity = initial_states.random_vorticity(jax.random.key(2), grid, 4.0, max_speed=2.5)
    speed = jnp.sqrt(jnp.sum(diagnostics.velocity(vorticity, grid) ** 2, axis=0))
    np.testing.assert_allclose(jnp.max(speed), 2.5, rtol=1e-12)
    k, energy = diagnostics.energy_spectrum(vorticity, grid)
    assert abs(k[int(jnp.argmax(energy))] - 4.0) <= 1.0


@every_grid
def test_random_velocity_has_no_divergence_and_the_wanted_energy(shape, lengths):
    if len(shape) == 1:
        pytest.skip("a flow without divergence needs two dimensions")
    grid = jp.grids.Periodic(shape, lengths)
    flow = initial_states.random_velocity(jax.random.key(3), grid, energy=0.7)
    assert flow.shape == (len(shape), *shape)
    assert jnp.max(jnp.abs(diagnostics.divergence(flow, grid))) < 1e-11
    np.testing.assert_allclose(diagnostics.kinetic_energy(flow), 0.7, rtol=1e-12)


def test_keys_decide():
    grid, first = jp.grids.Periodic((16, 16)), initial_states.random_vorticity
    same = [first(jax.random.key(k), jp.grids.Periodic((16, 16))) for k in (0, 0, 1)]
    np.testing.assert_array_equal(same[0], same[1])
    assert jnp.max(jnp.abs(same[0] - same[2])) > 0.1 and grid.ndim == 2


def test_taylor_green_decays():
    grid = jp.grids.Periodic((16, 16))
    start, later = (initial_states.taylor_green_2d(grid, t, 0.1, 2.0) for t in (0.0, 1.5))
    np.testing.assert_allclose(later, start * np.exp(-2 * 0.1 * 4 * 1.5), rtol=1e-13)


@every_grid
def test_gaussian_field_has_the_variance_of_its_covariance(shape, lengths):
    """At every point the sum over the waves of the box of their share, deviation^2 / volume."""
    grid = jp.grids.Periodic(shape, lengths)
    deviation = lambda k: 3 / (k**2 + 4)  # noqa: E731
    draw = lambda key: initial_states.gaussian_field(key, grid, deviation)  # noqa: E731
    fields = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), 2000))
    waves = np.meshgrid(
        *(
            2 * np.pi * np.fft.fftfreq(n, length / n)
            for n, length in zip(shape, lengths, strict=True)
        )
    )
    k = np.sqrt(sum(wave**2 for wave in waves))
    expected = np.sum(deviation(k[k > 0]) ** 2) / np.prod(lengths)
    # At single points, whose variances differ by chance alone, and over all of them.
    np.testing.assert_allclose(
        jnp.var(fields[(slice(None), *(3,) * len(shape))]), expected, rtol=0.15
    )
    np.testing.assert_allclose(jnp.mean(fields**2), expected, rtol=0.04)
    np.testing.assert_allclose(fields.mean(axis=tuple(range(1, fields.ndim))), 0, atol=1e-12)
