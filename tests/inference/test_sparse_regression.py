"""Sparse identification against exact solutions, and its pieces against their formulas."""

from math import ceil, gamma, log, pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import KortewegDeVries
from jaxpbdl.inference.sparse_identification import (
    Bump,
    FourierDerivative,
    LinearSystem,
    LocalPolynomial,
    Term,
    derivative_terms,
    fitting_bump,
    local_weights,
    product_terms,
    resolved_modes,
    smoothing_window,
    sparse_regression,
    strong_form,
    thresholded_least_squares,
    weak_form,
    written,
)

pytestmark = pytest.mark.x64
SPEED, DIFFUSIVITY = 0.7, 0.05


def waves(times=81, points=64, interval=0.025):
    """Damped waves: u_t = -SPEED u_x + DIFFUSIVITY u_xx on a box of length 2 pi."""
    t, x = np.meshgrid(
        interval * np.arange(times), 2 * pi / points * np.arange(points), indexing="ij"
    )
    return sum(
        np.exp(-DIFFUSIVITY * k**2 * t) * np.sin(k * (x - SPEED * t) + k**2) for k in (1, 2, 3, 5)
    )


def solitons(times=81, points=256, interval=0.1):
    """Two solitons that meet: u_t = -3 (u^2)_x - u_xxx on a box of length 60."""
    x = jnp.asarray(-30 + 60 / points * np.arange(points))
    exact = KortewegDeVries().two_solitons
    middle = times // 2
    return np.stack([exact(x, interval * (at - middle), (1.2, 0.8)) for at in range(times)])


def found(terms, fit):
    """Coefficients that are not zero by name."""
    pairs = zip(terms, np.asarray(fit.coefficients), strict=True)
    return {term.name: value for term, value in pairs if value}


def test_names():
    terms = (Term(()), Term((1,)), Term((1,), 2), Term((2,), 1), Term((2, 1)), Term((0, 1, 2), 1))
    names = ["1", "u", "u_xx", "(u^2)_x", "u^2 u_x", "(u_x u_xx^2)_x"]
    assert [term.name for term in terms] == names
    assert [term.total_order for term in terms] == [0, 0, 2, 1, 1, 6]
    assert [term.degree for term in terms] == [0, 1, 1, 2, 3, 3]
    assert [term.name for term in derivative_terms(2, 1)] == ["1", "u", "u_x", "u^2", "(u^2)_x"]
    names = ["1", "u", "u_x", "u_xx", "u u_x", "u u_xx"]
    assert [term.name for term in product_terms(1, 2)] == names
    coefficients = jnp.asarray([0, 0, 0.1, -0.5, 0, 2.0])
    assert written(terms, coefficients) == "u_t = 0.1 u_xx - 0.5 (u^2)_x + 2 (u_x u_xx^2)_x"
    assert written(terms, -coefficients).startswith("u_t = -0.1 u_xx + 0.5")


def test_fourier_derivatives():
    x = 3.0 / 16 * np.arange(16)
    k = 2 * pi / 3 * 2
    wave, slope = np.sin(k * x), np.cos(k * x)
    differentiate = FourierDerivative(3.0)
    for order, exact in enumerate((wave, k * slope, -(k**2) * wave, -(k**3) * slope, k**4 * wave)):
        values = differentiate(jnp.asarray([wave, 2 * wave]), order)
        np.testing.assert_allclose(values, [exact, 2 * exact], atol=1e-10 * k**order)
    high = np.cos(2 * pi / 3 * 5 * x)
    np.testing.assert_allclose(
        FourierDerivative(3.0, 4)(jnp.asarray(wave + high), 0), wave, atol=1e-12
    )
    saw = jnp.asarray((-1.0) ** np.arange(16))
    np.testing.assert_allclose(differentiate(saw, 1), 0, atol=1e-12)
    np.testing.assert_allclose(differentiate(saw, 2), -((2 * pi / 3 * 8) ** 2) * saw, rtol=1e-12)


