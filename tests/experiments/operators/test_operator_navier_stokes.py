"""Neural operators of a forced flow, tiny but real."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.operators import operator_navier_stokes as flow
from jaxpbdl.fields import curl

TINY = flow.Config(
    grid=16,
    solved=16,
    train=4,
    test=2,
    modes=2,
    width=6,
    unroll=2,
    training=replace(flow.Config.training, batch=2, updates=60),
    coarse=16,
)  # fmt: skip


@pytest.mark.parametrize("operator", ["2d", "3d"])
def test_learns_and_reports(operator, tmp_path, monkeypatch):
    monkeypatch.setattr(flow, "LATER", 5)
    contract.execute(flow.EXPERIMENT, "quick", replace(TINY, operator=operator), tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    # The next snapshots are close to the last; the solver on the same points has no error but dt's.
    assert metrics["solver.relative_l2"] < 0.05 * metrics["persistence.relative_l2"]
    assert metrics["relative_l2"] < 0.9 * metrics["persistence.relative_l2"]
    assert (tmp_path / "vorticity.png").stat().st_size > 10_000


def test_force_has_the_curl_of_the_paper():
    point = jnp.array([0.3, 0.9])
    phase = 2 * np.pi * 1.2
    expected = 0.1 * (np.sin(phase) + np.cos(phase))
    np.testing.assert_allclose(curl(flow.force)(point), expected, rtol=1e-4)


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"unroll must be in \[1, 40\]"):
        flow.Config(unroll=41)
    with pytest.raises(ValueError, match="coarse must divide grid"):
        flow.Config(coarse=12)


def test_goes_on_from_its_own_snapshots():
    network = lambda snapshots: jnp.ones((1, 4, 4))  # noqa: E731
    step = flow.NextSnapshot(network)  # type: ignore[arg-type]
    snapshots = jnp.zeros((10, 4, 4))
    np.testing.assert_allclose(step.later(snapshots, 3)[:, 0, 0], [1, 2, 3])
    assert jax.eval_shape(step, snapshots).shape == snapshots.shape
