"""Equivariant networks: the algebra against e3nn-jax, and how outputs turn with the molecule."""

import e3nn_jax as e3nn
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.molecules.atoms import Structure, pad
from jaxpbdl.molecules.neighbours import all_pairs, neighbour_graph
from jaxpbdl.networks.equivariant import (
    Convolution,
    Gate,
    Potential,
    Radial,
    SymmetricContraction,
    Tensor,
    Trunk,
    bessel,
    contracted_layer,
    gated_layer,
    gaussian,
    kinds,
    polynomial_cutoff,
)
from jaxpbdl.networks.equivariant.algebra import harmonics_of, paths, places

TABLE = (1, 6, 8)
CUTOFF = 2.6
SMALL = {"channels": 4, "functions": 3, "network": (8,), "size": 4}
FAMILIES = {
    "contracted": {"make": contracted_layer(3), "hidden": "0e + 1o"},
    "gated": {"make": gated_layer, "hidden": "0e + 1o + 2e"},
    "distances": {"make": contracted_layer(2), "hidden": "0e", "degree": 0},
}


def molecule(seed=0, count=7):
    random = np.random.default_rng(seed)
    positions = 1.3 * np.stack(np.unravel_index(np.arange(count), (2, 2, 2)), 1)
    return Structure(random.choice(TABLE, count), positions + 0.2 * random.normal(size=(count, 3)))


def graph(structure=None):
    return neighbour_graph(structure or molecule(), CUTOFF, TABLE)


def turn(seed, reflected):
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    return -rotation if reflected else rotation


def moved(structure, rotation, order):
    """Turned, shifted, atoms in another order."""
    positions = structure.positions @ rotation.T + np.array([1.0, -2.0, 3.0])
    return Structure(structure.numbers[order], positions[order])


def random_features(irreps, channels, seed=0, lead=(6,)):
    size = sum(irrep.dim for irrep in irreps)
    return jax.random.normal(jax.random.key(seed), (*lead, size, channels))


@pytest.mark.x64
def test_couplings_are_those_of_e3nn():
    left, right = kinds("0e + 1o + 2e"), harmonics_of(2)
    out = kinds("0e + 1o + 1e + 2e + 3o")
    x, y = random_features(left, 1, 0)[..., 0], random_features(right, 1, 1)[..., 0]
    known = paths(left, right, out)
    assert len(known) == 15

    @jax.jit
    def differences(x, y):
        found = []
        for path in known:
            a, b = x[:, places(left)[path.left]], y[:, places(right)[path.right]]
            ours = jnp.einsum("ni,nj,ijk->nk", a, b, path.coefficients)
            theirs = e3nn.tensor_product(
                e3nn.IrrepsArray(str(path.irreps[0]), a), e3nn.IrrepsArray(str(path.irreps[1]), b),
                filter_ir_out=[path.irreps[2]], irrep_normalization="component",
            )  # fmt: skip
            found.append(jnp.max(jnp.abs(ours - theirs.array)) / jnp.max(jnp.abs(ours)))
        return jnp.stack(found)

    assert np.max(differences(x, y)) < 1e-12


@pytest.mark.x64
def test_a_convolution_is_the_sum_over_edges():
    before, edges, after = kinds("0e + 1o"), harmonics_of(2), kinds("0e + 1o + 2e")
    layer = Convolution(
        before, edges, after, channels=(3, 2), functions=4, size=5**0.5, key=jax.random.key(0)
    )
    features = random_features(before, 3)
    senders = jax.random.randint(jax.random.key(1), (6, 4), 0, 6)
    harmonics = jax.random.normal(jax.random.key(2), (6, 4, 9))
    functions = jax.random.normal(jax.random.key(3), (6, 4, 4))
    got = eqx.filter_jit(layer)(features, senders, harmonics, functions)

    @jax.jit
    def by_edges(features, harmonics, functions):
        x = layer.up(features)
        blocks = [[] for _ in after]
        for path, weight in zip(layer.couplings, layer.radial, strict=True):
            theirs = x[senders][:, :, places(before)[path.left]]
            there = harmonics[..., places(edges)[path.right]]
            weights = functions @ weight  # one weight for each edge and channel, as in NequIP
            each = jnp.einsum("nsik,nsj,ijm,nsk->nsmk", theirs, there, path.coefficients, weights)
            blocks[path.out].append(jnp.sum(each, 1) / 5**0.5)
        return layer.down.blocks([jnp.concatenate(some, -1) for some in blocks])

    np.testing.assert_allclose(got, by_edges(features, harmonics, functions), atol=1e-12)


