"""An assimilation problem, and experiments with a known truth."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.inference.assimilation.observations import Observations, positive_definite
from jaxpbdl.rollouts import Repeated, repeat, rollout
from jaxpbdl.step import AnyStep


class Problem(eqx.Module):
    """A model, what is measured of it, and what is known at the start; created by `problem`.

    All methods work on the state as one vector of `n` values (`jax.flatten_util.ravel_pytree`), and
    on measurements in units of their errors.
    """

    step: Repeated
    observations: Observations
    mean: PyTree
    root: Float[Array, "n n"]

    def flat(self, state: PyTree) -> Float[Array, " n"]:
        """The state as a vector."""
        return ravel_pytree(state)[0]

    def state(self, flat: Float[Array, " n"]) -> PyTree:
        """The state of a vector."""
        return ravel_pytree(self.mean)[1](flat)

    def forecast(self, flat: Float[Array, " n"]) -> Float[Array, " n"]:
        """The state at the time of the next measurements."""
        return self.flat(self.step(self.state(flat)))

    def measured(self, flat: Float[Array, " n"]) -> Float[Array, " m"]:
        """What would be measured without errors, over the errors."""
        return self.observations.scaled(self.observations.operator(self.state(flat)))

    def start(self) -> Float[Array, " n"]:
        """The mean at the start."""
        return self.flat(self.mean)

    def draw(self, key: PRNGKeyArray, members: int) -> Float[Array, "members n"]:
        """States at the start."""
        noise = jax.random.normal(key, (members, len(self.root)), self.root.dtype)
        return self.start() + noise @ self.root


class Twin(NamedTuple):
    """A run of the model taken as the truth, and its measurements."""

    truth: PyTree
    """States at the times of the measurements, on a new first axis."""
    observed: Float[Array, "times m"]


class Climate(NamedTuple):
    """Mean and covariance of the states of a long run."""

    mean: PyTree
    covariance: Float[Array, "n n"]


def problem(
    step: AnyStep, observations: Observations, mean: PyTree, covariance: checks.Numbers
) -> Problem:
    """Put model, measurements and the state at the start together.

    **Arguments:**

    - `step`: any callable state -> state, one time step ahead; the model is taken as perfect.
    - `observations`: of its states, every `interval` steps.
    - `mean`, `covariance`: of the state at the start, an array or any pytree of `n` values in all;
      a matrix `(n, n)` in the order of `ravel_pytree`, or one variance for all values.

    **Raises:** ValueError for a covariance of another shape, or one that is not symmetric and
    positive semi-definite, and for an operator that does not give a vector.
    """
    mean = jax.tree.map(jnp.asarray, mean)
    size = len(ravel_pytree(mean)[0])
    matrix = checks.as_floats(covariance)
    if matrix.ndim == 0:
        checks.non_negative("covariance", matrix)
        matrix = matrix * jnp.eye(size)
    checks.shape("covariance", matrix, (size, size))
    found = jax.eval_shape(observations.operator, mean)
    if not isinstance(found, jax.ShapeDtypeStruct) or len(found.shape) != 1:
        raise ValueError(f"the operator must give a vector of measured values, got {found}")
    return Problem(repeat(step, observations.interval), observations, mean, root_of(matrix))


def root_of(covariance: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The symmetric square root of a covariance.

    **Raises:** ValueError for a matrix that is not symmetric and positive semi-definite."""
    positive_definite("covariance", covariance, semi=True)
    values, vectors = jnp.linalg.eigh(covariance)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T


def twin_experiment(problem: Problem, analyses: int | np.integer, key: PRNGKeyArray) -> Twin:
    """A truth whose start is drawn from the problem, and measurements of it with errors.

    **Arguments:** `analyses`, how often it is measured: first after one interval, not at the start.

    **Raises:** ValueError for fewer than one analysis.
    """
    count = checks.count("analyses", analyses)
    initial, noise = jax.random.split(key)
    start = problem.state(problem.draw(initial, 1)[0])
    states = rollout(problem.step, start, count, checkpoint=False)
    truth = jax.tree.map(lambda leaf: leaf[1:], states)
    exact = jax.vmap(problem.observations.operator)(truth)
    return Twin(truth, exact + problem.observations.draw(noise, exact.shape))


def climate(
    step: AnyStep, state: PyTree, samples: int | np.integer, every: int | np.integer = 1
) -> Climate:
    """Mean and covariance of `samples` states of a run, `every` steps apart. The first state is not
    among them; it must lie on the attractor already.

    **Raises:** ValueError for fewer than two samples.
    """
    count = checks.count("samples", samples, 2)
    states = rollout(step, state, count * int(every), every, checkpoint=False)
    states = jax.tree.map(lambda leaf: leaf[1:], states)
    flat = jax.vmap(lambda one: ravel_pytree(one)[0])(states)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), states)
    return Climate(mean, jnp.cov(flat, rowvar=False).reshape(flat.shape[1], flat.shape[1]))
