"""Modes of slab waveguides, their source and monitor, and stacks of layers."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.waves import exact

pytestmark = pytest.mark.x64
CORE, CLADDING, THICKNESS = 4.0, 2.25, 0.6
KINDS = {
    "tm": (waves.tm, exact.tm_guided_index),
    "te": (waves.te, exact.te_guided_index),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def permittivity(across, width):
    def value(point):
        share = jnp.clip(0.5 + (THICKNESS / 2 - jnp.abs(point[across])) / width, 0.0, 1.0)
        return CLADDING + share * (CORE - CLADDING)

    return value


def guide(kind, cells, axis=0, length=4, half=1.6, sources=(), layer=0, share=0.6):
    """Of `cells` in the wavelength, along `axis`."""
    h = 1 / cells
    n = round(half * cells)
    shape, origin = [length, 2 * n], [0.0, -n * h]
    if axis == 1:
        shape, origin = shape[::-1], origin[::-1]
    grid = jp.grids.Cells(tuple(shape), tuple(count * h for count in shape), tuple(origin))
    side = waves.absorbing(layer, strength=0.5) if layer else waves.pec
    return waves.maxwell(
        grid, share * h, permittivity=permittivity(1 - axis, h), sides=(side, side),
        components=KINDS[kind][0], sources=sources,
    )  # fmt: skip


@kinds
@pytest.mark.parametrize("order", (0, 1))
def test_index_of_guided_modes(kind, order):
    """Within 1 % at 20 cells a wavelength of the core, that is 40 in vacuum; second order."""
    known = KINDS[kind][1](2 * np.pi, CORE, CLADDING, THICKNESS, order)
    errors = []
    for cells in (20, 40, 80):
        step = guide(kind, cells)
        modes = waves.slab_modes(step, 0, 2 / cells, (-1.6, 1.6), 1.0, order + 1)
        errors.append(modes[order].index / known - 1)
    assert abs(errors[1]) < 0.01
    orders = np.log2(np.asarray(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2.0, atol=0.15)


def test_exact_indices():
    """They solve the equation of the field itself: continuous, with its slope (over the
    permittivity for H), at the face, after half an odd or even wave in the core."""
    for _, index_of in KINDS.values():
        for order in (0, 1):
            index = index_of(2 * np.pi, CORE, CLADDING, THICKNESS, order)
            assert 1.5 < index < 2.0
            k = 2 * np.pi * np.sqrt(CORE - index**2)
            g = 2 * np.pi * np.sqrt(index**2 - CLADDING)
            if index_of is exact.te_guided_index:
                k, g = k / CORE, g / CLADDING
            phase = np.pi * THICKNESS * np.sqrt(CORE - index**2)
            ratio = np.tan(phase) if order == 0 else -1 / np.tan(phase)
            assert k * ratio == pytest.approx(g, rel=1e-9)
    with pytest.raises(ValueError, match="order must be below 1.587 .* got 2"):
        exact.tm_guided_index(2 * np.pi, CORE, CLADDING, THICKNESS, 2)
    with pytest.raises(ValueError, match="core must be above the cladding, 2.25, got 2"):
        exact.te_guided_index(2 * np.pi, 2.0, CLADDING, THICKNESS)


@kinds
@pytest.mark.parametrize(("axis", "direction", "order"), [(0, 1, 0), (1, -1, 1)])
def test_a_mode_goes_one_way(kind, axis, direction, order):
    """Its amplitude ahead is the transform of the signal with the phase of the way, at the
    wavelength of the mode; behind less than a millionth of the power, no more in the other mode."""
    cells, layer, length = 20, 10, 80
    spot, ends = {0: (1.5, 2.6), 1: (2.5, 1.4)}[axis], (1.0, 3.0)
    bare = guide(kind, cells, axis, length, 1.5, layer=layer)
    bounds = (-0.95, 0.95)
    mode = waves.slab_modes(bare, axis, spot[0], bounds, 1.0, 2)[order]
    signal = waves.pulse(1.0, 2.5)
    source = waves.mode_source(mode, signal, direction)
    step = guide(kind, cells, axis, length, 1.5, (source,), layer)
    monitors = [
        waves.mode_monitor(step, waves.slab_modes(bare, axis, place, bounds, 1.0, 2)[i : i + 1])
        for place in (spot[1], ends[0] if direction == 1 else ends[1])
        for i in (order, 1 - order)
    ]
    middle, half = np.full(2, 0.0), np.full(2, 0.95)
    middle[axis], half[axis] = spot[0], 0.25
    around = waves.box(step, tuple(middle - half), tuple(middle + half))
    watched = waves.transformed(
        step, lambda fields: ([one(fields) for one in monitors], around(fields)), 1.0
    )
    steps = 1500
    final = jax.jit(jp.repeat(watched, steps))(watched.start(step.start()))
    cuts, faces = waves.spectra(final)
    found = [
        [complex(part[0]) for part in monitor.amplitudes(face)]
        for monitor, face in zip(monitors, cuts, strict=True)
    ]
    times = float(step.dt) * np.arange(steps)
    sent = float(step.dt) * np.sum(
        np.asarray(jax.vmap(signal)(jnp.asarray(times))) * np.exp(2j * np.pi * times)
    )
    way = abs(spot[1] - spot[0])
    ahead, back = (0, 1) if direction == 1 else (1, 0)
    same, other, behind = found[0], found[1], found[2:]
    assert same[ahead] / sent == pytest.approx(np.exp(2j * np.pi * mode.index * way), abs=0.02)
    power = float(around.flux(faces, watched.wavelengths)[0])
    assert power == pytest.approx(abs(sent) ** 2, rel=0.02)
    assert power == pytest.approx(abs(same[ahead]) ** 2, rel=0.02)
    for nothing in (same[back], *other, *behind[0], *behind[1]):
        assert abs(nothing / sent) < 1e-3


def test_a_bragg_mirror():
    """Eight pairs of layers a quarter of a wavelength thick: reflected power as by the matrices, in
    the gap and beside it."""
    cells, pairs = 120, 8
    high, low = 4.0, 2.25
    h = 1 / cells
    thick = [1 / 8, 1 / 6]
    ends = 2.0 + np.concatenate([[0], np.cumsum(thick * pairs)])
    eps = np.tile([high, low], pairs)
    waves_at = np.array([0.8, 0.9, 1.0, 1.15, 1.4])
    n = round((ends[-1] + 1.2) * cells)
    grid = jp.grids.Cells(n, n * h)
    nodes = np.arange(n + 1) * h
    lower, upper = (np.clip(nodes[:, None] + s * h / 2, ends[0], ends[-1]) for s in (-1, 1))
    share = np.maximum(np.minimum(upper, ends[1:]) - np.maximum(lower, ends[:-1]), 0) / h
    inside = jnp.asarray(1 + share @ (eps - 1))

    def line(on):
        step = waves.maxwell(
            grid, 0.95 * h, permittivity=(1 + on * (inside - 1),), sides=(waves.absorbing(16),),
            components=waves.ez_hy,
            sources=(waves.dipole((0.5,), 2, waves.pulse(1.0, 0.6)),),
        )  # fmt: skip
        watched = waves.transformed(
            step, lambda s: jnp.stack([s.electric[0][120], s.electric[0][n - 60]]), waves_at
        )
        return waves.spectra(jp.repeat(watched, 9000)(watched.start(step.start())))

    free, found = np.asarray(jax.jit(jax.vmap(line))(jnp.array([0.0, 1.0])))
    r, t = exact.stack(2 * np.pi / waves_at, tuple(eps), tuple(thick * pairs))
    np.testing.assert_allclose(abs(r) ** 2 + abs(t) ** 2, 1, rtol=1e-12)
    reflected = abs((found[:, 0] - free[:, 0]) / free[:, 0]) ** 2
    np.testing.assert_allclose(reflected, abs(r) ** 2, atol=0.01)
    np.testing.assert_allclose(abs(found[:, 1] / free[:, 1]) ** 2, abs(t) ** 2, atol=0.01)
    assert abs(r[2]) ** 2 > 0.95 and np.min(abs(r) ** 2) < 0.5


def test_a_stack_of_one_is_a_slab():
    frequency = np.array([1.0, 2.3])
    for eps in (3.0, 2.0 + 0.4j):
        known = exact.slab(frequency, np.full(2, eps), 0.7)
        np.testing.assert_allclose(exact.stack(frequency, (eps,), (0.7,)), known, rtol=1e-12)
        np.testing.assert_allclose(
            exact.stack(frequency, (eps, eps), (0.3, 0.4)), known, rtol=1e-12
        )
    # Of a quarter of a wavelength: r = (1 - n^2) / (1 + n^2).
    r, _ = exact.stack(np.array([np.pi]), (4.0,), (0.25,))
    np.testing.assert_allclose(r, [-3 / 5], rtol=1e-12)
    with pytest.raises(ValueError, match="thicknesses must have 1 entries"):
        exact.stack(frequency, (2.0,), (0.1, 0.2))


def test_refused():
    step = guide("tm", 10, length=20, layer=3)
    for place, bounds, problem in (
        (0.1, (-1.0, 1.0), r"lower end of the cut \(0.1, -1.0\) is inside the absorbing layer"),
        (1.0, (-1.0, 1.4), r"upper end of the cut \(1.0, 1.4\) is inside the absorbing layer"),
        (1.0, (-1.8, 1.0), r"lower end of the cut \(1.0, -1.8\) is outside the domain"),
        (1.0, (-0.1, 0.1), "bounds must be four cells or more apart"),
    ):
        with pytest.raises(ValueError, match=problem):
            waves.slab_modes(step, 0, place, bounds, 1.0)
    with pytest.raises(ValueError, match="count must be at most 2, .* wavelength 1.0, got 3"):
        waves.slab_modes(step, 0, 1.0, (-1.0, 1.0), 1.0, 3)
    with pytest.raises(ValueError, match="wavelength must be at least two cells, 0.2, got 0.1"):
        waves.slab_modes(step, 0, 1.0, (-1.0, 1.0), 0.1)
    with pytest.raises(ValueError, match="at least two cells of 0.1 in the guide, got 0.25"):
        waves.slab_modes(step, 0, 1.0, (-1.0, 1.0), 0.25)
    with pytest.raises(ValueError, match="axis must be 0 or 1, not a periodic one, got 2"):
        waves.slab_modes(step, 2, 1.0, (-1.0, 1.0), 1.0)
    (mode,) = waves.slab_modes(step, 0, 1.0, (-1.0, 1.0), 1.0)
    with pytest.raises(ValueError, match="direction must be 1 or -1, got 0"):
        waves.mode_source(mode, jnp.sin, 0)
    source = waves.mode_source(mode, jnp.sin)
    with pytest.raises(ValueError, match=r"an end of the mode \(1.0, -1.0\) is inside the absorb"):
        guide("tm", 10, length=20, layer=8, sources=(source,))
    with pytest.raises(ValueError, match="must belong to the grid of the step"):
        guide("tm", 10, length=24, layer=3, sources=(source,))
    with pytest.raises(ValueError, match="components must hold E 2 and H 1 of the mode"):
        guide("te", 10, length=20, layer=3, sources=(source,))
    (other,) = waves.slab_modes(step, 0, 1.2, (-1.0, 1.0), 1.0)
    with pytest.raises(ValueError, match="modes must lie in one cut"):
        waves.mode_monitor(step, (mode, other))
    with pytest.raises(ValueError, match="modes must hold at least one, got none"):
        waves.mode_monitor(step, ())
    lossy = waves.maxwell(step.grid, 0.05, components=waves.tm, conductivity=1.0)
    with pytest.raises(ValueError, match="no interface, no conductivity and no poles"):
        waves.slab_modes(lossy, 0, 1.0, (-1.0, 1.0), 1.0)


@kinds
def test_a_mode_must_fall_off(kind):
    """What is named is what the free mode has there, and the distance suffices."""
    step = guide(kind, 20)
    (_, free) = waves.slab_modes(step, 0, 0.1, (-1.6, 1.6), 1.0, 2)
    shape = np.asarray(free.electric if kind == "tm" else free.magnetic)
    places = np.linspace(-1.6, 1.6, len(shape)) if kind == "tm" else np.arange(-31.5, 32) / 20
    largest = np.max(np.abs(shape))
    end = 0.7
    with pytest.raises(
        ValueError, match=r"fallen to 0.1 of its largest, next to 0.7 it is"
    ) as refused:
        waves.slab_modes(step, 0, 0.1, (-1.6, end), 1.0, 2)
    text = str(refused.value)
    value, further = (float(re.search(p, text)[1]) for p in (r"it is ([\d.]+)", r"by ([\d.]+)"))
    known = np.interp(end, places, np.abs(shape)) / largest
    assert value == pytest.approx(known, rel=0.2)
    assert np.interp(end + further, places, np.abs(shape)) / largest < 0.11
    waves.slab_modes(step, 0, 0.1, (-1.6, np.ceil(20 * (end + further)) / 20 + 0.05), 1.0, 2)
    waves.slab_modes(step, 0, 0.1, (-1.6, end), 1.0, 1)
    with pytest.raises(ValueError, match="next to -0.7 it is"):
        waves.slab_modes(step, 0, 0.1, (-end, 1.6), 1.0, 2)
