"""Cuts and kept events: the exact expectations, the ways to look, a tiny run."""

import json
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.jets import counting, cut_and_count, kept_events
from jaxpbdl.experiments.jets.counting import Events, Search
from jaxpbdl.experiments.jets.cut_and_count import EXPERIMENT, Config, cells_of, summary
from jaxpbdl.experiments.jets.kept_events import Sample, Stream
from jaxpbdl.experiments.jets.significance import discovery_significance

pytestmark = pytest.mark.x64
SEARCH = Search(np.array([2.5, 1.5]), np.array([1.0, 0.5]), 200.0, 1e4, 0.1)
STREAM = Stream(np.array([1.0, 1.0, 0.5]), np.array([2.0, 1.0, 0.7]), 0.05, 0.02)


def test_the_significance_is_that_of_the_likelihood():
    """The likelihood ratio of the Asimov data, the background measured in a sample aside that is
    `b / d^2` times as large."""
    for s, b, d in ((10.0, 50.0, 7.0), (3.0, 1.0, 0.2), (200.0, 1e4, 900.0)):
        n, ratio = s + b, b / d**2
        m = ratio * b
        alone = (n + m) / (1 + ratio)
        half = n * np.log(n / alone) + m * np.log(m / (ratio * alone))
        np.testing.assert_allclose(discovery_significance(s, b, d), np.sqrt(2 * half), rtol=1e-9)
        known = np.sqrt(2 * ((s + b) * np.log(1 + s / b) - s))
        np.testing.assert_allclose(discovery_significance(s, b), known, rtol=1e-12)
        np.testing.assert_allclose(discovery_significance(s, b, 1e-5 * d), known, rtol=1e-5)
    small = discovery_significance(0.1, 1e4, 50.0)
    np.testing.assert_allclose(small, 0.1 / np.sqrt(1e4 + 2500), rtol=1e-4)
    slopes = jax.grad(lambda s, b, d: discovery_significance(s, b, d), argnums=(0, 1, 2))
    by_s, by_b, by_d = slopes(10.0, 50.0, 7.0)
    assert by_s > 0 > by_b and by_d < 0
    assert all(np.isfinite(each) for each in slopes(0.0, 50.0, 0.0))


def test_the_events_are_kept_as_expected():
    events, cuts = counting.draw(SEARCH, 40_000, np.random.default_rng(0)), np.array([2.0, 0.7])
    assert events.signal.min() >= 0
    found = counting.counted(SEARCH, events, cuts)
    assert found == pytest.approx(SEARCH.expected(cuts), rel=0.05)
    assert found != pytest.approx(SEARCH.expected(cuts[::-1]), rel=0.2)
    assert SEARCH.expected(np.array([-1.0, 0.7])) == SEARCH.expected(np.array([0.0, 0.7]))


def test_the_optimum_is_the_best_of_all():
    best = SEARCH.optimum()
    lines = [np.linspace(0, 4, 21)] * 2
    scan = max(SEARCH.expected(np.array(cuts)) for cuts in product(*lines))
    assert scan <= SEARCH.expected(best) < scan * 1.008
    for change in ([1e-2, 0], [-1e-2, 0], [0, 1e-2], [0, -1e-2]):
        assert SEARCH.expected(best + change) < SEARCH.expected(best)
    # An observable that tells nothing is not cut on.
    useless = SEARCH._replace(rates=np.array([1.0, 1e-3]))
    assert useless.optimum()[1] == 0


def test_the_grid_counts_all_its_cuts():
    events = counting.draw(SEARCH, 300, np.random.default_rng(1))
    edges = counting.places(events, 5)
    np.testing.assert_allclose(edges[1][0], np.quantile(events.signal[:, 1], 0.01))
    every = [np.array(cuts) for cuts in product(*edges)]
    counts = [counting.counted(SEARCH, events, cuts) for cuts in every]
    np.testing.assert_allclose(counting.by_grid(SEARCH, events, 5), every[int(np.argmax(counts))])
    for start in ([0.0, 0.0], [4.0, 2.0]):
        held = counting.one_at_a_time(SEARCH, events, np.array(start), 5)
        rivals = [
            np.where(np.arange(2) == axis, place, held)
            for axis in range(2)
            for place in edges[axis]
        ]
        reached = counting.counted(SEARCH, events, held)
        assert reached >= max(counting.counted(SEARCH, events, each) for each in rivals)
        assert reached > counting.counted(SEARCH, events, np.array(start))


def test_soft_counts_tend_to_hard_ones():
    events, cuts = counting.draw(SEARCH, 300, np.random.default_rng(2)), np.array([1.9, 0.8])
    softly = jax.jit(counting.softly_counted)
    hard = counting.counted(SEARCH, events, cuts)
    np.testing.assert_allclose(softly(SEARCH, events, jnp.asarray(cuts), 1e-5), hard, rtol=1e-4)
    assert abs(softly(SEARCH, events, jnp.asarray(cuts), 0.5) / hard - 1) > 0.05
    # An empty background counts as one event.
    alone = Events(events.signal, 0 * events.background)
    one = SEARCH.significance(np.mean((events.signal > cuts).all(axis=1)), 1 / 300)
    np.testing.assert_allclose(counting.counted(SEARCH, alone, cuts), one)
    candidates = [cuts, SEARCH.optimum(), cuts + 2]
    assert counting.best_of(SEARCH, events, candidates, 0.1) is candidates[1]


