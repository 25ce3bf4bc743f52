"""The benchmark of Mosaic's protocol: gradients checked, swept, timed; drag; the Tesseract."""

import sys
import time
from importlib import import_module
from math import tau
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

mosaic, drag = import_module("mosaic"), import_module("mosaic_drag")
flows, tesseract = import_module("mosaic_flows"), import_module("tesseract_flow.spectral")

pytestmark = pytest.mark.x64


def test_the_check_passes_a_right_gradient_and_no_wrong_one():
    start, key = flows.random_waves(8), jax.random.key(0)
    flow = flows.spectral(3)
    right = mosaic.fd_check(flow, start, 4, key, (1e-2, 1e-3))
    assert right.error < 1e-6 and right.cosine > 1 - 1e-9

    @jax.custom_jvp
    def wrong(start):
        return flow(start)

    @wrong.defjvp
    def _(primals, tangents):
        value, change = jax.jvp(flow, primals, tangents)
        return value, change * jnp.asarray([1.0, -1.0])[:, None, None]

    found = mosaic.fd_check(wrong, start, 4, key, (1e-2, 1e-3))
    assert found.error > 1e-2


def test_the_flow_about_a_cylinder_passes():
    flow = flows.staggered(2, body=flows.CYLINDER)
    start = flows.random_waves(12)
    found = mosaic.fd_check(flow, start, 3, jax.random.key(0), (1e-2, 1e-3))
    assert found.error < 1e-6 and found.cosine > 1 - 1e-9
    end = jax.jit(flow)(start)
    assert not jnp.any(end[:, 6, 6]), "within the cylinder"
    assert jnp.max(jnp.abs(end - start)) < 0.3 and jnp.max(jnp.abs(end)) > 0.1


def test_both_solvers_agree():
    """On vortices that only decay: exactly in one, to second order in the other."""
    x, y = np.meshgrid(*[np.arange(16) * tau / 16] * 2, indexing="ij")
    start = jnp.stack([jnp.sin(x) * jnp.cos(y), -jnp.cos(x) * jnp.sin(y)])
    decay = np.exp(-2 * 0.1 * 4 * 0.05)
    exact, second = (jax.jit(solver(4, 0.1))(start) for solver in (flows.spectral, flows.staggered))
    np.testing.assert_allclose(exact, decay * start, atol=1e-10)
    # The way to the faces and back smooths each wave: the mean of neighbours, twice.
    smoothed = (decay * start) * (1 + np.cos(tau / 16)) / 2
    assert jnp.max(jnp.abs(second - smoothed)) < 2e-3


@pytest.mark.parametrize("dim", [2, 3])
def test_a_mean_flow_carries_the_rest_along(dim):
    start = flows.random_waves(8) if dim == 2 else flows.vortices(8)
    duration, steps = 2.0, 20
    # Two points along the first axis and minus one along the second.
    mean = jnp.asarray([2.0, -1.0, 0.0][:dim]) * tau / 8 / duration
    mean = mean.reshape(dim, *[1] * dim)
    flow = jax.jit(
        lambda velocity: tesseract.velocity_after(velocity, 0.05, duration / steps, steps)
    )
    after = [flow(velocity) for velocity in (start, start + mean)]
    expected = jnp.roll(after[0], (2, -1), (1, 2)) + mean
    np.testing.assert_allclose(after[1], expected, atol=1e-3 if dim == 3 else 1e-10)


def inputs(dim):
    start = flows.random_waves(8) if dim == 2 else flows.vortices(8)
    v0 = jnp.moveaxis(start[:, :, :, None] if dim == 2 else start, 0, -1)
    return {
        "v0": np.asarray(v0, np.float32),
        "viscosity": np.full(1, 0.05, np.float32),
        "dt": np.full(1, 0.1, np.float32),
        "steps": 2,
        "domain_extent": 3.0,
        "inflow_profile": np.ones((8, 2), np.float32),
    }


