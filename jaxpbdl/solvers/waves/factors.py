"""Sparse systems of the equations at one frequency, solved by SuperLU outside of JAX: the factors,
kept for the next source and for the adjoint, and how numbers come there and back."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, UInt32

if TYPE_CHECKING:
    from scipy import sparse

PIECE = 16384
"""Words of 32 bits that are handed over at once."""
RESIDUAL = 1e-8
"""The largest that a solution may leave, in double precision: the norm of the residual over that of
the right side."""
REMEDY = "without losses it may be that of a resonance: move it, or add an absorbing layer"
KEPT_ENTRIES = 120_000_000
"""Of all factors that are kept for their next use, 20 bytes each; the newest is kept always."""


@runtime_checkable
class SuperLU(Protocol):
    """What scipy leaves: `solve(right, "N")`, or "T" for the transpose."""

    @property
    def nnz(self) -> int: ...

    def solve(self, rhs: np.ndarray, trans: str) -> np.ndarray: ...


class Factors(NamedTuple):
    """Of a matrix, and the matrix."""

    of: SuperLU
    matrix: "sparse.csc_matrix"

    def solve(self, right: Complex[np.ndarray, "unknowns sources"], kind: str) -> np.ndarray:
        """Of the matrix ("N") or its transpose ("T").

        **Raises:** ValueError for a solution that is not finite or whose residual is too large.
        """
        matrix = self.matrix if kind == "N" else self.matrix.T
        largest = np.linalg.norm(right, axis=0)
        found, rest, residual = np.zeros_like(right), right, np.inf
        for _ in range(3):  # what remains is solved for at most twice
            found = found + self.of.solve(rest, kind)
            if not np.all(np.isfinite(found)):
                raise ValueError(f"the fields at this frequency are not finite; {REMEDY}")
            rest = right - matrix @ found
            norms = np.linalg.norm(rest, axis=0)
            residual = float(np.max(norms / np.where(largest > 0, largest, 1.0)))
            if residual <= RESIDUAL:
                return found
        raise ValueError(
            f"the residual of the fields at this frequency must be at most {RESIDUAL:g} of the "
            f"source, got {residual:.3g}; {REMEDY}"
        )


_factors: OrderedDict[bytes, Factors] = OrderedDict()
_lock = threading.Lock()


def _factored(
    lines: Sequence[Complex[np.ndarray, "3 _nodes"]], weight: Complex[np.ndarray, "nx ny"]
) -> Factors:
    """The factors of the matrix, kept for the adjoint and for the next source. `lines`: what the
    nodes take from the next, the one before and themselves, along each axis."""
    from scipy import sparse  # waits for its first use
    from scipy.sparse import linalg

    digest = hashlib.blake2b(digest_size=16)
    for part in (*lines, weight):
        digest.update(str(part.shape).encode() + part.tobytes())
    key = digest.digest()
    with _lock:
        if key in _factors:
            _factors.move_to_end(key)
            return _factors[key]
        matrices = []
        for line in lines:
            n, here = line.shape[1], np.arange(line.shape[1])
            columns = np.concatenate([(here + shift) % n for shift in (1, -1, 0)])
            matrices.append(sparse.csr_matrix((line.ravel(), (np.tile(here, 3), columns)), (n, n)))
        ones = [sparse.identity(one.shape[0]) for one in matrices]
        matrix = sparse.kron(matrices[0], ones[1]) + sparse.kron(ones[0], matrices[1])
        matrix = (matrix + sparse.diags(weight.ravel())).tocsc()
        # Pivots off the diagonal only where that is below a hundredth of its column: the pattern is
        # symmetric, and its ordering fills a third of that with the largest pivots.
        try:
            factors = linalg.splu(
                matrix,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.01,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:  # a pivot is exactly zero
            raise ValueError(f"the equation at this frequency is singular; {REMEDY}") from error
        found = _factors[key] = Factors(factors, matrix)
        while len(_factors) > 1 and sum(one.of.nnz for one in _factors.values()) > KEPT_ENTRIES:
            _factors.popitem(last=False)
        return found


def words_of(values: Complex[Array, "..."]) -> UInt32[Array, "..."]:
    """Real and imaginary parts as words of 32 bits, last. JAX hands these over as they are, but
    would round double precision in the threads that know nothing of `jax.enable_x64`."""
    parts = jnp.stack([values.real, values.imag], axis=-1)
    words = lax.bitcast_convert_type(parts, jnp.uint32)
    return words if words.ndim > parts.ndim else words[..., None]


def numbers_of(words: UInt32[Array, "..."]) -> Complex[Array, "..."]:
    """Back from `words_of`."""
    if words.shape[-1] == 1:
        parts = lax.bitcast_convert_type(words[..., 0], jnp.float32)
    else:
        parts = lax.bitcast_convert_type(words, jnp.float64)
    return lax.complex(parts[..., 0], parts[..., 1])


def pieces_of(words: UInt32[Array, "..."]) -> tuple[UInt32[Array, " _piece"], ...]:
    """The words in pieces of 64 KB. Larger ones are handed over by a thread of their own; with one
    processor that is the one which waits for them."""
    flat = words.ravel()
    return tuple(flat[start : start + PIECE] for start in range(0, flat.size, PIECE))


def _read(pieces: Sequence[Array | np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """What `words_of` wrote, in double precision."""
    held = np.concatenate([np.asarray(piece) for piece in pieces]).reshape(shape)
    parts = held.view(np.float32 if shape[-1] == 1 else np.float64)[..., 0].astype(float)
    return parts[..., 0] + 1j * parts[..., 1]


def by_factors(
    kind: str,
    shapes: tuple[tuple[int, ...], ...],
    given: tuple[tuple[Array | np.ndarray, ...], ...],
) -> np.ndarray:
    """The words of the solution ("N") or of that with the transpose ("T"), from those of both
    differences, of w^2 eps and of the right side."""
    *lines, weight, right = (
        _read(pieces, shape) for pieces, shape in zip(given, shapes, strict=True)
    )
    found = np.zeros_like(right)
    if right.any():  # a derivative may vanish
        columns = right.reshape(len(right), -1).T
        factors = _factored((np.stack(lines[:3]), np.stack(lines[3:])), weight)
        found = factors.solve(columns, kind).T.reshape(right.shape)
    parts = np.stack([np.real(found), np.imag(found)], axis=-1)
    parts = parts.astype(np.float32 if shapes[-1][-1] == 1 else np.float64)
    return parts[..., None].view(np.uint32)
