"""What the table of cases declares of an equation is measured: a conservation law or a transport
rate that somebody forgot does not stay unnoticed.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import solvers
from tests.cases import CASES, every_equation

pytestmark = pytest.mark.x64


def measured_conservation(case):
    """Which integrals stay the same over a few steps that change the state."""
    step, start = case.step(1e-3), case.state(case.grid()) + 0.1
    if case.name.startswith("navier-stokes"):
        start = case.state(case.grid())  # the mean of a periodic flow is dropped
    final = jax.jit(lambda u: jp.rollout(step, u, 8, 8)[-1])(start)
    assert jnp.max(jnp.abs(final - start)) > 1e-4
    axes = tuple(range(-step.grid.ndim, 0))
    means = jnp.max(jnp.abs(jnp.mean(final, axes) - jnp.mean(start, axes)))
    energies = jnp.abs(jnp.mean(final**2) / jnp.mean(start**2) - 1)
    return {name for name, change in (("mean", means), ("energy", energies)) if change < 1e-9}


def fastest_oscillation(case, shape):
    """The largest frequency of N about the state, from the eigenvalues of its Jacobian; and the
    largest dt that the step admits, times it."""
    grid = case.grid().resized(shape)
    step = solvers.spectral.semilinear(case.make(), grid, 1e-6)
    state, system = case.state(grid), step.system()

    def rates(values):
        slope = system.rates(step.enter(values.reshape(state.shape)))
        return step.leave(slope).ravel()

    jacobian = np.asarray(jax.jit(jax.jacfwd(rates))(state.ravel()))
    frequency = np.abs(np.linalg.eigvals(jacobian).imag).max()
    return frequency, frequency * float(step.largest_dt(state)) if frequency > 0 else 0.0


def check_transport(case):
    """Transport is what oscillates the faster the finer the grid; it bounds dt near the edge of the
    stability region."""
    coarse, fine = {1: (16, 32), 2: ((6, 6), (15, 6)), 3: ((4, 4, 4), (10, 4, 4))}[len(case.shape)]
    (slow, _), (fast, reach) = (fastest_oscillation(case, shape) for shape in (coarse, fine))
    transported = fast > 1.5 * slow and fast > 0.1
    assert transported == case.transported
    if transported:
        assert 0.25 < reach / 2.82 < 1.5, "transport_rate bounds dt"


@every_equation
def test_conservation_laws_are_declared(case):
    assert measured_conservation(case) == set(case.conserves)


@every_equation
def test_transport_is_declared_and_bounds_dt(case):
    check_transport(case)


def test_what_is_forgotten_is_noticed():
    case = next(case for case in CASES if case.name == "zakharov-kuznetsov")
    equation = type(case.make())

    class Forgotten(equation):
        def transport_rate(self, state, spectrum):
            return None

    with pytest.raises(AssertionError, match="transport_rate bounds dt"):
        check_transport(replace(case, make=Forgotten))
    with pytest.raises(AssertionError):
        check_transport(replace(case, transported=False))
    assert measured_conservation(case) != set()
