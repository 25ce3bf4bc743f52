"""Pulses through the step: what the tasks are, and a run of few steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.control import quantum_control as qc
from jaxpbdl.solvers import quantum

pytestmark = pytest.mark.x64
CONFIG = qc.Config(
    tries=1, steps=12, lambda_times=(0.9,), transmon_slices=40, detunings=3, points=48
)


def test_the_shortest_pulses_are_known():
    """A pulse of area pi turns a qubit over; mixing by sqrt(3) pi carries one of three levels to
    the last, along the great circle of the optimal control."""
    band = qc.robust(CONFIG).system
    plain = quantum.HeldPulse(jnp.array([[np.pi / 2, 0.0]]), jnp.pi, quantum.WithinBall(1.0))
    infidelities = band.infidelities(plain)
    assert float(infidelities[1]) < 1e-12 < 1e-3 < float(infidelities[0])
    assert float(infidelities[0]) == pytest.approx(float(infidelities[2]), rel=1e-6)


def test_a_transmon_leaks():
    """A short pulse without its second part leaves the two lowest levels."""
    task = qc.transmon(CONFIG)
    final = task.system.final(task.first(jax.random.key(0)))
    assert final.shape == (3, 2)
    norms = jnp.linalg.norm(final, axis=0)
    np.testing.assert_allclose(norms, 1, rtol=1e-12)
    assert float(jnp.max(jnp.abs(final[2]))) > 1e-3
    assert task.system.target[2].tolist() == [0, 0]


def test_a_run_of_few_steps(tmp_path):
    found = execute(qc.EXPERIMENT, "quick", CONFIG, tmp_path).metrics
    assert found["qubit.infidelity"] < 1e-10
    assert found["transmon.infidelity"] < 1e-6
    assert 0.05 < found["lambda_0_90.infidelity"] < 0.08
    assert found["condensate.infidelity"] < found["smooth_path.infidelity"]
    assert found["rectangular.infidelity"] == pytest.approx(0.01, rel=0.01)
    assert (tmp_path / "pulses.png").exists()
