"""Schroedinger's equation by splitting: known levels, solitons, tunnelling, order, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.data.matlab import read_mat
from jaxpbdl.solvers import quantum
from jaxpbdl.solvers.time import leapfrog, yoshida

pytestmark = pytest.mark.x64


def line(n, length):
    return jp.grids.Periodic(n, length, -length / 2)


def test_levels_of_wells():
    """Eigenstates turn at their energy: n + 1/2 of the harmonic oscillator, -(3 - n)^2 / 2 of the
    well -6 sech^2 x (Poeschl and Teller, Z. Phys. 83 (1933) 143)."""
    grid = line(192, 40.0)
    x = grid.coordinates[0]
    bell, sech, tanh = jnp.exp(-(x**2) / 2), 1 / jnp.cosh(x), jnp.tanh(x)
    states = [bell, x * bell, (2 * x**2 - 1) * bell]
    states += [sech**3, sech**2 * tanh, sech * (5 * tanh**2 - 1)]
    wells = jnp.stack([x**2 / 2] * 3 + [-6 * sech**2] * 3)
    levels = [0.5, 1.5, 2.5, -4.5, -2.0, -0.5]

    @jax.jit
    @jax.vmap
    def energy(potential, wave):
        step = quantum.schroedinger(grid, 0.01, potential=potential, scheme=yoshida)
        later = jp.repeat(step, 50).advance(step.enter(step.start(wave)))
        turned = quantum.overlap(grid, step.start(wave), step.leave(later))
        return -jnp.angle(turned) / 0.5, quantum.total_energy(step, wave + 0j)

    found, expected = energy(wells, jnp.stack(states))
    np.testing.assert_allclose(found, levels, atol=2e-6)
    norms = [float(quantum.probability(grid, state + 0j)) for state in states]
    np.testing.assert_allclose(expected / np.asarray(norms), levels, atol=1e-7)


def marched(step, state, steps):
    """A number of steps that may be traced."""
    end = jax.lax.fori_loop(0, steps, lambda _, working: step.advance(working), step.enter(state))
    return step.leave(end)


class Beam:
    """A packet of momenta about `momentum` that meets a potential about zero. Once it has left, the
    share of each momentum that is on the right is the transmission of a wave of that momentum."""

    def __init__(self, h, dt, scheme, momentum, width, start, end, length):
        n = round(length / h)
        self.grid = jp.grids.Periodic(n, length, -length / 2 + h / 2)
        self.x = self.grid.coordinates[0]
        spread = -((self.x - start) ** 2) / (4 * width**2)
        self.wave = jnp.exp(spread + 1j * momentum * self.x)

        @jax.jit
        def through(potential):
            step = quantum.schroedinger(self.grid, dt, potential=potential, scheme=scheme)
            return marched(step, self.wave, round(end / dt))

        self.through = through

    def transmission(self, potential, momentum):
        wave = np.exp(-1j * momentum * self.x)
        after = np.where(self.x > 0, self.through(potential), 0)
        return abs(np.sum(wave * after) / np.sum(wave * self.wave)) ** 2


def test_tunnelling_and_a_well_without_reflection():
    """T of sech^2 at half its height (C. Eckart, Phys. Rev. 35 (1930) 1303), of which the packet
    must leave slow components behind; and -3 sech^2, which reflects nothing."""
    beam = Beam(0.25, 0.05, yoshida, 1.35, 5.0, -40.0, 84.0, 320.0)
    found = beam.transmission(1 / jnp.cosh(beam.x) ** 2, 1.0)
    assert found == pytest.approx(0.11578991, rel=1e-5)
    well = -3 / jnp.cosh(beam.x) ** 2
    assert beam.transmission(well, 1.0) == pytest.approx(1.0, abs=1e-5)
    behind = np.abs(beam.through(well))[np.asarray(beam.x) < -10]
    assert np.max(behind) < 2e-6


def test_tunnelling_through_a_rectangle():
    """T = 0.210771094 at half the height 2 of a barrier of width 1 (A. Messiah, Quantum Mechanics,
    chapter III.7). Its edges lie between points; the errors, of second order in h and dt, are
    extrapolated."""
    found = {}
    for h, dt in ((1 / 8, 0.008), (1 / 8, 0.004), (1 / 16, 0.0025)):
        beam = Beam(h, dt, leapfrog, 1.8, 3.5, -30.0, 55.0, 280.0)
        barrier = jnp.where(jnp.abs(beam.x) < 0.5, 2.0, 0.0)
        found[h, dt] = beam.transmission(barrier, 2**0.5)
    slope = (found[1 / 8, 0.004] - found[1 / 8, 0.008]) / (0.008**2 - 0.004**2)
    coarse = found[1 / 8, 0.004] + slope * 0.004**2
    fine = found[1 / 16, 0.0025] + slope * 0.0025**2
    assert fine + (fine - coarse) / 3 == pytest.approx(0.210771094, rel=1e-5)


LENGTH = 48.0
SPEED = 2 * np.pi * 4 / LENGTH


def soliton(x, time):
    """Of interaction -1 (V. E. Zakharov and A. B. Shabat, Sov. Phys. JETP 34 (1972) 62)."""
    turned = SPEED * x + (1 - SPEED**2) / 2 * time
    return jnp.exp(1j * turned) / jnp.cosh(x - SPEED * time)


@pytest.mark.parametrize(("scheme", "order"), [(leapfrog, 2), (yoshida, 4)], ids=("2", "4"))
def test_order_on_the_bright_soliton(scheme, order):
    grid = line(256, LENGTH)
    x = grid.coordinates[0]

    @jax.jit
    def error(steps):
        step = quantum.schroedinger(grid, 1.0 / steps, interaction=-1.0, scheme=scheme)
        return jnp.max(jnp.abs(marched(step, soliton(x, 0.0), steps) - soliton(x, 1.0)))

    coarse, fine, finest = (float(error(steps)) for steps in (40, 80, 320))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.15)
    assert finest < (1e-8 if order == 4 else 1e-5)


def test_norm_over_10000_steps():
    grid = line(48, 12.0)
    x = grid.coordinates[0]
    step = quantum.schroedinger(grid, 0.02, potential=x**2 / 2, interaction=5.0)
    wave = jnp.exp(-((x - 1) ** 2) + 1j * x)
    before, energy = quantum.probability(grid, wave), quantum.total_energy(step, wave)
    after = jax.jit(jp.repeat(step, 10000, checkpoint=False))(wave)
    assert float(quantum.probability(grid, after) / before) == pytest.approx(1, abs=1e-11)
    assert float(quantum.total_energy(step, after) / energy) == pytest.approx(1, abs=2e-3)
    assert float(jnp.max(jnp.abs(after - wave))) > 0.1


def test_raissis_solution(real_data):
    """i h_t + h_xx / 2 + |h|^2 h = 0 from 2 sech x, of whose file the last digits are its own."""
    data = read_mat(real_data("pinns-raissi/NLS.mat"))
    exact, times = np.asarray(data["uu"]), np.ravel(data["tt"])
    grid = line(256, 10.0)
    np.testing.assert_allclose(grid.coordinates[0], np.ravel(data["x"])[:256], atol=1e-12)
    dt = float(times[1] - times[0]) / 10
    step = quantum.schroedinger(grid, dt, interaction=-1.0, scheme=yoshida)
    found = jp.rollout(step, 2 / jnp.cosh(grid.coordinates[0]) + 0j, 2000, 500, checkpoint=False)
    for number, snapshot in zip((0, 50, 100, 150, 200), found, strict=True):
        expected = exact[:256, number]
        error = np.linalg.norm(snapshot - expected) / np.linalg.norm(expected)
        assert error < 2e-5


def test_a_force_in_time():
    """The mean position is that of the classical oscillator x'' = -x - F cos(w t), to order 4."""
    grid = line(64, 16.0)
    x = grid.coordinates[0]
    force, w = 0.8, 1.7

    @jax.jit
    def error(steps):
        step = quantum.schroedinger(
            grid,
            2.0 / steps,
            potential=lambda time: x**2 / 2 + force * jnp.cos(w * time) * x,
            scheme=yoshida,
        )
        end = marched(step, step.start(jnp.exp(-(x**2) / 2)), steps)
        exact = -force * (jnp.cos(w * end.time) - jnp.cos(end.time)) / (1 - w**2)
        return end.time, quantum.mean_position(grid, end.wave)[0] - exact

    (time, coarse), (_, fine) = error(10), error(20)
    assert float(time) == pytest.approx(2.0)
    assert np.log2(abs(float(coarse / fine))) == pytest.approx(4, abs=0.3)
    assert abs(float(fine)) < 1e-5


def test_absorbing_layer():
    """A packet that crosses the layers of both ends is left with exp(-width strength / v) of its
    amplitude."""
    grid = line(160, 40.0)
    x = grid.coordinates[0]
    layer = quantum.absorbing_layer(grid, 8.0, 0.5)
    assert float(layer[80]) == 0.0 and float(layer[0]) == pytest.approx(0.5)
    assert float(layer[16]) == pytest.approx(0.25)  # the middle of the rise
    step = quantum.schroedinger(grid, 0.05, absorption=layer)
    wave = jnp.exp(-((x / 4) ** 2) + 4j * x)
    left = jax.jit(jp.repeat(step, 200, checkpoint=False))(wave)
    share = float(quantum.probability(grid, left) / quantum.probability(grid, wave))
    assert np.log(share) == pytest.approx(-2 * 8.0 * 0.5 / 4, rel=0.03)


def test_a_wave_in_a_box_of_three_unequal_axes():
    """Eigenstates of motion: k^2 / (2 mass) for the wavenumbers of each axis."""
    grid = jp.grids.Periodic((4, 6, 5), (1.0, 2.0, 3.0))
    x, y, z = grid.coordinates
    wave = jnp.exp(2j * np.pi * (x - y + 2 * z / 3))
    energy = ((2 * np.pi) ** 2 + (2 * np.pi) ** 2 + (4 * np.pi / 3) ** 2) / (2 * 1.5)
    step = quantum.schroedinger(grid, 0.01, potential=0.7, mass=1.5)
    np.testing.assert_allclose(step(wave), wave * np.exp(-0.01j * (energy + 0.7)), atol=1e-12)
    mean = quantum.total_energy(step, wave) / quantum.probability(grid, wave)
    assert float(mean) == pytest.approx(energy + 0.7)
    assert float(quantum.chemical_potential(step, 2 * wave)) == pytest.approx(energy + 0.7)


BOX = ((10, 7), (5.0, 4.0), (-2.5, -2.0))


def final(parameters, pull):
    """Of a driven condensate on unequal axes, some number that all parameters change."""
    grid = jp.grids.Periodic(*BOX)
    x, y = grid.coordinates
    step = quantum.schroedinger(
        grid,
        parameters["dt"],
        potential=parameters["trap"] * (x**2 + 2 * y**2),
        mass=parameters["mass"],
        interaction=parameters["interaction"],
        absorption=parameters["absorption"] * x**2,
        control=lambda u: u[0] * x + u[1] * y,
        scheme=yoshida,
    )
    wave = jp.rollout(step, jnp.exp(-(x**2) - y**2 + 1j * x - 0.5j * y), 6, 6, inputs=pull)[-1]
    return jnp.sum(jnp.abs(wave) ** 2 * jnp.exp(0.3 * x + 0.2 * y)) + jnp.sum(wave.imag)


def test_gradients_vmap_and_jit():
    parameters = {"dt": 0.1, "trap": 0.5, "mass": 1.2, "interaction": 2.0, "absorption": 0.1}
    parameters = jax.tree.map(jnp.asarray, parameters)
    pulls = jax.random.normal(jax.random.key(0), (3, 6, 2))
    slopes = jax.jit(jax.grad(final, (0, 1)))(parameters, pulls[0])
    value = jax.jit(final)
    small = 1e-5
    for name in parameters:
        up = value(parameters | {name: parameters[name] + small}, pulls[0])
        down = value(parameters | {name: parameters[name] - small}, pulls[0])
        assert float(slopes[0][name]) == pytest.approx(float(up - down) / 2 / small, rel=1e-6)
    for place in ((0, 0), (3, 1), (5, 0)):
        up = value(parameters, pulls[0].at[place].add(small))
        down = value(parameters, pulls[0].at[place].add(-small))
        found = float(slopes[1][place])
        assert found == pytest.approx(float(up - down) / 2 / small, rel=1e-6)
    loop = [value(parameters, pull) for pull in pulls]
    together = jax.jit(jax.vmap(final, (None, 0)))(parameters, pulls)
    np.testing.assert_allclose(together, jnp.stack(loop), rtol=1e-12)
    eager = final(parameters, pulls[0])
    np.testing.assert_allclose(eager, loop[0], rtol=1e-12)


def test_inputs_channels_and_dtypes():
    """An input is a potential; a network sees real and imaginary part; float32 stays."""
    grid = jp.grids.Periodic(8, dtype=jnp.float32)
    step = quantum.schroedinger(grid, 0.1)
    wave = step.start(jnp.exp(1j * grid.coordinates[0]))
    later = step(wave, jnp.full(8, 2.0, jnp.float32))
    assert later.dtype == jnp.complex64
    np.testing.assert_allclose(later, wave * np.exp(-0.1j * 2.5), atol=1e-6)
    channels = step.channels(wave)
    np.testing.assert_allclose(channels[1], np.sin(grid.coordinates[0]), atol=1e-6)
    moved = step.corrected(wave, channels)
    np.testing.assert_allclose(moved, 2 * wave, atol=1e-6)
    timed = quantum.schroedinger(grid, 0.1, potential=lambda time: 2.0 + 0 * time)
    state = timed(timed.start(wave, 3.0))
    np.testing.assert_allclose(state.wave, later, atol=1e-6)
    assert float(state.time) == pytest.approx(3.1)


def test_bad_input():
    grid = jp.grids.Periodic(8)
    for name, given, message in (
        ("dt", {"dt": 0.0}, "dt must be finite and > 0, got 0.0"),
        ("mass", {"mass": -1.0}, "mass must be finite and > 0, got -1.0"),
        ("nan", {"potential": jnp.full(8, jnp.nan)}, "potential must be finite, got 8 values"),
        ("shape", {"potential": jnp.ones(7)}, r"potential must have shape \(8,\), got \(7,\)"),
        ("late", {"potential": lambda t: jnp.ones(7) * t}, r"potential must have shape \(8,\)"),
        ("complex", {"potential": 1j}, "potential must be real, got dtype complex"),
        ("absorption", {"absorption": -1.0}, "absorption must be finite and >= 0"),
        ("interaction", {"interaction": jnp.inf}, "interaction must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            quantum.schroedinger(grid, **({"dt": 0.1} | given))
            raise AssertionError(name)
    with pytest.raises(ValueError, match="one to 3 axes, got 4"):
        quantum.schroedinger(jp.grids.Periodic((2, 2, 2, 2)), 0.1)
    with pytest.raises(ValueError, match="must be grids.Periodic, got Cells"):
        quantum.schroedinger(jp.grids.Cells((4,), 1.0), 0.1)
    step = quantum.schroedinger(grid, 0.1)
    with pytest.raises(ValueError, match="state must be complex, of dtype complex128, got float64"):
        jp.rollout(step, jnp.ones(8), 2)
    with pytest.raises(ValueError, match=r"state must have shape \(8,\), got \(9,\)"):
        step(jnp.ones(9) + 0j)
    timed = quantum.schroedinger(grid, 0.1, potential=lambda time: time)
    with pytest.raises(ValueError, match="state must be a TimedWave"):
        timed(jnp.ones(8) + 0j)
    with pytest.raises(ValueError, match="width must be at most half of each axis"):
        quantum.absorbing_layer(grid, 4.0, 1.0)
