"""Sums over points that devices share, with their gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.distributed import mesh, sum_points


def weigh(model, point):
    return model / point[0]


@pytest.mark.parametrize("weights", [None, jnp.linspace(1.0, 2.0, 7)])
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("devices", [1, 2])
def test_fault_21_devices_and_chunks_need_not_divide_the_points(devices, count, weights):
    assert len(jax.devices()) > 1  # see conftest
    points = jnp.arange(1.0, count + 1)[:, None]
    weights = None if weights is None else weights[:count]

    def total(model):
        shared = mesh("points", jax.devices()[:devices])
        return sum_points(weigh, model, points, weights=weights, chunk=2, mesh=shared)

    expected = float(jnp.sum((1.0 if weights is None else weights) / points[:, 0]))
    value, slope = jax.value_and_grad(lambda model: 3 * total(model))(2.0)
    np.testing.assert_allclose([value, slope], [6 * expected, 3 * expected], rtol=1e-6)
    np.testing.assert_allclose(total(2.0), 2 * expected, rtol=1e-6)


def test_points_are_shared_out():
    """Each device works on its own chunks."""

    def total(points):
        return sum_points(weigh, 1.0, points, chunk=4, mesh=mesh("points", jax.devices()[:2]))

    text = jax.jit(total).lower(jnp.ones((16, 3))).as_text()
    assert "tensor<8x3xf32>" in text and "2x4x3xf32" in text


def test_bad_input():
    for points in (jnp.zeros((0, 2)), 1.0):
        with pytest.raises(ValueError, match="points must have a first axis of at least 1"):
            sum_points(weigh, 1.0, points)
    with pytest.raises(ValueError, match=r"mesh must have the axis 'points', got .*'member'"):
        sum_points(weigh, 1.0, jnp.ones((3, 2)), mesh=mesh("member"))
