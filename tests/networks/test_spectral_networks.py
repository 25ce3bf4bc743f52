"""Laws of the networks in Fourier space: both transforms agree, and no law knows the resolution."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.networks import (
    FNO,
    FactorisedSpectralConvolution,
    SpectralConvolution,
    parameter_count,
)
from jaxpbdl.networks.spectral_convolution import by_fft, by_products

KEY = jax.random.key(0)
CASES = [((9,), 4), ((16,), 8), ((9, 12), (3, 5)), ((5, 6, 7), (2, 3, 4))]
KINDS = [SpectralConvolution, FactorisedSpectralConvolution]
FNOS = [
    {},
    {"factorised": True},
    {"padding": 0.25, "coordinates": True},
    {"mixer": 6, "modes": (3, 2)},
]


@eqx.filter_jit
def call(net, field):
    return net(field)


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def fno(**options):
    return FNO(2, 2, 1, **{"modes": 3, "width": 5, "depth": 2, "hidden": 7, **options}, key=KEY)


def smooth(points):
    """Two functions of three waves along each axis at most, on any grid."""
    x, y = np.meshgrid(np.arange(points) / points, np.arange(points) / points, indexing="ij")
    first = np.sin(2 * np.pi * x) + 0.3 * np.cos(2 * np.pi * (2 * y + x))
    return jnp.asarray(np.stack([first, np.cos(2 * np.pi * (x - 2 * y))]), jnp.float32)


def definition(conv, field):
    """The formula, mode by mode, in complex numbers."""
    grid = field.shape[1:]
    weight = np.asarray(conv.weight[..., 0, :, :] + 1j * conv.weight[..., 1, :, :], complex)
    points = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"))
    result = np.zeros((weight.shape[-1], *grid))
    for index in np.ndindex(*weight.shape[:-2]):
        k = [i - (m - 1) for i, m in zip(index[:-1], conv.modes, strict=False)] + [index[-1]]
        phase = sum(
            2 * np.pi * a * x / n
            for a, x, n in zip(k, points, grid, strict=True)
        )  # fmt: skip
        axes = tuple(range(1, field.ndim))
        coefficient = np.mean(np.asarray(field) * np.exp(-1j * phase), axes)
        wave = (2 if k[-1] else 1) * np.exp(1j * phase)
        result += np.real(np.multiply.outer(coefficient @ weight[index], wave))
    return result


@pytest.mark.parametrize(("grid", "modes"), CASES)
def test_both_transforms_are_the_formula(grid, modes):
    conv = SpectralConvolution(len(grid), 2, 3, modes, key=KEY)
    field = normal(1, (2, *grid))
    last = jnp.moveaxis(field, 0, -1)
    products, fft = (
        jax.jit(f, static_argnums=2)(conv.weight, last, conv.modes) for f in (by_products, by_fft)
    )
    np.testing.assert_allclose(products, fft, atol=1e-5)
    np.testing.assert_allclose(call(conv, field), definition(conv, field), atol=1e-5)


@pytest.mark.parametrize(("grid", "modes"), CASES[1:])
def test_both_transforms_have_one_gradient(grid, modes):
    conv = SpectralConvolution(len(grid), 2, 3, modes, key=KEY)
    field, weights = normal(1, (*grid, 2)), normal(2, (*grid, 3))

    def gradient(apply):
        loss = lambda w, f: jnp.sum(weights * apply(w, f, conv.modes) ** 2)  # noqa: E731
        return jax.jit(jax.grad(loss, (0, 1)))(conv.weight, field)

    for a, b in zip(gradient(by_products), gradient(by_fft), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(jnp.max(jnp.abs(b))))


def test_the_fast_transform_serves_large_grids():
    conv = SpectralConvolution(1, 1, 1, 40, key=KEY)
    field = normal(1, (1, 90))
    np.testing.assert_allclose(call(conv, field), definition(conv, field), atol=1e-5)
    assert "fft" in str(jax.make_jaxpr(conv)(field))
    assert "fft" not in str(jax.make_jaxpr(conv)(normal(1, (1, 300))))


def test_factorised_is_the_sum_over_axes():
    conv = FactorisedSpectralConvolution(2, 2, 3, (3, 4), key=KEY)
    field = normal(1, (2, 6, 9))
    expected = 0
    for axis, (weight, modes) in enumerate(zip(conv.weights, conv.modes, strict=True)):
        line = eqx.tree_at(lambda c: c.weight, SpectralConvolution(1, 2, 3, modes, key=KEY), weight)
        expected = expected + jax.vmap(line, in_axes=2 - axis, out_axes=2 - axis)(field)
    np.testing.assert_allclose(conv(field), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("grid", "modes"), CASES)
def test_convolutions_commute_with_shifts(kind, grid, modes):
    conv = kind(len(grid), 2, 3, modes, key=KEY)
    field, axes = normal(1, (2, *grid)), tuple(range(1, len(grid) + 1))
    shift = tuple(range(1, len(grid) + 1))
    np.testing.assert_allclose(
        call(conv, jnp.roll(field, shift, axes)),
        jnp.roll(call(conv, field), shift, axes),
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_energy_is_kept_at_the_start(kind):
    field = normal(1, (32, 17, 17))
    conv = kind(2, 32, 32, 9, key=KEY)
    assert 0.7 < float(jnp.mean(conv(field) ** 2)) < 1.4


@pytest.mark.parametrize("options", FNOS)
def test_resolution_does_not_matter(options):
    net = fno(**options)
    coarse, fine, finest = (call(net, smooth(n)) for n in (32, 64, 128))
    # Continued by zeros a field jumps at the edge of the box: first order in the spacing.
    tolerance = 0.15 if "padding" in options else 0.02
    first, second = coarse - fine[:, ::2, ::2], fine - finest[:, ::2, ::2]
    assert jnp.std(first) < tolerance * jnp.std(finest)
    assert jnp.std(second) < 0.6 * jnp.std(first) + 1e-5


@pytest.mark.parametrize("options", FNOS)
def test_gradient_reaches_every_leaf(options):
    field = normal(1, (2, 9, 10))
    slopes = eqx.filter_jit(eqx.filter_grad(lambda net: jnp.sum(net(field) ** 2)))(fno(**options))
    for path, slope in jax.tree_util.tree_leaves_with_path(slopes):
        assert jnp.all(jnp.isfinite(slope)), path
        assert jnp.any(slope != 0), path
        assert jnp.issubdtype(slope.dtype, jnp.floating), path


@pytest.mark.parametrize("options", FNOS)
def test_vmap_is_the_loop(options):
    nets = [fno(**options)]
    nets.append(jax.tree.map(lambda leaf: 1.1 * leaf, nets[0]))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)
    fields = normal(1, (2, 2, 7, 8))
    together = jax.jit(jax.vmap(lambda net: jax.vmap(net)(fields)))(stacked)
    for i, net in enumerate(nets):
        for j, field in enumerate(fields):
            np.testing.assert_allclose(together[i, j], call(net, field), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", [(11,), (8, 9), (5, 6, 7)])
def test_fno_in_every_dimension(grid):
    net = FNO(len(grid), 1, 3, modes=2, width=4, depth=2, coordinates=True, key=KEY)
    assert call(net, normal(1, (1, *grid))).shape == (3, *grid)


def test_zero_last_starts_at_zero():
    assert jnp.all(call(fno(zero_last=True), normal(1, (2, 8, 8))) == 0)


def test_parameter_count():
    conv = SpectralConvolution(2, 3, 4, (5, 6), key=KEY)
    assert parameter_count(conv) == 9 * 6 * 2 * 3 * 4
    factorised = FactorisedSpectralConvolution(2, 3, 4, (5, 6), key=KEY)
    assert parameter_count(factorised) == (5 + 6) * 2 * 3 * 4


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_modes_name_the_most(kind):
    conv = kind(2, 1, 1, (4, 5), key=KEY)
    assert conv(jnp.zeros((1, 7, 9))).shape == (1, 7, 9)
    with pytest.raises(ValueError, match=r"modes \(4, 5\).*grid of \(6, 9\).*up to \(3, 5\)"):
        conv(jnp.zeros((1, 6, 9)))


def test_a_complex_field_is_refused():
    with pytest.raises(ValueError, match="FNO expects a real field, got dtype complex64"):
        fno()(jnp.zeros((2, 9), complex))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="modes must be one number or 2"):
        SpectralConvolution(2, 1, 1, (3,), key=KEY)
    with pytest.raises(ValueError, match="modes must be an integer >= 1, got 0"):
        FactorisedSpectralConvolution(2, 1, 1, 0, key=KEY)
    with pytest.raises(ValueError, match="padding must be finite and >= 0"):
        fno(padding=-0.1)
    for net in (fno(coordinates=True), SpectralConvolution(2, 2, 1, 2, key=KEY)):
        with pytest.raises(ValueError, match=r"2 channels.*2 grid axes.*got shape"):
            net(jnp.zeros((3, 8, 8)))
