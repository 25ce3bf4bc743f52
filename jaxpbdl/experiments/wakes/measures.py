"""What is measured of wakes: forces on the body, the frequency of shedding, and their errors."""

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.experiments.wakes.data import at
from jaxpbdl.experiments.wakes.flow import Fluxes, flow_from, stream_of
from jaxpbdl.solvers.flow import IncompressibleStep, force_on_body

SHEDS = 0.02
"""Standard deviation of the lift, over density, above which a wake counts as one that sheds."""


class Shedding(NamedTuple):
    """Of one wake over a long time."""

    strouhal: float
    """Periods of the lift a unit of time; NaN where the wake does not shed."""
    mean_drag: float
    lift: float
    """Standard deviation of the lift in time."""


def forces(
    step: IncompressibleStep, through: Fluxes, reynolds: float
) -> Float[np.ndarray, "times 2"]:
    """Drag and lift over density, by the momentum budget of the solver of the coarse grid. The same
    for every method, truth included: what differs is the flow."""
    return np.asarray(_forces(at(step, reynolds), through))


@eqx.filter_jit
def _forces(step: IncompressibleStep, through: Fluxes) -> Array:
    def one(snapshot: Fluxes) -> Array:
        return force_on_body(step, flow_from(step, stream_of(snapshot)))

    return jax.lax.map(one, through)


def shedding(force: Float[np.ndarray, "times 2"], interval: float) -> Shedding:
    """From drag and lift, `interval` apart."""
    drag, lift = np.asarray(force, float).T
    return Shedding(frequency(lift, interval), float(np.mean(drag)), float(np.std(lift)))


def frequency(signal: Float[np.ndarray, " times"], interval: float) -> float:
    """Of an oscillation, from the times at which it rises through its mean, straight lines between
    samples; NaN for less than two whole periods or less than `SHEDS`."""
    signal = signal - np.mean(signal)
    rises = np.flatnonzero((signal[:-1] < 0) & (signal[1:] >= 0))
    if not np.std(signal) > SHEDS or len(rises) < 3:
        return float("nan")
    moments = rises + signal[rises] / (signal[rises] - signal[rises + 1])
    return float((len(rises) - 1) / (interval * (moments[-1] - moments[0])))


def shedding_errors(found: list[Shedding], truth: list[Shedding]) -> dict[str, float]:
    """Mean relative errors over wakes; frequency and lift where the truth sheds. A method whose
    wake does not shed there is off by one in frequency."""
    sheds = [k for k, each in enumerate(truth) if np.isfinite(each.strouhal)]

    def off(name: str, which: list[int]) -> float:
        pairs = [(getattr(found[k], name), getattr(truth[k], name)) for k in which]
        errors = [abs(np.nan_to_num(mine, nan=0.0) / true - 1) for mine, true in pairs]
        return float(np.mean(errors)) if errors else float("nan")

    everywhere = list(range(len(truth)))
    return {
        "strouhal_error": off("strouhal", sheds),
        "mean_drag_error": off("mean_drag", everywhere),
        "lift_error": off("lift", sheds),
    }
