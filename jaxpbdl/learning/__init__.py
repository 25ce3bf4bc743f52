"""Learned steps: hybrids of solver and network, their losses, and fits of one model or an
ensemble.
"""

from jaxpbdl.learning.callbacks import CsvLog, Report, TensorBoardLog, each, wandb_log
from jaxpbdl.learning.collocation import mean_over, residual_at, residual_loss, weak_loss
from jaxpbdl.learning.delta import Delta, data_factors
from jaxpbdl.learning.dmd import LinearStep, dynamic_modes
from jaxpbdl.learning.draws import Samples
from jaxpbdl.learning.ensemble import fit_ensemble, member, members, stack
from jaxpbdl.learning.evaluate import Evaluation, compare, evaluate
from jaxpbdl.learning.exported import export, export_onnx, exported
from jaxpbdl.learning.fit import Diverged, fit
from jaxpbdl.learning.forced import Forced
from jaxpbdl.learning.front import Method, PayOff, Point, break_even_solves, pay_off
from jaxpbdl.learning.hybrid import Corrected, Emulator, Parametrised, Varied, Varying
from jaxpbdl.learning.judge import residual_of
from jaxpbdl.learning.lock import RunLock
from jaxpbdl.learning.loop import History
from jaxpbdl.learning.losses import Driven, Windows, one_step, pushforward, unrolled
from jaxpbdl.learning.motion import (
    AccelerationNetwork,
    HamiltonianNetwork,
    LagrangianNetwork,
    LearnedMotion,
    hamiltonian_rates,
    lagrangian_acceleration,
)
from jaxpbdl.learning.muon import muon
from jaxpbdl.learning.operator_losses import (
    defect_loss,
    operator_residual_loss,
    relative_h1_loss,
    relative_l2_loss,
)
from jaxpbdl.learning.quasi_newton import quasi_newton
from jaxpbdl.learning.streaming import Stream, WindowsOnDisk
from jaxpbdl.learning.update import PerChunk
from jaxpbdl.learning.weighting import ascent, balance, causal_weights
from jaxpbdl.trainable import trainable

__all__ = [
    "AccelerationNetwork",
    "Corrected",
    "CsvLog",
    "Delta",
    "Diverged",
    "Driven",
    "Emulator",
    "Evaluation",
    "Forced",
    "HamiltonianNetwork",
    "History",
    "LagrangianNetwork",
    "LearnedMotion",
    "LinearStep",
    "Method",
    "Parametrised",
    "PayOff",
    "PerChunk",
    "Point",
    "Report",
    "RunLock",
    "Samples",
    "Stream",
    "TensorBoardLog",
    "Varied",
    "Varying",
    "Windows",
    "WindowsOnDisk",
    "ascent",
    "balance",
    "break_even_solves",
    "causal_weights",
    "compare",
    "data_factors",
    "defect_loss",
    "dynamic_modes",
    "each",
    "evaluate",
    "export",
    "export_onnx",
    "exported",
    "fit",
    "fit_ensemble",
    "hamiltonian_rates",
    "lagrangian_acceleration",
    "mean_over",
    "member",
    "members",
    "muon",
    "one_step",
    "operator_residual_loss",
    "pay_off",
    "pushforward",
    "quasi_newton",
    "relative_h1_loss",
    "relative_l2_loss",
    "residual_at",
    "residual_loss",
    "residual_of",
    "stack",
    "trainable",
    "unrolled",
    "wandb_log",
    "weak_loss",
]
