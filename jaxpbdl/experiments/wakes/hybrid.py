"""The coarse solver of the wakes with a patch network in it, and its training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.diagnostics import mean_square, relative_l2
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.training import Training
from jaxpbdl.experiments.wakes.data import Wake, states
from jaxpbdl.experiments.wakes.flow import (
    Fluxes,
    Observer,
    Setting,
    family,
    flow_of,
)
from jaxpbdl.experiments.wakes.plain import SPAN, STRIDE, flattened, windows
from jaxpbdl.learning import (
    Corrected,
    Forced,
    History,
    Varied,
    Varying,
    Windows,
    fit_ensemble,
    members,
    unrolled,
)
from jaxpbdl.learning.front import Method
from jaxpbdl.networks import PatchNet
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.flow import central, limited
from jaxpbdl.step import AnyStep


@dataclass(frozen=True)
class Hybrid(Validated):
    """Settings of the hybrid and its training."""

    limited: bool = False
    """Van Leer's limiter in the solver, else central differences."""
    calls: Literal[1, 2, 4] = 1
    """Of the network in the time between two snapshots that are compared."""
    steps: Count = 3
    """Of the solver for one call of the network."""
    form: Literal["force", "correction"] = "force"
    """Whether the network pushes the flow during these steps or changes the state after them."""
    width: Count = 32
    depth: Count = 4
    patch: Count = 2
    unroll: Count = 3
    """Steps of the hybrid in a training window."""
    chunk: Count = 50
    """Updates from one validation to the next."""
    members: Count = 4
    scale: Positive = 0.1
    """Change of the velocity that a network output of one stands for, a unit of time."""
    training: Training = Training(
        updates=500, batch=4, learning_rate=1e-2, warmup_fraction=0.05, final_fraction=0.02,
        average=None,
    )  # fmt: skip


class Features(eqx.Module):
    """What the network sees of a state: velocity in the cells, the open part of each cell, the
    logarithm of the Reynolds number."""

    trainable_fields = ()

    solver: Varying

    def __call__(self, state: Varied) -> Float[Array, "4 nx ny"]:
        flow = flow_of(self.solver)
        assert flow.body is not None
        opened = jnp.mean(flow.grid.to_cells(flow.body.open), axis=0)
        number = jnp.full(flow.grid.shape, jnp.log(0.01 / state.parameter))
        return jnp.concatenate([flow.channels(state.state), jnp.stack([opened, number])])


def velocity(state: Varied) -> tuple[Array, ...]:
    """What of a state is compared in training."""
    return state.state.velocity


def solver_of(hybrid: Hybrid, setting: Setting) -> Varying:
    """The solver that the hybrid holds."""
    kind = limited if hybrid.limited else central
    return family(setting.solver(SPAN / hybrid.calls / hybrid.steps, interpolation=kind))


def build(hybrid: Hybrid, solver: Varying, key: PRNGKeyArray, more: int = 0) -> Corrected | Forced:
    """The hybrid before training, which is its solver; its network takes `more` channels than the
    features."""
    network = PatchNet(
        2, 4 + more, 2, patch=hybrid.patch, width=hybrid.width, depth=hybrid.depth, periodic=False,
        zero_last=True, key=key,
    )  # fmt: skip
    features = Features(solver)
    if hybrid.form == "force":
        return Forced(
            solver, network, scale=hybrid.scale, features=features, substeps=hybrid.steps,
            force=flow_of(solver).grid.to_faces,
        )  # fmt: skip
    return Corrected(
        solver, network, scale=hybrid.scale * SPAN / hybrid.calls, features=features,
        substeps=hybrid.steps,
    )  # fmt: skip


def mirrored(states: Varied) -> Varied:
    """Upside down: a flow as good as the first about a body that is its own mirror image."""
    u, v = velocity(states)
    flow = states.state._replace(velocity=(u[..., ::-1], -v[..., ::-1]))
    return Varied(flow, states.parameter)


class RolloutError(eqx.Module):
    """The mean relative L2 error of rollouts over windows, for validation."""

    initial: Varied
    truth: Fluxes
    observe: Callable[[Varied], Fluxes]
    every: int = eqx.field(static=True)

    def __call__(self, model: AnyStep) -> Array:
        def one(state: Varied, truth: Fluxes) -> Array:
            steps = self.every * (len(truth.x) - 1)
            found = rollout(model, state, steps, self.every, observe=self.observe, checkpoint=False)
            return jnp.mean(jax.vmap(relative_l2)(found, truth)[1:])

        return jnp.mean(jax.lax.map(lambda pair: one(*pair), (self.initial, self.truth)))


def train(
    hybrid: Hybrid,
    setting: Setting,
    data: Wake,
    validation: Wake,
    horizon: float,
    key: PRNGKeyArray,
    folder: Path,
) -> tuple[list[Corrected | Forced], list[History]]:
    """Members that differ in their key, each the best of its fit in rollouts over a time `horizon`
    of the validation wakes."""
    solver = solver_of(hybrid, setting)
    step = flow_of(solver)
    stride = STRIDE // hybrid.calls
    runs = states(step, data, data.streams)
    before, after = (
        jax.tree.map(lambda u, part=part: u[:, part], velocity(runs))
        for part in (slice(None, -stride), slice(stride, None))
    )
    change = mean_square(after, before)

    def loss(model: AnyStep, batch: Varied) -> Array:
        return unrolled(model, batch, measure=velocity) / change

    runs = jax.tree.map(lambda *both: jnp.concatenate(both), runs, mirrored(runs))
    starts, truth, _ = windows(validation, setting, horizon)
    initial = flattened(states(step, validation, starts))
    training = hybrid.training
    fitted, histories = fit_ensemble(
        lambda key: build(hybrid, solver, key),
        loss,
        Windows(runs, hybrid.unroll, training.batch, stride),
        training.optimiser(),
        training.updates,
        keys=jax.random.split(key, hybrid.members),
        chunk=hybrid.chunk,
        ema=training.average,
        validate=RolloutError(initial, truth, Observer(step, setting.mesh), hybrid.calls),
        folder=folder / "checkpoints" / "hybrid",
        name="hybrid",
    )
    return members(fitted), histories


def methods(
    models: Sequence[Corrected | Forced],
    hybrid: Hybrid,
    setting: Setting,
    wake: Wake,
    starts: Array,
) -> list[Method]:
    """Each hybrid, its network in the solver of the setting, whose body may be another, from the
    true states at `starts`, stream functions `(runs, times, ..)`."""
    solver = solver_of(hybrid, setting)
    step = flow_of(solver)
    initial, observe = flattened(states(step, wake, starts)), Observer(step, setting.mesh)
    return [
        Method(moved(model, hybrid, solver), initial, hybrid.calls, observe) for model in models
    ]


def moved(model: Corrected | Forced, hybrid: Hybrid, solver: Varying) -> Corrected | Forced:
    """The hybrid with its network in another solver, whose body may be another."""
    bare = build(hybrid, solver, jax.random.key(0))
    return eqx.tree_at(lambda model: model.network, bare, model.network)
