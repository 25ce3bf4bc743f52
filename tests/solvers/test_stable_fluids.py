"""Stable fluids: what is carried stays bounded and keeps constants, converges at its order, and the
step keeps what the projection promises at any dt.
"""

from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.grids.cells import Cells, graded
from jaxpbdl.solvers.flow import backtraced, inflow, maccormack, outflow, slip, stable_fluids, wall
from jaxpbdl.solvers.flow.backtracing import around_cells

Equation, Scalar = jp.equations.IncompressibleFlow, jp.equations.Scalar
SMOKE = {"smoke": Scalar()}
RISING = {"smoke": Scalar(buoyancy=jnp.array([0.0, 1.0]))}
x64 = pytest.mark.x64
every_transport = pytest.mark.parametrize("transport", [backtraced, maccormack])

BOXES = {  # shape, periodic axes, sides
    "walls": ((10, 12), False, None),
    "periodic": ((10, 12), True, None),
    "channel": ((10, 12), False, [(inflow((1.0, 0.0)), outflow()), slip()]),
    "duct": ((6, 5, 4), (True, False, False), None),
}
every_box = pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())


def whirl(point):
    """Without divergence, and zero across the sides of the unit square."""
    x, y = pi * point[0], pi * point[1]
    return jnp.stack([jnp.sin(x) * jnp.cos(y), -jnp.cos(x) * jnp.sin(y), *0 * point[2:]])


def blob(point):
    return jnp.exp(-20 * jnp.sum((point - 0.4) ** 2))


def largest(values):
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(values))


@x64
@every_box
@every_transport
def test_a_step_keeps_constants_bounds_and_volume(box, transport):
    shape, periodic, sides = box
    grid = Cells(shape, periodic=periodic)
    step = stable_fluids(
        Equation(1e-3, scalars=SMOKE), grid, 0.7, sides, scalar_transport=transport
    )
    state = step.start(lambda p: 3 * whirl(p), smoke=2.0)  # the flow crosses up to 20 cells
    snapshots = jp.rollout(step, state, 5)
    np.testing.assert_allclose(snapshots.scalars["smoke"], 2.0, rtol=1e-13)
    for snapshot in range(6):
        velocity = jax.tree.map(lambda u, at=snapshot: u[at], snapshots.velocity)
        assert largest(step.flow.divergence(velocity)) < 1e-13
    smoky = state._replace(scalars={"smoke": grid.scalar(blob)})
    carried = jp.rollout(step, smoky, 5).scalars["smoke"]
    assert float(carried.min()) >= float(carried[0].min()) - 1e-14
    assert float(carried.max()) <= float(carried[0].max()) + 1e-14


def turned(point, time):
    """Where a rotation about the middle of the unit square, which dies out before its sides, takes
    a point in a time; and its velocity there."""
    x, y = point - 0.5
    rate = jnp.exp(-40 * (x**2 + y**2))
    cosine, sine = jnp.cos(rate * time), jnp.sin(rate * time)
    return 0.5 + jnp.stack([x * cosine - y * sine, x * sine + y * cosine]), rate * jnp.stack(
        [-y, x]
    )


def shifted(point, time):
    speed = jnp.array([1.0, 0.4])
    return point + speed * time, speed


@x64
@pytest.mark.parametrize("motion, periodic", [(turned, False), (shifted, True)])
@pytest.mark.parametrize("transport, order", [(backtraced, 1), (maccormack, 2)])
def test_order_of_the_transport(motion, periodic, transport, order):
    def marker(point):
        return jnp.sin(2 * pi * point[0]) * jnp.cos(2 * pi * point[1])

    def error(n):
        grid, steps = Cells((n, n), periodic=periodic), n // 2
        velocity = grid.velocity(lambda p: motion(p, 0.0)[1])
        ends = [(None, None)] * 2
        around = around_cells(velocity, ends, jnp.asarray(0.8 / steps), grid)
        carry = jax.jit(lambda m: jax.lax.fori_loop(0, steps, lambda _, m: transport(m, around), m))
        end = grid.scalar(lambda p: marker(motion(p, -0.8)[0]))
        return float(jnp.mean(jnp.abs(carry(grid.scalar(marker)) - end)))

    assert order - 0.2 < np.log2(error(32) / error(64)) < order + 0.5


@x64
def test_order_of_the_step():
    """An exact solution: a decaying array of whirls that is carried along."""
    viscosity, speed = 0.001, jnp.array([0.6, 0.3])

    def exact(point, time):
        x, y = 2 * pi * (point - speed * time)
        decay = jnp.exp(-8 * pi**2 * viscosity * time)
        return speed + decay * jnp.stack([jnp.sin(x) * jnp.cos(y), -jnp.cos(x) * jnp.sin(y)])

    def error(n):
        grid, steps = Cells((n, n), periodic=True), n // 4
        step = stable_fluids(Equation(viscosity), grid, 0.4 / steps)
        start = step.start(lambda p: exact(p, 0.0))
        end = jp.rollout(step, start, steps, steps).velocity
        right = grid.velocity(lambda p: exact(p, 0.4))
        return max(float(jnp.mean(jnp.abs(u[-1] - v))) for u, v in zip(end, right, strict=True))

    assert 0.75 < np.log2(error(32) / error(64)) < 1.25


