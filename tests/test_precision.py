"""The `x64` marker: float64 for one test, without a trace left in the others."""

import jax
import jax.numpy as jnp
import pytest


@jax.jit
def tenth(x):
    return x / 10


SEEN = []


def test_default_is_float32():
    assert tenth(jnp.ones(3)).dtype == jnp.float32
    SEEN.append(tenth._cache_size())


@pytest.mark.x64
def test_marked_is_float64():
    assert jnp.ones(3).dtype == jnp.float64
    value = tenth(jnp.ones(3))
    assert value.dtype == jnp.float64 and float(value[0]) == 0.1
    SEEN.append(tenth._cache_size())


def test_caches_do_not_mix():
    assert tenth(jnp.ones(3)).dtype == jnp.float32
    assert float(tenth(jnp.ones(3))[0]) != 0.1
    assert tenth._cache_size() == 2 or len(SEEN) < 2
