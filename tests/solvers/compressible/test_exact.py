"""The exact solutions satisfy the laws that they come from, and published figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.solvers.compressible import exact

pytestmark = pytest.mark.x64

SOD = (1.0, 0.0, 1.0), (0.125, 0.0, 0.1)
LAX = (0.445, 0.698, 3.528), (0.5, 0.0, 0.571)
PARTING = (1.0, -2.0, 0.4), (1.0, 2.0, 0.4)


@pytest.mark.parametrize(
    "states, pressure, velocity, densities",
    [
        (SOD, 0.303130, 0.927453, (0.426319, 0.265574)),
        (LAX, 2.466098, 1.528723, (0.344568, 1.304085)),
        (PARTING, 0.00189387, 0.0, (0.0218521, 0.0218521)),
    ],
)
def test_known_star_states(states, pressure, velocity, densities):
    found = exact.riemann(*states)
    assert float(found.pressure) == pytest.approx(pressure, rel=1e-5)
    assert float(found.velocity) == pytest.approx(velocity, abs=1e-6)
    assert [float(d) for d in found.densities()] == pytest.approx(densities, rel=2e-5)


def test_waves_of_sod():
    """The speed of the shock, and both ends of the fan."""
    found = exact.riemann(*SOD)
    density = np.asarray(found(jnp.array([1.7521, 1.7523]))[0])
    assert density == pytest.approx([0.265574, 0.125], rel=1e-5)
    head, tail = -(1.4**0.5), 0.927453 - (1.4 * 0.30313 / 0.426319) ** 0.5
    beyond, inside, before, star = np.asarray(
        found(jnp.array([head - 1e-3, head + 1e-3, tail - 1e-3, tail + 1e-3]))[0]
    )
    assert beyond == 1 and 0.998 < inside < 1
    assert star == pytest.approx(0.426319, rel=1e-5) and star < before < 1.002 * star


def test_shocks_and_fans_keep_their_laws():
    """Of random states: what flows into a shock leaves it, in a fan entropy and Riemann's invariant
    stay, and the mirror image of the gases has the mirror image of the solution."""
    draw = np.random.default_rng(0)
    law, kinds = CompressibleFlow(1, gamma=1.3), set()
    solve = jax.jit(lambda one, two: exact.riemann(one, two, 1.3))
    for _ in range(12):
        one, two = (
            np.array([draw.uniform(0.2, 2), draw.uniform(-1, 1), draw.uniform(0.05, 3)])
            for _ in range(2)
        )
        found = solve(one, two)
        star = jnp.stack([found.densities()[0], found.velocity, found.pressure])
        below = law.conserved(jnp.asarray(one))
        if found.pressure > one[2]:
            kinds.add("shock")
            speed = (star[0] * star[1] - one[0] * one[1]) / (star[0] - one[0])
            left = law.flux(below, 0) - speed * below
            right = law.flux(law.conserved(star), 0) - speed * law.conserved(star)
            np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)
            at = found(speed + jnp.array([-1e-6, 1e-6]))
            np.testing.assert_allclose(at, np.stack([one, star], 1), rtol=1e-9)
        else:
            kinds.add("fan")
            sound = np.sqrt(1.3 * one[2] / one[0])
            density, velocity, pressure = found(
                jnp.linspace(-4.0, float(found.velocity) - 1e-9, 40)
            )
            np.testing.assert_allclose(pressure / density**1.3, one[2] / one[0] ** 1.3, rtol=1e-9)
            invariant = velocity + 2 / 0.3 * jnp.sqrt(1.3 * pressure / density)
            np.testing.assert_allclose(invariant, one[1] + 2 / 0.3 * sound, rtol=1e-9)
        flip, speeds = np.array([1, -1, 1]), jnp.linspace(-3, 3, 37)
        mirrored = solve(two * flip, one * flip)(-speeds) * flip[:, None]
        np.testing.assert_allclose(found(speeds), mirrored, rtol=1e-9, atol=1e-12)
    assert kinds == {"shock", "fan"}


def test_gradient_of_the_pressure_between():
    def pressure(gamma, top):
        return exact.riemann(jnp.stack([1.0, 0.0, top]), SOD[1], gamma).pressure

    slopes = jax.jit(jax.grad(pressure, (0, 1)))(1.4, 1.0)
    for number, (more, less) in enumerate(
        (((1.401, 1.0), (1.399, 1.0)), ((1.4, 1.001), (1.4, 0.999)))
    ):
        change = float(pressure(*map(jnp.asarray, more)) - pressure(*map(jnp.asarray, less))) / 2e-3
        assert float(slopes[number]) == pytest.approx(change, rel=1e-5)


def test_vortex():
    """Its centre, its balance of pressure and rotation, and that it comes back."""
    centre = exact.vortex(jnp.zeros(2), 0.0, (20.0, 20.0))
    assert [float(x) for x in centre] == pytest.approx([0.493807, 1.0, 1.0, 0.372375], rel=2e-6)
    later = exact.vortex(jnp.array([1.0, 0.5]), 20.0, (20.0, 20.0))
    np.testing.assert_allclose(later, exact.vortex(jnp.array([1.0, 0.5]), 0.0, (20.0, 20.0)))
    assert float(later[1]) < 1 < float(later[2])  # counter-clockwise
    moved = exact.vortex(jnp.array([0.3, -0.2]), 0.1, (20.0, 20.0), stream=(3.0, -2.0))
    assert float(moved[0]) == pytest.approx(float(centre[0]), rel=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="density and pressure of above must be finite and > 0"):
        exact.riemann(SOD[0], (0.0, 0.0, 1.0))
    with pytest.raises(ValueError, match=r"part by less than 11\.83.*a vacuum opens; got 12"):
        exact.riemann((1.0, -6.0, 1.0), (1.0, 6.0, 1.0))