@pytest.mark.x64
def test_contractions_are_symmetric_powers():
    before, after = harmonics_of(2), kinds("0e + 1o")
    layer = SymmetricContraction(
        before, after, order=3, species=2, channels=2, key=jax.random.key(0)
    )
    x = random_features(before, 2)
    one_hot = jnp.eye(2)[jnp.arange(6) % 2]
    got = eqx.filter_jit(layer)(x, one_hot)
    expected, x = 0, np.asarray(x)
    for degree, weights in enumerate(layer.weights, 1):
        basis = e3nn.reduced_symmetric_tensor_product_basis(
            "0e + 1o + 2e", degree, keep_ir=list(after)
        )
        # Same weights, in the order of e3nn's irreps, on all indices of the power.
        axes = "abc"[:degree]
        factors = ",".join(f"n{axis}k" for axis in axes)
        coupled = np.einsum(f"{factors},{axes}z->nzk", *[x] * degree, np.asarray(basis.array))
        parts = []
        for kind, weight in zip(after, weights, strict=True):
            chosen = np.asarray(weight)[np.arange(6) % 2]
            rows = [
                coupled[:, where].reshape(6, -1, kind.dim, 2)
                for item, where in zip(basis.irreps, basis.irreps.slices(), strict=True)
                if item.ir == kind
            ]
            rows = np.concatenate([np.zeros((6, 0, kind.dim, 2)), *rows], 1)
            parts.append(np.einsum("ncmk,nck->nmk", rows, chosen))
        expected = expected + np.concatenate(parts, 1) / [1, 2, 6][degree - 1] ** 0.5
    np.testing.assert_allclose(got, expected, atol=1e-11)


@pytest.mark.x64
@pytest.mark.parametrize("family", FAMILIES)
def test_energies_are_invariant(family):
    potential = Potential(3, CUTOFF, shift=[1.0, 2.0, 3.0], key=jax.random.key(0),
                          **SMALL | FAMILIES[family])  # fmt: skip
    atomic = eqx.filter_jit(lambda graph: potential.atomic(pad(graph, 8, 7)))
    structure = molecule()
    before = atomic(graph())[:7]
    assert np.std(before - potential.shift.value[graph().species]) > 1e-2
    for seed, reflected in enumerate((False, True)):
        order = np.random.default_rng(seed).permutation(7)
        after = atomic(graph(moved(structure, turn(seed, reflected), order)))
        np.testing.assert_allclose(after[:7], before[order], atol=1e-11)


@pytest.mark.x64
def test_angles_are_seen_but_by_distances_only():
    """Four atoms around one at the same distances, in a square or a tetrahedron, too far from one
    another to see: what distances cannot tell apart and angles can."""
    square = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    numbers = np.array([6, 1, 1, 1, 1])
    shapes = [Structure(numbers, 2.0 * np.vstack([np.zeros(3), s])) for s in (square, tetrahedron)]
    numbers = [1, 1, 1, 2]  # a gated layer needs a second one for angles
    for name, layers in zip(["contracted", "distances", "gated", "gated"], numbers, strict=True):
        potential = eqx.filter_jit(
            Potential(3, CUTOFF, layers=layers, key=jax.random.key(0), **SMALL | FAMILIES[name])
        )
        first, second = (potential(all_pairs(shape, TABLE))[0] for shape in shapes)
        seen = name == "contracted" or layers == 2
        assert abs(first - second) > 1e-6 if seen else abs(first - second) < 1e-12


@pytest.mark.x64
@pytest.mark.parametrize(
    "symmetry, family, degree",
    [("i", "gated", 2), ("ij=ji", "contracted", 2), ("ijkl=jikl=ijlk=klij", "contracted", 2)],
)
def test_tensors_turn_with_the_molecule(symmetry, family, degree):
    tensor = Tensor(3, CUTOFF, symmetry, degree=degree, layers=1, key=jax.random.key(0),
                    **SMALL | FAMILIES[family])  # fmt: skip
    answer, structure = eqx.filter_jit(tensor), molecule()
    before = np.asarray(answer(pad(graph(), 7, 6))[0])
    rank = before.ndim
    assert np.max(np.abs(before)) > 1e-2
    if rank > 1:
        np.testing.assert_allclose(before, np.swapaxes(before, 0, 1), atol=1e-12)
    if rank == 4:
        np.testing.assert_allclose(before, np.transpose(before, (2, 3, 0, 1)), atol=1e-12)
        assert np.linalg.matrix_rank(before.reshape(9, 9), tol=1e-6) == 6
    for reflected in (False, True):
        rotation = turn(3, reflected)
        expected = before
        for axis in range(rank):
            expected = np.moveaxis(np.tensordot(rotation, expected, (1, axis)), 0, axis)
        after = answer(pad(graph(moved(structure, rotation, np.arange(7)[::-1])), 7, 6))[0]
        np.testing.assert_allclose(after, expected, atol=1e-11)


