"""Quark and gluon jets from Pythia and FastJet, as in the samples of the energy flow networks.

    q g -> Z q,  q qbar -> Z g,  Z -> neutrinos;  q = u, d, s

Proton collisions at 14 TeV with hadronisation and multiple parton interactions, default tune; all
final particles but neutrinos clustered by the anti-kT algorithm with R = 0.4; the hardest jet of an
event kept if its transverse momentum lies in 500 to 550 GeV and its rapidity below 1.7. So say
Komiske, Metodiev and Thaler of their Pythia sample (documentation of the package EnergyFlow, its
data set qg_jets; JHEP 01 (2019) 121, arXiv:1810.05165; earlier texts have 2.0 for the rapidity);
theirs is of Pythia 8.226 and of all jets of an event in that window.

Nine of ten events have no such jet. They are given up early, which makes twice as many jets in a
time: the hard process begins at 400 GeV (1 % of the jets that pass stem from the first 15 GeV), and
an event whose shower, at the moment it has come down to 20 GeV, shows no jet near the window is
left (a look at 750 events that were not left: 1.5 % of the jets that pass would have been lost).

Needs the extra `jets` (`pip install "jaxpbdl[jets]"`): 15 to 30 jets a second on one core.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxpbdl import checks
from jaxpbdl.data.archive import arrays
from jaxpbdl.data.jets import Jets, join, read_jets, write_jets

PROCESSES = {"quark": "WeakBosonAndParton:qg2gmZq", "gluon": "WeakBosonAndParton:qqbar2gmZg"}
SETTINGS = (
    "Print:quiet = on",
    "Beams:eCM = 14000.",
    "WeakZ0:gmZmode = 2",
    "23:onMode = off",
    "23:onIfAny = 12 14 16",
    "PhaseSpace:pTHatMin = 400.",
)
RADIUS = 0.4
WINDOW = (500.0, 550.0)
LARGEST_RAPIDITY = 1.7
LIGHT = 3
"""The numbers of d, u and s are 1, 2 and 3."""
EARLY = 20.0
NEAR, NEAR_RAPIDITY = (435.0, 650.0), 2.0
"""The scale of the shower in GeV at which a first look is taken, and what may still pass then."""
Z_BOSON = 23


def generate(
    folder: str | Path, count: int, *, seed: int = 0, chunk: int = 500, progress: bool = True
) -> Jets:
    """At least `count` jets, half of them of quarks, in files of `chunk` jets in `folder`.

    Files that are there already are kept, so that a generation goes on where it was interrupted,
    and a larger one begins with the jets of a smaller one. Each file holds its seed and settings.

    Raises ValueError if the folder holds files of another seed or chunk, `ImportError` without the
    extra.
    """
    checks.counts(count=count, chunk=chunk)
    checks.count("seed", seed, 0)
    folder = Path(folder)
    started = time.perf_counter()
    files = [folder / f"jets_{index:05d}.npz" for index in range(-(-count // chunk))]
    for index, path in enumerate(files):
        if path.exists():
            _check(path, seed, chunk)
            continue
        begin = 1 + 2 * (10_000 * seed + index)
        jets = _mixed(
            sample("quark", chunk - chunk // 2, begin), sample("gluon", chunk // 2, begin + 1)
        )
        write_jets(path, jets, seed=seed, chunk=chunk, generator=version(), settings=_described())
        if progress:
            rate = (time.perf_counter() - started) / (index + 1)
            print(
                f"jets {(index + 1) * chunk}/{len(files) * chunk}  {rate:.0f} s a file",
                file=sys.stderr,
            )
    return join([read_jets(path) for path in files])


def sample(kind: str, count: int, seed: int) -> Jets:
    """`count` jets of a `kind` of `PROCESSES`, begun with a seed of Pythia's, 1 to 9e8."""
    if kind not in PROCESSES:
        raise ValueError(f"kind must be one of {', '.join(PROCESSES)}, got {kind!r}")
    axes, particles, pdg = [], [], []
    for axis, own, numbers in _jets(kind, seed):
        axes.append(axis)
        particles.append(own)
        pdg.append(numbers)
        if len(axes) == count:
            break
    return Jets(
        np.concatenate(particles).astype(np.float32),
        np.concatenate(pdg).astype(np.int32),
        np.asarray([len(numbers) for numbers in pdg], np.int32),
        np.asarray(axes),
        np.full(count, kind == "quark"),
    )


def version() -> str:
    """Which generator this is."""
    from importlib.metadata import version

    return f"pythia8mc {version('pythia8mc')}, fastjet {version('fastjet')}"


