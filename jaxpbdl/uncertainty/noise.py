"""A step that draws noise: one network whose samples are an ensemble.

    state -> step(state, noise),   noise ~ N(0, 1) at each point of the grid and each step

The network of a hybrid or an emulator sees the noise beside its features, and learns what to make
of it from the almost fair continuous ranked probability score of a few samples (Lang et al.,
arXiv:2412.15832; Alet et al., arXiv:2506.10772). Members that are fixed networks have to share out
one budget of training; here each update serves all samples.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.learning.hybrid import Corrected, Emulator
from jaxpbdl.learning.losses import Driven, Measure, Windowed, itself
from jaxpbdl.rollouts import rollout
from jaxpbdl.step import Step
from jaxpbdl.uncertainty.together import mean_crps, measured_later


class WithNoise(eqx.Module):
    """The features of a state, and a noise as further channels."""

    features: Callable[[PyTree], Array]
    noise: Float[Array, "channels *grid"]

    def __call__(self, state: PyTree) -> Float[Array, "more *grid"]:
        seen = self.features(state)
        return jnp.concatenate([seen, self.noise.astype(seen.dtype)])


class Noisy(Step):
    """A hybrid or an emulator whose network sees noise: a step with an input, `(state, noise) ->
    state`.

    **Arguments:**

    - `step`: a `Corrected` or an `Emulator` whose network takes `channels` more than its features.
    - `channels`: of the noise, as `noise(key, state, steps)` draws them for a `rollout(inputs=)`.

    **Raises:** TypeError for another step, ValueError for fewer than one channel.
    """

    trainable_fields = ("step",)

    step: Step
    channels_of_noise: int = eqx.field(static=True)

    def __init__(self, step: Step, channels: int = 1):
        if not isinstance(step, (Corrected, Emulator)):
            raise TypeError(f"step must be a Corrected or an Emulator, got {type(step).__name__}")
        self.step, self.channels_of_noise = step, checks.count("channels", channels)

    @property
    def interval(self) -> Array | None:
        return self.step.interval

    def _features(self) -> Callable[[PyTree], Array]:
        step = self.step
        if isinstance(step, Corrected) and step.features is None:
            return step.solver.channels
        assert isinstance(step, (Corrected, Emulator)) and step.features is not None
        return step.features

    def advance(self, working: PyTree, noise: Float[Array, "channels *grid"]) -> PyTree:  # pyright: ignore[reportIncompatibleMethodOverride]
        seen = WithNoise(self._features(), noise)
        step = eqx.tree_at(
            lambda step: step.features, self.step, seen, is_leaf=lambda node: node is None
        )
        return step.advance(working)

    def check(self, state: PyTree) -> None:
        self.step.check(state)

    def noise(
        self, key: PRNGKeyArray, state: PyTree, steps: int
    ) -> Float[Array, "steps channels *grid"]:
        """What a rollout of `steps` from `state` is given."""
        seen = eqx.filter_eval_shape(self._features(), state)
        return jax.random.normal(key, (steps, self.channels_of_noise, *seen.shape[1:]), seen.dtype)

    def sample(
        self, key: PRNGKeyArray, state: PyTree, steps: int, measure: Measure = itself
    ) -> PyTree:
        """One rollout with noise of its own, of each state its `measure`; `jax.vmap` over keys
        gives an ensemble."""
        noise = self.noise(key, state, steps)
        return rollout(self, state, steps, observe=measure, inputs=noise, checkpoint=False)


def noisy_crps(
    model: Noisy,
    windows: Windowed,
    key: PRNGKeyArray,
    *,
    samples: int = 4,
    fairness: float = 0.95,
    measure: Measure = itself,
) -> Float[Array, ""]:
    """The mean continuous ranked probability score of `samples` rollouts from the first state of
    each window, each with noise of its own, over all values and steps: a loss for `fit`.

    The samples stand for the distribution they are drawn from, so the score is the fair one, or
    nearly so: see `ensemble_crps`. `measure` gives what of a state counts.

    Raises ValueError for fewer than two samples, and for windows with inputs.
    """
    checks.count("samples", samples, 2)
    if isinstance(windows, Driven):
        raise ValueError("windows must have no inputs: the input of a noisy step is its noise")
    starts = jax.tree.map(lambda leaf: leaf[:, 0], windows)
    truth = measured_later(windows, measure)
    first = jax.tree.leaves(windows)[0]
    keys = jax.random.split(key, (samples, first.shape[0]))

    def forecast(keys: Array) -> PyTree:
        found = jax.vmap(lambda key, start: model.sample(key, start, first.shape[1] - 1, measure))
        return jax.tree.map(lambda leaf: leaf[:, 1:], found(keys, starts))

    found = jax.vmap(forecast)(keys)
    return mean_crps(found, truth, fairness)
