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
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.data.archive import arrays, write_arrays

KEYS = ("particles", "pdg", "counts", "axes", "quark")
KINDS = {11: 0, 13: 1, 22: 2, 211: 3, 321: 4, 130: 5, 310: 5, 2112: 6, 2212: 7}
"""What a detector can tell apart: electron, muon, photon, charged pion, charged kaon, neutral kaon,
neutron, proton; anything else counts as the last."""
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


class Constituents(NamedTuple):
    """What the particles of jets are, normalised; the particles of one jet or of many, one after
    another, or padded `(jets, size, ...)`.

    - `shares`: of the sum of the transverse momenta of the jet; they add to one.
    - `angles`: rapidity and azimuth relative to the centre of the jet, the mean by the shares.
    - `kinds`: which of `CLASSES` kinds a particle is, as zeros and a one, and its charge.
    """

    shares: Float[Array, "*particles"]
    angles: Float[Array, "*particles 2"]
    kinds: Float[Array, "*particles kinds"]


def constituents(jets: Jets) -> Constituents:
    """The particles of all jets, one after another, as NumPy arrays of float32.

    As Komiske, Metodiev and Thaler (JHEP 01 (2019) 121) have it: a jet is centred, and its
    transverse momenta are divided by their sum.
    """
    owner = np.repeat(np.arange(len(jets)), jets.counts)
    momenta, angles = jets.particles[:, 0].astype(float), jets.particles[:, 1:].astype(float)
    shares = momenta / np.bincount(owner, momenta)[owner]
    centres = [np.bincount(owner, shares * angles[:, axis]) for axis in range(2)]
    angles = angles - np.stack(centres, axis=1)[owner]
    numbers, at = np.unique(np.abs(jets.pdg), return_inverse=True)
    kinds = np.eye(CLASSES)[[KINDS.get(int(number), CLASSES - 1) for number in numbers]][at]
    kinds = np.concatenate([kinds, charge(jets.pdg)[:, None]], axis=1)
    parts: list[Any] = [part.astype(np.float32) for part in (shares, angles, kinds)]
    return Constituents(*parts)


def pad(jets: Jets, size: int | None = None) -> tuple[Constituents, np.ndarray]:
    """Constituents with zeros up to `size` particles, by default those of the largest jet, and the
    mask `(jets, size)` of those that are there.

    Raises ValueError for a jet of more particles than `size`.
    """
    largest = int(np.max(jets.counts, initial=1))
    size = largest if size is None else size
    if size < largest:
        raise ValueError(f"size must be at least {largest}, the largest jet, got {size}")
    mask = np.arange(size) < jets.counts[:, None]

    def padded(rows: Any) -> Any:
        filled = np.zeros((*mask.shape, *rows.shape[1:]), rows.dtype)
        filled[mask] = rows
        return filled

    return Constituents(*(padded(part) for part in constituents(jets))), mask


def charge(pdg: np.ndarray) -> np.ndarray:
    """Electric charge of the particles that reach a detector, by their number; else zero."""
    number = np.abs(pdg)
    lepton = np.isin(number, (11, 13))
    hadron = np.isin(number, (211, 321, 2212, 3222))
    return np.sign(pdg) * (hadron.astype(float) - (lepton | np.isin(number, (3112, 3312, 3334))))


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
    write_arrays(path, kept)
