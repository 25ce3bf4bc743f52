"""Generative toys: floors against their published values, gaps that are known, a tiny run."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.generative import toys
from jaxpbdl.experiments.generative.toys import EXPERIMENT, Config, Held, MeanLoss, methods


def test_floors():
    """The published ones, that of the likelihood with the whole of log(2 pi). The one of diffusion
    was given as 0.0587."""
    found = [toys.flow_floor(), toys.score_floor(), toys.diffusion_floor(), toys.matching_floor()]
    for value, floor, error in zip(
        found, (1.8985 + 0.9189, 195.44, 0.0587, 2.0237), (1e-4, 0.01, 1e-3, 1e-4), strict=True
    ):
        assert value == pytest.approx(floor, abs=error)
    samples = toys.mixture().sample(jax.random.key(0), 40_000)
    values = -jax.jit(jax.vmap(toys.mixture().log_density))(samples)
    assert found[0] == pytest.approx(float(values.mean()), abs=4 * float(values.std()) / 200)


def test_a_known_gap():
    """A velocity that is off by 0.3 in one of two components, a density of another deviation."""
    known = methods(Config())
    samples = toys.mixture().sample(jax.random.key(0), 20_000)
    keys = jax.random.split(jax.random.key(1), len(samples))

    def off(y, t, condition):
        return toys.exact_velocity(y, t) + jnp.array([0.3, 0.0])

    held = Held(known["matching"].loss, samples, keys)
    gap = float(toys._excess(off, toys.exact_velocity, held))
    assert gap == pytest.approx(0.045, abs=0.01)
    assert float(toys._excess(toys.exact_velocity, toys.exact_velocity, held)) == 0

    only = toys.gen.GaussianMixture([1.0], [[1.5, 1.0]], [1.5])
    held = Held(known["flow"].loss, samples, keys)
    # E|x - mean|^2 is 2.875 + 1.625.
    expected = 4.5 / (2 * 1.5**2) + np.log(2 * np.pi * 1.5**2) - toys.flow_floor()
    assert float(toys._excess(only, toys.mixture(), held)) == pytest.approx(expected, abs=0.03)


def test_exact_models_have_the_floors_as_losses():
    """All that a method is judged by belongs together: data, loss, exact model and floor."""
    samples = toys.mixture().sample(jax.random.key(2), 30_000)
    keys = jax.random.split(jax.random.key(3), len(samples))
    for name, method in methods(Config()).items():
        values = Held(method.loss, samples, keys).each(method.exact)
        near = 4 * float(values.std()) / len(values) ** 0.5
        assert float(values.mean()) == pytest.approx(method.floor(), abs=near), name
    some, key = samples[:7], jax.random.key(4)
    each = [
        method.loss(method.exact, x, k) for x, k in zip(some, jax.random.split(key, 7), strict=True)
    ]
    mean = MeanLoss(method.loss)(method.exact, some, key)
    np.testing.assert_allclose(mean, np.mean(each), rtol=1e-5)


@pytest.mark.stand_ins
def test_gaps_and_distances_of_members(tmp_path, monkeypatch):
    """Numbers for models: gaps are the numbers, distances those of their samples; true samples are
    their own keys."""
    method = toys.Method(None, None, "exact", None, lambda: 2.0, SimpleNamespace(), 10, "a note")
    monkeypatch.setattr(toys, "methods", lambda config: {"flow": method, "score": method})
    histories = [SimpleNamespace(loss=np.full(2, i), seconds=4.0 + i) for i in range(3)]
    monkeypatch.setattr(toys, "train", lambda *_: ("stacked", histories))
    monkeypatch.setattr(toys, "member", lambda stacked, index: [1.0, 5.0, 3.0][index])
    monkeypatch.setattr(toys, "Held", lambda *_: "held")
    monkeypatch.setattr(toys, "_excess", lambda model, exact, held: model)
    monkeypatch.setattr(toys, "_drawn", lambda sample, model, keys: model)
    true = iter([None, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])  # the first is the test sample
    mixed = SimpleNamespace(sample=lambda key, count: next(true))
    monkeypatch.setattr(toys, "mixture", lambda: mixed)
    monkeypatch.setattr(toys, "_distances", lambda x, y: (x - y, 10 * (x - y)))
    monkeypatch.setattr(toys, "_picture", lambda *_: None)
    found = toys.run(Config(members=3), tmp_path)
    expected = {
        "truth.mmd": np.sqrt((1 + 4 + 9 + 16 + 25) / 5), "truth.wasserstein": 30,
        "flow.nll": 5, "score.loss": 5,
    } | {
        f"{name}.{what}": value for name in ("flow", "score") for what, value in {
            "floor": 2, "gap": 3, "largest_gap": 5, "mmd": 3, "wasserstein": 30, "seconds": 4,
        }.items()
    }  # fmt: skip
    assert found.metrics == pytest.approx(expected)
    assert set(found.histories) == {f"{n}_{i}" for n in ("flow", "score") for i in range(3)}


def test_a_tiny_run(tmp_path):
    """Little training of small networks, of one method."""
    config = Config(
        methods=("matching",), members=2, validation=200, test=2000, drawn=200, data=2000,
        matching_updates=200, width=16, learning_rate=1e-2,
    )  # fmt: skip
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    metrics = result["metrics"]
    assert 0 < metrics["matching.gap"] < 0.4
    total = metrics["matching.floor"] + metrics["matching.gap"]
    assert metrics["matching.loss"] == pytest.approx(total, rel=1e-6)
    assert metrics["matching.largest_gap"] >= metrics["matching.gap"]
    assert metrics["truth.mmd"] < 0.02 and metrics["matching.wasserstein"] < 1
    assert {"matching_0", "matching_1"} == set(result["histories"])
    assert result["published"]["matching.loss"]["value"] == 2.044
    assert (tmp_path / "samples.png").stat().st_size > 5000


def test_bad_input():
    with pytest.raises(ValueError, match="methods must be among flow, score, .*, got 'gan'"):
        Config(methods=("flow", "gan"))
    with pytest.raises(ValueError, match="drawn must be an integer >= 2, got 1"):
        Config(drawn=1)
