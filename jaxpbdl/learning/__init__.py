"""Fit models: one or an ensemble, resumable, with checkpoints that notice damage."""

from jaxpbdl.learning.checkpoint import latest, load, save
from jaxpbdl.learning.ensemble import fit_ensemble, member, members, stack
from jaxpbdl.learning.fit import Diverged, fit
from jaxpbdl.learning.lock import RunLock
from jaxpbdl.learning.loop import History

__all__ = [
    "Diverged",
    "History",
    "RunLock",
    "fit",
    "fit_ensemble",
    "latest",
    "load",
    "member",
    "members",
    "save",
    "stack",
]
