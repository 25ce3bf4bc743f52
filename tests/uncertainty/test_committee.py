"""What the members of a committee disagree on."""

import jax.numpy as jnp
import numpy as np

from jaxpbdl.uncertainty import force_deviation


def test_the_deviation_of_forces():
    """Two atoms, three members: along one axis for the first, along two for the second."""
    forces = np.zeros((3, 2, 3))
    forces[:, 0, 1] = [1.0, 2.0, 6.0]
    forces[:, 1, 0], forces[:, 1, 2] = [0.0, 0.0, 3.0], [4.0, 0.0, 0.0]
    first = np.std([1.0, 2.0, 6.0], ddof=1)
    second = np.hypot(np.std([0.0, 0.0, 3.0], ddof=1), np.std([4.0, 0.0, 0.0], ddof=1))
    found = force_deviation(jnp.asarray(forces, float) + jnp.arange(6.0).reshape(2, 3))
    np.testing.assert_allclose(found, [first, second], rtol=1e-5)