@pytest.mark.x64
@pytest.mark.parametrize(
    ("family", "cutoff"),
    [("contracted", CUTOFF), ("gated", CUTOFF), ("distances", CUTOFF), ("gated", 1.5)],
)
def test_a_lone_atom_has_its_shift(family, cutoff):
    """As NequIP tests it; so dissociation ends at the energies of isolated atoms."""
    shift = np.array([1.0, -2.0, 3.0])
    potential = Potential(3, cutoff, scale=2.0, shift=shift, key=jax.random.key(0),
                          **SMALL | FAMILIES[family])  # fmt: skip
    whole = molecule()
    table = np.searchsorted(TABLE, whole.numbers)
    energy = eqx.filter_jit(potential)
    edges = all_pairs(whole, TABLE)
    assert abs(energy(edges)[0] - np.sum(shift[table])) > 0.1
    apart = edges.at(edges.positions * 10)
    np.testing.assert_allclose(energy(apart), np.sum(shift[table]), atol=1e-11)
    for place, number in enumerate(TABLE):
        alone = neighbour_graph(Structure(np.array([number]), np.zeros((1, 3))), cutoff, TABLE)
        np.testing.assert_allclose(
            energy(pad(alone, *edges.senders.shape)), shift[place], atol=1e-12
        )


@pytest.mark.x64
@pytest.mark.parametrize("family", FAMILIES)
def test_a_neighbour_enters_smoothly(family):
    potential = Potential(3, CUTOFF, key=jax.random.key(0), **SMALL | FAMILIES[family])
    pair = Structure(np.array([6, 8]), np.array([[0.0, 0, 0], [1.0, 0, 0]]))
    edges = all_pairs(pair, TABLE)

    def energy(distance):
        return potential(edges.at(jnp.zeros((2, 3)).at[1, 0].set(distance)))[0]

    value_and_slope = jax.jit(jax.value_and_grad(energy))
    beyond, _ = value_and_slope(CUTOFF + 1.0)
    assert abs(value_and_slope(1.0)[0] - beyond) > 1e-3
    for step in (1e-2, 1e-3):
        value, slope = value_and_slope(CUTOFF - step)
        assert 0 < abs(value - beyond) < 1e2 * step**3 and 0 < abs(slope) < 1e3 * step**2
    value, slope = value_and_slope(CUTOFF + 1e-6)
    assert value == beyond and slope == 0


def test_radial_functions():
    r = jnp.linspace(0.5, 4.0, 8)
    basis = bessel(r, 4, 4.0)
    np.testing.assert_allclose(basis[-1], 0, atol=1e-6)
    fine = jnp.linspace(1e-3, 4.0, 4001)
    waves = bessel(fine, 4, 4.0) * fine[:, None]  # orthonormal in the ball
    np.testing.assert_allclose(waves.T @ waves * (4.0 / 4000), np.eye(4), atol=1e-2)
    np.testing.assert_allclose(gaussian(jnp.array([4 / 3]), 4, 4.0)[0, 1], 1, rtol=1e-6)
    envelope = polynomial_cutoff(jnp.array([0.0, 2.0, 4.0, 5.0]), 4.0)
    assert envelope[0] == 1 and 0 < envelope[1] < 1 and np.all(np.abs(envelope[2:]) < 1e-5)
    radial = Radial(4.0, functions=3, basis=gaussian, key=jax.random.key(0))
    assert radial(r.reshape(2, 4)).shape == (2, 4, 3)


def test_refused():
    with pytest.raises(ValueError, match="irrep 1e cannot be reached from 0e by spherical harm"):
        Trunk(3, CUTOFF, layers=1, after="1e", make=gated_layer, key=jax.random.key(0), **SMALL)
    with pytest.raises(ValueError, match="irrep 2e cannot be reached by products of up to 3 of 0e"):
        Trunk(3, CUTOFF, after="2e", hidden="0e", degree=0, key=jax.random.key(0), **SMALL)
    with pytest.raises(ValueError, match="hidden irreps 1e cannot be reached in 1 layers"):
        Trunk(3, CUTOFF, hidden="0e + 1e", key=jax.random.key(0), **SMALL)
    with pytest.raises(ValueError, match="written like '0e . 1o . 2e', got '1x'"):
        kinds("1x")
    with pytest.raises(ValueError, match="each once"):
        kinds("2x0e")
    with pytest.raises(ValueError, match="symmetry must name up to four indices"):
        Tensor(3, CUTOFF, "xy", key=jax.random.key(0))
    with pytest.raises(ValueError, match="a gate needs the scalar 0e"):
        Gate(kinds("1o"), 4, key=jax.random.key(0))
    with pytest.raises(ValueError, match="cutoff must be finite and > 0"):
        Radial(0.0, key=jax.random.key(0))
