"""Schroedinger's equation in time: wave functions on grids, ground states, few levels, controls."""

from jaxpbdl.solvers.quantum.imaginary_time import GroundState, ground_state
from jaxpbdl.solvers.quantum.levels import (
    LevelStep,
    LindbladStep,
    distance,
    few_levels,
    infidelity,
    lindblad,
    propagator,
)
from jaxpbdl.solvers.quantum.observables import (
    chemical_potential,
    mean_position,
    overlap,
    probability,
    total_energy,
)
from jaxpbdl.solvers.quantum.operators import (
    lowering,
    pauli_x,
    pauli_y,
    pauli_z,
    tensor,
    transition,
)
from jaxpbdl.solvers.quantum.pulses import (
    FilteredPulse,
    HeldPulse,
    WithinBall,
    WithinBox,
    in_slices,
)
from jaxpbdl.solvers.quantum.split_step import (
    SchroedingerStep,
    TimedWave,
    absorbing_layer,
    schroedinger,
)

__all__ = [
    "FilteredPulse",
    "GroundState",
    "HeldPulse",
    "LevelStep",
    "LindbladStep",
    "SchroedingerStep",
    "TimedWave",
    "WithinBall",
    "WithinBox",
    "absorbing_layer",
    "chemical_potential",
    "distance",
    "few_levels",
    "ground_state",
    "in_slices",
    "infidelity",
    "lindblad",
    "lowering",
    "mean_position",
    "overlap",
    "pauli_x",
    "pauli_y",
    "pauli_z",
    "probability",
    "propagator",
    "schroedinger",
    "tensor",
    "total_energy",
    "transition",
]