def test_the_gradient_finds_the_best_cuts():
    for seed in range(3):
        events = counting.draw(SEARCH, 3000, np.random.default_rng(seed))
        passed = counting.by_gradient(
            SEARCH, events, np.array([1.0, 0.5]), np.geomspace(0.5, 0.2, 60), 0.1
        )
        assert len(passed) == 20
        best = SEARCH.expected(SEARCH.optimum())
        assert SEARCH.expected(passed[-1]) > 0.95 * best > SEARCH.expected(passed[0])


def test_a_stream_keeps_what_is_expected():
    sample = kept_events.draw(STREAM, 200_000, np.random.default_rng(0))
    direction = np.array([0.1, 0.6, 0.4]) / np.linalg.norm([0.1, 0.6, 0.4])
    found = kept_events.counted(STREAM, sample, direction)
    assert found == pytest.approx(STREAM.signal_kept(direction), abs=4 * 0.5 / np.sqrt(10_000))
    assert STREAM.signal_kept(3 * direction) == pytest.approx(STREAM.signal_kept(direction))
    best = STREAM.optimum()
    for axis in range(3):
        for change in (-0.05, 0.05):
            aside = best + change * np.eye(3)[axis]
            assert STREAM.signal_kept(aside) < STREAM.signal_kept(best)
    few = Sample(np.array([[3.0], [2.0], [1.0], [0.0]]), np.array([False, True, True, False]))
    half = STREAM._replace(kept=0.5)
    assert kept_events.counted(half, few, np.array([1.0])) == 0.5
    assert kept_events.counted(half, few, np.array([-1.0])) == 0.5


def test_directions_of_a_sample():
    sample = kept_events.draw(STREAM, 4000, np.random.default_rng(1))
    first = kept_events.start(sample)
    expected = STREAM.mean / np.linalg.norm(STREAM.mean)
    np.testing.assert_allclose(first, expected, atol=0.2)
    found = kept_events.by_classifier(sample)
    # At the largest likelihood no change of scale or of the threshold along it pays, nor a turn.
    x = np.column_stack([sample.events @ found, np.ones(4000)]).astype(float)
    weights = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ weights))
        matrix = (x * (p * (1 - p))[:, None]).T @ x
        weights += np.linalg.solve(matrix, x.T @ (sample.signal - p))
    p = 1 / (1 + np.exp(-x @ weights))
    np.testing.assert_allclose(sample.events.T.astype(float) @ (sample.signal - p), 0, atol=1e-3)


def test_the_gradient_keeps_more_than_the_start():
    for seed in range(3):
        sets = [kept_events.draw(STREAM, 2000, np.random.default_rng([seed, i])) for i in (0, 1)]
        found = kept_events.by_gradient(STREAM, *sets, np.geomspace(1, 0.2, 40), 0.1)
        np.testing.assert_allclose(np.linalg.norm(found), 1)
        best = STREAM.signal_kept(STREAM.optimum())
        start = STREAM.signal_kept(kept_events.start(sets[0]))
        assert STREAM.signal_kept(found) > best - 0.3 * (best - start)


def test_grids_and_summaries():
    config = Config(cells=(10, 20), largest_grid=1000)
    assert cells_of(config, 2) == (10, 20) and cells_of(config, 3) == (10,)
    assert cells_of(config, 6) == (3,) and cells_of(config, 40) == (2,)
    figures = {"a.significance": [1.0, 3.0, 5.0], "a.seconds": [9.0, 1.0, 2.0]}
    metrics = summary(figures | {"exact.significance": [2.0, 2.0, 2.0]})
    assert metrics["a.significance"] == 3 and metrics["a.significance_spread"] == 2
    assert metrics["a.seconds"] == 2 and "exact.significance_spread" not in metrics


def test_the_time_of_a_look(monkeypatch):
    clock = iter([3.0, 5.5, 10.0, 11.0])
    monkeypatch.setattr(cut_and_count.time, "process_time", lambda: next(clock))
    figures = {}
    for place in (7.0, 8.0):
        found = cut_and_count.timed(figures, "a", lambda place=place: np.asarray([place]))
        assert found == place
    assert figures == {"a.seconds": [2.5, 1.0]}


