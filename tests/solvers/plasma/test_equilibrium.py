"""Free-boundary equilibria: their parts, published solutions, gradients, errors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RectBivariateSpline
from scipy.special import ellipe, ellipk

from jaxpbdl.solvers.plasma import (
    AxisPressure,
    EquilibriumError,
    PoloidalBeta,
    PowerShape,
    Rectangle,
    ShapeTargets,
    coils,
    filament_flux,
    filaments,
    free_boundary,
    rectangular,
    round_plasma,
    shaped,
    tokamak,
)
from jaxpbdl.solvers.plasma.circuits import MU_0
from jaxpbdl.solvers.plasma.exact import cerfon_freidberg
from jaxpbdl.solvers.plasma.profiles import above
from jaxpbdl.solvers.plasma.surfaces import connected, limiter, saddle_nodes, surfaces, within
from tests.solvers.plasma.cases import (
    FOUR_CURRENTS,
    FOUR_LIMITER,
    SPHERICAL_CURRENTS,
    four_coils,
    four_profile,
    spherical,
    spherical_profile,
)

pytestmark = pytest.mark.x64


def test_flux_of_a_filament():
    """Against the elliptic integrals of SciPy where these lose no digits, the dipole far away, and
    the derivative by differences."""
    r, z = np.random.default_rng(0).uniform((0.2, -1.0), (2.0, 1.0), (50, 2)).T
    k2 = 4 * r * 1.3 / ((r + 1.3) ** 2 + (z - 0.2) ** 2)
    known = MU_0 / (2 * np.pi) * np.sqrt(r * 1.3 / k2) * ((2 - k2) * ellipk(k2) - 2 * ellipe(k2))
    ring = jnp.asarray(1.3), jnp.asarray(0.2)
    found = filament_flux(jnp.asarray(r), jnp.asarray(z), *ring)
    np.testing.assert_allclose(found, known, rtol=1e-11)
    r, z = jnp.asarray(0.01), jnp.asarray(300.0)
    far = MU_0 * 1.3**2 * r**2 / (4 * (z - 0.2) ** 3)
    np.testing.assert_allclose(filament_flux(r, z, *ring), far, rtol=1e-4)
    at = (jnp.asarray(0.9), jnp.asarray(-0.3))
    slope = jax.grad(filament_flux, argnums=2)(*at, *ring)
    above_, below = (filament_flux(*at, ring[0] + h, ring[1]) for h in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (above_ - below) / 2e-5, rtol=1e-8)
    # 1e-6 beside the filament: the logarithm of a straight wire.
    near = float(filament_flux(jnp.asarray(1.300001), jnp.asarray(0.2), *ring))
    assert near == pytest.approx(MU_0 * 1.3 / (2 * np.pi) * (np.log(8 * 1.3e6) - 2), rel=1e-5)


@pytest.mark.parametrize("turned", [0.0, 0.06])
def test_saddles_are_found_next_to_their_node(turned):
    """Of 0.1 x^2 - 0.5 z^2 + turned x z about a place a tenth of a cell from a node; and none of
    a hill."""
    grid = Rectangle((14, 12), (1.0, 0.0), (2.0, 1.0))
    x, z = jnp.arange(14.0)[:, None] - 6.1, jnp.arange(12.0) - 5.1
    everywhere = jnp.ones(grid.shape, bool)
    nodes, found = saddle_nodes(grid, everywhere, 0.1 * x**2 - 0.5 * z**2 + turned * x * z)
    np.testing.assert_array_equal(nodes[0], [6, 5])
    assert bool(found[0]) and not bool(found[1])
    assert not saddle_nodes(grid, everywhere, -(x**2) - z**2)[1].any()


def test_circuits():
    machine = coils(filaments([1.0, 1.2], 0.5, [2.0, -1.0]), rectangular(2.0, 0.0, 0.1, 0.2, 3.0))
    assert machine.turns.shape == (2, 18)
    np.testing.assert_allclose(machine.turns.sum(axis=1), [1, 3])
    r, z = jnp.asarray([0.7, 1.5]), jnp.asarray([0.1, -0.4])
    flux = machine.flux(r, z)
    one, two, three = (filament_flux(r, z, *map(jnp.asarray, p)) for p in (
        (1.0, 0.5), (1.2, 0.5), (2.0, 0.0)
    ))  # fmt: skip
    np.testing.assert_allclose(flux[0], 2 * one - two, rtol=1e-13)
    np.testing.assert_allclose(flux[1], 3 * three, rtol=5e-3)


def test_flux_of_the_plasma_is_that_of_its_currents():
    """At nodes outside of it: filaments in all its nodes, though it is solved for."""
    machine = four_coils((33, 33))
    flux = round_plasma(machine, 2e5, (1.1, 0.1), (0.4, 0.5))
    grid = machine.grid
    r, z = (np.asarray(c) for c in grid.coordinates)
    density = np.maximum(1 - ((r - 1.1) / 0.4) ** 2 - ((z - 0.1) / 0.5) ** 2, 0)
    currents = 2e5 * density / density.sum()
    held = currents > 0
    for node in ((5, 16), (16, 2), (30, 20)):
        each = filament_flux(
            jnp.asarray(r[node]), jnp.asarray(z[node]), jnp.asarray(r[held]), jnp.asarray(z[held])
        )
        np.testing.assert_allclose(flux[node], currents[held] @ np.asarray(each), rtol=1e-4)


def test_profiles_have_their_figures():
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 5)))
    radius, inside = jnp.linspace(0.8, 1.5, 6)[:, None], x < 0.9
    shape, area, depth = PowerShape(1.8, 1.2), 0.02, jnp.asarray(-0.3)
    pressure = lambda found: found.strength * found.share / 1.1 * depth * above(shape, x)  # noqa: E731
    one = AxisPressure(shape, -2e5, 1e3, radius=1.1).density(radius, x, inside, depth, area)
    two = PoloidalBeta(shape, -2e5, 0.4, radius=1.1).density(radius, x, inside, depth, area)
    for found in (one, two):
        np.testing.assert_allclose(area * jnp.sum(found.values), -2e5)
        b = found.share
        mixed = b * radius / 1.1 + (1 - b) * 1.1 / radius
        expected = jnp.where(inside, found.strength * mixed * shape(x), 0)
        np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    axis = one.strength * one.share / 1.1 * depth * above(shape, jnp.asarray(0.0))
    np.testing.assert_allclose(axis, 1e3)
    content = area * jnp.sum(jnp.where(inside, pressure(two), 0))
    np.testing.assert_allclose(8 * np.pi / MU_0 * content / 2e5**2, 0.4)
    np.testing.assert_allclose(above(PowerShape(1.0, 2.0), x), (1 - x) ** 3 / 3, rtol=1e-12)


def test_surfaces_of_an_exact_equilibrium():
    """The axis and both X-points of the double null, and a plasma that a limiter cuts."""
    psi = cerfon_freidberg(0.32, 1.7, 0.33, -0.155, x_points=True)
    grid = Rectangle((49, 65), (0.6, -0.75), (1.45, 0.75))
    flux = -jax.vmap(jax.vmap(psi))(*grid.coordinates)
    corners = [[0.63, -0.68], [1.42, -0.68], [1.42, 0.68], [0.63, 0.68]]
    find = eqx.filter_jit(surfaces)
    found = find(grid, limiter(grid, np.asarray(corners)), flux)
    np.testing.assert_allclose(found.axis, [1.0509015966, 0], atol=2e-7)
    assert float(found.axis_flux) == pytest.approx(0.0344855101, abs=1e-9)
    order = jnp.argsort(found.x_points[:, 1])
    np.testing.assert_allclose(found.x_points[order], [[0.88384, -0.5984], [0.88384, 0.5984]],
                               atol=2e-6)  # fmt: skip
    assert abs(float(found.boundary_flux)) < 1e-8 and not bool(found.limited)
    # Within: all nodes with a flux above zero between the X-points.
    r, z = grid.coordinates
    expected = (flux > found.boundary_flux) & (abs(z) < 0.5984)
    assert int(jnp.sum(found.inside != expected)) <= 4
    corners = [[0.63, -0.68], [1.2, -0.68], [1.2, 0.68], [0.63, 0.68]]
    found = find(grid, limiter(grid, np.asarray(corners)), flux)
    np.testing.assert_allclose(found.contact, [1.2, 0], atol=1e-6)
    value = -float(psi(jnp.asarray(1.2), jnp.asarray(0.0)))
    assert float(found.boundary_flux) == pytest.approx(value, abs=1e-8) and bool(found.limited)


def test_only_what_is_connected():
    allowed = np.ones((7, 6), bool)
    allowed[3] = False
    allowed[0, 2:4] = False
    found = np.asarray(connected(jnp.asarray(allowed), jnp.asarray([1, 1])))
    expected = allowed & (np.arange(7) < 3)[:, None]
    np.testing.assert_array_equal(found, expected)
    notched = np.array([[0.0, 0], [2, 0], [2, 2], [1, 0.5], [0, 2]])
    places = np.array([[1, 0.2], [1, 1], [0.2, 1.0], [1.8, 1.2], [2.5, 0.1], [-1, 1]])
    np.testing.assert_array_equal(within(notched, places), [True, False, True, True, False, False])


TARGETS = [[1.1, -0.6], [1.1, 0.8]], [[1.1, -0.6], [1.1, 0.6]]


def test_gradients():
    """Of axis, X-point and flux with respect to all currents, the profile and a coil's position, in
    both modes of differentiation, beside differences of solutions."""
    machine, profile = four_coils((33, 33)), four_profile()
    first = shaped(machine, ShapeTargets(*map(jnp.asarray, TARGETS)), profile)
    scale = jnp.concatenate([first.currents, jnp.asarray([2e5, 1e3, 1.0, 2.0, 1.0])])

    @jax.jit
    def look(x):
        p = scale * x
        changed = eqx.tree_at(
            lambda m: m.response,
            machine,
            machine.response.at[2].set(
                filament_flux(*machine.grid.coordinates, 1.75 + (p[8] - 1), jnp.asarray(-0.6))
            ),
        )
        power = AxisPressure(PowerShape(p[6], p[7]), p[4], p[5])
        found = free_boundary(changed, p[:4], power, start=first.plasma, picard=0, tolerance=1e-12)
        bounds = found.surfaces
        result = jnp.concatenate(
            [bounds.axis, bounds.x_points[0], found.psi[10:12, 17], found.density.strength[None]]
        )
        return result, found.residual

    one = jnp.ones(9)
    forward, residual = jax.jit(jax.jacfwd(look, has_aux=True))(one)
    assert float(residual) < 1e-12
    for k, h in enumerate([2e-5] * 9):
        step = h * jnp.eye(9)[k]
        (up, left), (down, right) = look(one + step), look(one - step)
        assert max(float(left), float(right)) < 1e-12
        difference = (up - down) / (2 * h)
        size = jnp.max(jnp.abs(forward), axis=1)
        np.testing.assert_allclose(difference / size, forward[:, k] / size, atol=1e-6)


# Of the spherical torus: FreeGSNKE's static test on 65 x 129 nodes.
AXIS, X_POINT = (0.982291, 0.1252349), ((0.605935, 1.120760), 0.0606182)
PLACES = {
    (0.5, 0.0): 0.0725103,
    (1.0, 0.5): 0.1028575,
    (1.3, 0.0): 0.0882435,
    (0.1, 0.0): 0.0109983,
    (2.0, 0.0): -0.0001181,
}
NEAR_COIL = (1.5, 1.0), 0.0160128
"""4 cm beside filaments: there the published value is a cubic spline through those of the nodes."""


def test_a_spherical_torus():
    """Axis, X-points, profile and flux as published, the flux to 5e-5 of its range."""
    machine, profile = spherical((65, 129)), spherical_profile()
    start = round_plasma(machine, 6.2e5, (0.95, 0.0), (0.4, 0.7))
    found = free_boundary(machine, SPHERICAL_CURRENTS, profile, start=start, picard=4)
    span = AXIS[1] - X_POINT[1]
    np.testing.assert_allclose(found.axis, [AXIS[0], 0], atol=1e-5)
    upper = found.surfaces.x_points[jnp.argmax(found.surfaces.x_points[:, 1])]
    np.testing.assert_allclose(upper, X_POINT[0], atol=5e-5)
    fluxes = [found.axis_flux, found.boundary_flux]
    np.testing.assert_allclose(fluxes, [AXIS[1], X_POINT[1]], atol=2e-5 * span)
    assert float(found.density.strength) == pytest.approx(6.86598e5, rel=1e-5)
    assert float(found.density.share) == pytest.approx(0.301061, rel=2e-5)
    r, z = jnp.asarray(list(PLACES)).T
    plasma = jax.vmap(lambda point: machine.grid.at(found.plasma, point))(jnp.stack([r, z], -1))
    flux = plasma + found.currents @ machine.coils.flux(r, z)
    np.testing.assert_allclose(flux, list(PLACES.values()), atol=5e-5 * span)
    through_nodes = RectBivariateSpline(*machine.grid.lines, np.asarray(found.psi))
    near, published = NEAR_COIL
    np.testing.assert_allclose(through_nodes(*near)[0, 0], published, atol=2e-5 * span)


def test_errors():
    machine, profile = four_coils((33, 33)), four_profile()
    with pytest.raises(ValueError, match=r"currents must have shape \(4,\), got \(3,\)"):
        free_boundary(machine, [1.0, 2.0, 3.0], profile)
    with pytest.raises(EquilibriumError, match="after 0 iterations of Newton's method the resid"):
        free_boundary(machine, FOUR_CURRENTS, profile, iterations=0)
    with pytest.raises(EquilibriumError, match="no closed flux surface within the limiter"):
        free_boundary(machine, 50 * np.asarray(FOUR_CURRENTS), profile, iterations=0)
    grid = Rectangle((33, 33), (0.1, -1.0), (2.0, 1.0))
    with pytest.raises(ValueError, match="got a filament at R = 1.2, Z = 0.1"):
        tokamak(grid, coils(filaments(1.2, 0.1)), FOUR_LIMITER)
    with pytest.raises(ValueError, match="not lie on a node of the grid.*R = 2, Z = 1"):
        tokamak(grid, coils(filaments(2.0, 1.0)), FOUR_LIMITER)
    with pytest.raises(ValueError, match="limiter must lie between"):
        tokamak(grid, coils(filaments(2.0, 1.1)), [[0.1, 0], [1, 0], [1, 0.5]])
    with pytest.raises(ValueError, match="r must be finite and > 0, got 0"):
        filaments(0.0, 1.0)
    with pytest.raises(ValueError, match="circuits must be at least one, got none"):
        coils()