def test_local_polynomials():
    np.testing.assert_allclose(local_weights(2, 4, 1) * 12, [1, -8, 0, 8, -1], atol=1e-12)
    np.testing.assert_allclose(local_weights(2, 4, 2) * 12, [-1, 16, -30, 16, -1], atol=1e-12)
    np.testing.assert_allclose(local_weights(2, 2, 0) * 35, [-3, 12, 17, 12, -3], atol=1e-12)
    x = 0.1 * np.arange(20)
    cubic = LocalPolynomial(0.1, 3, 4)
    inner = slice(3, -3)  # the polynomial is not periodic
    np.testing.assert_allclose(cubic(jnp.asarray(x**3), 1)[inner], (3 * x**2)[inner], atol=1e-10)
    np.testing.assert_allclose(cubic(jnp.asarray(x**3), 3)[inner], 6, atol=1e-7)
    wave = np.sin(pi * x)
    np.testing.assert_allclose(cubic(jnp.asarray(wave), 1), pi * np.cos(pi * x), atol=2e-2)


def test_test_functions():
    """Moments of the derivatives, by parts."""
    width, power, spacing = 40, 6, 0.3
    bump, half = Bump(width, power), width * spacing
    z = spacing * np.arange(-width, width + 1)
    mass = half * pi**0.5 * gamma(power + 1) / gamma(power + 1.5)
    assert bump.weights(0, spacing).sum() == pytest.approx(mass, rel=1e-5)
    assert bump.weights(1, spacing) @ z == pytest.approx(-mass, rel=1e-5)
    assert bump.weights(2, spacing) @ z**2 == pytest.approx(2 * mass, rel=1e-4)
    assert bump.weights(3, spacing) @ z**3 == pytest.approx(-6 * mass, rel=1e-3)
    np.testing.assert_allclose(bump.weights(0, 1.0)[30], (1 - 0.25**2) ** 6, rtol=1e-14)


@pytest.mark.parametrize("terms", [derivative_terms(2, 3), product_terms(1, 3)], ids=len)
def test_strong_form_of_waves(terms):
    values = jnp.asarray(waves())
    for differentiate in (FourierDerivative(2 * pi), LocalPolynomial(2 * pi / 64, 3, 6)):
        fit = sparse_regression(strong_form(values, terms, differentiate, 0.025))
        coefficients = found(terms, fit)
        assert coefficients == pytest.approx({"u_x": -SPEED, "u_xx": DIFFUSIVITY}, rel=2e-3)


def test_weak_form_of_waves():
    terms, values = derivative_terms(2, 3), waves()
    bumps = (fitting_bump(values, 0, 1), Bump(16, 8))
    fit = sparse_regression(weak_form(jnp.asarray(values), terms, bumps, (0.025, 2 * pi / 64)))
    assert found(terms, fit) == pytest.approx({"u_x": -SPEED, "u_xx": DIFFUSIVITY}, rel=1e-5)
    assert float(fit.held_out_error) < 1e-5


def test_both_forms_of_solitons():
    """The weak form holds its coefficients under noise that spoils the strong one."""
    values, terms = solitons(), derivative_terms(3, 4)
    exact = {"u_xxx": -1.0, "(u^2)_x": -3.0}
    noisy = values + 0.1 * values.std() * np.random.default_rng(0).normal(size=values.shape)
    strong = jax.jit(
        lambda u: sparse_regression(strong_form(u, terms, FourierDerivative(60.0, 60), 0.1))
    )
    assert found(terms, strong(jnp.asarray(values))) == pytest.approx(exact, rel=5e-3)
    bumps, spacings = (Bump(20, 9), Bump(30, 10)), (0.1, 60 / 256)
    weak = jax.jit(lambda u: sparse_regression(weak_form(u, terms, bumps, spacings)))
    assert found(terms, weak(jnp.asarray(values))) == pytest.approx(exact, rel=1e-5)
    fit = weak(jnp.asarray(noisy))
    assert found(terms, fit) == pytest.approx(exact, rel=0.03)
    kept = np.asarray(fit.kept)
    off = (np.asarray(fit.coefficients)[kept] - list(exact.values())) / fit.standard_errors[kept]
    assert np.all(abs(off) < 5)
    assert found(terms, strong(jnp.asarray(noisy))) != pytest.approx(exact, rel=0.03)


