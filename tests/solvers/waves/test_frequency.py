"""Maxwell's equations at one frequency: exact fields, Yee's scheme in time, derivatives."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

import jaxpbdl as jp
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.waves import factors
from jaxpbdl.solvers.waves.frequency import ceviche_layer, time_harmonic

pytestmark = pytest.mark.x64


def line_source(problem, place):
    """A current of one at a node, and the node."""
    lines = problem.grid.lines_at(jp.grids.node)
    at = tuple(int(np.argmin(abs(line - x))) for line, x in zip(lines, place, strict=True))
    return jnp.zeros(problem.shape).at[at].set(1 / np.prod([h[0] for h in problem.grid.widths])), at


@pytest.mark.parametrize("periodic", (False, True))
def test_a_line_source_is_a_hankel_function(periodic):
    """E = -w/4 H_0(w r), second order, up to half a wavelength from the layer."""
    from scipy import special

    errors = []
    for cells in (10, 20, 40):
        n = 3 * cells
        grid = jp.grids.Cells((n, n), 3.0, -1.5, periodic=periodic)
        side = waves.absorbing(cells // 2, strength=1.2, shift=0.0)
        problem = time_harmonic(grid, 1.0, (side, side))
        current, at = line_source(problem, (0.0, 0.0))
        found = problem.solve(jnp.ones(problem.shape), current)
        x, y = (line[:, None] if a == 0 else line for a, line in enumerate(
            grid.lines_at(jp.grids.node)))  # fmt: skip
        r = np.hypot(x - x[at[0], 0], y - y[at[1]])
        ring = (r > 0.4) & (r < 0.8)
        known = -2 * np.pi / 4 * special.hankel1(0, 2 * np.pi * np.where(ring, r, 1.0))
        errors.append(np.max(abs(np.asarray(found) - known)[ring]) / np.max(abs(known[ring])))
    orders = np.log2(np.asarray(errors[:-1]) / errors[1:])
    assert errors[-1] < 0.01
    np.testing.assert_allclose(orders, 2.0, atol=0.2)


@pytest.mark.parametrize("axis", (0, 1))
def test_a_sheet_of_current_sends_plane_waves(axis):
    """E = -J/2 exp(i k |x|), with the k of the scheme, and H at right angles to it; in a
    medium both change by its index."""
    eps, h = 2.25, 0.05
    shape, lengths = [80, 4], [80 * h, 4 * h]
    grid = jp.grids.Cells(shape[:: 1 - 2 * axis], lengths[:: 1 - 2 * axis], periodic=(True, True))
    side = waves.absorbing(30, strength=0.5, shift=0.0)
    problem = time_harmonic(grid, 1.0, (side, None)[:: 1 - 2 * axis])
    sheet = jnp.zeros(problem.shape)
    sheet = sheet.at[(40, slice(None)) if axis == 0 else (slice(None), 40)].set(1 / h)
    found = problem.solve(jnp.full(problem.shape, eps), sheet)
    w = 2 * np.pi
    k = 2 / h * np.arcsin(w * eps**0.5 * h / 2)
    # Half of the current goes either way: the jump of the slope is what the scheme has.
    expected = -w / 2 / (np.sin(k * h) / h) * np.exp(1j * k * h * abs(np.arange(80) - 40))
    line = np.asarray(found if axis == 0 else found.T)
    inside = slice(31, 49)
    for column in line.T:
        np.testing.assert_allclose(column[inside], expected[inside], atol=3e-4)
    h_x, h_y = problem.magnetic(found)
    across, other = (h_y, h_x) if axis == 0 else (h_x.T, h_y.T)
    sign = -1 if axis == 0 else 1  # E x H points away
    ratio = sign * np.sin(k * h / 2) * 2 / h / w
    middle = expected * np.exp(0.5j * k * h)
    np.testing.assert_allclose(across[42:49, 1], ratio * middle[42:49], atol=3e-4)
    np.testing.assert_allclose(other, 0, atol=1e-9)


def bodies(shape, key=0):
    """A permittivity that has nothing to do with the axes."""
    return 1.0 + 3.0 * jax.random.uniform(jax.random.key(key), shape)


def small(periodic=(False, True)):
    """A problem on cells that differ."""
    edges = [None, None]
    if not periodic[0]:
        edges[0] = np.cumsum(np.r_[0.0, 0.05 + 0.02 * np.sin(np.arange(20))])
    grid = jp.grids.Cells((20, 18), (1.0, 0.9), periodic=periodic, edges=edges)
    side = waves.absorbing(5, stretch=1.5, shift=0.1)
    return time_harmonic(grid, 0.7, ((side, waves.pec), (side, side)))


def test_it_is_the_transform_of_a_run_in_time():
    """Of Yee's scheme about a body of random cells, with the frequency that its dt makes of w."""
    n, h, layer = 44, 0.05, 12
    grid = jp.grids.Cells((n, n), n * h)
    side = waves.absorbing(layer, shift=0.0)
    eps = jnp.ones((n + 1, n + 1)).at[20:28, 18:26].set(bodies((8, 8)))
    dt, wavelength = 0.25 * h, 1.0
    signal, place = waves.pulse(wavelength, 1.0), (18 * h, 22 * h)
    step = waves.maxwell(
        grid, dt, permittivity=(eps,), sides=(side, side), components=waves.tm,
        sources=(waves.dipole(place, 2, signal),),
    )  # fmt: skip
    watched = waves.transformed(step, lambda fields: fields.electric[0], wavelength)
    steps = 1200
    run = jax.jit(jp.repeat(watched, steps))(watched.start(step.start()))
    found = np.asarray(waves.spectra(run)[0])
    w = 2 * np.pi / wavelength
    problem = time_harmonic(grid, np.pi * dt / np.sin(w * dt / 2), (side, side))
    current, at = line_source(problem, place)
    known = np.asarray(problem.solve(eps, current))
    # The current is wanted half a step before the field that it changes.
    times = dt * (np.arange(steps) + 0.5)
    sent = dt * np.sum(np.asarray(jax.vmap(signal)(jnp.asarray(times))) * np.exp(1j * w * times))
    inner = (slice(layer, n - layer + 1),) * 2
    error = np.abs(found / sent - known)[inner]
    assert np.max(error) < 3e-3 * np.max(abs(known[inner]))


