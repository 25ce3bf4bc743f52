"""Linear equations whose matrix is known by what it does to a vector (GMRES; Saad and Schultz, SIAM
J. Sci. Stat. Comput. 7 (1986) 856)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int


class Arnoldi(NamedTuple):
    """An orthonormal basis of what the matrix makes of the residual, as rows; the triangle that its
    Hessenberg matrix becomes by `rotations` (cosine, sine), and the rotated right side, whose entry
    `step` is what is left of the residual."""

    basis: Float[Array, "m1 n"]
    triangle: Float[Array, "m m"]
    rotations: Float[Array, "m 2"]
    right: Float[Array, " m1"]
    step: Int[Array, ""]


def gmres(
    apply: Callable[[Array], Array],
    b: Float[Array, " n"],
    *,
    tolerance: ArrayLike,
    restart: int = 100,
    restarts: int = 20,
) -> Float[Array, " n"]:
    """The x with `apply(x) = b`, to a residual of `tolerance` times the norm of b, or what was
    reached after `restarts` times `restart` products.

    **Arguments:** `apply`: linear; `restart`: vectors that are kept, memory for one more. They are
    made orthogonal twice, so that rounding does not spoil a long basis.
    """
    goal = tolerance * jnp.linalg.norm(b)

    def cycle(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, residual, count = carry
        x = x + _correction(apply, residual, goal, restart)
        return x, b - apply(x), count + 1

    def going(carry: tuple[Array, Array, Array]) -> Array:
        return (jnp.linalg.norm(carry[1]) > goal) & (carry[2] < restarts)

    return lax.while_loop(going, cycle, (jnp.zeros_like(b), b, jnp.asarray(0)))[0]


def implicit_root(
    change: Callable[[Array], Array],
    guess: Float[Array, " n"],
    root: Callable[[Callable[[Array], Array], Array], Array],
    *,
    tolerance: ArrayLike,
    restart: int,
) -> Float[Array, " n"]:
    """The x with `change(x) = 0` that `root(change, guess)` finds. Its derivatives, in both modes,
    are those of the implicit function theorem: one linear equation more, by `gmres` with
    `tolerance` and `restart`."""

    def tangent(linear: Callable[[Array], Array], right: Array) -> Array:
        def solve(apply: Callable[[Array], Array], b: Array) -> Array:
            return gmres(apply, b, tolerance=tolerance, restart=restart)

        return lax.custom_linear_solve(linear, right, solve, transpose_solve=solve)

    return lax.custom_root(change, lax.stop_gradient(guess), root, tangent)


def _correction(apply: Callable, residual: Array, goal: Array, m: int) -> Array:
    """What m products at most take off a residual."""
    size = jnp.linalg.norm(residual)
    start = Arnoldi(
        jnp.zeros((m + 1, residual.size), residual.dtype).at[0].set(residual / size),
        jnp.eye(m, dtype=residual.dtype),
        jnp.zeros((m, 2), residual.dtype),
        jnp.zeros(m + 1, residual.dtype).at[0].set(size),
        jnp.asarray(0),
    )

    def going(state: Arnoldi) -> Array:
        return (state.step < m) & (jnp.abs(state.right[state.step]) > goal)

    end = lax.while_loop(going, lambda state: _extended(apply, state), start)
    used = jnp.arange(m) < end.step
    weights = jax.scipy.linalg.solve_triangular(end.triangle, jnp.where(used, end.right[:m], 0.0))
    return weights @ end.basis[:m]


def _extended(apply: Callable, state: Arnoldi) -> Arnoldi:
    """With one more vector."""
    basis, triangle, rotations, right, step = state
    vector, column = apply(basis[step]), jnp.zeros_like(right)
    for _ in range(2):
        part = basis @ vector
        vector, column = vector - part @ basis, column + part
    length = jnp.linalg.norm(vector)
    column = column.at[step + 1].set(length)

    def rotated(i: Array, column: Array) -> Array:
        (cosine, sine), first, second = rotations[i], column[i], column[i + 1]
        column = column.at[i].set(cosine * first + sine * second)
        return column.at[i + 1].set(cosine * second - sine * first)

    column = lax.fori_loop(0, step, rotated, column)
    root = jnp.hypot(column[step], column[step + 1])
    cosine, sine = column[step] / root, column[step + 1] / root
    column = column.at[step].set(root)
    kept = jnp.where(jnp.arange(len(triangle)) <= step, column[:-1], 0.0)
    return Arnoldi(
        basis.at[step + 1].set(vector / jnp.where(length > 0, length, 1.0)),
        triangle.at[:, step].set(kept),
        rotations.at[step].set(jnp.stack([cosine, sine])),
        right.at[step + 1].set(-sine * right[step]).at[step].set(cosine * right[step]),
        step + 1,
    )
