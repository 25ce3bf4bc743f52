"""Members shared out over devices."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxpbdl.distributed import map_members, mesh


def test_map_members_is_vmap():
    members = {"a": jnp.arange(5.0), "b": jnp.arange(15.0).reshape(5, 3)}

    def function(member, factor):
        return factor * member["a"] + jnp.sum(member["b"] ** 2)

    factors = jnp.linspace(0, 1, 5)
    expected = jax.vmap(function)(members, factors)
    np.testing.assert_allclose(map_members(function, members, factors), expected, rtol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="share a first axis"):
        map_members(jnp.add, jnp.zeros(3), jnp.zeros(4))
    for numbers in (jnp.zeros((0, 2)), 1.0, [1.0, 2.0], None):
        with pytest.raises(ValueError, match="arrays with a first axis of at least 1, got shapes"):
            map_members(jnp.sin, numbers)
    with pytest.raises(ValueError, match=r"mesh must have the axis 'member', got .*'points'"):
        map_members(jnp.sin, jnp.ones(3), mesh=mesh("points"))


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_fault_21_devices_need_not_divide_the_members(members):
    assert len(jax.devices()) > 1  # see conftest
    states = jnp.arange(2.0 * members).reshape(members, 2)
    found = map_members(lambda member: {"sum": member.sum(), "twice": 2 * member}, states)
    np.testing.assert_allclose(found["sum"], states.sum(1))
    np.testing.assert_allclose(found["twice"], 2 * states)
    assert found["sum"].devices() == {jax.devices()[0]}
    on_last = jax.device_put(states, jax.devices()[-1])
    np.testing.assert_allclose(map_members(jnp.sum, on_last), states.sum(1))


def test_members_are_shared_out():
    """Each device works on its own members."""
    places = []

    def function(member):
        jax.debug.callback(lambda: None)
        places.append(jax.typeof(member).shape)
        return member

    text = jax.jit(lambda x: map_members(function, x)).lower(jnp.ones((4, 3))).as_text()
    assert "2x3xf32" in text and places == [(3,)]


def test_no_more_devices_than_members():
    """One member is not computed twice for the sake of the second device."""
    text = jax.jit(lambda x: map_members(jnp.sin, x)).lower(jnp.ones((1, 3))).as_text()
    assert "1x3xf32" in text and "2x3xf32" not in text


def test_fault_23_one_trace_a_shape():
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=2)
    def function(member):
        return 2 * member

    for members, factor in ((3, 1.0), (3, 2.0), (4, 1.0), (4, 3.0)):
        map_members(function, factor * jnp.ones((members, 2)))


def test_a_mesh_chooses_the_devices():
    last = jax.devices()[-2:][::-1]
    for count in (1, 3):
        found = map_members(jnp.sin, jnp.ones(3), mesh=mesh("member", last[:count]))
        np.testing.assert_allclose(found, np.sin(np.ones(3)), rtol=1e-6)
    assert found.devices() == {last[0]}  # the first of the mesh
    grid = Mesh(np.array(jax.devices()[:2]).reshape(1, 2), ("points", "member"))
    np.testing.assert_allclose(map_members(jnp.sin, jnp.ones(3), mesh=grid), found)


class Table(eqx.Module):
    values: jax.Array
    factor: jax.Array

    def __call__(self, rows):
        return self.factor * self.values[rows]


def test_a_function_has_arrays_of_its_own():
    rows = jnp.array([[3, 1], [4, 4], [0, 2]])
    found = map_members(Table(jnp.arange(5.0), jnp.asarray(2.0)), rows)
    np.testing.assert_array_equal(found, 2 * rows)


def test_the_axis_of_a_mesh_and_its_devices():
    assert mesh("points").shape == {"points": len(jax.local_devices())}
    with pytest.raises(
        ValueError, match=r"axis must be one of \('member', 'points', 'batch'\), got 'x'"
    ):
        mesh("x")
    with pytest.raises(ValueError, match="at least one device"):
        mesh("member", [])
