"""What the experiments with control report of controllers and of shapes whose figures are known."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.control import burgers_control, drag_minimisation
from tests.experiments.fakes import Training, assert_same


def test_burgers_control(tmp_path, monkeypatch):
    """Every controller gives forces of one size and ends at a multiple of the target."""
    sizes = {"straight": 1.0, "planner": 2.0, "direct": 3.0, "optimised": 1.5, "hidden": 0.5}
    ends = {"straight": 1.0, "planner": 1.0, "direct": 0.75, "optimised": 1.0, "hidden": 1.0}
    steps, cells, tests = burgers_control.STEPS, burgers_control.CELLS, 4
    monkeypatch.setattr(burgers_control, "TESTS", tests)
    monkeypatch.setattr(burgers_control, "picture", lambda *_: None)

    def followed(name, target):
        forces = jnp.full((tests, steps, cells), sizes[name]).at[..., ::2].multiply(-1)
        states = jnp.broadcast_to(target[:, None], forces.shape).at[:, -1].multiply(ends[name])
        return states, forces

    def follow(controller, start, target):
        name = controller if isinstance(controller, str) else "straight"
        return followed(name, target)

    monkeypatch.setattr(burgers_control, "follow", follow)
    monkeypatch.setattr(
        burgers_control, "follow_all", lambda found, start, target: followed("hidden", target)
    )
    monkeypatch.setattr(
        burgers_control, "optimised", lambda _, f, start, target: followed("optimised", target)
    )
    config = burgers_control.Config(
        width=4,
        depth=1,
        training=replace(burgers_control.Config.training, batch=2, updates=3),
        descents=2,
    )
    trainings = []
    for factor in (1.0, 3.0):

        def tasks(key, count, factor=factor):
            values = np.random.default_rng(count).normal(size=(3, count, cells))
            return tuple(jnp.asarray(values * (factor if count == tests else 1.0)))

        monkeypatch.setattr(burgers_control, "tasks", tasks)
        trainings.append(Training(lambda name: name))
        monkeypatch.setattr(burgers_control, "train", trainings[-1])
        result = burgers_control.run(config, tmp_path)
        for name, size in sizes.items():
            total = pytest.approx(size * tests * steps * cells, rel=1e-6)
            assert result.metrics[f"{name}.total_force"] == total
            assert result.metrics[f"{name}.over_hidden"] == pytest.approx(size / 0.5)
            away = pytest.approx(1 - ends[name], abs=1e-6)
            assert result.metrics[f"{name}.relative_error"] == away
        assert set(result.histories) == {"planner", "direct"}
    assert_same(*trainings)
    # New tasks are drawn for each update, never the tests.
    batches = trainings[0].given["planner"][0][3]
    assert len(batches(jax.random.key(0))[0]) == 2


@pytest.mark.stand_ins
def test_drag_minimisation(tmp_path, monkeypatch):
    """A drag that is a parabola in the coefficients, and a gradient that is 1 % too large."""
    right = jnp.array([0.5, 0.0])

    def drag(stream, coefficients, start, steps):
        cosines, sines = coefficients
        return 3 + jnp.sum((cosines - right) ** 2) + jnp.sum(sines**2), start

    def slope(stream, coefficients, start, steps):
        value, change = jax.value_and_grad(lambda c: drag(stream, c, start, steps)[0])(coefficients)
        return (value, start), jax.tree.map(lambda part: 1.01 * part, change)

    step = SimpleNamespace(start=lambda velocity: None)
    stream = SimpleNamespace(dt=0.1, max_cut_faces=4, step=lambda coefficients, max_cut_faces: step)
    monkeypatch.setattr(drag_minimisation, "Stream", lambda config: stream)
    monkeypatch.setattr(drag_minimisation, "_drag", drag)
    monkeypatch.setattr(drag_minimisation, "_slope", slope)
    monkeypatch.setattr(drag_minimisation, "_picture", lambda *_: None)
    monkeypatch.setattr(drag_minimisation, "report", lambda *_: nullcontext(lambda *numbers: None))
    config = drag_minimisation.Config(waves=2, turns=60, learning_rate=0.05)
    result = drag_minimisation.run(config, tmp_path)
    found = result.metrics
    assert found["disc.drag"] == 3.25
    assert found["optimal.drag"] == pytest.approx(3, abs=2e-3)
    assert found["reduction"] == pytest.approx(1 - found["optimal.drag"] / 3.25, rel=1e-12)
    assert found["gradient.short"] == found["gradient.long"] == pytest.approx(0.01, rel=1e-4)
    assert found["area_error"] < 1e-12
    assert len(result.histories["drag"]) == 60 and result.histories["drag"][0] == 3.25
