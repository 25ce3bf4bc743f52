"""The linear response of a plasma with its circuits: inductances, growth, steps, gradients."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.plasma import (
    Equilibrium,
    PoloidalBeta,
    PowerShape,
    Rectangle,
    ShapeTargets,
    Tokamak,
    coils,
    filament_flux,
    filaments,
    free_boundary,
    growth_rate,
    rectangular,
    round_plasma,
    shaped,
    tokamak,
)
from jaxpbdl.solvers.plasma.circuits import MU_0
from jaxpbdl.solvers.plasma.evolution import (
    Deviation,
    Drive,
    PlasmaShape,
    Response,
    inductances,
    plasma_evolution,
    plasma_response,
    stability_margin,
)

pytestmark = pytest.mark.x64

CURRENT, BETA, DRIVEN, RESISTANCE = 1.2e5, 0.3, 12, 6e-6
RADII, COIL_OHM, WALL_OHM = 0.02, 1.5e-5, 2e-3


def profile_of(current, disturbances):
    return PoloidalBeta(PowerShape(1.0, 1.5), current, disturbances[0], radius=0.88)


class Case(NamedTuple):
    machine: Tokamak
    found: Equilibrium
    response: Response
    view: PlasmaShape


@pytest.fixture(scope="module")
def cases():
    """A round and an elongated plasma in a machine of twelve coils and a wall."""
    with jax.enable_x64(True):
        heights = np.array([-0.75, -0.45, -0.15, 0.15, 0.45, 0.75])
        driven = [filaments(r, z) for r in (0.5, 1.31) for z in heights]
        wall = [filaments(r, z) for r in (0.585, 1.175) for z in np.linspace(-0.52, 0.52, 9)]
        wall += [filaments(r, z) for z in (-0.56, 0.56) for r in (0.7, 0.88, 1.06)]
        grid = Rectangle((21, 37), (0.595, -0.54), (1.165, 0.54))
        limiter = [[0.624, -0.5], [1.136, -0.5], [1.136, 0.5], [0.624, 0.5]]
        machine = tokamak(grid, coils(*driven, *wall), limiter)
        alone = tokamak(grid, coils(*driven), limiter)
        view = PlasmaShape(grid, [0.86, 0.0], 8)
        ohm = np.full(machine.coils.count, WALL_OHM)
        ohm[:DRIVEN] = COIL_OHM
        result = {}
        for name, elongation in (("round", 1.0), ("elongated", 1.3)):
            angle = 2 * np.pi * np.arange(24) / 24
            points = [0.86 + 0.23 * np.cos(angle), 0.23 * elongation * np.sin(angle)]
            found = shaped(
                alone,
                ShapeTargets(jnp.zeros((0, 2)), jnp.asarray(points).T, 3e-8),
                profile_of(CURRENT, jnp.asarray([BETA])),
                start=round_plasma(alone, CURRENT, (0.86, 0.0), (0.23, 0.23 * elongation)),
                picard=6,
            )
            none = jnp.zeros(machine.coils.count - DRIVEN)
            found = found._replace(currents=jnp.concatenate([found.currents, none]))
            response = plasma_response(
                machine, found, profile_of, CURRENT, view, resistances=ohm,
                plasma_resistance=RESISTANCE, radii=RADII, disturbances=[BETA],
            )  # fmt: skip
            result[name] = Case(machine, found, response, view)
        return result


def with_circuits(response, kept):
    """All other circuits open, the plasma kept."""
    kept = np.append(kept, len(response.resistance) - 1)
    return Response(
        response.inductance[np.ix_(kept, kept)],
        response.disturbance[kept],
        response.resistance[kept],
        response.outputs[:, kept],
        response.disturbed,
        response.reference[kept],
        response.seen,
    )


def known(size=5, unstable=False):
    """A response of random numbers, symmetric and positive unless it has an unstable mode."""
    generator = np.random.default_rng(3)
    root = generator.normal(size=(size, size))
    matrix = root @ root.T / size + np.eye(size)
    if unstable:
        matrix[0] *= -1
        matrix[:, 0] *= -1
        matrix[0, 0] = -2.0
    return Response(
        jnp.asarray(matrix),
        jnp.asarray(generator.normal(size=(size, 2))),
        jnp.asarray(generator.uniform(0.5, 2.0, size)),
        jnp.asarray(generator.normal(size=(3, size))),
        jnp.asarray(generator.normal(size=(3, 2))),
        jnp.zeros(size),
        jnp.asarray([1.0, 2.0, 3.0]),
    )


def test_inductances():
    """Of thin rings: the textbook's; turns squared; a mutual one is the flux; a rectangle of many
    filaments is a ring of its own mean distance."""
    found = inductances(coils(filaments(0.9, 0.1, 3.0), filaments(0.5, -0.2)), [0.002, 0.001])
    ring = lambda r, a: MU_0 * r * (np.log(8 * r / a) - 1.75)  # noqa: E731
    np.testing.assert_allclose(found[0, 0], 9 * ring(0.9, 0.002), rtol=1e-5)
    np.testing.assert_allclose(found[1, 1], ring(0.5, 0.001), rtol=1e-5)
    flux = filament_flux(*map(jnp.asarray, (0.9, 0.1, 0.5, -0.2)))
    np.testing.assert_allclose([found[0, 1], found[1, 0]], 6 * np.pi * flux, rtol=1e-12)
    square = inductances(coils(rectangular(1.0, 0.0, 0.02, 0.02, points=8)), 0.0013)
    # The mean distance of a square from itself is 0.44705 of its side (Grover 1946, chapter 3).
    mean = 0.44705 * 0.02
    np.testing.assert_allclose(square[0, 0], MU_0 * (np.log(8 / mean) - 2), rtol=2e-3)


def test_order_of_convergence():
    """Against the matrix exponential with a constant voltage, with and without a growing mode."""
    for unstable in (False, True):
        response = known(unstable=unstable)
        assert (response.rates[0] > 0) == unstable
        rate = -np.linalg.solve(response.inductance, np.diag(response.resistance))
        voltage = np.array([1.0, -2.0, 0.5, 0.0, 0.0])
        forced = np.zeros((6, 6))
        forced[:5, :5], forced[:5, 5] = rate, np.linalg.solve(response.inductance, voltage)
        x = np.arange(1.0, 6.0)
        exact = (expm(forced) @ np.append(x, 1.0))[:5]
        for implicitness, order in ((0.5, 2), (1.0, 1)):
            errors = []
            for steps in (40, 80):
                step = plasma_evolution(response, 1 / steps, 3, implicitness=implicitness)
                drive = Drive(jnp.tile(voltage[:3], (steps, 1)), jnp.zeros((steps, 2)))
                end = rollout(step, Deviation(jnp.asarray(x), jnp.zeros(2)), steps, inputs=drive)
                errors.append(np.linalg.norm(end.currents[-1] - exact))
            assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_a_disturbance_links_flux():
    """A sudden one changes the currents by -M*^-1 D w; what is seen is linear in both."""
    response = known()
    step = plasma_evolution(response, 1e-9, 2)
    w = jnp.asarray([0.3, -0.2])
    after = step(step.start(), Drive(jnp.zeros(2), w))
    expected = -np.linalg.solve(response.inductance, response.disturbance @ w)
    np.testing.assert_allclose(after.currents, expected, rtol=1e-6)
    again = step(after, Drive(jnp.zeros(2), w))
    np.testing.assert_allclose(again.currents, after.currents, rtol=1e-6)
    seen = response.seen + response.outputs @ expected + response.disturbed @ w
    np.testing.assert_allclose(response.observe(after), seen, rtol=1e-6)


def test_energy_of_passive_circuits():
    """What the voltages give is what the resistances take and the field keeps: exactly by the
    trapezoidal rule; implicit Euler loses more."""
    machine = coils(filaments(0.5, [-0.1, 0.2], 3.0), filaments(1.3, 0.0), filaments(0.9, 0.7))
    own = np.zeros((4, 4))
    own[:3, :3], own[3, 3] = inductances(machine, 0.02), 1e-6
    ohm = jnp.asarray([1e-4, 2e-5, 3e-5, 1e-6])
    response = eqx.tree_at(
        lambda r: (r.inductance, r.resistance, r.disturbance), known(4),
        (jnp.asarray(own), ohm, jnp.zeros((4, 2))),
    )  # fmt: skip
    voltages = np.random.default_rng(0).normal(size=(30, 1))
    drive = Drive(jnp.asarray(voltages), jnp.zeros((30, 2)))
    start = Deviation(jnp.asarray([1e3, -2e3, 5e2, 1e2]), jnp.zeros(2))
    for implicitness in (0.5, 1.0):
        step = plasma_evolution(response, 0.02, 1, implicitness=implicitness)
        x = np.asarray(rollout(step, start, 30, inputs=drive).currents)
        middle = implicitness * x[1:] + (1 - implicitness) * x[:-1]
        given = 0.02 * (voltages[:, 0] * middle[:, 0] - (middle**2) @ ohm)
        energy = np.einsum("ti,ij,tj->t", x, own, x) / 2
        lost = energy[:-1] + given - energy[1:]
        change = np.diff(x, axis=0)
        expected = (implicitness - 0.5) * np.einsum("ti,ij,tj->t", change, own, change)
        np.testing.assert_allclose(lost, expected, atol=1e-11 * energy[0])
        assert energy[-1] != pytest.approx(energy[0], rel=0.1)


def test_gradients():
    """With respect to voltages, resistances and the step, beside differences; under vmap each
    member is the member alone."""
    response, start = known(unstable=True), jnp.arange(1.0, 6.0)

    @jax.jit
    def loss(p):
        changed = eqx.tree_at(lambda r: r.resistance, response, response.resistance * (1 + p[20:]))
        step = plasma_evolution(changed, 0.05, 2)
        drive = Drive(p[:20].reshape(10, 2), jnp.zeros((10, 2)).at[4:].set(0.3))
        states = rollout(step, Deviation(start, jnp.zeros(2)), 10, inputs=drive)
        return jnp.sum(jax.vmap(changed.observe)(states) ** 2)

    p = jnp.asarray(np.random.default_rng(1).normal(size=25)) / 10
    slope = jax.jit(jax.grad(loss))(p)
    shifted = jnp.concatenate([p + 1e-5 * jnp.eye(25), p - 1e-5 * jnp.eye(25)])
    values = jax.jit(jax.vmap(loss))(shifted)
    difference = (values[:25] - values[25:]) / 2e-5
    np.testing.assert_allclose(difference, slope, rtol=1e-6, atol=1e-7 * np.max(abs(slope)))
    np.testing.assert_allclose(values[3], loss(p.at[3].add(1e-5)), rtol=1e-12)


def test_bad_input():
    response = known(unstable=True)
    growth = float(response.rates[0])
    with pytest.raises(ValueError, match=f"growth time of the vertical mode, {1 / growth:.4g} s"):
        plasma_evolution(response, 1.01 / growth, 2)
    step = plasma_evolution(response, 0.99 / growth, 2)
    assert float(step.largest_dt(step.start())) == pytest.approx(1 / growth)
    assert float(plasma_evolution(known(), 50.0, 2).largest_dt(step.start())) == np.inf
    with pytest.raises(ValueError, match="driven must be at most the number of circuits, 4, got 5"):
        plasma_evolution(response, 0.01, 5)
    with pytest.raises(ValueError, match=r"implicitness must be in \[1/2, 1\], got 0.4"):
        plasma_evolution(response, 0.01, 2, implicitness=0.4)
    with pytest.raises(ValueError, match="dt must be finite and > 0, got 0"):
        plasma_evolution(response, 0.0, 2)
    with pytest.raises(ValueError, match=r"currents must have shape \(5,\), got \(4,\)"):
        step.check(Deviation(jnp.zeros(4), jnp.zeros(2)))
    with pytest.raises(ValueError, match="radii must be finite and > 0, got 0"):
        inductances(coils(filaments(1.0, 0.0)), 0.0)


def test_vertical_growth(cases):
    """None of a round plasma; one mode of an elongated one, of the rigid body's rate, up and down;
    faster with a poorer wall and still faster with half of one; without one nothing holds it."""
    round_one, (machine, found, response, _) = cases["round"], cases["elongated"]
    assert round_one.response.rates[0] < 0
    own = inductances(machine.coils, RADII)
    assert float(stability_margin(machine, round_one.found, own)) == np.inf
    growth = response.rates[0]
    assert 100 < growth < 250 and response.rates[1] < 0

    # Of a rigid body: the force on it and the fluxes that it makes are those of a move upwards.
    area, h = np.prod(machine.grid.spacing), machine.grid.spacing[1]
    density = area * np.asarray(found.density.values)
    slope = np.gradient(np.asarray(machine.response), h, axis=2)
    force = 2 * np.pi * np.sum(density * slope, axis=(1, 2))
    bend = np.gradient(np.tensordot(found.currents, slope, 1), h, axis=1)
    pushing = 2 * np.pi * np.sum(density * bend)
    rigid = own - np.outer(force, force) / pushing
    rates = np.linalg.eigvals(-np.linalg.solve(rigid, np.diag(response.resistance[:-1]))).real
    assert growth == pytest.approx(np.max(rates), rel=0.05)
    margin = force @ np.linalg.solve(own, force) / pushing - 1
    assert float(stability_margin(machine, found, own)) == pytest.approx(margin, rel=0.02)

    poor = response.resistance.at[DRIVEN:-1].multiply(2)
    poorer = eqx.tree_at(lambda r: r.resistance, response, poor)
    assert poorer.rates[0] == pytest.approx(2 * growth, rel=0.05)
    half = with_circuits(response, np.r_[:DRIVEN, DRIVEN : machine.coils.count : 2])
    assert half.rates[0] > 2.2 * growth and half.rates[1] < 0
    coils_alone = eqx.tree_at(lambda m: m.response, machine, machine.response[:DRIVEN])
    one = found._replace(currents=found.currents[:DRIVEN])
    assert float(stability_margin(coils_alone, one, own[:DRIVEN, :DRIVEN])) < 0

    # All boundary points above the middle go up with the axis, those below it too.
    mode = response.unstable_mode
    moved = np.asarray(response.outputs @ mode)[:-1] / (response.outputs @ mode)[-2]
    assert np.all(moved[:4] > 0.1) and np.all(moved[4:8] < -0.1) and abs(moved[8]) < 0.01
    step = plasma_evolution(response, 2e-5, DRIVEN)
    drive = Drive(jnp.zeros((100, DRIVEN)), jnp.zeros((100, 1)))
    states = rollout(step, step.start()._replace(currents=jnp.asarray(mode)), 100, inputs=drive)
    heights = jax.vmap(response.observe)(states)[:, -2] - response.seen[-2]
    assert float(growth_rate(heights, 2e-5)) == pytest.approx(growth, rel=1e-5)


def test_small_changes_of_the_equilibrium(cases):
    """Of the flux through each circuit, and of what is seen, when currents, the plasma current and
    beta change a little: as from equilibria solved for anew, the flux by Green's function."""
    machine, found, response, view = cases["elongated"]
    np.testing.assert_allclose(response.seen, view(found), rtol=1e-9)
    np.testing.assert_allclose(response.seen[-1], CURRENT, rtol=1e-9)
    count, area = machine.coils.count, np.prod(machine.grid.spacing)
    way = np.append(30 * np.random.default_rng(0).normal(size=count), [200.0, 0.003])
    to_plasma = machine.coils.flux(*machine.grid.coordinates)
    weights = found.density.values / jnp.sum(found.density.values)

    def look(share):
        p = np.concatenate([found.currents, [CURRENT, BETA]]) + share * way
        one = free_boundary(
            machine, p[:count], profile_of(jnp.asarray(p[count]), jnp.asarray(p[count + 1 :])),
            start=found.plasma, picard=0, tolerance=1e-12,
        )  # fmt: skip
        through = area * jnp.sum(to_plasma * one.density.values, axis=(1, 2))
        fluxes = 2 * np.pi * np.append(through, jnp.sum(weights * one.psi))
        fluxes[:count] += inductances(machine.coils, RADII) @ p[:count]
        return fluxes, view(one)

    (up, above), (down, below) = look(0.02), look(-0.02)
    linked = response.inductance @ way[:-1] + response.disturbance[:, 0] * way[-1]
    np.testing.assert_allclose((up - down) / 0.04, linked, atol=1e-5 * np.max(abs(linked)))
    seen = response.outputs @ way[:-1] + response.disturbed[:, 0] * way[-1]
    assert np.max(abs(seen[:-1])) > 1e-3
    np.testing.assert_allclose((above - below)[:-1] / 0.04, seen[:-1], atol=1e-4 * 8e-2)
    assert (above - below)[-1] / 0.04 == pytest.approx(200.0, rel=1e-5)
    np.testing.assert_allclose(seen[-1], 200.0, rtol=1e-9)


def test_what_is_refused(cases):
    """Another profile than that of the equilibrium, and a plasma that its conductors do not
    hold."""
    machine, found, response, view = cases["elongated"]
    ohm = response.resistance[:-1]

    def respond(machine, found, beta, ohm):
        return plasma_response(
            machine, found, profile_of, CURRENT, view, resistances=ohm,
            plasma_resistance=RESISTANCE, radii=RADII, disturbances=[beta],
        )  # fmt: skip

    with pytest.raises(ValueError, match="about must be an equilibrium of this machine and profi"):
        respond(machine, found, 2 * BETA, ohm)
    with pytest.raises(ValueError, match=r"resistances must have shape \(36,\), got \(35,\)"):
        respond(machine, found, BETA, ohm[1:])
    driven = coils(*(filaments(machine.coils.r[k], machine.coils.z[k]) for k in range(DRIVEN)))
    alone = Tokamak(machine.operator, driven, machine.limiter, machine.response[:DRIVEN],
                    machine.to_sides, machine.window)  # fmt: skip
    one = found._replace(currents=found.currents[:DRIVEN])
    with pytest.raises(ValueError, match="hold the plasma against its vertical motion, got a stab"):
        respond(alone, one, BETA, ohm[:DRIVEN])
