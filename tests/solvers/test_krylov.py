"""GMRES on small matrices: the solution, restarts, the accuracy wanted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.solvers.krylov import gmres


@pytest.mark.x64
@pytest.mark.parametrize("restart", [5, 40])
def test_solves_a_matrix_without_symmetry(restart):
    random = np.random.default_rng(0)
    matrix = jnp.asarray(2 * np.eye(30) + 0.15 * random.normal(size=(30, 30)))
    right = jnp.asarray(random.normal(size=30))

    @jax.jit
    def found(tolerance):
        return gmres(lambda x: matrix @ x, right, tolerance=tolerance, restart=restart)

    np.testing.assert_allclose(found(1e-12), jnp.linalg.solve(matrix, right), rtol=1e-9)
    left = jnp.linalg.norm(matrix @ found(1e-3) - right) / jnp.linalg.norm(right)
    assert 1e-6 < left <= 1e-3  # no more work than wanted
    nothing = jax.jit(lambda b: gmres(lambda x: matrix @ x, b, tolerance=1e-3))(0 * right)
    assert jnp.all(nothing == 0)
