"""The step of incompressible flow: orders, exact solutions, laws, transformations, bad input."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import learning
from jaxpbdl.solvers.flow import (
    Flow,
    incompressible,
    inflow,
    outflow,
    slip,
    stable_dt,
    wall,
)
from jaxpbdl.solvers.time import adams_bashforth, rk3
from tests.solvers.flow.cases import steady

FLOW, SCALAR = jp.equations.IncompressibleFlow, jp.equations.Scalar


def advanced(step, state, time):
    return jax.jit(jp.repeat(step, round(time / float(step.dt)), checkpoint=False))(state)


def largest(velocity, exact):
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(velocity, exact, strict=True))


def root_mean_square(velocity, exact):
    return max(
        float(jnp.sqrt(jnp.mean((a - b) ** 2))) for a, b in zip(velocity, exact, strict=True)
    )


def vortices(point, time=0.0, viscosity=0.05):
    """Taylor and Green's, exact."""
    x, y = point
    return jnp.exp(-2 * viscosity * time) * jnp.stack(
        [jnp.sin(x) * jnp.cos(y), -jnp.cos(x) * jnp.sin(y)]
    )


@pytest.mark.x64
def test_fault_14_second_order_in_space_on_taylor_green():
    errors = []
    for n in (12, 24):
        grid = jp.grids.Cells((n, n + n // 4), 2 * jnp.pi, periodic=True)
        step = incompressible(FLOW(0.05), grid, 0.01)
        end = advanced(step, step.start(vortices), 0.5)
        errors.append(largest(end.velocity, grid.velocity(lambda p: vortices(p, 0.5))))
        assert jnp.max(jnp.abs(step.divergence(end.velocity))) < 1e-14
    assert np.log2(errors[0] / errors[1]) > 1.9


@pytest.mark.x64
@pytest.mark.parametrize("scheme", [rk3, adams_bashforth])
def test_third_order_in_time(scheme):
    """Against a tenth of the smallest step, so that the error in space does not enter."""
    grid = jp.grids.Cells((8, 10), 2 * jnp.pi, periodic=True)
    start = grid.velocity(lambda p: vortices(p) + jnp.stack([jnp.sin(p[1]), jnp.cos(2 * p[0])]))
    ends = []
    for dt in (0.1, 0.05, 0.005):
        step = incompressible(FLOW(0.05), grid, dt, scheme=scheme)
        ends.append(advanced(step, step.start(start), 1.0).velocity)
    errors = [largest(end, ends[-1]) for end in ends[:2]]
    assert np.log2(errors[0] / errors[1]) > 2.8


@pytest.mark.x64
@pytest.mark.parametrize("graded", [False, True])
def test_second_order_between_walls(graded):
    """A manufactured flow below a moving lid."""

    def stream(point):
        x, y = point
        return (x * (1 - x)) ** 2 * y**2 * (y - 1) * 16

    velocity, flow, _ = steady(stream, 0.1)
    errors = []
    for n in (12, 24):
        line = np.linspace(0, 1, n + 1)
        edges = line - 0.05 * np.sin(2 * np.pi * line) if graded else line
        grid = jp.grids.Cells((n, n), edges=(edges, edges))
        lid = wall(lambda point: velocity(point))
        step = incompressible(flow, grid, 0.4 / n**2, sides=(wall(), (wall(), lid)))
        end = advanced(step, step.start(velocity), 2.0)
        errors.append(root_mean_square(end.velocity, grid.velocity(velocity)))
        assert jnp.max(jnp.abs(step.divergence(end.velocity))) < 1e-14
    assert np.log2(errors[0] / errors[1]) > 1.85


@pytest.mark.x64
def test_channel_flow_from_inflow_to_outflow():
    """Poiseuille's profile enters, stays as it is to second order and leaves; the pressure falls
    by 8 viscosity max / height^2 a length."""
    falls, errors = [], []

    def profile(point):
        return jnp.stack([4 * point[1] * (1 - point[1]), 0 * point[0]])

    for n in (8, 16):
        grid = jp.grids.Cells((n + 3, n), (2.0, 1.0))
        sides = ((inflow(profile), outflow()), (wall(), wall()))
        step = incompressible(FLOW(0.2), grid, 0.5 / n**2, sides=sides)
        end = advanced(step, step.start(profile), 1.0)
        errors.append(root_mean_square(end.velocity, grid.velocity(profile)))
        pressure = step.pressure(end)
        fall = (pressure[2] - pressure[-3]) / (grid.centres[0][-3] - grid.centres[0][2])
        falls.append(abs(float(jnp.mean(fall)) - 8 * 0.2))
    assert np.log2(errors[0] / errors[1]) > 1.8 and np.log2(falls[0] / falls[1]) > 1.6


@pytest.mark.x64
def test_couette_flow_is_exact():
    grid = jp.grids.Cells((5, 7), (1.0, 2.0), periodic=(True, False))
    step = incompressible(FLOW(0.5), grid, 0.02, sides=(None, (wall(), wall((3.0, 0.0)))))
    end = advanced(step, step.start(), 20.0)
    np.testing.assert_allclose(end.velocity[0][0], 1.5 * grid.centres[1], rtol=1e-6)


@pytest.mark.x64
def test_hydrostatic_balance():
    """A layered scalar under buoyancy in a closed box stays at rest; the pressure carries it."""
    grid = jp.grids.Cells((5, 6), (1.0, 1.0))
    salt = SCALAR(buoyancy=(0.0, 2.0))
    step = incompressible(FLOW(0.1, scalars={"salt": salt}), grid, 0.01)
    start = step.start(salt=lambda point: point[1])
    end = advanced(step, start, 0.5)
    assert largest(end.velocity, start.velocity) < 1e-14
    slope = jnp.diff(step.pressure(end), axis=1) / grid.widths[1][0]
    np.testing.assert_allclose(slope[0], 2 * np.asarray(grid.edges[1][1:-1]), rtol=1e-10)


@pytest.mark.x64
def test_a_scalar_is_conserved_and_bounded():
    grid = jp.grids.Cells((16, 12), 2 * jnp.pi, periodic=True)
    step = incompressible(FLOW(0.01, scalars={"smoke": SCALAR(0.001)}), grid, 0.05)

    def blob(point):
        return (jnp.abs(point[0] - 3) < 1.0) * (jnp.abs(point[1] - 3) < 1.0) * 1.0

    start = step.start(vortices, smoke=blob)
    before, after = start.scalars["smoke"], advanced(step, start, 2.0).scalars["smoke"]
    assert float(jnp.sum(after)) == pytest.approx(float(jnp.sum(before)), rel=1e-12)
    assert jnp.min(after) > -1e-3 and jnp.max(after) < 1.001


@pytest.mark.x64
def test_three_dimensions_contain_two():
    """A flow that does not depend on z, with a wall in y."""

    def stream(point):
        x, y = point
        return jnp.sin(jnp.pi * x) * (y * (1 - y)) ** 2 * 4

    velocity, flow, _ = steady(stream)
    lifted = jp.equations.IncompressibleFlow(
        0.05, forcing=lambda p: jnp.append(flow.forcing(p[:2]), 0.0)
    )
    flat = jp.grids.Cells((8, 6), (2.0, 1.0), periodic=(True, False))
    deep = jp.grids.Cells((8, 6, 5), (2.0, 1.0, 0.7), periodic=(True, False, True))
    ends = []
    for equation, grid, start in (
        (flow, flat, velocity),
        (lifted, deep, lambda p: jnp.append(velocity(p[:2]), 0.0)),
    ):
        step = incompressible(equation, grid, 0.01)
        ends.append(advanced(step, step.start(start), 0.2).velocity)
    for one, other in zip(ends[0], ends[1], strict=False):
        np.testing.assert_allclose(other[..., 2], one, atol=1e-12)
    assert jnp.max(jnp.abs(ends[1][2])) < 1e-12


@pytest.mark.x64
@pytest.mark.parametrize("scheme", [rk3, adams_bashforth])
def test_fault_24_transformations(scheme):
    """jit == eager, vmap == loop, and the gradient of a rollout against finite differences with
    respect to state, viscosity, inflow, force and dt."""
    grid = jp.grids.Cells((7, 5), (1.4, 1.0))

    def run(p, steps=4):
        flow = FLOW(p["viscosity"], forcing=lambda x: p["force"] * jnp.stack([x[1], -x[0]]))
        entering = inflow(jnp.stack([p["speed"], jnp.zeros(())]), ramp=lambda t: 1 + t)
        step = incompressible(flow, grid, p["dt"], ((entering, outflow()), slip()), scheme=scheme)
        state = step.start((1.0, 0.0))
        bumps = tuple(jnp.sin(jnp.arange(u.size)).reshape(u.shape) for u in state.velocity)
        moved = tuple(u + p["state"] * b for u, b in zip(state.velocity, bumps, strict=True))
        end = jp.repeat(step, steps)(Flow(moved, state.time))
        return sum(jnp.sum(u**3) for u in end.velocity)

    at = {"viscosity": 0.05, "force": 0.3, "speed": 1.0, "dt": 0.02, "state": 0.1}
    at = {name: jnp.asarray(value) for name, value in at.items()}
    fast = jax.jit(run)
    assert float(run(at)) == pytest.approx(float(fast(at)), rel=1e-12)
    slopes = jax.jit(jax.grad(run))(at)
    for name, value in at.items():
        up, down = ({**at, name: value + sign * 1e-5} for sign in (1, -1))
        assert float(slopes[name]) == pytest.approx(
            float(fast(up) - fast(down)) / 2e-5, rel=1e-6
        ), name
    several = jnp.asarray([0.02, 0.05])
    together = jax.jit(jax.vmap(lambda nu: run({**at, "viscosity": nu})))(several)
    apart = [fast({**at, "viscosity": nu}) for nu in several]
    np.testing.assert_allclose(together, jnp.stack(apart), rtol=1e-12)


LIMITS = {
    "advection": FLOW(0.02),
    "viscosity": FLOW(0.5),
    "diffusivity": FLOW(1e-3, scalars={"smoke": SCALAR(1.0), "dye": SCALAR(0.01)}),
    "drag": FLOW(1e-3, drag=30.0),
}


@pytest.mark.parametrize("scheme", [rk3, adams_bashforth])
@pytest.mark.parametrize("name", LIMITS)
def test_fault_11_a_dt_above_the_limit_is_refused(name, scheme):
    equation = LIMITS[name]
    grid = jp.grids.Cells((16, 16), 2 * jnp.pi, periodic=True)

    def step(dt):
        return incompressible(equation, grid, dt, scheme=scheme)

    checkers = jnp.indices(grid.shape).sum(0) % 2  # the wave that diffusion takes away first
    state = step(1.0).start(vortices, **dict.fromkeys(equation.scalars, checkers))
    limit = float(step(1.0).largest_dt(state))
    end = jp.rollout(step(0.99 * limit), state, 200, 200)
    assert all(jnp.max(jnp.abs(u)) < 1.5 for u in jax.tree.leaves((end.velocity, end.scalars)))
    with pytest.raises(ValueError, match="stability limit of this state: use dt <= ") as error:
        jp.rollout(step(1.5 * limit), state, 2)
    assert float(re.search(r"<= ([\d.e+-]+)", str(error.value)).group(1)) < 1.1 * limit


def test_the_limit_before_there_is_a_state_counts_the_diffusivity():
    grid = jp.grids.Cells((16, 16), 2 * jnp.pi, periodic=True)
    width = grid.widths[0][0]
    np.testing.assert_allclose(
        stable_dt((1.0, 1.0), (width, width), 1e-3, diffusivity=1.0),
        stable_dt((1.0, 1.0), (width, width), 1.0),
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda g: incompressible(FLOW(0.1), g, 0.0), "dt must be"),
        (lambda g: FLOW(-1.0), "viscosity"),
        (lambda g: incompressible(FLOW(0.1), g, 0.1, sides=(wall(),)), "2 entries"),
        (
            lambda g: incompressible(
                FLOW(0.1), g, 0.1, sides=((inflow((1.0, 0.0)), wall()), wall())
            ),
            "inflow must balance outflow",
        ),
        (
            lambda g: incompressible(
                FLOW(0.1), jp.grids.Cells((8, 8), periodic=True), 0.1, sides=(wall(), None)
            ),
            "axis 0 is periodic",
        ),
        (lambda g: incompressible(FLOW(0.1), g, 0.1)(jnp.zeros((8, 8))), "must be a Flow"),
        (
            lambda g: incompressible(FLOW(0.1), g, 0.01)(
                Flow((jnp.zeros((8, 8)), jnp.zeros((8, 9))), jnp.zeros(()))
            ),
            r"velocity\[0\] must have shape",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(jp.grids.Cells((8, 8)))


@pytest.mark.parametrize("pairs, balanced", [
    (((1.0, 0.0), (1.0, 0.0)), True),  # in on the left, out on the right
    (((1.0, 0.0), (-1.0, 0.0)), False),  # in on both
    (((1.0, 0.0), (0.5, 0.0)), False),
    (((1.0, 0.0), (0.0, 0.0)), False),
])  # fmt: skip
def test_inflow_through_two_sides_must_balance(pairs, balanced):
    grid = jp.grids.Cells((8, 6))
    sides = (tuple(inflow(velocity) for velocity in pairs), slip())
    if not balanced:
        with pytest.raises(ValueError, match="inflow must balance outflow"):
            incompressible(FLOW(0.1), grid, 0.01, sides)
    else:
        step = incompressible(FLOW(0.1), grid, 0.01, sides)
        state = step.start((1.0, 0.0))
        assert jnp.max(jnp.abs(step.divergence(state.velocity))) < 1e-5


@pytest.mark.x64
def test_adams_bashforth_starts_with_the_rates_before_the_start():
    """So that the first step is of third order already."""
    grid = jp.grids.Cells((6, 6), 6.0, periodic=True)
    errors = []
    for dt in (0.1, 0.05):
        step = incompressible(FLOW(0.0, drag=1.0), grid, dt, scheme=adams_bashforth)
        start = step.start((1.0, 0.0))  # decays like exp(-t)
        errors.append(abs(float(step(start).velocity[0][0, 0]) - np.exp(-dt)))
    assert np.log2(errors[0] / errors[1]) > 3.8  # the error of one step is of order four
    step = incompressible(FLOW(0.0, drag=1.0), grid, 0.1, scheme=adams_bashforth)
    _, before, earlier = step.enter(step.start((1.0, 0.0)))
    for rates, time in ((before, 0.1), (earlier, 0.2)):
        assert float(rates.velocity[0][0, 0]) == pytest.approx(-np.exp(time), rel=5e-3)


@pytest.mark.x64
def test_the_residual_judges_an_exact_flow():
    """Taylor and Green's vortices with their pressure solve the equation."""

    def field(point):
        x, y, t = point
        pressure = (jnp.cos(2 * x) + jnp.cos(2 * y)) / 4 * jnp.exp(-4 * 0.05 * t)
        return jnp.append(vortices(point[:2], t), pressure)

    for point in jnp.asarray([[0.3, 1.2, 0.1], [2.0, -1.0, 0.7]]):
        assert jnp.max(jnp.abs(FLOW(0.05).residual(field, point))) < 1e-13


def test_a_steady_flow_needs_no_time():
    """Poiseuille flow between plates, with and without time; a field without pressure is refused
    (the pressure would be read from beyond the velocity)."""
    flow = FLOW(0.05)

    def poiseuille(point):
        return jnp.stack([1 - point[1] ** 2, 0 * point[0], -2 * 0.05 * point[0]])

    points = jnp.array([[0.3, 0.4], [0.1, -0.7]])
    assert learning.residual_loss(flow, poiseuille, points) < 1e-25
    in_time = jnp.concatenate([points, jnp.ones((2, 1))], axis=1)
    assert learning.residual_loss(flow, lambda p: poiseuille(p[:2]), in_time) < 1e-25
    assert learning.residual_loss(FLOW(0.1), poiseuille, points) > 1e-3
    with pytest.raises(ValueError, match="with 2 components has points of 1 coordinates, or 2"):
        flow.residual(lambda p: poiseuille(p)[:2], in_time[0])
