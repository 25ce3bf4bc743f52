"""The network that knows the time, distances of samples, and trees of states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.generative import (
    TimeDense,
    Waves,
    integrate,
    midpoint,
    plain,
    sliced_wasserstein,
    squared_mmd,
)


def test_what_the_network_sees():
    """Without hidden layers it is linear: its weights say what each input does."""
    network = TimeDense(2, (), condition=3, embed=Waves(1), key=jax.random.key(0))
    x, t = jnp.array([0.5, -1.0]), jnp.array(0.25)
    condition = {"a": jnp.array(3.0), "b": jnp.array([[4.0, 5.0]])}
    features = jnp.array([0.5, -1.0, 0.25, 0.5**0.5, 0.5**0.5, 3.0, 4.0, 5.0])
    expected = features @ network.network.weights[0]
    np.testing.assert_allclose(network(x, t, condition), expected, rtol=1e-5)
    assert plain(t).shape == (1,) and Waves(3)(t).shape == (7,)


def test_squared_mmd_of_gaussians():
    """Of N(m, I) and N(0, I) the mean of k(x, y) is b^2 / w exp(-|m|^2 / (2 w)), w = b^2 + 2."""
    bandwidth, shift = 1.5, jnp.array([1.0, -0.5])
    x, y, again = jax.random.normal(jax.random.key(0), (3, 3000, 2))
    apart = squared_mmd(x + shift, y, bandwidth)
    wide = bandwidth**2 + 2
    expected = 2 * bandwidth**2 / wide * (1 - np.exp(-float(shift @ shift) / (2 * wide)))
    assert float(apart) == pytest.approx(expected, rel=0.1)
    assert abs(float(squared_mmd(again, y, bandwidth))) < 2e-3


def test_squared_mmd_has_no_bias():
    draw = jax.vmap(lambda key: squared_mmd(*jax.random.normal(key, (2, 5, 2))))
    values = jax.jit(draw)(jax.random.split(jax.random.key(0), 4000))
    assert float(jnp.mean(values)) == pytest.approx(0, abs=4 * float(jnp.std(values)) / 4000**0.5)
    assert 0.3 < float(jnp.mean(values < 0)) < 0.8


def test_sliced_wasserstein_of_a_shift():
    """What a shift is along a random direction has the mean square |shift|^2 / dim."""
    x = jax.random.normal(jax.random.key(0), (100, 3))
    shift = jnp.array([1.0, 2.0, -2.0])
    mixed = jax.random.permutation(jax.random.key(2), x + shift)
    found = sliced_wasserstein(x, mixed, jax.random.key(1), 2000)
    assert float(found) == pytest.approx(3 / 3**0.5, rel=0.05)
    assert float(sliced_wasserstein(x, x[::-1], jax.random.key(1))) == 0


@pytest.mark.x64
def test_a_tree_is_integrated():
    """A pendulum from the top of its swing, and the time; from 1 to 3."""

    def rate(state, t):
        return {"x": state["v"], "v": -state["x"], "t": jnp.ones_like(t)}

    start = {"x": jnp.array(1.0), "v": jnp.array(0.0), "t": jnp.array(1.0)}
    found = jax.jit(lambda s: integrate(rate, s, 200, midpoint, begin=1.0, end=3.0))(start)
    expected = {"x": np.cos(2), "v": -np.sin(2), "t": 3.0}
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, abs=1e-4), name
    times = integrate(lambda x, t: t, jnp.array(0.0), 10, midpoint, begin=1.0, end=3.0)
    assert float(times) == pytest.approx(4)


def test_bad_input():
    x = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="x must hold at least two samples, got 1"):
        squared_mmd(x[:1], x)
    with pytest.raises(ValueError, match="bandwidth must be finite and > 0, got 0"):
        squared_mmd(x, x, 0.0)
    with pytest.raises(ValueError, match="directions must be an integer >= 1, got 0"):
        sliced_wasserstein(x, x, jax.random.key(0), 0)
    with pytest.raises(ValueError, match="count must be an integer >= 1, got 0"):
        Waves(0)
    with pytest.raises(ValueError, match="dim must be an integer >= 1, got 0"):
        TimeDense(0, (4,), key=jax.random.key(0))
    network = TimeDense(2, (4,), condition=1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"expects one vector of shape \(4,\), got shape \(3,\)"):
        network(jnp.ones(2), jnp.array(0.5))
    with pytest.raises(ValueError, match="steps must be an integer >= 1, got -1"):
        integrate(lambda x, t: x, x, -1)
