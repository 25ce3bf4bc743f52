"""The cycle, its scores and what it refuses, on Lorenz' models; localisation by its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import Lorenz96
from jaxpbdl.inference.assimilation import (
    Analysis,
    CycledFourDVar,
    EnKF,
    FourDVar,
    IEnKS,
    Observations,
    ThreeDVar,
    assimilate,
    climate,
    direct,
    errors_in_time,
    finite_size,
    gaspari_cohn,
    local,
    matrix_free,
    periodic_distances,
    perturbed_observations,
    problem,
    score,
    square_root,
    twin_experiment,
)
from jaxpbdl.inference.assimilation.variational import Window
from jaxpbdl.solvers.time import explicit

KEY = jax.random.key(0)
SIZE = 8
STEP = explicit(Lorenz96(size=SIZE).rates, 0.05)


def every_other(state):
    return state[::2]


def setting(interval=2):
    start = 3 + jnp.arange(float(SIZE))
    return problem(STEP, Observations(every_other, 0.5, interval), start, 0.5)


@pytest.mark.x64
def test_the_gradient_of_a_window():
    """Through the model and the operator against central differences, and the adjoint against the
    tangent-linear model."""
    case = problem(
        explicit(Lorenz96(size=SIZE).rates, 0.05),
        Observations(lambda state: state[::2] ** 2, 0.5, 3),
        3 + jnp.arange(float(SIZE)),
        0.5,
    )
    twin = twin_experiment(case, 3, KEY)
    method = FourDVar(0.3 * jnp.eye(SIZE), 3, overlapping=True, model_error=0.1 * jnp.eye(SIZE))
    observed = case.observations.scaled(twin.observed)
    window = Window(jnp.asarray(2), case.start(), observed)

    def residual(control):
        return method.residual(case, window, method.states(case, window, control)[1])

    @jax.jit
    def cost(control):
        return 0.5 * jnp.sum(control**2) + 0.5 * jnp.sum(residual(control) ** 2)

    control = 0.1 * jax.random.normal(KEY, (4, SIZE))
    direction = jax.random.normal(jax.random.key(1), control.shape)
    slope = float(jnp.sum(jax.jit(jax.grad(cost))(control) * direction))
    h = 1e-5
    difference = float(cost(control + h * direction) - cost(control - h * direction)) / (2 * h)
    assert slope == pytest.approx(difference, rel=1e-6)

    @jax.jit
    def both(control, direction, other):
        value, tangent = jax.linearize(residual, control)
        (back,) = jax.linear_transpose(tangent, control)(other)
        return jnp.vdot(other, tangent(direction)), jnp.vdot(back, direction)

    ahead, back = both(control, direction, jax.random.normal(jax.random.key(2), (3 * SIZE // 2,)))
    assert float(ahead) == pytest.approx(float(back), rel=1e-10)


@pytest.mark.x64
def test_the_minimum_of_a_window():
    """After enough iterations the gradient of the cost is zero, with the Jacobian and without."""
    case = problem(
        explicit(Lorenz96(size=SIZE).rates, 0.05),
        Observations(lambda state: state[::2] ** 2, 0.5, 3),
        3 + jnp.arange(float(SIZE)),
        0.05,
    )
    observed = case.observations.scaled(twin_experiment(case, 1, KEY).observed)
    background = case.start()

    def cost(start):
        apart = observed[0] - case.measured(case.forecast(start))
        return 0.5 * jnp.sum((start - background) ** 2) / 0.05 + 0.5 * jnp.sum(apart**2)

    slope = jax.jit(jax.grad(cost))
    for increment in (direct, matrix_free(15)):
        method = FourDVar(0.05 * jnp.eye(SIZE), 2, 8, increment=increment)
        memory = method.start(case, KEY)
        # The first window has one interval: its start does not move on.
        memory, _ = jax.jit(lambda m, o, method=method: method.advance(case, m, o, KEY))(
            memory, observed[0]
        )
        assert np.abs(slope(memory.start)).max() < 1e-6 * np.abs(slope(background)).max()


def whole(state):
    return state


def methods():
    taper = gaspari_cohn(
        periodic_distances(jnp.arange(float(SIZE)), jnp.arange(float(SIZE)), SIZE), 2.0
    )
    return {
        "square root": EnKF(square_root, 8, 1.05, True),
        "local": EnKF(local(taper, Observations(whole, 0.5)), 4, 1.05),
        "finite size": EnKF(finite_size, 8),
        "smoother": IEnKS(8, 2, 2, 1.05, True),
        "cycled 4D-Var": CycledFourDVar(2, 2, 1.05),
    }


@pytest.mark.parametrize("name", methods())
def test_a_method_follows_the_truth(name):
    """Three truths: errors below half of those of the measurements, and as large as the method
    says."""
    case = problem(STEP, Observations(whole, 0.5), 3 + jnp.arange(float(SIZE)), 0.5)
    method = methods()[name]

    @jax.jit
    def run(key):
        first, second = jax.random.split(key)
        twin = twin_experiment(case, 150, first)
        return score(assimilate(method, case, twin.observed, second), twin.truth, 50)

    found = jax.vmap(run)(jax.random.split(jax.random.key(4), 3))
    assert np.all((found.rmse > 0.1) & (found.rmse < 0.5 * np.sqrt(0.5))), found
    assert 0.7 < float(jnp.mean(found.spread) / jnp.mean(found.rmse)) < 1.6, found


def test_members_of_a_batch_are_single_runs():
    """`vmap` over twin experiments is a loop over them; one key gives the same numbers, another
    key others; compiled or not."""
    case, method = setting(), EnKF(perturbed_observations, 4, 1.02)

    def run(key):
        first, second = jax.random.split(key)
        twin = twin_experiment(case, 5, first)
        return assimilate(method, case, twin.observed, second).mean

    keys = jax.random.split(KEY, 2)
    together = jax.jit(jax.vmap(run))(keys)
    alone = [jax.jit(run)(key) for key in keys]
    np.testing.assert_allclose(together, alone, rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(jax.jit(run)(keys[0]), alone[0])
    np.testing.assert_allclose(run(keys[0]), alone[0], rtol=2e-3, atol=2e-3)
    assert np.abs(alone[0] - alone[1]).max() > 0.1


def test_scores():
    truth = {"a": jnp.zeros((3, 2)), "b": jnp.ones((3, 1, 1))}
    mean = {"a": jnp.array([[9.0, 9], [1, 2], [0, 0]]), "b": jnp.full((3, 1, 1), 3.0)}
    deviation = {"a": jnp.full((3, 2), 2.0), "b": jnp.full((3, 1, 1), 1.0)}
    found = errors_in_time(Analysis(mean, deviation), truth)
    np.testing.assert_allclose(found.rmse[1:], [np.sqrt(9 / 3), np.sqrt(4 / 3)], rtol=1e-6)
    np.testing.assert_allclose(found.spread, np.sqrt(9 / 3), rtol=1e-6)
    total = score(Analysis(mean, deviation), truth, 1)
    assert float(total.rmse) == pytest.approx((np.sqrt(3) + np.sqrt(4 / 3)) / 2)
    with pytest.raises(ValueError, match="burn_in must be below 3, the analyses, got 3"):
        score(Analysis(mean, deviation), truth, 3)


def test_the_climate():
    """Of a rotation by right angles: mean zero, variances of a half of the squared radius."""

    def turn(state):
        return jnp.array([-state[1], state[0]])

    found = climate(turn, jnp.array([3.0, 0.0]), 40, 3)
    np.testing.assert_allclose(found.mean, 0, atol=1e-6)
    np.testing.assert_allclose(found.covariance, 4.5 * 40 / 39 * np.eye(2), atol=1e-5)


def test_gaspari_and_cohn():
    """Values worked out from both pieces; continuous with its slope where they meet; the
    convolution of two cones, by which it is defined, is positive definite."""
    r = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
    expected = [1, 1 - 5 / 12 + 5 / 64 + 1 / 32 - 1 / 128, 5 / 24, 19 / 1152, 0, 0]
    np.testing.assert_allclose(gaspari_cohn(jnp.asarray(3 * r), 3.0), expected, atol=1e-6)
    near = jnp.array([0.9999, 1.0001, 1.9999])
    slope = jax.jit(jax.vmap(jax.grad(lambda d: gaspari_cohn(d, 1.0))))(near)
    assert float(slope[0]) == pytest.approx(float(slope[1]), abs=1e-3)
    assert float(slope[2]) == pytest.approx(0, abs=1e-3)
    assert float(gaspari_cohn(jnp.array([1e6]), np.inf)[0]) == 1
    apart = periodic_distances(jnp.arange(40.0), jnp.arange(40.0), 40.0)
    assert np.linalg.eigvalsh(np.asarray(gaspari_cohn(apart, 7.0), float)).min() > -1e-5


def test_distances_on_a_circle():
    found = periodic_distances(jnp.array([0.0, 9.0]), jnp.array([1.0, 5.0, 8.0]), 10.0)
    np.testing.assert_allclose(found, [[1, 5, 2], [2, 4, 1]])


def test_bad_input():
    case = setting()
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        EnKF(square_root, 1)
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        IEnKS(1)
    for make in (lambda i: EnKF(square_root, 4, i), lambda i: CycledFourDVar(1, 1, i)):
        with pytest.raises(ValueError, match="inflation must be >= 1, got 0.9"):
            make(0.9)
    with pytest.raises(ValueError, match=r"observed must have shape \(times, 4\), got \(3, 5\)"):
        assimilate(EnKF(square_root, 4), case, jnp.zeros((3, 5)), KEY)
    with pytest.raises(ValueError, match=r"covariance must be finite and > 0, got 0"):
        Observations(every_other, 0.0)
    with pytest.raises(ValueError, match="must be positive definite, got a smallest eigenvalue"):
        Observations(every_other, jnp.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="covariance must be symmetric"):
        Observations(every_other, jnp.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="must be positive semi-definite, got a smallest"):
        ThreeDVar(jnp.diag(jnp.array([1.0, -1.0])))
    with pytest.raises(ValueError, match=r"covariance must have shape \(8, 8\), got \(3, 3\)"):
        problem(STEP, case.observations, case.mean, jnp.eye(3))
    with pytest.raises(ValueError, match="the operator must give a vector"):
        problem(STEP, Observations(jnp.sum, 1.0), case.mean, 1.0)
    with pytest.raises(ValueError, match="radius must be > 0, got 0.0"):
        gaspari_cohn(jnp.ones(2), 0.0)
    with pytest.raises(ValueError, match=r"taper must lie in \[0, 1\]"):
        local(jnp.full((8, 4), 1.5), case.observations)
    with pytest.raises(ValueError, match="local needs independent errors"):
        local(jnp.ones((8, 4)), Observations(every_other, jnp.eye(4)))
    with pytest.raises(ValueError, match="lag must be an integer >= 1, got 0"):
        FourDVar(jnp.eye(8), 0)
    with pytest.raises(ValueError, match="iterations must be an integer >= 1, got 0"):
        IEnKS(4, 1, 0)
