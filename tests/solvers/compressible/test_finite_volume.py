"""Finite volumes: orders of the parts, symmetries, conservation, sides, gradients, bad input."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.equations import CompressibleFlow, ConservationLaw
from jaxpbdl.grids import Cells
from jaxpbdl.solvers import time
from jaxpbdl.solvers.compressible import (
    Reconstruction,
    Weno5,
    characteristic,
    exact,
    finite_volumes,
    first_order,
    hllc,
    inflow,
    minmod,
    monotonised_central,
    muscl,
    positivity,
    primitive,
    primitive_lines,
    reflecting,
    rusanov,
    sixth_order,
    superbee,
    transmissive,
    van_leer,
    weno5,
)
from jaxpbdl.solvers.compressible.finite_volume import _drawn
from jaxpbdl.solvers.compressible.sides import Place

pytestmark = pytest.mark.x64

SOD = (1.0, 0.0, 1.0), (0.125, 0.0, 0.1)
LINE = CompressibleFlow(1)


def tube(cells, dt, states=SOD, **options):
    """A step on [0, 1] and two gases that meet in the middle."""
    step = finite_volumes(LINE, Cells(cells, 1.0), dt, **options)
    one, two = map(jnp.array, states)
    return step, step.start(lambda x: jnp.where(x[0] < 0.5, one, two))


def final(step, state, steps):
    return jp.rollout(step, state, steps, every=steps)[-1]


def test_limiters():
    before, after = jnp.array([1.0, 3.0, -1.0, 1.0, 0.0]), jnp.array([3.0, 1.0, -3.0, -1.0, 2.0])
    np.testing.assert_allclose(minmod(before, after), [1, 1, -1, 0, 0])
    np.testing.assert_allclose(van_leer(before, after), [1.5, 1.5, -1.5, 0, 0])
    np.testing.assert_allclose(monotonised_central(before, after), [2, 2, -2, 0, 0])
    np.testing.assert_allclose(monotonised_central(before, after**3), [2, 2, -2, 0, 0])
    np.testing.assert_allclose(superbee(before, after), [2, 2, -2, 0, 0])
    np.testing.assert_allclose(superbee(2 * before, after), [3, 2, -3, 0, 0])
    slopes = jax.vmap(jax.grad(van_leer))(before, after)
    np.testing.assert_allclose(slopes, [2 * 9 / 16, 2 * 1 / 16, 2 * 9 / 16, 0, 0])


@pytest.mark.parametrize("ndim", [1, 2])
def test_lines_once_a_cell_are_those_once_an_edge(ndim):
    law, key = CompressibleFlow(ndim), jax.random.key(1)
    state = law.conserved(1 + jax.random.uniform(key, (ndim + 2, *[7] * ndim)))
    for axis in range(ndim):
        found = primitive_lines(law, state, axis, muscl(superbee))
        np.testing.assert_allclose(found, primitive(law, state, axis, muscl(superbee)), rtol=1e-12)
    with pytest.raises(TypeError, match="difference across each cell.*got Weno5"):
        primitive_lines(law, state, 0, weno5)


@pytest.mark.parametrize("power, order", [(1, 5), (2, 5)])
def test_weno_is_of_order_five(power, order):
    """At the upper edge of cells, of means of exp; mirrored at the lower edge."""
    errors = []
    for n in (8, 16):
        edges = np.linspace(0, 1, n + 1)
        means = n * np.diff(np.exp(edges))
        edge = Weno5(power=power)(*(jnp.asarray(means[k : n - 4 + k]) for k in range(5)))
        lower = Weno5(power=power)(*(jnp.asarray(means[k : n - 4 + k]) for k in range(4, -1, -1)))
        errors.append(np.abs(edge - np.exp(edges[3 : n - 1])).max())
        assert np.abs(lower - np.exp(edges[2 : n - 2])).max() < 10 * errors[-1]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.6)


def test_what_passes_for_smooth():
    """Small differences are seen with the weights of a polynomial through all five cells, whose
    order is 5 about an extremum too; a jump is seen as before."""
    small = 1 + 1e-4 * jax.random.normal(jax.random.key(0), (5,))
    known = jnp.array([2, -13, 47, 27, -3]) / 60 @ small
    assert float(jnp.abs(Weno5(smooth=3e-3)(*small) - known)) < 1e-7
    assert float(jnp.abs(weno5(*small) - known)) > 1e-6
    jump = jnp.array([1.0, 1.0, 1.0, 2.0, 2.0])
    np.testing.assert_allclose(Weno5(smooth=3e-3)(*jump), weno5(*jump), atol=1e-4)


def test_weno_does_not_overshoot_a_jump_in_single_precision():
    for top in (1.0, 1e6):
        cells = jnp.array([0.0, 0.0, 0.0, top, top], jnp.float32)
        value = float(Weno5(power=2)(*cells)) / top
        assert abs(value) < 1e-4
    assert float(weno5(*jnp.full(5, 3.0))) == pytest.approx(3.0)


@pytest.mark.parametrize("ndim, axis", [(1, 0), (2, 1), (3, 2)])
def test_fluxes(ndim, axis):
    """Of two equal states that of the law; HLLC keeps a contact at rest and takes the stream from
    its side where it is supersonic; both mirror."""
    law = CompressibleFlow(ndim)
    velocity = np.arange(1, ndim + 1) * 0.3
    one = law.conserved(jnp.array([1.2, *velocity, 0.8]))
    two = law.conserved(jnp.array([0.4, *-velocity, 2.0]))
    for flux in (hllc, rusanov):
        np.testing.assert_allclose(flux(law, one, one, axis), law.flux(one, axis), rtol=1e-12)
        turned = flux(law, law.mirrored(two, axis), law.mirrored(one, axis), axis)
        there = -law.mirrored(turned, axis)
        np.testing.assert_allclose(flux(law, one, two, axis), there, rtol=1e-12, atol=1e-12)
    still = [law.conserved(jnp.array([rho, *0 * velocity, 0.8])) for rho in (1.0, 3.0)]
    expected = np.zeros(ndim + 2)
    expected[1 + axis] = 0.8
    np.testing.assert_allclose(hllc(law, *still, axis), expected, atol=1e-12)
    assert float(rusanov(law, *still, axis)[0]) < -0.5  # it smears the contact
    fast = [law.conserved(jnp.array([rho, *velocity + 9.0, 0.8])) for rho in (1.0, 3.0)]
    np.testing.assert_allclose(hllc(law, *fast, axis), law.flux(fast[0], axis), rtol=1e-12)


def test_positivity_draws_as_far_as_needed():
    safe = LINE.conserved(jnp.array([[1.0], [0.5], [1.0]]))
    wanted = LINE.conserved(jnp.array([[0.5], [3.0], [0.2]])).at[0].set(-0.4)
    share = positivity(LINE, wanted, safe)
    low = {name: float(x[0]) for name, x in LINE.positive(safe + share * (wanted - safe)).items()}
    assert 0 < float(share[0]) < 1 and min(low.values()) >= 0.999e-3
    assert float(positivity(LINE, 1.1 * safe, safe)[0]) == 1
    thin = safe.at[0].set(-1.0)  # the density alone: 2 share = 1 - 1e-3
    assert float(positivity(LINE, thin, safe)[0]) <= 0.4995 + 1e-12
    drawn = _drawn(jnp.array([4.0, 4.0]), jnp.array([1.0, 1.0]), jnp.array([0.25, 1.0]))
    np.testing.assert_array_equal(drawn, [1.75, 4.0])


def test_each_scheme_on_a_shock_tube():
    """The error of the density on 50 cells falls from scheme to scheme; with its known size."""
    errors = []
    found = exact.riemann(*SOD)
    for options in (
        {"reconstruction": first_order, "flux": rusanov, "scheme": time.euler},
        {"reconstruction": muscl(van_leer), "variables": primitive},
        {"reconstruction": weno5, "variables": characteristic},
    ):
        step, state = tube(50, 0.2 / 64, **options)
        truth = found(jnp.asarray((step.grid.centres[0] - 0.5) / 0.2))[0]
        errors.append(float(jnp.mean(jnp.abs(final(step, state, 64)[0] - truth))))
    assert errors[0] > 2 * errors[1] and errors[1] > errors[2]
    assert 0.025 < errors[0] < 0.04 and 0.005 < errors[2] < 0.009


@pytest.mark.parametrize("ndim, axis", [(2, 0), (2, 1), (3, 1)])
def test_flow_along_one_axis_is_that_in_one_dimension(ndim, axis):
    """Also beside other cells of another width, with the quadrature of high order."""
    line, start = tube(16, 0.01, sides=[(reflecting, transmissive)])
    truth = final(line, start, 8)
    shape, lengths = [5] * ndim, [2.0] * ndim
    shape[axis], lengths[axis] = 16, 1.0
    periodic = [a != axis for a in range(ndim)]
    sides = [(reflecting, transmissive) if a == axis else None for a in range(ndim)]
    law = CompressibleFlow(ndim)
    step = finite_volumes(
        law, Cells(shape, lengths, periodic=periodic), 0.01, sides, quadrature=sixth_order
    )
    one, two = (jnp.array([s[0], *[0.0] * ndim, s[2]]) for s in SOD)
    found = final(step, step.start(lambda x: jnp.where(x[axis] < 0.5, one, two)), 8)
    lines = jnp.moveaxis(found, 1 + axis, -1).reshape(ndim + 2, -1, 16)
    for component, expected in ((0, truth[0]), (1 + axis, truth[1]), (ndim + 1, truth[2])):
        np.testing.assert_allclose(
            lines[component], np.tile(expected, (5 ** (ndim - 1), 1)), atol=1e-12
        )
    others = [c for c in range(1, ndim + 1) if c != 1 + axis]
    assert jnp.max(jnp.abs(lines[jnp.array(others)])) < 1e-12


@pytest.mark.parametrize("axis", [0, 1])
def test_mirror_symmetry_and_conservation(axis):
    """A random flow in a box with walls and an open axis: the mirror image of the result is the
    result of the mirror image; walls let neither mass nor energy out."""
    law = CompressibleFlow(2, viscosity=0.01, conductivity=0.02)
    periodic = [False, False]
    periodic[1 - axis] = True
    grid = Cells((10, 8), (1.0, 0.7), periodic=periodic)
    sides = [None if wraps else reflecting for wraps in periodic]
    step = finite_volumes(law, grid, 2e-3, sides)
    draw = jax.random.uniform(jax.random.key(axis), (4, 10, 8), minval=-1.0, maxval=1.0)
    values = 1 + 0.3 * draw
    values = values.at[1:3].add(-1.0)
    state = law.conserved(values)
    move = jax.jit(lambda u: jp.rollout(step, u, 4, 4)[-1])
    found = move(state)
    assert jnp.max(jnp.abs(found - state)) > 0.01
    for a in (0, 1):
        mirrored = law.mirrored(jnp.flip(move(law.mirrored(jnp.flip(state, 1 + a), a)), 1 + a), a)
        np.testing.assert_allclose(found, mirrored, rtol=1e-11, atol=1e-11)
    change = np.asarray(grid.integral(found - state))
    kept = np.delete(change, 1 + axis)  # the walls push along their axis
    assert np.abs(kept).max() < 1e-14 and abs(change[1 + axis]) > 1e-6


def test_sides():
    """A wall sends a shock back at the pressure of two gases that collide; a supersonic inflow
    fills the tube; a transmissive side lets a wave out."""
    gas = (1.0, 1.0, 1.0)
    step, state = tube(40, 0.004, (gas, gas), sides=[(transmissive, reflecting)])
    pushed = LINE.primitive(final(step, state, 64))
    colliding = exact.riemann(gas, (1.0, -1.0, 1.0))
    assert float(pushed[2, -2]) == pytest.approx(float(colliding.pressure), rel=0.01)
    assert abs(float(pushed[1, -2])) < 0.02
    stream, fast = jnp.array([0.5, 3.0, 1.2]), (1.0, 3.0, 1.0)
    step, state = tube(40, 0.004, (fast, fast), sides=[(inflow(stream), transmissive)])
    filled = LINE.primitive(final(step, state, 256))
    np.testing.assert_allclose(filled, np.tile(np.asarray(stream)[:, None], 40), rtol=0.01)
    law = CompressibleFlow(2)
    grid = Cells((6, 5), (1.0, 1.0))
    profile = inflow(lambda x: jnp.stack([1.0, 4.0 + x[1], 0.0, 1.0 + x[0]]))
    step = finite_volumes(law, grid, 1e-3, [(profile, transmissive), transmissive])
    flux = step.through(step.start(lambda x: jnp.array([1.0, 4.5, 0.0, 1.0])), 0)
    below = law.conserved(
        jnp.stack([jnp.ones(5), 4.0 + grid.centres[1], jnp.zeros(5), jnp.ones(5)])
    )
    np.testing.assert_allclose(flux[:, 0], law.flux(below, 0), rtol=1e-6)


def test_ghost_cells_of_each_side():
    """Of two rows of cells in two dimensions, the nearest first."""
    law, grid = CompressibleFlow(2), Cells((4, 5), (3.0, 1.0))
    near = law.conserved(1 + jnp.arange(40.0).reshape(4, 2, 5))
    place = Place(grid, 0, 0)
    np.testing.assert_array_equal(transmissive(law, near, place)[:, 1], near[:, 0])
    mirrored = law.primitive(reflecting(law, near, place))
    np.testing.assert_allclose(
        mirrored, law.primitive(near) * jnp.array([1, -1, 1, 1])[:, None, None]
    )
    given = jnp.array([0.5, 3.0, 1.0, 1.2])
    np.testing.assert_allclose(
        law.primitive(inflow(given)(law, near, place)),
        jnp.broadcast_to(given[:, None, None], near.shape),
    )
    profile = inflow(lambda x: jnp.stack([1 + x[0], 2 + x[1], 0.0, 4.0]))
    for end, density in ((0, 1.0), (-1, 4.0)):  # the function on the side itself
        for beyond in (0, 1):  # and as far along it as there are cells
            wide = jnp.zeros((4, 2, 5 + 2 * beyond))
            found = law.primitive(profile(law, wide, Place(grid, 0, end)))
            np.testing.assert_allclose(found[0], density)
            along_side = np.pad(2 + grid.centres[1], beyond, mode="edge")
            np.testing.assert_allclose(found[1], np.tile(along_side, (2, 1)))


def test_graded_profile_is_seen_by_quadrature():
    """The function of an inflow goes on beyond the side where the face quadrature looks."""
    profile = inflow(lambda x: jnp.stack([1.0, 4.0 + x[1], 0.0, 1.0]))
    step = finite_volumes(
        CompressibleFlow(2),
        Cells((6, 5)),
        1e-3,
        [(profile, transmissive), transmissive],
        quadrature=sixth_order,
    )
    state = step.start(lambda x: jnp.stack([1.0, 4.0 + x[1], 0.0, 1.0]))
    flux = step.through(state, 0)[0, 0]
    np.testing.assert_allclose(flux[2], 4.5, rtol=1e-12)


def test_viscous_gas():
    """Shear flow loses its motion, warmth spreads: exp(-nu k^2 t) of small waves, nu = 2 mu / rho
    and (gamma - 1) / gamma k / rho at one pressure; the differences are of second order."""
    law = CompressibleFlow(2, viscosity=0.002, conductivity=0.005)
    grid = Cells((4, 24), (1.0, 1.0), periodic=True)
    step = finite_volumes(law, grid, 4 / 225, guard=None)
    k = 2 * jnp.pi

    def start(x):
        wave = 1e-4 * jnp.sin(k * x[1])
        return jnp.stack([2.0 / (1 + wave), wave, 0.0, 1.0])

    state = step.start(start)
    later = law.primitive(final(step, state, 225))
    wave = jnp.sin(k * grid.centres[1])

    def amplitude(values):
        return float(2e4 * jnp.mean(values * wave))

    shear = amplitude(later[1, 0])
    assert shear == pytest.approx(float(jnp.exp(-0.001 * k**2 * 4)), rel=2e-3)
    # By the entropy, which the sound that conduction stirs up does not carry.
    warmth = amplitude(jnp.log(later[3, 0]) / 1.4 - jnp.log(later[0, 0]))
    assert warmth == pytest.approx(float(jnp.exp(-0.005 / 2 * 0.4 / 1.4 * k**2 * 4)), rel=5e-3)


def test_sources():
    """Gravity as a source of the state, and as an input of the step."""
    grid = Cells((6, 4), periodic=True)
    law = CompressibleFlow(2)

    def gravity(state):
        return jnp.stack([0 * state[0], 0 * state[0], -0.5 * state[0], -0.5 * state[2]])

    step = finite_volumes(law, grid, 0.01, reconstruction=first_order, guard=None, source=gravity)
    start = step.start(lambda x: jnp.array([2.0, 0.3, 0.0, 1.0]))
    found = law.primitive(final(step, start, 9))
    np.testing.assert_allclose(found[:, 0, 0], [2.0, 0.3, -0.045, 1.0], atol=1e-9)
    plain = replace(step, source=None)
    pushed = plain(start, jnp.zeros_like(start).at[1].set(3.0))
    assert float(pushed[1, 0, 0]) == pytest.approx(0.6 + 0.03)


def test_vmap_and_jit():
    step, state = tube(24, 0.004, reconstruction=first_order, variables=primitive)
    states = jnp.stack([state, 1.2 * state])
    together = jax.jit(jax.vmap(step))(states)
    for one, found in zip(states, together, strict=True):
        np.testing.assert_allclose(step(one), found, rtol=1e-12, atol=1e-14)
    assert jnp.max(jnp.abs(together[0] - state)) > 0.01
    laws = jax.vmap(CompressibleFlow, in_axes=(None, 0))(1, jnp.array([1.3, 1.6]))

    def pressure(law):
        moved = replace(step, equation=law).advance(law.conserved(LINE.primitive(state)))
        return law.pressure(moved)

    found = jax.jit(jax.vmap(pressure))(laws)
    alone = pressure(CompressibleFlow(1, gamma=1.6))
    np.testing.assert_allclose(found[1], alone, rtol=1e-12)


def directional(function, argument, direction, size):
    """The derivative along a direction by reverse mode, and by central differences."""
    slope = jax.jit(jax.grad(function))
    known = float(jnp.sum(slope(argument) * direction))
    value = jax.jit(function)
    ahead, behind = value(argument + size * direction), value(argument - size * direction)
    return known, float(ahead - behind) / (2 * size)


@pytest.mark.parametrize("what", ["state", "gamma"])
def test_gradient_through_a_shock_tube(what):
    """Of a mean over the result, from a smooth state: in exactly constant gas the weights of WENO
    have a kink."""
    step, _ = tube(32, 0.004, variables=primitive)

    def smooth(x):
        rise = 0.5 - 0.5 * jnp.tanh(8 * (x[0] - 0.5))
        ripple = 0.05 * jnp.sin(12 * x[0])
        return jnp.stack([0.125 + 0.875 * rise + ripple, ripple, 0.1 + 0.9 * rise + ripple])

    start = step.start(smooth)
    weight = jnp.asarray(np.cos(2 * step.grid.centres[0]))

    def outcome(change):
        law = CompressibleFlow(1, gamma=1.4 + (change if what == "gamma" else 0.0))
        state = start + (change * jnp.sin(jnp.arange(32.0)) if what == "state" else 0.0)
        end = jp.repeat(replace(step, equation=law), 25)(state)
        return jnp.mean(weight * end[0])

    known, found = directional(outcome, jnp.zeros(()), jnp.ones(()), 1e-6)
    assert abs(known) > 1e-3
    assert known == pytest.approx(found, rel=1e-5)


def test_gradient_through_a_vortex():
    law = CompressibleFlow(2)
    grid = Cells((12, 12), 20.0, -10.0, periodic=True)
    step = finite_volumes(
        law, grid, 0.1, reconstruction=muscl(van_leer), variables=primitive, guard=None
    )

    def outcome(strength):
        values = exact.vortex(grid.points, 0.0, (20.0, 20.0), strength=strength)
        end = jp.repeat(step, 9)(law.conserved(values))
        return jnp.mean(end[3] ** 2)

    known, found = directional(outcome, jnp.asarray(5.0), jnp.asarray(1.0), 1e-5)
    assert abs(known) > 1e-3 and known == pytest.approx(found, rel=1e-5)


class Traffic(ConservationLaw):
    """A law of one unknown: Burgers' equation."""

    ndim: int = eqx.field(static=True, default=1)

    @property
    def value_shape(self):
        return (1,)

    def flux(self, state, axis):
        return state**2 / 2

    def wave_speeds(self, state, axis):
        return state[0], state[0]