@pytest.mark.parametrize("periodic", ((True, True), (False, True)))
def test_reciprocity(periodic):
    """Source and receiver change places: int J_1 E_2 = int J_2 E_1."""
    problem = small(periodic)
    lines = [np.ones(n) if p else gap[1:-1] for n, p, gap in zip(
        problem.shape, problem.grid.periodic, problem.grid.gaps, strict=True)]  # fmt: skip
    lines = [gap if p else np.pad(gap, 1) for p, gap in zip(periodic, lines, strict=True)]
    area = lines[0][:, None] * lines[1]
    currents = np.zeros((2, *problem.shape))
    currents[0, 7, 6], currents[1, 14, 11], currents[1, 12, 10] = 1.0, 0.5, -2.0
    eps = bodies(problem.shape) + 0.1j
    found = problem.solve(eps, jnp.asarray(currents))
    one, two = (np.sum(currents[a] * np.asarray(found[1 - a]) * area) for a in (0, 1))
    assert one == pytest.approx(two, rel=1e-10) and abs(one) > 1e-6
    alone = problem.solve(eps, jnp.asarray(currents[1]))
    np.testing.assert_allclose(alone, found[1], rtol=1e-10)


def test_derivatives():
    """To the permittivity, its imaginary part and the current, of a loss that is no analytic
    function of E: backward, forward, and of second order."""
    problem = small()
    key = jax.random.split(jax.random.key(1), 4)
    eps = bodies(problem.shape)
    mask = jnp.zeros(problem.shape).at[6:18, 6:12].set(1.0)
    current = mask * (jax.random.normal(key[0], mask.shape) + 0.3j)
    weights = jax.random.normal(key[1], mask.shape)
    direction = mask * jax.random.normal(key[2], mask.shape)

    @jax.jit
    def loss(t):
        real, imaginary, source = t
        found = problem.solve(
            eps + (real + 1j * imaginary) * direction, current * (1 + (1 + 0.5j) * source)
        )
        return jnp.sum(weights * jnp.abs(found) ** 2) + jnp.sum(weights * found.real) ** 2

    zero, size = jnp.zeros(3), 1e-4
    differences = [
        (8 * (loss(size * e) - loss(-size * e)) - (loss(2 * size * e) - loss(-2 * size * e)))
        / (12 * size)
        for e in jnp.eye(3)
    ]
    gradient = jax.grad(loss)(zero)
    np.testing.assert_allclose(gradient, differences, rtol=1e-6)
    ahead = [jax.jvp(loss, (zero,), (e,))[1] for e in jnp.eye(3)]
    np.testing.assert_allclose(ahead, gradient, rtol=1e-9)
    e = jnp.array([1.0, 0.0, 0.0])
    second = jax.grad(lambda t: jax.jvp(loss, (t,), (e,))[1])(zero)
    slope = (jax.grad(loss)(size * e) - jax.grad(loss)(-size * e)) / (2 * size)
    np.testing.assert_allclose(second, slope, rtol=1e-5)


