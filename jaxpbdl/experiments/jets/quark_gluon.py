"""Quark jets against gluon jets: networks on sets, with and without what cannot be computed.

An energy flow network sees the shares and directions of the particles in a way that is safe against
soft and collinear ones; a particle flow network sees them as it likes, and with identities also
what the particles are (Komiske, Metodiev, Thaler, JHEP 01 (2019) 121, arXiv:1810.05165). Beside
them, attention in place of the sum. The jets are of Pythia (`jaxpbdl.data.jet_generator`), by their
settings; they trained on 1.6 million, and the area under the curve still rises with the number.

`parametrised` takes the shipped shower instead, for which no generator is needed and with which no
published figure can be compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxpbdl import checks, plotting
from jaxpbdl.data import jet_generator, shower
from jaxpbdl.data.jets import CLASSES, Constituents, Jets, pad, read_jets
from jaxpbdl.diagnostics import area_under_curve
from jaxpbdl.experiments.configuration import Count, NonNegative, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.jets.tagging import (
    Held,
    JetBatches,
    Tagger,
    as_energy,
    as_particles,
    cross_entropy,
    figures,
    with_identities,
)
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import History, fit_ensemble, members, muon
from jaxpbdl.networks import AttentionFlow, EnergyFlow, ParticleFlow

SOURCE = "Komiske, Metodiev, Thaler 2019, trained on 1.6 million jets of Pythia 8.226"
PUBLISHED = {"efn.auc": 0.8824, "pfn.auc": 0.8911, "pfn_id.auc": 0.9052}
METHODS = ("efn", "pfn", "pfn_id", "attention")
SOFT = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Shares of an added particle, and angles of a splitting in units of the radius."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the jets, the networks and their training."""

    seed: int = 0
    data: Path | None = None
    """A file or folder of jets; else they are generated in the run folder."""
    parametrised: bool = False
    """Whether jets come from the shipped shower."""
    train: Count = 4000
    validation: Count = 1000
    test: Count = 2000
    """Jets, in the order test, validation, training, so that more training jets leave the others
    the same."""
    inner: tuple[Count, ...] = (64, 64, 96)
    """Widths of the network on particles, and `outer` of that on sets."""
    outer: tuple[Count, ...] = (64, 64)
    methods: tuple[str, ...] = METHODS
    members: Count = 1
    """Of the committee that is trained of each network."""
    training: Training = Training(updates=1000, batch=100, learning_rate=5e-3)
    weight_decay: NonNegative = 1e-3

    def __post_init__(self):
        super().__post_init__()
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"methods must be among {', '.join(METHODS)}, got {method!r}")
        if self.data is not None and self.parametrised:
            raise ValueError(
                "jets are read from data or drawn from the shower: give one of the two"
            )


QUICK = Config()
SHOWER = Config(parametrised=True, train=8000)
LONG = Config(
    train=10_000, test=3000, methods=("efn", "pfn", "pfn_id"), members=3,
    training=replace(Config.training, updates=2000),
)  # fmt: skip
FULL = Config(
    train=50_000, validation=5_000, test=10_000, inner=(100, 100, 256), outer=(100, 100, 100),
    members=3, training=replace(Config.training, updates=6_000, batch=250),
)  # fmt: skip


def files(config: Config) -> list[Path]:
    """The file of jets, or all of a folder of them; none where they are generated.

    Raises `checks.DataError` for what is not there.
    """
    if config.data is None:
        return []
    if config.data.is_dir():
        found = sorted(config.data.glob("*.npz"))
        if not found:
            raise checks.DataError(f"{config.data}: no file *.npz in this folder")
        return found
    if not config.data.is_file():
        raise checks.DataError(f"{config.data}: no such file or folder of jets")
    return [config.data]


def jets_of(config: Config, folder: Path) -> dict[str, Jets]:
    """Jets to test, to validate and to train on.

    Raises ValueError if the file holds fewer.
    """
    parts = {"test": config.test, "validation": config.validation, "train": config.train}
    total = sum(parts.values())
    if config.parametrised:
        jets = shower.sample(jax.random.key(0), total)
    elif config.data is not None:
        jets = read_jets(config.data)
    else:
        jets = jet_generator.generate(folder / "jets", total)
    if len(jets) < total:
        raise ValueError(
            f"test + validation + train must be at most {len(jets)}, the jets in {config.data}, "
            f"got {total}"
        )
    ends = np.cumsum([0, *parts.values()])
    return {name: jets[ends[i] : ends[i + 1]] for i, name in enumerate(parts)}


