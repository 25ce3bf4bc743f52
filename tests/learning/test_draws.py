"""Random samples of what is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.learning import Samples

INPUTS = jnp.arange(20.0)


def test_rows_are_drawn_together():
    key = jax.random.key(0)
    samples = Samples(INPUTS, 3 * INPUTS, batch=8)
    a, u = samples(key)
    assert a.shape == (8,)
    np.testing.assert_array_equal(u, 3 * a)
    assert not np.array_equal(a, samples(jax.random.key(1))[0])
    np.testing.assert_array_equal(Samples(INPUTS, batch=8)(key), a)
    x = Samples({"x": INPUTS[:, None], "more": (3 * INPUTS,)}, batch=5)(key)
    assert x["x"].shape == (5, 1)
    np.testing.assert_array_equal(x["more"][0], 3 * x["x"][:, 0])


def test_all_samples_are_drawn_alike():
    drawn = np.asarray(Samples(INPUTS, batch=4000)(jax.random.key(2)))
    counts = np.bincount(drawn.astype(int), minlength=20)
    assert len(counts) == 20 and 120 < counts.min() and counts.max() < 280  # 200, deviation 14


def test_what_cannot_be_drawn_from():
    with pytest.raises(ValueError, match=r"equally many samples, got \[20, 19\]"):
        Samples(INPUTS, INPUTS[1:], batch=2)
    with pytest.raises(ValueError, match="at least one sample, got none"):
        Samples(batch=2)
    with pytest.raises(ValueError, match="at least one sample, got none"):
        Samples(INPUTS[:0], batch=2)
    with pytest.raises(TypeError, match="got a list: stack it"):
        Samples([INPUTS, INPUTS], batch=2)
    with pytest.raises(TypeError, match="along axis 0, got a single number"):
        Samples(INPUTS, 3.0, batch=2)
