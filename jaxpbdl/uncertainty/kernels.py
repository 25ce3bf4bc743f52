"""Covariances for Gaussian processes: of vectors, and of molecules as sums over their atoms. They
add and multiply.
"""

from collections.abc import Sequence
from math import ceil
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from jaxpbdl import checks

Blocks: TypeAlias = tuple[Array, ...]
"""An array for each element."""


class Kernel(eqx.Module):
    """A covariance: between all of the first inputs and all of the second.

    `a + b` is that of the sum of two independent functions, `a * b` that of their product.
    """

    def __call__(self, first: PyTree, second: PyTree) -> Float[Array, "n m"]:
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def diagonal(self, inputs: PyTree) -> Float[Array, " n"]:
        """The variance: the covariance of each input with itself."""
        raise NotImplementedError(f"{type(self).__name__} must define diagonal")

    def __add__(self, other: "Kernel") -> "Sum":
        return Sum(self, other) if isinstance(other, Kernel) else NotImplemented

    def __mul__(self, other: "Kernel") -> "Product":
        return Product(self, other) if isinstance(other, Kernel) else NotImplemented


class Sum(Kernel):
    """`left(x, x') + right(x, x')`."""

    left: Kernel
    right: Kernel

    def __call__(self, first: PyTree, second: PyTree) -> Float[Array, "n m"]:
        return self.left(first, second) + self.right(first, second)

    def diagonal(self, inputs: PyTree) -> Float[Array, " n"]:
        return self.left.diagonal(inputs) + self.right.diagonal(inputs)


class Product(Kernel):
    """`left(x, x') right(x, x')`."""

    left: Kernel
    right: Kernel

    def __call__(self, first: PyTree, second: PyTree) -> Float[Array, "n m"]:
        return self.left(first, second) * self.right(first, second)

    def diagonal(self, inputs: PyTree) -> Float[Array, " n"]:
        return self.left.diagonal(inputs) * self.right.diagonal(inputs)


class Gaussian(Kernel):
    """`amplitude^2 exp(-|x - x'|^2 / (2 length^2))` of vectors; `length` one number, or one an
    axis. Logarithms of both are the leaves that are trained.
    """

    log_amplitude: Float[Array, ""]
    log_length: Float[Array, "*dim"]

    def __init__(self, amplitude: ArrayLike = 1.0, length: ArrayLike | Sequence[float] = 1.0):
        """Raises ValueError unless both are > 0."""
        for name, value in {"amplitude": amplitude, "length": length}.items():
            checks.positive(name, value)
        self.log_amplitude = jnp.log(jnp.asarray(amplitude, float))
        self.log_length = jnp.log(jnp.asarray(length, float))

    def __call__(
        self, first: Float[Array, "n dim"], second: Float[Array, "m dim"]
    ) -> Float[Array, "n m"]:
        scaled = (v / jnp.exp(self.log_length).astype(v.dtype) for v in (first, second))
        return jnp.exp(2 * self.log_amplitude - 0.5 * squared_distances(*scaled))

    def diagonal(self, inputs: Float[Array, "n dim"]) -> Float[Array, " n"]:
        return jnp.full(len(inputs), jnp.exp(2 * self.log_amplitude))


def squared_distances(
    first: Float[Array, "n dim"], second: Float[Array, "m dim"]
) -> Float[Array, "n m"]:
    """By one product of matrices; off by round-off of the squared lengths, and never negative."""
    lengths = jnp.sum(first**2, 1)[:, None] + jnp.sum(second**2, 1)
    return jnp.maximum(lengths - 2 * first @ second.T, 0)


class Molecules(eqx.Module):
    """Features of the atoms of many molecules, sorted for sums over pairs of atoms.

    Molecules go in blocks, and for each element a block holds the atoms of its molecules in a row,
    padded to the most that a block has, with a matrix of ones that says whose they are. A block is
    large enough that little of it is padding, and the sums are products of matrices.
    """

    features: tuple[Float[Array, "blocks _atoms dim"], ...]
    owners: tuple[Float[Array, "blocks molecules _atoms"], ...]
    count: int = eqx.field(static=True)

    def __init__(
        self,
        numbers: Int[np.ndarray, "molecules atoms"],
        features: Float[np.ndarray, "molecules atoms dim"],
        elements: Sequence[int],
        block: int = 64,
    ):
        """`numbers` are atomic numbers, 0 for padding; each must be of `elements`, or ValueError
        says which is not.
        """
        numbers, features = np.asarray(numbers), np.asarray(features)
        checks.count("block", block)
        checks.shape("numbers", numbers, features.shape[:2])
        unknown = sorted(set(numbers.ravel().tolist()) - {0, *elements})
        if unknown:
            raise ValueError(f"atomic numbers must be of {tuple(elements)}, got {unknown}")
        self.count = len(numbers)
        block = min(block, self.count)
        sorted_features, owners = [], []
        for element in elements:
            places = [
                np.argwhere(numbers[start : start + block] == element)
                for start in range(0, ceil(self.count / block) * block, block)
            ]
            most = _rounded(max(len(where) for where in places))
            own = np.zeros((len(places), block, most), features.dtype)
            row = np.zeros((len(places), most, features.shape[-1]), features.dtype)
            for index, where in enumerate(places):
                atoms = np.arange(len(where))
                own[index, where[:, 0], atoms] = 1
                row[index, atoms] = features[index * block + where[:, 0], where[:, 1]]
            sorted_features.append(jnp.asarray(row))
            owners.append(jnp.asarray(own))
        self.features, self.owners = tuple(sorted_features), tuple(owners)


