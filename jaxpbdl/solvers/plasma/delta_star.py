"""The Grad-Shafranov operator on a rectangle, and its direct solution.

    Delta* psi = R d/dR (1/R dpsi/dR) + d^2 psi/dZ^2 = f,   psi given on the sides

Along each axis tridiagonal matrices `A` and `B` with `A u = B (L u)` at the inner nodes, exact for
polynomials to degree 2 (`B` the identity) or 4. The equation is then

    A_R psi B_Z^T + B_R psi A_Z^T = B_R f B_Z^T

of order 2, or of order 4 on the same nine nodes (compact differences: Collatz, The Numerical
Treatment of Differential Equations, 3rd ed. 1960, appendix table VI). Sine modes are the
eigenvectors along Z, those of the pencil `(A_R, B_R)` are computed once along R, so a solution
takes four products with matrices of one axis (Lynch, Rice and Thomas, Numer. Math. 6 (1964) 185).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.solvers.plasma.rectangle import Rectangle

ORDERS = (2, 4)


class DeltaStar(eqx.Module):
    """The operator on the nodes of a rectangle.

    **Arguments:** `grid`; `order`: of the error in the spacing, 2 or 4, for a smooth flux.
    """

    trainable_fields = ()

    grid: Rectangle
    stiffness: tuple[Float[Array, "_nri _nr"], Float[Array, "_nzi _nz"]]
    mass: tuple[Float[Array, "_nri _nr"], Float[Array, "_nzi _nz"]]
    left: Float[Array, "_nri _nri"]
    """To the modes along R."""
    modes: Float[Array, "_nri _nri"]
    """Along R, as columns."""
    sines: Float[Array, "_nzi _nzi"]
    inverse: Float[Array, "_nri _nzi"]
    """Of the eigenvalues."""

    def __init__(self, grid: Rectangle, order: int = 4):
        """Raises ValueError for another order."""
        if order not in ORDERS:
            raise ValueError(f"order must be one of {ORDERS}, got {order!r}")
        r, z = grid.lines
        radial = compact(r, -1 / r, order)
        vertical = compact(z, np.zeros_like(z), order)
        values, modes, left = eigenvectors(*(m[:, 1:-1] for m in radial))
        n = len(z) - 2
        waves = np.pi * np.arange(1, n + 1) / (n + 1)
        sines = np.sqrt(2 / (n + 1)) * np.sin(np.outer(np.arange(1, n + 1), waves))
        curvature = -((2 * np.sin(waves / 2) / grid.spacing[1]) ** 2)
        weight = np.ones(n) if order == 2 else (5 + np.cos(waves)) / 6
        as_array = lambda m: jnp.asarray(m, grid.dtype)  # noqa: E731
        self.grid = grid
        self.stiffness = as_array(radial[0]), as_array(vertical[0])
        self.mass = as_array(radial[1]), as_array(vertical[1])
        self.left, self.modes, self.sines = map(as_array, (left, modes, sines))
        self.inverse = as_array(1 / (np.outer(values, weight) + curvature))

    def defect(
        self, psi: Float[Array, "nr nz"], source: Float[Array, "nr nz"]
    ) -> Float[Array, "nri nzi"]:
        """`B_R (Delta* psi - source) B_Z^T` at the inner nodes: zero for the solution."""
        (ar, az), (br, bz) = self.stiffness, self.mass
        return ar @ psi @ bz.T + br @ psi @ az.T - br @ source @ bz.T

    def solve(
        self, source: Float[Array, "nr nz"], boundary: Float[Array, "nr nz"]
    ) -> Float[Array, "nr nz"]:
        """The flux with `Delta* psi = source` and the values of `boundary` on the sides (what it
        holds at the inner nodes is not used)."""
        fixed = boundary.at[1:-1, 1:-1].set(0.0)
        right = -self.defect(fixed, source)
        inner = self.modes @ ((self.left @ right @ self.sines) * self.inverse) @ self.sines.T
        return fixed.at[1:-1, 1:-1].set(inner)


def compact(line: np.ndarray, advection: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices `A` and `B` from all nodes of a line to the inner ones with `A u = B (u'' + a u')`,
    exact for polynomials to degree `order`."""
    n, h = len(line), line[1] - line[0]
    offsets = np.array([-1.0, 0.0, 1.0])
    degrees = np.arange(order + 1)
    stiffness, mass = np.zeros((n - 2, n)), np.zeros((n - 2, n))
    powers = lambda d: np.where(d >= 0, offsets[:, None] ** np.maximum(d, 0), 0.0)  # noqa: E731
    for i in range(1, n - 1):
        # In units of h: u = x^d at the three nodes, and what the operator makes of it there.
        values = powers(degrees)
        second = degrees * (degrees - 1) * powers(degrees - 2)
        first = degrees * powers(degrees - 1)
        applied = (second + h * advection[i - 1 : i + 2, None] * first) / h**2
        # Unknown: three of A and, for order 4, both outer ones of B; the middle one is 1 - these.
        rows = [values]
        if order == 4:
            rows.append(applied[1] - applied[[0, 2]])
        found = np.linalg.solve(np.concatenate(rows).T, applied[1])
        outer = found[3:] if order == 4 else np.zeros(2)
        stiffness[i - 1, i - 1 : i + 2] = found[:3]
        mass[i - 1, i - 1 : i + 2] = outer[0], 1 - outer.sum(), outer[1]
    return stiffness, mass


def eigenvectors(
    stiffness: np.ndarray, mass: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues of `A x = lambda B x`, the eigenvectors as columns X, and `(B X)^-1`."""
    values, modes = np.linalg.eig(np.linalg.solve(mass, stiffness))
    if np.iscomplexobj(values):
        raise ValueError(
            "the modes along R are complex: the smallest radius must be larger, or R have more "
            "nodes"
        )
    return values, modes, np.linalg.inv(mass @ modes)
