"""Laws of `fit` and `fit_ensemble`: where they converge, that members are fits, what stops them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import Batches, Linear, mean_square, table

from jaxpbdl import learning
from jaxpbdl.checks import BlowUp

KEY = jax.random.key(3)
ADAM = optax.adam(0.05)
NEVER = 10**6
QUIET = {"progress": False}


def same(a, b):
    return bool(eqx.tree_equal(a, b))


def poisoned(step, at_gradient=False):
    """A loss of batches that are their key: not finite for the key of one update only."""
    bad = jax.random.key_data(jax.random.split(jax.random.fold_in(KEY, step))[0])

    def loss(model, batch):
        hit = jnp.all(jax.random.key_data(batch) == bad)
        if at_gradient:  # sqrt(0) is finite, its derivative is not
            root = jnp.sqrt(jnp.where(hit, 0.0, 1.0) + 0 * model.bias)
            return jnp.sum((model.weight - 1) ** 2) + root
        return jnp.sum((model.weight - 1) ** 2) + jnp.where(hit, jnp.nan, 0.0)

    return loss


def test_fit_reaches_the_least_squares_solution(whole):
    model, history = learning.fit(
        Linear(KEY), mean_square, whole, optax.adam(0.1), 400, key=KEY, **QUIET
    )
    x, y = table()
    solution, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(64)]), y, rcond=None)
    np.testing.assert_allclose(np.append(model.weight, model.bias), solution, atol=1e-4)
    residual = np.mean((np.column_stack([x, np.ones(64)]) @ solution - y) ** 2)
    np.testing.assert_allclose(history.loss[-1], residual, rtol=1e-4)
    assert history.loss.shape == (400,) and history.bad_step is None


def test_fit_is_the_plain_loop(batches):
    """One update after another in Python, with a schedule and an average."""
    optimiser = optax.sgd(optax.linear_schedule(0.1, 0.01, 30))
    fitted, history = learning.fit(
        Linear(KEY), mean_square, batches, optimiser, 30, key=KEY, chunk=7, ema=0.8, **QUIET
    )
    model = Linear(KEY)
    average = (model.weight, model.bias)
    for i in range(30):
        batch = batches(jax.random.split(jax.random.fold_in(KEY, i))[0])
        value, slope = eqx.filter_value_and_grad(mean_square)(model, batch)
        np.testing.assert_allclose(history.loss[i], value, rtol=1e-4)
        rate = 0.1 + (0.01 - 0.1) * i / 30
        model = jax.tree.map(
            lambda g, p, rate=rate: p if g is None else p - rate * g,
            slope,
            model,
            is_leaf=lambda g: g is None,
        )
        decay = min(0.8, (1 + i) / (10 + i))
        average = tuple(
            decay * a + (1 - decay) * p
            for a, p in zip(average, (model.weight, model.bias), strict=True)
        )
    np.testing.assert_allclose(fitted.weight, average[0], rtol=1e-4)
    np.testing.assert_allclose(fitted.bias, average[1], rtol=1e-4)
    assert not np.allclose(fitted.weight, model.weight, rtol=1e-3)


def test_chunks_do_not_change_the_numbers_and_the_model_given_is_kept(batches):
    start = Linear(KEY)
    fits = [
        learning.fit(start, mean_square, batches, ADAM, 30, key=KEY, chunk=c, **QUIET)
        for c in (7, 30)
    ]
    assert same(fits[0][0], fits[1][0])
    np.testing.assert_array_equal(fits[0][1].loss, fits[1][1].loss)
    assert same(start, Linear(KEY))  # donation took nothing from the caller


def test_loss_with_a_key_gets_the_second_half_of_the_steps_key(whole):
    def loss(model, batch, key):
        return jnp.sum(model.weight**2) * 0 + jax.random.normal(key)

    _, history = learning.fit(Linear(KEY), loss, whole, ADAM, 3, key=KEY, **QUIET)
    keys = [jax.random.split(jax.random.fold_in(KEY, i))[1] for i in range(3)]
    np.testing.assert_allclose(history.loss, [jax.random.normal(k) for k in keys], rtol=1e-6)


def test_complex_parameters_descend(whole):
    class Complex(eqx.Module):
        z: jax.Array

    target = 1.0 - 2.0j
    model, _ = learning.fit(
        Complex(jnp.zeros((), jnp.complex64)),
        lambda model, batch: jnp.abs(model.z - target) ** 2,
        whole,
        optax.sgd(0.1),
        100,
        key=KEY,
        **QUIET,
    )
    np.testing.assert_allclose(model.z, target, atol=1e-4)


def test_large_data_are_arguments_and_every_chunk_runs_the_same_code(batches):
    traces = []

    def loss(model, batch):
        traces.append(type(batch[0]))
        return mean_square(model, batch)

    learning.fit(Linear(KEY), loss, batches, ADAM, 35, key=KEY, chunk=10, **QUIET)
    other = Batches(batches.x + 1, batches.y)
    before = len(traces)
    learning.fit(Linear(KEY), loss, other, ADAM, 50, key=KEY, chunk=10, **QUIET)
    assert before == len(traces) > 0


@pytest.mark.parametrize("step", [0, 9, 10, 23])
def test_fault_10_a_step_that_is_not_finite_is_named_and_not_applied(step):
    batches = lambda key: key  # noqa: E731
    with pytest.raises(BlowUp, match=f"not finite at update {step},.*learning rate") as caught:
        learning.fit(Linear(KEY), poisoned(step), batches, ADAM, 40, key=KEY, chunk=10, **QUIET)
    assert isinstance(caught.value, learning.Diverged)
    clean, _ = learning.fit(
        Linear(KEY), poisoned(NEVER), batches, ADAM, step, key=KEY, chunk=10, **QUIET
    )
    np.testing.assert_allclose(caught.value.model.weight, clean.weight, rtol=1e-6)
    assert caught.value.history.bad_step == step
    assert len(caught.value.history.loss) == step + 1


def test_a_gradient_that_is_not_finite_is_named():
    with pytest.raises(BlowUp, match="not finite at update 4,") as caught:
        loss = poisoned(4, at_gradient=True)
        learning.fit(Linear(KEY), loss, lambda key: key, ADAM, 20, key=KEY, **QUIET)
    assert np.isfinite(caught.value.history.loss[-1])


def test_the_best_validated_model_is_returned_and_patience_ends_the_fit(batches):
    def validate(model):  # best where the weight passes 0.5 on its way to 1
        return jnp.abs(model.weight[0] - 0.5)

    def loss(model, batch):
        return jnp.sum((model.weight - 1) ** 2)

    start = eqx.tree_at(lambda m: m.weight, Linear(KEY), jnp.zeros(3))
    model, history = learning.fit(
        start,
        loss,
        batches,
        optax.sgd(0.01),
        1000,
        key=KEY,
        chunk=5,
        validate=validate,
        patience=3,
        **QUIET,
    )
    best = np.argmin(history.validation)
    assert len(history.validation) == best + 1 + 3
    assert len(history.loss) == history.validation_steps[-1] == 5 * len(history.validation)
    np.testing.assert_allclose(validate(model), history.validation[best], rtol=1e-6)
    weight = 1 - 0.98 ** history.validation_steps[best]
    np.testing.assert_allclose(model.weight, weight, rtol=1e-4)


def test_no_steps_return_the_model(batches):
    model, history = learning.fit(Linear(KEY), mean_square, batches, ADAM, 0, key=KEY, **QUIET)
    assert same(model, Linear(KEY)) and len(history.loss) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "chunk must be an integer >= 1, got 0"),
        ({"ema": 1.5}, "ema must lie between 0 and 1"),
        ({"patience": 2}, "give validate too"),
        ({"validate": lambda model: model.weight}, r"validate must return a scalar, got .*\(3,\)"),
    ],
)
def test_wrong_arguments_are_refused(batches, options, message):
    with pytest.raises(ValueError, match=message):
        learning.fit(Linear(KEY), mean_square, batches, ADAM, 2, key=KEY, **QUIET, **options)


def test_wrong_losses_and_models_are_refused(batches):
    with pytest.raises(ValueError, match=r"loss must return a scalar, got shape \(3,\)"):
        learning.fit(Linear(KEY), lambda m, b: m.weight, batches, ADAM, 2, key=KEY, **QUIET)
    with pytest.raises(ValueError, match="no float array"):
        learning.fit({"n": jnp.arange(3)}, mean_square, batches, ADAM, 2, key=KEY, **QUIET)


def test_a_member_is_the_same_fit_alone(batches):
    keys = jax.random.split(KEY, 3)
    options = {"chunk": 8, "ema": 0.9, "validate": lambda m: jnp.sum(m.weight**2), **QUIET}
    stacked, histories = learning.fit_ensemble(
        Linear, mean_square, batches, ADAM, 30, keys=keys, **options
    )
    for model, history, key in zip(learning.members(stacked), histories, keys, strict=True):
        alone, record = learning.fit(
            Linear(key), mean_square, batches, ADAM, 30, key=key, **options
        )
        np.testing.assert_allclose(model.weight, alone.weight, rtol=1e-5)
        np.testing.assert_allclose(history.loss, record.loss, rtol=1e-4)
        np.testing.assert_allclose(history.validation, record.validation, rtol=1e-4)
    assert not np.allclose(histories[0].loss, histories[1].loss, rtol=1e-2)
    assert same(learning.stack(learning.members(stacked)), stacked)


def test_fault_22_a_member_that_diverges_leaves_the_others_alone():
    keys = jnp.stack([KEY, jax.random.key(4), jax.random.key(5)])
    batches = lambda key: key  # noqa: E731
    with pytest.warns(UserWarning, match="member 0: .*not finite at update 6,"):
        stacked, histories = learning.fit_ensemble(
            Linear, poisoned(6), batches, ADAM, 20, keys=keys, **QUIET
        )
    assert [h.bad_step for h in histories] == [6, None, None]
    assert [len(h.loss) for h in histories] == [7, 20, 20]
    frozen, _ = learning.fit(Linear(KEY), poisoned(NEVER), batches, ADAM, 6, key=KEY, **QUIET)
    free, _ = learning.fit(
        Linear(keys[1]), poisoned(NEVER), batches, ADAM, 20, key=keys[1], **QUIET
    )
    np.testing.assert_allclose(learning.member(stacked, 0).weight, frozen.weight, rtol=1e-5)
    np.testing.assert_allclose(learning.member(stacked, 1).weight, free.weight, rtol=1e-5)


def test_all_members_diverged_is_an_error(batches):
    keys = jax.random.split(KEY, 2)
    loss = lambda model, batch: jnp.log(-jnp.sum(model.weight**2))  # noqa: E731
    with pytest.raises(BlowUp, match="all members diverged.*at update 0,") as caught:
        learning.fit_ensemble(Linear, loss, batches, ADAM, 5, keys=keys, **QUIET)
    assert caught.value.model.weight.shape == (2, 3)


def test_fault_26_duplicate_keys_are_refused(batches):
    with pytest.raises(ValueError, match="keys 0 and 2 are both"):
        keys = [KEY, jax.random.key(4), KEY]
        learning.fit_ensemble(Linear, mean_square, batches, ADAM, 2, keys=keys, **QUIET)


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
def test_fault_10_a_validation_that_is_never_finite_costs_no_training(whole, value):
    """A validation rollout that blows up: the last parameters come back, with a warning."""
    plain, _ = learning.fit(Linear(KEY), mean_square, whole, ADAM, 60, key=KEY, chunk=20, **QUIET)
    with pytest.warns(UserWarning, match="fit: validate was never finite, so no best model"):
        model, history = learning.fit(
            Linear(KEY), mean_square, whole, ADAM, 60, key=KEY, chunk=20,
            validate=lambda m: value + 0 * m.bias, **QUIET,
        )  # fmt: skip
    assert same(model, plain) and len(history.validation) == 3


def test_fault_10_one_finite_validation_is_the_best(whole):
    """The others are not finite: the model of that moment comes back, without a warning."""
    after = {}

    def validate(model):
        return jnp.where(jnp.abs(model.bias - after["bias"]) < 1e-6, 1.0, jnp.nan)

    expected, _ = learning.fit(
        Linear(KEY), mean_square, whole, ADAM, 20, key=KEY, chunk=20, **QUIET
    )
    after["bias"] = expected.bias
    model, _ = learning.fit(
        Linear(KEY), mean_square, whole, ADAM, 60, key=KEY, chunk=20, validate=validate, **QUIET
    )
    assert same(model, expected)


def test_fault_22_a_member_that_never_validates_is_named(whole):
    """Of two members one has a finite validation; both come back trained."""
    keys = jax.random.split(KEY, 2)
    starts = [Linear(key) for key in keys]
    sign = jnp.sign(starts[0].weight[0])
    if jnp.sign(starts[1].weight[0]) == sign:
        starts[1] = eqx.tree_at(lambda m: m.weight, starts[1], -starts[1].weight)
    settings = {"keys": keys, "chunk": 5, **QUIET}
    with pytest.warns(UserWarning, match="ensemble, member 1: validate was never finite"):
        fitted, _ = learning.fit_ensemble(
            starts, mean_square, whole, optax.sgd(1e-3), 10,
            validate=lambda m: jnp.where(jnp.sign(m.weight[0]) == sign, jnp.sum(m.weight), jnp.nan),
            **settings,
        )  # fmt: skip
    plain, _ = learning.fit_ensemble(starts, mean_square, whole, optax.sgd(1e-3), 10, **settings)
    assert same(learning.member(fitted, 1), learning.member(plain, 1))
    assert not same(learning.member(fitted, 0), starts[0])


WRONG = {
    "optimiser must be one of optax, such as optax.adam.1e-3., got float 0.001": {
        "optimiser": 1e-3
    },
    "batches must be a function key -> batch, got tuple": {"batches": table()},
    "loss must be a function .* got float": {"loss": 0.5},
    "key must come from jax.random.key or split, got int 0": {"key": 0},
}


@pytest.mark.parametrize("message", WRONG)
def test_arguments_of_a_wrong_kind_are_named(whole, message):
    arguments = {"loss": mean_square, "batches": whole, "optimiser": ADAM, "key": KEY}
    with pytest.raises(TypeError, match=message):
        learning.fit(Linear(KEY), steps=1, **(arguments | WRONG[message]), **QUIET)


def test_keys_that_are_a_number_are_named(whole):
    with pytest.raises(TypeError, match="keys must come from jax.random.key or split, got int 4"):
        learning.fit_ensemble(Linear, mean_square, whole, ADAM, 1, keys=4, **QUIET)


def test_a_limit_of_time_ends_the_chunk(tmp_path, whole):
    """As a fit of fewer steps would end; the next call goes on from there."""
    settings = {"key": KEY, "chunk": 10, "folder": tmp_path, **QUIET}
    _, history = learning.fit(
        Linear(KEY), mean_square, whole, ADAM, 60, max_seconds=1e-9, **settings
    )
    assert len(history.loss) == 10
    model, history = learning.fit(Linear(KEY), mean_square, whole, ADAM, 60, **settings)
    plain, expected = learning.fit(
        Linear(KEY), mean_square, whole, ADAM, 60, key=KEY, chunk=10, **QUIET
    )
    assert same(model, plain) and np.array_equal(history.loss, expected.loss)
    with pytest.raises(ValueError, match="max_seconds must be finite and > 0"):
        learning.fit(Linear(KEY), mean_square, whole, ADAM, 60, max_seconds=-1, **settings)
