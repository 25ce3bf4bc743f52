"""Learned steps: hybrids of solver and network, their losses, and fits of one model or an
ensemble.
"""

from jaxpbdl.learning.checkpoint import latest, load, save
from jaxpbdl.learning.ensemble import fit_ensemble, member, members, stack
from jaxpbdl.learning.evaluate import Evaluation, compare, evaluate
from jaxpbdl.learning.fit import Diverged, fit
from jaxpbdl.learning.hybrid import Corrected, Emulator, as_channels, trainable
from jaxpbdl.learning.lock import RunLock
from jaxpbdl.learning.loop import History
from jaxpbdl.learning.losses import Windows, one_step, pushforward, unrolled
from jaxpbdl.learning.operator_losses import Samples, relative_h1_loss, relative_l2_loss

__all__ = [
    "Corrected",
    "Diverged",
    "Emulator",
    "Evaluation",
    "History",
    "RunLock",
    "Samples",
    "Windows",
    "as_channels",
    "compare",
    "evaluate",
    "fit",
    "fit_ensemble",
    "latest",
    "load",
    "member",
    "members",
    "one_step",
    "pushforward",
    "relative_h1_loss",
    "relative_l2_loss",
    "save",
    "stack",
    "trainable",
    "unrolled",
]
