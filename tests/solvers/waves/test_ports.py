"""Ports at one frequency: guided modes, their currents and amplitudes."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.waves import exact
from jaxpbdl.solvers.waves.frequency import time_harmonic
from jaxpbdl.solvers.waves.ports import slab_port

pytestmark = pytest.mark.x64
CORE, CLADDING, THICKNESS = 4.0, 2.25, 0.6


def guide(cells=20, axis=0, length=70, half=2.4, layer=16):
    """The problem of a guide along `axis` and its permittivity."""
    h = 1 / cells
    n = round(half * cells)
    grid = jp.grids.Cells(
        (length, 2 * n)[:: 1 - 2 * axis],
        (length * h, 2 * n * h)[:: 1 - 2 * axis],
        (0.0, -n * h)[:: 1 - 2 * axis],
    )
    side = waves.absorbing(layer, strength=0.45, shift=0.0)
    problem = time_harmonic(grid, 1.0, (side, side))
    y = grid.lines_at(jp.grids.node)[1 - axis]
    share = np.clip(0.5 + (THICKNESS / 2 - abs(y)) / h, 0, 1)
    line = CLADDING + share * (CORE - CLADDING)
    return problem, np.broadcast_to(line if axis == 0 else line[:, None], problem.shape)


@pytest.mark.parametrize("order", (0, 1))
def test_the_index_is_of_second_order(order):
    known = exact.tm_guided_index(2 * np.pi, CORE, CLADDING, THICKNESS, order)
    errors = []
    for cells in (20, 40, 80):
        problem, eps = guide(cells, length=8, half=1.6, layer=1)
        bounds = (-1.6 + 2 / cells, 1.6 - 2 / cells)
        port = slab_port(problem, eps, 0, 4 / cells, bounds, order)
        errors.append(float(port.index) / known - 1)
    assert abs(errors[1]) < 0.01
    np.testing.assert_allclose(np.log2(np.asarray(errors[:-1]) / errors[1:]), 2.0, atol=0.15)


@pytest.mark.parametrize(("axis", "direction", "order"), [(0, 1, 0), (1, -1, 1), (1, 0, 0)])
def test_a_mode_goes_through_a_guide(axis, direction, order):
    """With the amplitude 1 and the phase of the way; nothing goes the other way, comes back or is
    in the other mode; the flux of E and H is 1."""
    problem, eps = guide(axis=axis)
    bounds, h = (-1.5, 1.5), 1 / 20
    places = (22 * h, 35 * h, 48 * h)
    ports = [[slab_port(problem, eps, axis, x, bounds, i) for i in (0, 1)] for x in places]
    source = ports[1][order]
    electric = problem.solve(jnp.asarray(eps), source.current(direction))
    down, up = ([complex(a) for a in p[order].amplitudes(electric)] for p in (ports[0], ports[2]))
    step = 2 * float(source.half_phase)
    # Half a cell before each cut.
    ways = {1: (up[0], 12.5), -1: (down[1], 13.5)}
    for way, (found, cells) in ways.items():
        sent = 1.0 if direction in (0, way) else 0.0
        assert found == pytest.approx(sent * np.exp(1j * step * cells), abs=4e-3)
    for nothing in (up[1], down[0]):
        assert abs(nothing) < 4e-3
    for port in (ports[0][1 - order], ports[2][1 - order]):
        assert max(abs(complex(a)) for a in port.amplitudes(electric)) < 4e-3
    h_x, h_y = problem.magnetic(electric)
    at, cut = 48 if direction != -1 else 22, slice(18, 79)
    if axis == 0:
        e, m = (electric[at - 1, cut] + electric[at, cut]) / 2, h_y[at - 1, cut]
    else:
        e, m = (electric[cut, at - 1] + electric[cut, at]) / 2, -h_x[cut, at - 1]
    flux = -0.5 * float(jnp.sum((e * jnp.conj(m)).real)) * h
    assert flux == pytest.approx(-1.0 if direction == -1 else 1.0, rel=0.01)


def test_amplitudes_of_waves_both_ways():
    """Exactly what was put together; `overlaps` are those of E and H."""
    problem, eps = guide()
    port, other = (slab_port(problem, eps, 0, 1.5, (-1.5, 1.5), i) for i in (0, 1))
    a, b = 0.7 - 0.2j, -0.1 + 0.4j
    electric = np.zeros(problem.shape, complex)
    for node in (29, 30):
        phase = 2 * float(port.half_phase) * (node - 29.5)
        shape = a * np.exp(1j * phase) + b * np.exp(-1j * phase)
        electric[node, 18:79] = shape * np.asarray(port.shape) + 3.0 * np.asarray(other.shape)
    found = port.amplitudes(jnp.asarray(electric))
    np.testing.assert_allclose([complex(one) for one in found], [a, b], rtol=1e-12)
    both, excess = port.overlaps(jnp.asarray(electric))
    assert complex(both) == pytest.approx((a + b) * np.cos(float(port.half_phase)), rel=1e-12)
    assert complex(excess) == pytest.approx(a - b, rel=1e-12)


def test_a_notch_scatters_reciprocally():
    """A notch in the guide: what goes through is the same both ways, and with what comes back no
    more than one."""
    problem, eps = guide()
    eps = np.array(eps)
    ports = [slab_port(problem, eps, 0, x / 20, (-1.5, 1.5)) for x in (20, 24, 46, 50)]
    eps[33:36, 46:56] = 1.0
    currents = jnp.stack([ports[0].current(1), ports[3].current(-1)])
    electric = problem.solve(jnp.asarray(eps), currents)
    (right, back), (on, left) = (port.amplitudes(electric) for port in (ports[1], ports[2]))
    through = [complex(on[0] / right[0]), complex(back[1] / left[1])]
    reflected = [complex(back[0] / right[0]), complex(on[1] / left[1])]
    assert through[0] == pytest.approx(through[1], rel=2e-3)
    for t, r in zip(through, reflected, strict=True):
        assert 0.05 < abs(r) ** 2 and abs(t) ** 2 > 0.2
        assert abs(t) ** 2 + abs(r) ** 2 < 1.0


def test_refused():
    problem, eps = guide()
    for arguments, message in (
        ((2, 1.5, (-1.5, 1.5)), "axis must be 0 or 1, got 2"),
        ((0, 0.7, (-1.5, 1.5)), r"lower end of the cut \(0.7, -1.5\) is inside the absorbing"),
        ((0, 1.5, (-1.5, 1.7)), r"upper end of the cut \(1.5, 1.7\) is inside the absorbing"),
        ((0, 1.5, (-1.5, 1.5), 2), "order must be below 2, the modes of the guide, got 2"),
        ((0, 1.5, (-1.5, 1.5), -1), "order must be an integer >= 0, got -1"),
        ((0, 1.5, (-0.7, 1.5), 1), "largest, next to -0.7 it is 0.1.*: move that end out by"),
    ):
        with pytest.raises(ValueError, match=message):
            slab_port(problem, eps, *arguments)
    with pytest.raises(ValueError, match="permittivity must be finite and > 0"):
        slab_port(problem, -eps, 0, 1.5, (-1.5, 1.5))
    with pytest.raises(ValueError, match="permittivity must have shape"):
        slab_port(problem, eps[1:], 0, 1.5, (-1.5, 1.5))
    closed = time_harmonic(problem.grid, 1.0, (waves.pec, waves.pec))
    with pytest.raises(ValueError, match="a cell or more within the domain, got nodes 18..78 at 0"):
        slab_port(closed, eps, 0, 0.0, (-1.5, 1.5))
    with pytest.raises(ValueError, match="a cell or more within the domain, got nodes 0..78 at 30"):
        slab_port(closed, eps, 0, 1.5, (-2.4, 1.5))
    port = slab_port(problem, eps, 0, 1.5, (-1.5, 1.5))
    with pytest.raises(ValueError, match="direction must be -1, 0 or 1, got 2"):
        port.current(2)
    with pytest.raises(ValueError, match="electric must have the last axes"):
        port.amplitudes(jnp.zeros((4, 4)))
