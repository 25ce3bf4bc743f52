"""A cheap method and a learned difference against the same model alone: how much data that saves.

Heats of formation of 7,101 molecules of up to seven heavy atoms (QM7) by PBE0, where DFTB3 is the
baseline; also CCSD of 50 molecules beyond MP2 (preset `ccsd`), and coupled cluster of water beyond
a density functional with labels computed on the spot (preset `water`, needs `jaxpbdl[chem]`).

Both models are the same Gaussian process on environments of atoms (FCHL19), its length, amplitude
and noise chosen by the probability of the training targets; one energy an element is taken off
first, by least squares on the training targets. `direct` learns the dear energy, `delta` its
difference from the baseline. Molecules of the test set never take part in any of this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from jaxpbdl.data import find
from jaxpbdl.data.archive import arrays, write_arrays
from jaxpbdl.data.two_levels import TwoLevels, read_ccsd_mp2, read_qm7, without
from jaxpbdl.experiments.configuration import Count, Positive, Validated, rising
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.molecules import delta_report, water
from jaxpbdl.learning import History, fit
from jaxpbdl.networks.environments import Environments, features_of
from jaxpbdl.uncertainty.gaussian_process import GaussianProcess, condition, negative_log_likelihood
from jaxpbdl.uncertainty.kernels import AtomPairs, Molecules

METHODS = ("direct", "delta")
CURVES = (*METHODS, "direct_cover", "delta_cover", "baseline", "baseline_constant")
"""Errors of a repeat, and the share of test molecules within the intervals."""
LOSS = "loss_"
"""Before the name of the fit of a kernel, `<model>_<size>`, in the file of a repeat."""
COVER = 1.6449
"""Standard deviations either side that hold 90 % of a normal distribution."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the comparison."""

    seed: int = 0
    data: Path | None = None
    """The file of the system; else looked for in the folder JAXPBDL_DATA. For water a folder, where
    the labels are computed if they are not there; else the run folder."""
    system: Literal["qm7", "ccsd", "water"] = "qm7"
    sizes: tuple[Count, ...] = (50, 100, 200, 400, 800, 1600)
    """Molecules to learn from; each set holds the one before."""
    test: Count = 1101
    """Molecules of the test set, the same for all seeds and repeats, unless `redraw`."""
    redraw: bool = False
    """Draw those anew in each repeat: for sets too small to hold any back for good."""
    repeats: Count = 3
    """Draws of the molecules to learn from."""
    chosen_on: Count = 200
    """The largest number of molecules, of those to learn from, whose targets choose the kernel."""
    updates: Count = 30
    cutoff: Positive = 8.0

    def __post_init__(self):
        super().__post_init__()
        rising("sizes", self.sizes)


DATA_SETS = {"qm7": "qm7-dftb3", "ccsd": "ccsd-mp2"}
SYSTEMS: dict[str, Callable[[Config, Path], TwoLevels]] = {
    "qm7": lambda config, _: read_qm7(*files(config)),
    # Two of 52 have sulphur: too few to learn an element from.
    "ccsd": lambda config, _: without(16, read_ccsd_mp2(*files(config))),
    "water": lambda config, folder: water.read_or_compute(
        config.data or folder, config.sizes[-1] + config.test
    ),
}


def files(config: Config) -> list[Path]:
    """What is read; labels computed on the spot count from the second run on.

    Raises `checks.DataError` for what is not there.
    """
    if config.system == "water":
        kept = water.files(config.data) if config.data is not None else []
        return [path for path in kept if path.exists()]
    return [find(DATA_SETS[config.system], given=config.data)]


Errors: TypeAlias = Mapping[str, np.ndarray | np.floating]
"""Arrays, one entry a size, and single numbers, by name."""


class Whole(eqx.Module):
    """The same batch for every update."""

    batch: PyTree

    def __call__(self, key: PRNGKeyArray) -> PyTree:
        return self.batch


def run(config: Config, folder: Path) -> Result:
    """Learning curves of both models, a table a size, a picture."""
    with jax.enable_x64(True):
        data = SYSTEMS[config.system](config, folder)
        spare = len(data.numbers) - config.test
        if spare < config.sizes[-1]:
            raise ValueError(
                f"sizes must be at most {spare}, the {len(data.numbers)} molecules less test = "
                f"{config.test}, got {config.sizes[-1]}"
            )
        found = [_remembered(config, data, folder, repeat) for repeat in range(config.repeats)]
    curves = {name: np.stack([one[name] for one in found]) for name in CURVES}
    delta_report.picture(config.sizes, curves, data, folder)
    losses = {
        f"{name.removeprefix(LOSS)}_{repeat}": one[name]
        for repeat, one in enumerate(found)
        for name in one
        if name.startswith(LOSS)
    }
    return Result(delta_report.metrics(config.sizes, curves), histories=losses)


