"""Flow over a step: where walls feel no friction, and a small run."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.flows.backward_step import (
    EXPERIMENT,
    Config,
    crossings,
    friction,
    stepped_channel,
)


def test_crossings_are_roots_of_lines():
    found = crossings(np.array([0.0, 1.0, 3.0, 4.0]), np.array([-1.0, -2.0, 2.0, -6.0]))
    np.testing.assert_allclose(found, [2.0, 3.25])


def test_friction_of_parabolas():
    """Of 3 d + d^2 above the lower wall and -2 d + d^2 below the upper one."""
    grid = Config(cells=8, length=3.0).grid
    y = np.asarray(grid.centres[1])
    profile = np.where(y < 0, 3 * (y + 0.5) + (y + 0.5) ** 2, -2 * (0.5 - y) + (0.5 - y) ** 2)
    step = stepped_channel(Config(cells=8, length=3.0), 100.0)
    flow = step.start()
    along = jnp.broadcast_to(jnp.asarray(profile, grid.dtype), flow.velocity[0].shape)
    lower, upper = friction(flow._replace(velocity=(along, flow.velocity[1])), grid)
    np.testing.assert_allclose(lower, 3, rtol=1e-4)
    np.testing.assert_allclose(upper, -2, rtol=1e-4)


def test_what_enters():
    """A mean of one through the upper half, half of one through the whole."""
    flow = stepped_channel(Config(cells=20, length=3.0), 100.0).start()
    entering = np.asarray(flow.velocity[0][0])
    assert np.all(entering[:10] == 0) and entering.max() == pytest.approx(1.5, rel=0.01)
    assert entering.mean() == pytest.approx(0.5, rel=0.01)


def test_a_small_run(tmp_path):
    """On coarse cells, at a small Reynolds number: 3 heights of the step behind it (Armaly et al.,
    J. Fluid Mech. 127 (1983) 473, figure 4), which is 1.5 of the channel."""
    config = Config(reynolds=(100.0,), cells=12, length=6.0, krylov=40)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"]["lower_reattachment"] == pytest.approx(1.5, rel=0.15)
    assert "upper_separation" not in result["metrics"] and not result["published"]
    assert (tmp_path / "streamlines.png").stat().st_size > 5000
