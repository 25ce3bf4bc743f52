"""What stands for a training in tests of an experiment's metrics: it notes what it is given and
answers with a model whose errors are known.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxpbdl.learning import History

LOSSES = np.array([3.0, 2.0, 1.0])


class Scaled(eqx.Module):
    """A multiple of what it is given."""

    factor: float

    def __call__(self, values: Any) -> Any:
        return jax.tree.map(lambda leaf: self.factor * leaf, values)


class Training:
    """In place of a `train` or `fit`: `answer(name)` is the model it returns."""

    def __init__(self, answer: Callable[[str], Any]):
        self.answer = answer
        self.given: dict[str, Any] = {}

    def __call__(self, *arguments: Any, **options: Any) -> tuple[Any, History]:
        texts = [value for value in arguments if isinstance(value, str)]
        name = options.get("name", texts[-1] if texts else "")
        self.given[name] = arguments, options.get("key")
        return self.answer(name), History(LOSSES, np.empty(0), np.empty(0), None, 0.0)

    def numbers(self) -> list[np.ndarray]:
        """All arrays that the trainings were given: data, first parameters, keys."""
        leaves = [leaf for leaf in jax.tree.leaves(self.given) if eqx.is_array(leaf)]
        assert leaves
        return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in leaves]


def is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def assert_same(first: Training, second: Training) -> None:
    """Both were given the same numbers, bit for bit."""
    for a, b in zip(first.numbers(), second.numbers(), strict=True):
        np.testing.assert_array_equal(a, b)
