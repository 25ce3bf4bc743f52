"""The losses of maps between functions, by hand; small operators that learn, one without data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.fields import Box, uniform
from jaxpbdl.learning import (
    Samples,
    defect_loss,
    fit,
    operator_residual_loss,
    relative_h1_loss,
    relative_l2_loss,
)
from jaxpbdl.networks import FNO, DeepONet


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def nothing(field):
    return 0 * field


@pytest.mark.parametrize("loss", [relative_l2_loss, relative_h1_loss])
def test_scale_and_size_of_a_sample_do_not_matter(loss):
    truth = normal(1, (3, 1, 6, 7))
    np.testing.assert_allclose(loss(nothing, (truth, truth)), 1.0, rtol=1e-6)
    sizes = jnp.asarray([1.0, 10.0, 0.1]).reshape(3, 1, 1, 1)
    half = lambda field: 0.5 * field  # noqa: E731
    np.testing.assert_allclose(loss(half, (sizes * truth, sizes * truth)), 0.5, rtol=1e-6)


def test_values_by_hand():
    truth, wrong = normal(1, (2, 1, 8)), normal(2, (2, 1, 8))
    model = lambda field: field  # noqa: E731
    each = [np.linalg.norm(w - t) / np.linalg.norm(t) for w, t in zip(wrong, truth, strict=True)]
    np.testing.assert_allclose(relative_l2_loss(model, (wrong, truth)), np.mean(each), rtol=1e-5)

    def energy(field):
        return np.mean(field**2) + np.mean((8 * np.diff(field)) ** 2)

    each = [np.sqrt(energy(w - t) / energy(t)) for w, t in zip(wrong, truth, strict=True)]
    np.testing.assert_allclose(relative_h1_loss(model, (wrong, truth)), np.mean(each), rtol=1e-5)


@pytest.mark.parametrize("loss", [relative_l2_loss, relative_h1_loss])
def test_fault_25_a_perfect_prediction_has_a_finite_gradient(loss):
    truth = normal(1, (2, 1, 5))
    slope = jax.grad(lambda s: loss(lambda field: s * field, (truth, truth)))(1.0)
    assert jnp.isfinite(slope)


def test_an_fno_learns_the_derivative():
    """One period of waves up to three: a derivative is a factor of each mode."""
    x = np.arange(24) / 24
    amounts = np.asarray(normal(1, (64, 3, 2)))
    k = 2 * np.pi * np.arange(1, 4)[:, None]
    waves = np.stack([np.cos(k * x), np.sin(k * x)], 1)
    slopes = np.stack([-np.sin(k * x), np.cos(k * x)], 1) * k[..., None] / 10
    inputs, outputs = (np.einsum("nkp,kpx->nx", amounts, w)[:, None] for w in (waves, slopes))
    pairs = Samples(inputs.astype(np.float32), outputs.astype(np.float32), batch=16)
    net = FNO(1, 1, 1, modes=4, width=8, depth=2, hidden=16, key=jax.random.key(0))
    fitted, history = fit(
        net, relative_l2_loss, pairs, optax.adam(1e-2), 200, key=jax.random.key(1), progress=False
    )
    assert history.loss[-20:].mean() < 0.2 * history.loss[0]


DECAY = 4 * np.pi**2 * 0.05
HEAT = jp.equations.AdvectionDiffusion(diffusivity=0.05)
POINTS = uniform(jax.random.key(2), Box((0.0, 0.0), (1.0, 1.0)), 20)


def decaying(rate):
    """From the amplitude of a wave to the field in which it decays."""

    def operator(amplitude):
        return lambda point: (
            amplitude[0] * jnp.sin(2 * jnp.pi * point[0]) * jnp.exp(-rate * point[1])
        )

    return operator


def test_the_residual_of_an_operator_by_hand():
    amplitudes = jnp.asarray([[1.0], [-2.0], [0.5]])
    loss = jax.jit(lambda rate: operator_residual_loss(HEAT, decaying(rate), amplitudes, POINTS))
    np.testing.assert_allclose(loss(DECAY), 0, atol=1e-9)
    x, t = POINTS.T
    wave = np.mean((np.sin(2 * np.pi * x) * np.exp(-t)) ** 2)
    expected = (DECAY - 1) ** 2 * wave * np.mean(amplitudes**2)
    np.testing.assert_allclose(loss(1.0), expected, rtol=1e-4)


def test_an_operator_learns_from_its_equation_alone():
    """Heat: the operator starts at the right state, and the residual does the rest."""

    class Decay(eqx.Module):
        network: DeepONet

        def __call__(self, amplitude):
            field = self.network(amplitude)
            return lambda p: (
                amplitude[0] * jnp.sin(2 * jnp.pi * p[0]) + p[1] * field(p)[0] * p[0] * (1 - p[0])
            )

    start = Decay(DeepONet(1, 2, branch=(16,), trunk=(16,), rank=8, key=jax.random.key(0)))

    def error(operator):
        amplitude = jnp.asarray([0.7])
        truth, answer = (jax.vmap(one(amplitude))(POINTS) for one in (decaying(DECAY), operator))
        return float(jnp.linalg.norm(answer - truth) / jnp.linalg.norm(truth))

    def loss(operator, amplitudes):
        return operator_residual_loss(HEAT, operator, amplitudes, POINTS)

    draw = lambda key: jax.random.uniform(key, (8, 1), minval=-1.0)  # noqa: E731
    found, _ = fit(start, loss, draw, optax.adam(1e-2), 300, key=jax.random.key(1), progress=False)
    assert error(found) < 0.5 * error(start)


def test_the_defect_of_an_operator():
    grid = jp.grids.Periodic(16, 1.0)
    step = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.05), grid, 0.02)
    states = 0.3 * jax.vmap(lambda a: jnp.sin(2 * jnp.pi * grid.axes[0] + a))(jnp.arange(3.0))
    exact = lambda state: jp.rollout(step, state, 4)[1:]  # noqa: E731
    assert jax.jit(lambda s: defect_loss(step, exact, s))(states) < 1e-6
    later = lambda state: jnp.stack([step(state), step(step(state)) + 0.1])  # noqa: E731
    # Of the two steps the first is right, and the second off by 0.1.
    found = jax.jit(lambda s: defect_loss(step, later, s))(states)
    np.testing.assert_allclose(found, 0.1 / 2**0.5, rtol=1e-3)
