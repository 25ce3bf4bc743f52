"""Error against cost: does a learned step pay, beside the plain solvers it competes with?

A finer grid or a smaller time step buys accuracy too. So a hybrid is not to be compared with its
own solver but with the plain solver that is as accurate: its pay-off is what that one costs over
what the hybrid costs. Training and its data are paid once; N* solves win them back,

    N* = (data and training) / (cost of a plain solve as accurate - cost of a hybrid solve)

(the breakeven complexity of arXiv:2605.15399).
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.learning.evaluate import Evaluation, evaluate
from jaxpbdl.step import AnyStep, as_step


@dataclass(frozen=True)
class Method:
    """A step, and how it is held against a reference.

    Attributes:
        step: solver, emulator or hybrid.
        initial: its states at the start of the reference trajectories, leaves `(trajectories, ..)`.
        every: steps between the snapshots of the reference.
        observe: from a state of the step to one of the reference; None where they are the same.
    """

    step: AnyStep
    initial: PyTree
    every: int = 1
    observe: Callable[[Any], Any] | None = None

    def __post_init__(self):
        checks.count("every", self.every)


class Point(NamedTuple):
    """What a method costs, in seconds a unit of time, and its relative error."""

    name: str
    error: float
    cost: float


class PayOff(NamedTuple):
    """The cost of the plain solver as accurate as a method, over the cost of the method.

    `bound` is empty within the front. A method more accurate than all of the front pays "at least"
    the ratio to its dearest solver, one less accurate than all of it "at most" that to its
    cheapest.
    """

    ratio: float
    bound: str = ""

    def __str__(self) -> str:
        beyond = f"{self.bound} {self.ratio:.3g} (beyond the front)"
        return beyond if self.bound else f"{self.ratio:.3g}"


def evaluations(
    methods: Mapping[str, Method],
    reference: PyTree[Float[Array, "trajectories snapshots ..."]],
    times: Float[np.ndarray | Array, " snapshots"],
) -> dict[str, Evaluation]:
    """Each method rolled out beside the reference (see `evaluate`)."""
    return {
        name: evaluate(
            method.step,
            reference,
            times,
            method.every,
            initial=method.initial,
            observe=method.observe,
        )
        for name, method in methods.items()
    }


def mean_error(
    result: Evaluation, trajectories: slice = slice(None), until: float = math.inf
) -> float:
    """The mean over trajectories, by default all of them, and over the snapshots up to a time, but
    the first, which is given, of the relative L2 error; infinite where one of them blew up."""
    early = result.times <= until + 1e-6
    return float(np.mean(result.relative_l2[trajectories, early][:, 1:]))


def costs(
    methods: Mapping[str, Method], interval: float, snapshots: int = 5, repeats: int = 9
) -> dict[str, float]:
    """Seconds of wall time a unit of time, for one state.

    The least of `repeats` rounds in which all methods take turns, compiled, within one process.
    What happens once a rollout, such as the first rates of a multistep scheme, does not count.

    **Arguments:** `interval`, the time between snapshots; `snapshots`, how many of these intervals
    one call spans.
    """
    checks.positive("interval", interval)
    checks.counts(snapshots=snapshots, repeats=repeats)
    calls = {}
    for name, method in methods.items():
        step = as_step(method.step)
        first = jax.tree.map(lambda leaf: leaf[0], method.initial)
        working = eqx.filter_jit(type(step).enter)(step, first)
        calls[name] = eqx.Partial(_advanced, step, working, snapshots * method.every)
    seconds = shortest_times(calls, repeats)
    return {name: each / (snapshots * interval) for name, each in seconds.items()}


def shortest_times(calls: Mapping[str, Callable[[], PyTree]], repeats: int = 9) -> dict[str, float]:
    """The least wall time of each call in seconds: the calls take turns, so that what else the
    machine does meets all of them alike, after one call each that compiles."""
    for call in calls.values():
        jax.block_until_ready(call())
    best = dict.fromkeys(calls, math.inf)
    for _ in range(checks.count("repeats", repeats)):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            best[name] = min(best[name], time.perf_counter() - start)
    return best


@eqx.filter_jit
def _advanced(step: Any, working: PyTree, steps: int) -> PyTree:
    return lax.fori_loop(0, steps, lambda _, current: step.advance(current), working)


def points(errors: Mapping[str, float], costs: Mapping[str, float]) -> list[Point]:
    """Error and cost of each method by its name."""
    return [Point(name, error, costs[name]) for name, error in errors.items()]


def front(candidates: Iterable[Point]) -> list[Point]:
    """The points that no other beats in error at the same or less cost, from cheap to dear.

    **Raises:** ValueError where none has a finite error and a cost above zero.
    """
    usable = [each for each in candidates if math.isfinite(each.error) and each.error > 0]
    checks.positive("cost", [each.cost for each in usable])
    found: list[Point] = []
    for each in sorted(usable, key=lambda point: (point.cost, point.error)):
        if not found or each.error < found[-1].error:
            found.append(each)
    if not found:
        raise ValueError("a front needs a candidate with a finite error above zero, got none")
    return found


def pay_off(hybrid: Point, plain: Iterable[Point]) -> PayOff:
    """How many times more a plain solver as accurate costs than the hybrid; below one it does not
    pay. Between neighbours of the front straight in the logarithms of error and cost, and never
    extrapolated: see `PayOff`. A hybrid that blew up has none, 0."""
    line = front(plain)
    if not math.isfinite(hybrid.error):
        return PayOff(0.0)
    if hybrid.error > line[0].error:
        return PayOff(line[0].cost / hybrid.cost, "at most")
    if hybrid.error < line[-1].error:
        return PayOff(line[-1].cost / hybrid.cost, "at least")
    errors, prices = np.log([[point.error, point.cost] for point in line[::-1]]).T
    cost = np.exp(np.interp(np.log(hybrid.error), errors, prices))
    return PayOff(float(cost) / hybrid.cost)


def break_even_solves(
    invested: float, hybrid: Point, plain: Iterable[Point], length: float
) -> float:
    """Solves of a given length in time after which what data and training cost is won back.

    **Arguments:** `invested`, seconds of data and training; `length` > 0, of a solve.

    **Returns** infinity for a hybrid that does not pay. Beyond the front it is a bound, as the
    pay-off is.
    """
    checks.non_negative("invested", invested)
    checks.positive("length", length)
    won = length * hybrid.cost * (pay_off(hybrid, plain).ratio - 1)
    return invested / won if won > 0 else math.inf


def ensemble_pay_off(
    members: Sequence[Point], plain: Sequence[Point], invested: float, length: float
) -> dict[str, float]:
    """Whether an ensemble pays: `pay_off`, the median over its members, and `pay_off_min`, their
    minimum; `break_even_solves`, the median.

    **Arguments:** `invested` seconds for data and the training of one member, and the `length` of a
    solve, as of `break_even_solves`.
    """
    ratios = [pay_off(member, plain).ratio for member in members]
    solves = [break_even_solves(invested, member, plain, length) for member in members]
    return {
        "pay_off": float(np.median(ratios)),
        "pay_off_min": min(ratios),
        "break_even_solves": float(np.median(solves)),
    }


def rows(
    plain: Sequence[Point], hybrids: Sequence[Point]
) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Columns and rows of a table: all points from cheap to dear, whether they are on the front of
    the plain ones, and the pay-off of each hybrid."""
    best = {point.name for point in front(plain)}
    columns = ("method", "error", "ms a unit of time", "on the front", "pay-off")
    made: list[list[Any]] = []
    for point in sorted([*plain, *hybrids], key=lambda point: point.cost):
        learned = point in hybrids
        gain = str(pay_off(point, plain)) if learned else ""
        mark = "" if learned else "yes" if point.name in best else "no"
        made.append([point.name, point.error, 1e3 * point.cost, mark, gain])
    return columns, made
