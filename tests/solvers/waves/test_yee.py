"""Yee's scheme: its dispersion, cavities, what it keeps, media, gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import waves

pytestmark = pytest.mark.x64
# Phase velocity of the scheme on a square grid with dt half a cell, at 0 and 45 degrees.
VELOCITIES = {10: (0.987264, 0.995817), 20: (0.996892, 0.998968), 40: (0.999227, 0.999743)}


def noise(step, seed):
    """A state of random numbers."""
    zero, key = step.start(), jax.random.key(seed)
    keys = iter(jax.random.split(key, 6))
    electric, magnetic = (
        tuple(jax.random.normal(next(keys), field.shape) for field in fields)
        for fields in (zero.electric, zero.magnetic)
    )
    return step.start(electric, magnetic)


def frequency(step, state, place):
    """From three values of one component at a point: E later + E before = 2 cos(w dt) E."""
    states = jp.rollout(step, state, 2)
    before, now, later = (states.electric[place[0]][i][place[1:]] for i in range(3))
    return float(jnp.arccos((before + later) / (2 * now)) / step.dt)


@pytest.mark.parametrize("angle", (0, 1), ids=("along an axis", "along the diagonal"))
def test_phase_velocity(angle):
    """Inside of a large box, before its sides are felt; second order."""
    direction = ((1.0, 0.0), (0.5**0.5, 0.5**0.5))[angle]
    grid = jp.grids.Cells((12, 12), 12.0)
    step = waves.maxwell(grid, 0.5, components=waves.tm)

    @jax.jit
    def second(k):
        state = step.start(
            lambda point: jnp.array([0, 0, jnp.cos(k * (point - 6.0) @ jnp.asarray(direction))])
        )
        first = step.advance(state)
        return [one.electric[0][6, 6] for one in (state, first, step.advance(first))]

    slow = []
    for points, velocities in VELOCITIES.items():
        known = velocities[angle]
        before, now, later = second(2 * np.pi / points / known)
        measured = float(jnp.arccos((before + later) / (2 * now)) / 0.5) / (2 * np.pi / points)
        assert measured == pytest.approx(1.0, abs=2e-6)  # the velocity of the table is that of k
        slow.append(1 - known * measured)
    orders = np.log2(np.asarray(slow[:-1]) / slow[1:])
    np.testing.assert_allclose(orders, 2.0, atol=0.05)


def square_mode(point):
    return jnp.array([0, 0, jnp.sin(jnp.pi * point[0]) * jnp.sin(jnp.pi * point[1])])


def cube_mode(point):
    return jnp.array([0, jnp.sin(jnp.pi * point[0]) * jnp.sin(jnp.pi * point[2]), 0])


@pytest.mark.parametrize(
    ("shape", "components", "mode"),
    [((20, 20), waves.tm, square_mode), ((20, 6, 20), None, cube_mode)],
    ids=("square", "box"),
)
def test_cavity_modes(shape, components, mode):
    """f = sqrt(2) / (2 a) of the lowest mode of a square, and of a cube for that which does not
    depend on the third coordinate."""
    grid = jp.grids.Cells(shape, 1.0)
    step = waves.maxwell(grid, 0.02, components=components)
    place = (0, 7, 9) if len(shape) == 2 else (1, 7, 2, 9)
    found = frequency(step, step.start(mode), place) / (2 * np.pi)
    assert found == pytest.approx(2**0.5 / 2, rel=1e-3)
    rest = jp.rollout(step, step.start(mode), 1).electric
    keep = {0: mode} if len(shape) == 2 else {1: mode}
    for number, field in enumerate(rest):
        assert (float(jnp.max(jnp.abs(field))) > 0.5) == (number in keep)


def profile(point):
    return 1 + 0.5 * jnp.sin(3 * point[0]) ** 2


BOXES = {
    "1d": ((9,), (1.0,), False, waves.ey_hz, ((waves.pec, waves.pmc),)),
    "tm": ((9, 6), (1.0, 0.7), (False, True), waves.tm, (waves.pmc, None)),
    "te": ((9, 6), (1.0, 0.7), False, waves.te, None),
    "3d": ((5, 6, 4), (1.0, 0.7, 2.0), (True, False, False), None,
           (None, (waves.pec, waves.pmc), waves.pec)),
}  # fmt: skip
every_box = pytest.mark.parametrize("box", BOXES.values(), ids=list(BOXES))


def boxed(box, share=0.95):
    shape, lengths, periodic, components, sides = box
    grid = jp.grids.Cells(shape, lengths, periodic=periodic)
    limit = sum(float(h.min()) ** -2 for h in grid.widths) ** -0.5
    return waves.maxwell(
        grid, share * limit, permittivity=profile, sides=sides, components=components
    )


@every_box
def test_energy_and_charge_stay(box):
    """To round-off over 1000 steps, for conductors, mirrors and periodic sides, cells that differ
    along the axes, and a permittivity that varies."""
    step = boxed(box)
    inner = tuple(slice(None) if wraps else slice(1, -1) for wraps in step.grid.periodic)

    def kept(state):
        return waves.energy(step, state), waves.charge(step, state)[inner]

    energies, charges = jp.rollout(step, noise(step, 0), 1000, every=500, observe=kept)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-12)
    np.testing.assert_allclose(charges - charges[0], 0, atol=1e-10)
    carries = any(component < step.grid.ndim for component in step.components.electric)
    assert energies[0] > 0 and (float(jnp.max(jnp.abs(charges))) > 1) == carries


def test_sides_are_mirrors():
    """A tangential E that is odd about a conductor, or even about a magnetic one, evolves in half
    the box as in all of it; on both ends of both axes."""
    whole = waves.maxwell(jp.grids.Cells((10, 12), (1.0, 1.5)), 0.05, components=waves.tm)
    half = jp.grids.Cells((5, 6), (0.5, 0.75))
    x, y = np.linspace(0, 1, 11)[:, None], np.linspace(0, 1.5, 13)
    for n, sides in ((1, (waves.pec, waves.pmc)), (2, (waves.pec, waves.pec))):
        field = np.sin(n * np.pi * x) * np.sin(n * np.pi / 1.5 * y)
        field = field + 0.3 * np.sin((n + 2) * np.pi * x) * np.sin(n * np.pi / 1.5 * y)
        field = jnp.asarray(field)
        start = whole.start((field,))
        full = jp.rollout(whole, start, 30, every=30).electric[0][-1]
        for flip in (False, True):
            part = slice(-6, None) if flip else slice(None, 6)
            other = slice(-7, None) if flip else slice(None, 7)
            pair = sides[::-1] if flip else sides
            step = waves.maxwell(half, 0.05, components=waves.tm, sides=(pair, pair))
            found = jp.rollout(step, step.start((field[part, other],)), 30, every=30)
            np.testing.assert_allclose(found.electric[0][-1], full[part, other], atol=1e-12)


def test_one_step_by_hand():
    """Signs and factors of all six components on a periodic grid with unequal cells, against
    np.roll."""
    grid = jp.grids.Cells((4, 5, 6), (1.0, 2.0, 3.0), periodic=True)
    eps = (2.0, 3.0, 4.0)
    step = waves.maxwell(grid, 0.1, permittivity=eps, conductivity=0.5)
    state = noise(step, 1)
    found = step(state)
    h = [float(w[0]) for w in grid.widths]
    e, m = [np.asarray(x) for x in state.electric], [np.asarray(x) for x in state.magnetic]
    up = [lambda f, a=a: (np.roll(f, -1, a) - f) / h[a] for a in range(3)]
    down = [lambda f, a=a: (f - np.roll(f, 1, a)) / h[a] for a in range(3)]
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        m[a] = m[a] - 0.1 * (up[b](e[c]) - up[c](e[b]))
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        curl = down[b](m[c]) - down[c](m[b])
        e_new = ((eps[a] - 0.025) * e[a] + 0.1 * curl) / (eps[a] + 0.025)
        np.testing.assert_allclose(found.electric[a], e_new, atol=1e-12)
        np.testing.assert_allclose(found.magnetic[a], m[a], atol=1e-12)
    assert float(found.time) == pytest.approx(0.1)


def test_jit_vmap_and_loops_agree():
    """With layers, losses and poles, for three states and two permittivities; an input, too."""
    grid = jp.grids.Cells((8, 7), (1.0, 0.8))
    side = waves.absorbing(2)

    def advanced(eps, electric, step_of=lambda step, *rest: step(*rest)):
        step = waves.maxwell(
            grid,
            0.04,
            permittivity=eps,
            conductivity=0.3,
            poles=(waves.drude(2.0, 0.1), waves.lorentz(3.0, 0.5, 0.2)),
            sides=((side, waves.pec), side),
            components=waves.te,
        )
        state = step.start(electric)
        return step_of(step, step_of(step, state), (0.1 * electric[0], 0.2 * electric[1]))

    shapes = [grid.shape_at(jp.grids.edge(a)) for a in (0, 1)]
    keys = jax.random.split(jax.random.key(0), 3)
    fields = tuple(jnp.stack([jax.random.normal(k, s) for k in keys]) for s in shapes)
    eps = jnp.array([1.0, 2.0, 3.0])
    together = jax.jit(jax.vmap(advanced))(eps, fields)
    alone = jax.jit(advanced)
    for i in range(3):
        one = alone(eps[i], tuple(f[i] for f in fields))
        chosen = jax.tree.map(lambda x, i=i: x[i], together)
        assert eqx.tree_equal(one, chosen, rtol=1e-12, atol=1e-13)
    eager = advanced(eps[1], tuple(f[1] for f in fields))
    assert eqx.tree_equal(eager, jax.tree.map(lambda x: x[1], together), rtol=1e-12, atol=1e-13)


def test_gradient_to_the_permittivity():
    """Of a probe behind a slab with poles, against finite differences, for a number and an array;
    also through checkpoints of a rollout."""
    grid = jp.grids.Cells(30, 3.0)
    wave = waves.dipole((0.8,), 2, waves.pulse(1.0, 0.3))
    inside = (grid.points_at(jp.grids.node)[..., 0] > 1.2).astype(float)

    def probe(eps, line):
        step = waves.maxwell(
            grid,
            0.09,
            permittivity=(1 + inside * (eps - 1) + line,),
            poles=(waves.lorentz(4.0, 0.5, 0.1, share=(inside,)),),
            sides=(waves.absorbing(5),),
            components=waves.ez_hy,
            sources=(wave,),
        )
        seen = jp.rollout(step, step.start(), 50, every=10, observe=lambda s: s.electric[0][20])
        return jnp.sum(seen**2)

    line = 0.1 * inside
    value = jax.jit(probe)
    by_number, by_line = jax.jit(jax.grad(probe, (0, 1)))(2.0, line)
    step = 1e-5
    number = (value(2.0 + step, line) - value(2.0 - step, line)) / (2 * step)
    unit = jnp.zeros_like(line).at[16].set(step)
    entry = (value(2.0, line + unit) - value(2.0, line - unit)) / (2 * step)
    assert abs(number) > 1e-4 and abs(entry) > 1e-6
    np.testing.assert_allclose(by_number, number, rtol=1e-6)
    np.testing.assert_allclose(by_line[16], entry, rtol=1e-6)


def test_the_limit_is_where_it_is_said_to_be():
    """At 0.999 of it random fields stay, at 1.01 they grow; also with poles."""
    grid = jp.grids.Cells((6, 6), (1.0, 0.8), periodic=True)
    limit = float((36 + 36 / 0.64) ** -0.5)
    for poles in ((), (waves.drude(3.0),)):
        calm = waves.maxwell(grid, 0.5 * limit, components=waves.tm, poles=poles)
        largest = float(calm.largest_dt())
        expected = limit if not poles else 2 / (4 / limit**2 + 9) ** 0.5
        assert largest == pytest.approx(expected)
        for factor, stays in ((0.999, True), (1.01, False)):
            step = eqx.tree_at(lambda s: s.dt, calm, jnp.asarray(factor * largest))
            advance = jp.rollout(step.advance, noise(calm, 0), 300, every=300)
            assert (float(jnp.max(jnp.abs(advance.electric[0][-1]))) < 1e3) == stays


def test_refused():
    grid = jp.grids.Cells((8, 8))
    with pytest.raises(ValueError, match="components must be given on a grid of 2 axes: one of tm"):
        waves.maxwell(grid, 0.01)
    with pytest.raises(ValueError, match="have E_z, which needs H_y on a grid of 2 axes"):
        waves.maxwell(grid, 0.01, components=waves.Components((2,), (0,)))

    def step(dt=0.05, **options):
        return waves.maxwell(grid, dt, components=waves.tm, **options)

    with pytest.raises(ValueError, match=r"dt = 0.1 is above Courant's limit .* dt <= 0.08838"):
        step(0.1)
    with pytest.raises(ValueError, match="dt must be finite and > 0, got -1"):
        step(-1)
    with pytest.raises(ValueError, match="permittivity must be finite and > 0"):
        step(permittivity=lambda point: point[0] - 0.5)
    with pytest.raises(ValueError, match="conductivity must be finite and >= 0"):
        step(conductivity=-1.0)
    with pytest.raises(ValueError, match="permittivity must have 1 entries, E_z; got 2"):
        step(permittivity=(1.0, 2.0))
    layer = waves.absorbing(4)
    with pytest.raises(ValueError, match=r"must take less than its 8 cells, got 4 \+ 4"):
        step(sides=(layer, None))
    with pytest.raises(ValueError, match="cells must be an integer >= 1, got 0"):
        waves.absorbing(0)
    with pytest.raises(ValueError, match="sides must have 2 entries"):
        step(sides=(layer,))
    thin = waves.absorbing(2)
    for place, problem in (((0.1, 0.5), "inside the absorbing layer"), ((0.5, 1.2), "outside the")):
        with pytest.raises(ValueError, match=f"{problem}.*must be within 0.25..0.75"):
            step(sides=(thin, thin), sources=(waves.dipole(place, 2, jnp.sin),))
    with pytest.raises(ValueError, match=r"component must be one of the electric ones \(2,\)"):
        step(sources=(waves.dipole((0.5, 0.5), 0, jnp.sin),))
    with pytest.raises(ValueError, match="upper .* is inside the absorbing layer"):
        step(
            sides=(thin, thin),
            sources=(waves.plane_wave((0.3, 0.3), (0.9, 0.7), 0, 2, jnp.sin),),
        )
    with pytest.raises(ValueError, match="state must be Fields"):
        step()(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"component 0 must have shape \(9, 9\)"):
        step().start((jnp.zeros((8, 8)),))
