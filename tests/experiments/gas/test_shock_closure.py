"""A network inside the fluxes: bounded, symmetric, conservative, differentiable; a small run."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.gas import shock_closure
from jaxpbdl.experiments.gas.learned_slopes import features, random_slopes
from jaxpbdl.experiments.gas.riemann_problems import (
    exact_densities,
    on_cells,
    random_problems,
    starts,
    steps_of,
)
from jaxpbdl.experiments.gas.schemes import PLAIN, errors
from jaxpbdl.experiments.gas.shock_closure import EXPERIMENT, Config
from jaxpbdl.experiments.training import Training
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.compressible import finite_volumes, minmod, primitive_lines

GAS = CompressibleFlow(1)
MIRROR = jnp.array([1.0, -1.0, 1.0])[:, None]


def wild(seed=0, scale=100.0):
    """A network with weights that no training would give."""
    model = random_slopes(4, jax.random.key(seed))
    model = jax.tree.map(lambda weights: scale * weights, model)
    return model


def parts(values):
    """Five neighbours of each cell but the outer ones."""
    return [values[:, k : k + values.shape[1] - 4] for k in range(5)]


@jax.jit
def differences(model, values):
    """Before and after each cell, and the one that the model gives."""
    _, low, here, high, _ = cells = parts(values)
    return here - low, high - here, model.difference(*cells)


def gas(cells, seed=0):
    """Primitive variables, of jumps of all sizes."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(3, cells)) * 10.0 ** random.uniform(-3, 0, (1, cells))
    return jnp.asarray(np.stack([np.exp(values[0]), values[1], np.exp(2 * values[2])]))


@pytest.mark.x64
def test_slopes_lie_between_two_limiters_whatever_the_weights():
    """Both ends are nearly reached, and none is passed; extrema are level."""
    before, after, found = differences(wild(), gas(400))
    careful = minmod(before, after)
    steep = jnp.abs(careful) > 0
    share = jnp.where(steep, found / jnp.where(steep, careful, 1.0), 1.0)
    assert 1 - 1e-12 <= float(share.min()) < 1.05 and 1.95 < float(share.max()) <= 2 + 1e-12
    assert bool(jnp.all(found[~steep] == 0)) and 0.2 < float(jnp.mean(steep)) < 0.8


@pytest.mark.x64
def test_mirror_units_and_frame():
    values, model = gas(40, 1), random_slopes(4, jax.random.key(1))
    found = differences(model, values)[2]
    turned = differences(model, (MIRROR * values)[:, ::-1])[2]
    np.testing.assert_allclose(-(MIRROR * turned)[:, ::-1], found, rtol=1e-9, atol=1e-12)
    # Density in other units and pressure with it, velocities in those of another second.
    units = jnp.array([5.0, 3.0, 45.0])[:, None]
    np.testing.assert_allclose(differences(model, units * values)[2], units * found, rtol=1e-9)
    wind = jnp.array([0.0, 7.0, 0.0])[:, None]
    np.testing.assert_allclose(differences(model, values + wind)[2], found, rtol=1e-6, atol=1e-9)
    assert float(jnp.abs(jax.jit(features)(*parts(values))).max()) <= 1


@pytest.mark.x64
def test_conservation_and_mirror_of_the_flow():
    step = finite_volumes(
        GAS, Cells(20, 1.0, periodic=True), 0.002, reconstruction=wild(2),
        variables=primitive_lines, guard=None,
    )  # fmt: skip
    state = GAS.conserved(gas(20, 2))
    rates = eqx.filter_jit(step.rates)
    found = rates(state)
    size = float(jnp.abs(found).max())
    assert size > 0.01
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-13 * size)
    turned = rates((MIRROR * state)[:, ::-1])
    np.testing.assert_allclose((MIRROR * turned)[:, ::-1], found, atol=1e-10 * size)