def test_the_adjoint_takes_the_same_factors(monkeypatch):
    from scipy.sparse import linalg

    count, splu = [], linalg.splu
    monkeypatch.setattr(linalg, "splu", lambda *a, **k: count.append(1) or splu(*a, **k))
    problem = small()
    current = jnp.zeros(problem.shape).at[8, 8].set(1.0)
    factors._factors.clear()
    loss = jax.jit(lambda eps: jnp.sum(jnp.abs(problem.solve(eps, current)) ** 2))
    jax.block_until_ready(jax.grad(loss)(bodies(problem.shape, 5)))
    assert len(count) == 1
    loss(bodies(problem.shape, 6)).block_until_ready()
    assert len(count) == 2
    monkeypatch.setattr(factors, "KEPT_ENTRIES", 1)
    loss(bodies(problem.shape, 7)).block_until_ready()
    assert len(factors._factors) == 1


def test_single_precision_and_many_media():
    problem = small()
    current = jnp.zeros(problem.shape).at[8, 8].set(1.0)
    media = jnp.stack([bodies(problem.shape, key) for key in (0, 1)])
    many = jax.vmap(lambda eps: problem.solve(eps, current))(media)
    known = problem.solve(media[1], current)
    np.testing.assert_allclose(many[1], known, rtol=1e-10)
    single = jp.grids.Cells((20, 18), (1.0, 0.9), periodic=(False, True),
                            edges=[problem.grid.edges[0], None], dtype=np.float32)  # fmt: skip
    side = waves.absorbing(5, stretch=1.5, shift=0.1)
    rough = time_harmonic(single, 0.7, ((side, waves.pec), (side, side)))
    found = rough.solve(media[1].astype(np.float32), current.astype(np.float32))
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found, known, atol=1e-4 * float(jnp.max(jnp.abs(known))))


def test_one_processor_is_enough():
    """Large fields, calls that do not wait for each other, in a process of one thread: what is
    handed to SuperLU must not wait for the thread that hands it over. E is that of one call, and
    solves the equation."""
    program = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxpbdl as jp
from jaxpbdl.solvers import waves
grid = jp.grids.Cells((130, 130), 6.5, periodic=True)
problem = waves.time_harmonic(grid, 1.0)
current = jnp.zeros(problem.shape).at[65, 65].set(1.0)
solve = jax.jit(lambda eps: problem.solve(eps, current))
eps = jnp.ones(problem.shape)
for _ in range(2):
    eps = 1 + 0.1 * jnp.abs(solve(eps + 0.1 * jnp.abs(solve(eps))))
