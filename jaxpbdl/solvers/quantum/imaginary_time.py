"""The ground state of a wave function: the flow down its energy at constant norm.

Schroedinger's equation in imaginary time, dpsi/dt = -(H - mu) psi, ends in the ground state. Here
each step goes down a preconditioned residual of H psi = mu psi, conjugate to the step before, along
the sphere of constant norm to the minimum of the energy there (X. Antoine, A. Levitt and Q. Tang,
J. Comput. Phys. 343 (2017) 92). A splitting in imaginary time ends where its two parts balance, off
the ground state by a power of dt; this ends where the residual itself vanishes.

A last step of Newton's method, on the complement of the ground state, squares what is left of the
residual and carries the derivative to the potential, mass and interaction.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Complex, Float, Int, PyTree

from jaxpbdl import checks
from jaxpbdl.grids.spectrum import Spectrum, scaled
from jaxpbdl.solvers.quantum.split_step import SchroedingerStep

Values = Float[Array, "*grid"]


class GroundState(NamedTuple):
    """What `ground_state` found; int |psi|^2 = 1."""

    wave: Complex[Array, "*grid"]
    energy: Float[Array, ""]
    chemical_potential: Float[Array, ""]
    residual: Float[Array, ""]
    """The norm of (H - mu) psi."""
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


class _Problem(NamedTuple):
    """H psi = (kinetic + potential + interaction psi^2) psi, for real psi with sum psi^2 = 1."""

    spectrum: Spectrum
    kinetic: Array
    potential: Array
    interaction: Array

    def moving(self, values: Values) -> Values:
        return self.spectrum.to_grid(scaled(self.kinetic, self.spectrum.transform(values)))

    def hamiltonian(self, psi: Values, values: Values) -> Values:
        return self.moving(values) + (self.potential + self.interaction * psi**2) * values

    def energy(self, psi: Values) -> Array:
        inside = self.potential * psi + self.interaction / 2 * psi**3
        return _dot(psi, self.moving(psi) + inside)

    def preconditioned(self, psi: Values, residual: Values) -> Values:
        """The residual over the potential and over the kinetic energy, each shifted by the energy
        of the state above the bottom of the potential."""
        depth = self.potential - jnp.min(self.potential) + jnp.abs(self.interaction) * psi**2
        shift = _dot(psi, self.moving(psi)) + _dot(psi, depth * psi)
        root = lax.rsqrt(shift + depth)
        modes = self.spectrum.transform(root * residual)
        return root * self.spectrum.to_grid(scaled(1 / (shift + self.kinetic), modes))


class _Descent(NamedTuple):
    psi: Array
    residual: Array
    direction: Array
    gain: Array
    """The residual times its preconditioned self, of the step before."""
    size: Array
    count: Array


def ground_state(
    step: SchroedingerStep,
    *inputs: PyTree,
    time: ArrayLike = 0.0,
    start: ArrayLike | None = None,
    tolerance: float | None = None,
    iterations: int = 2000,
) -> GroundState:
    """The ground state of a step's kinetic energy, potential and interaction; what absorbs is left
    out. Neither dt nor the scheme of the step matter.

    The derivatives of all results to potential, mass and interaction are exact; they go through jit
    and vmap, where `converged` is to be looked at.

    **Arguments:**

    - `inputs`, `time`: of the potential, where it has them.
    - `start`: real values on the grid that are not orthogonal to the ground state; by default a
      bell over the box, times the Boltzmann factor of the potential.
    - `tolerance`: of the norm of (H - mu) psi before the last step; by default the square root of
      the machine epsilon times the larger of one and mu.
    - `iterations`: the most before it.

    **Raises:** ValueError for a start of another shape or a tolerance that is not above 0.
    RuntimeError outside of jit, with residual and iterations, if the tolerance is not reached.
    """
    iterations = checks.count("iterations", iterations)
    if tolerance is not None:
        checks.positive("tolerance", tolerance)
    grid = step.grid
    if start is not None:
        checks.shape("start", start, grid.shape)
        checks.real("start", start)
    potential = jnp.broadcast_to(step.potential_at(time, *inputs), grid.shape)
    with jax.ensure_compile_time_eval():  # the grid is known, also where jit traces the rest
        spectrum = Spectrum(grid)
        middles = [o + length / 2 for o, length in zip(grid.origin, grid.lengths, strict=True)]
        away = sum(
            ((x - c) / length) ** 2
            for x, c, length in zip(grid.coordinates, middles, grid.lengths, strict=True)
        )
        bell = jnp.exp(-8 * away)
    cell = grid.volume / grid.size
    kinetic = step.kinetic[..., : spectrum.modes[-1]]
    problem = _Problem(spectrum, kinetic, potential, step.interaction / cell)
    if start is None:
        depth = potential - jnp.min(potential)
        first = bell * jnp.exp(-depth / (jnp.mean(depth) + 1))
    else:
        first = jnp.asarray(start, grid.dtype)
    small = float(jnp.finfo(grid.dtype).eps) ** 0.5 if tolerance is None else tolerance
    held = lax.stop_gradient(problem)
    reached = _descend(held, lax.stop_gradient(first), small, tolerance is None, iterations)
    psi = _newton(problem, held, lax.stop_gradient(reached.psi))
    inside = problem.hamiltonian(psi, psi)
    mu = _dot(psi, inside)
    size = jnp.linalg.norm((inside - mu * psi).ravel())
    goal = _goal(small, tolerance is None, mu)
    sign = jnp.where(jnp.sum(psi) < 0, -1.0, 1.0)
    wave = sign * psi / cell**0.5
    found = GroundState(
        lax.complex(wave, jnp.zeros_like(wave)),
        problem.energy(psi),
        mu,
        size,
        reached.count,
        (reached.size <= goal) & (size <= goal) & jnp.isfinite(mu),
    )
    if checks.is_concrete(found) and not bool(found.converged):
        raise RuntimeError(
            f"ground_state did not converge: after {int(found.iterations)} iterations the residual "
            f"is {float(reached.size):.3g}, above {float(goal):.3g}; raise iterations or "
            "tolerance, or give a start"
        )
    return found


def _goal(small: float, relative: bool, mu: Array) -> Array:
    return small * jnp.maximum(1.0, jnp.abs(mu)) if relative else small * jnp.ones_like(mu)


def _dot(first: Array, second: Array) -> Array:
    return jnp.vdot(first, second)


def _across(psi: Values, values: Values) -> Values:
    """The part of values that is orthogonal to a state."""
    return values - _dot(psi, values) * psi


def _unit(values: Values) -> Values:
    return values / jnp.linalg.norm(values.ravel())


def _descend(
    problem: _Problem, first: Values, small: float, relative: bool, iterations: int
) -> _Descent:
    """Nonlinear conjugate gradients on the sphere (Polak and Ribiere), to a residual or a count."""

    def looked_at(psi: Values) -> tuple[Values, Array, Array]:
        inside = problem.hamiltonian(psi, psi)
        mu = _dot(psi, inside)
        residual = inside - mu * psi
        return residual, mu, jnp.linalg.norm(residual.ravel())

    def body(carry: tuple[_Descent, Array, Array]) -> tuple[_Descent, Array, Array]:
        now, old_residual, _ = carry
        steepest = _across(now.psi, problem.preconditioned(now.psi, now.residual))
        gain = _dot(now.residual, steepest)
        kept = jnp.maximum(0.0, (gain - _dot(old_residual, steepest)) / now.gain)
        direction = _across(now.psi, kept * now.direction - steepest)
        downhill = _dot(direction, now.residual) < 0
        direction = jnp.where(downhill, direction, -steepest)
        psi = _lowest(problem, now.psi, _unit(direction))
        residual, mu, size = looked_at(psi)
        later = _Descent(psi, residual, direction, gain, size, now.count + 1)
        return later, now.residual, mu

    def going(carry: tuple[_Descent, Array, Array]) -> Array:
        now, _, mu = carry
        return (now.size > _goal(small, relative, mu)) & (now.count < iterations)

    psi = _unit(first)
    residual, mu, size = looked_at(psi)
    zero = jnp.zeros_like(psi)
    begun = _Descent(psi, residual, zero, jnp.ones_like(mu), size, jnp.asarray(0))
    return lax.while_loop(going, body, (begun, zero, mu))[0]


def _lowest(problem: _Problem, psi: Values, direction: Values) -> Values:
    """The state of least energy on the circle through two orthonormal ones, where the energy is

        sum over powers of cosine and sine of the angle,

    found by Newton's method for the angle, whose coefficients cost one product with H.
    """
    a, b = psi, direction
    moving = problem.moving(b)
    half_g = problem.interaction / 2
    linear_a = problem.moving(a) + problem.potential * a
    linear_b = moving + problem.potential * b
    aa, ab, bb = _dot(a, linear_a), _dot(a, linear_b), _dot(b, linear_b)
    quartic = [
        half_g * _dot(a**4, jnp.ones_like(a)),
        4 * half_g * _dot(a**3, b),
        6 * half_g * _dot(a**2, b**2),
        4 * half_g * _dot(a, b**3),
        half_g * _dot(b**4, jnp.ones_like(b)),
    ]

    def energy(angle: Array) -> Array:
        c, s = jnp.cos(angle), jnp.sin(angle)
        powers = [c**4, c**3 * s, c**2 * s**2, c * s**3, s**4]
        return c**2 * aa + 2 * c * s * ab + s**2 * bb + sum(map(jnp.multiply, quartic, powers))

    slope = jax.grad(energy)
    bend = jax.grad(slope)
    angles = jnp.linspace(-jnp.pi / 2, jnp.pi / 2, 65).astype(psi.dtype)
    best = angles[jnp.argmin(jax.vmap(energy)(angles))]

    def refine(_: Array, angle: Array) -> Array:
        change = slope(angle) / jnp.maximum(bend(angle), 1e-30)
        return angle - jnp.clip(change, -0.05, 0.05)

    angle = lax.fori_loop(0, 8, refine, best)
    return _unit(jnp.cos(angle) * a + jnp.sin(angle) * b)


def _newton(problem: _Problem, held: _Problem, psi: Values) -> Values:
    """One Newton step on the complement of psi. The matrix, positive there, is that of a problem
    without derivatives, the right side that of one with them."""
    mu = _dot(psi, held.hamiltonian(psi, psi))

    def matrix(values: Values) -> Values:
        inside = _across(psi, values)
        inside = held.hamiltonian(psi, inside) + 2 * held.interaction * psi**2 * inside
        inside = inside - mu * _across(psi, values)
        return _across(psi, inside) + _dot(psi, values) * psi

    def preconditioner(values: Values) -> Values:
        inside = _across(psi, held.preconditioned(psi, _across(psi, values)))
        return inside + _dot(psi, values) * psi

    right = _across(psi, problem.hamiltonian(psi, psi))
    tolerance = 1e2 * float(jnp.finfo(psi.dtype).eps)
    change = cg(matrix, right, tol=tolerance, maxiter=500, M=preconditioner)[0]
    return _unit(psi - change)