def test_a_law_of_your_own():
    """Burgers' shock between 2 and 1 moves at 1.5 cells a unit of time; no default is missing."""
    step = finite_volumes(Traffic(), Cells(60, 6.0), 0.02, flux=rusanov)
    start = step.start(lambda x: jnp.where(x < 2.0, 2.0, 1.0))
    end = final(step, start, 100)
    mass = step.grid.integral(end[0] - 1)
    assert float(mass) == pytest.approx(5.0, rel=1e-6)
    assert float(jnp.max(end)) < 2 + 1e-3 and float(jnp.min(end)) > 1 - 1e-3
    place = float(jnp.interp(-1.5, -end[0], jnp.asarray(step.grid.centres[0])))
    assert place == pytest.approx(5.0, abs=0.06)


def test_the_solver_leaves_little_residual():
    """Of a smooth wave, judged by the equation on the interpolated rollout."""
    step = finite_volumes(LINE, Cells(32, 1.0, periodic=True), 0.002)
    start = step.start(lambda x: jnp.stack([1 + 0.1 * jnp.sin(2 * jnp.pi * x[0]), 1.0, 1.0]))
    states = jp.rollout(step, start, 9)
    law, field = step.equation_and_field(states, 0.002 * jnp.arange(10.0))
    residual = jax.vmap(law.residual, (None, 0))(field, jnp.array([[0.31, 0.01], [0.77, 0.012]]))
    slope = jax.jacfwd(field)(jnp.array([0.31, 0.01]))
    assert jnp.max(jnp.abs(residual)) < 0.01 * jnp.max(jnp.abs(slope))


