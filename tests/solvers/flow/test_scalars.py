"""Scalars that a flow carries: budgets, sides, orders, buoyancy, bodies, transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers.flow import (
    central,
    flux,
    held,
    incompressible,
    inflow,
    limited,
    outflow,
    scalar_from_body,
    slip,
    stable_fluids,
    wall,
)
from jaxpbdl.solvers.time import adams_bashforth, rk3
from tests.solvers.flow.cases import steady
from tests.solvers.flow.test_bodies import CENTRE, RADIUS
from tests.solvers.flow.test_bodies import stream as stream_about_a_disc

FLOW, SCALAR = jp.equations.IncompressibleFlow, jp.equations.Scalar
x64 = pytest.mark.x64


def carrying(viscosity=0.1, **options):
    """A flow with a temperature of diffusivity 0.1 unless said otherwise."""
    return FLOW(viscosity, scalars={"temperature": SCALAR(**{"diffusivity": 0.1, **options})})


def uneven(n, length=1.0):
    line = np.linspace(0, 1, n + 1)
    return length * (line - 0.08 * np.sin(2 * np.pi * line))


def whirl(point):
    x, y = jnp.pi * point[0], jnp.pi * point[1]
    return jnp.stack([jnp.sin(x) * jnp.cos(y), -jnp.cos(x) * jnp.sin(y), *0 * point[2:]])


def content(step, state):
    return float(step.grid.integral(state.scalars["temperature"]))


@x64
@pytest.mark.parametrize("interpolation", [central, limited])
def test_without_flux_nothing_is_lost(interpolation):
    grid = jp.grids.Cells((6, 7), edges=(uneven(6), uneven(7)))
    step = incompressible(carrying(), grid, 0.01, scalar_interpolation=interpolation)
    start = step.start(whirl, temperature=lambda p: p[0] ** 2 * p[1])
    end = jp.repeat(step, 20)(start)
    assert content(step, end) == pytest.approx(content(step, start), rel=1e-13)
    assert jnp.max(jnp.abs(end.scalars["temperature"] - start.scalars["temperature"])) > 0.05


@x64
@pytest.mark.parametrize("scheme", [rk3, adams_bashforth, None])
def test_what_enters_through_the_sides_is_gained(scheme):
    """Fluxes on three sides of unequal size, in a fluid that moves; None: stable fluids at rest."""
    grid = jp.grids.Cells((6, 5), edges=(uneven(6, 2.0), uneven(5)))
    warm = wall(temperature=flux(lambda point: 1 + point[1]))  # 1.5 on a side of length 1
    sides = ((warm, wall(temperature=flux(-0.2))), (slip(temperature=flux(0.3)), wall()))
    if scheme is None:
        step = stable_fluids(carrying(0.0), jp.grids.Cells((6, 5), (2.0, 1.0)), 0.01, sides)
        start = step.start(temperature=0.7)
    else:
        step = incompressible(carrying(), grid, 0.01, sides, scheme=scheme)
        start = step.start(whirl_of_two, temperature=0.7)
    end = jp.repeat(step, 20)(start)
    gained = content(step, end) - content(step, start)
    assert gained == pytest.approx(0.2 * (1.5 - 0.2 + 2 * 0.3), rel=1e-12)


def whirl_of_two(point):
    """In a box of lengths 2 and 1."""
    return whirl(point * jnp.array([0.5, 1.0])) * jnp.array([2.0, 1.0])


@x64
def test_a_slab_of_one_dimension_between_held_values():
    """Steady conduction is linear, exactly; the ramp holds in time."""
    grid = jp.grids.Cells((7,), 2.0, edges=(uneven(7, 2.0),))
    sides = ((wall(temperature=3.0), wall(temperature=held(1.0, lambda t: jnp.minimum(t, 1)))),)
    step = incompressible(carrying(diffusivity=1.0), grid, 5e-3, sides)
    end = jax.jit(jp.repeat(step, 4000, checkpoint=False))(step.start())
    np.testing.assert_allclose(end.scalars["temperature"], 3 - grid.centres[0], rtol=1e-9)


@x64
def test_what_fluid_brings_in():
    """Given at an inflow, and where fluid comes back through an open side; else what the next cell
    holds."""
    grid = jp.grids.Cells((6,), 1.0)
    leaves = inflow((1.0,))  # on the upper side: the fluid leaves with this velocity
    cases = [
        ((inflow((1.0,), temperature=2.0), outflow(temperature=9.0)), 2.0),
        ((inflow((1.0,)), outflow()), 0.5),
        ((outflow(temperature=4.0), leaves), 4.0),
        ((outflow(), leaves), 0.5),
    ]
    for sides, expected in cases:
        step = incompressible(carrying(diffusivity=0.01), grid, 0.05, (sides,))
        end = jp.repeat(step, 150)(step.start((1.0,), temperature=0.5))
        np.testing.assert_allclose(end.scalars["temperature"], expected, rtol=1e-6)


def temperature(point):
    return jnp.sin(2 * point[0] + 0.3) * jnp.exp(point[1])


def heated(stream):
    """(equation, velocity, source): a steady flow with a steady `temperature` that pushes it."""
    velocity, _, field = steady(stream, 0.1)

    def everything(point):
        return jnp.append(field(point), temperature(point))

    warm = SCALAR(0.2, buoyancy=(0.3, 1.5), reference=0.4)
    bare = FLOW(0.1, scalars={"temperature": warm})

    def balance(point):
        return bare.residual(everything, point)

    flow = FLOW(0.1, forcing=lambda p: balance(p)[:2], scalars=bare.scalars)
    return flow, velocity, lambda point: balance(point)[3]


@x64
@pytest.mark.parametrize("graded", [False, True])
def test_second_order_with_values_and_fluxes_given(graded):
    """A manufactured flow with buoyancy: values held along x, fluxes given along y."""

    def stream(point):
        x, y = point
        return (x * (1 - x)) ** 2 * (y * (1 - y)) ** 2 * 16

    flow, velocity, source = heated(stream)

    def entering(sign):
        return flux(lambda point: sign * 0.2 * jax.grad(temperature)(point)[1])

    sides = (wall(temperature=temperature),) + (
        (wall(temperature=entering(-1)), wall(temperature=entering(1))),
    )
    errors = []
    for n in (10, 20):
        edges = (uneven(n), uneven(n + n // 5)) if graded else None
        grid = jp.grids.Cells((n, n + n // 5), edges=edges)
        step = incompressible(
            flow,
            grid,
            0.2 / n**2,
            sides,
            sources={"temperature": source},
            scalar_interpolation=central,
        )
        start = step.start(velocity, temperature=temperature)
        end = jax.jit(jp.repeat(step, round(1.0 / float(step.dt)), checkpoint=False))(start)
        pairs = [(end.scalars["temperature"], grid.scalar(temperature))]
        pairs += zip(end.velocity, grid.velocity(velocity), strict=True)
        errors.append([float(jnp.sqrt(jnp.mean((a - b) ** 2))) for a, b in pairs])
    assert np.all(np.log2(np.divide(*errors)) > 1.8), errors


@x64
@pytest.mark.parametrize("scheme", [rk3, adams_bashforth])
def test_buoyancy_is_a_force_of_the_state(scheme):
    grid = jp.grids.Cells((6, 5), (1.2, 1.0))
    warm = {"diffusivity": 0.1, "buoyancy": (0.5, 2.0), "reference": 0.3}
    direction = jnp.array([0.5, 2.0])[:, None, None]

    def force(flow):
        return direction * (flow.scalars["temperature"] - 0.3)

    ends = []
    for options, given in ((warm, None), ({}, force), ({}, lambda f: grid.to_faces(force(f)))):
        step = incompressible(carrying(**options), grid, 0.01, scheme=scheme, force=given)
        start = step.start(whirl, temperature=lambda p: p[0] + p[1] ** 2)
        ends.append((jp.repeat(step, 5)(start), step.pressure(start)))
    for other in ends[1:]:
        for a, b in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-14)


@x64
def test_warm_fluid_rises_and_what_is_above_its_reference_alone():
    """The sign: beside a warm wall up, and with all of it at the reference nothing moves."""
    grid = jp.grids.Cells((8, 8))
    sides = (wall(temperature=1.0), wall(temperature=0.5)), wall()
    air = carrying(buoyancy=(0.0, 10.0), reference=0.5)
    step = incompressible(air, grid, 0.01, sides)
    end = jp.repeat(step, 10)(step.start(temperature=0.5))
    assert jnp.all(end.velocity[1][0, 1:-1] > 0) and jnp.all(end.velocity[1][-1, 1:-1] < 0)
    still = incompressible(air, grid, 0.01)
    rest = jp.repeat(still, 10)(still.start(temperature=0.5))
    assert all(jnp.max(jnp.abs(u)) == 0 for u in rest.velocity)


@x64
@pytest.mark.parametrize("scheme", [rk3, adams_bashforth])
def test_transformations(scheme):
    """jit == eager, vmap == loop, and the gradient of a rollout against finite differences."""
    grid = jp.grids.Cells((5, 6), (1.0, 1.4))

    def run(p):
        warm = SCALAR(p["diffusivity"], buoyancy=(0.0, p["buoyancy"]), reference=p["reference"])
        sides = (
            (wall(temperature=p["held"]), wall(temperature=flux(p["flux"]))),
            (inflow((0.0, 1.0), temperature=0.2), outflow()),
        )
        step = incompressible(
            FLOW(0.1, scalars={"temperature": warm, "dye": SCALAR(0.01)}),
            grid,
            p["dt"],
            sides,
            sources={"temperature": lambda x: p["source"] * x[0]},
            scheme=scheme,
        )
        start = step.start(
            (0.0, 1.0),
            temperature=lambda x: p["start"] * jnp.exp(x[0] + 2 * x[1]),
            dye=lambda x: jnp.sin(1 + x[0] - 2 * x[1]),  # no difference is zero, where slopes jump
        )
        end = jp.repeat(step, 4)(start)
        return sum(jnp.sum(u**3) for u in jax.tree.leaves((end.velocity, end.scalars)))

    at = {"diffusivity": 0.1, "buoyancy": 3.0, "reference": 0.4, "held": 1.0, "flux": 0.5}
    at |= {"dt": 0.02, "source": 0.7, "start": 0.3}
    at = {name: jnp.asarray(value) for name, value in at.items()}
    fast = jax.jit(run)
    assert float(run(at)) == pytest.approx(float(fast(at)), rel=1e-12)
    slopes = jax.jit(jax.grad(run))(at)
    for name, value in at.items():
        up, down = ({**at, name: value + sign * 1e-5} for sign in (1, -1))
        assert float(slopes[name]) == pytest.approx(
            float(fast(up) - fast(down)) / 2e-5, rel=2e-6, abs=1e-6
        ), name  # that of the reference is zero: the pressure takes a uniform push up
    several = jnp.asarray([0.2, 0.6])
    together = jax.jit(jax.vmap(lambda q: run({**at, "flux": q})))(several)
    apart = [fast({**at, "flux": q}) for q in several]
    np.testing.assert_allclose(together, jnp.stack(apart), rtol=1e-12)


@x64
def test_three_dimensions_contain_two():
    flat = jp.grids.Cells((6, 5), (2.0, 1.0))
    deep = jp.grids.Cells((6, 5, 4), (2.0, 1.0, 0.7), periodic=(False, False, True))
    sides = (wall(temperature=flux(0.5)), wall()), (wall(temperature=1.0), slip())
    ends = []
    for grid, up in ((flat, (0.0, 3.0)), (deep, (0.0, 3.0, 0.0))):
        walls = sides if grid is flat else (*sides, None)
        step = incompressible(carrying(buoyancy=up), grid, 0.01, walls)
        ends.append(jp.repeat(step, 20)(step.start(temperature=lambda p: p[0])))
    one, other = (end.scalars["temperature"] for end in ends)
    np.testing.assert_allclose(other[..., 2], one, atol=1e-13)
    np.testing.assert_allclose(ends[1].velocity[1][..., 2], ends[0].velocity[1], atol=1e-13)
    assert jnp.max(jnp.abs(ends[0].velocity[1])) > 1e-3


@x64
def test_a_flow_about_a_warm_body():
    """A manufactured steady temperature in a manufactured flow about a disc, given on its surface:
    second order."""
    velocity, flow, _ = steady(stream_about_a_disc)

    def warmth(point):
        return jnp.sin(jnp.pi * point[0]) + jnp.cos(jnp.pi * point[1])

    def source(point):
        slope = jax.grad(warmth)(point)
        return velocity(point) @ slope + 0.05 * jnp.pi**2 * warmth(point)

    equation = FLOW(flow.viscosity, flow.forcing, {"temperature": SCALAR(0.05)})
    errors = []
    for n in (28, 56):
        grid = jp.grids.Cells((n, n + 2), 2.0, -1.0, periodic=True)
        step = incompressible(
            equation,
            grid,
            0.25 / n,
            body=jp.shapes.Ball(CENTRE, RADIUS),
            on_body={"temperature": warmth},
            sources={"temperature": source},
            scalar_interpolation=central,
        )
        start = step.start(velocity, temperature=warmth)
        end = jax.jit(jp.repeat(step, 8 * n, checkpoint=False))(start)
        away = jnp.linalg.norm(grid.points - CENTRE, axis=-1) > RADIUS
        error = (end.scalars["temperature"] - grid.scalar(warmth))[away]
        errors.append(float(jnp.sqrt(jnp.mean(error**2))))
    assert np.log2(errors[0] / errors[1]) > 1.7, errors


@x64
def test_the_content_grows_by_what_a_body_gives():
    """To rounding, in a box that nothing else enters, whatever flows about the body."""
    grid = jp.grids.Cells((14, 12), (1.4, 1.2))
    ball, warm = jp.shapes.Ball((0.71, 0.6), 0.21), {"temperature": lambda p: 1 + p[0]}
    step = incompressible(carrying(), grid, 0.01, body=ball, on_body=warm)
    swirl = lambda p: jnp.stack([jnp.sin(3 * p[1]), jnp.cos(2 * p[0])])  # noqa: E731
    state = step.start(swirl, temperature=lambda p: p[0] * p[1])

    @jax.jit
    def both(state):
        gained = jnp.sum(step.rates(state).scalars["temperature"] * grid.volumes)
        return scalar_from_body(step, state, "temperature"), gained

    given, gained = both(state)
    assert float(given) == pytest.approx(float(gained), rel=1e-12) and abs(float(given)) > 1e-3
    with pytest.raises(ValueError, match=r"one of \['temperature'\], got 'salt'"):
        scalar_from_body(step, state, "salt")
    with pytest.raises(ValueError, match="given on the body"):
        scalar_from_body(incompressible(carrying(), grid, 0.01), state, "temperature")


@x64
def test_heat_through_a_ring():
    """Between a warm cylinder and the exact logarithm on the sides: 2 pi a, of second order."""
    radius, centre = 0.3, jnp.array([0.02, -0.01])

    def ring(point):
        return -jnp.log(jnp.linalg.norm(point - centre) / radius)

    equation = FLOW(1.0, None, {"temperature": SCALAR(0.5)})
    errors = []
    for n in (16, 32):
        grid = jp.grids.Cells((n, n), 2.0, -1.0)
        step = incompressible(
            equation,
            grid,
            0.15 / n**2 * 4,
            [wall(temperature=ring)] * 2,
            body=jp.shapes.Ball(centre, radius),
            on_body={"temperature": 0.0},
            scalar_interpolation=central,
        )
        start = step.start(temperature=ring)
        end = jax.jit(jp.repeat(step, round(0.6 / float(step.dt)), checkpoint=False))(start)
        errors.append(abs(float(scalar_from_body(step, end, "temperature")) / jnp.pi - 1))
    assert errors[0] < 0.02 and np.log2(errors[0] / errors[1]) > 1.5, errors


@x64
def test_nothing_passes_a_body_without_a_value():
    grid = jp.grids.Cells((14, 12), (1.4, 1.2))
    step = incompressible(carrying(), grid, 0.01, body=jp.shapes.Ball((0.71, 0.6), 0.21))
    start = step.start(temperature=lambda p: p[0] ** 2)
    end = jp.repeat(step, 10)(start)
    assert content(step, end) == pytest.approx(content(step, start), rel=1e-13)


@x64
def test_the_residual_of_a_layered_fluid():
    """At rest, pressure against buoyancy; and a front that a uniform flow carries."""
    salt = SCALAR(0.3, buoyancy=(0.0, 2.0), reference=0.5)

    def layers(point):
        height = point[1]
        return jnp.stack([0 * height, 0 * height, 2 * (height**2 / 2 - 0.5 * height), height])

    point = jnp.array([0.3, 0.8, 0.1])
    resting = FLOW(0.1, scalars={"salt": salt})
    assert jnp.max(jnp.abs(resting.residual(layers, point))) < 1e-14

    def front(point):
        x, y, t = point
        decay = jnp.exp(-0.3 * t)
        return jnp.stack([1.5 + 0 * x, 0 * x, 0 * x, decay * jnp.sin(x - 1.5 * t), x - 1.5 * t])

    dyed = FLOW(0.1, scalars={"warmth": SCALAR(), "dye": SCALAR(0.3)})  # dye comes first
    assert jnp.max(jnp.abs(dyed.residual(front, point))) < 1e-14
    grid = jp.grids.Cells((4, 5))
    step = incompressible(dyed, grid, 0.01)
    seen = step.channels(step.start(dye=1.0, warmth=2.0))
    assert [float(channel.mean()) for channel in seen] == [0.0, 0.0, 1.0, 2.0]


def test_a_stable_stratification_limits_dt():
    """The frequency of a layered fluid is the root of buoyancy times gradient; an unstable one has
    none."""
    grid = jp.grids.Cells((6, 8))
    step = incompressible(carrying(0.0, diffusivity=0.0, buoyancy=(0.0, 25.0)), grid, 0.01)
    stable, unstable = (step.start(temperature=lambda p, s=s: 4 * s * p[1]) for s in (1, -1))
    assert float(step.largest_dt(stable)) == pytest.approx(rk3.imaginary / 10, rel=1e-4)
    assert float(step.largest_dt(unstable)) > 1e3


GRID = ((8, 8),)


@pytest.mark.parametrize("make, message", [
    (lambda g: SCALAR(-1.0), "diffusivity must be finite and >= 0"),
    (lambda g: FLOW(0.1, scalars={"time": SCALAR()}), "must be an identifier other than velocity"),
    (lambda g: incompressible(carrying(), g, 0.1, (wall(salt=1.0), wall())),
     r"lower side of axis 0 says what 'salt' does there, but .* are \['temperature'\]"),
    (lambda g: incompressible(
        carrying(), g, 0.1, ((wall(), outflow(temperature=flux(1.0))), wall())),
     "nothing diffuses through an outflow: the upper side of axis 0 takes no flux of temperature"),
    (lambda g: incompressible(
        carrying(), jp.grids.Cells((8, 8), periodic=(True, False)), 0.1,
        (wall(temperature=flux(1.0)), wall())),
     "axis 0 is periodic"),
    (lambda g: incompressible(carrying(), g, 0.1, on_body={"temperature": 1.0}), "no body"),
    (lambda g: incompressible(carrying(), g, 0.1, sources={"heat": 1.0}), "sources names 'heat'"),
    (lambda g: incompressible(carrying(), g, 0.1).start(heat=1.0), "start names 'heat'"),
    (lambda g: incompressible(carrying(), g, 1e-3)(incompressible(FLOW(0.1), g, 1e-3).start()),
     r"the scalars of the equation, \['temperature'\]; got \[\]"),
])  # fmt: skip
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(jp.grids.Cells(*GRID))
