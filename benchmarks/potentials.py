"""One training step of an interatomic potential, energies and forces, on the same molecules.

`JAXPBDL_DATA=... PEER_PYTHON=python-with-torch python benchmarks/potentials.py`: 12 molecules of
acetylacetone, 2 layers, degree 2, 64 channels. Peers: `e3nn_jax.tensor_product` in plain Equinox
(below, the architecture of NequIP), nequip and MACE on torch in processes of their own. A committee
of 4 is fitted at once or one after another.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import e3nn_jax as e3nn
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from timing import Line, in_own_process, side_by_side, training_step

from jaxpbdl import data
from jaxpbdl.learning import stack
from jaxpbdl.molecules.atoms import Graph, displacements, join, total
from jaxpbdl.molecules.neighbours import neighbour_graph
from jaxpbdl.molecules.potentials import energy_and_forces
from jaxpbdl.networks import Dense, equivariant, parameter_count

TABLE, CUTOFF, CHANNELS, MOLECULES = (1, 6, 8), 5.0, 64, 12
HIDDEN = "0e + 1o + 2e"


class Plain(eqx.Module):
    """Two layers of NequIP by e3nn-jax's tensor product over a list of edges."""

    embedding: jax.Array
    radials: list[Dense]
    linears: list[list[dict[str, jax.Array]]]
    readout: Dense
    hidden: list[e3nn.Irreps] = eqx.field(static=True)

    def __init__(self, key: jax.Array):
        keys = iter(jax.random.split(key, 64))
        self.embedding = jax.random.normal(next(keys), (3, CHANNELS))
        full = e3nn.Irreps(f"{CHANNELS}x0e+{CHANNELS}x1o+{CHANNELS}x2e")
        self.hidden = [e3nn.Irreps(f"{CHANNELS}x0e"), full, e3nn.Irreps(f"{CHANNELS}x0e")]
        self.radials, self.linears = [], []
        harmonics = e3nn.Irreps("0e+1o+2e")
        for before, after in zip(self.hidden, self.hidden[1:], strict=False):
            gates = sum(item.mul for item in after if item.ir.l)
            wanted = (e3nn.Irreps(f"{gates}x0e") + after).regroup()
            messages = e3nn.tensor_product(before, harmonics, filter_ir_out=list(_kinds(after)))
            sizes = (8, 64, 64, messages.num_irreps)
            self.radials.append(Dense(sizes, activation=jax.nn.silu, key=next(keys)))
            own = before.filter(list(_kinds(after)))
            pairs = ((before, before), (messages, wanted), (own, wanted))
            species = (1, 1, 3)
            self.linears.append(
                [
                    _weights(a, b, count, next(keys))
                    for (a, b), count in zip(pairs, species, strict=True)
                ]
            )
        self.readout = Dense((CHANNELS, 16, 1), activation=jax.nn.silu, key=next(keys))

    def __call__(self, graph: Graph) -> jax.Array:
        # As many edges as there are, no slots: who sends and who receives is known beforehand.
        receivers, slots = EDGES
        senders = graph.senders[receivers, slots]
        vectors = displacements(graph)[receivers, slots]
        distances = jnp.linalg.norm(vectors, axis=-1)
        basis = equivariant.bessel(distances, 8, CUTOFF)
        basis = basis * equivariant.polynomial_cutoff(distances, CUTOFF)[:, None]
        harmonics = e3nn.spherical_harmonics("0e+1o+2e", e3nn.IrrepsArray("1o", vectors), True)
        features = e3nn.IrrepsArray(self.hidden[0], self.embedding[graph.species])
        one_hot = jax.nn.one_hot(graph.species, 3)
        for radial, linears, after in zip(self.radials, self.linears, self.hidden[1:], strict=True):
            up = _linear(linears[0], features, jnp.ones((len(one_hot), 1)))
            messages = e3nn.tensor_product(up[senders], harmonics, filter_ir_out=_kinds(after))
            messages = messages * jax.vmap(radial)(basis)
            heard = e3nn.scatter_sum(messages, dst=receivers, output_size=len(one_hot)) / 12**0.5
            own = features.filter(keep=_kinds(after))
            mixed = _linear(linears[1], heard, jnp.ones((len(one_hot), 1)))
            mixed = mixed + _linear(linears[2], own, one_hot).extend_with_zeros(mixed.irreps)
            features = e3nn.gate(mixed, even_act=jax.nn.silu, even_gate_act=jax.nn.sigmoid)
        return total(graph, jax.vmap(self.readout)(features.array)[:, 0])


def _kinds(irreps: e3nn.Irreps) -> list[e3nn.Irrep]:
    return [item.ir for item in irreps]


def _weights(
    before: e3nn.Irreps, after: e3nn.Irreps, species: int, key: jax.Array
) -> dict[str, jax.Array]:
    before, after = before.regroup(), after.regroup()
    out = {str(item.ir): item.mul for item in after}
    return {
        str(item.ir): jax.random.normal(key, (species, item.mul, out[str(item.ir)])) / item.mul**0.5
        for item in before
        if str(item.ir) in out
    }


