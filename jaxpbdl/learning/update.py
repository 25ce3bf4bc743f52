"""The pure part of a fit: the state of one member and the function that advances it by a chunk.

Nothing here knows of files, progress or several members: `fit` calls `advance` as it is,
`fit_ensemble` under vmap.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from jaxpbdl.trainable import trainable

Batches: TypeAlias = Callable[[PRNGKeyArray], PyTree]
OfParams: TypeAlias = Callable[[PyTree], Array]


class PerChunk(eqx.Module):
    """Batches that stay the same for a whole chunk of updates, as line searches and quasi-Newton
    methods need; for `fit` in place of `batches`.

    `draw(key, model)` makes one at the start of each chunk and may look at the model: collocation
    points where its residual is large, say.
    """

    draw: Callable[[PRNGKeyArray, PyTree], PyTree]


class Task(NamedTuple):
    """What all members share: functions, or modules whose arrays jit takes as arguments."""

    loss: Callable[..., Array]
    batches: Batches | PerChunk
    optimiser: optax.GradientTransformation
    validate: Callable[[PyTree], Array] | None
    patience: int | None
    ema: float | None
    static: PyTree  # the model without its arrays

    def model(self, params: PyTree, constants: PyTree) -> PyTree:
        return eqx.combine(params, constants, self.static)


class Member(NamedTuple):
    """All that changes while one model is fitted."""

    params: PyTree  # the trainable arrays; None elsewhere
    optimiser_state: PyTree  # the optimiser's state
    average: PyTree  # running average of the parameters, None without `ema`
    best: PyTree  # parameters with the smallest validation loss, None without `validate`
    best_value: Float[Array, ""]
    stale: Int[Array, ""]  # validations since the best one
    bad_step: Int[Array, ""]  # first update whose loss, gradient or result was not finite, or -1
    active: Bool[Array, ""]  # whether updates are still applied


def split(model: PyTree) -> tuple[PyTree, PyTree, PyTree]:
    """`(params, constants, static)`: trainable arrays, other arrays, and all that is no array."""
    params, rest = eqx.partition(model, trainable(model))
    constants, static = eqx.partition(rest, eqx.is_array)
    return params, constants, static


def start(task: Task, params: PyTree) -> Member:
    """The state before the first update."""
    params = jax.tree.map(jnp.asarray, params)
    return Member(
        params=params,
        optimiser_state=task.optimiser.init(params),
        average=None if task.ema is None else params,
        best=None if task.validate is None else params,
        best_value=jnp.asarray(jnp.inf, dtype=float),
        stale=jnp.asarray(0),
        bad_step=jnp.asarray(-1),
        active=jnp.asarray(True),
    )


def averaged(member: Member) -> PyTree:
    """The parameters a user sees: the running average where one is kept."""
    return member.params if member.average is None else member.average


def result(member: Member) -> PyTree:
    """The parameters a fit returns: the best validated ones where a validation was finite, else the
    last ones."""
    if member.best is None:
        return averaged(member)
    return where(jnp.isfinite(member.best_value), member.best, averaged(member))


def where(condition: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
    """`new` if the condition holds, else `old`, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def all_finite(*trees: PyTree) -> Bool[Array, ""]:
    leaves = [leaf for leaf in jax.tree.leaves(trees) if eqx.is_inexact_array(leaf)]
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]).all()


