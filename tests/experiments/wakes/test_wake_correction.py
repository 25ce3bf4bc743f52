"""wake-correction, tiny: packed states, coarse targets without divergence, a network that helps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.wakes.flow import Setting, coarsened, solenoidal
from jaxpbdl.experiments.wakes.wake_correction import EXPERIMENT, Config, run

CELLS = (32, 16)


@pytest.fixture(scope="module")
def solvers():
    setting = Setting(CELLS, finer=2, dt=0.15)
    return setting.solver(), setting.solver(2)


def test_packed_states(solvers):
    """A step of a packed state is a step of the flow at the viscosity that it names."""
    coarse, _ = solvers
    start = coarse.flow.start((1.0, 0.0))
    state = coarse.packed(start.velocity, 0.01)
    after = jax.jit(coarse)(state)
    *velocity, viscosity = coarse.unpacked(after)
    assert viscosity[0] == pytest.approx(0.01)
    for mine, other in zip(velocity, coarse.flow(start).velocity, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)


def test_targets_and_corrections_have_no_divergence(solvers):
    coarse, fine = solvers
    state = fine.packed(fine.flow.start((1.0, 0.0)).velocity, 0.02)
    small = coarsened(fine, coarse, state)
    *velocity, _ = coarse.unpacked(small)
    assert jnp.max(jnp.abs(coarse.flow.divergence(tuple(velocity)))) < 1e-5
    assert velocity[0][0].mean() == pytest.approx(1.0, rel=1e-3)
    increment = solenoidal(coarse, jax.random.normal(jax.random.key(0), (2, *CELLS)))
    *change, viscosity = coarse.unpacked(increment)
    assert jnp.max(jnp.abs(coarse.flow.divergence(tuple(change)))) < 1e-4
    assert viscosity[0] == 0 and jnp.all(change[0][0] == 0)


def test_a_tiny_run(tmp_path):
    """A few dozen updates already correct the coarse solver at a Reynolds number between."""
    config = Config(
        train=(60.0, 140.0),
        test=(100.0,),
        cells=CELLS,
        finer=2,
        warm_up=20,
        frames=12,
        asked=5,
        width=8,
        depth=2,
        batch=2,
        unroll=2,
        updates=40,
    )
    result = run(config, tmp_path)
    assert result.metrics["corrected.relative_l2"] < 0.9 * result.metrics["coarse.relative_l2"]
    assert (tmp_path / "wakes.png").stat().st_size > 10_000


def test_presets_and_settings():
    assert set(EXPERIMENT.presets) == {"quick", "full"}
    with pytest.raises(ValueError, match="must not repeat"):
        Config(train=(60.0, 73.0), test=(73.0,))
    with pytest.raises(ValueError, match="updates"):
        Config(updates=0)
