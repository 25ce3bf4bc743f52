"""Integrators of the gradient flow as optimisers: order, exactness on quadratics, descent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from jaxpbdl.learning import fit
from jaxpbdl.learning.gradient_flows import (
    HEUN,
    KUTTA,
    adaptive_heun,
    exponential_euler,
    implicit_euler,
    runge_kutta,
)
from jaxpbdl.learning.gradient_flows.exponential import lanczos
from jaxpbdl.learning.gradient_flows.implicit import conjugate_gradients
from jaxpbdl.networks import Dense

START = {"a": np.asarray([1.0]), "b": np.asarray(-2.0)}
COST = {"heun": 2, "kutta": 4, "exponential": 5}


def valley(theta):
    """Convex and not quadratic."""
    x, y = theta["a"][0], theta["b"]
    return 1.5 * x**2 + x * y + y**2 + 0.2 * x**4 + 0.1 * y**4


def rosenbrock(theta):
    x, y = theta["a"][0], theta["b"]
    return (1 - x) ** 2 + 10 * (y - x**2) ** 2


def exact(time):
    gradient = jax.jit(jax.grad(lambda x: valley({"a": x[:1], "b": x[1]})))
    path = solve_ivp(
        lambda _, x: -np.asarray(gradient(x)), (0, time), [1.0, -2.0], rtol=1e-11, atol=1e-12
    )
    return path.y[:, -1]


def optimiser(name, dt):
    return {
        "heun": lambda: runge_kutta(dt, HEUN),
        "kutta": lambda: runge_kutta(dt, KUTTA),
        "exponential": lambda: exponential_euler(dt, 2),
        "implicit": lambda: implicit_euler(dt, newton_steps=8, products=2, tolerance=1e-9),
        "adaptive": lambda: adaptive_heun(1e-3, dt),
    }[name]()


def step(method, theta, state, loss=valley):
    value, gradient = jax.value_and_grad(loss)(theta)
    changes, state = method.update(
        gradient, state, theta, value=value, grad=gradient, value_fn=loss
    )
    return optax.apply_updates(theta, changes), state


def path(name, dt, updates, loss=valley, start=START):
    """All parameters and the last state; dt is an argument of what is compiled."""
    method = optimiser(name, dt)
    start = jax.tree.map(jnp.asarray, start)

    def body(carry, _):
        carry = step(method, *carry, loss)
        return carry, carry[0]

    (_, state), thetas = jax.lax.scan(body, (start, method.init(start)), length=updates)
    return thetas, state


def vector(thetas):
    return np.concatenate([np.asarray(thetas["a"])[-1], np.asarray(thetas["b"])[-1:]])


@pytest.mark.x64
@pytest.mark.parametrize(
    ("name", "order"), [("heun", 2), ("kutta", 4), ("exponential", 2), ("implicit", 1)]
)
def test_order_towards_the_exact_flow(name, order):
    errors = []
    for updates in (40, 80):
        run = jax.jit(lambda dt, updates=updates: path(name, dt, updates))
        thetas, state = run(1 / updates)
        errors.append(np.abs(vector(thetas) - exact(1.0)).max())
        if name in COST:
            assert state.gradients == COST[name] * updates
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)


def quadratic(size=6):
    """A matrix of condition 1e4, a start, and the loss."""
    generator = np.random.default_rng(0)
    turn, _ = np.linalg.qr(generator.normal(size=(size, size)))
    matrix = turn @ np.diag(np.geomspace(1e-2, 1e2, size)) @ turn.T
    return matrix, generator.normal(size=size), lambda x: x @ jnp.asarray(matrix) @ x / 2


@pytest.mark.x64
def test_steps_on_a_quadratic_against_dense_matrices():
    matrix, start, loss = quadratic()
    one = np.eye(len(start))

    @jax.jit
    def steps(dt):
        methods = (
            implicit_euler(dt, newton_steps=1, products=12, tolerance=1e-12),
            exponential_euler(dt, 6),
        )
        return [step(each, jnp.asarray(start), each.init(start), loss) for each in methods]

    for dt in (1e-3, 1.0, 1e3):
        (implicit, state), (exponential, _) = steps(dt)
        np.testing.assert_allclose(
            implicit, np.linalg.solve(one + dt * matrix, start), rtol=1e-6, atol=1e-9
        )
        np.testing.assert_allclose(exponential, expm(-dt * matrix) @ start, rtol=1e-5, atol=1e-8)
        # The given gradient, products, and the one try of a whole step.
        assert 2 + 2 * 1 <= state.gradients <= 2 + 2 * 12


@pytest.mark.x64
def test_descent_at_any_dt():
    """Implicit Euler does not raise a loss, whatever its dt, also where it is not convex."""
    for loss, start in ((valley, START), (rosenbrock, {"a": np.asarray([-1.2]), "b": 1.0})):
        run = jax.jit(lambda dt, loss=loss, start=start: path("implicit", dt, 12, loss, start)[0])
        for dt in (1e-2, 1.0, 1e6):
            thetas = run(dt)
            values = np.concatenate([[loss(start)], jax.vmap(loss)(thetas)])
            assert np.all(np.diff(values) <= 1e-12 * values[:-1])
            assert values[-1] < 0.9 * values[0]
        assert values[-1] < 1e-6  # the last is Newton's method


@pytest.mark.x64
def test_curvature_at_a_saddle():
    """Of x^2 - y^2 / 2 from (1, 1): y grows like exp(t), or goes away at the pace of exp(-t)."""

    def saddle(x):
        return x[0] ** 2 - x[1] ** 2 / 2

    start, dt = jnp.asarray([1.0, 1.0]), 0.7
    for curvature, y in ((lambda w: w, np.exp(dt)), (jnp.abs, 2 - np.exp(-dt))):
        method = exponential_euler(dt, 2, curvature=curvature)
        theta, _ = step(method, start, method.init(start), saddle)
        np.testing.assert_allclose(theta, [np.exp(-2 * dt), y], rtol=1e-10)


@pytest.mark.x64
def test_krylov_space_that_ends_early():
    matrix, _, _ = quadratic()
    _, vectors = np.linalg.eigh(matrix)
    start = vectors[:, 1] + 2 * vectors[:, 4]
    basis, small = lanczos(lambda v: jnp.asarray(matrix) @ v, jnp.asarray(start), 4)
    np.testing.assert_allclose(basis[:2] @ basis[:2].T, np.eye(2), atol=1e-12)
    np.testing.assert_array_equal(basis[2:], 0)
    found = np.linalg.eigvalsh(small[:2, :2])
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix)[[1, 4]], rtol=1e-9)
    assert np.all(small[2:] == 0)
    basis, small = lanczos(lambda v: jnp.asarray(matrix) @ v, jnp.ones(6), 6)
    np.testing.assert_allclose(basis @ matrix @ basis.T, small, atol=1e-9)


@pytest.mark.x64
def test_conjugate_gradients_end_at_negative_curvature():
    b = jnp.asarray([1.0, 1e-3])
    x, used = conjugate_gradients(lambda v: jnp.asarray([-1.0, 1.0]) * v, b, 5, 1e-8)
    np.testing.assert_array_equal(x, b)
    assert used == 1
    x, used = conjugate_gradients(lambda v: jnp.asarray([1.0, -1e-3]) * v, b[::-1] + 1, 5, 1e-8)
    assert used == 2 and np.all(np.isfinite(x)) and float(x @ (b[::-1] + 1)) > 0
    x, used = conjugate_gradients(lambda v: jnp.asarray([1.0, 4.0]) * v, b, 5, 1e-8)
    np.testing.assert_allclose(x, b / jnp.asarray([1.0, 4.0]), rtol=1e-6)
    assert used == 2


@pytest.mark.x64
def test_the_step_follows_the_error():
    run = jax.jit(lambda tolerance: path("adaptive", tolerance, 200))
    errors = []
    for tolerance in (1e-3, 1e-5):
        thetas, state = run(tolerance)
        time = float(state.time)
        assert state.gradients == 400
        errors.append(np.abs(vector(thetas) - exact(min(time, 50.0))).max())
        assert np.all(np.diff(jax.vmap(valley)(thetas)) <= 1e-6)  # near its end it wavers
    assert errors[1] < 0.1 * errors[0] < 1e-3  # in proportion to the tolerance
    # A dt that is too large is not taken, and is a fifth the next time.
    method = adaptive_heun(10.0, 1e-3)
    start = jax.tree.map(jnp.asarray, START)
    theta, state = step(method, start, method.init(start))
    jax.tree.map(np.testing.assert_array_equal, theta, start)
    assert state.rejected == 1 and state.time == 0
    assert state.dt == pytest.approx(2.0)
    # A first step of Heun, its error and the next dt, by hand.
    method = adaptive_heun(0.01, 3e-3)
    theta, state = step(method, start, method.init(start))
    first = jax.grad(valley)(start)
    second = jax.grad(valley)(jax.tree.map(lambda x, g: x - 0.01 * g, start, first))
    change = [np.ravel(0.005 * (first[k] - second[k])) for k in "ab"]
    error = np.sqrt(np.mean(np.concatenate(change) ** 2))
    assert state.dt == pytest.approx(0.01 * min(2.0, 0.9 * np.sqrt(3e-3 / error)))
    assert theta["b"] == pytest.approx(float(-2.0 - 0.005 * (first["b"] + second["b"])))


def test_in_fit():
    """Trees with parts that are no arrays, float32, batches that change."""

    def loss(network, batch):
        return jnp.mean((jax.vmap(network)(batch) - jnp.sin(2 * batch)) ** 2)

    def batches(key):
        return jax.random.uniform(key, (16, 1))

    network = Dense((1, 6, 1), key=jax.random.key(0))
    _, history = fit(
        network,
        loss,
        batches,
        implicit_euler(3.0),
        40,
        key=jax.random.key(1),
        chunk=40,
        progress=False,
    )
    assert np.mean(history.loss[-5:]) < 0.2 * np.mean(history.loss[:2])


def test_jit_changes_nothing():
    for name in ("heun", "exponential", "implicit", "adaptive"):
        method = optimiser(name, 0.1)
        start = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), START)
        state = method.init(start)
        eager, _ = step(method, start, state)
        compiled, _ = jax.jit(lambda t, s, method=method: step(method, t, s))(start, state)
        assert compiled["b"].dtype == jnp.float32
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), eager, compiled)


def test_bad_input():
    for make in (runge_kutta, adaptive_heun, exponential_euler, implicit_euler):
        with pytest.raises(ValueError, match="dt must be finite and > 0, got 0"):
            make(0.0)
        method = make(0.1)
        with pytest.raises(ValueError, match="needs params and value_fn"):
            method.update(START, method.init(START))
    for make in (adaptive_heun, implicit_euler):
        with pytest.raises(ValueError, match="tolerance must be finite and > 0, got -1"):
            make(0.1, tolerance=-1.0)
    with pytest.raises(ValueError, match="vectors must be an integer >= 1, got 0"):
        exponential_euler(0.1, 0)
    for name in ("newton_steps", "products"):
        with pytest.raises(ValueError, match=f"{name} must be an integer >= 1, got 0"):
            implicit_euler(0.1, **{name: 0})
    with pytest.raises(ValueError, match="implicit_euler needs value"):
        method = implicit_euler(0.1)
        method.update(START, method.init(START), START, value_fn=valley)