def _linear(
    weights: dict[str, jax.Array], features: e3nn.IrrepsArray, one_hot: jax.Array
) -> e3nn.IrrepsArray:
    features = features.regroup()
    blocks = []
    for item, chunk in zip(features.irreps, features.chunks, strict=True):
        weight = weights[str(item.ir)]
        if len(weight) == 1:
            mixed = jnp.einsum("nui,uv->nvi", chunk, weight[0])
        else:
            mixed = jnp.einsum("ns,nui,suv->nvi", one_hot, chunk, weight)
        blocks.append((weight.shape[2], item.ir, mixed))
    irreps = e3nn.Irreps([(count, ir) for count, ir, _ in blocks])
    return e3nn.from_chunks(
        irreps, [mixed for *_, mixed in blocks], (len(one_hot),), features.dtype
    ).simplify()


def molecules() -> Graph:
    path = data.find("acac")
    known = data.read_xyz(path, energy_unit="eV", length_unit="Angstrom")[::40][:MOLECULES]
    return join([neighbour_graph(molecule, CUTOFF, TABLE) for molecule in known])


GRAPH = molecules()
EDGES = np.nonzero(np.asarray(GRAPH.edge_mask))


def save(path: Path) -> None:
    """The same graph for peers."""
    component = np.asarray(GRAPH.component, np.int64)
    receivers, slots = EDGES
    np.savez(
        path,
        positions=np.asarray(GRAPH.positions, np.float32),
        species=np.asarray(GRAPH.species, np.int64),
        senders=np.asarray(GRAPH.senders, np.int64)[receivers, slots],
        receivers=receivers.astype(np.int64),
        component=component,
        ptr=np.searchsorted(component, np.arange(GRAPH.components + 1)),
    )


def loss(network: Any, graph: Graph) -> jax.Array:
    energies, forces = energy_and_forces(network, graph)
    return jnp.mean(energies**2) + jnp.mean(forces**2)


def ours(make: Any, hidden: str, key: int = 0) -> Any:
    return equivariant.Potential(
        3, CUTOFF, hidden=hidden, degree=2, channels=CHANNELS, neighbours=12.0, make=make,
        network=(64, 64), key=jax.random.key(key),
    )  # fmt: skip


def compiled(name: str, network: Any) -> Callable[[], Any]:
    """The training step, after one call whose time is printed: mostly that of compiling."""
    call = training_step(loss, network, GRAPH)
    start = time.perf_counter()
    jax.block_until_ready(call())
    seconds = time.perf_counter() - start
    print(f"{name}: {parameter_count(network)} parameters, first call {seconds:.1f} s", flush=True)
    return call


def committee(networks: list[Any]) -> Callable[[], Any]:
    """One update of all members as one program."""
    optimiser = optax.adam(1e-3)
    stacked = stack(networks)
    state = [stacked, eqx.filter_vmap(lambda n: optimiser.init(eqx.filter(n, _is_float)))(stacked)]

    @eqx.filter_jit
    def update(members: Any, optimiser_state: Any, graph: Graph) -> tuple[Any, Any]:
        def one(network: Any, optimiser_state: Any) -> tuple[Any, Any]:
            gradient = eqx.filter_grad(loss)(network, graph)
            changes, optimiser_state = optimiser.update(gradient, optimiser_state)
            return eqx.apply_updates(network, changes), optimiser_state

        return eqx.filter_vmap(one)(members, optimiser_state)

    def call() -> Any:
        state[:] = update(*state, GRAPH)
        return jax.tree.leaves(eqx.filter(state[0], eqx.is_array))

    return call


def _is_float(leaf: Any) -> bool:
    return eqx.is_inexact_array(leaf)


def lines() -> list[Line]:
    atoms, edges = len(GRAPH.positions), len(EDGES[0])
    work = f"potential, training step, {atoms} atoms, {edges} edges"
    gated, contracted = equivariant.gated_layer, equivariant.contracted_layer
    networks = {
        "gated": ours(gated, HIDDEN),
        "contracted 3": ours(contracted(3), "0e + 1o"),
        "contracted 1": ours(contracted(1), "0e + 1o"),
        "e3nn_jax.tensor_product": Plain(jax.random.key(0)),
    }
    calls = {name: compiled(name, network) for name, network in networks.items()}
    times: dict[str, Any] = side_by_side(calls)
    table = [
        Line(f"{work}, gated layers", times["gated"], "e3nn_jax.tensor_product",
             times["e3nn_jax.tensor_product"], "ms", 1.0)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.npz"
        save(path)
        for name, peer, note in (
            ("gated", "nequip", ""), ("contracted 3", "mace3", ""), ("contracted 1", "mace1", ""),
        ):  # fmt: skip
            measured = in_own_process("potentials_peer.py", peer, path, 20)
            table.append(Line(f"{work}, {name}", times[name], peer, measured, "ms", 1.0, note))
    four = [ours(gated, HIDDEN, key) for key in range(4)]
    alone = [training_step(loss, network, GRAPH) for network in four]
    both: dict[str, Any] = side_by_side(
        {"at once": committee(four), "in turn": lambda: [call() for call in alone]}, repeats=5
    )
    table.append(
        Line("committee of 4, gated", both["at once"], "in turn", both["in turn"], "ms", 1.0)
    )
    return table


if __name__ == "__main__":
    for line in lines():
        print("| " + " | ".join(line.cells()) + " |")
