"""Committees of equivariant potentials of one molecule: their error against the number of
geometries, their standard deviation against their error, and geometries chosen where it is largest.

Four networks of the MACE family that differ in their starting weights learn from the same
geometries; their mean is the prediction, the standard deviation of their energies its uncertainty.
On geometries of their own the deviation is turned into conformal intervals.
Chosen geometries: a committee trained on half of them picks the other half, one by one from a pool
of twenty times as many, where its deviation is largest, and a committee trained on both is held
against one trained on as many random ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxpbdl.data.qm22 import Geometries
from jaxpbdl.experiments.configuration import (
    Count,
    NonNegativeInt,
    Positive,
    Validated,
    at_least,
    rising,
)
from jaxpbdl.experiments.contract import Result
from jaxpbdl.experiments.molecules import committee_report
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import History, fit_ensemble, members, muon
from jaxpbdl.molecules.atoms import Structure
from jaxpbdl.molecules.neighbours import all_pairs
from jaxpbdl.molecules.potentials import (
    EnergyFunction,
    GraphSamples,
    Labelled,
    PotentialLoss,
    evaluate_in_batches,
    scale_and_shift,
)
from jaxpbdl.networks.equivariant import Potential

CHOICE = 20
"""Geometries in the pool for each that is chosen."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the committees."""

    seed: int = 0
    data: Path | None = None
    """The geometries as npz; else looked for in the folder JAXPBDL_DATA."""
    sizes: tuple[Count, ...] = (50, 100, 200, 400)
    """Geometries to learn from; each set holds the one before."""
    test: Count = 1000
    """Geometries of the test set, the same for all seeds."""
    calibration: Annotated[int, at_least(9)] = 500
    """Geometries that no committee learns from and the widths of the intervals come from."""
    chosen: NonNegativeInt = 200
    """How many geometries a committee is trained on, half of them of its own choice; 0 for none."""
    members: Annotated[int, at_least(2)] = 4
    channels: Count = 16
    hidden: str = "0e + 1o"
    layers: Count = 2
    cutoff: Positive = 4.0
    energy_weight: Positive = 30.0
    training: Training = Training(
        updates=1500, batch=10, learning_rate=1e-2, warmup_fraction=0.05, clip=10.0
    )

    def __post_init__(self):
        super().__post_init__()
        rising("sizes", self.sizes)
        smallest = min(self.sizes[0], self.chosen // 2 or self.sizes[0])
        if self.training.batch > smallest:
            raise ValueError(
                f"batch must be at most {smallest}, the smallest set, got {self.training.batch}"
            )


def run(config: Config, folder: Path, geometries: Geometries) -> Result:
    """Train, test, choose, draw."""
    count, pool = len(geometries.energies), (CHOICE + 1) * (config.chosen // 2)
    held = config.test + config.calibration
    needed = max(config.sizes[-1], config.chosen, pool)
    if needed > count - held:
        raise ValueError(
            f"sizes and the pool must be at most {count - held}, the {count} geometries less test "
            f"and calibration = {held}, got {needed}"
        )
    shuffled = np.asarray(jax.random.permutation(jax.random.key(0), count))
    order, fitting = jax.random.split(jax.random.key(config.seed))
    known = np.asarray(jax.random.permutation(order, shuffled[config.test :]))
    # Nothing that training sees depends on the geometries of the test set.
    everything = samples(geometries, float(geometries.energies[known].mean()))
    test = pick(everything, shuffled[: config.test])
    calibration = pick(everything, known[-config.calibration :])

    losses: dict[str, np.ndarray] = {}

    def trained(which: np.ndarray, name: str) -> Sequence[EnergyFunction]:
        group, histories = committee(config, pick(everything, which), fitting, folder, name)
        losses.update({f"{name}_{i}": history.loss for i, history in enumerate(histories)})
        return group

    answers, calibrated = {}, {}
    for size in config.sizes:
        group = trained(known[:size], f"random_{size}")
        answers[size] = predict(group, test, geometries.forces is not None)
        calibrated[size] = predict(group, calibration, False)
    found = committee_report.metrics(answers, test, calibrated, calibration)
    if config.chosen:
        first = config.chosen // 2
        unsure = trained(known[:first], f"random_{first}")
        rest = known[first:pool]
        picked = rest[chosen_by_deviation(unsure, pick(everything, rest), config.chosen - first)]
        own = np.concatenate([known[:first], picked])
        for name, which in {"chosen": own, "random": known[: config.chosen]}.items():
            group = trained(which, f"{name}_{config.chosen}")
            answer = predict(group, test, geometries.forces is not None)
            found |= committee_report.errors(name, answer, test)
    committee_report.picture(answers, test, folder)
    return Result(found, histories=losses)


def samples(geometries: Geometries, zero: float = 0.0) -> Labelled:
    """All geometries as graphs of all pairs; energies in eV above `zero`."""
    first = all_pairs(
        Structure(geometries.numbers, geometries.positions[0]), table_of(geometries.numbers)
    )
    count = len(geometries.energies)
    graphs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), first)
    graphs = replace(graphs, positions=jnp.asarray(geometries.positions, float))
    energies = geometries.energies - zero
    forces = geometries.positions * 0 if geometries.forces is None else geometries.forces
    return Labelled(graphs, jnp.asarray(energies, float)[:, None], jnp.asarray(forces, float))


