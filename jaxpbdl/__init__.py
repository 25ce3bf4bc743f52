"""jaxpbdl: physics-based deep learning in JAX.

A step is a pure function `state -> state`, a field a pure function `point -> value`, an equation
the physics that turns into the one and judges the other.

`import jaxpbdl` imports nothing else: each name is imported when it is first used, so that the
command line can answer before JAX starts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxpbdl import (
        checks,
        data,
        diagnostics,
        distributed,
        equations,
        fields,
        generative,
        grids,
        inference,
        initial_states,
        learning,
        molecules,
        networks,
        relaxations,
        shapes,
        solvers,
        uncertainty,
    )
    from jaxpbdl.learning.model_file import load, read_card, save
    from jaxpbdl.quantities import with_units
    from jaxpbdl.rollouts import raise_blow_up, repeat, rollout, watched_rollout
    from jaxpbdl.step import Step

    __version__: str

__all__ = [
    "Step",
    "__version__",
    "checks",
    "data",
    "diagnostics",
    "distributed",
    "equations",
    "fields",
    "generative",
    "grids",
    "inference",
    "initial_states",
    "learning",
    "load",
    "molecules",
    "networks",
    "raise_blow_up",
    "read_card",
    "relaxations",
    "repeat",
    "rollout",
    "save",
    "shapes",
    "solvers",
    "uncertainty",
    "watched_rollout",
    "with_units",
]

# No module may have the name of a function here: importing the module would hide the function.
MODULES = {
    "Step": "step",
    "load": "learning.model_file",
    "raise_blow_up": "rollouts",
    "read_card": "learning.model_file",
    "repeat": "rollouts",
    "rollout": "rollouts",
    "save": "learning.model_file",
    "watched_rollout": "rollouts",
    "with_units": "quantities",
}
"""Where the names lie that are not sub-packages or modules themselves."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in MODULES:
        return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
    return import_module(f"{__name__}.{name}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jaxpbdl")
    except PackageNotFoundError:  # a folder of sources that was never installed
        return "unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
