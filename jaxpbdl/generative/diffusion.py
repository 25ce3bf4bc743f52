"""Diffusion: a network learns the noise in a sample, and sampling takes it out bit by bit.

The variance-preserving chain with the variances b_1 ... b_T has at step i

    x_i = signal_i x + noise_i z,     signal_i^2 = (1 - b_1) ... (1 - b_i) = 1 - noise_i^2

with z from N(0, I). The network e(x_i, t_i), t_i = i / T, is fitted to z by least squares.
`ancestral_sample` draws each step from the Gaussian that the chain has backwards (Ho, Jain and
Abbeel, NeurIPS 2020), `implicit_sample` follows the deterministic path of the same distributions
with any number of steps (Song, Meng and Ermon, DDIM, ICLR 2021): it is the probability flow of the
chain, in steps.

A network is any callable `(x, t, condition) -> noise` on one sample, of any shape, with the
condition any pytree (None where there is none).
"""

from math import pi

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.generative.losses import Model, SampleLoss
from jaxpbdl.rollouts import nested_scan


class Schedule(eqx.Module):
    """The variances of the chain, and what is left of signal and noise after each step."""

    trainable_fields = ()

    betas: Float[Array, " steps"]
    signals: Float[Array, " steps_and_start"]
    """After 0, 1, ..., T steps."""
    noises: Float[Array, " steps_and_start"]

    def __init__(self, betas: Numbers):
        """Raises ValueError for variances that are none, not in one row or outside (0, 1)."""
        given = np.asarray(betas, float)
        if given.ndim != 1 or not given.size:
            raise ValueError(f"betas must have shape (steps,), steps >= 1, got {given.shape}")
        if not np.all((given > 0) & (given < 1)):
            raise ValueError(f"betas must lie between 0 and 1, got {betas}")
        # In double precision here: the product of many factors, and its distance from one.
        left = np.concatenate([[0.0], np.cumsum(np.log1p(-given))])
        self.betas = jnp.asarray(given, float)
        self.signals = jnp.asarray(np.exp(left / 2), float)
        self.noises = jnp.asarray(np.sqrt(-np.expm1(left)), float)

    @property
    def steps(self) -> int:
        return len(self.betas)

    def levels(self, t: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The factors of the sample and of the noise at the step nearest to `t T`."""
        step = jnp.round(t * self.steps).astype(int)
        return self.signals[step], self.noises[step]


def constant(steps: int, beta: float = 0.02) -> Schedule:
    """The same variance at each step. Raises ValueError for fewer than one step and a beta outside
    (0, 1)."""
    return Schedule(np.full(checks.count("steps", steps), beta))


def linear(steps: int, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """Variances from `first` to `last` in equal differences (Ho, Jain and Abbeel 2020). Raises
    ValueError for fewer than one step and variances outside (0, 1)."""
    return Schedule(np.linspace(first, last, checks.count("steps", steps)))


def cosine(steps: int, offset: float = 0.008, largest: float = 0.999) -> Schedule:
    """`signal(t)^2 = f(t) / f(0)`, `f(t) = cos^2(pi/2 (t + offset) / (1 + offset))`, no variance
    above `largest` (Nichol and Dhariwal, ICML 2021). Raises ValueError for fewer than one step, an
    offset that is not above 0 and a largest variance outside (0, 1)."""
    checks.positive("offset", offset)
    times = np.arange(checks.count("steps", steps) + 1) / steps
    square = np.cos(pi / 2 * (times + offset) / (1 + offset)) ** 2
    return Schedule(np.minimum(1 - square[1:] / square[:-1], largest))


class NoiseLoss(SampleLoss):
    """The mean over samples and components of `(e(x_i, t_i) - z)^2`, the steps uniform in 1 ... T:
    `loss(model, batch, key)`.

    Its smallest value is the mean variance of z for given x_i, not zero.
    """

    schedule: Schedule

    def of_one(
        self, model: Model, x: Float[Array, "*shape"], condition: PyTree, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """Of one sample."""
        when, what = jax.random.split(key)
        step = jax.random.randint(when, (), 1, self.schedule.steps + 1)
        z = jax.random.normal(what, x.shape, x.dtype)
        noised = self.schedule.signals[step] * x + self.schedule.noises[step] * z
        return jnp.mean((model(noised, step / self.schedule.steps, condition) - z) ** 2)


def ancestral_sample(
    model: Model,
    schedule: Schedule,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    *,
    condition: PyTree = None,
) -> Float[Array, "*shape"]:
    """One sample by all steps of the chain backwards; `jax.vmap` over keys gives many.

        x_{i-1} = (x_i - b_i / noise_i e) / sqrt(1 - b_i) + sqrt(b_i) noise_{i-1} / noise_i z

    without noise in the last one.
    """
    start, chain = jax.random.split(key)

    def back(x: Array, step: Array) -> Array:
        beta, noise, last = (
            schedule.betas[step - 1],
            schedule.noises[step],
            schedule.noises[step - 1],
        )
        guess = model(x, step / schedule.steps, condition)
        mean = (x - beta / noise * guess) / jnp.sqrt(1 - beta)
        z = jax.random.normal(jax.random.fold_in(chain, step), shape)
        return mean + jnp.sqrt(beta) * last / noise * z

    steps = jnp.arange(schedule.steps, 0, -1)
    return nested_scan(back, jax.random.normal(start, shape), schedule.steps, 2, inputs=steps)


def implicit_transport(
    model: Model,
    schedule: Schedule,
    noise: Float[Array, "*shape"],
    steps: int,
    *,
    condition: PyTree = None,
) -> Float[Array, "*shape"]:
    """Carry noise to a sample, without randomness, in `steps` jumps over the T steps of the chain:

        x_j = signal_j (x_i - noise_i e(x_i, t_i)) / signal_i + noise_j e(x_i, t_i)

    **Raises** ValueError unless `1 <= steps <= T`.
    """
    if checks.count("steps", steps) > schedule.steps:
        raise ValueError(
            f"steps must be at most those of the schedule, {schedule.steps}, got {steps}"
        )
    stops = np.round(np.linspace(schedule.steps, 0, steps + 1)).astype(int)

    def jump(x: Array, stop: tuple[Int[Array, ""], Int[Array, ""]]) -> Array:
        here, there = stop
        guess = model(x, here / schedule.steps, condition)
        sample = (x - schedule.noises[here] * guess) / schedule.signals[here]
        return schedule.signals[there] * sample + schedule.noises[there] * guess

    jumps = (jnp.asarray(stops[:-1]), jnp.asarray(stops[1:]))
    return nested_scan(jump, noise, steps, 2, inputs=jumps)


def implicit_sample(
    model: Model,
    schedule: Schedule,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    steps: int,
    *,
    condition: PyTree = None,
) -> Float[Array, "*shape"]:
    """One sample by `implicit_transport` of normal noise; `jax.vmap` over keys gives many."""
    noise = jax.random.normal(key, shape)
    return implicit_transport(model, schedule, noise, steps, condition=condition)