def _rounded(count: int) -> int:
    """Up by at most a quarter, so that few different programs need compiling."""
    unit = 1 << max(0, (max(count, 1) - 1).bit_length() - 3)
    return -(-max(count, 1) // unit) * unit


class AtomPairs(Kernel):
    """The covariance of sums over atoms: each atom of a molecule gives to the target a function of
    its environment, one function an element, drawn with a Gaussian covariance:

        k(A, B) = amplitude^2 sum_{i in A, j in B, same element} exp(-|x_i - x_j|^2 / (2 length^2))

    (Bartok and Csanyi, Int. J. Quantum Chem. 115 (2015) 1051; the kernel of Christensen et al.
    2020). Molecules of any size can be compared, and the sum of two that do not meet has the sum of
    their targets.
    """

    log_amplitude: Float[Array, ""]
    log_length: Float[Array, ""]

    def __init__(self, amplitude: ArrayLike = 1.0, length: ArrayLike = 1.0):
        """Raises ValueError unless both are > 0."""
        for name, value in {"amplitude": amplitude, "length": length}.items():
            checks.positive(name, value)
        self.log_amplitude = jnp.log(jnp.asarray(amplitude, float))
        self.log_length = jnp.log(jnp.asarray(length, float))

    def __call__(self, first: Molecules, second: Molecules) -> Float[Array, "n m"]:
        rows, columns = ((m.features, m.owners) for m in (first, second))
        if first is second:
            return self._symmetric(rows, first.count)
        one_row = lambda a: lax.map(lambda b: self._sums(*a, *b), columns)  # noqa: E731
        blocks = lax.map(one_row, rows)  # (rows, columns, molecules, molecules)
        return _joined(blocks)[: first.count, : second.count]

    def diagonal(self, inputs: Molecules) -> Float[Array, " n"]:
        def one(block: tuple[Blocks, Blocks]) -> Array:
            return jnp.diagonal(self._sums(*block, *block))

        return lax.map(one, (inputs.features, inputs.owners)).reshape(-1)[: inputs.count]

    def _symmetric(self, molecules: tuple[Blocks, Blocks], count: int) -> Float[Array, "n n"]:
        """Half of the blocks, and their mirror images."""
        number = len(molecules[0][0])
        upper = np.stack(np.triu_indices(number), 1)

        def one(pair: Array) -> Array:
            a, b = (jax.tree.map(lambda leaf, i=index: leaf[i], molecules) for index in pair)
            return self._sums(*a, *b)

        found = lax.map(one, jnp.asarray(upper))
        where = np.zeros((number, number), int)
        where[upper[:, 0], upper[:, 1]] = where[upper[:, 1], upper[:, 0]] = np.arange(len(upper))
        blocks = found[where]
        lower = jnp.asarray(np.tri(number, k=-1, dtype=bool))[:, :, None, None]
        return _joined(jnp.where(lower, jnp.swapaxes(blocks, 2, 3), blocks))[:count, :count]

    def _sums(
        self,
        rows: Blocks,
        row_owners: Blocks,
        columns: Blocks,
        column_owners: Blocks,
    ) -> Float[Array, "first second"]:
        dtype = rows[0].dtype
        slope = -0.5 * jnp.exp(-2 * self.log_length).astype(dtype)
        total = sum(
            a_owner @ jnp.exp(slope * squared_distances(a, b)) @ b_owner.T
            for a, a_owner, b, b_owner in zip(rows, row_owners, columns, column_owners, strict=True)
        )
        return jnp.exp(2 * self.log_amplitude).astype(dtype) * jnp.asarray(total)


def _joined(blocks: Float[Array, "rows columns a b"]) -> Float[Array, "n m"]:
    rows, columns, a, b = blocks.shape
    return jnp.swapaxes(blocks, 1, 2).reshape(rows * a, columns * b)