def takes_key(loss: Callable) -> bool:
    """Whether a loss is `loss(model, batch, key)` rather than `loss(model, batch)`. A third
    argument with a default counts only if it is called `key`."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    arguments = [p for p in inspect.signature(loss).parameters.values() if p.kind in kinds]
    return len(arguments) > 2 and (
        arguments[2].default is arguments[2].empty or arguments[2].name == "key"
    )


def loss_of(task: Task, constants: PyTree, batch: PyTree, key: PRNGKeyArray) -> OfParams:
    """The loss of a batch as a function of the parameters."""

    def of_params(params: PyTree) -> Array:
        model = task.model(params, constants)
        arguments = (model, batch, key) if takes_key(task.loss) else (model, batch)
        value = task.loss(*arguments)
        if jnp.shape(value) != ():
            raise ValueError(f"loss must return a scalar, got shape {jnp.shape(value)}")
        return value

    return of_params


def slope(of_params: OfParams, params: PyTree) -> tuple[Array, PyTree]:
    """Value and gradient, the direction of steepest ascent also for complex parameters."""
    value, gradient = jax.value_and_grad(of_params)(params)
    return value, jax.tree.map(jnp.conj, gradient)


def update(
    task: Task,
    member: Member,
    of_params: OfParams,
    known: tuple[Array, PyTree],
    step: Int[Array, ""],
) -> Member:
    """One update from the known value and gradient. One that is not finite is not applied: the
    member stops with its last finite parameters and the step is recorded."""
    value, gradient = known
    changes, optimiser_state = optax.with_extra_args_support(task.optimiser).update(
        gradient,
        member.optimiser_state,
        member.params,
        value=value,
        grad=gradient,
        value_fn=of_params,
    )
    params = optax.apply_updates(member.params, changes)
    average = member.average
    if task.ema is not None:
        decay = jnp.minimum(task.ema, (1 + step) / (10 + step))  # forget the start faster
        average = jax.tree.map(
            lambda a, p: (decay * a + (1 - decay) * p).astype(p.dtype), average, params
        )
    finite = all_finite(value, gradient, params)
    apply = member.active & finite
    return member._replace(
        params=where(apply, params, member.params),
        optimiser_state=where(apply, optimiser_state, member.optimiser_state),
        average=where(apply, average, member.average),
        bad_step=jnp.where(member.active & ~finite, step, member.bad_step),
        active=apply,
    )


def judge(task: Task, member: Member, constants: PyTree) -> tuple[Member, Float[Array, ""]]:
    """Validate; keep the parameters if they are the best so far; stop when patience is over."""
    if task.validate is None:
        return member, jnp.asarray(jnp.nan)
    params = averaged(member)
    value = jnp.asarray(task.validate(task.model(params, constants)), dtype=float)
    if value.shape != ():
        raise ValueError(f"validate must return a scalar, got shape {value.shape}")
    better = member.active & jnp.isfinite(value) & (value < member.best_value)
    new = member._replace(
        best=where(better, params, member.best),
        best_value=jnp.where(better, value, member.best_value),
        stale=jnp.where(better, 0, member.stale + member.active),
    )
    return new._replace(active=member.active & patient(new, task.patience)), value


def patient(member: Member, patience: int | None) -> Bool[Array, "*members"]:
    """Whether a member may go on: it has not diverged and was lately better than before."""
    going_on = member.bad_step < 0
    return going_on if patience is None else going_on & (member.stale < patience)


def advance(
    task: Task,
    constants: PyTree,
    key: PRNGKeyArray,
    member: Member,
    begin: Int[Array, ""],
    end: Int[Array, ""],
    chunk: int,
) -> tuple[Member, Float[Array, " chunk"], Float[Array, ""]]:
    """The updates `begin <= step < end` (at most `chunk` of them) and one validation.

    Returns the state, the loss of each update (NaN where none was applied) and the validation loss.
    Update `i` has the key `fold_in(key, i)`, split in two for the batch and for the loss. The
    number of updates is an argument, so that every chunk runs the same compiled code.
    """
    losses = jnp.full(chunk, jnp.nan, dtype=float)
    batches = task.batches
    if isinstance(batches, PerChunk):
        member, losses = _on_one_batch(task, constants, key, member, begin, end, losses)
    else:

        def body(step: Array, carry: tuple[Member, Array]) -> tuple[Member, Array]:
            member, losses = carry
            batch_key, loss_key = jax.random.split(jax.random.fold_in(key, step))
            of_params = loss_of(task, constants, batches(batch_key), loss_key)
            known = slope(of_params, member.params)
            new = update(task, member, of_params, known, step)
            return new, _noted(losses, step - begin, member, known[0])

        member, losses = jax.lax.fori_loop(begin, end, body, (member, losses))
    member, value = judge(task, member, constants)
    return member, losses, value


def _on_one_batch(
    task: Task,
    constants: PyTree,
    key: PRNGKeyArray,
    member: Member,
    begin: Int[Array, ""],
    end: Int[Array, ""],
    losses: Array,
) -> tuple[Member, Array]:
    """As the value and gradient where a line search ends are those of the next update, they are not
    computed again."""
    batch_key, loss_key = jax.random.split(jax.random.fold_in(key, begin))
    batch = task.batches.draw(batch_key, task.model(member.params, constants))
    of_params = loss_of(task, constants, batch, loss_key)

    def body(step: Array, carry: tuple) -> tuple:
        member, losses, known = carry
        new = update(task, member, of_params, known, step)
        losses = _noted(losses, step - begin, member, known[0])
        value, gradient = (
            optax.tree_utils.tree_get(new.optimiser_state, k) for k in ("value", "grad")
        )
        if value is None or gradient is None:
            known = slope(of_params, new.params)
        else:
            known = (value.astype(known[0].dtype), gradient)
        return new, losses, known

    known = slope(of_params, member.params)
    return jax.lax.fori_loop(begin, end, body, (member, losses, known))[:2]


def _noted(losses: Array, place: Array, member: Member, value: Array) -> Array:
    return losses.at[place].set(jnp.where(member.active, value.astype(float), jnp.nan))
