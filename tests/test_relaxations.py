"""Relaxations: their definitions written out, their limits, laws, gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import rankdata

from jaxpbdl.relaxations import (
    boltzmann_maximum,
    boltzmann_minimum,
    cubic_step,
    quintic_step,
    soft_argmax,
    soft_maximum,
    soft_median,
    soft_minimum,
    soft_quantile,
    soft_rank,
    soft_sort,
    soft_step,
    soft_top_k,
    soft_where,
    straight_through,
    top_k_weights,
)


def largest_weights(x, count):
    """One at the `count` largest of the last axis; there are no ties."""
    return (rankdata(x, axis=-1) > x.shape[-1] - count).astype(float)


REDUCED = {
    "soft_maximum": (soft_maximum, lambda x: x.max(-1)),
    "soft_minimum": (soft_minimum, lambda x: x.min(-1)),
    "boltzmann_maximum": (boltzmann_maximum, lambda x: x.max(-1)),
    "boltzmann_minimum": (boltzmann_minimum, lambda x: x.min(-1)),
    "soft_quantile": (
        lambda x, t, axis=-1: soft_quantile(x, 0.3, t, axis),
        lambda x: np.quantile(x, 0.3, axis=-1),
    ),
    "soft_median": (soft_median, lambda x: np.median(x, axis=-1)),
}
KEPT = {
    "soft_argmax": (soft_argmax, lambda x: largest_weights(x, 1)),
    "soft_sort": (soft_sort, lambda x: np.sort(x, axis=-1)),
    "soft_rank": (soft_rank, lambda x: rankdata(x, axis=-1)),
    "soft_top_k": (
        lambda x, t, axis=-1: soft_top_k(x, 3, t, axis),
        lambda x: np.sort(x, axis=-1)[..., :-4:-1],
    ),
    "top_k_weights": (
        lambda x, t, axis=-1: top_k_weights(x, 3, t, axis),
        lambda x: largest_weights(x, 3),
    ),
}
ALL = REDUCED | KEPT
COMPILED = {name: jax.jit(lambda x, t, f=f: f(x, t)) for name, (f, _) in ALL.items()}
DISTINCT = [name for name in ALL if name != "soft_median"]
"""The median is a quantile."""
EQUIVARIANT = ("soft_argmax", "soft_rank", "top_k_weights")
STEPS = (soft_step, cubic_step, quintic_step)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.x64
def test_values_of_the_steps():
    x = jnp.asarray([-0.4, -0.2, 0.0, 0.1, 0.2, 0.4])
    logistic = [np.exp(x / 0.2) / (1 + np.exp(x / 0.2)) for x in np.asarray(x)]
    np.testing.assert_allclose(soft_step(x, 0.2), logistic, rtol=1e-14)
    np.testing.assert_allclose(cubic_step(x, 0.2), [0, 0, 0.5, 0.84375, 1, 1], rtol=1e-14)
    np.testing.assert_allclose(quintic_step(x, 0.2), [0, 0, 0.5, 0.896484375, 1, 1], rtol=1e-14)
    places = np.linspace(-1, 1, 201)
    for step, slope in zip(STEPS, (0.25, 0.75, 0.9375), strict=True):
        slopes = jax.jit(jax.vmap(jax.value_and_grad(step), (0, None)))
        values, rises = slopes(places, 0.2)
        np.testing.assert_allclose(rises[100], slope / 0.2, rtol=1e-12)
        assert np.all(np.diff(values) >= 0) and np.all(rises >= -1e-12)
        np.testing.assert_allclose(slopes(places, 1e-4)[0], np.heaviside(places, 0.5), atol=1e-30)


@pytest.mark.x64
def test_how_smooth_the_steps_end():
    """On both sides of an end: the slope of both, the curvature of the second alone."""
    ends = np.asarray([-1.0, 1.0]) * (0.2 - 1e-9)

    def bends(step):
        slope = jax.value_and_grad(jax.grad(step))
        return jax.jit(jax.vmap(slope, (0, None)))(ends, 0.2)

    slopes, curvatures = bends(cubic_step)
    assert np.max(np.abs(slopes)) < 1e-6
    np.testing.assert_allclose(curvatures, [1.5 / 0.04, -1.5 / 0.04], rtol=1e-6)
    slopes, curvatures = bends(quintic_step)
    assert np.max(np.abs(slopes)) < 1e-12 and np.max(np.abs(curvatures)) < 1e-5


def test_choice_by_a_score():
    score, one, other = jnp.asarray([-1.0, 0.0, 0.1, 1.0]), 3.0 * jnp.ones(4), jnp.zeros(4)
    for step in STEPS:
        mixed = soft_where(score, one, other, 0.2, step)
        np.testing.assert_allclose(mixed, 3 * step(score, 0.2), rtol=1e-6)
    np.testing.assert_allclose(soft_where(score, one, other, 1e-3), [0, 1.5, 3, 3], atol=1e-6)
    np.testing.assert_allclose(soft_where(score, other, one, 1e-3), [3, 1.5, 0, 0], atol=1e-6)


def test_hard_values_with_soft_gradients():
    x = draw(7)
    soft = partial(soft_argmax, temperature=0.5)
    hard = lambda x: rankdata(np.asarray(x)).astype(int)  # noqa: E731 - no gradient, no tracing
    joined = straight_through(hard, soft)
    np.testing.assert_array_equal(joined(x), rankdata(x))

    def measure(function, x):
        return jnp.sum(jnp.arange(7.0) * function(x) ** 2)

    through = straight_through(lambda x: jnp.round(x), lambda x: jnp.sin(x))
    gradient = jax.grad(partial(measure, through))(x)
    expected = jnp.arange(7.0) * 2 * jnp.round(x) * jnp.cos(x)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    bend = jax.grad(jax.grad(through))(0.7)
    np.testing.assert_allclose(bend, -np.sin(0.7), rtol=1e-6)
    assert float(through(jnp.asarray(0.7))) == 1.0


def test_hard_values_are_exact_and_may_be_trees():
    through = straight_through(
        lambda x, y: {"sum": x + 1e-7 * y, "above": x > y},
        lambda x, y: {"sum": 1e6 * x, "above": soft_step(x - y, 0.1)},
    )
    answer, change = jax.jvp(through, (1.0, 0.98), (1.0, 0.0))
    assert answer["above"] == 1.0 and answer["sum"] == np.float32(1 + 0.98e-7)
    np.testing.assert_allclose(change["sum"], 1e6)
    np.testing.assert_allclose(change["above"], jax.grad(soft_step)(0.02, 0.1), rtol=1e-5)
    with pytest.raises(ValueError, match=r"hard must return the shape of soft, \(3,\), got \(\)"):
        straight_through(jnp.max, lambda x: x)(jnp.ones(3))


@pytest.mark.x64
def test_maxima_as_defined():
    x, t = draw(3, 5), 0.7
    powers = np.exp(np.asarray(x) / t)
    weights = powers / powers.sum(-1, keepdims=True)
    negative = np.exp(-np.asarray(x) / t)
    lower = (negative * x).sum(-1) / negative.sum(-1)
    expected = {
        "soft_maximum": t * np.log(powers.sum(-1)),
        "soft_argmax": weights,
        "boltzmann_maximum": (weights * x).sum(-1),
        "soft_minimum": -t * np.log(negative.sum(-1)),
        "boltzmann_minimum": lower,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(COMPILED[name](x, t), value, rtol=1e-13, err_msg=name)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(soft_maximum(x, t))))(x)
    np.testing.assert_allclose(gradient, weights, rtol=1e-13)
    equal = COMPILED["soft_argmax"](jnp.asarray([[2.0, 2.0, 1.0]]), 1e-3)
    np.testing.assert_allclose(equal, [[0.5, 0.5, 0]])


@pytest.mark.x64
def test_order_as_defined():
    """The sums of the scan, as matrices."""
    x, t = np.asarray(draw(4, 9)), 0.4
    found = jax.jit(
        lambda x: (
            soft_sort(x, t), soft_rank(x, t), soft_top_k(x, 4, t), soft_quantile(x, 0.3, t),
            soft_median(x, t),
        )
    )(jnp.asarray(x))  # fmt: skip
    s = np.sort(x, axis=-1)
    weights = np.exp(-np.abs(s[:, :, None] - x[:, None, :]) / t)
    means = np.einsum("bij,bj->bi", weights, x) / weights.sum(-1)
    apart = x[:, :, None] - x[:, None, :]
    below = 0.5 + 0.5 * np.sign(apart) * (1 - np.exp(-np.abs(apart) / t))
    expected = (
        means, 0.5 + below.sum(-1), means[:, :-5:-1], 0.6 * means[:, 2] + 0.4 * means[:, 3],
        means[:, 4],
    )  # fmt: skip
    for one, definition in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, definition, rtol=1e-12)


@pytest.mark.x64
def test_the_chosen_add_to_their_number():
    x = draw(11)
    for k in (1, 4, 10):
        weights = np.asarray(top_k_weights(x, k, 0.3))
        np.testing.assert_allclose(weights.sum(), k, rtol=1e-12)
        # One threshold for all.
        thresholds = np.asarray(x) - 0.3 * np.log(weights / (1 - weights))
        np.testing.assert_allclose(thresholds, thresholds[0], rtol=1e-8)
    np.testing.assert_array_equal(top_k_weights(x, 11, 0.3), np.ones(11))
    total = jax.grad(lambda x: jnp.sum(top_k_weights(x, 4, 0.3)))(x)
    np.testing.assert_allclose(total, 0, atol=1e-13)


@pytest.mark.x64
@pytest.mark.parametrize("name", ALL)
def test_the_limit_is_the_hard_one(name):
    soft, hard = COMPILED[name], ALL[name][1]
    x = draw(2, 7, seed=3)
    assert np.min(np.diff(np.sort(x))) > 1e-2
    np.testing.assert_allclose(soft(x, 1e-4), hard(np.asarray(x)), rtol=1e-10, atol=1e-10)
    assert np.max(np.abs(soft(x, 1.0) - hard(np.asarray(x)))) > 0.04


@pytest.mark.x64
@pytest.mark.parametrize("name", DISTINCT)
def test_gradients(name):
    """First ones by either mode, and one product with the second, against differences."""
    soft, eps = ALL[name][0], 1e-6
    x, t, direction = draw(2, 7, seed=1), 0.3, draw(2, 7, seed=3)
    pull = draw(*jax.eval_shape(COMPILED[name], x, t).shape, seed=2)
    slopes = jax.value_and_grad(lambda x, t: jnp.sum(pull * soft(x, t)), argnums=(0, 1))

    @jax.jit
    def everything(x, t):
        (value, (by_x, by_t)), (along, (bend, _)) = jax.jvp(
            lambda x: slopes(x, t), (x,), (direction,)
        )
        return value, by_x, by_t, along, bend

    _, by_x, by_t, along, bend = everything(x, t)
    ahead, back = (everything(x + e * direction, t) for e in (eps, -eps))
    slope = (ahead[0] - back[0]) / (2 * eps)
    np.testing.assert_allclose(jnp.sum(by_x * direction), slope, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(along, slope, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(bend, (ahead[1] - back[1]) / (2 * eps), rtol=1e-5, atol=1e-6)
    ahead, back = (everything(x, t + e)[0] for e in (eps, -eps))
    np.testing.assert_allclose(by_t, (ahead - back) / (2 * eps), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", DISTINCT)
def test_axes_batches_and_order(name):
    soft, one = ALL[name][0], COMPILED[name]
    x, t = draw(3, 7, 2, seed=5), 0.4
    loop = np.stack([[one(x[i, :, j], t) for j in range(2)] for i in range(3)])
    whole = np.asarray(jax.jit(lambda x: soft(x, t, 1))(x))
    whole = np.moveaxis(whole, 1, -1) if name in KEPT else whole
    np.testing.assert_allclose(whole, loop, rtol=1e-5, atol=1e-6)
    mapped = jax.jit(jax.vmap(jax.vmap(lambda x: soft(x, t), 1), 0))(x)
    np.testing.assert_allclose(mapped, loop, rtol=1e-5, atol=1e-6)

    eager = soft(x[0, :, 0], t)
    np.testing.assert_allclose(eager, loop[0, 0], rtol=1e-5, atol=1e-6)
    assert eager.dtype == np.float32
    order = np.random.default_rng(0).permutation(7)
    expected = loop[0, 0][order] if name in EQUIVARIANT else loop[0, 0]
    np.testing.assert_allclose(one(x[0, order, 0], t), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.x64
def test_order_is_kept():
    orders = jax.jit(lambda x, t: (soft_rank(x, t), top_k_weights(x, 9, t), soft_argmax(x, t)))
    for seed in range(3):
        x = draw(40, seed=seed)
        for t in (0.01, 0.3, 5.0):
            assert np.all(np.diff(COMPILED["soft_sort"](x, t)) >= 0)
            by_value = np.argsort(np.asarray(x))
            for ranking in orders(x, t):
                assert np.all(np.diff(np.asarray(ranking)[by_value]) >= -1e-13)
            np.testing.assert_allclose(jnp.sum(orders(x, t)[0]), 40 * 41 / 2, rtol=1e-12)


@pytest.mark.x64
def test_scale_and_origin():
    x = draw(2, 7)
    moved, t = 7 * x - 3, 0.3
    for name in ("soft_sort", "soft_maximum", "boltzmann_maximum", "soft_median"):
        soft = COMPILED[name]
        np.testing.assert_allclose(soft(moved, 7 * t), 7 * soft(x, t) - 3, rtol=1e-11)
    for name in EQUIVARIANT:
        soft = COMPILED[name]
        np.testing.assert_allclose(soft(moved, 7 * t), soft(x, t), rtol=1e-9)


@pytest.mark.x64
def test_ties():
    x = jnp.asarray([2.0, 1.0, 2.0, 3.0, 2.0])
    np.testing.assert_allclose(COMPILED["soft_rank"](x, 1e-3), rankdata(x), rtol=1e-12)
    np.testing.assert_allclose(COMPILED["soft_sort"](x, 1e-3), np.sort(x), rtol=1e-12)
    thirds = [1 / 3, 0, 1 / 3, 1, 1 / 3]
    np.testing.assert_allclose(top_k_weights(x, 2, 1e-3), thirds, atol=1e-12)
    # The rank has one gradient there, whichever of the equal ones is sorted first.
    matrix = np.asarray(jax.jit(jax.jacobian(lambda x: soft_rank(x, 0.5)))(x))
    order = [2, 1, 4, 3, 0]
    np.testing.assert_allclose(matrix[np.ix_(order, order)], matrix, rtol=1e-12)
    np.testing.assert_allclose(matrix[0, 1], -np.exp(-2.0), rtol=1e-12)  # -exp(-1 / t) / (2 t)
    np.testing.assert_allclose(matrix[0, 0], 2 + 2 * np.exp(-2.0), rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_one_value(name):
    if name in ("soft_top_k", "top_k_weights"):
        soft = {"soft_top_k": soft_top_k, "top_k_weights": top_k_weights}[name]
        value = soft(jnp.asarray([2.5]), 1, 0.3)
    else:
        value = ALL[name][0](jnp.asarray([2.5]), 0.3)
    expected = 1.0 if name in EQUIVARIANT else 2.5
    np.testing.assert_allclose(np.ravel(value), [expected], rtol=1e-7)


EXTREME = {
    "huge": [1e30, -1e30, 0.0, 1e30, 1.0, 3e38],
    "the whole range": [3e38, -3e38, 2e38, 1.0, -1.0, 0.0],
    "equal": [2.0] * 6,
    "tiny": [1e-30, 2e-30, 0.0, 1e-38, 3e-30, 5e-30],
}


@pytest.mark.parametrize("name", DISTINCT)
def test_nothing_overflows(name):
    measure = lambda x, t: jnp.mean(ALL[name][0](x, t) / 6)  # noqa: E731
    slopes = jax.jit(jax.value_and_grad(measure, argnums=(0, 1)))
    for kind, values in EXTREME.items():
        x = jnp.asarray(values, jnp.float32)
        for t in (1e-3, 1.0, 1e3):
            value, gradients = slopes(x, t)
            assert np.isfinite(value), (kind, t)
            assert all(np.all(np.isfinite(each)) for each in gradients), (kind, t)


def test_the_order_of_huge_values():
    x = jnp.asarray(EXTREME["huge"], jnp.float32)
    np.testing.assert_allclose(
        COMPILED["soft_sort"](x, 1.0), np.sort(np.asarray(x)), rtol=1e-6, atol=0.6
    )  # 0 and 1 are mixed


def test_steps_do_not_overflow():
    x = jnp.asarray([3e38, -3e38, 0.0], jnp.float32)
    for step in STEPS:
        slopes = jax.jit(jax.vmap(jax.value_and_grad(step), (0, None)))
        for t in (1e-3, 1e3):
            values, rises = slopes(x, t)
            np.testing.assert_allclose(values, [1, 0, 0.5])
            assert np.all(np.isfinite(rises))


def test_bad_input():
    x = jnp.ones((2, 3))
    for name, (soft, _) in ALL.items():
        for t in (0.0, -1.0, float("inf")):
            with pytest.raises(ValueError, match=f"temperature must be finite and > 0, got {t}"):
                soft(x, t)
        with pytest.raises(ValueError, match="axis must be one of the 2 axes of x, got 2"):
            soft(x, 0.1, 2)
        with pytest.raises(ValueError, match=r"entries along axis -1, got shape \(2, 0\)"):
            soft(jnp.ones((2, 0)), 0.1)
        with pytest.raises(ValueError, match="x must hold real floating-point numbers"):
            soft(jnp.ones((2, 3), int), 0.1), name
    for step in STEPS:
        with pytest.raises(ValueError, match="temperature must be finite and > 0, got 0"):
            step(x, 0.0)
    for choice in (soft_top_k, top_k_weights):
        with pytest.raises(ValueError, match="k must be at most 3, the entries along the axis"):
            choice(x, 4, 0.1)
        with pytest.raises(ValueError, match="k must be an integer >= 1, got 0"):
            choice(x, 0, 0.1)
    for level in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match=f"level must lie between 0 and 1, got {level}"):
            soft_quantile(x, level, 0.1)
