"""The operator, its direct solution and the values between the nodes against exact equilibria."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.solvers.plasma.delta_star import DeltaStar
from jaxpbdl.solvers.plasma.exact import cerfon_freidberg
from jaxpbdl.solvers.plasma.rectangle import Rectangle

pytestmark = pytest.mark.x64

# e, k, d, A, with X-points; R of the axis, flux there and at (1, 0.2).
CASES = {
    "ITER": ((0.32, 1.7, 0.33, -0.155, False), (1.0512678204, -0.0369738227, -0.0304609640)),
    "NSTX": ((0.78, 2.0, 0.35, 0.0, False), (1.2682038244, -0.2429878138, -0.2019516586)),
    "spheromak": ((0.95, 1.0, 0.2, 1.0, False), (1.0981040227, -0.1996489916, -0.1885289847)),
    "double null": ((0.32, 1.7, 0.33, -0.155, True), (1.0509015966, -0.0344855101, -0.0270486929)),
}


def exact(name):
    e, k, d, a, x_points = CASES[name][0]
    return cerfon_freidberg(e, k, d, a, x_points=x_points)


@pytest.mark.parametrize("name", CASES)
def test_exact_equilibria(name):
    psi, (axis, lowest, aside) = exact(name), CASES[name][1]
    x, y = jnp.asarray(axis), jnp.asarray(0.0)
    assert float(psi(x, y)) == pytest.approx(lowest, abs=2e-10)
    assert float(psi(jnp.asarray(1.0), jnp.asarray(0.2))) == pytest.approx(aside, abs=2e-10)
    assert abs(float(jax.grad(psi)(x, y))) < 2e-9
    # It solves the equation.
    x, y = jnp.asarray(1.1), jnp.asarray(0.15)
    (xx, _), (_, yy) = jax.hessian(psi, argnums=(0, 1))(x, y)
    assert float(xx - jax.grad(psi)(x, y) / x + yy) == pytest.approx(float(psi.source(x)), abs=1e-9)


def test_the_x_point():
    psi = exact("double null")
    x, y = jnp.asarray(1 - 1.1 * 0.33 * 0.32), jnp.asarray(-1.1 * 1.7 * 0.32)
    assert (float(x), float(y)) == pytest.approx((0.88384, -0.5984))
    np.testing.assert_allclose([psi(x, y), *jax.grad(psi, argnums=(0, 1))(x, y)], 0, atol=1e-12)


def fields(psi, grid):
    r, z = grid.coordinates
    return jax.vmap(jax.vmap(psi))(r, z), jax.vmap(jax.vmap(psi.source))(r)


@pytest.mark.parametrize(("name", "order", "finest"), [("ITER", 2, 2e-6), ("ITER", 4, 5e-9)])
def test_orders(name, order, finest):
    """Of the largest error, on a rectangle around the plasma."""
    psi, errors = exact(name), []
    e, k = CASES[name][0][:2]
    for n in (17, 33, 65):
        grid = Rectangle((n, 2 * n - 1), (1 - e, -k * e), (1 + e, 1.1 * k * e))
        values, source = fields(psi, grid)
        found = DeltaStar(grid, order).solve(source, values)
        errors.append(float(jnp.max(jnp.abs(found - values))))
    assert order + 0.3 > np.log2(errors[1] / errors[2]) > order - 0.2, errors
    assert errors[2] < finest, errors


def test_only_the_sides_of_the_boundary_count():
    grid = Rectangle((12, 9), (0.4, -1.0), (2.0, 0.5))
    psi, source = np.random.default_rng(0).normal(size=(2, 12, 9))
    solver = DeltaStar(grid)
    found = solver.solve(jnp.asarray(source), jnp.asarray(psi))
    np.testing.assert_array_equal(found[0], psi[0])
    np.testing.assert_array_equal(found[:, -1], psi[:, -1])
    defect = solver.defect(found, jnp.asarray(source))
    assert float(jnp.max(jnp.abs(defect))) < 1e-10
    psi[1:-1, 1:-1] = 7
    np.testing.assert_allclose(solver.solve(jnp.asarray(source), jnp.asarray(psi)), found)


def test_values_between_the_nodes():
    """Polynomials to degree five are met, in value and slope, at the sides too."""
    grid = Rectangle((9, 11), (1.0, -1.0), (2.0, 2.0))
    function = lambda p: p[0] ** 5 - 2 * p[0] * p[1] ** 4 + p[1] ** 3 * p[0] ** 2  # noqa: E731
    values = jax.vmap(jax.vmap(function))(grid.points)
    for point in ((1.0, -1.0), (1.99, 1.9), (1.37, 0.44), (1.02, 1.3)):
        point = jnp.asarray(point)
        np.testing.assert_allclose(grid.at(values, point), function(point), rtol=1e-11)
        np.testing.assert_allclose(
            grid.gradient_at(values, point), jax.grad(function)(point), rtol=1e-9, atol=1e-9
        )


def test_nodes():
    grid = Rectangle((9, 11), (1.0, -1.0), (2.0, 2.0))
    assert grid.spacing == pytest.approx((0.125, 0.3)) and grid.lengths == (1.0, 3.0)
    first, second = grid.frame
    assert len(set(zip(first, second, strict=True))) == len(first) == 2 * 9 + 2 * 11 - 4
    r, z = grid.coordinates
    np.testing.assert_allclose(grid.integral(r * (1 + z)), 1.5 * (3 + 1.5))


def test_bad_input():
    with pytest.raises(ValueError, match=r"the smallest radius, must be finite and > 0, got 0"):
        Rectangle((9, 9), (0.0, -1.0), (2.0, 1.0))
    with pytest.raises(ValueError, match=r"upper must be above lower = \(1.0, 0.0\), got \(2.0, 0"):
        Rectangle((9, 9), (1.0, 0.0), (2.0, 0.0))
    with pytest.raises(ValueError, match="must be an integer >= 8, got 7"):
        Rectangle((9, 7), (1.0, 0.0), (2.0, 1.0))
    with pytest.raises(ValueError, match=r"order must be one of \(2, 4\), got 3"):
        DeltaStar(Rectangle((9, 9), (1.0, -1.0), (2.0, 1.0)), 3)
    with pytest.raises(ValueError, match=r"inverse_aspect must be in \(0, 1\), got 1.2"):
        cerfon_freidberg(1.2, 1.0, 0.0, 0.0, x_points=False)
    with pytest.raises(ValueError, match=r"triangularity must be in \(-1, 1\), got 1"):
        cerfon_freidberg(0.3, 1.0, 1.0, 0.0, x_points=False)
