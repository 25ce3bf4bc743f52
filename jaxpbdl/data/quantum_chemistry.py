"""Energies of given geometries by PySCF: labels that are computed, once, and kept.

`method` is "hf", "mp2", "ccsd", "ccsd(t)" (all electrons correlated) or the name of any density
functional of PySCF, "pbe" or "b3lyp" say. Energies are total energies in hartree, positions in
Angstrom. PySCF: Sun et al., J. Chem. Phys. 153 (2020) 024109.
"""

import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxpbdl import checks
from jaxpbdl.checks import DataError
from jaxpbdl.data.archive import arrays, write_arrays

KEYS = ("numbers", "positions", "energies", "method", "basis", "charge")


def energies(
    numbers: Int[np.ndarray, " atoms"],
    positions: Float[np.ndarray, "geometries atoms 3"],
    method: str,
    basis: str = "cc-pvdz",
    *,
    charge: int = 0,
    path: str | Path | None = None,
    save_every: int = 20,
    threads: int = 1,
    progress: bool = True,
) -> Float[np.ndarray, " geometries"]:
    """The energies of one closed-shell molecule in many geometries, hartree.

    With a `path` they are written there every `save_every` geometries, and a call that was stopped
    goes on from there; one that was not reads them. More than one of `threads` only slows a
    molecule of a few atoms down, and by ten times on a busy machine.

    **Raises** ModuleNotFoundError without PySCF; ValueError for an odd number of electrons, an
    unknown method or basis, or positions of another shape; `DataError` for a file of another
    molecule, method or basis, or whose geometries are not these; `checks.BlowUp` naming the
    geometry whose equations did not converge.
    """
    numbers, positions = np.asarray(numbers), np.asarray(positions, dtype=float)
    checks.shape("positions", positions, (len(positions), len(numbers), 3))
    checks.finite("positions", positions)
    checks.counts(save_every=save_every, threads=threads)
    electrons = int(np.sum(numbers)) - charge
    if electrons % 2 or electrons < 2:
        raise ValueError(
            f"a closed shell has an even number of electrons, got {electrons} (charge {charge})"
        )
    settings: dict[str, Any] = {"method": method.lower(), "basis": basis, "charge": charge}
    found = [] if path is None else _found(Path(path), numbers, positions, settings)
    lib = _pyscf("lib")
    begun = said = time.perf_counter()
    first = len(found)
    for index in range(first, len(positions)):
        with lib.with_omp_threads(threads):
            found.append(_energy(numbers, positions[index], index, **settings))
        done, now = index + 1, time.perf_counter()
        if path is not None and (done % save_every == 0 or done == len(positions)):
            kept = {"numbers": numbers, "positions": positions, "energies": np.array(found)}
            write_arrays(path, kept | {name: np.array(value) for name, value in settings.items()})
        if progress and now - said > 30:
            said, rate = now, (done - first) / (now - begun)
            print(f"{method} {done}/{len(positions)}  {rate:.2g} a second", file=sys.stderr)
    return np.array(found)


def _found(
    path: Path, numbers: np.ndarray, positions: np.ndarray, settings: Mapping[str, str | int]
) -> list[float]:
    if not path.exists():
        return []
    kept = arrays(path, KEYS)
    for name, value in settings.items():
        if kept[name].item() != value:
            raise DataError(f"{path}: {name} is {kept[name].item()!r}, wanted {value!r}")
    if not np.array_equal(kept["numbers"], numbers):
        raise DataError(f"{path}: another molecule, {kept['numbers']}, wanted {numbers}")
    if kept["positions"].shape != positions.shape or not np.allclose(
        kept["positions"], positions, rtol=0, atol=1e-8
    ):
        raise DataError(f"{path}: its {len(kept['positions'])} geometries are not the wanted ones")
    return kept["energies"].tolist()


def _energy(
    numbers: np.ndarray, places: np.ndarray, index: int, method: str, basis: str, charge: int
) -> float:
    gto, scf, dft, cc = (_pyscf(name) for name in ("gto", "scf", "dft", "cc"))
    atoms = [(int(z), tuple(place)) for z, place in zip(numbers, places, strict=True)]
    try:
        molecule = gto.M(atom=atoms, basis=basis, charge=charge, unit="Angstrom", verbose=0)
    except Exception as error:  # PySCF raises what its tables led to
        raise ValueError(f"basis must be known to PySCF for these atoms, got {basis!r}") from error

    def solved(field: Any) -> Any:
        field.run(conv_tol=1e-10)
        if not field.converged:
            raise checks.BlowUp(f"{method}: the orbitals of geometry {index} did not converge")
        return field

    def coupled_cluster() -> Any:
        cluster = cc.CCSD(solved(scf.RHF(molecule))).run(conv_tol=1e-9, conv_tol_normt=1e-7)
        if not cluster.converged:
            raise checks.BlowUp(f"{method}: the amplitudes of geometry {index} did not converge")
        return cluster

    def triples() -> float:
        cluster = coupled_cluster()
        return cluster.e_tot + cluster.ccsd_t()

    known: dict[str, Callable[[], float]] = {
        "hf": lambda: solved(scf.RHF(molecule)).e_tot,
        "mp2": lambda: solved(scf.RHF(molecule)).MP2().run().e_tot,
        "ccsd": lambda: coupled_cluster().e_tot,
        "ccsd(t)": triples,
    }
    if method in known:
        return float(known[method]())
    try:
        field = dft.RKS(molecule, xc=method)
        dft.libxc.parse_xc(method)
    except Exception as error:
        raise ValueError(
            f"method must be one of {', '.join(known)} or a density functional, got {method!r}"
        ) from error
    return float(solved(field).e_tot)


def _pyscf(module: str) -> Any:
    try:
        return import_module(f"pyscf.{module}")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "energies are computed by PySCF: pip install 'jaxpbdl[chem]'"
        ) from None
