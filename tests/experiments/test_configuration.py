"""Settings know their range: what is refused, and what an optimiser consists of."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.experiments.configuration import (
    Count,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Positive,
    Validated,
    at_least,
    rising,
)
from jaxpbdl.experiments.training import Training


@dataclass(frozen=True)
class Config(Validated):
    width: Count = 8
    skipped: NonNegativeInt = 0
    members: Annotated[int, at_least(2)] = 2
    rate: Positive = 1e-3
    noise: NonNegative = 0.0
    share: Fraction | None = None
    rates: tuple[Positive, ...] = (0.1, 0.2)
    ends: tuple[float, float] = (0.0, 1.0)
    kind: Literal["a", "b"] = "a"
    data: Path | None = None
    training: Training = Training(updates=10, batch=2, learning_rate=1e-2)


REFUSED = [
    ("width", 0, r"width must be an integer >= 1, got 0"),
    ("width", 2.0, r"width must be an integer >= 1, got 2\.0"),
    ("skipped", -1, r"skipped must be an integer >= 0, got -1"),
    ("members", 1, r"members must be an integer >= 2, got 1"),
    ("rate", 0.0, r"rate must be finite and > 0, got 0\.0"),
    ("rate", float("nan"), r"rate must be finite and > 0, got nan"),
    ("noise", -0.1, r"noise must be finite and >= 0, got -0\.1"),
    ("share", 1.5, r"share must be in \[0, 1\], got 1\.5"),
    ("rates", (0.1, 0.0), r"rates\[1\] must be finite and > 0, got 0\.0"),
    ("rates", 0.1, r"rates must be a tuple, got 0\.1"),
    ("ends", (0.0,), r"ends must have 2 entries, got \(0\.0,\)"),
    ("kind", "c", r"kind must be one of 'a', 'b', got 'c'"),
    ("training", 100, r"training must be a Training, got 100"),
]


@pytest.mark.parametrize("name, value, message", REFUSED)
def test_a_value_outside_the_range_of_its_type(name, value, message):
    with pytest.raises(ValueError, match=message):
        replace(Config(), **{name: value})


def test_the_ends_of_the_ranges():
    Config(width=1, skipped=0, members=2, noise=0.0, share=1.0, rates=(), data=Path("x"))
    Config(share=0.0)


@pytest.mark.parametrize("values", [(), (2, 1), (1, 1)])
def test_numbers_that_do_not_rise(values):
    with pytest.raises(ValueError, match="sizes must be different numbers in rising order"):
        rising("sizes", values)


def test_every_preset_has_validated_settings_and_a_seed():
    """Those of `wakes` check themselves."""
    from jaxpbdl.experiments import EXPERIMENTS, load

    for name in EXPERIMENTS:
        for config in load(name).presets.values():
            assert isinstance(config.seed, int)
            assert isinstance(config, Validated) or "wakes" in type(config).__module__


def test_the_learning_rate_rises_and_falls():
    training = Training(updates=100, batch=1, learning_rate=0.5, final_fraction=0.1)
    rate = np.array([training.schedule()(step) for step in (0, 5, 10, 55, 100)])
    np.testing.assert_allclose(rate, [0.0, 0.25, 0.5, (0.5 + 0.05) / 2, 0.05], rtol=1e-5)
    fall = replace(training, warmup_fraction=0.0).schedule()
    np.testing.assert_allclose([fall(0), fall(50), fall(100)], [0.5, 0.275, 0.05], rtol=1e-5)


def test_gradients_are_clipped_before_the_method_sees_them():
    training = Training(10, 1, learning_rate=1.0, warmup_fraction=0.0, clip=2.0)
    optimiser = training.optimiser(optax.sgd)
    gradient = jnp.array([6.0, 8.0])
    change, _ = optimiser.update(gradient, optimiser.init(gradient))
    np.testing.assert_allclose(change, [-1.2, -1.6], rtol=1e-6)
