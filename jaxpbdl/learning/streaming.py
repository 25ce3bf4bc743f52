"""Batches that are read from disk while a fit goes on, for data larger than the memory.

    trajectories = jp.data.read("turbulence.h5")                    # nothing is read yet
    batches = Stream(WindowsOnDisk(trajectories, steps=8), batch=16)
    fit(hybrid, unrolled, batches, ...)

Which samples make a batch is drawn from the key, as everywhere; the host reads them in a callback
of the compiled loop, which waits for the disk. A file on a fast disk whose chunks are single
snapshots costs little; data that fit into memory belong into `Windows` and `Samples`.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.data.trajectories import Trajectories


@runtime_checkable
class Source(Protocol):
    """Samples that are read when they are asked for: `np.memmap` is one, `WindowsOnDisk` too.

    `source[indices]`, with an array of integers, gives an array or a tree of arrays of these
    samples along the first axis.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class Opened:
    """A source as part of a compiled function: the same one, not one of equal numbers."""

    def __init__(self, source: Source):
        self.source = source


class Stream(eqx.Module):
    """Random samples of a source: `stream(key)` gives leaves `(batch, ..)`, as single-precision
    numbers unless JAX works in double precision.

    What the source raises while it reads, such as a DataError of a damaged file, ends the fit with
    its message.
    """

    opened: Opened = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    sample: PyTree = eqx.field(static=True)

    def __init__(self, source: Source, batch: int):
        """Reads one sample. Raises ValueError for a source without samples, TypeError for what is
        no source."""
        if not isinstance(source, Source):
            raise TypeError(
                f"source must have a length and take an array of indices, got {source!r:.60}"
            )
        self.opened, self.batch = Opened(source), checks.count("batch", batch)
        if len(source) == 0:
            raise ValueError("source must hold at least one sample, got none")
        self.sample = jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), self._read([0]))

    def _read(self, indices: Any) -> PyTree[np.ndarray]:
        found = self.opened.source[np.asarray(indices)]
        return jax.tree.map(
            lambda leaf: np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype)), found
        )

    def __call__(self, key: PRNGKeyArray) -> PyTree:
        indices = jax.random.randint(key, (self.batch,), 0, len(self.opened.source))
        shapes = jax.tree.map(
            lambda shape_dtype: jax.ShapeDtypeStruct((self.batch, *shape_dtype[0]), shape_dtype[1]),
            self.sample,
            is_leaf=_is_shape,
        )
        return jax.pure_callback(self._read, shapes, indices, vmap_method="sequential")


def _is_shape(node: PyTree) -> bool:
    return isinstance(node, tuple) and len(node) == 2 and isinstance(node[1], np.dtype)


class WindowsOnDisk:
    """Windows of trajectories that stay on disk, as `Windows` gives them of arrays: number `i` is a
    stretch of `steps * stride + 1` snapshots `(steps + 1, channels, *grid)`.

    **Raises** ValueError for windows longer than the trajectories.
    """

    def __init__(self, trajectories: Trajectories, steps: int, stride: int = 1):
        checks.counts(steps=steps, stride=stride)
        self.trajectories, self.steps, self.stride = trajectories, steps, stride
        self.starts = len(trajectories.times) - steps * stride
        if self.starts < 1:
            raise ValueError(
                f"a window of {steps} steps of {stride} snapshots needs {steps * stride + 1} of "
                f"them, the trajectories have {len(trajectories.times)}"
            )

    def __len__(self) -> int:
        return len(self.trajectories) * self.starts

    def __getitem__(self, index: Any, /) -> np.ndarray:
        rows, first = np.divmod(np.atleast_1d(index), self.starts)
        span = self.steps * self.stride + 1
        values = self.trajectories.values
        cuts = [values[row, at : at + span : self.stride] for row, at in zip(rows, first)]  # noqa: B905
        return np.stack(cuts)
