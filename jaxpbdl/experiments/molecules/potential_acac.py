"""An interatomic potential of acetylacetone, learned at 300 K and tested where it has not been.

500 configurations of C5H8O2 at 300 K with energies and forces by density functional theory
(Batatia et al., arXiv:2205.06643); the tests are 650 at 300 K, 650 at 600 K, a rotation about a
dihedral angle, and the transfer of the hydrogen between the oxygens, of which both paths have
energies only. Two networks of one code and one training: `equivariant`, of the NequIP family with
features that are scalars, vectors and tensors, and `invariant`, which knows distances only.

Energies are those of the whole molecule, in meV; forces are by component, in meV/Angstrom. Settings
were chosen on the validation set, a part of the 300 K training file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks, plotting
from jaxpbdl.data import find, read_xyz, reference_energies
from jaxpbdl.experiments.configuration import (
    Count,
    NonNegative,
    NonNegativeInt,
    Positive,
    Validated,
)
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import History, fit, muon
from jaxpbdl.molecules.atoms import Structure
from jaxpbdl.molecules.neighbours import neighbour_graph
from jaxpbdl.molecules.potentials import (
    EnergyFunction,
    GraphSamples,
    Labelled,
    PotentialLoss,
    energy_and_forces,
    evaluate_in_batches,
    labelled,
    scale_and_shift,
    take,
)
from jaxpbdl.networks import parameter_count
from jaxpbdl.networks.equivariant import Potential, gated_layer

Network = TypeVar("Network", bound=EnergyFunction)
TABLE = (1, 6, 8)
DYNAMICS = {"300K": "test_MD_300K", "600K": "test_MD_600K"}
PATHS = {"dihedral": "test_dihedral", "H_transfer": "test_H_transfer"}
"""Of these energies are known and no forces."""
TESTS = DYNAMICS | PATHS
ISOLATED = "isolated_atoms"
MACE, NEQUIP = (0.9, 5.1, 4.6, 22.4), (0.81, 5.90, 6.04, 27.8)
SOURCE = "{} trained at 300 K, as the tables are quoted elsewhere: not read in the paper itself"


@dataclass(frozen=True)
class Config(Validated):
    """Settings of both networks and their training."""

    seed: int = 0
    data: Path | None = None
    """The file train_300K.xyz, the others beside it; else looked for in the folder JAXPBDL_DATA."""
    train: Count = 450
    """Configurations to train on; of the next `validation` ones the error chooses the parameters
    that are kept."""
    validation: Count = 50
    test: Count = 650
    """Of each dynamics; the paths are tested in full."""
    cutoff: Positive = 5.0
    channels: Count = 32
    degree: NonNegativeInt = 2
    hidden: str = "0e + 1o + 2e"
    layers: Count = 3
    invariant_channels: Count = 64
    training: Training = Training(
        updates=12_000, batch=5, learning_rate=1e-2, warmup_fraction=0.02, clip=10.0, average=0.995
    )
    weight_decay: NonNegative = 0.05
    energy_weight: float = 1000.0
    force_weight: float = 10.0
    chunk: Count = 500
    """Updates between two validations."""

    def __post_init__(self):
        super().__post_init__()
        if self.training.batch > self.train:
            raise ValueError(
                f"batch must be at most train = {self.train}, got {self.training.batch}"
            )


QUICK = Config()
LONG = Config(training=replace(Config.training, updates=30_000), chunk=1000)
FULL = Config(
    channels=64, invariant_channels=128, degree=3, layers=4, chunk=2000,
    training=replace(Config.training, updates=200_000),
)  # fmt: skip
"""For an accelerator, or days of a few cores."""


class ForceError(eqx.Module):
    """The root mean square error of the forces on known samples, meV/Angstrom."""

    samples: Labelled

    def __call__(self, potential: EnergyFunction) -> Float[Array, ""]:
        batch = take(self.samples, slice(None))
        _, forces = energy_and_forces(potential, batch.graph)
        return 1e3 * jnp.sqrt(jnp.mean((forces - batch.forces) ** 2))


def files(config: Config) -> list[Path]:
    """The training file and, beside it, the isolated atoms and the test sets.

    Raises `checks.DataError` for what is not there.
    """
    path = find("acac", given=config.data)
    found = [path, *(path.with_name(f"{name}.xyz") for name in (ISOLATED, *TESTS.values()))]
    for each in found:
        if not each.is_file():
            raise checks.DataError(f"{each}: no such file; it must lie beside {path.name}")
    return found


def read(config: Config) -> tuple[dict[str, Labelled], float]:
    """The samples of training, validation and tests, and the mean number of neighbours."""
    path, isolated_atoms, *tests = files(config)
    known = _structures(path, ("energy", "forces"))
    if config.train + config.validation > len(known):
        raise ValueError(
            f"train + validation must be at most {len(known)}, the configurations of the file, "
            f"got {config.train} + {config.validation}"
        )
    # Configurations are in the order of a trajectory: those to validate on come from all of it.
    order = np.random.default_rng(0).permutation(len(known))
    isolated = _structures(isolated_atoms, ("energy",))
    references = reference_energies([], TABLE, isolated=isolated)
    parts = {
        "train": [known[i] for i in order[: config.train]],
        "validation": [known[i] for i in order[-config.validation :]],
    }
    for name, file in zip(TESTS, tests, strict=True):
        needed = ("energy",) if name in PATHS else ("energy", "forces")
        found = _structures(file, needed)
        parts[name] = found if name in PATHS else found[: config.test]
    build = partial(neighbour_graph, cutoff=config.cutoff, table=TABLE)
    sizes = {"atoms": 15, "slots": 14}  # all molecules are the same
    samples = {
        name: labelled(some, build, TABLE, references, forces=name not in PATHS, **sizes)
        for name, some in parts.items()
    }
    neighbours = float(np.mean(np.sum(np.asarray(samples["train"].graph.edge_mask), axis=-1)))
    return samples, neighbours


def _structures(path: Path, require: Sequence[str]) -> list[Structure]:
    return read_xyz(path, energy_unit="eV", length_unit="Angstrom", require=require)


def networks(
    config: Config, samples: Labelled, neighbours: float
) -> dict[str, Callable[[PRNGKeyArray], Potential]]:
    """What makes each network from a key."""
    scale, shift = scale_and_shift(samples, len(TABLE))
    common = partial(
        Potential, len(TABLE), config.cutoff, scale=scale, shift=shift, neighbours=neighbours,
        layers=config.layers, make=gated_layer,
    )  # fmt: skip
    return {
        "equivariant": lambda key: common(
            hidden=config.hidden, degree=config.degree, channels=config.channels, key=key
        ),
        "invariant": lambda key: common(
            hidden="0e", degree=0, channels=config.invariant_channels, key=key
        ),
    }


def train(
    config: Config, network: Network, samples: dict[str, Labelled], folder: Path, name: str,
    key: PRNGKeyArray,
) -> tuple[Network, History]:  # fmt: skip
    """Muon with a rise and a cosine fall of the learning rate; the running average of the
    parameters that did best on the validation set."""
    return fit(
        network,
        PotentialLoss(config.energy_weight, config.force_weight),
        GraphSamples(samples["train"], config.training.batch),
        config.training.optimiser(muon, weight_decay=config.weight_decay),
        config.training.updates,
        key=key,
        chunk=config.chunk,
        validate=ForceError(samples["validation"]),
        ema=config.training.average,
        folder=folder / "checkpoints" / name,
        save_every=4,
        name=name,
    )


def errors(potential: EnergyFunction, samples: dict[str, Labelled]) -> dict[str, float]:
    """Root mean square errors of energies (meV) and forces (meV/Angstrom)."""
    metrics = {}
    for name in TESTS:
        some = samples[name]
        energies, forces = evaluate_in_batches(potential, some, forces=name not in PATHS)
        metrics[f"energy_rmse_{name}"] = _rms(energies - np.asarray(some.energies)[:, 0])
        if forces is not None:
            metrics[f"force_rmse_{name}"] = _rms(forces - np.asarray(some.forces))
    return metrics


def _rms(difference: np.ndarray) -> float:
    return 1e3 * float(np.sqrt(np.mean(np.asarray(difference, dtype=np.float64) ** 2)))


def run(config: Config, folder: Path) -> Result:
    """Train both networks and test them; pictures go to `folder`."""
    samples, neighbours = read(config)
    metrics, histories, profiles = {}, {}, {}
    key = jax.random.key(config.seed)
    for name, make in networks(config, samples["train"], neighbours).items():
        start, fitting = jax.random.split(key)
        network, histories[name] = train(config, make(start), samples, folder, name, fitting)
        found = errors(network, samples)
        metrics |= {f"{name}.{metric}": value for metric, value in found.items()}
        metrics[f"{name}.force_rmse_validation"] = float(np.min(histories[name].validation))
        metrics[f"{name}.parameters"] = parameter_count(network)
        profiles[name] = evaluate_in_batches(network, samples["dihedral"], forces=False)[0]
        if name == "equivariant":
            metrics |= found
    _picture(histories, profiles, samples["dihedral"], folder)
    published = {}
    for method, numbers, paper in (("equivariant", MACE, "MACE"), ("nequip", NEQUIP, "NequIP")):
        names = [f"{kind}_rmse_{test}" for test in DYNAMICS for kind in ("energy", "force")]
        for metric, value in zip(names, numbers, strict=True):
            published[f"{method}.{metric}"] = Published(value, SOURCE.format(paper))
    losses = {name: history.loss for name, history in histories.items()}
    return Result(metrics, published, losses)


def _picture(
    histories: dict[str, History], profiles: dict[str, np.ndarray], path: Labelled, folder: Path
) -> None:
    """`learning.png`: the error of the forces of the validation set while training, and energies
    along a dihedral angle that no training saw."""
    figure, axes = plotting.figure(1, 2, size=(3.6, 2.8))
    some = next(iter(histories.values()))
    plotting.curves(
        axes[0, 0],
        {name: history.validation for name, history in histories.items()},
        some.validation_steps,
        xlabel="updates",
        ylabel="force RMSE, validation set (meV/A)",
        logarithmic=True,
    )
    truth = np.asarray(path.energies)[:, 0]
    lines = {"density functional": truth} | profiles
    lines = {name: 1e3 * (values - np.min(truth)) for name, values in lines.items()}
    plotting.curves(
        axes[0, 1], lines, xlabel="configuration along the dihedral", ylabel="energy (meV)"
    )
    plotting.save(figure, folder / "learning.png")


EXPERIMENT = Experiment(
    name="potential-acac",
    summary="energies and forces of a molecule, learned at 300 K and tested at 600 K and beyond",
    presets={"quick": QUICK, "long": LONG, "full": FULL},
    run=run,
    files=files,
)