def table_of(numbers: np.ndarray) -> tuple[int, ...]:
    """The species of a molecule, in ascending order."""
    return tuple(np.unique(numbers).tolist())


def pick(samples: Labelled, which: np.ndarray) -> Labelled:
    return jax.tree.map(lambda leaf: leaf[which], samples)


def committee(
    config: Config, known: Labelled, key: PRNGKeyArray, folder: Path, name: str
) -> tuple[list[Potential], list[History]]:
    """Trained side by side; kept in `folder`, so that what was trained is not trained again."""
    table = int(jnp.max(known.graph.species)) + 1
    scale, shift = scale_and_shift(known, table)
    forces = bool(jnp.any(known.forces))
    stacked, histories = fit_ensemble(
        lambda key: Potential(
            table, config.cutoff, scale=scale, shift=shift, channels=config.channels,
            hidden=config.hidden, layers=config.layers, key=key,
            neighbours=known.graph.senders.shape[-1],
        ),
        PotentialLoss(config.energy_weight, 1.0 if forces else 0.0),
        GraphSamples(known, config.training.batch),
        config.training.optimiser(muon),
        config.training.updates,
        keys=jax.random.split(key, config.members),
        chunk=min(250, config.training.updates),
        ema=config.training.average,
        folder=folder / "checkpoints" / name,
        name=name,
    )  # fmt: skip
    return members(stacked), histories


def predict(
    committee: Sequence[EnergyFunction], test: Labelled, forces: bool
) -> dict[str, np.ndarray]:
    """`energies` (members, geometries) in eV and, where they are known, `forces` in eV/Angstrom."""
    found = [evaluate_in_batches(member, test, 100, forces=forces) for member in committee]
    answer = {"energies": np.stack([energies for energies, _ in found])}
    if forces:
        answer["forces"] = np.stack([np.asarray(force) for _, force in found])
    return answer


def chosen_by_deviation(
    committee: Sequence[EnergyFunction], pool: Labelled, count: int
) -> np.ndarray:
    """Places in the pool where the energies of the committee lie furthest apart."""
    energies = predict(committee, pool, False)["energies"]
    return np.argsort(-energies.std(axis=0, ddof=1))[:count]


def experiment_of(read: Callable[[Config], Geometries]) -> Callable[[Config, Path], Result]:
    """`run` of the geometries that `read` finds."""
    return lambda config, folder: run(config, folder, read(config))
