"""Frequency, lift and drag of known signals, and their errors."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.wakes.flow import Setting, fluxes, stream_function
from jaxpbdl.experiments.wakes.measures import (
    Shedding,
    forces,
    frequency,
    shedding,
    shedding_errors,
)
from jaxpbdl.solvers.flow import force_on_body

TIMES = 0.4 * np.arange(126)


@pytest.mark.parametrize("true", [0.17, 0.21])
def test_the_frequency_of_an_oscillation(true):
    signal = 0.3 + 0.2 * np.sin(2 * np.pi * true * TIMES + 0.7)
    assert frequency(signal, 0.4) == pytest.approx(true, rel=2e-3)
    assert math.isnan(frequency(0.05 * signal, 0.4))  # hardly any lift
    assert math.isnan(frequency(signal[:20], 0.4))  # too short


def test_shedding_of_a_signal():
    drag = 0.7 + 0.1 * np.cos(2 * np.pi * 0.2 * TIMES[:125])
    lift = 0.2 * np.sin(2 * np.pi * 0.2 * TIMES[:125])
    found = shedding(np.stack([drag, lift], axis=1), 0.4)
    expected = (0.2, 0.7, 0.2 / math.sqrt(2))
    assert tuple(found) == pytest.approx(expected, rel=2e-3)


def test_errors_of_shedding():
    still = Shedding(math.nan, 2.0, 0.0)
    truth = [Shedding(0.2, 1.0, 0.1), still]
    found = [Shedding(0.19, 1.1, 0.12), Shedding(0.3, 1.8, 0.5)]
    assert shedding_errors(found, truth) == pytest.approx(
        {"strouhal_error": 0.05, "mean_drag_error": 0.1, "lift_error": 0.2}
    )
    lost = shedding_errors([still, still], truth)
    assert lost["strouhal_error"] == 1.0 and lost["lift_error"] == pytest.approx(1.0)
    assert math.isnan(shedding_errors([still], [still])["strouhal_error"])


def test_forces_are_those_of_the_flow_at_its_reynolds_number():
    step = Setting((32, 16)).solver(0.1)
    state = step.start((1.0, 0.0))
    through = fluxes(stream_function(step, state.velocity))
    several = type(through)(*(jnp.stack([u, u]) for u in through))
    found = forces(step, several, 100.0)  # the solver's own, viscosity 0.01
    np.testing.assert_allclose(found, np.tile(force_on_body(step, state), (2, 1)), atol=2e-4)
    assert np.abs(forces(step, several, 20.0) - found).max() > 0.05
