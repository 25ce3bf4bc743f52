"""Where a data set lies on this computer. Nothing is ever fetched."""

import os
from dataclasses import dataclass
from pathlib import Path

from jaxpbdl.checks import DataError

VARIABLE = "JAXPBDL_DATA"


@dataclass(frozen=True)
class Source:
    """A published data set: the names it may have below the data folder, and its origin."""

    files: tuple[str, ...]
    origin: str
    licence: str


SOURCES = {
    "airfoils": Source(
        files=("airfoil-coordinates-uiuc/uiuc_airfoils.zip",),
        origin=(
            "https://pypi.org/project/aerosandbox (4.2.10), the files *.dat of "
            "aerosandbox/geometry/airfoil/airfoil_database in one zip (UIUC Airfoil Coordinates "
            "Database of M. Selig, with additions)"
        ),
        licence="MIT",
    ),
    "burgers-shock": Source(
        files=("pinns-raissi/burgers_shock.mat",),
        origin=(
            "https://github.com/maziarraissi/PINNs, file appendix/Data/burgers_shock.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
    "allen-cahn": Source(
        files=("pinns-raissi/AC.mat",),
        origin=(
            "https://github.com/maziarraissi/PINNs, file main/Data/AC.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
    "schroedinger": Source(
        files=("pinns-raissi/NLS.mat",),
        origin=(
            "https://github.com/maziarraissi/PINNs, file main/Data/NLS.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
    "korteweg-de-vries": Source(
        files=("pinns-raissi/KdV.mat",),
        origin=(
            "https://github.com/maziarraissi/PINNs, file main/Data/KdV.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
    "ghia-cavity": Source(
        files=("flow-references/ghia_et_al_1982_lid_driven_cavity.dat",),
        origin=(
            "https://github.com/barbagroup/PetIBM, file "
            "examples/data/ghia_et_al_1982_lid_driven_cavity.dat "
            "(Ghia, Ghia and Shin, J. Comput. Phys. 48 (1982) 387, tables I and II)"
        ),
        licence="BSD-3-Clause",
    ),
    "dfg-forces": Source(
        files=("dfg-cylinder-2d3/bdforces_lv4",),
        origin=(
            "https://github.com/jorgensd/dolfinx-tutorial, file chapter2/bdforces_lv4 (FEATFLOW, "
            "drag and lift of the benchmark DFG 2D-3)"
        ),
        licence="CC BY 4.0 (J. S. Dokken, The FEniCSx tutorial; FEATFLOW, TU Dortmund)",
    ),
    "burgers-small": Source(
        files=("fno-darcy-burgers/burgers_small.npz",),
        origin=(
            "https://github.com/neuraloperator/neuraloperator, files burgers_train_16.pt and "
            "burgers_test_16.pt in neuralop/data/datasets/data, as one npz with the arrays "
            "<file>_x (initial states) and <file>_y (states in time)"
        ),
        licence="MIT",
    ),
    "darcy-small": Source(
        files=("fno-darcy-burgers/darcy_small.npz",),
        origin=(
            "https://github.com/neuraloperator/neuraloperator, files darcy_train_16.pt, "
            "darcy_test_16.pt and darcy_test_32.pt in neuralop/data/datasets/data, as one npz with "
            "the arrays <file>_a (coefficient class) and <file>_u (solution)"
        ),
        licence="MIT",
    ),
    "jet-events": Source(
        files=("jets-fastjet-reference/ee_higgs_events.npz",),
        origin=(
            "https://github.com/JuliaHEP/JetReconstruction.jl, test/data/events.eeH.hepmc3.zst "
            "(final particles as one npz with the arrays p4_px_py_pz_E_GeV, pdg, event_offsets) "
            "and beside it the files jet-collections-fastjet-*.json.zst, unpacked"
        ),
        licence="MIT",
    ),
    "acac": Source(
        files=("molecules-acac/train_300K.xyz",),
        origin=(
            "https://github.com/davkovacs/BOTNet-datasets, folder dataset_acac, all its files side "
            "by side (Batatia et al., arXiv:2205.06643)"
        ),
        licence="MIT",
    ),
    "airfoil-drag": Source(
        files=("airfoil-adflow/cd_airfoil_rans_f32.npz",),
        origin=(
            "https://github.com/SMTorg/smt, files cd_x_y.csv and cd_dy.csv in "
            "smt/examples/airfoil_parameters, as one npz with the arrays x, cd and dcd_dx "
            "(Bouhlel, He, Martins, Struct. Multidisc. Optim. 61 (2020) 1363)"
        ),
        licence="BSD-3-Clause",
    ),
    "qm7-dftb3": Source(
        files=("delta-qm7/qm7_pbe0_dftb3.npz",),
        origin=(
            "https://github.com/qmlcode/tutorial, hof_qm7.txt and the folder qm7, as one npz with "
            "the arrays Z, R (Angstrom), hof_pbe0_kcal_mol and hof_dftb3_kcal_mol"
        ),
        licence="MIT",
    ),
    "ccsd-mp2": Source(
        files=("delta-qm7/showcase-mp2-ccsd-energy.xyz",),
        origin=(
            "https://github.com/BingqingCheng/linear-regression-benchmarks, file "
            "qm7b-ccsd-mp2/showcase-mp2-ccsd-energy.xyz"
        ),
        licence="MIT",
    ),
    "methane": Source(
        files=("molecules-qm22/methane_b3lyp.npz",),
        origin=(
            "https://github.com/jmbowma/QM-22, Methane.zip, as one npz with the arrays Z, "
            "E_hartree, R_angstrom and grad_hartree_per_bohr"
        ),
        licence="Apache-2.0",
    ),
    "hydronium": Source(
        files=("molecules-qm22/hydronium_ccsdt.npz",),
        origin=(
            "https://github.com/jmbowma/QM-22, Hydronium.zip, as one npz with the arrays Z, "
            "E_hartree and R_angstrom"
        ),
        licence="Apache-2.0",
    ),
    "cylinder-wake": Source(
        files=(
            "pinns-raissi/cylinder_nektar_wake_f32.npz",
            "pinns-raissi/cylinder_nektar_wake.mat",
        ),
        origin=(
            "https://github.com/maziarraissi/PINNs, file main/Data/cylinder_nektar_wake.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
}


def find(name: str, *, given: str | Path | None = None) -> Path:
    """The file of the data set `name`: the one `given`, or one below the folder `$JAXPBDL_DATA`.

    Raises `ValueError` for an unknown name, and `DataError` if there is no file; the message says
    where the data come from, their licence, and both ways to point to them.
    """
    if name not in SOURCES:
        raise ValueError(f"data set must be one of {', '.join(SOURCES)}, got {name!r}")
    source = SOURCES[name]
    folder = os.environ.get(VARIABLE)
    if given is not None:
        candidates = [Path(given).expanduser()]
    else:
        candidates = [Path(folder).expanduser() / file for file in source.files] if folder else []
    for path in candidates:
        if path.is_file():
            return path
    searched = " or ".join(map(str, candidates))
    tried = f"no file {searched}" if searched else f"{VARIABLE} is not set"
    raise DataError(
        f"data set {name}: {tried}. Origin: {source.origin}; licence: {source.licence}. "
        f"Point to it with `--data FILE`, or set {VARIABLE} to a folder with {source.files[0]}"
    )