def test_bad_input():
    step, state = tube(20, 0.004)
    assert 0.004 < float(step.largest_dt(state)) == pytest.approx(0.05 / 1.4**0.5, rel=1e-6)
    with pytest.raises(ValueError, match=r"dt = 0\.05 is above .* use dt <= 0\.0423"):
        replace(step, dt=jnp.asarray(0.05))(state)
    with pytest.raises(ValueError, match=r"density must be > 0, got -1 in cell \(3,\)"):
        step(state.at[0, 3].set(-1.0))
    with pytest.raises(ValueError, match=r"pressure must be > 0, got -0\.4 in cell \(7,\)"):
        step(state.at[2, 7].set(-1.0))
    with pytest.raises(ValueError, match=r"state must have shape \(3, 20\), got \(3, 21\)"):
        step(jnp.ones((3, 21)))
    with pytest.raises(ValueError, match="dt must be finite and > 0, got 0"):
        finite_volumes(LINE, Cells(20), 0.0)
    with pytest.raises(ValueError, match="needs a grid of 1 axes"):
        finite_volumes(LINE, Cells((4, 4)), 0.1)
    with pytest.raises(ValueError, match="sides must have 1 entries, one per axis; got 2"):
        finite_volumes(LINE, Cells(20), 0.1, [reflecting, reflecting])
    with pytest.raises(ValueError, match="axis 0 is periodic, its entry of sides must be None"):
        finite_volumes(LINE, Cells(20, periodic=True), 0.1, [reflecting])
    with pytest.raises(ValueError, match="cells of each axis must be equal"):
        finite_volumes(LINE, Cells(4, edges=[[0.0, 0.1, 0.3, 0.6, 1.0]]), 0.1)
    with pytest.raises(ValueError, match=r"at least 5 cells, got shape \(4,\)"):
        finite_volumes(LINE, Cells(4), 0.1, reconstruction=Wide())
    with pytest.raises(ValueError, match="power must be an integer >= 1, got 0"):
        Weno5(power=0)
    with pytest.raises(ValueError, match="smooth must be finite and >= 0, got -1"):
        Weno5(smooth=-1.0)


class Wide(Reconstruction):
    """One that looks further than the smallest grid."""

    reach: int = eqx.field(static=True, default=4)


def test_a_viscous_gas_wants_a_smaller_dt():
    """4 D / h^2 beside the waves, in the share of the scheme's decay of 2.5."""
    step, state = tube(20, 1e-4)
    thick = replace(step, equation=CompressibleFlow(1, viscosity=0.3))
    rate = float(thick.scheme.real) / float(thick.largest_dt(state))
    worst = 4 * 0.4 / 0.125 * 400  # in the thin gas
    assert rate == pytest.approx(worst + 2.5 * 20 * (1.4 * 0.1 / 0.125) ** 0.5, rel=1e-6)


def test_what_blows_up_is_found():
    """A dt far above the limit of later states: the pressure goes below zero, its sound has no
    speed, and the rollout says so."""
    step, state = tube(20, 0.03, ((1.0, 0.0, 1.0), (0.001, 0.0, 0.001)), guard=None)
    wild = replace(step, dt=jnp.asarray(0.042))
    with pytest.raises(jp.checks.BlowUp, match="finite"):
        jp.rollout(wild, state, 200, every=200)
