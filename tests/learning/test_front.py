"""The front of error against cost, with steps of known error and points of known cost."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.learning import front as fronts
from jaxpbdl.learning.front import Method, PayOff, Point, break_even_solves, front, pay_off

PLAIN = [
    Point("coarse", 0.1, 1.0),
    Point("middle", 0.01, 10.0),
    Point("dear and no better", 0.01, 20.0),
    Point("worse than coarse", 0.2, 1.5),
    Point("blown up", math.inf, 0.1),
    Point("fine", 0.001, 1000.0),
]


def test_the_front_holds_what_no_other_beats():
    assert [point.name for point in front(PLAIN[::-1])] == ["coarse", "middle", "fine"]
    same_cost = [Point("a", 0.2, 1.0), Point("b", 0.1, 1.0)]
    assert [point.name for point in front(same_cost)] == ["b"]
    same_error = [Point("a", 0.1, 2.0), Point("b", 0.1, 1.0)]
    assert [point.name for point in front(same_error)] == ["b"]


@pytest.mark.parametrize(
    ("error", "cost", "expected"),
    [
        (0.01, 2.0, PayOff(5.0)),  # that of `middle`
        (0.1, 1.0, PayOff(1.0)),
        (0.1 / 10**0.5, 1.0, PayOff(10**0.5)),  # slope -1 in the logarithms
        (0.01 / 10**0.5, 1.0, PayOff(100.0)),  # slope -2
        (0.0005, 10.0, PayOff(100.0, "at least")),
        (0.3, 2.0, PayOff(0.5, "at most")),
        (math.inf, 2.0, PayOff(0.0)),
        (math.nan, 2.0, PayOff(0.0)),
    ],
)
def test_pay_off_between_and_beyond_neighbours_of_the_front(error, cost, expected):
    found = pay_off(Point("hybrid", error, cost), PLAIN)
    assert found == (pytest.approx(expected.ratio), expected.bound)
    assert ("beyond the front" in str(found)) == bool(expected.bound)


def test_break_even():
    """At 0.01 a plain solve of length 50 costs 500 s, the hybrid's 100 s: 400 s are won each."""
    assert break_even_solves(8000.0, Point("", 0.01, 2.0), PLAIN, 50.0) == pytest.approx(20.0)
    assert break_even_solves(1.0, Point("", 0.01, 11.0), PLAIN, 1.0) == math.inf


def test_points_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="cost must be finite and > 0"):
        front([Point("free", 0.1, 0.0)])
    with pytest.raises(ValueError, match="finite error above zero"):
        front([Point("blown up", math.inf, 1.0)])
    with pytest.raises(ValueError, match="length"):
        break_even_solves(1.0, PLAIN[0], PLAIN, 0.0)
    with pytest.raises(ValueError, match="every"):
        Method(lambda u: u, jnp.ones(1), every=0)


def test_errors_of_steps_on_grids_of_their_own():
    """Growth by 10 % a snapshot where the truth stays: the error of snapshot k is 1.1^k - 1. One of
    the methods has two steps a snapshot and twice the points, of which the observer takes every
    other; one blows up."""
    start = jnp.asarray([[1.0, 2.0], [3.0, 5.0]])
    truth, times = jnp.broadcast_to(start[:, None], (2, 4, 2)), 0.5 * np.arange(4)
    methods = {
        "one": Method(lambda u: 1.1 * u, start),
        "two": Method(
            lambda u: 1.1**0.5 * u, jnp.repeat(start, 2, 1), every=2, observe=lambda u: u[::2]
        ),
        "lost": Method(lambda u: u / 0, start),
    }
    found = fronts.evaluations(methods, truth, times)
    expected = np.mean([0.1, 0.21, 0.331])
    assert fronts.mean_error(found["one"]) == pytest.approx(expected, rel=1e-5)
    assert fronts.mean_error(found["two"]) == pytest.approx(expected, rel=1e-5)
    assert fronts.mean_error(found["lost"]) == math.inf


class Multistep(jp.Step):
    """Its working variables hold what it remembers; an entry counts how far it came."""

    def enter(self, state):
        return state, jnp.asarray(0)

    def advance(self, working):
        return working[0] + 1.0, working[1] + 1

    def leave(self, working):
        return working[0]


def test_costs_count_all_steps_of_a_span_and_nothing_else(monkeypatch):
    """By a clock that advances with the number of steps taken: 3 s a step."""
    clock = [0.0]
    advanced = fronts._advanced

    def counted(step, working, steps):
        clock[0] += 3.0 * steps
        final = advanced(step, working, steps)
        assert int(final[1]) == steps
        return final

    monkeypatch.setattr(fronts, "_advanced", counted)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    methods = {f"{n}": Method(Multistep(), jnp.zeros((2, 3)), every=n) for n in (1, 4)}
    found = fronts.costs(methods, interval=0.5, snapshots=2, repeats=2)
    assert found == {"1": pytest.approx(6.0), "4": pytest.approx(24.0)}


def test_calls_take_turns_and_the_shortest_counts(monkeypatch):
    order, clock = [], [0.0]
    lasts = {"a": iter([9.0, 3.0, 2.0, 4.0]), "b": iter([9.0, 5.0, 6.0, 7.0])}

    def call(name):
        order.append(name)
        clock[0] += next(lasts[name])
        return jnp.zeros(())

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    calls = {name: jax.tree_util.Partial(call, name) for name in "ab"}
    assert fronts.shortest_times(calls, repeats=3) == {"a": 2.0, "b": 5.0}
    assert order == list("abababab")


def test_the_table_and_the_picture():
    hybrid = Point("hybrid", 0.01, 2.0)
    columns, made = fronts.rows(PLAIN, [hybrid])
    by_name = {row[0]: dict(zip(columns, row, strict=True)) for row in made}
    assert [row[2] for row in made] == sorted(1e3 * p.cost for p in [*PLAIN, hybrid])
    assert by_name["hybrid"]["pay-off"] == "5" and by_name["hybrid"]["on the front"] == ""
    marks = {name: row["on the front"] for name, row in by_name.items()}
    assert [name for name, mark in marks.items() if mark == "yes"] == ["coarse", "middle", "fine"]
    figure, axes = plotting.figure()
    pairs = [[(p.cost, p.error) for p in some] for some in (PLAIN, front(PLAIN), [hybrid])]
    plotting.cost_and_error(axes[0, 0], *pairs)
    lines = {line.get_label(): line.get_xydata() for line in axes[0, 0].lines}
    np.testing.assert_allclose(lines["their front"], [[1, 0.1], [10, 0.01], [1000, 0.001]])
    np.testing.assert_allclose(lines["learned"], [[2, 0.01]])
    assert axes[0, 0].get_xscale() == axes[0, 0].get_yscale() == "log"
