"""Compressible flow: its waves diagonalise the flux, its residual vanishes for exact solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import CompressibleFlow, ConservationLaw
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.compressible import exact

pytestmark = pytest.mark.x64

PRIMITIVE = {1: (0.7, -0.4, 1.3), 2: (0.7, -0.4, 0.9, 1.3), 3: (0.7, -0.4, 0.9, 0.3, 1.3)}
EVERY_AXIS = [(ndim, axis) for ndim in (1, 2, 3) for axis in range(ndim)]


def state_of(law):
    return law.conserved(jnp.array(PRIMITIVE[law.ndim]))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_variables(ndim):
    """Of a state whose energy is known: 1.3 / 0.6 + 0.7 |u|^2 / 2."""
    law = CompressibleFlow(ndim, gamma=1.6)
    state = state_of(law)
    squares = {1: 0.16, 2: 0.97, 3: 1.06}[ndim]
    assert float(state[-1]) == pytest.approx(1.3 / 0.6 + 0.35 * squares, rel=1e-12)
    assert float(state[1]) == pytest.approx(-0.28)
    np.testing.assert_allclose(law.primitive(state), PRIMITIVE[ndim], rtol=1e-12)
    assert float(law.sound_speed(state)) == pytest.approx((1.6 * 1.3 / 0.7) ** 0.5)
    assert law.value_shape == (ndim + 2,)
    assert float(law.positive(state)["pressure"]) == pytest.approx(1.3)


@pytest.mark.parametrize("ndim, axis", EVERY_AXIS)
def test_waves_diagonalise_the_flux(ndim, axis):
    """The Jacobian of the flux in the amplitudes of the waves is diagonal, its entries the speeds
    of shear and entropy (the flow) and of both sounds."""
    law = CompressibleFlow(ndim, gamma=1.6)
    state = state_of(law)
    jacobian = jax.jacfwd(lambda u: law.flux(u, axis))(state)
    names = jnp.eye(ndim + 2)
    right = jax.vmap(lambda w: law.from_waves(w, state, axis), out_axes=1)(names)
    left = jax.vmap(lambda w: law.to_waves(w, state, axis), out_axes=1)(names)
    np.testing.assert_allclose(left @ right, names, atol=1e-12)
    slow, fast = law.wave_speeds(state, axis)
    speeds = np.full(ndim + 2, PRIMITIVE[ndim][1 + axis])
    speeds[1 + axis], speeds[-1] = slow, fast
    np.testing.assert_allclose(left @ jacobian @ right, np.diag(speeds), atol=1e-12)
    assert float(fast - slow) == pytest.approx(2 * (1.6 * 1.3 / 0.7) ** 0.5)


def test_residual_of_a_vortex():
    """Zero for the exact one, and of the size of the field for one that is carried too fast."""
    law = CompressibleFlow(2, gamma=1.3)

    def field(speed):
        def at(point):
            found = exact.vortex(point[:2], point[2], (20.0, 20.0), stream=(speed, 0.5), gamma=1.3)
            return law.conserved(found.at[1].add(0.7 - speed))

        return at

    point = jnp.array([0.6, -0.3, 0.4])
    assert jnp.max(jnp.abs(law.residual(field(0.7), point))) < 1e-12
    assert jnp.max(jnp.abs(law.residual(field(0.8), point))) > 0.01


def test_residual_of_couette_flow():
    """A wall that moves heats the gas: u = y and k T = k + mu y (1 - y) / 2 at one pressure."""
    law = CompressibleFlow(2, viscosity=0.3, conductivity=0.2)

    def field(point, heat=0.3 / 0.4):
        y = point[1]
        temperature = 1 + heat * y * (1 - y)
        return law.conserved(jnp.stack([1 / temperature, y, 0.0 * y, 1.0 + 0.0 * y]))

    point = jnp.array([0.1, 0.4, 0.0])
    assert jnp.max(jnp.abs(law.residual(field, point))) < 1e-12
    wrong = law.residual(lambda p: field(p, 0.5), point)
    np.testing.assert_allclose(wrong, [0, 0, 0, -0.3 + 0.2], atol=1e-12)


def test_stress_of_an_expansion():
    """div u = 5 in three dimensions: 2 * 3 - 2/3 * 5 along x; the stress works on the velocity."""
    law = CompressibleFlow(3, viscosity=0.1)
    slopes = [jnp.zeros(5).at[1 + a].set(rate) for a, rate in enumerate((3.0, 1.0, 1.0))]
    slopes[1] = slopes[1].at[1].set(0.5)  # d u_x / dy
    flux = law.diffusive_flux(jnp.array([1.0, 2.0, 4.0, 0.0, 1.0]), slopes, 0)
    along = 0.1 * (6 - 10 / 3)
    np.testing.assert_allclose(flux, [0, along, 0.05, 0, 2 * along + 4 * 0.05], atol=1e-12)
    assert float(law.diffusivity(jnp.array([2.0, 0, 0, 0, 1.0]))) == pytest.approx(0.4 / 6)


def test_a_law_of_your_own_has_a_residual():
    """Burgers' equation as a conservation law; u = x / (1 + t) solves it."""

    class Wave(ConservationLaw):
        ndim: int = 1

        @property
        def value_shape(self):
            return (1,)

        def flux(self, state, axis):
            return state**2 / 2

    law = Wave()
    residual = law.residual(lambda p: p[:1] / (1 + p[1]), jnp.array([0.3, 0.5]))
    np.testing.assert_allclose(residual, 0, atol=1e-15)
    np.testing.assert_allclose(law.residual(lambda p: p[:1], jnp.array([0.3, 0.5])), 0.3)


def test_bad_input():
    with pytest.raises(ValueError, match="ndim must be 1, 2 or 3, got 4"):
        CompressibleFlow(4)
    with pytest.raises(ValueError, match="gamma must be > 1, got 1"):
        CompressibleFlow(1, gamma=1.0)
    with pytest.raises(ValueError, match="viscosity must be finite and >= 0, got -1"):
        CompressibleFlow(1, viscosity=-1.0)
    with pytest.raises(ValueError, match="point must have 3 entries, 2 of space and time, got 2"):
        CompressibleFlow(2).residual(lambda p: jnp.ones(4), jnp.ones(2))
    with pytest.raises(ValueError, match="needs a grid of 2 axes"):
        CompressibleFlow(2).check_grid(Cells(8))