@pytest.mark.x64
def test_gradient_to_the_weights():
    values, model = gas(12, 3), random_slopes(2, jax.random.key(3))
    weights = jnp.linspace(1, 2, 24).reshape(3, 8)

    @jax.jit
    def total(model):
        return jnp.sum(weights * model.difference(*parts(values)))

    slope, change = jax.jit(jax.grad(total))(model), jax.tree.map(jnp.cos, model)
    moved = [jax.tree.map(lambda w, d, s=s: w + s * d, model, change) for s in (1e-5, -1e-5)]
    found = (total(moved[0]) - total(moved[1])) / 2e-5
    along = jax.tree.map(lambda g, d: float(jnp.sum(g * d)), slope, change)
    assert float(found) == pytest.approx(sum(jax.tree.leaves(along)), rel=1e-6)
    assert abs(float(found)) > 1e-3


def test_problems():
    """No wave has left, means hold the mass, strong ones are strong, a plain scheme converges."""
    problems = random_problems(3, 8, 0.1, 0.7)
    truth = exact_densities(problems, 40)
    begin = np.asarray(starts(problems, 40))[:, 0]
    np.testing.assert_allclose(truth[:, [0, -1]], begin[:, [0, -1]], rtol=1e-6)
    moved = np.abs(truth - begin) > 1e-6
    assert np.all(moved[:, 2:-2].sum(axis=1) > 8)
    edge = np.argmax(np.maximum(moved[:, ::-1], moved), axis=1) / 40
    assert np.all(edge > 0.02) and edge.min() < 0.15  # a fastest wave has gone 0.4, of which some
    # are shocks or heads of fans whose change is seen
    strong = random_problems(3, 8, 0.1, 0.7, 100.0).states[:, :, 2]
    ratio = strong.max(axis=1) / strong.min(axis=1)
    assert np.all((ratio >= 10) & (ratio <= 100))
    found = errors(PLAIN["superbee"], on_cells(problems, 40), steps_of(40, 0.9))
    assert 0.003 < found.mean() < 0.012


def test_bad_input():
    model = random_slopes(2, jax.random.key(0))
    with pytest.raises(ValueError, match="3 values; got 4"):
        model.difference(*[jnp.ones((4, 9))] * 5)
    with pytest.raises(TypeError, match="lines of the primitive variables: primitive_lines"):
        finite_volumes(CompressibleFlow(1), Cells(8), 1e-3, reconstruction=model).advance(
            jnp.ones((3, 8))
        )
    with pytest.raises(ValueError, match="courant must be at most 1"):
        Config(courant=1.2)
    with pytest.raises(ValueError, match=r"low must be in \(0, 1\), got 1"):
        Config(low=1.0)
    with pytest.raises(ValueError, match="strong must be at least 10, got 5"):
        Config(strong=5.0)
    with pytest.raises(ValueError, match="at least 20 cells, got 10"):
        Config(cells=10)


SMALL = Config(
    members=1, width=2, cells=20, problems=8, validation=2, test=3, waves=0, timing_repeats=1,
    training=Training(updates=2, batch=2, learning_rate=1e-2, average=None),
    learned_cells=(24,), plain_cells=(24,), plain_courants=(0.9,),
)  # fmt: skip


def test_a_small_run(tmp_path, monkeypatch):
    """Two updates, and a front of three plain schemes."""
    models = []

    def trained(config, folder):
        found = shock_closure_trained(config, folder)
        models.extend(found[0])
        assert all(np.isfinite(loss).all() for loss in found[1].values())
        return found

    shock_closure_trained = shock_closure.trained
    monkeypatch.setattr(shock_closure, "trained", trained)
    kept = {name: PLAIN[name] for name in ("first_order", "superbee", "weno")}
    monkeypatch.setattr(shock_closure, "PLAIN", kept)
    contract.execute(EXPERIMENT, "quick", SMALL, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert 0 < metrics["pay_off"] == metrics["pay_off_min"]
    for weight in jax.tree.leaves(models[0]):
        assert jnp.all(weight != 0), "a weight that has not been trained"
    assert metrics["superbee.l1_24"] < metrics["first_order.l1_24"]
    assert metrics["learned.l1_24"] == pytest.approx(metrics["superbee.l1_24"], rel=0.1)
    for name in ("front.png", "density.png"):
        assert (tmp_path / name).stat().st_size > 5000
