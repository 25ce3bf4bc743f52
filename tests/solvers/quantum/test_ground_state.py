"""Ground states: known energies, exact relations between them, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import quantum

pytestmark = pytest.mark.x64
# Energies by imaginary time with small steps, whose splitting error is of second order in them.
ENERGIES = {1.0: 0.689487, 10.0: 1.947127, 100.0: 8.508528}
# The error of mu is of first order and grows with the interaction: 1e-4 at 100.
POTENTIALS = {1.0: 0.869948, 10.0: 3.107372, 100.0: 14.136010}


def trapped(interaction):
    grid = jp.grids.Periodic(192, 30.0, -15.0)
    x = grid.coordinates[0]
    # A large dt, which does not matter.
    return quantum.schroedinger(grid, 1.0, potential=x**2 / 2, interaction=interaction)


def test_condensate_in_a_trap():
    """Against known energies; mu = E + g dE/dg, and the virial theorem 2 T - 2 V + E_int = 0."""

    @jax.jit
    def solved(g):
        def energy(g):
            found = quantum.ground_state(trapped(g))
            return found.energy, found

        (_, found), slope = jax.value_and_grad(energy, has_aux=True)(g)
        mu_slope = jax.grad(lambda g: quantum.ground_state(trapped(g)).chemical_potential)(g)
        return found, slope, mu_slope

    for g, energy in ENERGIES.items():
        found, slope, mu_slope = solved(g)
        step = trapped(g)
        x = step.grid.coordinates[0]
        assert bool(found.converged) and float(found.residual) < 1e-10
        assert float(found.energy) == pytest.approx(energy, abs=2e-6)
        mu = float(found.chemical_potential)
        assert mu == pytest.approx(POTENTIALS[g], rel=1.3e-4)
        assert mu == pytest.approx(float(found.energy + g * slope), abs=1e-10)
        density = jnp.abs(found.wave) ** 2
        outside = float(step.grid.integral(x**2 / 2 * density))
        inner = float(g / 2 * step.grid.integral(density**2))
        moving = float(found.energy) - outside - inner
        assert 2 * moving - 2 * outside + inner == pytest.approx(0, abs=1e-9)
        assert float(quantum.probability(step.grid, found.wave)) == pytest.approx(1)
        assert float(quantum.total_energy(step, found.wave)) == pytest.approx(float(found.energy))
        assert float(quantum.chemical_potential(step, found.wave)) == pytest.approx(mu)
        h = 1e-3 * g
        difference = (solved(g + h)[0].chemical_potential - solved(g - h)[0].chemical_potential) / (
            2 * h
        )
        assert float(mu_slope) == pytest.approx(float(difference), rel=1e-5)


def test_oscillator_of_unequal_axes():
    """Energy (1 + 2) / 2, density that of two bells, for a mass of 2; time and input of the
    potential are used."""
    grid = jp.grids.Periodic((32, 36), (10.0, 9.0), (-5.0, -4.5))
    x, y = grid.coordinates
    step = quantum.schroedinger(
        grid, 0.1, mass=2.0, potential=lambda time: time * x**2, control=lambda u: u * y**2
    )
    found = quantum.ground_state(step, jnp.asarray(4.0), time=1.0)
    assert float(found.energy) == pytest.approx(1.5, abs=1e-8)
    assert float(found.chemical_potential) == pytest.approx(1.5, abs=1e-8)
    exact = np.exp(-(x**2) - 2 * y**2) * (2 * 2**0.5 / np.pi) ** 0.5
    np.testing.assert_allclose(found.wave, exact, atol=1e-6)


def test_an_attractive_condensate_is_a_soliton():
    """sech(x / 2) / 2 for interaction -1: energy -1/24, mu -1/8."""
    grid = jp.grids.Periodic(128, 60.0, -30.0)
    x = grid.coordinates[0]
    step = quantum.schroedinger(grid, 0.1, interaction=-1.0)
    found = quantum.ground_state(step, start=jnp.exp(-((x / 4) ** 2)))
    assert float(found.energy) == pytest.approx(-1 / 24, abs=1e-8)
    assert float(found.chemical_potential) == pytest.approx(-1 / 8, abs=1e-8)


def test_bad_input():
    step = trapped(1.0)
    with pytest.raises(RuntimeError, match=r"after 2 iterations the residual is .*, above"):
        quantum.ground_state(step, iterations=2)
    with pytest.raises(ValueError, match="tolerance must be finite and > 0, got 0.0"):
        quantum.ground_state(step, tolerance=0.0)
    with pytest.raises(ValueError, match=r"start must have shape \(192,\), got \(3,\)"):
        quantum.ground_state(step, start=jnp.ones(3))
