"""Far fields of currents, against the exact ones, amplitude and phase."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import waves

pytestmark = pytest.mark.x64
WAVES = np.array([0.9, 1.1])


def exact(currents, amplitudes, directions):
    """Of currents (place, component, sign), alone in space, of the amplitudes at the wavelengths:
    with r the direction, a I (c - r (r . c)) exp(-i k r . x)."""
    ndim = directions.shape[1]
    unit = np.zeros((len(directions), 3))
    unit[:, :ndim] = directions
    k = 2 * np.pi / WAVES[:, None, None]
    a = 1j * k / (4 * np.pi) if ndim == 3 else -np.exp(-0.25j * np.pi) * np.sqrt(k / 8 / np.pi)
    total = 0
    for place, component, sign in currents:
        along = np.eye(3)[component]
        across = along - unit * unit[:, component : component + 1]
        phase = np.exp(-1j * k * (directions @ np.asarray(place))[:, None])
        total = total + sign * a * amplitudes[:, None, None] * across * phase
    return total


def found(step, signal, lower, upper, directions, steps):
    """The far field, and the transform of the signal."""
    around = waves.box(step, lower, upper)
    watched = waves.transformed(step, around, WAVES)

    @jax.jit
    def everything(state):
        faces = waves.spectra(jp.repeat(watched, steps)(state))
        return waves.far_amplitude(around, faces, watched.wavelengths, directions)

    times = float(step.dt) * (np.arange(steps) + 0.5)
    phase = np.exp(2j * np.pi / WAVES[:, None] * times)
    amplitudes = float(step.dt) * phase @ np.asarray(jax.vmap(signal)(jnp.asarray(times)))
    return np.asarray(everything(watched.start(step.start()))), amplitudes


@pytest.mark.parametrize(
    ("components", "component", "mirror"),
    [
        (waves.tm, 2, None),
        (waves.tm, 2, waves.pmc),
        (waves.te, 0, waves.pec),
        (waves.te, 1, None),
        (waves.te, 1, waves.pmc),
    ],
)
def test_line_currents(components, component, mirror):
    """Away from the middle of the box; with a mirror it is half of the space and the image."""
    h, n, layer = 0.04, 22, 8
    side = waves.absorbing(layer)
    start = -(n + layer) if mirror is None else 0
    shape = (n + layer - start, 2 * (n + layer))
    grid = jp.grids.Cells(shape, tuple(count * h for count in shape), (start * h, -(n + layer) * h))
    signal, place = waves.pulse(1.0, 0.4), (0.3, -0.15)
    step = waves.maxwell(
        grid, 0.026, components=components, sides=((mirror or side, side), side),
        sources=(waves.dipole(place, component, signal),),
    )  # fmt: skip
    angles = np.linspace(0, 2 * np.pi, 15)
    if mirror is not None:
        angles = np.linspace(-1.4, 1.4, 8)
    directions = np.stack([np.cos(angles), np.sin(angles)], 1)
    far, amplitudes = found(
        step, signal, (max(start, -15) * h, -15 * h), (15 * h, 15 * h), directions, 240
    )
    currents = [(place, component, 1)]
    if mirror is not None:
        across = component == 0
        sign = 1 if across == (mirror is waves.pec) else -1
        currents.append(((-place[0], place[1]), component, sign))
    known = exact(currents, amplitudes, directions)
    np.testing.assert_allclose(far, known, atol=0.025 * abs(known).max())


def test_a_dipole_in_three_dimensions_between_mirrors():
    """A quarter of the space: three images besides."""
    h, n, layer = 0.06, 9, 6
    side = waves.absorbing(layer)
    m = n + layer
    grid = jp.grids.Cells((2 * m, m, m), (2 * m * h, m * h, m * h), (-m * h, 0.0, 0.0))
    signal, place = waves.pulse(1.0, 0.4), (0.1, 0.16, 0.12)
    step = waves.maxwell(
        grid, 0.03, sides=(side, (waves.pec, side), (waves.pmc, side)),
        sources=(waves.dipole(place, 1, signal),),
    )  # fmt: skip
    directions = np.array([[1.0, 0, 0], [0, 1, 0], [0.6, 0, 0.8], [-0.48, 0.6, 0.64]])
    far, amplitudes = found(step, signal, (-6 * h, 0, 0), (6 * h,) * 3, directions, 170)
    x, y, z = place
    # E along y is even about both planes.
    currents = [((x, a * y, b * z), 1, 1) for a in (1, -1) for b in (1, -1)]
    known = exact(currents, amplitudes, directions)
    np.testing.assert_allclose(far, known, atol=0.03 * abs(known).max())


def test_refused():
    side = waves.absorbing(2)
    grid = jp.grids.Cells((10, 10), 1.0)
    ahead = np.array([[1.0, 0.0]])

    def amplitude(sides, directions, lower=(0.3, 0.3), upper=(0.7, 0.7), grid=grid):
        step = waves.maxwell(grid, 0.05, components=waves.tm, sides=sides)
        around = waves.box(step, lower, upper)
        watched = waves.transformed(step, around, WAVES)
        faces = waves.spectra(watched.start(step.start()))
        return waves.far_amplitude(around, faces, watched.wavelengths, directions)

    with pytest.raises(ValueError, match=r"directions must be unit vectors, got lengths \[2.\]"):
        amplitude((side, side), 2 * ahead)
    with pytest.raises(ValueError, match=r"directions must have shape \(1, 2\), got \(1, 3\)"):
        amplitude((side, side), np.array([[1.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="must end on one side of axis 0 at most, got both"):
        amplitude((waves.pec, side), ahead, (0.0, 0.3), (1.0, 0.7))
    tube = jp.grids.Cells((10, 10), 1.0, periodic=(True, False))
    with pytest.raises(ValueError, match="none of them periodic, got 2 and "):
        amplitude((None, side), ahead, grid=tube)