@pytest.mark.parametrize("dim", [2, 3])
def test_the_tesseract_computes_values_and_products(dim, monkeypatch):
    """Its endpoints, with stand-ins for the packages that serve them; products beside differences
    of the flow in double precision."""
    schema = type("Schema", (), {})
    problem = SimpleNamespace(InputSchema=schema, OutputSchema=schema)
    monkeypatch.setitem(sys.modules, "mosaic_shared.problems.navier_stokes_grid", problem)
    types = SimpleNamespace(make_differentiable=lambda base, names: base)
    monkeypatch.setitem(sys.modules, "mosaic_shared.types", types)
    validator = SimpleNamespace(model_validator=lambda mode: lambda method: method)
    monkeypatch.setitem(sys.modules, "pydantic", validator)
    monkeypatch.syspath_prepend(BENCHMARKS / "tesseract_flow")
    for name in ("tesseract_api", "spectral"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    api = import_module("tesseract_api")

    given = inputs(dim)
    served = SimpleNamespace(model_dump=lambda: given)
    result = api.apply(served)["result"]
    shape = SimpleNamespace(model_dump=lambda: {"v0": {"shape": (8, 8), "dtype": "float32"}})
    assert api.abstract_eval(shape) == {"result": {"shape": (8, 8), "dtype": "float32"}}
    assert result.shape == given["v0"].shape and result.dtype == jnp.float32

    start = np.moveaxis(given["v0"], -1, 0).astype(float).reshape(dim, *[8] * dim)
    cotangent = np.cos(np.arange(start.size)).reshape(start.shape)

    @jax.jit
    def value(viscosity, dt, bump):
        moved = jnp.asarray(start) * (1 + bump)
        return tesseract.velocity_after(moved, viscosity, dt, 2, 3.0)

    at = {"viscosity": 0.05, "dt": 0.1, "bump": 0.0}
    expected = np.moveaxis(value(**at), 0, -1).reshape(result.shape)
    np.testing.assert_allclose(result, expected, atol=1e-5)

    def slope(name):
        up, down = (value(**{**at, name: at[name] + h}) for h in (1e-4, -1e-4))
        return float(np.vdot(cotangent, up - down)) / 2e-4

    turned = np.moveaxis(cotangent, 0, -1).reshape(result.shape).astype(np.float32)
    wanted = {"v0", "viscosity", "dt", "inflow_profile"}
    found = api.vector_jacobian_product(served, wanted, {"result"}, {"result": turned})
    assert set(found) == wanted and not np.any(found["inflow_profile"])
    for name in wanted:
        assert np.shape(found[name]) == np.shape(given[name])
    assert float(found["viscosity"][0]) == pytest.approx(slope("viscosity"), rel=1e-3)
    assert float(found["dt"][0]) == pytest.approx(slope("dt"), rel=1e-3)
    assert float(np.vdot(found["v0"], given["v0"])) == pytest.approx(slope("bump"), rel=1e-3)

    walls = SimpleNamespace(boundary_conditions=SimpleNamespace(is_fully_periodic=False))
    with pytest.raises(ValueError, match="boundary_conditions must be periodic"):
        api.InputSchema.check_sides(walls)


def test_the_memory_of_a_horizon_grows_like_the_root_of_the_steps():
    short, long = mosaic.horizon(64, 8), mosaic.horizon(256, 8)
    assert np.isfinite([short.norm, long.norm]).all() and short.norm != long.norm
    assert 1.5 * short.bytes < long.bytes < 2.5 * short.bytes
    assert long.seconds.clock > 0 and long.resident > long.bytes


def test_seconds_and_ratios():
    taken = mosaic.least(lambda: time.sleep(0.02) or jnp.zeros(()), 2)
    assert taken.clock >= 0.02 > taken.processor
    forward, product = mosaic.Seconds(0.5, 100.0), mosaic.Seconds(1.5, 100.0)
    sweep = mosaic.Sweep(product, 0)
    assert mosaic.Cost(forward, sweep, sweep).ratio(sweep) == 3.0


def test_keeping_all_states_takes_more_memory():
    start = flows.random_waves(12)
    found = mosaic.cost(lambda again: flows.staggered(36, checkpoint=again), start, 1)
    assert found.kept.bytes > 2 * found.recomputed.bytes > 12 * start.nbytes
    assert found.forward.clock > 0 and found.recomputed.seconds != found.kept.seconds


def test_the_gradient_of_the_drag_to_the_inlet():
    inlet = 0.5 + 0.1 * jnp.sin(jnp.arange(32.0))
    both = jax.jit(jax.value_and_grad(lambda inlet: tuple(drag.loss_of(inlet, 4)), has_aux=True))
    gradient = both(inlet)[1]

    def loss(inlet):
        return drag.Loss(*both(inlet)[0])

    for direction in (jnp.ones(32), jnp.cos(jnp.arange(32.0))):
        up, down = (loss(inlet + h * direction).value for h in (1e-5, -1e-5))
        assert float(gradient @ direction) == pytest.approx(float(up - down) / 2e-5, rel=1e-6)
    found, faster = loss(inlet), loss(inlet + 0.1)
    assert 0 < found.drag < faster.drag
    penalty = 50 * (jnp.mean(inlet) - 0.5) ** 2
    assert float(found.value) == pytest.approx(float(found.drag + penalty), rel=1e-12)
    assert float(faster.value - faster.drag) == pytest.approx(0.5, rel=0.2)


def test_the_inlet_is_lowered_until_patience_ends(monkeypatch):
    def flat(inlet, steps):
        return drag.Loss(0 * jnp.sum(inlet), 2.0 * inlet[0])

    monkeypatch.setattr(drag, "loss_of", flat)
    found = drag.lowered(4, patience=3)
    assert found.iterations == 4 and float(found.best.drag) == 1.0

    def rising(inlet, steps):
        return drag.Loss(-jnp.sum(inlet), inlet[0])

    monkeypatch.setattr(drag, "loss_of", rising)
    monkeypatch.setattr(drag, "FASTEST", 0.501)
    found = drag.lowered(4, iterations=5)
    assert found.iterations == 5
    np.testing.assert_allclose(found.inlet, 0.501, atol=1e-6)
    assert float(found.first.value) == -2.0 and float(found.best.value) == pytest.approx(-2.004)
