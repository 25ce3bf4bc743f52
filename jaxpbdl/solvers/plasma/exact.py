"""Exact equilibria (A. J. Cerfon and J. P. Freidberg, Phys. Plasmas 17 (2010) 032502).

    psi_xx - psi_x / x + psi_yy = (1 - A) x^2 + A

in units of the major radius, for profiles that are linear in the flux. The seven even solutions of
the homogeneous equation are combined so that psi, its slope and its curvature fit a boundary

    x = 1 + e cos(t + alpha sin t),   y = e k sin t,   sin alpha = d

at its outer, inner and highest points, or so that it has an X-point above.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks


def homogeneous(x: Float[Array, ""], y: Float[Array, ""]) -> Float[Array, "7"]:
    """The seven solutions of the equation without a right side that are even in y."""
    x2, y2, log = x**2, y**2, jnp.log(x)
    return jnp.stack(
        [
            jnp.ones_like(x),
            x2,
            y2 - x2 * log,
            x2**2 - 4 * x2 * y2,
            2 * y2**2 - 9 * x2 * y2 + (3 * x2**2 - 12 * x2 * y2) * log,
            x2**3 - 12 * x2**2 * y2 + 8 * x2 * y2**2,
            8 * y2**3
            - 140 * x2 * y2**2
            + 75 * x2**2 * y2
            + (-15 * x2**3 + 180 * x2**2 * y2 - 120 * x2 * y2**2) * log,
        ]
    )


def particular(x: Float[Array, ""], a: Float[Array, ""]) -> Float[Array, ""]:
    """A solution of the equation with its right side."""
    return x**4 / 8 + a * (x**2 * jnp.log(x) / 2 - x**4 / 8)


class CerfonFreidberg(eqx.Module):
    """The flux, zero on the boundary and negative within: `psi(x, y)`."""

    trainable_fields = ()

    coefficients: Float[Array, "7"]
    a: Float[Array, ""]

    def __call__(self, x: Float[Array, ""], y: Float[Array, ""]) -> Float[Array, ""]:
        return particular(x, self.a) + self.coefficients @ homogeneous(x, y)

    def source(self, x: Float[Array, ""]) -> Float[Array, ""]:
        """The right side of the equation."""
        return (1 - self.a) * x**2 + self.a


def cerfon_freidberg(
    inverse_aspect: float, elongation: float, triangularity: float, a: float, *, x_points: bool
) -> CerfonFreidberg:
    """The equilibrium of a shape.

    **Arguments:** `inverse_aspect` e, in (0, 1); `elongation` k; `triangularity` d, in (-1, 1);
    `a`: A of the equation, which shares the current out between pressure and field; `x_points`:
    X-points at `(1 - 1.1 d e, +-1.1 k e)` instead of a smooth boundary. Computes in float64.

    **Raises:** ValueError for numbers out of range, or without float64.
    """
    checks.positive("elongation", elongation)
    if not 0 < inverse_aspect < 1:
        raise ValueError(f"inverse_aspect must be in (0, 1), got {inverse_aspect}")
    if not -1 < triangularity < 1:
        raise ValueError(f"triangularity must be in (-1, 1), got {triangularity}")
    checks.finite("a", a)
    e, k, d = inverse_aspect, elongation, triangularity
    if jnp.zeros(()).dtype != jnp.float64:
        raise ValueError("the exact equilibrium needs jax.config.update('jax_enable_x64', True)")
    alpha = np.arcsin(d)
    outer, inner = np.array([1 + e, 0.0]), np.array([1 - e, 0.0])
    top = np.array([1 - d * e, k * e])
    bend_outer, bend_inner = -((1 + alpha) ** 2) / (e * k**2), (1 - alpha) ** 2 / (e * k**2)
    bend_top = -k / (e * np.cos(alpha) ** 2)
    conditions = [
        _condition(outer, _value),
        _condition(inner, _value),
        _condition(outer, lambda v, g, h: h[..., 1, 1] + bend_outer * g[..., 0]),
        _condition(inner, lambda v, g, h: h[..., 1, 1] + bend_inner * g[..., 0]),
    ]
    if x_points:
        above = np.array([1 - 1.1 * d * e, 1.1 * k * e])
        conditions += [
            _condition(above, _value),
            _condition(above, lambda v, g, h: g[..., 0]),
            _condition(above, lambda v, g, h: g[..., 1]),
        ]
    else:
        conditions += [
            _condition(top, _value),
            _condition(top, lambda v, g, h: g[..., 0]),
            _condition(top, lambda v, g, h: h[..., 0, 0] + bend_top * g[..., 1]),
        ]
    rows = [condition(jnp.asarray(float(a))) for condition in conditions]
    matrix, right = np.stack([row[0] for row in rows]), -np.asarray([row[1] for row in rows])
    return CerfonFreidberg(jnp.asarray(np.linalg.solve(matrix, right)), jnp.asarray(float(a)))


def _value(value: Array, gradient: Array, hessian: Array) -> Array:
    return value


def _condition(point: np.ndarray, look: Callable) -> Callable[[Array], tuple]:
    """What `look` makes of value, gradient and Hessian at a point, of the seven solutions and of
    the particular one."""

    def both(a: Array) -> tuple[np.ndarray, np.ndarray]:
        where = jnp.asarray(point)
        parts = (
            lambda p: homogeneous(p[0], p[1]),
            lambda p: particular(p[0], a) + 0 * p[1],
        )
        found = [look(f(where), jax.jacfwd(f)(where), jax.hessian(f)(where)) for f in parts]
        return np.asarray(found[0]), np.asarray(found[1])

    return both
