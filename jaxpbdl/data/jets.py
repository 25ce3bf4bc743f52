"""Jets as sets of particles: a file of them, and padded arrays with masks to learn from.

A file is one `.npz` archive with the particles of all jets one after another: `particles`
`(total, 3)` with transverse momentum in GeV, rapidity and azimuth relative to the axis of the jet,
`pdg` `(total,)` with their identities in the numbering of the Particle Data Group, `counts`
`(jets,)`, `axes` `(jets, 3)` with transverse momentum in GeV, rapidity and azimuth of the jet, and
`quark` `(jets,)`, whether a quark began it or a gluon.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxpbdl import checks
from jaxpbdl.data.archive import arrays
from jaxpbdl.files import replacing

KEYS = ("particles", "pdg", "counts", "axes", "quark")
KINDS = {11: 0, 13: 1, 22: 2, 211: 3, 321: 4, 130: 5, 310: 5, 2112: 6, 2212: 7}
"""What a detector can tell apart: electron, muon, photon, charged pion, charged kaon, neutral kaon,
neutron, proton; all else (a few in a million) counts as the last."""
CLASSES = 8


@dataclass(frozen=True, eq=False)
class Jets:
    """Jets, their particles one after another. Attributes: see the layout of the file."""

    particles: np.ndarray
    pdg: np.ndarray
    counts: np.ndarray
    axes: np.ndarray
    quark: np.ndarray

    def __post_init__(self):
        jets, total = len(self.counts), int(np.sum(self.counts))
        for name, expected in {
            "particles": (total, 3),
            "pdg": (total,),
            "axes": (jets, 3),
            "quark": (jets,),
        }.items():
            checks.shape(name, getattr(self, name), expected)
        if jets and np.min(self.counts) < 1:
            raise ValueError(f"jet {int(np.argmin(self.counts))} has no particle")

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, chosen: slice) -> "Jets":
        """A range of the jets."""
        jets = range(len(self))[chosen]
        if jets.step != 1:
            raise ValueError(f"a range of jets must have step 1, got {chosen}")
        ends = np.concatenate([[0], np.cumsum(self.counts)])
        held = slice(ends[jets.start], ends[jets.stop])
        kept = slice(jets.start, jets.stop)
        return Jets(
            self.particles[held],
            self.pdg[held],
            self.counts[kept],
            self.axes[kept],
            self.quark[kept],
        )


@dataclass(frozen=True, eq=False)
class Padded:
    """Jets as arrays to learn from, `(jets, most, ...)`, hardest particle first.

    Attributes:
        fractions: of the sum of the transverse momenta of the jet; they add to one, zero where
            there is no particle.
        angles: `(jets, most, 2)`, rapidity and azimuth relative to the centre of the jet, the mean
            weighted by the fractions.
        kinds: `(jets, most, CLASSES + 1)`, one of `CLASSES` and the charge; zero in the padding.
        mask: where there is a particle.
        quark: `(jets,)`.
    """

    fractions: np.ndarray
    angles: np.ndarray
    kinds: np.ndarray
    mask: np.ndarray
    quark: np.ndarray


def pad(jets: Jets, most: int | None = None) -> Padded:
    """Jets as arrays of `most` particles, by default those of the largest jet; float32.

    As in Komiske, Metodiev and Thaler (JHEP 01 (2019) 121), a jet is centred and its transverse
    momenta are divided by their sum. Raises ValueError for a jet of more particles than `most`.
    """
    largest = int(np.max(jets.counts, initial=1))
    most = largest if most is None else most
    if most < largest:
        raise ValueError(f"most must be at least {largest}, the largest jet, got {most}")
    mask = np.arange(most) < jets.counts[:, None]
    momenta, angles, pdg = _spread(jets.particles[:, 0], mask), None, _spread(jets.pdg, mask)
    order = np.argsort(-momenta, axis=1, kind="stable")
    fractions = momenta / np.sum(momenta, axis=1, keepdims=True)
    angles = np.stack([_spread(jets.particles[:, i], mask) for i in (1, 2)], axis=-1)
    angles -= np.sum(fractions[..., None] * angles, axis=1, keepdims=True) * mask[..., None]
    kinds = np.zeros((*mask.shape, CLASSES + 1), np.float32)
    index = np.vectorize(lambda number: KINDS.get(number, CLASSES - 1), otypes=[int])
    unique, inverse = np.unique(np.abs(pdg), return_inverse=True)
    np.put_along_axis(kinds, index(unique)[inverse].reshape(mask.shape)[..., None], 1.0, axis=2)
    kinds[..., -1] = charge(pdg)
    kinds *= mask[..., None]
    by = order[..., None]
    return Padded(
        np.take_along_axis(fractions, order, 1).astype(np.float32),
        np.take_along_axis(angles, by, 1).astype(np.float32),
        np.take_along_axis(kinds, by, 1),
        mask,
        jets.quark,
    )


def charge(pdg: np.ndarray) -> np.ndarray:
    """Electric charge of the particles that reach a detector, by their number; else zero."""
    number = np.abs(pdg)
    lepton = np.isin(number, (11, 13))
    hadron = np.isin(number, (211, 321, 2212, 3222))
    return np.sign(pdg) * (hadron.astype(float) - (lepton | np.isin(number, (3112, 3312, 3334))))


def _spread(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    padded = np.zeros(mask.shape, values.dtype)
    padded[mask] = values
    return padded


def join(parts: Sequence[Jets]) -> Jets:
    """Several sets of jets as one."""
    return Jets(*(np.concatenate([getattr(part, name) for part in parts]) for name in KEYS))


def read_jets(path: str | Path) -> Jets:
    """Jets from a file, or from all files `*.npz` of a folder in the order of their names.

    Raises `checks.DataError` for a missing or damaged file, or arrays that do not fit.
    """
    path = Path(path)
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise checks.DataError(f"{path}: no file *.npz in this folder")
    parts = []
    for file in files:
        found = arrays(file, KEYS)
        try:
            parts.append(Jets(*(found[name] for name in KEYS)))
        except ValueError as error:
            raise checks.DataError(f"{file}: {error}") from error
    return join(parts)


def write_jets(path: str | Path, jets: Jets, **notes: str | int) -> None:
    """Write a file that appears only when complete; `notes` say where the jets come from."""
    kept = {name: getattr(jets, name) for name in KEYS} | {
        name: np.asarray(note) for name, note in notes.items()
    }
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **kept)