def _jets(kind: str, seed: int) -> Iterator[tuple[tuple[float, ...], np.ndarray, np.ndarray]]:
    """Axis, particles and their numbers, of one jet after another."""
    pythia8, fastjet = _packages()
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    generator = pythia8.Pythia("", False)
    for line in (
        *SETTINGS,
        f"{PROCESSES[kind]} = on",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
    ):
        if not generator.readString(line):
            raise ValueError(f"Pythia does not know the setting {line!r}")
    hooks = _early_looks(kind, pythia8, fastjet, definition)
    if not (generator.setUserHooksPtr(hooks) and generator.init()):
        raise RuntimeError("Pythia could not be started; its own messages say why")
    # Its C++ loop over an event costs a tenth of one in Python.
    finder = pythia8.SlowJet(-1, RADIUS, 0.8 * WINDOW[0])
    while True:
        if not generator.next():
            continue
        event = generator.event
        finder.analyze(event)
        if not finder.sizeJet() or not _kept(finder.pT(0), finder.y(0)):
            continue
        seen = [p for p in event if p.isFinal() and p.isVisible()]
        given = [_momentum(fastjet, p, index) for index, p in enumerate(seen)]
        clustering = fastjet.ClusterSequence(given, definition)
        jet = max(clustering.inclusive_jets(0.8 * WINDOW[0]), key=lambda jet: jet.pt())
        if not _kept(jet.pt(), jet.rap()):
            continue
        own = jet.constituents()
        particles = np.asarray([(p.pt(), p.rap() - jet.rap(), jet.delta_phi_to(p)) for p in own])
        numbers = np.asarray([seen[p.user_index()].id() for p in own])
        yield (jet.pt(), jet.rap(), jet.phi_std()), particles, numbers


def _early_looks(kind: str, pythia8: ModuleType, fastjet: ModuleType, definition: Any) -> Any:
    """What Pythia asks before it goes on: after the hard process, and within the shower."""

    class Looks(pythia8.UserHooks):
        def canVetoProcessLevel(self) -> bool:
            return kind == "quark"

        def doVetoProcessLevel(self, process: Any) -> bool:
            return not any(0 < process[i].idAbs() <= LIGHT for i in range(5, process.size()))

        def canVetoPT(self) -> bool:
            return True

        def scaleVetoPT(self) -> float:
            return EARLY

        def doVetoPT(self, stage: int, event: Any) -> bool:
            if stage > 3:  # called once more when the Z has decayed
                return False
            partons = [p for p in event if p.isFinal() and p.idAbs() != Z_BOSON]
            given = [_momentum(fastjet, p, index) for index, p in enumerate(partons)]
            clustering = fastjet.ClusterSequence(given, definition)
            return not any(
                NEAR[0] < jet.pt() < NEAR[1] and abs(jet.rap()) < NEAR_RAPIDITY
                for jet in clustering.inclusive_jets(NEAR[0])
            )

    return Looks()


def _momentum(fastjet: ModuleType, particle: Any, index: int) -> Any:
    pseudojet = fastjet.PseudoJet(particle.px(), particle.py(), particle.pz(), particle.e())
    pseudojet.set_user_index(index)
    return pseudojet


def _kept(momentum: float, rapidity: float) -> bool:
    return WINDOW[0] <= momentum <= WINDOW[1] and abs(rapidity) < LARGEST_RAPIDITY


def _mixed(quarks: Jets, gluons: Jets) -> Jets:
    """One of each in turn, so that any range of the file has as many of both."""
    both = [
        part[i : i + 1] for i in range(len(quarks)) for part in (quarks, gluons) if i < len(part)
    ]
    return join(both)


def _described() -> str:
    return "; ".join((*SETTINGS, *PROCESSES.values(), f"anti-kT {RADIUS}", f"pT {WINDOW}"))


def _check(path: Path, seed: int, chunk: int) -> None:
    archive = arrays(path, ("seed", "chunk"))
    found = (int(archive["seed"]), int(archive["chunk"]))
    if found != (seed, chunk):
        raise ValueError(
            f"{path} was generated with (seed, chunk) = {found}, requested were "
            f"{(seed, chunk)}: take another folder"
        )


def _packages() -> tuple[ModuleType, ModuleType]:
    try:
        import fastjet  # pyright: ignore[reportMissingImports]
        import pythia8mc  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f'jets are generated by Pythia and FastJet: pip install "jaxpbdl[jets]" ({error}); '
            "jaxpbdl.data.shower makes simple ones without them"
        ) from error
    return pythia8mc, fastjet
