"""Boxes that end on a plane of symmetry."""

import jax
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import waves

pytestmark = pytest.mark.x64


def flux(grid, sides, sources, lower):
    side = waves.absorbing(6)
    step = waves.maxwell(
        grid, 0.06, components=waves.tm, sides=((sides, side), side), sources=sources
    )
    around = waves.box(step, lower, (1.4, 1.4))
    watched = waves.transformed(step, around, np.array([1.0, 1.3]))
    final = jax.jit(jp.repeat(watched, 220))(watched.start(step.start()))
    return around.flux(waves.spectra(final), watched.wavelengths)


@pytest.mark.parametrize(("mirror", "sign"), [(waves.pec, -1), (waves.pmc, 1)])
def test_half_of_the_flux_of_a_line_current_and_its_image(mirror, sign):
    signal = waves.pulse(1.2, 0.3)
    own = waves.dipole((0.5, 0.2), 2, signal)
    image = waves.dipole((-0.5, 0.2), 2, lambda time: sign * signal(time))
    whole = jp.grids.Cells((50, 50), 5.0, -2.5)
    half = jp.grids.Cells((25, 50), (2.5, 5.0), (0.0, -2.5))
    of_both = flux(whole, waves.absorbing(6), (own, image), (-1.4, -1.4))
    of_one = flux(half, mirror, (own,), (0.0, -1.4))
    np.testing.assert_allclose(of_one, of_both / 2, rtol=1e-9)
    assert float(of_one.min()) > 1e-3


def test_refused():
    side = waves.absorbing(3)
    grid = jp.grids.Cells((20, 20), 2.0, periodic=(True, False))
    step = waves.maxwell(grid, 0.05, components=waves.tm, sides=(None, (waves.pec, side)))
    waves.box(step, (0.5, 0.0), (1.0, 1.0))
    with pytest.raises(ValueError, match=r"lower \(0.0, 0.5\) must lie a cell or more within"):
        waves.box(step, (0.0, 0.5), (1.0, 1.0))
    with pytest.raises(ValueError, match=r"upper .* is inside the absorbing layer"):
        waves.box(step, (0.5, 0.5), (1.0, 2.0))
