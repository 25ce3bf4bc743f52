"""Parameters as distributions: exact in linear problems, covered in others, three ways agree."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from jaxpbdl.uncertainty import Discrepancy, confounded, infer, laplace, sample
from jaxpbdl.uncertainty import Gaussian as Kernel
from jaxpbdl.uncertainty.posterior import _r_hat

pytestmark = pytest.mark.x64

DESIGN = np.random.default_rng(0).normal(size=(12, 3))
DATA = DESIGN @ [1.0, -2.0, 0.5] + 0.1 * np.random.default_rng(1).normal(size=12)
NOISE, CENTRE, WIDTH = 0.1, np.array([0.5, -1.0, 0.0]), np.array([1.0, 2.0, 0.5])


def linear(values):
    return jnp.asarray(DESIGN) @ values


def prior(values):
    return (values - CENTRE) / WIDTH


def exact():
    """Mean, covariance and evidence of the linear problem, by the formulas for normal vectors."""
    precision = DESIGN.T @ DESIGN / NOISE**2 + np.diag(WIDTH**-2)
    mean = np.linalg.solve(precision, DESIGN.T @ DATA / NOISE**2 + CENTRE / WIDTH**2)
    of_data = NOISE**2 * np.eye(12) + DESIGN @ np.diag(WIDTH**2) @ DESIGN.T
    evidence = multivariate_normal(DESIGN @ CENTRE, of_data).logpdf(DATA)
    return mean, np.linalg.inv(precision), evidence


def test_a_linear_problem_is_exact():
    mean, covariance, evidence = exact()
    found = infer(linear, jnp.asarray(DATA), jnp.zeros(3), noise=NOISE, prior=prior)
    np.testing.assert_allclose(found.values, mean, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-6)
    np.testing.assert_allclose(found.standard_errors, np.sqrt(np.diag(covariance)), rtol=1e-6)
    # The prior's own normalisation is the constant that is left out.
    assert float(found.log_evidence) == pytest.approx(evidence + np.sum(np.log(WIDTH)), rel=1e-6)


def log_density(values):
    return -0.5 * jnp.sum(((linear(values) - DATA) / NOISE) ** 2) - 0.5 * jnp.sum(
        prior(values) ** 2
    )


def test_laplace_of_a_normal_density_is_exact():
    mean, covariance, evidence = exact()
    found = laplace(log_density, jnp.zeros(3))
    np.testing.assert_allclose(found.values, mean, rtol=1e-5)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-6)
    constants = 12 * np.log(NOISE) + 6 * np.log(2 * np.pi) + 1.5 * np.log(2 * np.pi)
    assert float(found.log_evidence) == pytest.approx(
        evidence + constants + np.sum(np.log(WIDTH)), rel=1e-5
    )


def test_draws_of_a_normal_distribution():
    found = infer(linear, jnp.asarray(DATA, float), jnp.zeros(3), noise=NOISE, prior=prior)
    drawn = jax.vmap(found.sample)(jax.random.split(jax.random.key(0), 20_000))
    np.testing.assert_allclose(drawn.mean(0), found.values, atol=0.003)
    np.testing.assert_allclose(np.cov(drawn.T), found.covariance, rtol=0.1, atol=3e-5)


def test_chains_that_disagree():
    """By hand: halves of variance 2 within and means 1, 1, 2 and 2."""
    draws = jnp.array([[0.0, 2.0, 0.0, 2.0], [1.0, 3.0, 1.0, 3.0]])[..., None]
    np.testing.assert_allclose(_r_hat(draws), [np.sqrt(1 / 2 + (2 * 1 / 3) / 2 / 2)])


def test_the_sampler_of_a_skewed_density():
    """Exponential in one direction, normal in the other: mean, deviation and chains that agree."""
    pytest.importorskip("blackjax")

    def density(p):  # of the logarithm of an exponentially distributed number, and a normal one
        return p["log"] - jnp.exp(p["log"]) - 0.5 * ((p["x"] - 3) / 2) ** 2

    start = {"log": jnp.zeros(()), "x": jnp.zeros(())}
    about = laplace(density, start)
    assert float(about.standard_errors["x"]) == pytest.approx(2.0, rel=1e-4)
    found = sample(density, about, jax.random.key(0), draws=1000, warmup=300, chains=2)
    number = np.exp(np.asarray(found.values["log"]))
    assert number.shape == (2, 1000)
    assert number.mean() == pytest.approx(1.0, abs=0.12)
    assert np.asarray(found.values["x"]).std() == pytest.approx(2.0, rel=0.12)
    assert max(float(value) for value in found.r_hat.values()) < 1.03
    assert float(found.divergences) < 10
    assert 0.6 < float(found.acceptance.mean()) < 0.97


def curve(p):
    """`slope x + delta(x)` at twenty places: a slope that a discrepancy cannot or can imitate."""
    x = jnp.linspace(0, 1, 20)
    return p["slope"] * x + p["delta"](x[:, None])


def slope_beside(kernel, data):
    points = jnp.linspace(0, 1, 8)[:, None]
    start = {"slope": jnp.zeros(()), "delta": Discrepancy(kernel, points)}
    return infer(curve, data, start, noise=0.01, prior=lambda p: p["delta"].white)


def test_a_discrepancy_is_a_gaussian_process():
    """Draws of its prior have the kernel's covariance between the points, and its values at them
    are those of the Cholesky factor."""
    points = jnp.linspace(0, 3, 13)[:, None]
    delta = Discrepancy(Kernel(2.0, 1.0), points)
    places = jnp.array([[0.6], [1.1], [2.7]])

    def drawn(key):
        white = jax.random.normal(key, (13,))
        return eqx.tree_at(lambda d: d.white, delta, white)(places)

    values = jax.vmap(drawn)(jax.random.split(jax.random.key(0), 20_000))
    exact = 4 * np.exp(-0.5 * (places - places.T) ** 2)
    np.testing.assert_allclose(np.cov(values.T), exact, atol=0.12)
    assert delta(places).shape == (3,) and float(jnp.max(jnp.abs(delta(places)))) == 0


def test_what_data_cannot_tell_apart_is_said():
    """A smooth discrepancy of any size explains a slope; one that wiggles and is small does not."""
    data = 2 * jnp.linspace(0, 1, 20) + 0.01 * jax.random.normal(jax.random.key(3), (20,))
    found = slope_beside(Kernel(10.0, 1.0), data)
    with pytest.warns(UserWarning, match=r"the data cannot tell \['slope'\] from the discrepancy"):
        share = confounded(found)
    assert float(share["slope"]) > 0.99
    found = slope_beside(Kernel(0.02, 0.1), data)
    share = confounded(found)
    assert 0 < float(share["slope"]) < 0.99
    assert abs(float(found.values["slope"]) - 2) < 3 * float(found.standard_errors["slope"])
    assert float(jnp.max(share["delta"].white)) == 0


def test_bad_input():
    with pytest.raises(ValueError, match="model must give a tree like the data"):
        infer(lambda p: {"u": p}, jnp.ones(3), jnp.ones(3), noise=1.0)
    found = infer(linear, jnp.asarray(DATA, float), jnp.zeros(3), noise=NOISE)
    with pytest.raises(ValueError, match="must hold a Discrepancy and something else"):
        confounded(found)
    with pytest.raises(ValueError, match="chains must be an integer >= 2, got 1"):
        sample(log_density, found, jax.random.key(0), chains=1)
    broken = found._replace(covariance=jnp.full((3, 3), jnp.nan))
    with pytest.raises(ValueError, match="about.covariance must be finite"):
        sample(log_density, broken, jax.random.key(0))
