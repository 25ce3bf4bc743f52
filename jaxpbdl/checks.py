"""Checks of what a user passes in. A refused input names the argument, its value and the admissible
range.

Values that JAX is tracing cannot be looked at and pass: every check is for the moment before
compilation.
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import PyTree

Numbers: TypeAlias = ArrayLike | Sequence
"""Numbers, or nested lists of them: what NumPy turns into an array."""


class BlowUp(FloatingPointError):
    """A computation left the finite numbers; the message names the step, the time and the
    member.
    """


class DataError(ValueError):
    """A data file is missing, damaged or of another layout; the message names the file and the
    cause.
    """


class CheckpointError(RuntimeError):
    """A checkpoint is damaged or belongs to another model; the message names the file and the
    leaf.
    """


class RunFolderError(RuntimeError):
    """A run folder cannot be written or belongs to a run that is still going."""


def is_concrete(value: PyTree) -> bool:
    """Whether every leaf of `value` holds numbers now, rather than being traced by JAX."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def as_floats(value: Numbers) -> jax.Array:
    """A parameter as an array of floats, so that gradients reach it; integers are converted. What
    is known stays known: inside jit, jnp would make a traced array of a constant."""
    if is_concrete(value):
        with jax.ensure_compile_time_eval():
            return _as_floats(value)
    return _as_floats(value)


def _as_floats(value: Numbers) -> jax.Array:
    value = jnp.asarray(value)
    return value if jnp.issubdtype(value.dtype, jnp.inexact) else value.astype(float)


def finite(name: str, value: Numbers) -> None:
    """Refuse NaN and infinity."""
    if is_concrete(value) and not _all_finite(value):
        raise ValueError(f"{name} must be finite, got {value}")


def _all_finite(value: Numbers) -> bool:
    """Whether all numbers are, those of other processes too."""
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        return bool(jnp.all(jnp.isfinite(value)))
    return bool(np.all(np.isfinite(np.asarray(value))))


def positive(name: str, value: Numbers) -> None:
    """Refuse what is not a finite number above zero."""
    if is_concrete(value) and not np.all(np.isfinite(np.asarray(value)) & (np.asarray(value) > 0)):
        raise ValueError(f"{name} must be finite and > 0, got {value}")


def non_negative(name: str, value: Numbers) -> None:
    """Refuse what is not a finite number of at least zero."""
    if is_concrete(value) and not np.all(np.isfinite(np.asarray(value)) & (np.asarray(value) >= 0)):
        raise ValueError(f"{name} must be finite and >= 0, got {value}")


def count(name: str, value: int | np.integer, minimum: int = 1) -> int:
    """Refuse what is not an integer of at least `minimum`. Returns it as Python's own: what is to
    be static must not be a NumPy integer, which `filter_jit` traces."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return int(value)


def counts(**values: int | np.integer) -> None:
    """Refuse any that is not an integer of at least one."""
    for name, value in values.items():
        count(name, value)


def shape(name: str, value: Numbers, expected: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if tuple(np.shape(value)) != tuple(expected):
        raise ValueError(f"{name} must have shape {tuple(expected)}, got {tuple(np.shape(value))}")


def real(name: str, value: Numbers) -> None:
    """Refuse anything but real floating-point numbers (integers silently truncate, complex lose a
    part).
    """
    if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise ValueError(
            f"{name} must hold real floating-point numbers, got dtype {jnp.result_type(value)}"
        )
