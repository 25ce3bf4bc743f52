"""Networks between units: the numbers are those of the data and travel with the model; another
precision inside changes nothing outside."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.networks import FNO, ConvNet, Dense, InPrecision, Standardised, Units

KEY = jax.random.key(0)
CENTRES = np.array([300.0, -2.0])
SCALES = np.array([5.0, 0.25])


@pytest.fixture(scope="module")
def data():
    drawn = np.random.default_rng(0).standard_normal((40, 2, 6, 9))
    return (CENTRES[:, None, None] + SCALES[:, None, None] * drawn).astype(np.float32)


def test_units_are_mean_and_deviation_of_each_channel(data):
    units = Units.of(data)
    assert units.centre.shape == units.scale.shape == (2, 1, 1)
    np.testing.assert_allclose(units.centre.ravel(), CENTRES, atol=0.1)
    np.testing.assert_allclose(units.scale.ravel(), SCALES, rtol=0.05)
    standard = jax.vmap(units.standard)(jnp.asarray(data))
    np.testing.assert_allclose(jnp.mean(standard, (0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.std(standard, (0, 2, 3)), 1, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(units.physical)(standard), data, rtol=1e-6)


def test_units_of_vectors_and_of_a_channel_that_never_changes():
    table = np.stack([np.linspace(0, 4, 9), np.full(9, 0.1)], axis=1)
    units = Units.of(table)
    assert units.centre.shape == (2,)
    np.testing.assert_allclose(units.scale, [np.std(table[:, 0]), 1.0], rtol=1e-6)


def test_the_mean_of_large_data_is_not_lost_to_rounding():
    """A float32 sum over a million numbers near 1e5 is off by more than they vary."""
    values = (1e5 + np.random.default_rng(1).standard_normal((1000, 1, 1000))).astype(np.float32)
    np.testing.assert_allclose(Units.of(values).centre.ravel(), values.astype(float).mean())
    np.testing.assert_allclose(
        Units.of(values).scale.ravel(), values.astype(float).std(), rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(4,), (0, 2, 3)], ids=str)
def test_data_without_samples_or_channels_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(samples, channels, \*grid\)"):
        Units.of(np.ones(shape))


def test_data_that_are_not_finite_are_refused_with_the_channel(data):
    broken = data.copy()
    broken[3, 1, 2, 2] = np.nan
    with pytest.raises(ValueError, match="channel 1"):
        Units.of(broken)


def test_a_standardised_network_answers_in_units(data):
    network = ConvNet(2, 2, 1, width=4, depth=1, key=KEY)
    out = Units(jnp.full((1, 1, 1), 7.0), jnp.full((1, 1, 1), 3.0))
    model = Standardised(network, Units.of(data), out)
    x = jnp.asarray(data)
    standard = (x[0] - model.inputs.centre) / model.inputs.scale
    np.testing.assert_allclose(model(x[0]), 7 + 3 * network(standard), rtol=1e-6)
    with pytest.raises(ValueError, match="2 channels"):
        model(x[0, :1])
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        model(x)


def test_training_leaves_units_alone_and_they_are_saved(data, tmp_path):
    units = Units.of(data)
    model = Standardised(ConvNet(2, 2, 2, width=4, depth=1, key=KEY), units, units)
    trained = jax.tree.leaves(eqx.filter(model, jp.learning.trainable(model)))
    assert len(trained) == len(jax.tree.leaves(eqx.filter(model.network, eqx.is_array)))
    jp.save(model, tmp_path / "model.jaxpbdl")
    again = jp.load(tmp_path / "model.jaxpbdl")
    np.testing.assert_array_equal(again(jnp.asarray(data[0])), model(jnp.asarray(data[0])))


@pytest.mark.parametrize(
    "network",
    [
        FNO(2, 1, 1, modes=4, width=8, depth=2, key=KEY),
        ConvNet(2, 1, 1, width=8, depth=1, key=KEY),
    ],
    ids=["fno", "convolution"],
)
def test_half_precision_inside_single_outside(network):
    x = jax.random.normal(jax.random.key(1), (1, 16, 18))
    half = InPrecision(network)
    exact, rounded = network(x), eqx.filter_jit(half)(x)
    assert rounded.dtype == x.dtype
    error = jnp.linalg.norm(rounded - exact) / jnp.linalg.norm(exact)
    assert 1e-4 < error < 0.05  # it does compute in eight bits, and no worse
    slopes = eqx.filter_grad(lambda model: jnp.mean(model(x) ** 2))(half)
    assert {leaf.dtype for leaf in jax.tree.leaves(slopes)} == {jnp.dtype("float32")}


def test_half_precision_trains_in_single_precision():
    """Changes below what bfloat16 resolves (1/256) add up."""
    start = Dense((1, 1), key=KEY)
    half = InPrecision(eqx.tree_at(lambda n: n.biases[0], start, jnp.ones(1)))
    moved = half
    for _ in range(8):
        moved = eqx.tree_at(lambda m: m.network.biases[0], moved, replace_fn=lambda b: b + 1e-3)
    assert moved(jnp.zeros(1)) == jnp.asarray(1.008, jnp.bfloat16)
    assert moved(jnp.zeros(1)) != half(jnp.zeros(1))


def test_precisions_that_overflow_or_are_switched_off_are_refused(tmp_path):
    with pytest.raises(ValueError, match="float16"):
        InPrecision(Dense((1, 1), key=KEY), jnp.float16)
    if not jax.config.read("jax_enable_x64"):
        with pytest.raises(ValueError, match="jax_enable_x64"):
            InPrecision(Dense((1, 1), key=KEY), jnp.float64)
    jp.save(InPrecision(Dense((1, 1), key=KEY)), tmp_path / "half.jaxpbdl")
    assert jp.load(tmp_path / "half.jaxpbdl").dtype == jnp.bfloat16
