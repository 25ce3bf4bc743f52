"""The cycle of forecast and analysis as one compiled loop, and how good its estimates are."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.inference.assimilation.problems import Problem


class Analysis(NamedTuple):
    """The estimate of a state, and the standard deviation that the method gives to each of its
    values."""

    mean: PyTree
    deviation: PyTree


class Score(NamedTuple):
    """Root mean squares over the values of a state, averaged over time."""

    rmse: Float[Array, ""]
    """Of the estimate minus the truth."""
    spread: Float[Array, ""]
    """Of the method's standard deviations; as large as `rmse` if the method knows its error."""


class AssimilationMethod(eqx.Module):
    """How measurements change an estimate. What it remembers is any pytree of arrays."""

    def start(self, problem: Problem, key: PRNGKeyArray) -> PyTree:
        """What it knows before the first measurements."""
        raise NotImplementedError(f"{type(self).__name__} must define start")

    def advance(
        self, problem: Problem, memory: PyTree, observed: Float[Array, " m"], key: PRNGKeyArray
    ) -> tuple[PyTree, Analysis]:
        """One interval ahead, and the estimate with the measurements (over their errors) there,
        both of its parts as vectors."""
        raise NotImplementedError(f"{type(self).__name__} must define advance")


def assimilate(
    method: AssimilationMethod,
    problem: Problem,
    observed: Float[Array, "times m"],
    key: PRNGKeyArray,
) -> Analysis:
    """The estimates of a method at the times of the measurements, each from those up to it.

    **Arguments:** `observed`, the measurements of each time; `key` for what a method draws.

    **Returns** an `Analysis` of states with a new first axis for the times.

    **Raises:** ValueError for measurements of another shape than the problem's operator gives.
    """
    width = jax.eval_shape(problem.observations.operator, problem.mean).shape[0]
    if observed.ndim != 2 or observed.shape[1] != width or not len(observed):
        raise ValueError(f"observed must have shape (times, {width}), got {observed.shape}")
    return _assimilate(method, problem, observed, key)


@eqx.filter_jit
def _assimilate(
    method: AssimilationMethod, problem: Problem, observed: Array, key: PRNGKeyArray
) -> Analysis:
    def turn(memory: PyTree, given: tuple[Array, Array]) -> tuple[PyTree, Analysis]:
        return method.advance(problem, memory, *given)

    first, rest = jax.random.split(key)
    memory = method.start(problem, first)
    given = problem.observations.scaled(observed), jax.random.split(rest, len(observed))
    found = lax.scan(turn, memory, given)[1]
    return Analysis(*(jax.vmap(problem.state)(part) for part in found))


def errors_in_time(estimate: Analysis, truth: PyTree) -> Score:
    """Root mean squares over the values of a state, at each time: arrays `(times,)`."""
    difference = jax.tree.map(jnp.subtract, estimate.mean, truth)
    return Score(_root_mean_square(difference), _root_mean_square(estimate.deviation))


def score(estimate: Analysis, truth: PyTree, burn_in: int | np.integer = 0) -> Score:
    """Error and spread, averaged over all times after the first `burn_in`.

    **Raises:** ValueError for a burn-in that leaves no time.
    """
    times = len(jax.tree.leaves(truth)[0])
    if checks.count("burn_in", burn_in, 0) >= times:
        raise ValueError(f"burn_in must be below {times}, the analyses, got {burn_in}")
    found = errors_in_time(estimate, truth)
    return Score(*(jnp.mean(part[burn_in:]) for part in found))


def _root_mean_square(states: PyTree) -> Array:
    leaves = [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(states)]
    return jnp.sqrt(jnp.mean(jnp.concatenate(leaves, axis=1) ** 2, axis=1))