def test_weak_form_of_a_product():
    """u u_x by derivatives of the data equals half of (u^2)_x by parts."""
    values = jnp.asarray(waves())
    terms = (Term((1, 1)), Term((2,), 1))
    system = weak_form(
        values, terms, (Bump(12, 8), Bump(12, 8)), (0.025, 2 * pi / 64),
        differentiate=FourierDerivative(2 * pi),
    )  # fmt: skip
    product, derivative = np.moveaxis(np.asarray(system.matrix), -1, 0)
    np.testing.assert_allclose(product, derivative / 2, atol=1e-5 * abs(derivative).max())


def rows(seed, noise=0.0, times=40, count=5):
    """Random terms of very different sizes; the second and the fourth make the target."""
    drawn = np.random.default_rng(seed)
    matrix = drawn.normal(size=(times, count, 5)) * [1.0, 1e3, 1e-4, 10.0, 1.0]
    target = 2e-3 * matrix[..., 1] - 0.15 * matrix[..., 3]
    return LinearSystem(
        *map(jnp.asarray, (matrix, target + noise * drawn.normal(size=target.shape)))
    )


def test_thresholds_count_contributions():
    """Of 2 and 1.5 in a target of length 2.5: shares 0.8 and 0.6, whatever the units."""
    system = rows(0)
    for threshold, kept in ((0.1, [1, 3]), (0.7, [1]), (1.5, [])):
        coefficients = np.asarray(thresholded_least_squares(system, threshold))
        assert list(np.flatnonzero(coefficients)) == kept
    fit = sparse_regression(rows(1, 0.3))
    matrix, target = (np.asarray(part).reshape(200, -1) for part in rows(1, 0.3))
    assert list(np.flatnonzero(np.asarray(fit.kept))) == [1, 3]
    exact = np.linalg.lstsq(matrix[:, [1, 3]], target[:, 0], rcond=None)[0]
    np.testing.assert_allclose(fit.coefficients[jnp.asarray([1, 3])], exact, rtol=1e-10)
    # The error of the times held out, by coefficients of the earlier ones.
    early = np.linalg.lstsq(matrix[:150, [1, 3]], target[:150, 0], rcond=None)[0]
    left = matrix[150:, [1, 3]] @ early - target[150:, 0]
    share = np.linalg.norm(left) / np.linalg.norm(target[150:, 0])
    assert float(fit.held_out_error) == pytest.approx(share, rel=1e-8)
    assert int(fit.path_counts[0]) == 5 and int(fit.path_counts[-1]) <= 1


def test_standard_errors():
    """Over 300 draws of the noise: the deviation of the coefficients, mean of its estimates."""
    clean = rows(2)

    def one(key):
        noisy = clean.target + 0.3 * jax.random.normal(key, clean.target.shape)
        fit = sparse_regression(LinearSystem(clean.matrix, noisy), groups=40)
        return fit.coefficients, fit.covariance, fit.standard_errors

    values, covariances, errors = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 300))
    for at in (1, 3):
        assert float(errors[:, at].mean()) == pytest.approx(float(values[:, at].std()), rel=0.12)
        assert float(values[:, at].mean()) == pytest.approx([0, 2e-3, 0, -0.15][at], rel=0.01)
    np.testing.assert_allclose(errors**2, jnp.diagonal(covariances, axis1=1, axis2=2))
    assert not np.any(np.asarray(errors[:, jnp.asarray([0, 2, 4])]))


def test_errors_of_rows_that_go_together():
    """Rows of one group repeated: the errors stay as they are, not smaller."""
    system = rows(3, 0.3)
    twice = LinearSystem(*(jnp.repeat(part, 2, axis=1) for part in system))
    once, doubled = (sparse_regression(each).standard_errors for each in (system, twice))
    np.testing.assert_allclose(once, doubled, rtol=1e-8)


