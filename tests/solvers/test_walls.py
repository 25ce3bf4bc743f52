"""Spectral solvers between walls: the same equations as on periodic boxes, unchanged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import equations as eq
from jaxpbdl.grids import Wall
from jaxpbdl.solvers.spectral import semilinear

pytestmark = pytest.mark.x64
EQUATIONS = {
    "allen-cahn": eq.AllenCahn(0.02, 2.0, 2.0),
    "fisher-kpp": eq.FisherKPP(0.05, 2.0),
    "gray-scott": eq.GrayScott((0.02, 0.01), 0.4, 0.6),
    "swift-hohenberg": eq.SwiftHohenberg(0.7, 2.0, 0.5),
    "cahn-hilliard": eq.CahnHilliard(0.1, 0.3),
    "heat": eq.AdvectionDiffusion(diffusivity=0.1, hyper_diffusivity=0.01),
    "wave": eq.Wave(1.5),
}


def starts(grid, equation, odd=False):
    """A few waves that fit the walls, different in every component."""
    shape = jnp.sin if odd else jnp.cos
    x, y = grid.coordinates
    parts = [
        0.4 * (0 if odd else 1) + 0.5 * shape(jnp.pi * x) * shape(jnp.pi * y) / (c + 1)
        + 0.2 * shape(2 * jnp.pi * x) * shape(jnp.pi * (c + 1) * y)
        for c in range(int(np.prod(equation.value_shape, dtype=int)))
    ]  # fmt: skip
    return jnp.stack(parts).reshape(*equation.value_shape, *grid.shape)


@pytest.mark.parametrize("name", EQUATIONS)
def test_walls_without_flux_are_mirrors(name):
    """The flow in the box is a quarter of that in the periodic box of its mirror images."""
    equation = EQUATIONS[name]
    box = jp.grids.Cells((12, 10), (1.0, 1.0))
    start = starts(box, equation)
    mirrored = jp.grids.Periodic((24, 20), (2.0, 2.0), (1 / 24, 1 / 20))

    def whole(values):
        for axis in (-2, -1):
            values = jnp.concatenate([values, jnp.flip(values, axis)], axis)
        return values

    step, mirror = (semilinear(equation, grid, 0.02) for grid in (box, mirrored))
    found = jp.rollout(step, start, 10, 10)[-1]
    expected = jp.rollout(mirror, whole(start), 10, 10)[-1]
    assert jnp.max(jnp.abs(found - start)) > 1e-3
    np.testing.assert_allclose(whole(found), expected, atol=1e-11)


@pytest.mark.parametrize("name", ["allen-cahn", "heat", "wave"])
def test_walls_of_value_zero_are_odd_mirrors(name):
    equation = EQUATIONS[name]
    box = jp.grids.Cells((12, 10), (1.0, 1.0))
    start = starts(box, equation, odd=True)
    mirrored = jp.grids.Periodic((24, 20), (2.0, 2.0), (1 / 24, 1 / 20))

    def whole(values):
        for axis in (-2, -1):
            values = jnp.concatenate([values, -jnp.flip(values, axis)], axis)
        return values

    step = semilinear(equation, box, 0.02, sides=(Wall.zero, (Wall.zero, Wall.zero)))
    found = jp.rollout(step, start, 10, 10)[-1]
    expected = jp.rollout(semilinear(equation, mirrored, 0.02), whole(start), 10, 10)[-1]
    assert jnp.max(jnp.abs(found - start)) > 1e-3
    np.testing.assert_allclose(whole(found), expected, atol=1e-11)


def test_heat_between_walls_of_two_kinds_is_exact():
    grid, equation = jp.grids.Cells(16, 2.0), eq.AdvectionDiffusion(diffusivity=0.3)
    x = grid.axes[0]
    for sides, shape in (
        ((Wall.no_flux, Wall.zero), jnp.cos),
        ((Wall.zero, Wall.no_flux), jnp.sin),
    ):
        wave = shape(1.5 * jnp.pi * x / 2)
        step = semilinear(equation, grid, 0.1, sides=(sides,))
        final = jp.rollout(step, wave, 5, 5)[-1]
        decay = jnp.exp(-0.3 * (1.5 * jnp.pi / 2) ** 2 * 0.5)
        np.testing.assert_allclose(final, decay * wave, atol=1e-12)


def test_jit_vmap_gradient_and_residual():
    grid, equation = jp.grids.Cells((12, 8), (1.0, 1.0)), EQUATIONS["allen-cahn"]

    def final(diffusivity, start):
        step = semilinear(eq.AllenCahn(diffusivity, 2.0, 2.0), grid, 0.02)
        return jp.rollout(step, start, 5, 5)[-1]

    states = jnp.stack([starts(grid, equation), 0.5 * starts(grid, equation)])
    together = jax.jit(jax.vmap(final, (None, 0)))(0.02, states)
    np.testing.assert_allclose(together[1], final(0.02, states[1]), atol=1e-13)
    slope = jax.grad(lambda d: jnp.sum(final(d, states[0]) ** 2))(0.02)
    ends = [jnp.sum(final(0.02 + h, states[0]) ** 2) for h in (1e-5, -1e-5)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
    fine = jp.grids.Cells((48, 32), (1.0, 1.0))
    step = semilinear(equation, fine, 0.01)
    trajectory = jp.rollout(step, starts(fine, equation), 8)
    left = jp.learning.residual_of(step, trajectory, 0.01 * jnp.arange(9))
    assert jnp.max(jnp.abs(left)) < 1e-3