def _remembered(config: Config, data: TwoLevels, folder: Path, repeat: int) -> Errors:
    """The errors of one repeat; kept in a file, so that a run that was stopped goes on."""
    path = folder / f"repeat_{repeat}.npz"
    if path.exists():
        return arrays(path, CURVES)
    found = errors(config, data, repeat)
    write_arrays(path, found)
    return found


def split(config: Config, count: int, repeat: int) -> tuple[np.ndarray, np.ndarray]:
    """Which molecules to learn from, in the order they come in, and which to test on."""
    own = jax.random.fold_in(jax.random.key(config.seed), repeat)
    draw = jax.random.fold_in(own, 1) if config.redraw else jax.random.key(0)
    shuffled = np.asarray(jax.random.permutation(draw, count))
    rest = np.asarray(jax.random.permutation(own, shuffled[config.test :]))
    return rest[: config.sizes[-1]], shuffled[: config.test]


def errors(config: Config, data: TwoLevels, repeat: int) -> Errors:
    """Mean absolute errors over the test set, kcal/mol, one a size for each model, and those
    of the baseline after a shift; `<model>_cover`: how many of them lie in the 90 % intervals
    of the largest size; `loss_<model>_<size>`: the losses of each choice of a kernel."""
    known, test = split(config, len(data.numbers), repeat)
    environments = Environments(data.elements, config.cutoff)
    numbers, positions = data.numbers, data.positions
    environments.check(numbers, positions)
    both = np.concatenate([known, test])
    features = dict(
        zip(
            both.tolist(),
            np.asarray(
                features_of(
                    environments, jnp.asarray(numbers[both]), jnp.asarray(positions[both], float)
                )
            ),
            strict=True,
        )
    )
    counts = data.counts()

    def molecules(which: np.ndarray) -> Molecules:
        own = np.stack([features[index] for index in which.tolist()])
        return Molecules(numbers[which], own, data.elements)

    targets = {"direct": data.energies, "delta": data.energies - data.baseline}
    found: dict[str, np.ndarray | np.floating] = {}
    questions = molecules(test)
    for name, energies in targets.items():
        process, curve = None, []
        for size in config.sizes:
            use = known[:size]
            shift = np.linalg.lstsq(counts[use], energies[use], rcond=None)[0]
            left = energies - counts @ shift
            if process is None or size <= config.chosen_on:
                chosen = use[: config.chosen_on]
                process, history = chosen_by_likelihood(config, molecules(chosen), left[chosen])
                found[f"{LOSS}{name}_{size}"] = history.loss
            answers, deviations = answered(
                process, molecules(use), jnp.asarray(left[use]), questions
            )
            off = np.abs(np.asarray(answers) - left[test])
            curve.append(np.mean(off))
            found[f"{name}_cover"] = np.mean(off < COVER * np.asarray(deviations))
        found[name] = np.array(curve)
    use = known[: config.sizes[-1]]
    differences = targets["delta"]
    shift = np.linalg.lstsq(counts[use], differences[use], rcond=None)[0]
    found["baseline"] = np.mean(np.abs(differences[test] - counts[test] @ shift))
    found["baseline_constant"] = np.mean(np.abs(differences[test] - np.mean(differences[use])))
    return found


@lru_cache
def optimiser(updates: int) -> optax.GradientTransformation:
    """The same object for all fits, so that those of equal shapes share one compilation."""
    return optax.adam(optax.cosine_decay_schedule(0.15, updates))


def chosen_by_likelihood(
    config: Config, inputs: Molecules, targets: np.ndarray
) -> tuple[GaussianProcess, History]:
    """Length, amplitude and noise by the gradient of the targets' own probability."""
    size = max(float(np.std(targets)), 1e-6)
    start = GaussianProcess(AtomPairs(2.5 * size, 3.0), 0.03 * size)
    return fit(
        start,
        negative_log_likelihood,
        Whole((inputs, jnp.asarray(targets))),
        optimiser(config.updates),
        config.updates,
        chunk=config.updates,
        key=jax.random.key(0),
        progress=False,
    )


@eqx.filter_jit
def answered(
    process: GaussianProcess, inputs: Molecules, targets: Array, questions: Molecules
) -> tuple[Array, Array]:
    """Means and standard deviations, the noise included."""
    posterior = condition(process, inputs, targets)
    mean, variance = posterior.predict(questions)
    return mean, jnp.sqrt(variance + process.noise**2)


QUICK = Config()
FULL = Config(sizes=(50, 100, 200, 400, 800, 1600, 3200, 6000), chosen_on=400)
CCSD = Config(system="ccsd", sizes=(10, 20, 38), test=12, redraw=True, repeats=6, chosen_on=40)
WATER = Config(
    system="water", sizes=(3, 5, 10, 20, 40, 80, 160), test=100, chosen_on=160, updates=60
)

EXPERIMENT = Experiment(
    name="delta-learning",
    summary="energies of molecules beyond a cheap method: the data that the baseline saves",
    presets={"quick": QUICK, "full": FULL, "ccsd": CCSD, "water": WATER},
    run=run,
    files=files,
)
