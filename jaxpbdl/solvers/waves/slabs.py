"""Shapes of the modes of a slab waveguide: eigenvectors across it, as the cells have them, between
two ends where a mode must have fallen off."""

import numpy as np
from jaxtyping import Float

TAIL = 0.1
"""What may be left of a mode at the ends of its cut; its index is then off by some thousandths."""


def require_fallen(
    shape: Float[np.ndarray, " places"],
    squares: Float[np.ndarray, "2"],
    widths: Float[np.ndarray, " cells"],
    bounds: tuple[float, float],
    zero: bool,
) -> None:
    """Refuse a mode that is not small at the ends of its cut.

    **Arguments:**

    - `shape`: of the mode, at the nodes within the cut if it is `zero` at the ends, else at the
      centres of the cells, of `widths`.
    - `squares`: of the rate at which it falls beside the guide, at both ends.

    **Raises:** ValueError with the value that the free mode has there, of its largest, and how much
    further out would do.
    """
    for end, value, square, h in zip(
        bounds, np.abs(shape[[0, -1]]), squares, widths[[0, -1]], strict=True
    ):
        # Between conductors exp(-r d) becomes 2 exp(-r d) times sinh, or cosh, of r times what is
        # left to the end.
        turn = 2 * np.arcsinh(np.sqrt(max(square, 1e-300)) * h / 2)
        left = 2 * (np.sinh(turn) if zero else np.cosh(turn / 2))
        tail = float(value / left / np.max(np.abs(shape)))
        if tail > TAIL:
            further = np.log(tail / TAIL) * h / turn
            raise ValueError(
                f"bounds must be where the mode has fallen to {TAIL:g} of its largest, next to "
                f"{end:.6g} it is {tail:.3g}: move that end out by {further:.3g} or more"
            )


def out_of_plane(
    eps: Float[np.ndarray, " inner"], widths: Float[np.ndarray, " cells"], square: float, count: int
) -> tuple[Float[np.ndarray, " modes"], Float[np.ndarray, "modes inner"]]:
    """The largest B^2 and their E at the inner nodes, for E out of the plane; `square` is W^2."""
    gaps = (widths[1:] + widths[:-1]) / 2  # between the centres about the nodes
    coupling = 1 / widths
    diagonal = square * eps - (coupling[1:] + coupling[:-1]) / gaps
    squares, shapes = _largest(diagonal, coupling[1:-1] / np.sqrt(gaps[1:] * gaps[:-1]), count)
    return squares, shapes / np.sqrt(gaps)


def in_plane(
    eps: Float[np.ndarray, " cells"],
    along: Float[np.ndarray, " inner"],
    widths: Float[np.ndarray, " cells"],
    square: float,
    count: int,
) -> tuple[Float[np.ndarray, " modes"], Float[np.ndarray, "modes cells"]]:
    """The largest B^2 and their H at the centres, for H out of the plane: `eps` there, `along` that
    of E along the guide at the inner nodes."""
    gaps = (widths[1:] + widths[:-1]) / 2
    coupling = np.concatenate([[0.0], 1 / (gaps * along), [0.0]])
    weight = eps / widths
    diagonal = square * eps - weight * (coupling[1:] + coupling[:-1])
    sides = coupling[1:-1] * np.sqrt(weight[1:] * weight[:-1])
    squares, shapes = _largest(diagonal, sides, count)
    return squares, shapes * np.sqrt(weight)


def _largest(diagonal: np.ndarray, sides: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, falling, and eigenvectors of a symmetric tridiagonal matrix, as many as there
    are up to `count`; the largest entry of each is positive."""
    from scipy import linalg  # waits for its first use

    size = len(diagonal)
    values, vectors = linalg.eigh_tridiagonal(
        diagonal, sides, select="i", select_range=(max(size - count, 0), size - 1)
    )
    vectors = vectors.T[::-1]
    return values[::-1], np.stack([one * np.sign(one[np.argmax(abs(one))]) for one in vectors])
