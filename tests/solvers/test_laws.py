"""Laws that every equation and every scheme obeys: composition with jit, vmap and grad, symmetry,
conservation, dealiasing, precision.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import equations as eq
from jaxpbdl import solvers
from tests.cases import (
    CASES,
    every_case,
    every_equation,
    every_scheme,
    every_scheme_and_equation,
    smooth,
    solenoidal,
)

x64 = pytest.mark.x64


def named(*names):
    chosen = [case for case in CASES if case.name in names]
    assert len(chosen) == len(names)
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case.name)


def largest(difference):
    return float(jnp.max(jnp.abs(difference)))


def later(case, dt, steps, scheme=solvers.time.etdrk4):
    """The state of a case after `steps` steps, and the one it started from."""
    start = case.state(case.grid())
    run = jax.jit(lambda state: jp.rollout(case.step(dt, scheme), state, steps, every=steps)[-1])
    return run(start), start


@x64
@every_scheme_and_equation
def test_fault_24_jit_and_vmap_change_nothing(case, scheme):
    step, state = case.step(0.01, scheme), case.state(case.grid())
    states = jnp.stack([state, 0.5 * state, jnp.roll(state, 1, axis=-1)])
    once = jax.jit(step)
    alone = jnp.stack([once(one) for one in states])
    together = jax.jit(jax.vmap(step))(states)
    assert largest(step(state) - alone[0]) < 1e-13  # eager
    assert largest(together - alone) < 1e-13


@x64
@every_case
def test_enter_and_leave_are_inverse(case):
    state = case.state(case.grid())

    @jax.jit
    def there_and_back(state):
        step = case.step(0.01)
        return step.leave(step.enter(state))

    assert largest(there_and_back(state) - state) < 1e-13


@x64
@every_case
def test_step_commutes_with_translation(case):
    """Along the first axis, along which no case has a force that varies."""
    state = case.state(case.grid())
    axis = state.ndim - len(case.shape)
    step = jax.jit(lambda state: case.step(0.01)(state))
    assert largest(step(jnp.roll(state, 3, axis)) - jnp.roll(step(state), 3, axis)) < 1e-12


def objective(equation, dt, state, grid, scheme=solvers.time.etdrk4):
    """A number that depends on three steps of the equation."""
    step = solvers.spectral.semilinear(equation, grid, dt, scheme)
    result = jp.repeat(step, 3)(state)
    weights = jnp.cos(jnp.arange(result.size, dtype=result.dtype)).reshape(result.shape)
    return jnp.mean(weights * result) + jnp.mean(result**2)


def check_gradients(case, scheme=solvers.time.etdrk4):
    """Reverse mode against central differences along one direction a leaf, and forward mode."""
    grid = case.grid()
    inputs = (case.make(), jnp.asarray(0.01), case.state(grid))
    arrays, rest = eqx.partition(inputs, eqx.is_array)
    leaves, tree = jax.tree.flatten(arrays)
    directions = [jnp.sin(1 + jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) for x in leaves]
    count, width = len(leaves), 1e-5

    def value(amounts):
        moved = [x + a * d for x, a, d in zip(leaves, amounts, directions, strict=True)]
        equation, dt, state = eqx.combine(jax.tree.unflatten(tree, moved), rest)
        return objective(equation, dt, state, grid, scheme)

    zero, every = jnp.zeros(count), jnp.eye(count)
    reverse = jax.jit(jax.grad(value))(zero)
    ends = jax.jit(jax.vmap(value))(jnp.concatenate([width * every, -width * every]))
    difference = (ends[:count] - ends[count:]) / (2 * width)
    assert count >= 3 and jnp.all(jnp.abs(reverse) > 1e-9), "every input must have an influence"
    np.testing.assert_allclose(reverse, difference, rtol=1e-5, atol=1e-10)
    return reverse, value


@x64
@every_equation
def test_gradients_of_state_dt_and_every_parameter(case):
    check_gradients(case)


@x64
@every_scheme
def test_fault_24_gradients_of_every_scheme(scheme, order):
    """Here forward mode too."""
    reverse, value = check_gradients(next(case for case in CASES if case.name == "burgers"), scheme)
    forward = jax.jit(jax.jacfwd(value))(jnp.zeros_like(reverse))
    np.testing.assert_allclose(reverse, forward, rtol=1e-10, atol=1e-14)


@x64
@every_equation
def test_parameters_as_members(case):
    """Every parameter with a member axis under vmap equals one run a member."""
    grid, factors = case.grid(), jnp.asarray([1.0, 1.2, 0.8])
    state, alone = case.state(grid), case.make()
    arrays, rest = eqx.partition(alone, eqx.is_array)
    members = jax.tree.map(lambda leaf: jnp.stack([f * leaf for f in factors]), arrays)

    @jax.jit
    def run(arrays, dt):
        step = solvers.spectral.semilinear(eqx.combine(arrays, rest), grid, dt)
        return jp.rollout(step, state, 2)

    together = jax.vmap(run)(members, 0.01 * factors)
    for i in range(3):
        single = run(jax.tree.map(lambda leaf, i=i: leaf[i], members), 0.01 * factors[i])
        assert largest(together[i] - single) < 1e-12
    assert largest(together[0] - together[1]) > 1e-5


def test_float32_is_preserved_by_default():
    assert jnp.zeros(()).dtype == jnp.float32


@every_equation
def test_float32_is_preserved(case):
    final, start = later(case, 0.01, 2)
    assert final.dtype == start.dtype == jnp.float32


@x64
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@every_equation
def test_fault_15_dtype_of_the_grid_is_preserved(case, dtype):
    """Also with parameters of another precision."""
    grid = case.grid(dtype)
    parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), case.make())
    state = case.state(grid)
    assert state.dtype == dtype
    result = jax.jit(lambda p, s: jp.rollout(solvers.spectral.semilinear(p, grid, 0.01), s, 2))(
        parameters, state
    )
    assert result.dtype == dtype
    reference, _ = later(case, 0.01, 2)
    assert largest(result[-1] - reference) < {"float32": 3e-5, "float64": 1e-13}[dtype]


@x64
@named("advection", "transport-2d", "burgers", "kdv", "ks", "cahn-hilliard", "cahn-hilliard-2d")
@every_scheme
def test_mean_is_conserved(case, scheme, order):
    step = case.step(0.01, scheme)
    start = case.state(case.grid()) + 0.3
    final = jp.rollout(step, start, 20, every=20)[-1]
    assert largest(final - start) > 1e-4
    assert abs(jnp.mean(final) - jnp.mean(start)) < 1e-14 * 20


@x64
@named("navier-stokes-2d")
def test_mean_vorticity_of_a_periodic_flow_is_zero(case):
    step, start = case.step(0.01), case.state(case.grid())
    assert abs(jnp.mean(step(start + 0.3))) < 1e-14
    np.testing.assert_allclose(step(start + 0.3), step(start), atol=1e-13)


@x64
@pytest.mark.parametrize("shape", [(32, 32), (31, 27), (24, 40)])
def test_ideal_flow_keeps_energy_and_enstrophy(shape):
    """In the truncated equations exactly, so only the time stepping changes them."""
    grid = jp.grids.Periodic(shape, (3 * jnp.pi, 2 * jnp.pi))
    start = smooth(grid, size=3.0)

    def drift(steps):
        step = solvers.spectral.semilinear(eq.NavierStokes2D(0.0), grid, 1.0 / steps)
        final = jax.jit(jp.repeat(step, steps, checkpoint=False))(start)
        assert largest(final - start) > 0.1
        energies = [jp.diagnostics.kinetic_energy(jp.diagnostics.velocity(w, grid))
                    for w in (start, final)]  # fmt: skip
        enstrophies = [jp.diagnostics.enstrophy(w) for w in (start, final)]
        return np.array([(after - before) / before for before, after in (energies, enstrophies)])

    coarse, fine = abs(drift(64)), abs(drift(128))
    assert np.all(fine < 1e-8) and np.all(fine < coarse / 6)


@x64
@pytest.mark.parametrize("shape", [(12, 12, 12), (15, 9, 16)])
def test_ideal_flow_keeps_energy_in_three_dimensions(shape):
    grid = jp.grids.Periodic(shape, (2 * jnp.pi, 2 * jnp.pi, 3 * jnp.pi))
    start = solenoidal(grid, 2.0)
    step = solvers.spectral.semilinear(eq.NavierStokes3D(0.0), grid, 0.01)
    final = jax.jit(jp.repeat(step, 100, checkpoint=False))(start)
    before, after = (jp.diagnostics.kinetic_energy(u) for u in (start, final))
    assert largest(final - start) > 0.1 and abs(after / before - 1) < 1e-9


@x64
@every_scheme
def test_divergence_stays_at_round_off(scheme, order):
    """Also from a state that is not free of divergence: the step projects it."""
    grid = jp.grids.Periodic((12, 15, 10), (2 * jnp.pi, 2 * jnp.pi, 3 * jnp.pi))
    start = smooth(grid, (3,))
    assert largest(jp.diagnostics.divergence(start, grid)) > 0.1
    flow = eq.NavierStokes3D(0.01, forcing=eq.kolmogorov(2.0, 1.0))
    trajectory = jp.rollout(solvers.spectral.semilinear(flow, grid, 0.02, scheme), start, 20)
    divergence = jax.vmap(lambda u: jp.diagnostics.divergence(u, grid))(trajectory[1:])
    assert largest(divergence) < 1e-13


@x64
def test_korteweg_de_vries_keeps_momentum_and_energy():
    """Integrals of u^2 and of dispersion u_x^2 / 2 - advection u^3 / 6."""
    case = next(case for case in CASES if case.name == "kdv")
    grid, equation = case.grid().resized(64), case.make()
    start = case.state(grid)
    final = jp.rollout(solvers.spectral.semilinear(equation, grid, 0.005), start, 200, every=200)[
        -1
    ]
    slope = jax.vmap(jax.grad(lambda x, u: jp.fields.interpolate(grid, u)(x[None])), (0, None))

    def energy(u):
        u_x = slope(grid.axes[0], u)
        return jnp.mean(equation.dispersion * u_x**2 / 2 - equation.advection * u**3 / 6)

    assert largest(final - start) > 0.1
    assert abs(jnp.mean(final**2) / jnp.mean(start**2) - 1) < 1e-8
    assert abs(energy(final) / energy(start) - 1) < 1e-6


@x64
@pytest.mark.parametrize("dt", [0.01, 1.0, 37.0])
def test_wave_keeps_energy_for_any_dt(dt):
    case = next(case for case in CASES if case.name == "wave-2d")
    grid = case.grid()
    final, start = later(case, dt, 10)

    def energy(state):
        value, rate = state
        spectrum = jp.grids.Spectrum(grid)
        slopes = spectrum.to_grid(spectrum.gradient(spectrum.transform(value)))
        return jnp.mean(rate**2 + 1.5**2 * jnp.sum(slopes**2, axis=0)) / 2

    assert abs(energy(final) / energy(start) - 1) < 1e-12


@x64
@pytest.mark.parametrize(
    ("name", "potential"),
    [
        ("allen-cahn", lambda u, d, b: 0.01 * d / 2 - u**2 + u**4 / 2),
        ("cahn-hilliard", lambda u, d, b: 0.25 * d / 2 - u**2 / 2 + u**4 / 4),
        ("swift-hohenberg-2d", lambda u, d, b: b**2 / 2 - 0.35 * u**2 - u**3 / 6 + u**4 / 4),
    ],
)
def test_free_energy_falls(name, potential):
    """Gradient flows; `d` is the squared gradient, `b` is (1 + lap) u."""
    case = next(case for case in CASES if case.name == name)
    grid = case.grid()
    snapshots = jp.rollout(case.step(0.02), case.state(grid), 100)
    spectrum = jp.grids.Spectrum(grid)

    def energy(u):
        modes = spectrum.transform(u)
        slopes = spectrum.to_grid(spectrum.gradient(modes))
        band = spectrum.to_grid((1 - spectrum.k_squared) * modes)
        return jnp.mean(potential(u, jnp.sum(slopes**2, axis=0), band))

    energies = np.asarray(jax.vmap(energy)(snapshots))
    assert np.all(np.diff(energies) < 1e-13) and energies[0] - energies[-1] > 1e-3


@x64
@pytest.mark.parametrize("n", [12, pytest.param(13, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", [c for c in CASES if not c.linear], ids=lambda case: case.name)
def test_kept_modes_are_free_of_aliasing(case, n):
    """On the kept modes the nonlinear term equals that on a grid three times as fine."""
    shape = (n, n - 3, n - 4)[: len(case.shape)]
    coarse = jp.grids.Periodic(shape, case.lengths)
    fine = coarse.resized(tuple(3 * m for m in shape))
    equation = case.make()

    def nonlinear(grid, state, keep):
        spectrum = jp.grids.Spectrum(grid, keep)
        layout = equation.layout(spectrum)
        modes = equation.enter(spectrum.to_modes(state), layout)
        slope = equation.nonlinear(modes, layout)
        return spectrum.to_grid(spectrum.mask * equation.leave(slope, layout))

    noise = jax.random.normal(jax.random.key(n), equation.value_shape + shape)

    @functools.partial(jax.jit, static_argnums=0)
    def aliasing(keep):
        spectrum = jp.grids.Spectrum(coarse, keep)
        state = spectrum.to_grid(spectrum.to_modes(noise))
        state = jp.grids.resample(
            jp.grids.resample(state, coarse, fine), fine, coarse
        )  # no Nyquist mode
        right = nonlinear(fine, jp.grids.resample(state, coarse, fine), keep)
        right = jp.grids.resample(right, fine, coarse)
        right = spectrum.to_grid(spectrum.to_modes(right))
        value = nonlinear(coarse, state, keep)
        value = jp.grids.resample(jp.grids.resample(value, coarse, fine), fine, coarse)
        return jnp.max(jnp.abs(value - right)) / jnp.max(jnp.abs(right))

    assert aliasing(equation.keep) < 1e-12
    assert aliasing(1.0) > 1e-3


def test_one_trace_a_shape():
    """Other numbers in the state, dt or parameters do not compile again; another shape does."""
    traces = []

    class Counting(eq.FisherKPP):
        def nonlinear(self, modes, spectrum):
            traces.append(modes.shape)
            return super().nonlinear(modes, spectrum)

    def run(n, dt, growth, size):
        grid = jp.grids.Periodic(n)
        step = solvers.spectral.semilinear(Counting(0.1, growth), grid, dt)
        return jp.rollout(step, size * jnp.cos(grid.axes[0]), 4)

    run(16, 0.01, 1.0, 1.0)
    first = len(traces)
    for i in range(3):
        run(16, 0.01 + 0.01 * i, 1.0 + i, 0.5 * i)
    assert len(traces) == first
    run(18, 0.01, 1.0, 1.0)
    assert len(traces) == 2 * first


BOXES = pytest.mark.parametrize("length", [1.0, 22.0, 32.0, 0.3])


def burgers_at(length, viscosity, dt, steps):
    """Burgers' equation from noise, in units in which the box is 2 pi long."""
    unit = length / (2 * np.pi)
    grid = jp.grids.Periodic(30, length)
    equation = eq.Burgers(viscosity * unit**2)
    step = solvers.spectral.semilinear(equation, grid, dt)
    start = step.leave(step.enter(unit * jax.random.normal(jax.random.key(0), grid.shape)))
    end = jp.rollout(step, start, steps, every=steps)[-1]
    return start / unit, end / unit


@x64
@BOXES
def test_inviscid_burgers_keeps_its_energy_on_a_box_of_any_length(length):
    """Free of aliasing, sum(u^2) is exact but for the error in time; n = 30 puts mode 10 at the
    limit."""
    start, end = burgers_at(length, 0.0, 5e-4, 200)
    assert largest(end - start) > 0.1
    assert float(jnp.abs(jnp.sum(end**2) / jnp.sum(start**2) - 1)) < 1e-12


@x64
@BOXES
def test_the_unit_of_length_changes_nothing(length):
    """The same problem without dimensions has the same solution, resolved or not."""
    reference = burgers_at(2 * np.pi, 0.02, 5e-3, 100)[1]
    assert largest(burgers_at(length, 0.02, 5e-3, 100)[1] - reference) < 1e-12
