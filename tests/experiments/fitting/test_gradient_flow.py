"""Gradient counts, the book's example, paths and a tiny run."""

import json
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.fitting import gradient_flow as experiment
from jaxpbdl.experiments.fitting.gradient_flow import EXPERIMENT, METHODS, TABLE, Config
from jaxpbdl.learning.gradient_flows import runge_kutta


def bowl(x):
    return jnp.sum(jnp.asarray([1.0, 4.0]) * x**2)


@pytest.mark.x64
def test_the_book_is_reproduced():
    found = experiment.book_example()
    for name, printed in TABLE.items():
        x0, x1, distance, alignment = found[name]
        np.testing.assert_allclose([x0, x1, alignment], np.take(printed, [0, 1, 3]), rtol=2e-6)
        assert distance == pytest.approx(printed[2], abs=6e-3)
    # Newton's and the inverse way by hand.
    assert found["b18_newton"][0] == pytest.approx(3 * (2 / 3) ** 10)
    assert found["b18_newton"][1] == pytest.approx(3 * (8 / 9) ** 10)
    assert found["b18_inverse"][1] == pytest.approx(3 * 0.7**5)


@pytest.mark.x64
def test_no_update_exceeds_the_gradients():
    """21 gradients are five updates of four; the loss is noted at the gradients spent before."""
    method = experiment.Method(runge_kutta, (0.1,))
    start = jnp.asarray([1.0, -1.0])
    run = experiment.train(method, jnp.asarray(0.1), bowl, bowl, start, 21)
    assert run.spent == 20
    noted = np.flatnonzero(~np.isnan(run.losses))
    np.testing.assert_array_equal(noted, [0, 4, 8, 12, 16, 20])
    z = -0.1 * np.asarray([2.0, 8.0])
    factor = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    np.testing.assert_allclose(run.model, start * factor**5, rtol=1e-12)
    assert run.losses[20] == pytest.approx(float(bowl(run.model)))
    # A half-inverse update counts twice.
    twice = experiment.Method(optax.sgd, (0.1,), True)
    run = experiment.train(twice, jnp.asarray(0.1), bowl, bowl, start, 21)
    assert run.spent == 20 and run.model[0] == pytest.approx(0.8**10)
    line = experiment.held(np.asarray([3.0, np.nan, np.nan, 1.0, np.nan]))
    np.testing.assert_array_equal(line, [3, 3, 3, 1, 1])


@pytest.mark.x64
def test_loss_and_error_of_a_network_of_zeros():
    problem = experiment.poisson(64)
    network = jax.tree.map(jnp.zeros_like, experiment._network(Config(width=4, depth=1), 0))
    assert problem.loss(network) == pytest.approx(1)
    assert problem.error(network) == pytest.approx(1)
    inverted, plain = (jax.grad(f)(network) for f in (problem.inverted, problem.loss))
    # The outer bias alone moves a field of zeros, in both.
    for gradient in (inverted, plain):
        assert float(jnp.abs(gradient.biases[-1][0])) > 0
    assert problem.inverted(network) == pytest.approx(1)


@pytest.mark.x64
def test_bits_are_compared():
    start = {"x": jnp.asarray([1.0, -1.0])}

    def loss(x):
        return bowl(x["x"])

    assert experiment.bits_equal(loss, start, 20) == 1
    # Were the step longer, the bits would differ.
    longer = experiment.gradient_flow
    try:
        experiment.gradient_flow = lambda loss, dt: longer(loss, dt * (1 + 1e-12))
        assert experiment.bits_equal(loss, start, 20) == 0
    finally:
        experiment.gradient_flow = longer


@pytest.mark.stand_ins
def test_the_last_network_chooses_and_the_others_count(monkeypatch):
    """A model is a pair of loss and error. The last network is best at the second size; the
    others, whose numbers count, would do better at the third."""
    sizes = (0.1, 0.2, 0.3, 0.4)
    losses = jnp.asarray([[1.0, 2.0, 3.0], [5.0, 9.0, 4.0], [7.0, 6.0, 8.0]])

    def train(method, size, loss, driver, network, gradients):
        assert driver == "plain" and gradients == 20
        if network == 3:  # a loss that is no number is no smallest one
            model = jnp.asarray({0.1: 5.0, 0.2: 3.0, 0.3: 4.0, 0.4: np.nan}[round(float(size), 1)])
            return experiment.Trained(jnp.stack([model, 0.0]), None, None, None, None)
        assert float(size) == pytest.approx(0.2)
        line = jnp.full(20, jnp.nan).at[jnp.asarray([0, 2, 5])].set(losses[network])
        model = jnp.stack([losses[network, 2], 10.0 + network])
        return experiment.Trained(model, None, line, None, None)

    class Problem:
        inverted = "inverted"
        loss = "plain"
        error = staticmethod(lambda model: model[1])

    class Loss(str):
        def __call__(self, model):
            return model[0]

    Problem.loss = Loss("plain")
    monkeypatch.setattr(experiment, "train", train)
    clock = iter([1.0, 4.0, 10.0, 12.0, 20.0, 27.0])
    timer = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(experiment, "time", timer)
    config = Config(gradients=20)
    method = experiment.Method(optax.sgd, sizes)
    found, lines = experiment._compared(config, Problem, method, [0, 1, 2, 3])
    assert found.pop("seconds") == 3.0
    assert found == {
        "loss": 4.0, "worst_loss": 8.0, "early_loss": 6.0, "relative_l2": 11.0, "dt": 0.2,
    }  # fmt: skip
    assert lines.shape == (3, 20)
    np.testing.assert_array_equal(lines[:, [0, 1, 2, 4, 5, 19]], losses[:, [0, 0, 1, 1, 2, 2]])


def test_the_valley():
    """Level on its floor, and of known height beside it."""
    assert float(experiment.rosenbrock(jnp.asarray([1.0, 1.0]))) == 0
    assert float(experiment.rosenbrock(jnp.asarray([3.0, 8.0]))) == 4 + 10


def test_distance_from_a_path():
    exact = np.stack([np.linspace(0, 1, 4), np.zeros(4)], axis=1)
    path = np.asarray([[0.0, 0.01], [0.5, -0.2], [1.0, 0.0]])
    assert experiment.off_path(path, exact) == pytest.approx(0.2)


def test_a_tiny_run(tmp_path):
    config = Config(seeds=1, width=4, depth=1, points=8, gradients=100, updates=20)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["sgd.bits_equal"] == 1
    assert metrics["b18.largest_difference"] < 1e-6
    for name, method in METHODS.items():
        assert 0 < metrics[f"{name}.loss"] < math.inf
        assert metrics[f"{name}.dt"] in method.sizes
    assert metrics["implicit.loss"] < metrics["implicit.early_loss"]
    # Order shows on the landscape.
    assert metrics["kutta.off_path"] < metrics["heun.off_path"] < 0.3 * metrics["euler.off_path"]
    assert metrics["momentum.off_path"] > 0.1
    assert (tmp_path / "gradient_flow.png").exists()


def test_bad_input():
    with pytest.raises(ValueError, match="gradients must be an integer >= 20, got 5"):
        Config(gradients=5)
    with pytest.raises(ValueError, match="width must be an integer >= 1, got 0"):
        Config(width=0)
