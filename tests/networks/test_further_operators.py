"""Laws of the U-shaped Fourier operator and of attention among slices."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import fit
from jaxpbdl.networks import FNO, UNO, Transolver
from jaxpbdl.networks.uno import resampled

KEY = jax.random.key(0)


@eqx.filter_jit
def call(net, *arguments):
    return net(*arguments)


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def uno(ndim=2, **options):
    return UNO(ndim, 2, 1, **{"modes": 4, "width": 3, "hidden": 6, **options}, key=KEY)


def transolver(dim=2, **options):
    sizes = {"width": 8, "depth": 2, "heads": 2, "slices": 5, "hidden": 7}
    return Transolver(dim, 2, 1, **{**sizes, **options}, key=KEY)


def smooth(points):
    x = jnp.arange(points) / points
    wave = jnp.sin(2 * jnp.pi * x)
    return jnp.stack([wave[:, None] + 0 * x, wave[:, None] * jnp.cos(4 * jnp.pi * x)])


def test_resampling_keeps_the_waves():
    for points in (12, 15, 40):
        found = resampled(jnp.moveaxis(smooth(20), 0, -1), (points, points))
        np.testing.assert_allclose(found, jnp.moveaxis(smooth(points), 0, -1), atol=1e-5)


@pytest.mark.parametrize("grid", [(17,), (8, 9), (7, 8, 9)])
def test_uno_in_every_dimension(grid):
    assert call(uno(len(grid)), normal(1, (2, *grid))).shape == (1, *grid)


@pytest.mark.parametrize("options", [{}, {"levels": 3}, {"padding": 0.25, "coordinates": True}])
def test_resolution_does_not_matter(options):
    net = uno(**options)
    coarse, fine, finest = (call(net, smooth(n)) for n in (32, 64, 128))
    # Continued by zeros a field jumps at the edge of the box: first order in the spacing.
    tolerance = 0.15 if "padding" in options else 0.02
    first, second = coarse - fine[:, ::2, ::2], fine - finest[:, ::2, ::2]
    assert jnp.std(first) < tolerance * jnp.std(finest)
    assert jnp.std(second) < 0.6 * jnp.std(first) + 1e-5


def test_uno_commutes_with_shifts_of_the_coarsest_grid():
    field, net = normal(1, (2, 16, 24)), uno()
    shifted = call(net, jnp.roll(field, (4, 8), (1, 2)))
    np.testing.assert_allclose(shifted, jnp.roll(call(net, field), (4, 8), (1, 2)), atol=1e-4)


NETWORKS = [(uno(), ((2, 9, 10),)), (transolver(), ((11, 2), (11, 2)))]


@pytest.mark.parametrize(("net", "shapes"), NETWORKS)
def test_gradient_reaches_every_leaf(net, shapes):
    inputs = [normal(seed, shape) for seed, shape in enumerate(shapes)]
    slopes = eqx.filter_jit(eqx.filter_grad(lambda net: jnp.sum(net(*inputs) ** 2)))(net)
    for path, slope in jax.tree_util.tree_leaves_with_path(slopes):
        assert jnp.all(jnp.isfinite(slope)), path
        assert jnp.any(slope != 0), path


@pytest.mark.parametrize(("net", "shapes"), NETWORKS)
def test_vmap_is_the_loop(net, shapes):
    inputs = [normal(seed, (3, *shape)) for seed, shape in enumerate(shapes)]
    together = jax.jit(jax.vmap(lambda *one: net(*one)))(*inputs)
    for i in range(3):
        alone = call(net, *(batch[i] for batch in inputs))
        np.testing.assert_allclose(together[i], alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_attention_knows_no_order_and_no_number_of_points(dim):
    net, points, values = transolver(dim), normal(1, (9, dim)), normal(2, (9, 2))
    answer = call(net, values, points)
    order = np.random.default_rng(0).permutation(9)
    np.testing.assert_allclose(call(net, values[order], points[order]), answer[order], atol=1e-5)
    twice = call(net, jnp.concatenate([values] * 2), jnp.concatenate([points] * 2))
    np.testing.assert_allclose(twice[:9], answer, atol=1e-5)
    # A point that stands for twice as much of the domain is a point that is there twice.
    measure = jnp.ones(9).at[4].set(2.0)
    index = jnp.asarray([*range(9), 4])
    doubled = call(net, values[index], points[index])
    np.testing.assert_allclose(call(net, values, points, measure), doubled[:9], atol=1e-5)


def test_attention_sees_the_whole_domain():
    net, points, values = transolver(), normal(1, (9, 2)), normal(2, (9, 2))
    slope = jax.jit(jax.grad(lambda v: net(v, points)[0, 0]))(values)
    assert jnp.all(jnp.any(slope != 0, axis=1))


@pytest.mark.parametrize("kind", ["uno", "transolver"])
def test_a_simple_operator_is_learnt(kind):
    """The mean over the domain; a point alone leaves 0.29 of its variance open."""
    x = jnp.arange(16) / 16

    def draw(key):
        mean, size = jax.random.normal(key, (2, 16, 1))
        return mean + size * jnp.cos(2 * jnp.pi * x), mean + 0 * x

    def answer(net, field):
        return net(field[None])[0] if kind == "uno" else net(field[:, None], x[:, None])[:, 0]

    def loss(net, batch):
        given, wanted = batch
        return jnp.mean((jax.vmap(lambda one: answer(net, one))(given) - wanted) ** 2)

    if kind == "uno":
        net = UNO(1, 1, 1, modes=4, width=8, levels=1, hidden=8, key=KEY)
    else:
        net = Transolver(1, 1, 1, width=16, depth=1, heads=2, slices=8, hidden=16, key=KEY)
    test = draw(jax.random.key(5))
    net, _ = fit(net, loss, draw, optax.adam(1e-2), 80, key=KEY, progress=False)
    assert loss(net, test) < 0.1 * jnp.mean(test[1] ** 2)


def test_bad_input():
    with pytest.raises(ValueError, match=r"modes \(4, 4\).*grid of \(6, 8\).*up to \(3, 4\)"):
        uno()(jnp.zeros((2, 6, 8)))
    with pytest.raises(ValueError, match=r"UNO.*2 channels.*2 grid axes"):
        uno(coordinates=True)(jnp.zeros((3, 8, 8)))
    with pytest.raises(ValueError, match="levels must be an integer >= 1, got 0"):
        uno(levels=0)
    with pytest.raises(ValueError, match="width must be a multiple of heads = 3, got 8"):
        transolver(heads=3)
    with pytest.raises(
        ValueError, match="channels and coordinates must be 4 together, got 1 and 2"
    ):
        transolver()(jnp.zeros((5, 1)), jnp.zeros((5, 2)))
    with pytest.raises(ValueError, match="use jax.vmap for a batch"):
        transolver()(jnp.zeros((5, 5, 2)), jnp.zeros((5, 5, 2)))


def test_padding_of_one_axis():
    """A box that is periodic along the first axis only, as in space against time."""
    network = FNO(2, 1, 1, modes=3, width=6, padding=(0.0, 0.25), key=jax.random.key(0))
    field = jax.random.normal(jax.random.key(1), (1, 12, 10))
    moved = network(jnp.roll(field, 5, 1))
    np.testing.assert_allclose(moved, jnp.roll(network(field), 5, 1), atol=1e-5)
    along = network(jnp.roll(field, 5, 2)) - jnp.roll(network(field), 5, 2)
    assert jnp.max(jnp.abs(along)) > 1e-3
    with pytest.raises(ValueError, match="one for each of 2 axes"):
        FNO(2, 1, 1, modes=3, width=6, padding=(0.1, 0.1, 0.1), key=jax.random.key(0))
