"""Neighbours found inside jit are those of vesin, stay right while atoms move, never too few."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.molecules import (
    Structure,
    all_pairs,
    displacements,
    neighbour_graph,
    neighbour_search,
)
from jaxpbdl.solvers.molecular import Phase, kinetic_energy, langevin, thermal, verlet

pytestmark = pytest.mark.x64
ARGON = (18,)
EPSILON, SIGMA = 0.0104, 3.4
"""eV, Angstrom."""
SKEW = np.array([[9.0, 0, 0], [2.0, 8.0, 0], [-1.0, 1.5, 10.0]])


def scattered(count, cell, periodic=(True, True, True), seed=0):
    """Atoms at random places, some of them outside the cell."""
    fractions = np.random.default_rng(seed).uniform(-1, 2, (count, 3))
    return Structure(np.full(count, 18), fractions @ cell, cell=cell, periodic=periodic)


def lattice(cells, constant=5.4):
    """Face-centred cubic argon."""
    corner = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]) / 2
    origins = np.stack(np.meshgrid(*(np.arange(cells),) * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    positions = constant * (origins + corner).reshape(-1, 3)
    box = constant * cells * np.eye(3)
    return Structure(np.full(len(positions), 18), positions, cell=box, periodic=(True,) * 3)


def lennard_jones(graph, cutoff=6.0):
    """Shifted to end at zero, with its slope too, so that the energy is smooth."""

    def pair(r):
        return 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6)

    square = jnp.where(graph.edge_mask, jnp.sum(displacements(graph) ** 2, -1), cutoff**2)
    r = jnp.sqrt(jnp.minimum(square, cutoff**2))
    end = jnp.asarray(cutoff, r.dtype)
    return 0.5 * jnp.sum(pair(r) - pair(end) - jax.grad(pair)(end) * (r - end))[None]


def pairs(graph, cutoff):
    """`(i, j, x, y, z)` of every pair within the cutoff, sorted."""
    apart = np.asarray(displacements(graph))
    near = np.asarray(graph.edge_mask) & (np.linalg.norm(apart, axis=-1) <= cutoff)
    i, slot = np.nonzero(near)
    rows = np.column_stack([i, np.asarray(graph.senders)[i, slot], apart[i, slot]])
    return rows[np.lexsort(np.round(rows, 6).T[::-1])]


CASES = {
    "boxes": (500, 5.0 * SKEW, (True, True, True), 7.0),
    "images": (40, SKEW, (True, True, True), 4.0),
    "smaller than the cutoff": (5, 0.5 * SKEW, (True, True, True), 8.7),
    "a slab": (40, SKEW, (True, False, True), 4.0),
    "a molecule": (20, SKEW, (False, False, False), 9.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_neighbours_of_vesin(case):
    pytest.importorskip("vesin")
    count, cell, periodic, cutoff = CASES[case]
    structure = scattered(count, cell, periodic)
    search = neighbour_search(structure, cutoff, ARGON, skin=0.5)
    assert (search.capacity > 0) == (case == "boxes")
    found = eqx.filter_jit(search)(jnp.asarray(structure.positions))
    exact = neighbour_graph(structure, cutoff, ARGON, closest=1e-6)
    np.testing.assert_allclose(pairs(found, cutoff), pairs(exact, cutoff), atol=1e-9)
    assert len(pairs(found, cutoff + 0.5)) > len(pairs(found, cutoff)) > count


def test_a_molecule_as_all_its_pairs():
    structure = scattered(6, SKEW, (False, False, False))
    search = neighbour_search(structure, 50.0, ARGON)
    every = all_pairs(structure, ARGON, closest=1e-6)
    found = search(jnp.asarray(structure.positions))
    np.testing.assert_allclose(pairs(found, 50.0), pairs(every, 50.0), atol=1e-9)


@pytest.fixture
def liquid():
    structure = lattice(3)
    search = neighbour_search(structure, 6.0, ARGON, skin=0.4)
    masses = np.full(108, 39.948)
    return search, masses, thermal(jax.random.key(0), search.template.positions, masses, 400.0)


def test_lists_are_made_again_when_atoms_have_moved(liquid):
    """The same trajectory as with a new list in each step, and no drift of the energy, though atoms
    travel further than the skin."""
    search, masses, state = liquid
    step = verlet(lennard_jones, masses, 4.0, neighbours=search)
    always = verlet(lennard_jones, masses, 4.0, neighbours=replace(search, skin=0.0))
    states = jp.rollout(step, state, 250, 50)
    assert states.graph is None
    travelled = jnp.linalg.norm(states.positions[-1] - state.positions, axis=-1)
    assert travelled.max() > 2 * search.skin
    again = jp.rollout(always, state, 250, 50)
    np.testing.assert_allclose(states.positions, again.positions, atol=1e-6)
    stale = verlet(lennard_jones, masses, 4.0, neighbours=replace(search, skin=1e3))
    lost = jp.rollout(stale, state, 250, 50)
    assert jnp.abs(lost.positions - again.positions).max() > 1e-3

    def energy(moment):
        of_pairs = lennard_jones(search(moment.positions))[0]
        return float(of_pairs + kinetic_energy(masses, moment.velocities))

    each = [energy(jax.tree.map(lambda leaf, i=i: leaf[i], states)) for i in range(6)]
    assert np.ptp(each) < 2e-3 < 0.1 * float(kinetic_energy(masses, state.velocities))


def test_gradient_vmap_and_heat_through_lists(liquid):
    search, masses, state = liquid
    step = verlet(lennard_jones, masses, 8.0, neighbours=search)

    @jax.jit
    def end(size):
        start = state._replace(velocities=size * state.velocities)
        return jnp.sum(jp.rollout(step, start, 20, 20).positions[-1] ** 2)

    slope = (end(1 + 1e-6) - end(1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jit(jax.grad(end))(1.0), slope, rtol=1e-6)
    batched = jax.jit(jax.vmap(end))(jnp.array([0.8, 1.0]))
    np.testing.assert_allclose(batched, [end(0.8), end(1.0)], rtol=1e-12)
    bath = langevin(lennard_jones, masses, 8.0, 0.01, 250.0, neighbours=search)
    warmed = jp.rollout(bath, state, 2, 2)
    assert warmed.graph is None and jnp.all(jnp.isfinite(warmed.positions))


def test_fault_29_too_many_neighbours_are_an_error_not_a_wrong_force(liquid):
    search, *_ = liquid
    dense = 0.8 * search.template.positions
    few = replace(search, slots=20)
    with pytest.raises(Exception, match="20 slots"):
        jax.block_until_ready(eqx.filter_jit(few)(dense))
    crowded = neighbour_search(scattered(500, 5.0 * SKEW), 7.0, ARGON, skin=0.5, slots=60)
    assert crowded.capacity > 0
    with pytest.raises(Exception, match="atoms in one of"):
        jax.block_until_ready(
            eqx.filter_jit(crowded)(jnp.ones((500, 3)) * jnp.arange(500)[:, None] / 500)
        )


def test_inadmissible_searches_are_refused():
    structure = scattered(4, SKEW)
    make = partial(neighbour_search, structure)
    for arguments, word in (((0.0, ARGON), "cutoff"), ((4.0, (6,)), "18")):
        with pytest.raises(ValueError, match=word):
            make(*arguments)
    with pytest.raises(ValueError, match="skin"):
        make(4.0, ARGON, skin=0.0)
    with pytest.raises(ValueError, match="slots"):
        make(4.0, ARGON, slots=0)
    with pytest.raises(ValueError, match="positions"):
        search = make(4.0, ARGON)
        verlet(lennard_jones, np.ones(4), 1.0, neighbours=search)(
            Phase(jnp.zeros((3, 3)), jnp.zeros((3, 3)))
        )
