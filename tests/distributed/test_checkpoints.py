"""States that are split over devices, on disk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import CheckpointError, RunFolderError
from jaxpbdl.distributed import load_state, save_state, scatter, space_mesh

SHAPE = (4, 6, 2)


@pytest.fixture
def state():
    return {"flow": jax.random.normal(jax.random.key(0), (3, *SHAPE)), "time": jnp.asarray(0.5)}


def test_another_number_of_devices(tmp_path, state):
    """Each array where the state that it is to be like has it."""
    slabs, pencils = (scatter(state, space_mesh(*parts), SHAPE) for parts in ((2,), (1, 2)))
    folder = save_state(tmp_path / "state", slabs)
    for like in (state, slabs, pencils):
        zeros = jax.tree.map(lambda a: jax.device_put(jnp.zeros_like(a), a.sharding), like)
        found = load_state(folder, zeros)
        for name in state:
            np.testing.assert_array_equal(found[name], state[name])
            assert found[name].sharding.is_equivalent_to(like[name].sharding, state[name].ndim)


def test_what_is_damaged_or_other_is_refused(tmp_path, state):
    folder = save_state(tmp_path / "state", state)
    with pytest.raises(RunFolderError, match="exists; give each state a folder"):
        save_state(folder, state)
    with pytest.raises(CheckpointError, match=r"holds arrays .* the state wants"):
        load_state(folder, {**state, "time": jnp.zeros(2)})
    with pytest.raises(CheckpointError, match="holds no complete state"):
        load_state(tmp_path / "none", state)
    data = max(folder.glob("*/d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"is damaged: .*{data.name} changed"):
        load_state(folder, state)
    data.unlink()
    with pytest.raises(CheckpointError, match="went missing"):
        load_state(folder, state)
