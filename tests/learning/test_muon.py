"""Muon on stacks of matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import muon


def first_update(params, learning_rate=1.0, **settings):
    optimiser = muon(learning_rate, **settings)
    updates, _ = optimiser.update(params, optimiser.init(params), params)
    return updates


def test_every_matrix_of_a_stack_is_made_orthogonal_by_itself():
    # One matrix of the stack has gradients a thousand times as large.
    sizes = jnp.asarray([1.0, 1e3, 1.0])[:, None, None]
    stack = sizes * jax.random.normal(jax.random.key(0), (3, 8, 5))
    updates = first_update({"stack": stack, "alone": stack[1]})
    values = np.linalg.svd(np.asarray(updates["stack"]), compute_uv=False)
    assert values.shape == (3, 5)
    # The quintic iteration takes singular values to about one, not exactly.
    assert values.max() / values.min() < 2
    np.testing.assert_allclose(updates["alone"], updates["stack"][1], rtol=1e-4, atol=1e-5)


def test_updates_are_as_large_as_those_of_adam():
    stack = jax.random.normal(jax.random.key(0), (2, 32, 32))
    size = jnp.sqrt(jnp.mean(first_update(stack) ** 2))
    assert 0.16 < size < 0.24  # 0.2 but for the quintic iteration; Adam's later ones 0.2 to 0.4


def test_vectors_and_thin_matrices_are_left_to_adam():
    params = {
        "bias": jnp.asarray([1.0, -2.0]),
        "row": jnp.ones((4, 1, 3)),
        "number": jnp.asarray(3.0),
    }
    updates, adam = first_update(params), optax.adam(1.0, nesterov=True)
    expected, _ = adam.update(params, adam.init(params), params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)


def test_negative_decay_is_refused():
    with pytest.raises(ValueError, match="weight_decay"):
        muon(1e-3, weight_decay=-1.0)
