"""`minimise` against minima that are known, in every unit and both precisions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.inference import minimise
from jaxpbdl.networks import Dense


def rosenbrock(at):
    return (1 - at["x"]) ** 2 + 100 * (at["y"] - at["x"] ** 2) ** 2


@pytest.mark.x64
@pytest.mark.parametrize("factor", [1.0, 1e-9, 1e9])
def test_rosenbrock(factor):
    found = minimise(lambda at: factor * rosenbrock(at), {"x": -1.2, "y": 1})
    assert bool(found.converged) and int(found.steps) < 100
    assert float(found.argmin["x"]) == pytest.approx(1, abs=1e-6)
    assert float(found.argmin["y"]) == pytest.approx(1, abs=1e-6)
    assert float(found.value) < 1e-12 * factor
    assert float(found.gradient_norm) < 1e-5 * factor


def test_single_precision():
    found = minimise(rosenbrock, {"x": -1.2, "y": 1.0})
    assert found.argmin["x"].dtype == jnp.float32 and bool(found.converged)
    assert float(found.argmin["x"]) == pytest.approx(1, abs=2e-2)


@pytest.mark.x64
def test_parameters_of_very_different_sizes():
    """The second is 1e-6, and the tolerance is no absolute one."""

    def loss(at):
        return (at["large"] / 3e5 - 1) ** 2 + (at["small"] / 2e-6 - at["large"] / 3e5) ** 2

    found = minimise(loss, {"large": 1e5, "small": 1e-6})
    assert float(found.argmin["large"]) == pytest.approx(3e5, rel=1e-6)
    assert float(found.argmin["small"]) == pytest.approx(2e-6, rel=1e-6)


@pytest.mark.x64
def test_many_parameters_by_limited_memory():
    weights = jnp.linspace(1, 100, 1500)
    found = minimise(lambda x: jnp.sum(weights * (x - 1) ** 2), jnp.zeros(1500))
    assert bool(found.converged)
    np.testing.assert_allclose(found.argmin, 1, atol=1e-6)


@pytest.mark.x64
def test_only_trainable_arrays_move():
    """A hybrid's network is fitted; its solver and the numbers within modules stay."""
    grid = jp.grids.Periodic(16, 1.0)
    solver = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.01), grid, 0.01)
    start = (solver, Dense((1, 4, 1), key=jax.random.key(0)), jnp.array(2.0), "a name")
    x = jnp.linspace(-1, 1, 20)[:, None]

    def loss(parts):
        _, network, offset, _ = parts
        return jnp.mean((jax.vmap(network)(x) + offset - jnp.sin(2 * x)) ** 2)

    with pytest.warns(UserWarning, match="did not converge"):
        found = minimise(loss, start, steps=200)
    assert eqx.tree_equal(found.argmin[0], solver) and found.argmin[3] == "a name"
    assert float(found.value) < 1e-4 < float(loss(start))
    assert float(found.argmin[2]) != 2.0


@pytest.mark.x64
def test_under_jit_vmap_and_grad():
    def argmin(a):
        return minimise(lambda x: (x - a) ** 2 + 0.1 * (x - a) ** 4 + a * x, 0.5).argmin

    places = jnp.array([0.3, 1.0, 4.0])
    found = jax.jit(jax.vmap(argmin))(places)
    np.testing.assert_allclose(2 * (found - places) + 0.4 * (found - places) ** 3, -places, 1e-6)
    slope = jax.vmap(jax.grad(argmin))(places)
    away = found - places
    np.testing.assert_allclose(slope, 1 - 1 / (2 + 1.2 * away**2), rtol=1e-6)


@pytest.mark.x64
def test_an_optimiser_of_optax():
    start = {"x": 0.0, "y": jnp.ones(2)}

    def loss(at):
        return (at["x"] - 3) ** 2 + jnp.sum(at["y"] ** 2)

    found = minimise(loss, start, optimiser=optax.sgd(0.2), steps=60)
    assert int(found.steps) == 60 and bool(found.converged)
    assert float(found.argmin["x"]) == pytest.approx(3, abs=1e-8)
    with pytest.warns(UserWarning, match="after 20 steps the loss is .* another learning rate"):
        found = minimise(loss, start, optimiser=optax.sgd(1e-9), steps=20)
    assert not bool(found.converged)  # short steps are no minimum
    assert float(found.gradient_norm) == pytest.approx(np.sqrt(36 + 8), rel=1e-6)


@pytest.mark.x64
def test_what_did_not_converge_is_said():
    with pytest.warns(UserWarning, match="did not converge: after 5 steps .* raise steps"):
        found = minimise(rosenbrock, {"x": -1.2, "y": 1.0}, steps=5)
    assert not bool(found.converged) and int(found.steps) == 5
    with pytest.warns(UserWarning, match="the loss is nan .* finite"):
        found = minimise(lambda x: jnp.log(x), -1.0, steps=5)
    assert not bool(found.converged)
    quiet = eqx.filter_jit(lambda: minimise(rosenbrock, {"x": -1.2, "y": 1.0}, steps=5))()
    assert not bool(quiet.converged)


def test_bad_input():
    with pytest.raises(ValueError, match=r"loss must give a real scalar, got float32\[2\]"):
        minimise(lambda x: x, jnp.ones(2))
    with pytest.raises(ValueError, match="at least one array of floats to fit, got none"):
        minimise(lambda x: 0.0, {"name": "a"})
    with pytest.raises(ValueError, match=r"start\['a'\] must be real, got complex64"):
        minimise(lambda x: 0.0, {"a": jnp.ones(2, jnp.complex64)})
    with pytest.raises(ValueError, match="steps must be an integer >= 1, got 0"):
        minimise(lambda x: x**2, 1.0, steps=0)
    with pytest.raises(ValueError, match="tolerance must be finite and > 0"):
        minimise(lambda x: x**2, 1.0, tolerance=0.0)
    with pytest.raises(TypeError, match="optimiser must be one of optax, .* got 0.1"):
        minimise(lambda x: x**2, 1.0, optimiser=0.1)
