"""Published problems of gas dynamics, against exact solutions and published figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.grids import Cells
from jaxpbdl.solvers import time
from jaxpbdl.solvers.compressible import (
    Weno5,
    characteristic,
    exact,
    finite_volumes,
    first_order,
    minmod,
    muscl,
    primitive,
    reflecting,
    sixth_order,
    van_leer,
)

pytestmark = pytest.mark.x64

LINE = CompressibleFlow(1)


def density_error(states, end, cells, fastest, **options):
    """L1 of the density at a time, against exact means of the cells, and the last state; the
    fastest wave crosses 0.4 cells a step."""
    steps = int(np.ceil(end * fastest * cells / 0.4))
    step = finite_volumes(LINE, Cells(cells, 1.0), end / steps, **options)
    one, two = map(jnp.array, states)
    state = step.start(lambda x: jnp.where(x[0] < 0.5, one, two))
    last = jp.rollout(step, state, steps, every=steps)[-1]
    fine = (np.arange(cells * 32) + 0.5) / (cells * 32)
    known = exact.riemann(*states)(jnp.asarray((fine - 0.5) / end))[0]
    return float(jnp.mean(jnp.abs(last[0] - known.reshape(cells, 32).mean(axis=1)))), last


@pytest.mark.parametrize(
    "options, published",
    [
        ({"reconstruction": first_order, "scheme": time.euler}, 1.749e-2),
        ({"reconstruction": muscl(minmod), "variables": primitive}, 6.88e-3),
        ({"reconstruction": muscl(van_leer), "variables": primitive}, 4.50e-3),
        ({"reconstruction": Weno5(power=2), "variables": primitive}, 3.55e-3),
        ({"reconstruction": Weno5(power=2), "variables": characteristic}, 4.12e-3),
    ],
)
def test_sod(options, published):
    """Each scheme on 100 cells within 3 % of its published error."""
    states = (1.0, 0.0, 1.0), (0.125, 0.0, 0.1)
    assert density_error(states, 0.2, 100, 2.2, **options)[0] == pytest.approx(published, rel=0.03)


def test_sod_with_the_first_power():
    states = (1.0, 0.0, 1.0), (0.125, 0.0, 0.1)
    assert density_error(states, 0.2, 100, 2.2, variables=primitive)[0] < 3.55e-3


@pytest.mark.parametrize("variables", [primitive, characteristic])
def test_two_gases_that_part(variables):
    """Nearly a vacuum in the middle: density and pressure stay above zero."""
    states = (1.0, -2.0, 0.4), (1.0, 2.0, 0.4)
    error, last = density_error(states, 0.15, 100, 2.8, variables=variables)
    assert all(float(jnp.min(values)) > 0 for values in LINE.positive(last).values())
    assert error < 0.012
    np.testing.assert_allclose(last[0], last[0, ::-1], rtol=1e-9)


def test_blast_waves():
    """Woodward and Colella's: two blasts between walls collide; WENO5-Z on 400 cells reaches a
    density of 6.12 at 0.784 and a pressure of 411 at 0.650 (6.44 and 424 when converged). Walls
    let nothing out."""
    grid = Cells(400, 1.0)
    step = finite_volumes(LINE, grid, 0.038 / 1936, [reflecting])
    state = step.start(
        lambda x: jnp.stack(
            [1.0, 0.0, jnp.where(x[0] < 0.1, 1000.0, jnp.where(x[0] > 0.9, 100.0, 0.01))]
        )
    )
    last = jp.rollout(step, state, 1936, every=1936)[-1]
    density, pressure = np.asarray(last[0]), np.asarray(LINE.pressure(last))
    assert 6.0 < density.max() < 6.5 and 405 < pressure.max() < 425
    assert grid.centres[0][density.argmax()] == pytest.approx(0.784, abs=0.003)
    assert grid.centres[0][pressure.argmax()] == pytest.approx(0.650, abs=0.003)
    change = np.asarray(grid.integral(last - state))
    assert abs(change[0]) < 1e-11 and abs(change[2]) < 1e-8 and pressure.min() > 0


def test_a_shock_meets_waves():
    """Shu and Osher's problem on 200 cells: the highest peak behind the shock is 4.410."""
    grid = Cells(200, 10.0, -5.0)
    step = finite_volumes(LINE, grid, 1.8 / 441)
    shocked = jnp.array([3.857143, 2.629369, 10.33333])

    def start(x):
        return jnp.where(x[0] < -4, shocked, jnp.stack([1 + 0.2 * jnp.sin(5 * x[0]), 0.0, 1.0]))

    density = np.asarray(jp.rollout(step, step.start(start), 441, every=441)[-1, 0])
    behind = (grid.centres[0] > 0.5) & (grid.centres[0] < 2.3)
    assert density[behind].max() == pytest.approx(4.410, abs=0.02)


@pytest.mark.parametrize(
    "options, order",
    [
        ({"reconstruction": muscl(van_leer), "variables": primitive}, 1.7),
        ({"quadrature": sixth_order}, 3.9),
        ({"reconstruction": Weno5(smooth=3e-3), "quadrature": sixth_order}, 4.9),
    ],
)
def test_order_by_a_vortex(options, order):
    """Of the rates of change of means over the cells, from 64 to 128 cells a side, in a box in
    which the vortex does not feel its images."""
    law = CompressibleFlow(2)
    places, weights = np.polynomial.legendre.leggauss(4)
    errors = []
    for cells in (64, 128):
        grid = Cells((cells, cells), 20.0, -10.0, periodic=True)
        step = finite_volumes(law, grid, 0.01, guard=None, **options)
        half = 10 / cells
        shifts = half * np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)
        shares = jnp.asarray(np.outer(weights, weights).ravel() / 4)

        def means(moment, grid=grid, shifts=shifts, shares=shares):
            points = grid.points + jnp.asarray(shifts)[:, None, None]
            values = law.conserved(exact.vortex(points, moment, (20.0, 20.0)))
            return jnp.tensordot(values, shares, ((1,), (0,)))

        def off(moment, means=means, step=step):
            state, rates = jax.jvp(means, (moment,), (jnp.ones(()),))
            return jnp.mean(jnp.abs(step.rates(state)[0] - rates[0]))

        errors.append(float(jax.jit(off)(jnp.zeros(()))))
    rate = np.log2(errors[0] / errors[1])
    assert rate > order, (rate, errors)