@x64
@pytest.mark.parametrize("slip_length", [0.0, 0.05])
def test_shear_between_moving_walls_stays(slip_length):
    grid = Cells((8, 10), periodic=(True, False))
    sides = [None, (wall((-1.0, 0.0)), wall((1.0, 0.0)))]
    step = stable_fluids(Equation(0.05), grid, 0.05, sides, slip_length=slip_length)
    start = step.start(lambda p: jnp.stack([(2 * p[1] - 1) / (1 + 2 * slip_length), 0.0]))
    change = jax.tree.map(lambda u: u[-1] - u[0], jp.rollout(step, start, 20, 20).velocity)
    assert largest(change) < 1e-13


def test_uniform_flow_enters_and_leaves():
    grid = Cells((12, 8), (3.0, 1.0))
    sides = [(inflow((1.0, 0.0)), outflow()), slip()]
    step = stable_fluids(Equation(scalars=SMOKE), grid, 0.6, sides)
    state = step.start((1.0, 0.0), smoke=lambda p: p[0])
    snapshots = jp.rollout(step, state, 3)
    np.testing.assert_allclose(snapshots.velocity[0], 1.0, rtol=1e-5)
    # What enters brings what the first cell holds.
    expected = np.maximum(grid.centres[0] - 1.8, grid.centres[0][0])
    np.testing.assert_allclose(
        snapshots.scalars["smoke"][-1], expected[:, None] * np.ones(8), atol=0.15
    )


@x64
@every_transport
def test_gradient_of_start_and_parameters(transport):
    grid = Cells((8, 9), (1.0, 1.2), periodic=(True, False))
    noise = jax.random.normal(jax.random.key(0), (2, 8, 10))
    start = stable_fluids(Equation(scalars=SMOKE), grid, 0.05).start(
        (noise[0, :, :9], noise[1]), smoke=lambda p: blob(p)
    )

    def result(size, buoyancy, viscosity):
        smoke = Scalar(buoyancy=buoyancy * jnp.array([0.0, 1.0]))
        equation, sources = Equation(viscosity, scalars={"smoke": smoke}), {"smoke": blob}
        step = stable_fluids(equation, grid, 0.05, scalar_transport=transport, sources=sources)
        state = start._replace(velocity=tuple(size * u for u in start.velocity))
        end = jp.rollout(step, state, 3, 3, checkpoint=False)
        return jnp.sum(end.scalars["smoke"][-1] ** 2) + jnp.sum(jnp.sin(3 * end.velocity[1][-1]))

    point = jnp.array([0.7, 2.0, 0.01])
    gradient = jax.jit(jax.grad(lambda p: result(*p)))(point)
    value = jax.jit(lambda p: result(*p))
    for axis in range(3):
        h = 1e-6 * jnp.eye(3)[axis]
        slope = (value(point + h) - value(point - h)) / 2e-6
        assert float(gradient[axis]) == pytest.approx(float(slope), rel=1e-6)


@x64
def test_vmap_is_a_loop():
    grid = Cells((8, 9))
    centres = jnp.array([[0.3, 0.2], [0.5, 0.4], [0.7, 0.3]])
    start = stable_fluids(Equation(scalars=RISING), grid, 0.1).start(whirl)

    @jax.jit
    def end(centre):
        sources = {"smoke": grid.scalar(lambda p: blob(p - centre + 0.4))}
        equation = Equation(scalars=RISING)
        step = stable_fluids(equation, grid, 0.1, sources=sources, scalar_transport=maccormack)
        return jp.rollout(step, start, 4, 4)

    together, alone = jax.vmap(end)(centres), [end(centre) for centre in centres]
    alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    assert largest(jax.tree.map(lambda a, b: a - b, together, alone)) < 1e-13


@pytest.mark.parametrize("name", ["viscosity", "diffusivity"])
def test_fault_11_a_dt_above_the_limit_is_refused(name):
    grid = Cells((8, 8), periodic=True)
    checkers = jnp.indices(grid.shape).sum(0) % 2
    values = {"viscosity": 0.0, "diffusivity": 0.0, name: 0.1}
    smoke = Scalar(values["diffusivity"])
    equation = Equation(values["viscosity"], scalars={"smoke": smoke})

    def run(factor):
        step = stable_fluids(equation, grid, factor * limit)
        # Opposite on neighbouring lines: the fastest to decay that is free of divergence.
        velocity = (checkers * 1.0)[:1] + jnp.zeros((8, 1)), jnp.zeros((8, 8))
        return jp.rollout(step, step.start(velocity, smoke=checkers), 200, 200)

    slow = stable_fluids(equation, grid, 1e-3)
    limit = float(slow.largest_dt(slow.start()))
    end = run(0.99)
    assert all(jnp.max(jnp.abs(u)) < 1.5 for u in jax.tree.leaves((end.velocity, end.scalars)))
    with pytest.raises(ValueError, match="above the stability limit of this state: use dt <= "):
        run(1.5)


def test_bad_input():
    grid = Cells((8, 8))
    with pytest.raises(ValueError, match="stability limit of this state: use dt <= 0.0391"):
        stable_fluids(Equation(0.1), grid, 0.1)
    with pytest.raises(ValueError, match="slip_length must be finite and >= 0"):
        stable_fluids(Equation(), grid, 0.1, slip_length=-1.0)
    edges = graded(0.0, 1.0, (0.4, 0.6), 0.05)
    uneven = Cells((len(edges) - 1, 8), edges=[edges, None])
    with pytest.raises(ValueError, match="equidistant grid"):
        stable_fluids(Equation(), uneven, 0.1)
    step = stable_fluids(Equation(scalars=SMOKE), grid, 0.1)
    with pytest.raises(ValueError, match=r"smoke must have shape \(8, 8\)"):
        step(step.start()._replace(scalars={"smoke": jnp.zeros((8, 9))}))
