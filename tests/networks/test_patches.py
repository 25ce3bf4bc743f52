"""The patch network: the folding is exact, patches see their neighbours, bad grids are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.networks import PatchNet
from jaxpbdl.networks.patches import folded, unfolded

GRIDS = [(8,), (6, 10), (4, 2, 6)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_folding_takes_each_patch_apart_and_back(grid):
    field = jnp.arange(3.0 * np.prod(grid)).reshape(3, *grid)
    parts = folded(field, 2)
    points = 2 ** len(grid)
    assert parts.shape == (3 * points, *(n // 2 for n in grid))
    # Channels of a field side by side, in the order of the points of a patch, the last axis first.
    at = (1,) * (len(grid) - 1) + (0,)
    for number, offset in enumerate(np.ndindex(*(2,) * len(grid))):
        place = tuple(2 * a + o for a, o in zip(at, offset, strict=True))
        if all(p < n for p, n in zip(place, grid, strict=True)):
            assert parts[(points + number, *at)] == field[(1, *place)]
    np.testing.assert_array_equal(unfolded(parts, 2), field)


def test_a_patch_sees_itself_and_its_neighbours():
    """A network of two layers of three patches each: two patches to each side, so that points 8 to
    11 depend on points 4 to 15 of 20, all of them."""
    net = PatchNet(1, 1, 2, patch=2, width=5, depth=2, periodic=False, key=jax.random.key(0))
    assert net(jnp.ones((1, 20))).shape == (2, 20)
    slopes = jnp.abs(jax.jacrev(net)(jnp.linspace(-1, 1, 20)[None]))[:, 8:10].sum((0, 1, 2))
    np.testing.assert_array_equal(slopes > 0, [4 <= i < 14 for i in range(20)])


def test_it_starts_at_zero_if_asked():
    field = jax.random.normal(jax.random.key(1), (2, 4, 6))
    net = PatchNet(2, 2, 3, width=4, zero_last=True, key=jax.random.key(0))
    np.testing.assert_array_equal(net(field), jnp.zeros((3, 4, 6)))
    assert jnp.abs(PatchNet(2, 2, 3, width=4, key=jax.random.key(0))(field)).max() > 0.1


def test_shapes_that_do_not_fit_are_refused():
    net = PatchNet(2, 2, 1, patch=3, width=4, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"patch = 3 .* got \(6, 8\)"):
        net(jnp.ones((2, 6, 8)))
    with pytest.raises(ValueError, match=r"2 channels"):
        net(jnp.ones((1, 6, 9)))
    with pytest.raises(ValueError, match="patch"):
        PatchNet(2, 2, 1, patch=0, key=jax.random.key(0))
