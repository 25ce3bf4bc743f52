"""Steps on grids, sizes and types that nobody chose: hypothesis draws them.

What has to hold for all: states keep the shape and type of the first one, are finite, the same
inside and outside of `rollout`, and what is conserved stays. The draws are the same in every run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxpbdl as jp
from jaxpbdl.equations import CompressibleFlow, IncompressibleFlow, Scalar
from jaxpbdl.grids import Cells, Periodic, Spectrum
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.compressible import finite_volumes, muscl, primitive, van_leer
from jaxpbdl.solvers.flow import incompressible
from jaxpbdl.solvers.spectral import semilinear
from tests.cases import CASES, SCHEMES

few = settings(
    max_examples=8, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
types = st.sampled_from(["float32", "float64"])
lengths = st.floats(0.3, 40.0)


def shapes(ndim, least, most):
    return st.tuples(*[st.integers(least, most)] * ndim)


def assert_like(found, given):
    for leaf, like in zip(jax.tree.leaves(found), jax.tree.leaves(given), strict=True):
        assert leaf.shape == like.shape and leaf.dtype == like.dtype
        assert bool(jnp.all(jnp.isfinite(leaf)))


@few
@given(data=st.data(), dtype=types)
def test_spectral_steps(data, dtype):
    """Any equation by any scheme, from one point an axis on."""
    case = data.draw(st.sampled_from(CASES), label="equation")
    scheme, _ = data.draw(st.sampled_from(SCHEMES), label="scheme")
    ndim = len(case.shape)
    shape = data.draw(shapes(ndim, 1, 9), label="shape")
    box = data.draw(st.tuples(*[lengths] * ndim), label="lengths")
    with jax.enable_x64(dtype == "float64"):
        grid = Periodic(shape, box, dtype=dtype)
        step = semilinear(case.make(), grid, 1e-3, scheme)
        state = 0.1 + 0.01 * jax.random.normal(
            jax.random.key(0), (*case.make().value_shape, *shape), grid.dtype
        )
        states = jp.rollout(step, state, 2)
        assert_like(states[1], state)
        once = step(step(state))
        scale = float(jnp.abs(once).max()) + 1e-3
        round_off = 1e-4 if dtype == "float32" else 1e-9
        if not scheme(jnp.zeros(()), 1e-3).remembers:
            np.testing.assert_allclose(states[2] / scale, once / scale, atol=round_off)
        if "mean" in case.conserves and case.name != "navier-stokes-3d":
            axes = tuple(range(-ndim, 0))
            start = step.leave(step.enter(state)).mean(axes)
            np.testing.assert_allclose(states[2].mean(axes), start, atol=round_off)


@few
@given(shape=st.one_of(*(shapes(ndim, 1, 9) for ndim in (1, 2, 3))), keep=st.floats(0.2, 1.0))
def test_transforms(shape, keep):
    """There and back is a projection, and derivatives have no mean."""
    with jax.enable_x64(True):
        spectrum = Spectrum(Periodic(shape, 2.0), keep)
        values = jax.random.normal(jax.random.key(1), shape)
        once = spectrum.to_grid(spectrum.to_modes(values))
        np.testing.assert_allclose(spectrum.to_grid(spectrum.to_modes(once)), once, atol=1e-12)
        for axis in range(len(shape)):
            slope = spectrum.to_grid(spectrum.derivative(spectrum.transform(values), axis))
            np.testing.assert_allclose(slope.mean(), 0, atol=1e-12)


@few
@given(data=st.data(), dtype=types)
def test_flow_between_walls(data, dtype):
    """No divergence is left, whatever the box."""
    ndim = data.draw(st.integers(2, 3))
    shape = data.draw(shapes(ndim, 4, 9), label="cells")
    box = data.draw(st.tuples(*[lengths] * ndim), label="lengths")
    periodic = data.draw(st.tuples(*[st.booleans()] * ndim), label="periodic")
    with jax.enable_x64(dtype == "float64"):
        grid = Cells(shape, box, periodic=periodic, dtype=dtype)
        flow = IncompressibleFlow(1e-3, scalars={"heat": Scalar(1e-3)})
        step = incompressible(flow, grid, 1e-3)
        velocity = tuple(
            0.05 * jax.random.normal(jax.random.key(axis), u.shape, grid.dtype)
            for axis, u in enumerate(grid.velocity())
        )
        state = step.start(velocity, heat=1.0)
        after = step(state)
        assert_like(after, state)
        fastest = max(float(jnp.abs(u).max()) for u in after.velocity) + 1e-3
        outflow = np.abs(step.divergence(after.velocity)).max()
        areas = np.prod([max(h.max() for h in grid.widths)] * (ndim - 1))
        assert outflow <= (2e-5 if dtype == "float32" else 1e-12) * fastest * areas
        np.testing.assert_allclose(after.scalars["heat"], 1.0, rtol=1e-5)


@few
@given(data=st.data(), dtype=types)
def test_gas(data, dtype):
    """Periodic boxes keep mass, momentum and energy."""
    ndim = data.draw(st.integers(1, 3))
    shape = data.draw(shapes(ndim, 4, 8), label="cells")
    box = data.draw(st.tuples(*[lengths] * ndim), label="lengths")
    with jax.enable_x64(dtype == "float64"):
        grid = Cells(shape, box, periodic=True, dtype=dtype)
        options = {"reconstruction": muscl(van_leer), "variables": primitive}
        step = finite_volumes(CompressibleFlow(ndim), grid, 1e-3, **options)
        noise = 0.1 * jax.random.normal(jax.random.key(2), (ndim + 2, *shape), grid.dtype)
        state = noise.at[0].add(1.0).at[-1].add(3.0)
        after = step(state)
        assert_like(after, state)
        axes = tuple(range(1, ndim + 1))
        np.testing.assert_allclose(
            after.mean(axes), state.mean(axes), atol=1e-5 if dtype == "float32" else 1e-13
        )


@few
@given(data=st.data(), dtype=types)
def test_light(data, dtype):
    """Boxes of conductors and of mirrors keep the energy bounded."""
    ndim = data.draw(st.integers(1, 3))
    shape = data.draw(shapes(ndim, 4, 8), label="cells")
    box = data.draw(st.tuples(*[lengths] * ndim), label="lengths")
    with jax.enable_x64(dtype == "float64"):
        grid = Cells(shape, box, dtype=dtype)
        width = min(float(h.min()) for h in grid.widths)
        components = waves.full if ndim < 3 else None
        step = waves.maxwell(grid, 0.5 * width / ndim**0.5, components=components)
        zero = step.start()
        electric = tuple(
            jax.random.normal(jax.random.key(n), field.shape, field.dtype)
            for n, field in enumerate(zero.electric)
        )
        state = step.start(electric)
        last = jax.tree.map(lambda leaf: leaf[-1], jp.rollout(step, state, 30, 30))
        assert_like(last, state)
        assert float(waves.energy(step, last)) < 4 * float(waves.energy(step, state))


@few
@given(
    shape=st.one_of(*(shapes(ndim, 1, 6) for ndim in (1, 2, 3))),
    bad=st.sampled_from([float("nan"), float("inf")]),
    where=st.integers(0, 1000),
)
def test_what_is_not_finite_is_refused(shape, bad, where):
    equation = jp.equations.AdvectionDiffusion(diffusivity=0.1)
    step = semilinear(equation, Periodic(shape), 0.1)
    state = jnp.zeros(shape).reshape(-1)
    state = state.at[where % state.size].set(bad).reshape(shape)
    with pytest.raises(ValueError, match="state must be finite"):
        jp.rollout(step, state, 1)
