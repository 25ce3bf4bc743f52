"""Laws of the networks: the convolution's formula, symmetry, vmap over weights, clear refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.networks import (
    ConvNet,
    Convolution,
    Dense,
    DilatedResNet,
    ResNet,
    UNet,
    parameter_count,
)

GRIDS = [(7,), (9, 6), (5, 4, 3)]
FAMILY = [
    ConvNet,
    ResNet,
    lambda *a, **k: DilatedResNet(*a, depth=1, **k),
    lambda *a, **k: UNet(*a, levels=2, **k),
]


@eqx.filter_jit
def call(net, field):
    return net(field)


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def drawn(make, *args, seed=5, **options):
    """The network `make` builds, with all parameters random, so that none is zero."""
    shapes = eqx.filter_eval_shape(make, *args, **options, key=jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    leaves = [0.3 * normal(seed + i, leaf.shape) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, leaves)


def reference(conv, field):
    """The library's convolution by XLA's, with padding written out axis by axis."""
    ndim = field.ndim - 1
    margin = conv.dilation * (conv.weight.shape[0] - 1) // 2
    for axis, periodic in enumerate(conv.periodic, start=1):
        pad = [(margin, margin) if a == axis else (0, 0) for a in range(ndim + 1)]
        field = np.pad(field, pad, mode="wrap" if periodic else "constant")
    kernel = jnp.moveaxis(conv.weight, (-1, -2), (0, 1))
    result = jax.lax.conv_general_dilated(
        jnp.asarray(field)[None],
        kernel,
        (1,) * ndim,
        "VALID",
        rhs_dilation=(conv.dilation,) * ndim,
        precision="highest",
    )[0]
    return result + conv.bias.reshape(-1, *(1,) * ndim)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (5, 2), (3, 4)])
def test_convolution_is_the_formula(grid, kernel, dilation):
    for periodic in (True, (False,) + (True,) * (len(grid) - 1)):
        conv = drawn(Convolution, len(grid), 2, 3, kernel, dilation=dilation, periodic=periodic)
        field = normal(1, (2, *grid))
        np.testing.assert_allclose(call(conv, field), reference(conv, field), atol=2e-5)


@pytest.mark.parametrize("periodic", [True, False])
def test_convolution_gradients_are_those_of_the_formula(periodic):
    conv = drawn(Convolution, 2, 2, 3, dilation=2, periodic=periodic)
    field, weights = normal(1, (2, 9, 6)), normal(2, (3, 9, 6))

    def padded(field):
        mode = "wrap" if periodic else "constant"
        return jnp.pad(field, [(0, 0), (2, 2), (2, 2)], mode=mode)

    def formula(conv, field):
        kernel = jnp.moveaxis(conv.weight, (-1, -2), (0, 1))
        result = jax.lax.conv_general_dilated(
            padded(field)[None], kernel, (1, 1), "VALID", rhs_dilation=(2, 2)
        )[0]
        return jnp.sum(weights * (result + conv.bias[:, None, None]) ** 2)

    ours = jax.grad(lambda c, f: jnp.sum(weights * c(f) ** 2), (0, 1))(conv, field)
    theirs = jax.grad(formula, (0, 1))(conv, field)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "grid"),
    [(make, (8, 12)) for make in FAMILY] + [(FAMILY[-1], (16,)), (FAMILY[-1], (8, 4, 4))],
)
def test_periodic_networks_commute_with_shifts(make, grid):
    net = drawn(make, len(grid), 2, 1, width=4)
    field = normal(1, (2, *grid))
    axes = tuple(range(1, len(grid) + 1))
    shift = (4,) * len(grid)  # what a U-Net of two levels admits; all others admit any shift
    moved = call(net, jnp.roll(field, shift, axes))
    np.testing.assert_allclose(moved, jnp.roll(call(net, field), shift, axes), rtol=1e-4, atol=1e-4)
    assert not np.allclose(moved, call(net, field), rtol=1e-2)


def test_zero_padding_does_not_wrap():
    conv = drawn(Convolution, 1, 1, 1, periodic=False)
    first = jnp.zeros((1, 8)).at[0, 0].set(1.0)
    change = call(conv, first) - call(conv, 0 * first)
    assert change[0, 0] != 0 and change[0, 1] != 0
    assert jnp.all(change[0, 2:] == 0)


@pytest.mark.parametrize("make", FAMILY)
def test_vmap_over_weights_is_the_loop(make):
    nets = [drawn(make, 2, 1, 1, width=4, seed=seed) for seed in (3, 103, 203)]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)
    field = normal(1, (1, 8, 9))
    together = jax.jit(jax.vmap(lambda net: net(field)))(stack)
    for i, net in enumerate(nets):
        np.testing.assert_allclose(together[i], call(net, field), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("grid", [(4,), (7, 5), (5, 6, 4)])
def test_unet_takes_any_size(grid):
    periodic = (True,) + (False,) * (len(grid) - 1)
    net = drawn(UNet, len(grid), 1, 2, width=2, levels=2, periodic=periodic)
    out = call(net, normal(1, (1, *grid)))
    assert out.shape == (2, *grid)
    assert jnp.all(jnp.isfinite(out))


@pytest.mark.parametrize("make", FAMILY)
def test_zero_last_starts_at_zero(make):
    def start(key):
        return make(1, 2, 1, width=4, zero_last=True, key=key)(normal(1, (2, 8)))

    assert jnp.all(jax.jit(start)(jax.random.key(0)) == 0)


@pytest.mark.parametrize("make", FAMILY)
def test_fault_17_wrong_fields_are_refused_by_name(make):
    net = drawn(make, 2, 2, 1, width=4)
    for shape in [(3, 8, 8), (8, 8), (4, 2, 8, 8), (8, 8, 2)]:
        with pytest.raises(ValueError, match=r"2 channels.*2 grid axes.*got shape"):
            net(jnp.zeros(shape))


def test_too_small_a_grid_names_the_least():
    with pytest.raises(ValueError, match="at least 8 points.*got a grid of \\(16, 7\\)"):
        drawn(UNet, 2, 1, 1, width=2)(jnp.zeros((1, 16, 7)))


def test_wrong_arguments_are_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="kernel must be odd"):
        Convolution(2, 1, 1, 4, key=key)
    with pytest.raises(ValueError, match="periodic must be one bool or 2"):
        Convolution(2, 1, 1, periodic=(True,), key=key)
    with pytest.raises(ValueError, match="in_channels must be an integer >= 1, got 0"):
        Convolution(2, 0, 1, key=key)
    with pytest.raises(ValueError, match="dilations must name depth = 5"):
        ConvNet(2, 1, 1, dilations=(1, 2), key=key)
    with pytest.raises(ValueError, match=r"one vector of shape \(2,\), got shape \(3,\)"):
        Dense((2, 4, 1), key=key)(jnp.zeros(3))


def test_dense_is_its_formula():
    net = drawn(Dense, (3, 8, 5, 2), activation=jnp.sin)
    x = np.asarray(normal(1, (3,)))
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        x = x @ np.asarray(w) + np.asarray(b)
        x = np.sin(x) if i < 2 else x
    np.testing.assert_allclose(net(normal(1, (3,))), x, rtol=1e-4, atol=1e-5)


def test_parameter_count():
    assert parameter_count(Dense((3, 8, 2), key=jax.random.key(0))) == 3 * 8 + 8 + 8 * 2 + 2
    assert parameter_count(Convolution(2, 3, 4, key=jax.random.key(0))) == 9 * 12 + 4


def test_initial_variance_is_kept():
    net = ConvNet(2, 32, 32, depth=8, key=jax.random.key(0))
    assert 0.3 < jnp.mean(call(net, normal(1, (32, 16, 16))) ** 2) < 3


@pytest.mark.parametrize("periodic", [True, False, (True, False)])
def test_gradients_are_the_adjoint(periodic):
    """A convolution is linear in the field and in the weight: <c, conv(t)> = <vjp(c), t>."""
    conv = drawn(Convolution, 2, 2, 3, dilation=2, periodic=periodic, use_bias=False)
    field, cotangent = normal(1, (2, 5, 6)), normal(3, (3, 5, 6))

    def of(weight, field):
        return eqx.tree_at(lambda c: c.weight, conv, weight)(field)

    output, pull = jax.vjp(of, conv.weight, field)
    of_weight, of_field = pull(cotangent)
    tangent, change = normal(2, field.shape), normal(4, conv.weight.shape)
    for paired, direct in (
        (jnp.vdot(of_field, tangent), jnp.vdot(cotangent, of(conv.weight, tangent))),
        (jnp.vdot(of_weight, change), jnp.vdot(cotangent, of(change, field))),
    ):
        np.testing.assert_allclose(paired, direct, rtol=1e-4, atol=1e-4)