@pytest.mark.stand_ins
def test_figures_of_the_cuts(monkeypatch):
    """Cuts that are off by 3 and 4; the test events judge, the validation chooses."""
    config = Config(repeats=2, events=50, cells=(5, 10))
    search = config.search(2)
    exact = search.optimum()
    off = {"gradient": [3.0, 4.0], "grid": [0.0, 1.0], "one_at_a_time": [1.0, 0.0]}
    sets = []

    def draw(search, events, random):
        sets.append(counting_draw(search, events, random))
        return sets[-1]

    counting_draw = counting.draw
    monkeypatch.setattr(counting, "draw", draw)
    monkeypatch.setattr(counting, "by_gradient", lambda *_: [exact + off["gradient"]])
    monkeypatch.setattr(counting, "by_grid", lambda s, e, cells: exact + cells * np.array([0, 1.0]))
    monkeypatch.setattr(
        counting, "one_at_a_time", lambda s, e, start, cells: exact + cells * np.array([1.0, 0])
    )

    def best_of(search, events, candidates, temperature):
        assert events is sets[-2]
        return candidates[-1]

    monkeypatch.setattr(counting, "best_of", best_of)
    figures, events, found = cut_and_count.cuts_of_all(config, 2, "_2", np.random.default_rng(0))
    assert len(sets) == 6 and events is sets[3] and set(found) == {*off, "exact"}
    expected = {"gradient": np.sqrt(25 / 2), "grid": 10 / 2**0.5, "one_at_a_time": 10 / 2**0.5}
    for name, error in (expected | {"exact": 0.0}).items():
        assert figures[f"{name}_2.cut_error"] == pytest.approx([error] * 2)
        exactly = search.expected(found[name])
        assert figures[f"{name}_2.significance"] == pytest.approx([exactly] * 2)
        for part, place in (("hard", 2), ("training", 0)):
            counts = [counting.counted(search, each, found[name]) for each in sets[place::3]]
            assert figures[f"{name}_2.{part}_significance"] == pytest.approx(counts)


@pytest.mark.stand_ins
def test_figures_of_the_kept_events(monkeypatch):
    """Directions at known angles from the best one."""
    config = Config(repeats=2, events=400)
    best = config.stream.optimum()
    aside = np.linalg.svd(best[None])[2][-1]
    turned = np.cos(0.3) * best + np.sin(0.3) * aside
    monkeypatch.setattr(kept_events, "by_gradient", lambda *_: turned)
    monkeypatch.setattr(kept_events, "by_classifier", lambda *_: -best)
    monkeypatch.setattr(kept_events, "start", lambda *_: aside)
    sizes = []

    def counted(stream, sample, direction):
        sizes.append(len(sample.events))
        return float(direction @ best)

    monkeypatch.setattr(kept_events, "counted", counted)
    figures = cut_and_count.kept_of_all(config, np.random.default_rng(0))
    angles = {"gradient": 0.3, "classifier": np.pi, "start": np.pi / 2, "exact": 0.0}
    for name, angle in angles.items():
        found = figures[f"kept_{name}.angle"]
        np.testing.assert_allclose(found, [np.degrees(angle)] * 2, atol=1e-4)
        assert figures[f"kept_{name}.hard_signal_kept"] == pytest.approx([np.cos(angle)] * 2)
    assert set(sizes) == {200}
    assert figures["kept_gradient.signal_kept"][0] == config.stream.signal_kept(turned)


def test_a_tiny_run(tmp_path):
    config = Config(
        many=3, events=2000, updates=40, learning_rate=0.1, cells=(5, 10), largest_grid=130
    )
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    for tag in ("", "_3"):
        best = metrics[f"exact{tag}.significance"]
        for method in ("gradient", "grid", "one_at_a_time"):
            assert 0.6 * best < metrics[f"{method}{tag}.significance"] < best, method
            assert metrics[f"{method}{tag}.seconds"] > 0 < metrics[f"{method}{tag}.cut_error"] < 2
        assert metrics[f"gradient{tag}.significance"] > 0.93 * best
        assert metrics[f"gradient{tag}.hard_significance"] == pytest.approx(best, rel=0.25)
        assert metrics[f"exact{tag}.cut_error"] == 0
    ratio = metrics["grid_3.seconds_at_finest"] / metrics["grid_3.seconds"]
    assert ratio == pytest.approx(8)
    best = metrics["kept_exact.signal_kept"]
    for method in ("gradient", "classifier", "start"):
        assert metrics[f"kept_{method}.signal_kept"] < best
    assert metrics["kept_gradient.signal_kept"] > metrics["kept_start.signal_kept"]
    assert metrics["kept_exact.angle"] < 1e-5 < metrics["kept_gradient.angle"] < 45
    assert (tmp_path / "cuts.png").stat().st_size > 5000


def test_bad_input():
    with pytest.raises(ValueError, match="background must be finite and > 0, got 0"):
        discovery_significance(1.0, 0.0)
    with pytest.raises(ValueError, match="signal must be finite and >= 0, got -1"):
        discovery_significance(-1.0, 1.0)
    with pytest.raises(ValueError, match="deviation must be finite and >= 0, got -1"):
        discovery_significance(1.0, 1.0, -1.0)
    with pytest.raises(ValueError, match="coldest must be finite and > 0, got 0"):
        Config(coldest=0.0)
    with pytest.raises(ValueError, match="updates must be an integer >= 20, got 10"):
        Config(updates=10)