def test_choices_from_the_data():
    clean = waves()
    noisy = clean + 0.2 * np.random.default_rng(0).normal(size=clean.shape)
    assert resolved_modes(noisy) == 5
    halves = range(3, 16)
    assert smoothing_window(clean, 4, halves) == 3 < 8 <= smoothing_window(noisy, 4, halves)


def test_the_test_function_fits_the_spectrum():
    """Seven waves of one size among 64 points, beside nothing: the corner is the seventh."""
    x = 2 * pi / 64 * np.arange(64)
    values = sum(np.cos(k * x + k**2) for k in range(1, 8)) * np.ones((5, 1))
    bump, corner = fitting_bump(values, 1, 3), 2 * pi * 7 / 64
    assert bump.width * corner >= 2 * np.sqrt(2 * bump.power + 3)
    # One point narrower it would have to be steeper, and then its spectrum is too wide.
    width = bump.width - 1
    power = ceil(log(1e-10) / log((2 * width - 1) / width**2))
    assert width * corner < 2 * np.sqrt(2 * power + 3)
    assert (1 - (1 - 1 / bump.width) ** 2) ** bump.power < 1e-10
    assert fitting_bump(values, 1, 30).power == 31
    assert fitting_bump(values, 1, 60) == Bump(30, 61)  # as wide as there is room
    x = 2 * pi / 1000 * np.arange(1000)  # so wide a bump would be smooth enough with a power of 6
    long = sum(np.cos(k * x + k**2) for k in range(1, 8)) * np.ones((5, 1))
    wide, corner = fitting_bump(long, 1, 9), 2 * pi * 7 / 1000
    assert wide.power == 10 and wide.width == ceil(2 * np.sqrt(23) / corner)


def test_bad_input():
    values, terms = jnp.asarray(waves(12, 16)), derivative_terms(1, 2)
    slopes, tests = FourierDerivative(2 * pi), (Bump(4, 4), Bump(4, 4))
    with pytest.raises(ValueError, match="power must be an integer >= 1, got 0"):
        derivative_terms(0, 2)
    with pytest.raises(ValueError, match="terms must hold at least one term"):
        strong_form(values, (), slopes, 0.1)
    with pytest.raises(ValueError, match="interval must be finite and > 0, got 0"):
        strong_form(values, terms, slopes, 0.0)
    with pytest.raises(ValueError, match="values must have at least 13 times, got 12"):
        strong_form(values, terms, slopes, 0.1, half=6)
    with pytest.raises(ValueError, match="values must be finite"):
        weak_form(values.at[0, 0].set(jnp.nan), terms, tests, (0.1, 0.1))
    with pytest.raises(ValueError, match=r"bumps\[0\] must be at most 5 wide, got 6"):
        weak_form(values, terms, (Bump(6, 4), tests[1]), (0.1, 0.1))
    with pytest.raises(ValueError, match="differentiate must be given for the term u u_x"):
        weak_form(values, product_terms(1, 1), tests, (0.1, 0.1))
    with pytest.raises(ValueError, match="order must be from 0 to power - 1 = 3, got 4"):
        weak_form(values, derivative_terms(1, 4), tests, (0.1, 0.1))
    with pytest.raises(ValueError, match="degree must be at most 2 half = 4, got 5"):
        LocalPolynomial(0.1, 2, 5)
    with pytest.raises(ValueError, match="halves must be above degree / 2 = 2, got 2"):
        smoothing_window(waves(12, 16), 4, (2, 3))
    with pytest.raises(ValueError, match=r"held_out must be in \(0, 1\), got 1"):
        sparse_regression(rows(0), held_out=1.0)
    with pytest.raises(ValueError, match="groups must be at most 40, the times, got 41"):
        sparse_regression(rows(0), groups=41)
    with pytest.raises(ValueError, match="thresholds must be finite and >= 0"):
        sparse_regression(rows(0), thresholds=(-1.0,))
