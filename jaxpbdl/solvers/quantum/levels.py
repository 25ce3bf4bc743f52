"""Systems of few levels that controls drive: states, unitaries and density matrices as steps.

    i dpsi/dt = H psi,   H = drift + sum_k u_k controls_k,   hbar = 1
    drho/dt = -i [H, rho] + sum_j L_j rho L_j^+ - (L_j^+ L_j rho + rho L_j^+ L_j) / 2

The controls u are constant over a step, whose exponential is taken exactly. The second equation is
Lindblad's (G. Lindblad, Commun. Math. Phys. 48 (1976) 119).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.step import Step

HERMITIAN = 1e-6
"""Largest part of a Hamiltonian that may differ from its adjoint."""


@jax.custom_jvp
def propagator(hamiltonian: Complex[Array, "n n"], dt: Float[Array, ""]) -> Complex[Array, "n n"]:
    """exp(-i dt H) of a Hermitian matrix.

    Its first derivative is exact for equal levels too: in the basis of H the divided differences of
    the exponential (Ju. L. Daleckii and S. G. Krein, 1965; for control K. F. Floether et al., New
    J. Phys. 14 (2012) 073023). Second derivatives are those of the eigenvectors, without meaning
    where levels are equal.
    """
    values, vectors = jnp.linalg.eigh(hamiltonian)
    return (vectors * jnp.exp(-1j * dt * values)) @ vectors.conj().T


@propagator.defjvp
def _propagator_jvp(
    primals: tuple[Array, Array], tangents: tuple[ArrayLike, ArrayLike]
) -> tuple[Array, Array]:
    (hamiltonian, dt), (turned, longer) = primals, tangents
    values, vectors = jnp.linalg.eigh(hamiltonian)
    adjoint = vectors.conj().T
    phases = jnp.exp(-1j * dt * values)
    result = (vectors * phases) @ adjoint
    middle = (values[:, None] + values) * dt / 2
    apart = (values[:, None] - values) * dt / (2 * jnp.pi)
    differences = -1j * dt * jnp.exp(-1j * middle) * jnp.sinc(apart)
    change = vectors @ (differences * (adjoint @ turned @ vectors)) @ adjoint
    return result, change - 1j * longer * ((vectors * (values * phases)) @ adjoint)


class LevelStep(Step):
    """One step of a state (n,), or of several as columns (n, m), such as a unitary; created by
    `few_levels`. `step(state, u)` with one number for each control."""

    trainable_fields = ()

    drift: Complex[Array, "n n"]
    controls: Complex[Array, "k n n"]
    dt: Array

    @property
    def interval(self) -> Array:
        return self.dt

    def hamiltonian(self, *inputs: Float[Array, " k"]) -> Complex[Array, "n n"]:
        """H of an input."""
        given = sum(jnp.tensordot(one, self.controls, axes=1) for one in inputs)
        return self.drift + given

    def advance(
        self, working: Complex[Array, "n *m"], *inputs: Float[Array, " k"]
    ) -> Complex[Array, "n *m"]:
        return propagator(self.hamiltonian(*inputs), self.dt) @ working

    def check_state(self, state: PyTree) -> None:
        levels = len(self.drift)
        if np.ndim(state) not in (1, 2) or np.shape(state)[0] != levels:
            raise ValueError(
                f"state must have shape ({levels},), or ({levels}, m) for m states as columns, got "
                f"{np.shape(state)}"
            )
        _complex("state", state, self.drift)


class LindbladStep(LevelStep):
    """One step of a density matrix (n, n); created by `lindblad`."""

    dissipators: Complex[Array, "j n n"]

    def generator(self, *inputs: Float[Array, " k"]) -> Complex[Array, "n2 n2"]:
        """The matrix of drho/dt for the rows of rho one after another."""
        one = jnp.eye(len(self.drift), dtype=self.drift.dtype)
        unitary = self.hamiltonian(*inputs)
        loss = jnp.einsum("jba,jbc->ac", self.dissipators.conj(), self.dissipators)
        left = -1j * unitary - loss / 2
        right = 1j * unitary - loss / 2
        jumps = jnp.einsum("jab,jcd->acbd", self.dissipators, self.dissipators.conj())
        return jnp.kron(left, one) + jnp.kron(one, right.T) + jumps.reshape(2 * (one.size,))

    def advance(
        self, working: Complex[Array, "n n"], *inputs: Float[Array, " k"]
    ) -> Complex[Array, "n n"]:
        later = expm(self.dt * self.generator(*inputs)) @ working.ravel()
        return later.reshape(working.shape)

    def check_state(self, state: PyTree) -> None:
        checks.shape("state", state, self.drift.shape)
        _complex("state", state, self.drift)


def few_levels(drift: ArrayLike, controls: Sequence[ArrayLike], dt: ArrayLike) -> LevelStep:
    """The step of the states of a few levels.

    **Arguments:**

    - `drift`, `controls`: Hermitian (n, n), the Hamiltonian without controls and what each of them
      adds to it, times its input. Gradients reach them and the inputs.
    - `dt`: > 0.

    **Raises:** ValueError for matrices that are not square, finite, Hermitian, or of one size, no
    controls, and a dt that is not above 0.
    """
    return LevelStep(*_matrices(drift, controls, dt))


def lindblad(
    drift: ArrayLike, controls: Sequence[ArrayLike], dissipators: Sequence[ArrayLike], dt: ArrayLike
) -> LindbladStep:
    """The step of a density matrix that loses coherence.

    **Arguments:** as in `few_levels`; `dissipators`: any (n, n), each times the root of its rate,
    such as `lowering(2) / T1**0.5`.

    **Raises:** as `few_levels`.
    """
    held = _matrices(drift, controls, dt)
    losses = jnp.asarray(np.stack(dissipators), held[0].dtype)
    checks.shape("every dissipator", losses[0], held[0].shape)
    checks.finite("dissipators", losses)
    return LindbladStep(*held, losses)


def infidelity(final: Complex[Array, "n *m"], target: Complex[Array, "n *m"]) -> Float[Array, ""]:
    """1 - |tr(target^+ final)|^2 / m^2 of a state or of m states as columns, whatever the phase: of
    a gate, with its rows and columns those of the levels that it acts on, leakage counts."""
    states = 1 if final.ndim == 1 else final.shape[1]
    common = jnp.vdot(target, final) / states
    return 1 - (common.real**2 + common.imag**2)


def distance(
    final: Complex[Array, "n *m"], target: Complex[Array, "n *m"]
) -> Float[Array, " residuals"]:
    """Real and imaginary parts of final - exp(i phase) target with the phase that brings them
    nearest, over sqrt(m): residuals for `inference.least_squares`, whose sum of squares is about
    the infidelity where that is small.

    The sum of squares is 2 (1 - |tr(target^+ final)| / m) for unit states.
    """
    states = 1 if final.ndim == 1 else final.shape[1]
    common = jnp.vdot(target, final)
    size = jnp.sqrt(jnp.maximum(common.real**2 + common.imag**2, 1e-30))
    away = (final - common / size * target).ravel() / states**0.5
    return jnp.concatenate([away.real, away.imag])


def _matrices(
    drift: ArrayLike, controls: Sequence[ArrayLike], dt: ArrayLike
) -> tuple[Array, Array, Array]:
    checks.positive("dt", dt)
    drift = checks.as_floats(drift)
    kind = jnp.result_type(drift.real.dtype, jnp.complex64)
    if drift.ndim != 2 or drift.shape[0] != drift.shape[1]:
        raise ValueError(f"drift must be a square matrix, got shape {drift.shape}")
    if not len(controls):
        raise ValueError("controls must hold at least one matrix, got none")
    for number, one in enumerate(controls):
        checks.shape(f"controls[{number}]", one, drift.shape)
    driven = jnp.stack([jnp.asarray(one, kind) for one in controls])
    for name, one in (("drift", drift), *((f"controls[{i}]", c) for i, c in enumerate(driven))):
        checks.finite(name, one)
        if checks.is_concrete(one):
            known = np.asarray(one)
            wrong = np.max(np.abs(known - known.conj().T))
            if wrong > HERMITIAN * (1 + np.max(np.abs(known))):
                raise ValueError(f"{name} must be Hermitian, got an antihermitian part {wrong:.3g}")
    return drift.astype(kind), driven, jnp.asarray(dt, drift.real.dtype)


def _complex(name: str, state: PyTree, like: Array) -> None:
    if jnp.result_type(state) != like.dtype:
        raise ValueError(
            f"{name} must be complex, of dtype {like.dtype}, got {jnp.result_type(state)}"
        )