def network(config: Config, method: str) -> Callable[[PRNGKeyArray], Tagger]:
    """What makes one tagger from a key."""
    inner, outer, identified = config.inner, config.outer, 6 + CLASSES + 1
    width = 8 * max(1, inner[-1] // 16)

    def energy(key: PRNGKeyArray) -> Tagger:
        return Tagger(EnergyFlow(4, 1, inner=inner, outer=outer, key=key), as_energy)

    def particle(key: PRNGKeyArray) -> Tagger:
        return Tagger(ParticleFlow(6, 1, inner=inner, outer=outer, key=key), as_particles)

    def identities(key: PRNGKeyArray) -> Tagger:
        network = ParticleFlow(identified, 1, inner=inner, outer=outer, key=key)
        return Tagger(network, with_identities)

    def attention(key: PRNGKeyArray) -> Tagger:
        network = AttentionFlow(
            identified, 1, inner=inner[:-1] or inner, width=width, heads=8, outer=outer, key=key
        )
        return Tagger(network, with_identities)

    makers = {"efn": energy, "pfn": particle, "pfn_id": identities, "attention": attention}
    return makers[method]


def train(
    config: Config, method: str, jets: dict[str, Jets], folder: Path
) -> tuple[Tagger, list[History]]:
    """A committee of taggers; of each member the parameters that did best on the validation."""
    return fit_ensemble(
        network(config, method),
        cross_entropy,
        JetBatches(jets["train"], config.training.batch),
        config.training.optimiser(muon, weight_decay=config.weight_decay),
        config.training.updates,
        keys=jax.random.split(jax.random.key(config.seed), config.members),
        chunk=max(1, config.training.updates // 20),
        validate=Held(jets["validation"]).loss,
        ema=config.training.average,
        folder=folder / "checkpoints" / method,
        name=method,
    )


@eqx.filter_jit
def _odds(tagger: Tagger, held: Held) -> jax.Array:
    return held.odds(tagger)


def run(config: Config, folder: Path) -> Result:
    """Train, test, and add soft particles; pictures go to `folder`."""
    jets = jets_of(config, folder)
    held_out = {name: (Held(jets[name]), jets[name].quark) for name in ("validation", "test")}
    quark = np.asarray(jets["test"].quark)
    metrics, curves, taggers, losses = {}, {}, {}, {}
    known = {name: jets[name] for name in ("train", "validation")}
    for method in config.methods:
        stacked, histories = train(config, method, known, folder)
        committee = members(stacked)
        losses |= {f"{method}_{i}": history.loss for i, history in enumerate(histories)}
        odds = {
            name: np.stack([np.asarray(_odds(tagger, held)) for tagger in committee])
            for name, (held, _) in held_out.items()
        }
        metrics |= metrics_of(method, odds, {name: each for name, (_, each) in held_out.items()})
        curves[method], taggers[method] = odds["test"].mean(axis=0), committee[0]
    for name, suffix in (("test", "auc"), ("validation", "validation_auc")):
        counts = np.asarray(jets[name].counts, float)
        metrics[f"multiplicity.{suffix}"] = area_under_curve(-counts, np.asarray(jets[name].quark))
    safety = {
        name: unsafe(taggers[name], jets["test"][:200])
        for name in ("efn", "pfn")
        if name in taggers
    }
    for name, (soft, collinear) in safety.items():
        metrics |= {f"{name}.soft": soft[-1], f"{name}.collinear": collinear[-1]}
    _picture(curves, quark, safety, folder)
    published = (
        {} if config.parametrised else {n: Published(v, SOURCE) for n, v in PUBLISHED.items()}
    )
    return Result(metrics, published, losses)


def metrics_of(
    method: str, odds: Mapping[str, np.ndarray], quark: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Figures of merit of one method: means over its members, and of several members the standard
    deviation of their areas and the area of their mean; areas also of the validation set, by which
    settings are to be chosen.

    Arguments:
        method: the name before the dot.
        odds: log odds of the `test` and the `validation` set, `(members, jets)`.
        quark: whether each of these jets is of a quark.
    """
    truth = {name: np.asarray(each) for name, each in quark.items()}
    each = [figures(one, truth["test"]) for one in odds["test"]]
    found = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    areas = [area_under_curve(one, truth["validation"]) for one in odds["validation"]]
    found["validation_auc"] = float(np.mean(areas))
    if len(each) > 1:
        found["auc_deviation"] = float(np.std([one["auc"] for one in each]))
        found["committee_auc"] = area_under_curve(odds["test"].mean(axis=0), truth["test"])
        found["committee_validation_auc"] = area_under_curve(
            odds["validation"].mean(axis=0), truth["validation"]
        )
    return {f"{method}.{name}": value for name, value in found.items()}


def unsafe(tagger: Tagger, jets: Jets) -> tuple[np.ndarray, np.ndarray]:
    """How much the log odds change on average, for each of `SOFT`: by one more particle of that
    share at the edge of the jet, and by splitting the hardest in two halves at that angle."""
    size = int(np.max(jets.counts)) + 1
    particles, mask = jax.tree.map(jnp.asarray, pad(jets, size))

    @jax.jit
    @jax.vmap
    def changes(particles: Constituents, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        before, free = tagger(particles, mask), jnp.argmin(mask)
        hardest = jnp.argmax(particles.shares)

        def soft(share: jax.Array) -> jax.Array:
            added = Constituents(
                particles.shares.at[free].set(share),
                particles.angles.at[free].set(jnp.asarray([0.3, -0.2])),
                particles.kinds.at[free].set(particles.kinds[0]),
            )
            return jnp.abs(tagger(added, mask.at[free].set(True)) - before)

        def collinear(angle: jax.Array) -> jax.Array:
            half, aside = particles.shares[hardest] / 2, jnp.asarray([0.2, 0.0]) * angle
            centre = particles.angles[hardest]
            split = Constituents(
                particles.shares.at[hardest].set(half).at[free].set(half),
                particles.angles.at[hardest].set(centre - aside).at[free].set(centre + aside),
                particles.kinds.at[free].set(particles.kinds[hardest]),
            )
            return jnp.abs(tagger(split, mask.at[free].set(True)) - before)

        return jax.vmap(soft)(jnp.asarray(SOFT)), jax.vmap(collinear)(jnp.asarray(SOFT))

    with jax.enable_x64(True):
        wide = lambda leaf: jnp.asarray(leaf, float) if eqx.is_inexact_array(leaf) else leaf  # noqa: E731
        tagger, particles = jax.tree.map(wide, tagger), jax.tree.map(wide, particles)
        soft, collinear = changes(particles, mask)
        return np.asarray(soft).mean(axis=0), np.asarray(collinear).mean(axis=0)


def _picture(
    odds: dict[str, np.ndarray],
    quark: np.ndarray,
    safety: dict[str, tuple[np.ndarray, np.ndarray]],
    folder: Path,
) -> None:
    """`tagging.png`: gluon jets that pass over quark jets that pass; `safety.png`: what soft and
    collinear particles change."""
    figure, axes = plotting.figure(1, 1, size=(4.2, 3.2))
    efficiencies = np.linspace(0.05, 1, 60)
    lines = {}
    for name, values in odds.items():
        cuts = np.quantile(values[quark], 1 - efficiencies)
        passed = np.mean(values[~quark] >= cuts[:, None], axis=1)
        lines[name] = np.maximum(passed, 0.5 / np.sum(~quark))
    plotting.curves(
        axes[0, 0], lines, efficiencies, xlabel="quark jets that pass",
        ylabel="gluon jets that pass", logarithmic=True,
    )  # fmt: skip
    plotting.save(figure, folder / "tagging.png")

    figure, axes = plotting.figure(1, 2, size=(3.6, 2.8))
    titles = ("one more particle", "the hardest particle split in two")
    labels = ("its share of the momentum", "angle over radius")
    for column, (ax, title, label) in enumerate(zip(axes[0], titles, labels, strict=True)):
        changed = {name: np.maximum(values[column], 1e-16) for name, values in safety.items()}
        plotting.curves(ax, changed, SOFT, xlabel=label, ylabel="change", logarithmic=True)
        ax.set_xscale("log")
        ax.set_title(title, fontsize=9)
    plotting.save(figure, folder / "safety.png")


EXPERIMENT = Experiment(
    name="quark-gluon",
    summary="networks on sets of particles tell jets of quarks from jets of gluons",
    presets={"quick": QUICK, "shower": SHOWER, "long": LONG, "full": FULL},
    run=run,
    files=files,
)
