"""Bloch's sides: plane waves, the gap of a lattice of rods, and the step in time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.waves.modes import frequencies

pytestmark = pytest.mark.x64
SIDE = np.pi
"""The phase at the edge of the zone."""


def lattice(phases, cells=12, rod=8.9, components=waves.tm):
    """Rods of alumina, radius 0.2, in a square cell of side 1."""
    grid = jp.grids.Cells((cells, cells), 1.0, -0.5, periodic=True)
    medium = waves.smoothed(jp.shapes.Ball((0.0, 0.0), 0.2), rod, 1.0, 1 / cells)
    sides = tuple(waves.bloch(one) for one in phases)
    return waves.maxwell(grid, 0.5 / cells, permittivity=medium, sides=sides, components=components)


@pytest.mark.parametrize("components", (waves.tm, waves.te))
def test_plane_waves_of_an_empty_lattice(components):
    """w from the dispersion of the scheme, also of those that reciprocal vectors make."""
    cells, dt = 8, 0.5 / 8
    phases = np.array([0.7, -1.9])
    found = frequencies(lattice(phases, cells, 1.0, components))
    k = phases + 2 * np.pi * np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
    sines = dt * np.sqrt(np.sum((cells * np.sin(k / (2 * cells))) ** 2, axis=1))
    known = np.sort(2 / dt * np.arcsin(sines))[:4]
    moving = np.asarray(found[found > 1e-3])
    np.testing.assert_allclose(moving[:4], known, rtol=1e-9)


def test_the_gap_of_a_lattice_of_rods():
    """Alumina in air, E along the rods: no mode from 0.32 to 0.44 c/a (J. D. Joannopoulos et al.,
    Photonic Crystals, 2nd ed. 2008, chapter 5): the first band is highest at M, the second lowest
    at X."""
    corners = jnp.array([[SIDE, 0.0], [SIDE, SIDE], [0.0, 0.0], [SIDE / 2, SIDE / 2]])
    bands = jax.jit(jax.vmap(lambda phases: frequencies(lattice(phases, 16))))(corners)
    first, second = np.asarray(bands[:, :2]).T / (2 * np.pi)
    assert first.argmax() == 1 and second.argmin() == 0
    assert first[1] == pytest.approx(0.32, abs=0.006)
    assert second[0] == pytest.approx(0.44, abs=0.006)
    assert first[2] < 1e-3


def test_the_step_in_time_is_that_of_the_modes():
    """E along a plane wave turns by w dt a step, once round the box by the phase; complex fields
    keep their energy."""
    phases, cells = (0.7, -1.9), 8
    step = lattice(phases, cells, 1.0)
    x, y = jnp.meshgrid(*[jnp.arange(cells) / cells] * 2, indexing="ij")
    wave = jnp.exp(1j * (phases[0] * x + phases[1] * y))
    states = jp.rollout(step, step.start((wave,)), 2)
    before, now, later = (states.electric[0][n][3, 5] for n in range(3))
    w = np.arccos(complex((before + later) / (2 * now)).real) / float(step.dt)
    assert w == pytest.approx(float(frequencies(step)[0]), rel=1e-9)
    lossless = lattice(phases, cells)
    energies = jp.rollout(
        lossless, lossless.start((wave,)), 500, every=250,
        observe=lambda s: waves.energy(lossless, s),
    )  # fmt: skip
    np.testing.assert_allclose(energies, energies[0], rtol=1e-11)
    assert float(energies[0]) > 0.1


def test_an_interface_between_bloch_sides():
    """The same shifted by half a cell of the lattice: bodies may lie across the sides. Means turn
    with the fields."""
    grid = jp.grids.Cells((10, 10), 1.0, periodic=True)
    sides = (waves.bloch(0.9), waves.bloch(-0.4))
    found = []
    for shift in (0, 5):
        centres = [(0.5 - shift / 10 + a, 0.5 - shift / 10 + b) for a in (0, 1) for b in (0, 1)]

        def shape(point, centres=tuple(centres)):
            away = [jnp.linalg.norm(point - jnp.asarray(centre)) for centre in centres]
            return jnp.min(jnp.stack(away)) - 0.31

        body = waves.interface(shape, 6.0, 1.0, 0.1)
        step = waves.maxwell(grid, 0.06, permittivity=body, components=waves.te, sides=sides)
        x = (np.arange(10) + 0.5) / 10
        turn = np.exp(1j * (0.9 * x[:, None] - 0.4 * x + 0.5 * shift / 5 * (0.9 - 0.4)))
        fields = np.exp(2j * np.pi * (x[:, None] + shift / 10)) * turn
        state = step.start(magnetic=(jnp.asarray(fields),))
        last = jp.repeat(step, 40)(state).magnetic[0]
        found.append(np.asarray(last))
    moved = np.roll(found[0], (-5, -5), (0, 1))
    moved[5:] *= np.exp(0.9j)
    moved[:, 5:] *= np.exp(-0.4j)
    np.testing.assert_allclose(found[1], moved, atol=1e-9)
    assert np.max(abs(moved)) > 0.1


def test_refused():
    grid = jp.grids.Cells((8, 8), periodic=(True, False))
    with pytest.raises(ValueError, match="axis 1 must be a periodic one of the grid"):
        waves.maxwell(grid, 0.01, components=waves.tm, sides=(None, waves.bloch(0.1)))
    with pytest.raises(ValueError, match="must be None or bloch"):
        waves.maxwell(grid, 0.01, components=waves.tm, sides=(waves.pec, waves.pec))
    with pytest.raises(ValueError, match="phase must be finite, got nan"):
        waves.bloch(float("nan"))
    with pytest.raises(ValueError, match="has no phase across Bloch's sides"):
        waves.maxwell(
            grid, 0.01, components=waves.tm, sides=(waves.bloch(0.1), waves.pec),
            sources=(waves.plane_wave((0.2, 0.2), (0.8, 0.8), 1, 2, jnp.sin),),
        )  # fmt: skip
    lossy = waves.maxwell(grid, 0.01, components=waves.tm, conductivity=1.0)
    with pytest.raises(ValueError, match="no conductivity and no poles"):
        frequencies(lossy)