print(repr([float(eps[i, j]) for i, j in ((65, 65), (40, 60), (90, 50))]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    grid = jp.grids.Cells((130, 130), 6.5, periodic=True)
    problem = time_harmonic(grid, 1.0)
    current = jnp.zeros(problem.shape).at[65, 65].set(1.0)
    eps = jnp.ones(problem.shape)
    for _ in range(2):
        inner = eps + 0.1 * jnp.abs(jax.block_until_ready(problem.solve(eps, current)))
        eps = 1 + 0.1 * jnp.abs(jax.block_until_ready(problem.solve(inner, current)))
    known = [float(eps[i, j]) for i, j in ((65, 65), (40, 60), (90, 50))]
    np.testing.assert_allclose(json.loads(done.stdout), known, rtol=1e-10)
    (along_x, along_y), w = problem.differences, problem.frequency
    electric = problem.solve(eps, current)
    left = along_x(electric) + along_y(electric.T).T + w**2 * eps * electric
    np.testing.assert_allclose(left, -1j * w * current, atol=1e-9 * float(w))
    assert np.ptp(known) > 1e-4 and abs(known[1] - known[2]) > 1e-6


def test_a_resonance_is_refused():
    """At that of the scheme in a closed box, with the residual; beside it the field is that of the
    mode, falling with the distance."""
    n, h = 20, 0.05
    grid = jp.grids.Cells((n, n), n * h)
    own = 2**0.5 * 2 / h * np.sin(np.pi * h / 2)
    eps, largest = jnp.ones((n + 1, n + 1)), []
    current = jnp.zeros(eps.shape).at[5, 7].set(1.0)
    for beside in (0.0, 1e-13, 1e-6, 2e-6):
        problem = time_harmonic(grid, 2 * np.pi / (own * (1 + beside)), (waves.pec,) * 2)
        if beside < 1e-9:
            with pytest.raises(JaxRuntimeError, match=r"must be at most 1e-08 of the source, got "):
                problem.solve(eps, current).block_until_ready()
        else:
            largest.append(float(jnp.max(jnp.abs(problem.solve(eps, current)))))
    assert largest[0] == pytest.approx(2 * largest[1], rel=1e-4)


def test_wrong_factors(monkeypatch):
    """Factors that are a little wrong are mended by refinement, others are refused."""
    from scipy.sparse import linalg

    splu, problem = linalg.splu, small()
    current, eps = jnp.zeros(problem.shape).at[8, 8].set(1.0), bodies(problem.shape, 8)
    known = problem.solve(eps, current)
    for size, refused in ((1e-6, False), (0.5, True)):
        monkeypatch.setattr(linalg, "splu", lambda a, s=size, **k: splu(a * (1 + s), **k))
        factors._factors.clear()
        if refused:
            with pytest.raises(JaxRuntimeError, match=r"of the source, got 0\.0\d"):
                problem.solve(eps, current).block_until_ready()
        else:
            np.testing.assert_allclose(problem.solve(eps, current), known, rtol=1e-9)
    factors._factors.clear()


def test_the_layout_of_ceviche():
    """Its stretched coordinates, as it numbers them: at node i the depth 20.5 - i, before it half a
    cell more; on the other side i - (n - 20) - 0.5."""
    n, h = 60, 0.04
    w = 2 * np.pi / 1.27
    grid = jp.grids.Cells((n, n), n * h, periodic=True)
    problem = time_harmonic(grid, 1.27, (ceviche_layer,) * 2, offset=0.5)

    def s(depth):
        largest = 4 * 30 / (2 * 20 * h)
        return 1 + 1j * largest * (max(depth, 0.0) / 20) ** 3 / w

    for i in (1, 7, 20, 21, 30, 41, 58):
        at = s(20.5 - i) * s(i - (n - 20) - 0.5)
        before, after = (s(21 - j) * s(j - (n - 20) - 1) for j in (i, i + 1))
        row = problem.differences[1]
        assert complex(row.before[i]) == pytest.approx(1 / (h**2 * at * before), rel=1e-9)
        assert complex(row.after[i]) == pytest.approx(1 / (h**2 * at * after), rel=1e-9)
        assert complex(row.middle[i]) == pytest.approx(-complex(row.before[i] + row.after[i]))


def test_refused():
    grid = jp.grids.Cells((30, 30), 3.0)
    problem = time_harmonic(grid, 1.0, (waves.absorbing(8),) * 2)
    eps, current = jnp.ones(problem.shape), jnp.zeros(problem.shape).at[15, 15].set(1.0)
    for wrong, problem_of_it in (
        (eps.at[2, 3].set(jnp.nan), r"real part > 0, got nan at \(2, 3\)"),
        (eps.at[4, 5].set(0.0), r"real part > 0, got 0.0 at \(4, 5\)"),
        ((eps + 0j).at[4, 5].set(-2.0), r"real part > 0, got \(-2\+0j\) at \(4, 5\)"),
        (jnp.full(problem.shape, 36.0), "at least two cells of 0.1 in the permittivity 36, 1.2"),
        (eps[1:], r"permittivity must have shape \(31, 31\), got \(30, 31\)"),
    ):
        with pytest.raises(ValueError, match=problem_of_it):
            problem.solve(wrong, current)
    for wrong, problem_of_it in (
        (current.at[7, 15].set(1.0), r"current at .0.7\d*, 1.5.* is inside the absorbing layer"),
        (current.at[15, 24].set(1.0), r"current at .1.5, 2.4.* is inside the absorbing layer"),
        (current.at[15, 15].set(jnp.inf), "current must be finite"),
        (current[:, 1:], r"last axes \(31, 31\), the nodes, got \(31, 30\)"),
    ):
        with pytest.raises(ValueError, match=problem_of_it):
            problem.solve(eps, wrong)
    graded = jp.grids.Cells((30, 30), edges=[np.cumsum([0.0] + [0.05] * 29 + [1.55]), None])
    wide = time_harmonic(graded, 2 * np.pi, (waves.pec,) * 2)
    with pytest.raises(
        ValueError, match=r"two cells of 1\.55 in the permittivity 9, 9\.3, got 6\.28"
    ):
        wide.solve(jnp.full(wide.shape, 9.0), jnp.zeros(wide.shape))
    moved = time_harmonic(grid, 1.0, (waves.absorbing(8),) * 2, offset=0.5)
    moved.solve(eps, current.at[22, 15].set(1.0))
    with pytest.raises(ValueError, match=r"current at \(0.8\d*, 1.5\d*\) is inside the absorb"):
        moved.solve(eps, current.at[8, 15].set(1.0))
    side = waves.absorbing(8)
    for arguments, problem_of_it in (
        ((jp.grids.Cells(30), 1.0), "grid must have two axes, got 1"),
        ((grid, 0.19), "wavelength must be at least two cells, 0.2, got 0.19"),
        ((grid, 0.0), "wavelength must be finite and > 0, got 0.0"),
        ((grid, 1.0, (side,)), "sides must have 2 entries, one per axis; got 1"),
        ((grid, 1.0, (side, None)), "sides of axis 1 must be pec or absorbing, got None"),
        ((grid, 1.0, (waves.pmc, side)), "sides of axis 0 must be pec or absorbing"),
        ((grid, 1.0, (waves.absorbing(15), side)), "must take less than its 30 cells, got 15 + 15"),
    ):
        with pytest.raises(ValueError, match=problem_of_it.replace("+", r"\+")):
            time_harmonic(*arguments)
