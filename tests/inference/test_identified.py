"""Terms as an equation beside the equations of the toolkit, and the fit through the step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import Burgers, KortewegDeVries
from jaxpbdl.grids import Periodic
from jaxpbdl.inference.identified import TermEquation, fit_through_step, identified_equation
from jaxpbdl.inference.sparse import LinearSystem, Term, sparse_regression
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import semilinear

pytestmark = pytest.mark.x64
LENGTH, POINTS = 5.0, 32


def start():
    angle = 2 * np.pi / POINTS * np.arange(POINTS)
    return jnp.asarray(np.sin(angle) + 0.4 * np.cos(2 * angle + 1))


@pytest.mark.parametrize(
    "known, coefficients, terms",
    [
        (lambda: Burgers(0.1), (-0.5, 0.1), (Term((2,), 1), Term((1,), 2))),
        (lambda: Burgers(0.1), (-1.0, 0.1), (Term((1, 1)), Term((0, 0, 1)))),
        (lambda: KortewegDeVries(6.0, 0.3), (-6.0, -0.3), (Term((1, 1)), Term((1,), 3))),
    ],
    ids=["burgers", "burgers of products", "korteweg-de vries"],
)
def test_the_same_as_known_equations(known, coefficients, terms):
    known, grid = known(), Periodic((POINTS,), lengths=LENGTH)  # in float64 only here
    written = TermEquation(jnp.asarray(coefficients), terms)
    assert written.keep == known.keep == 2 / 3
    states = [rollout(semilinear(each, grid, 0.01), start(), 20)[-1] for each in (written, known)]
    # The products differ by what dealiasing takes away.
    np.testing.assert_allclose(states[0], states[1], atol=1e-4)

    def field(point):
        return jnp.sin(2 * point[0] - point[1]) + point[0] ** 2 * point[1]

    point = jnp.asarray([0.3, 0.7])
    assert float(written.residual(field, point)) == pytest.approx(
        float(known.residual(field, point)), rel=1e-12
    )


def test_constant_and_cube():
    """u_t = 0.3 + 0.5 u - u^3 of a state without waves: the rates are those numbers."""
    grid = Periodic((POINTS,), lengths=LENGTH)
    terms = (Term(()), Term((1,)), Term((3,)))
    equation = TermEquation(jnp.asarray([0.3, 0.5, -1.0]), terms)
    assert equation.keep == 0.5
    state = jnp.full(POINTS, 0.2)
    change = (semilinear(equation, grid, 1e-3)(state) - state) / 1e-3
    np.testing.assert_allclose(change, 0.3 + 0.5 * 0.2 - 0.2**3, rtol=1e-3)


def test_fit_through_the_step():
    """Coefficients within their intervals, and a noise that is found again."""
    terms = (Term((2,), 1), Term((1,), 2))
    truth = jnp.asarray([-0.5, 0.1])
    grid = Periodic((POINTS,), lengths=LENGTH)
    step = semilinear(TermEquation(truth, terms), grid, 0.05)
    clean = rollout(step, start(), 40, 2)
    noisy = clean + 0.1 * jax.random.normal(jax.random.key(0), clean.shape)
    guess = TermEquation(jnp.asarray([-0.4, 0.12]), terms)
    found = fit_through_step(guess, noisy, LENGTH, 0.1, waves=5, substeps=2)
    assert bool(found.converged)
    assert np.all(abs(found.equation.coefficients - truth) < 4 * found.standard_errors)
    assert np.all(found.standard_errors < 0.1 * abs(truth))
    np.testing.assert_allclose(jnp.diagonal(found.covariance), found.standard_errors**2)
    assert float(found.residual_rms) == pytest.approx(0.1, rel=0.08)
    assert float(jnp.std(found.start - start())) < 0.06
    exact = fit_through_step(guess, clean, LENGTH, 0.1, waves=5, substeps=2)
    np.testing.assert_allclose(exact.equation.coefficients, truth, rtol=1e-6)


def test_what_is_kept_becomes_an_equation():
    matrix = np.random.default_rng(0).normal(size=(20, 4, 3))
    system = LinearSystem(jnp.asarray(matrix), jnp.asarray(2 * matrix[..., 0] - matrix[..., 2]))
    terms = (Term((1,), 1), Term((2,)), Term((1,), 2))
    equation = identified_equation(terms, sparse_regression(system))
    assert equation.terms == (terms[0], terms[2])
    np.testing.assert_allclose(equation.coefficients, [2, -1], rtol=1e-10)


def test_bad_input():
    equation = TermEquation(jnp.ones(1), (Term((1,), 1),))
    with pytest.raises(ValueError, match=r"coefficients must have shape \(1,\), got \(2,\)"):
        TermEquation(jnp.ones(2), (Term((1,), 1),))
    with pytest.raises(ValueError, match="terms must hold at least one term"):
        TermEquation(jnp.ones(0), ())
    with pytest.raises(ValueError, match="waves must be below 4, half the points, got 4"):
        fit_through_step(equation, jnp.ones((3, 8)), 1.0, 0.1, waves=4)
    with pytest.raises(ValueError, match="values must hold at least two snapshots, got 1"):
        fit_through_step(equation, jnp.ones((1, 8)), 1.0, 0.1, waves=2)
    with pytest.raises(ValueError, match="interval must be finite and > 0, got 0"):
        fit_through_step(equation, jnp.ones((3, 8)), 1.0, 0.0, waves=2)
    with pytest.raises(ValueError, match=r"TermEquation needs a grid of 1 axes"):
        semilinear(equation, Periodic((8, 8)), 0.1)
