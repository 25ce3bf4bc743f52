"""Experiments: one file a system, from data to a table and a picture.

Importing this package imports no experiment, so listing them is quick.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxpbdl.experiments.contract import Experiment


@dataclass(frozen=True)
class Entry:
    """Where an experiment lies: `module` exposes it as `EXPERIMENT`."""

    module: str
    summary: str


EXPERIMENTS: dict[str, Entry] = {
    "airfoil-drag": Entry(
        "jaxpbdl.experiments.airfoils.airfoil_drag",
        "the drag of an airfoil from simulations, with and without their gradients",
    ),
    "airfoil-surrogate": Entry(
        "jaxpbdl.experiments.airfoils.airfoil_surrogate",
        "networks give the flow about airfoils they have not seen, and how sure they are",
    ),
    "burgers-control": Entry(
        "jaxpbdl.experiments.control.burgers_control",
        "forces steer Burgers' equation to a target, learned through the solver",
    ),
    "delta-learning": Entry(
        "jaxpbdl.experiments.molecules.delta_learning",
        "energies of molecules beyond a cheap method: the data that the baseline saves",
    ),
    "drag-minimisation": Entry(
        "jaxpbdl.experiments.control.drag_minimisation",
        "the shape of least drag at a given area, by gradients through the flow",
    ),
    "fno-burgers": Entry(
        "jaxpbdl.experiments.operators.fno_burgers",
        "a Fourier neural operator learns Burgers' equation at 1024 points on data of its own",
    ),
    "fno-darcy": Entry(
        "jaxpbdl.experiments.operators.fno_darcy",
        "a Fourier neural operator learns porous flow at 16 points a side and is asked at 32",
    ),
    "learned-interpolation": Entry(
        "jaxpbdl.experiments.turbulence.learned_interpolation",
        "a network chooses the stencils of a coarse finite-volume solver of turbulence",
    ),
    "operator-navier-stokes": Entry(
        "jaxpbdl.experiments.operators.operator_navier_stokes",
        "neural operators go on with a forced flow for forty units of time",
    ),
    "operators-burgers": Entry(
        "jaxpbdl.experiments.operators.operators_burgers",
        "FNO, DeepONet and its POD form learn Burgers' equation, beside the solver",
    ),
    "pinn-allen-cahn": Entry(
        "jaxpbdl.experiments.pinns.pinn_allen_cahn",
        "a physics-informed network resolves the thin interfaces of the Allen-Cahn equation",
    ),
    "pinn-burgers": Entry(
        "jaxpbdl.experiments.pinns.pinn_burgers",
        "a physics-informed network follows Burgers' equation up to its steep front",
    ),
    "pinn-cavity": Entry(
        "jaxpbdl.experiments.pinns.pinn_cavity",
        "a physics-informed network finds the flow in a lid-driven cavity",
    ),
    "pinn-kdv-inverse": Entry(
        "jaxpbdl.experiments.pinns.pinn_kdv_inverse",
        "coefficients of the Korteweg-de Vries equation from two snapshots",
    ),
    "pinn-schroedinger": Entry(
        "jaxpbdl.experiments.pinns.pinn_schroedinger",
        "a physics-informed network follows a breathing wave packet",
    ),
    "pinn-wake-inverse": Entry(
        "jaxpbdl.experiments.pinns.pinn_wake_inverse",
        "coefficients and pressure of a cylinder wake from scattered velocities",
    ),
    "pino-burgers": Entry(
        "jaxpbdl.experiments.operators.pino_burgers",
        "a neural operator of Burgers' equation from a few solutions and the equation itself",
    ),
    "potential-acac": Entry(
        "jaxpbdl.experiments.molecules.potential_acac",
        "energies and forces of a molecule, learned at 300 K and asked at 600 K and beyond",
    ),
    "potential-hydronium": Entry(
        "jaxpbdl.experiments.molecules.potential_hydronium",
        "a committee of equivariant potentials learns hydronium from energies alone",
    ),
    "potential-methane": Entry(
        "jaxpbdl.experiments.molecules.potential_methane",
        "a committee of equivariant potentials learns methane and picks its geometries",
    ),
    "projection-network": Entry(
        "jaxpbdl.experiments.pressure.projection_network",
        "a network makes flows free of divergence, trained by the divergence it leaves",
    ),
    "quark-gluon": Entry(
        "jaxpbdl.experiments.jets.quark_gluon",
        "networks on sets of particles tell jets of quarks from jets of gluons",
    ),
    "soft-clustering": Entry(
        "jaxpbdl.experiments.jets.soft_clustering",
        "jets by FastJet's algorithm, and softly: differentiable, with the exact ones as its limit",
    ),
    "spectral-bias": Entry(
        "jaxpbdl.experiments.pinns.spectral_bias",
        "the frequencies a physics-informed network learns first, and what helps",
    ),
    "turbulence-correction": Entry(
        "jaxpbdl.experiments.turbulence.turbulence_correction",
        "a network trained through a coarse solver corrects it towards a fine one",
    ),
    "wake-correction": Entry(
        "jaxpbdl.experiments.wakes.wake_correction",
        "a network trained through a coarse solver corrects wakes at unseen Reynolds numbers",
    ),
    "wake-forecast": Entry(
        "jaxpbdl.experiments.wakes.wake_forecast",
        "an ensemble forecasts the wake of a cylinder and says how sure it is",
    ),
    "warm-start": Entry(
        "jaxpbdl.experiments.pressure.warm_start",
        "a network trained through conjugate gradients guesses where they begin",
    ),
}


def load(name: str) -> "Experiment":
    """Import the experiment `name`.

    Raises `ValueError` for an unknown name, with the names that come close.
    """
    if name not in EXPERIMENTS:
        close = get_close_matches(name, EXPERIMENTS, n=3, cutoff=0.4)
        hint = (
            f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(EXPERIMENTS)}"
        )
        raise ValueError(f"unknown experiment {name!r}; {hint}")
    try:
        module = import_module(EXPERIMENTS[name].module)
    except ModuleNotFoundError as error:
        if error.name != EXPERIMENTS[name].module:
            raise  # the experiment is there; something it needs is not
        raise ValueError(f"experiment {name!r} is not part of this installation") from None
    return module.EXPERIMENT
