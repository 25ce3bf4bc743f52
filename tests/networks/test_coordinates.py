"""Networks of coordinates as they start: variance of what they give, range of their weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.networks import Gated, PirateNet, siren
from jaxpbdl.networks.coordinates import Factorised

KEY = jax.random.key(0)
NORMAL = jax.random.normal(jax.random.key(1), (500, 64))


def test_a_factorised_layer_keeps_the_variance():
    """Whatever the scales, which only change how it is trained."""
    for mean in (0.0, 1.0, 2.0):
        layer = Factorised(64, 64, mean=mean, key=KEY)
        np.testing.assert_allclose(jnp.var(jax.vmap(layer)(NORMAL)), 1.0, rtol=0.1)
        np.testing.assert_allclose(jnp.mean(layer.log_scale), mean, atol=0.1)


@pytest.mark.parametrize("make", [Gated, PirateNet])
def test_networks_of_factorised_layers_start_with_outputs_of_order_one(make):
    network = make(64, 32, key=KEY)
    size = float(jnp.std(jax.vmap(network)(NORMAL)))
    assert 0.2 < size < 1.2


def test_a_pirate_net_starts_linear():
    network = PirateNet(64, 3, key=KEY)
    np.testing.assert_allclose(jax.vmap(network)(NORMAL), jax.vmap(network.last)(NORMAL), rtol=1e-5)


def test_weights_of_a_siren_fill_their_range():
    network = siren((2, 200, 200, 1), frequency=30.0, key=KEY)
    limits = [30.0 / 2, (6 / 200) ** 0.5, (6 / 200) ** 0.5]
    for weight, limit in zip(network.weights, limits, strict=True):
        assert 0.97 * limit < float(jnp.max(jnp.abs(weight))) <= limit
        np.testing.assert_allclose(jnp.std(weight), limit / 3**0.5, rtol=0.1)
