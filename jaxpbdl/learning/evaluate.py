"""One measure for solvers, emulators and hybrids: how long and how well a step follows a
reference.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.diagnostics import correlation, relative_l2, time_above
from jaxpbdl.distributed.members import map_members
from jaxpbdl.rollouts import rollout
from jaxpbdl.step import AnyStep


class Evaluation(NamedTuple):
    """Predictions beside a reference, from `evaluate`."""

    times: Float[np.ndarray, " snapshots"]
    prediction: PyTree[Float[Array, "trajectories snapshots ..."]]
    correlation: Float[np.ndarray, "trajectories snapshots"]
    relative_l2: Float[np.ndarray, "trajectories snapshots"]

    def time_above(self, threshold: float) -> float:
        """Mean over trajectories of the time until the correlation falls below `threshold`."""
        return float(np.mean([time_above(self.times, one, threshold) for one in self.correlation]))

    def error_at(self, time: float) -> float:
        """Mean over trajectories of the relative L2 error at the snapshot nearest to `time`."""
        snapshot = int(np.argmin(np.abs(self.times - time)))
        return float(np.mean(self.relative_l2[:, snapshot]))


def evaluate(
    step: AnyStep,
    reference: PyTree[Float[Array, "trajectories snapshots ..."]],
    times: Float[np.ndarray | Array, " snapshots"],
    every: int = 1,
    *,
    initial: PyTree = None,
    observe: Callable[[PyTree], PyTree] | None = None,
    inputs: PyTree = None,
) -> Evaluation:
    """Roll `step` out from each trajectory's first state and compare snapshot by snapshot.

    **Arguments:**

    - `step`: solver, emulator or hybrid.
    - `reference`, `times`: the true trajectories and their times.
    - `every`: steps between snapshots.
    - `initial`: states to start from, leaves `(trajectories, ..)`, where the states of the step are
      not those of the reference.
    - `observe`: from a state of the step to one of the reference (for example `resample` to its
      grid, or the velocity of a flow).
    - `inputs`: of every step, leaves `(trajectories, steps, ..)`, as of `rollout`.

    A prediction that blows up counts as uncorrelated, with infinite error, from there on.
    """
    initial = jax.tree.map(lambda leaf: leaf[:, 0], reference) if initial is None else initial
    count = jax.tree.leaves(reference)[0].shape[1]
    checks.shape("times", times, (count,))
    # As a pytree, so that members of one structure share the compiled program.
    predict = eqx.Partial(_predict, step, observe, (count - 1) * every, every)
    prediction = map_members(predict, *([initial] if inputs is None else [initial, inputs]))
    return compare(prediction, reference, times)


def compare(prediction: PyTree, reference: PyTree, times: ArrayLike) -> Evaluation:
    """The measures of `evaluate` for predictions that are there already."""
    if jax.tree.structure(prediction) != jax.tree.structure(reference):
        raise ValueError(
            "prediction must be of the structure of the reference, "
            f"{jax.tree.structure(reference)}, got {jax.tree.structure(prediction)}"
        )
    for mine, other in zip(jax.tree.leaves(prediction), jax.tree.leaves(reference), strict=True):
        checks.shape("prediction", mine, other.shape)
    each = jax.vmap(jax.vmap(lambda p, r: (correlation(p, r), relative_l2(p, r))))
    correlations, errors = (np.array(values, dtype=float) for values in each(prediction, reference))
    bad = ~np.isfinite(errors)
    correlations[bad], errors[bad] = 0.0, np.inf
    return Evaluation(np.asarray(times, float), prediction, correlations, errors)


def _predict(
    step: AnyStep,
    observe: Callable[[PyTree], PyTree] | None,
    steps: int,
    every: int,
    state: PyTree,
    inputs: PyTree = None,
) -> PyTree:
    return rollout(step, state, steps, every, observe=observe, checkpoint=False, inputs=inputs)
