"""The gradient check of the benchmark of Mosaic's protocol."""

import sys
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

mosaic = import_module("mosaic")

pytestmark = pytest.mark.x64


def test_the_check_passes_a_right_gradient_and_no_wrong_one():
    start, key = mosaic.start_2d(8), jax.random.key(0)
    flow = mosaic.flow_2d(8, 3)
    right = mosaic.fd_check(flow, start, 4, key, (1e-2, 1e-3))
    assert right.error < 1e-6 and right.cosine > 1 - 1e-9

    @jax.custom_jvp
    def wrong(start):
        return flow(start)

    @wrong.defjvp
    def _(primals, tangents):
        value, change = jax.jvp(flow, primals, tangents)
        return value, change * jnp.asarray([1.0, -1.0])[:, None, None]

    found = mosaic.fd_check(wrong, start, 4, key, (1e-2, 1e-3))
    assert found.error > 1e-2


def test_velocity_comes_back_from_its_vorticity():
    start = mosaic.start_2d(16)
    assert float(jnp.max(jnp.linalg.norm(start, axis=0))) == pytest.approx(0.3)
    found = mosaic.flow_2d(16, 1)(start)
    assert float(jnp.max(jnp.abs(found - start))) < 0.02


def test_a_horizon_is_measured():
    found = mosaic.horizon(4, 8)
    assert 0 < found.norm < float("inf") and found.seconds > 0 and found.bytes > 0
