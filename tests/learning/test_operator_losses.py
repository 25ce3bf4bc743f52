"""The losses of maps between functions, by hand; a small operator that learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import Samples, fit, relative_h1_loss, relative_l2_loss
from jaxpbdl.networks import FNO


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def nothing(field):
    return 0 * field


@pytest.mark.parametrize("loss", [relative_l2_loss, relative_h1_loss])
def test_scale_and_size_of_a_sample_do_not_matter(loss):
    truth = normal(1, (3, 1, 6, 7))
    np.testing.assert_allclose(loss(nothing, (truth, truth)), 1.0, rtol=1e-6)
    sizes = jnp.asarray([1.0, 10.0, 0.1]).reshape(3, 1, 1, 1)
    half = lambda field: 0.5 * field  # noqa: E731
    np.testing.assert_allclose(loss(half, (sizes * truth, sizes * truth)), 0.5, rtol=1e-6)


def test_values_by_hand():
    truth, wrong = normal(1, (2, 1, 8)), normal(2, (2, 1, 8))
    model = lambda field: field  # noqa: E731
    each = [np.linalg.norm(w - t) / np.linalg.norm(t) for w, t in zip(wrong, truth, strict=True)]
    np.testing.assert_allclose(relative_l2_loss(model, (wrong, truth)), np.mean(each), rtol=1e-5)

    def energy(field):
        return np.mean(field**2) + np.mean((8 * np.diff(field)) ** 2)

    each = [np.sqrt(energy(w - t) / energy(t)) for w, t in zip(wrong, truth, strict=True)]
    np.testing.assert_allclose(relative_h1_loss(model, (wrong, truth)), np.mean(each), rtol=1e-5)


@pytest.mark.parametrize("loss", [relative_l2_loss, relative_h1_loss])
def test_a_perfect_prediction_has_a_finite_gradient(loss):
    truth = normal(1, (2, 1, 5))
    slope = jax.grad(lambda s: loss(lambda field: s * field, (truth, truth)))(1.0)
    assert jnp.isfinite(slope)


def test_samples_are_pairs():
    inputs = jnp.arange(20.0)
    samples = Samples(inputs, 3 * inputs, 8)
    a, u = samples(jax.random.key(0))
    assert a.shape == (8,)
    np.testing.assert_array_equal(u, 3 * a)
    assert not np.array_equal(a, samples(jax.random.key(1))[0])
    with pytest.raises(ValueError, match="one output an input, got 20 and 19"):
        Samples(inputs, inputs[1:], 2)


def test_an_fno_learns_the_derivative():
    """One period of waves up to three: a derivative is a factor of each mode."""
    x = np.arange(24) / 24
    amounts = np.asarray(normal(1, (64, 3, 2)))
    k = 2 * np.pi * np.arange(1, 4)[:, None]
    waves = np.stack([np.cos(k * x), np.sin(k * x)], 1)
    slopes = np.stack([-np.sin(k * x), np.cos(k * x)], 1) * k[..., None] / 10
    inputs, outputs = (np.einsum("nkp,kpx->nx", amounts, w)[:, None] for w in (waves, slopes))
    pairs = Samples(inputs.astype(np.float32), outputs.astype(np.float32), 16)
    net = FNO(1, 1, 1, modes=4, width=8, depth=2, hidden=16, key=jax.random.key(0))
    fitted, history = fit(
        net, relative_l2_loss, pairs, optax.adam(1e-2), 200, key=jax.random.key(1), progress=False
    )
    assert history.loss[-20:].mean() < 0.2 * history.loss[0]
