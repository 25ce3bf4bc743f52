"""Least squares against scipy, the linear theory, and the coverage of its intervals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import curve_fit

from jaxpbdl.equations import KortewegDeVries
from jaxpbdl.inference import cramer_rao, least_squares
from jaxpbdl.trainable import Constant

X = np.linspace(0, 4, 40)
TRUE = (2.5, 1.3, 0.5)


def decay(x, amplitude, rate, offset, exp=jnp.exp):
    return amplitude * exp(-rate * x) + offset


def noisy(sigma, seed=0):
    return decay(X, *TRUE, exp=np.exp) + sigma * np.random.default_rng(seed).normal(size=X.shape)


def misfit(values, y):
    return decay(jnp.asarray(X), values["amplitude"], values["rate"], values["offset"]) - y


START = {"amplitude": 1.0, "offset": 0.0, "rate": 1.0}
ORDER = [0, 2, 1]  # of a dictionary: by name


@pytest.mark.x64
@pytest.mark.parametrize("sigma", [None, 0.05, np.linspace(0.02, 0.1, 40)], ids=str)
def test_agrees_with_scipy(sigma):
    y = noisy(0.05 if sigma is None else sigma)
    expected, covariance = curve_fit(
        lambda x, *p: decay(x, *p, exp=np.exp), X, y, p0=(1, 1, 0.0),
        sigma=None if sigma is None else np.broadcast_to(sigma, X.shape),
        absolute_sigma=sigma is not None, ftol=1e-14, xtol=1e-14, gtol=1e-14,
    )  # fmt: skip
    found = least_squares(lambda v: misfit(v, y), START, noise=sigma)
    assert bool(found.converged)
    values = [found.values[name] for name in ("amplitude", "rate", "offset")]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, covariance[np.ix_(ORDER, ORDER)], rtol=1e-4)
    assert float(found.standard_errors["rate"]) == pytest.approx(covariance[1, 1] ** 0.5, rel=1e-4)
    left = (decay(X, *expected, exp=np.exp) - y) / (1 if sigma is None else sigma)
    assert float(found.chi2) == pytest.approx(np.sum(left**2), rel=1e-8)
    assert float(found.residual_rms) == pytest.approx(np.sqrt(np.mean(left**2)), rel=1e-8)


@pytest.mark.x64
def test_a_linear_problem_is_exact_in_any_units():
    drawn = np.random.default_rng(1)
    matrix = drawn.normal(size=(30, 3)) * [1e-7, 1.0, 1e6]
    y = matrix @ [3e7, -2.0, 1e-6] + 0.1 * drawn.normal(size=30)
    exact, squares, *_ = np.linalg.lstsq(matrix, y, rcond=None)
    covariance = np.linalg.inv(matrix.T @ matrix) * squares / 27
    for factor in (1.0, 1e-8):
        found = least_squares(lambda v, f=factor: f * (matrix @ v - y), jnp.zeros(3))
        assert bool(found.converged)
        np.testing.assert_allclose(found.values, exact, rtol=1e-8)
        np.testing.assert_allclose(found.covariance, covariance, rtol=1e-6)


@pytest.mark.x64
def test_intervals_cover_the_truth():
    """Of 400 fits, 95 % within 1.96 standard errors: binomial, three deviations are 3.3 %."""

    def fitted(y):
        found = least_squares(lambda v: misfit(v, y), START, noise=0.05)
        return found.values, found.standard_errors, found.converged, found.chi2

    noise = 0.05 * jax.random.normal(jax.random.key(0), (400, len(X)))
    values, errors, converged, chi2 = jax.jit(jax.vmap(fitted))(decay(X, *TRUE) + noise)
    assert bool(jnp.all(converged))
    for name, true in zip(("amplitude", "rate", "offset"), TRUE, strict=True):
        inside = jnp.abs(values[name] - true) < 1.96 * errors[name]
        assert float(jnp.mean(inside)) == pytest.approx(0.95, abs=0.033)
        assert float(jnp.std(values[name])) == pytest.approx(float(errors[name].mean()), rel=0.12)
    assert float(jnp.mean(chi2)) == pytest.approx(len(X) - 3, abs=3 * np.sqrt(2 * 37 / 400))


def test_single_precision():
    y = jnp.asarray(noisy(0.05), jnp.float32)
    found = least_squares(lambda v: misfit(v, y), START, noise=0.05)
    with jax.enable_x64(True):
        exact = least_squares(lambda v: misfit(v, np.asarray(y, float)), START, noise=0.05)
    assert found.values["rate"].dtype == jnp.float32 and bool(found.converged)
    for name, error in exact.standard_errors.items():
        assert abs(float(found.values[name]) - float(exact.values[name])) < 0.01 * float(error)
        assert float(found.standard_errors[name]) == pytest.approx(float(error), rel=1e-3)


@pytest.mark.x64
def test_what_the_data_do_not_determine_is_named():
    def residuals(v):
        line = (v["a"] + v["b"]) * X + v["c"][0]
        return {"line": line - 2 * X - 1, "more": v["c"][0] - jnp.ones(3)}

    start = {"a": 0.5, "b": 0.2, "c": jnp.zeros(2)}
    with pytest.warns(UserWarning, match=r"do not determine \['a'\], \['b'\], \['c'\]\[1\], alone"):
        found = least_squares(residuals, start, noise=0.1)
    assert bool(found.converged)
    errors = found.standard_errors
    assert np.isinf([errors["a"], errors["b"], errors["c"][1]]).all()
    design = np.concatenate([np.stack([X, 0 * X + 1], 1), np.repeat([[0.0, 1.0]], 3, 0)])
    exact = 0.1 * np.linalg.inv(design.T @ design)[1, 1] ** 0.5
    assert float(errors["c"][0]) == pytest.approx(exact, rel=1e-8)
    assert float(found.values["a"] + found.values["b"]) == pytest.approx(2)
    quiet = eqx.filter_jit(lambda: least_squares(residuals, start, noise=0.1))()
    assert np.isinf(quiet.standard_errors["a"])


@pytest.mark.x64
def test_what_did_not_converge_is_said():
    y = noisy(0.05)
    with pytest.warns(UserWarning, match="did not converge: after 3 steps"):
        found = least_squares(lambda v: misfit(v, y), START, steps=3)
    assert not bool(found.converged)
    exact = least_squares(lambda v: misfit(v, noisy(0.0)), START)
    assert bool(exact.converged) and float(exact.values["rate"]) == pytest.approx(1.3, rel=1e-9)


@pytest.mark.x64
def test_equations_as_parameters():
    """The coefficients of an equation are the unknowns; what is not trained has no error."""
    data = jnp.array([1.2, 0.4, 1.0, 0.6])

    def residuals(parts):
        kdv, factor = parts
        both = jnp.stack([kdv.advection, kdv.dispersion])
        return jnp.concatenate([both, both]) * factor() - data

    start = (KortewegDeVries(1.0, 1.0), Constant(jnp.array(2.0)))
    found = least_squares(residuals, start, noise=0.1)
    assert float(found.values[0].advection) == pytest.approx(1.1 / 2)
    errors = found.standard_errors
    assert float(errors[0].dispersion) == pytest.approx(0.1 / np.sqrt(8))
    assert float(errors[1].value) == 0.0 and found.covariance.shape == (2, 2)


@pytest.mark.x64
def test_cramer_rao_is_the_covariance_of_the_fit():
    values = dict(zip(("amplitude", "rate", "offset"), map(float, TRUE), strict=True))
    bound = cramer_rao(lambda v: misfit(v, 0.0), values, 0.05)
    found = least_squares(lambda v: misfit(v, noisy(0.0)), values, noise=0.05)
    np.testing.assert_allclose(bound.covariance, found.covariance, rtol=1e-6)
    assert bound.standard_errors.keys() == values.keys()
    # The mean of n values with noise s is known to s / sqrt(n).
    mean = cramer_rao(lambda v: {"a": v * jnp.ones(9), "b": v}, 1.0, {"a": 0.3, "b": 1e9})
    assert float(mean.standard_errors) == pytest.approx(0.1)
    with pytest.warns(UserWarning, match="cramer_rao: the data do not determine"):
        bound = cramer_rao(lambda v: v["a"] * jnp.ones(3), {"a": 1.0, "b": 1.0}, 1.0)
    assert np.isinf(bound.standard_errors["b"])


def test_bad_input():
    with pytest.raises(ValueError, match="more than 2 residuals, or give noise"):
        least_squares(lambda v: v, jnp.ones(2))
    with pytest.raises(ValueError, match="noise must be finite and > 0, got 0"):
        least_squares(lambda v: v, jnp.ones(2), noise=0.0)
    with pytest.raises(ValueError, match=r"broadcast to the residuals' shape \(2,\), got \(3,\)"):
        least_squares(lambda v: v, jnp.ones(2), noise=jnp.ones(3))
    with pytest.raises(ValueError, match="noise must be a number, an array or a tree"):
        least_squares(lambda v: {"a": v}, jnp.ones(2), noise={"b": 1.0})
    with pytest.raises(ValueError, match="residuals must hold real floating-point numbers"):
        least_squares(lambda v: v + 1j, jnp.ones(2), noise=1.0)
    with pytest.raises(ValueError, match="steps must be an integer >= 1"):
        least_squares(lambda v: v, jnp.ones(2), noise=1.0, steps=0)
