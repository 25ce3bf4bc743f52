"""Graphs of atoms: neighbours, periodic images, padding, batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.molecules.atoms import (
    Structure,
    atom_counts,
    displacements,
    join,
    merge,
    pad,
    species_index,
    stack,
    strained,
    total,
)
from jaxpbdl.molecules.neighbours import all_pairs, neighbour_graph

TABLE = (1, 6, 8)


def molecule(count=5, seed=0):
    random = np.random.default_rng(seed)
    positions = 1.2 * np.stack(np.unravel_index(np.arange(count), (2, 2, 4)), 1)
    positions = positions + 0.2 * random.standard_normal((count, 3))
    return Structure(random.choice(TABLE, count), positions)


def crystal():
    cell = np.array([[2.0, 0.3, 0.0], [0.0, 2.2, 0.1], [0.4, 0.0, 2.5]])
    positions = np.array([[0.1, 0.2, 0.3], [1.1, 1.3, 1.2]])
    return Structure(np.array([6, 8]), positions, cell, (True, True, True))


def edges(graph):
    """Who sees whom, and along what."""
    mask = np.asarray(graph.edge_mask)
    along = np.round(np.asarray(displacements(graph))[mask], 6)
    ends = np.stack([np.nonzero(mask)[0], np.asarray(graph.senders)[mask]], 1)
    return sorted(
        (*map(int, end), *map(float, vector)) for end, vector in zip(ends, along, strict=True)
    )


@pytest.mark.x64
def test_neighbours_of_a_molecule_are_the_near_pairs():
    structure = molecule(9)
    near, everyone = neighbour_graph(structure, 2.0, TABLE), all_pairs(structure, TABLE)
    assert 0 < len(edges(near)) < len(edges(everyone)) == 9 * 8
    assert edges(near) == [e for e in edges(everyone) if np.linalg.norm(e[2:]) < 2]
    np.testing.assert_array_equal(np.asarray(TABLE)[near.species], structure.numbers)


@pytest.mark.x64
def test_periodic_neighbours_by_brute_force():
    structure, cutoff = crystal(), 4.5  # beyond the cell, so that atoms see their own images
    found = edges(neighbour_graph(structure, cutoff, TABLE))
    expected = []
    for shift in np.ndindex(9, 9, 9):
        moved = structure.positions + (np.array(shift) - 4) @ structure.cell
        for i, x in enumerate(structure.positions):
            for j, y in enumerate(moved):
                if 1e-9 < np.linalg.norm(y - x) < cutoff:
                    expected.append((i, j, *(float(v) for v in np.round(y - x, 6))))
    np.testing.assert_allclose(found, sorted(expected), atol=2e-6)


@pytest.mark.x64
def test_edges_follow_a_strain():
    graph = neighbour_graph(crystal(), 4.5, TABLE)
    strain = 0.1 * jax.random.normal(jax.random.key(0), (1, 3, 3))
    before, after = displacements(graph), displacements(strained(graph, strain))
    np.testing.assert_allclose(after, before @ (jnp.eye(3) + strain[0]), atol=1e-12)


@pytest.mark.x64
def test_a_batch_is_one_graph_of_components():
    structures = [molecule(4), molecule(7, 1), molecule(2, 2)]
    graphs = [neighbour_graph(s, 2.5, TABLE) for s in structures]
    joined, merged = join(graphs, 20, 9), jax.jit(merge)(stack(graphs))
    for batch in (joined, merged):
        np.testing.assert_array_equal(atom_counts(batch), [4, 7, 2])
        sums = [np.sum(s.positions, 0) for s in structures]
        np.testing.assert_allclose(total(batch, batch.positions), sums)
        mask = np.asarray(batch.edge_mask)
        own = np.broadcast_to(np.asarray(batch.component)[:, None], mask.shape)
        np.testing.assert_array_equal(np.asarray(batch.component)[batch.senders][mask], own[mask])
        alone = [np.asarray(displacements(g))[np.asarray(g.edge_mask)] for g in graphs]
        np.testing.assert_allclose(displacements(batch)[mask], np.concatenate(alone), atol=1e-12)
        assert not np.any(displacements(batch)[~mask])
    assert joined.senders.shape == (20, 9) and merged.positions.shape == (21, 3)


def test_a_graph_larger_than_its_padding():
    graph = all_pairs(molecule(5), TABLE)
    with pytest.raises(ValueError, match="needs atoms >= 5 and slots >= 4, but the padding is to"):
        pad(graph, 5, 3)
    with pytest.raises(ValueError, match="needs atoms >= 10 and slots >= 4"):
        join([graph, graph], 9, 4)


def test_refused():
    structure = molecule(5)
    with pytest.raises(ValueError, match=r"known species \[1, 6\], got \[7, 8\]"):
        species_index([8, 1, 7], (1, 6))
    twice = np.concatenate([structure.positions, structure.positions[:1] + 0.01])
    double = Structure(np.append(structure.numbers, 1), twice)
    for build in (lambda s: all_pairs(s, TABLE), lambda s: neighbour_graph(s, 3.0, TABLE)):
        with pytest.raises(ValueError, match="atoms 0 and 5 are 0.0173 apart"):
            build(double)
    with pytest.raises(ValueError, match="cutoff must be finite and > 0, got -1"):
        neighbour_graph(structure, -1, TABLE)
    with pytest.raises(ValueError, match="infinitely many"):
        all_pairs(crystal(), TABLE)
    with pytest.raises(ValueError, match="needs a cell of three independent"):
        Structure(structure.numbers, structure.positions, periodic=(True, False, False))
    with pytest.raises(ValueError, match="forces must have shape"):
        Structure(structure.numbers, structure.positions, forces=np.zeros((4, 3)))
