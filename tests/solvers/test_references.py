"""Published numbers and files: solitons, Lyapunov exponent, reference solutions of Raissi et al.

(Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019) 686).
"""

from math import log, pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io

import jaxpbdl as jp
from jaxpbdl import equations as eq

pytestmark = pytest.mark.x64


def crests(grid, u, count):
    """Positions of the `count` highest crests: grid maxima refined by Newton's method."""
    slope = jp.fields.partial(jp.fields.interpolate(grid, u), 0)
    values = np.asarray(u)
    maxima = np.flatnonzero((values > np.roll(values, 1)) & (values >= np.roll(values, -1)))
    highest = maxima[np.argsort(-values[maxima])][:count]
    positions = grid.axes[0][highest]
    refine = jax.jit(jax.vmap(lambda x: x - slope(x[None]) / jax.grad(lambda y: slope(y[None]))(x)))
    for _ in range(4):
        positions = refine(positions)
    return np.asarray(positions)


def test_phase_shifts_of_two_solitons():
    """u = 2 k^2 sech^2(k (x - 4 k^2 t)), k = 1 and 1/2: the fast one is moved by +ln 3, the slow
    one by -2 ln 3 (Gardner, Greene, Kruskal, Miura, Phys. Rev. Lett. 19 (1967) 1095).
    """
    grid, equation, end = jp.grids.Periodic(512, 100.0, -50.0), eq.KortewegDeVries(), 8.0
    speeds = np.array([4.0, 1.0])

    @jax.jit
    def collide():
        start = equation.two_solitons(grid.axes[0], -end, (2.0, 1.0))
        step = jp.solvers.spectral.semilinear(equation, grid, 0.0025)
        return start, jp.rollout(step, start, 6400, every=6400)[-1]

    start, final = collide()
    before, after = crests(grid, start, 2), crests(grid, final, 2)
    shifts = (after - speeds * end) - (before + speeds * end)
    np.testing.assert_allclose(shifts, [log(3), -2 * log(3)], atol=1e-4)
    exact = equation.two_solitons(grid.axes[0], end, (2.0, 1.0))
    assert jp.diagnostics.relative_l2(final, exact) < 2e-5


def lyapunov(members, time, dt=0.25, transient=200.0, n=48):
    """Leading exponent of the Kuramoto-Sivashinsky equation on a box of 22, mean and its standard
    error over independent members, by the tangent of the step itself.
    """
    grid = jp.grids.Periodic(n, 22.0)
    step = jp.solvers.spectral.semilinear(eq.KuramotoSivashinsky(), grid, dt)
    block = jp.repeat(step, 4, checkpoint=False)  # between renormalisations

    def grow(carry, _):
        state, tangent = carry
        state, tangent = jax.jvp(block, (state,), (tangent,))
        norm = jnp.linalg.norm(tangent)
        return (state, tangent / norm), jnp.log(norm)

    def member(key):
        first, second = jax.random.split(key)
        state = jp.initial_states.random_field(first, grid, jp.initial_states.peaked(1.0))
        tangent = jax.random.normal(second, grid.shape)
        tangent = tangent - jnp.mean(tangent)
        blocks = [round(t / (4 * dt)) for t in (transient, time)]
        carry, _ = jax.lax.scan(grow, (state, tangent), None, length=blocks[0])
        _, growth = jax.lax.scan(grow, carry, None, length=blocks[1])
        return jnp.sum(growth) / (blocks[1] * 4 * dt)

    exponents = jax.jit(jax.vmap(member))(jax.random.split(jax.random.key(1), members))
    return float(jnp.mean(exponents)), float(jnp.std(exponents, ddof=1) / members**0.5)


def test_lyapunov_exponent():
    """0.0485 +- 0.003 (Cvitanovic, Davidchack, Siminos, SIAM J. Appl. Dyn. Syst. 9 (2010) 1)."""
    exponent, error = lyapunov(members=64, time=2000.0)
    assert error < 0.001 and abs(exponent - 0.0485) < 0.003


# Name, equation, refinement of the file's grid, dealiasing, steps a snapshot, relative L2.
FILES = [
    ("burgers_shock", lambda: eq.Burgers(0.01 / pi), 8, None, 20, 1e-9),
    ("KdV", lambda: eq.KortewegDeVries(1.0, 0.0025), 1, None, 20, 1e-9),
    # computed without dealiasing, which shows because the initial state has a kink at the ends
    ("AC", eq.AllenCahn, 1, 1.0, 10, 1e-10),
    # u_t + u u_x + u_xx + u_xxxx = 0 on [-3 pi, 3 pi], time 15, scaled to [-1, 1] and [0, 1]
    ("KS", lambda: eq.KuramotoSivashinsky(*(15 / (3 * pi) ** p for p in (1, 2, 4))), 1, None, 20,
     1e-9),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "make", "refinement", "keep", "inner", "tolerance"), FILES, ids=[f[0] for f in FILES]
)
def test_files_of_raissi(name, make, refinement, keep, inner, tolerance, real_data):
    """Each file from its own initial state. Where the file stores the periodic end, it is left out
    (Burgers: odd data with u(+-1) = 0 are periodic).
    """
    data = scipy.io.loadmat(real_data(f"pinns-raissi/{name}.mat"))
    snapshots, times = data.get("uu", data.get("usol")).T, data.get("tt", data.get("t")).ravel()
    x = data["x"].ravel()
    n = round(2 / (x[1] - x[0]))
    grid = jp.grids.Periodic(n, 2.0, -1.0)
    np.testing.assert_allclose(x[:n], grid.axes[0], atol=1e-12)
    fine = grid.resized(refinement * n)

    @jax.jit
    def run(start):
        step = jp.solvers.spectral.semilinear(
            make(), fine, (times[1] - times[0]) / inner, keep=keep
        )
        start = jp.grids.resample(start, grid, fine)
        return jp.rollout(step, start, inner * (len(times) - 1), every=inner)[:, ::refinement]

    result = run(jnp.asarray(snapshots[0, :n]))
    error = float(jp.diagnostics.relative_l2(result, snapshots[:, :n]))
    assert error < tolerance
