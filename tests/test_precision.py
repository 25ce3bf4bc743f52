"""The `x64` marker: float64 for one test, without a trace left in the others."""

import jax
import jax.numpy as jnp
import pytest


@jax.jit
def tenth(x):
    return x / 10


def test_default_is_float32():
    assert tenth(jnp.ones(3)).dtype == jnp.float32


@pytest.mark.x64
def test_marked_is_float64():
    assert jnp.ones(3).dtype == jnp.float64
    value = tenth(jnp.ones(3))
    assert value.dtype == jnp.float64 and float(value[0]) == 0.1


def test_caches_do_not_mix():
    """A function compiled for one precision is compiled again for the other, in either order."""
    tenth.clear_cache()
    for order in ((False, True), (True, False)):
        for wide in order:
            with jax.enable_x64(wide):
                value = tenth(jnp.ones(3))
                assert value.dtype == (jnp.float64 if wide else jnp.float32)
                assert (float(value[0]) == 0.1) == wide
    assert tenth._cache_size() == 2
