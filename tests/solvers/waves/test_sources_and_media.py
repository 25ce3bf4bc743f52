"""Absorbing layers, sources, slabs, monitors: against exact solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.waves import exact
from jaxpbdl.solvers.waves.components import electric_location
from jaxpbdl.solvers.waves.sides import Side

pytestmark = pytest.mark.x64


def beside(side: Side, cells: int, steps: int):
    """E_z beside the corner of a box of 20 x 20 cells within layers, of a pulse in its middle;
    `cells` of the layer belong to the grid besides."""
    size = 20 + 2 * cells
    grid = jp.grids.Cells((size, size), float(size), -float(cells))
    step = waves.maxwell(
        grid,
        0.5,
        components=waves.tm,
        sides=(side, side),
        sources=(waves.dipole((10.0, 10.0), 2, waves.pulse(20.0, 0.35)),),
    )
    near = cells + 2
    return jp.rollout(
        step, step.start(), steps, observe=lambda s: s.electric[0][near, near : near + 8]
    )


@pytest.fixture(scope="module")
def open_space():
    with jax.enable_x64(True):
        return beside(waves.pec, 56, 220)


@pytest.mark.parametrize(("cells", "decibels"), ((8, -80), (16, -100)))
def test_reflection_of_absorbing_layers(open_space, cells, decibels):
    """The largest error near a side and its corner over the largest field there, against a box so
    large that nothing comes back; a pulse about 20 cells a wavelength."""
    found = beside(waves.absorbing(cells), cells, 220)
    error = jnp.max(jnp.abs(found - open_space)) / jnp.max(jnp.abs(open_space))
    level = 20 * float(jnp.log10(error))
    assert level < decibels


@pytest.mark.parametrize(
    ("components", "axis", "component"),
    [(waves.tm, 0, 2), (waves.tm, 1, 2), (waves.te, 0, 1), (waves.te, 1, 0)],
)
def test_a_plane_wave_stays_in_its_box(components, axis, component):
    """Nothing outside; inside the signal, later by the way to the point. Both polarisations, both
    axes, cells that differ."""
    grid = jp.grids.Cells((30, 26), (3.0, 2.86))
    signal = waves.pulse(2.5, 0.3)
    wave = waves.plane_wave((1.0, 0.88), (2.0, 1.98), axis, component, signal)
    side = waves.absorbing(5)
    step = waves.maxwell(grid, 0.07, components=components, sides=(side, side), sources=(wave,))
    position = components.electric.index(component)
    location = electric_location(component, 2)
    points = grid.points_at(location)
    inside = jnp.all((points >= jnp.array([0.99, 0.87])) & (points <= jnp.array([2.01, 1.99])), -1)
    middle = tuple(n // 2 for n in inside.shape)

    def observe(state):
        e = state.electric[position]
        return jnp.max(jnp.abs(jnp.where(inside, 0.0, e))), e[middle]

    outside, found = jp.rollout(step, step.start(), 130, observe=observe)
    assert float(jnp.max(outside)) < 1e-12
    away = points[middle][axis] + 4 * float(grid.widths[axis][0])
    known = jax.vmap(signal)(0.07 * jnp.arange(131) - away)
    np.testing.assert_allclose(found, known, atol=0.03)
    assert jnp.max(jnp.abs(known)) > 0.95


def test_the_magnetic_field_of_a_plane_wave_is_right_handed():
    for components, axis, component, sign in (
        (waves.tm, 0, 2, -1), (waves.tm, 1, 2, 1), (waves.te, 0, 1, 1), (waves.te, 1, 0, -1),
    ):  # fmt: skip
        grid = jp.grids.Cells((12, 12), 2.4)
        wave = waves.plane_wave((0.4, 0.4), (2.0, 2.0), axis, component, waves.pulse(2.0, 0.3))
        step = waves.maxwell(grid, 0.13, components=components, sources=(wave,))
        state = jp.repeat(step, 40)(step.start())
        e = state.electric[components.electric.index(component)][6, 6]
        third = components.magnetic.index(3 - axis - component)
        assert float(state.magnetic[third][6, 6] * e) * sign > 0.1 * float(e) ** 2 > 1e-4


def test_flux_of_a_line_current():
    """k |I|^2 / 8 leaves every box about it, wherever it lies between the nodes, and nothing a box
    beside it (R. F. Harrington, Time-Harmonic Electromagnetic Fields, 1961, section 5-6)."""
    grid = jp.grids.Cells((44, 38), (2.2, 2.28))
    signal = waves.pulse(1.8, 0.5)
    side = waves.absorbing(8)
    step = waves.maxwell(
        grid,
        0.03,
        components=waves.tm,
        sides=(side, side),
        sources=(waves.dipole((1.02, 1.25), 2, signal),),
    )
    boxes = (
        waves.box(step, (0.5, 0.6), (1.5, 1.5)),
        waves.box(step, (0.9, 1.08), (1.2, 1.44)),
        waves.box(step, (1.3, 0.6), (1.7, 1.7)),
    )
    wavelengths = jnp.array([1.6, 2.2])
    watched = waves.transformed(step, lambda s: [one(s) for one in boxes], wavelengths)
    final = jax.jit(jp.repeat(watched, 420))(watched.start(step.start()))
    times = 0.03 * (jnp.arange(420) + 0.5)
    phase = jnp.exp(2j * jnp.pi / wavelengths[:, None] * times)
    current = 0.03 * jnp.sum(jax.vmap(signal)(times) * phase, axis=1)
    known = 2 * jnp.pi / wavelengths * jnp.abs(current) ** 2 / 8
    around, near, away = (
        one.flux(faces, wavelengths) for one, faces in zip(boxes, waves.spectra(final), strict=True)
    )
    np.testing.assert_allclose(around, known, rtol=0.01)
    np.testing.assert_allclose(near, known, rtol=0.01)
    np.testing.assert_allclose(away / known, 0, atol=1e-4)


WAVELENGTHS = np.array([0.8, 1.0, 1.3])


def test_slabs():
    """Reflection and transmission of a dielectric slab, of one with two poles, and the field in a
    conductor, all against exact values; the layers also end the media."""
    cells, h = 200, 0.02
    grid = jp.grids.Cells(cells, cells * h)
    nodes = np.arange(cells + 1)
    # At the faces of the slab half of it, the mean.
    inside = jnp.asarray(((nodes >= 80) & (nodes <= 120)) / 1.0).at[jnp.array([80, 120])].set(0.5)
    thickness = 40 * h

    def lines(eps, sigma, drude, resonant):
        share = (inside,)
        poles = (
            waves.drude(3.0, 0.5, tuple(drude * one for one in share)),
            waves.lorentz(9.0, 0.8, 0.7, tuple(resonant * one for one in share)),
        )
        step = waves.maxwell(
            grid,
            0.018,
            permittivity=(1 + inside * (eps - 1),),
            conductivity=(sigma * inside,),
            poles=poles,
            sides=(waves.absorbing(12),),
            components=waves.ez_hy,
            sources=(waves.dipole((0.5,), 2, waves.pulse(1.0, 0.5)),),
        )
        watched = waves.transformed(step, lambda s: s.electric[0], WAVELENGTHS)
        return waves.spectra(jp.repeat(watched, 1500)(watched.start(step.start())))

    cases = jnp.array([[1, 0, 0, 0], [2.25, 0, 0, 0], [1.5, 0, 1, 1], [2.0, 40.0, 0, 0]], float)
    found = np.asarray(jax.jit(jax.vmap(lines))(*cases.T))
    free, k = found[0], 2 * np.pi / WAVELENGTHS
    drude, resonant = waves.drude(3.0, 0.5), waves.lorentz(9.0, 0.8, 0.7)
    for number, eps in (
        (1, np.full(3, 2.25)),
        (2, 1.5 + np.asarray(drude.susceptibility(k) + resonant.susceptibility(k))),
    ):
        r, t = exact.slab(k, eps, thickness)
        reflected = (found[number][:, 60] - free[:, 60]) / free[:, 60]
        r = r * np.exp(2j * k * 20 * h)
        transmitted = found[number][:, 140] / free[:, 140]
        t = t * np.exp(-1j * k * thickness)
        np.testing.assert_allclose(np.abs(reflected) ** 2, np.abs(r) ** 2, atol=0.01)
        np.testing.assert_allclose(np.abs(transmitted) ** 2, np.abs(t) ** 2, rtol=0.01)
        np.testing.assert_allclose(transmitted, t, rtol=0.1)  # the phase: dispersion of the cells
        np.testing.assert_allclose(reflected, r, atol=0.1)
    index = np.sqrt(2.0 + 40j / k)
    depth = 10 * h / np.log(np.abs(found[3][:, 84] / found[3][:, 94]))
    np.testing.assert_allclose(depth, 1 / (index.imag * k), rtol=0.01)


def test_a_smoothed_cylinder():
    """The mean of the permittivity is that of its area, to second order; gradients reach the
    radius."""

    def excess(radius):
        grid = jp.grids.Cells((40, 40), 1.0)
        value = waves.smoothed(jp.shapes.Ball((0.5, 0.52), radius), 3.0, 1.0, 1 / 40)
        step = waves.maxwell(grid, 0.01, permittivity=value, components=waves.tm)
        return jnp.sum(step.medium.permittivity[0] - 1) / 1600

    assert float(excess(0.3)) == pytest.approx(2 * np.pi * 0.09, rel=2e-3)
    assert float(jax.grad(excess)(0.3)) == pytest.approx(4 * np.pi * 0.3, rel=0.02)


def test_poles():
    w = 1.7
    gold = waves.drude(3.0, 0.2).susceptibility(w)
    assert complex(gold) == pytest.approx(-9 / (w**2 + 0.2j * w))
    glass = waves.lorentz(4.0, 0.5, 0.1).susceptibility(w)
    assert complex(glass) == pytest.approx(0.5 * 16 / (16 - w**2 - 0.1j * w))


def test_refused():
    grid = jp.grids.Cells((10, 10))
    side = waves.absorbing(2)
    step = waves.maxwell(grid, 0.05, components=waves.tm, sides=(side, side))
    for lower, upper, problem in (
        ((0.1, 0.3), (0.7, 0.7), "lower .* is inside the absorbing layer"),
        ((0.3, 0.3), (0.7, 1.7), "upper .* is outside the domain"),
        ((0.3, 0.5), (0.7, 0.5), "lower must be a cell or more below upper"),
    ):
        with pytest.raises(ValueError, match=problem):
            waves.box(step, lower, upper)
    with pytest.raises(ValueError, match="wavelengths must be at least two cells, 0.2, got 0.1"):
        waves.transformed(step, lambda s: s.time, [0.1, 1.0])
    with pytest.raises(ValueError, match="strength must be finite and > 0, got 0"):
        waves.absorbing(2, strength=0.0)
    with pytest.raises(ValueError, match="resonance must be finite and > 0, got 0"):
        waves.lorentz(0.0, 1.0)
    with pytest.raises(ValueError, match="damping must be finite and >= 0"):
        waves.drude(1.0, -1.0)
    with pytest.raises(ValueError, match="share of pole 0 must be finite and >= 0"):
        waves.maxwell(grid, 0.05, components=waves.tm, poles=(waves.drude(1.0, 0.0, -0.5),))
    with pytest.raises(ValueError, match="axis must be one of the 2 of the grid"):
        waves.maxwell(
            grid, 0.05, components=waves.tm,
            sources=(waves.plane_wave((0.3, 0.3), (0.7, 0.7), 2, 2, jnp.sin),),
        )  # fmt: skip
