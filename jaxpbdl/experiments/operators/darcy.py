"""The media and pressures of Darcy flow as the paper on Fourier neural operators draws them.

    -div(a grad u) = 1 in the unit square,  u = 0 on its boundary

The medium is the sign of a Gaussian random field with covariance `(-Laplace + 9)^-2` and zero slope
across the boundary, without its mean: 12 where that is positive and 3 where it is negative (Li et
al., ICLR 2021, arXiv:2010.08895, appendix A.3.2). Solved at `FINER (n - 1) + 1` nodes a side and
kept at every fifth: 421 for the paper's 85.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.data.archive import arrays, write_arrays
from jaxpbdl.distributed.members import map_members
from jaxpbdl.solvers.elliptic import solve

FINER = 5
HIGH, LOW = 12.0, 3.0
Samples = tuple[Float[Array, "samples n n"], Float[Array, "samples n n"]]


def medium(key: PRNGKeyArray, nodes: int, order: float = 2.0) -> Float[Array, "nodes nodes"]:
    """One random medium at the nodes of the unit square, boundary included; the covariance of its
    field is `(-Laplace + 9)^-order`."""
    waves = np.arange(nodes)
    cosines = np.cos(np.pi * (np.outer(waves, waves) % (2 * nodes - 2)) / (nodes - 1))
    deviations = (np.pi**2 * (waves[:, None] ** 2 + waves**2) + 9) ** (-order / 2)
    # Modes that are constant along an axis have twice the mean square.
    deviations[0] /= 2**0.5
    deviations[:, 0] /= 2**0.5
    deviations[0, 0] = 0.0
    amounts = deviations.astype(np.float32) * jax.random.normal(key, (nodes, nodes))
    cosines = jnp.asarray(cosines, amounts.dtype)
    return jnp.where(cosines @ amounts @ cosines > 0, HIGH, LOW)


def sample(key: PRNGKeyArray, points: int, order: float = 2.0) -> tuple[Array, Array, Array]:
    """`(medium, pressure, error)`: one pair at `points` nodes a side, from a finer grid."""
    fine = medium(key, FINER * (points - 1) + 1, order)
    pressure, error = solve(fine, jnp.ones_like(fine))
    return fine[::FINER, ::FINER], pressure[::FINER, ::FINER], error


def draw(
    key: PRNGKeyArray, count: int, points: int, chunk: int = 100, order: float = 2.0
) -> Samples:
    """`count` media and pressures, a chunk of them at a time; `order` as of `medium`.

    Raises `checks.BlowUp` should a solve not have converged.
    """
    checks.counts(count=count, points=points, chunk=chunk)
    one = partial(sample, points=points, order=order)
    keys = jax.random.split(key, count)
    chunks = [map_members(one, keys[start : start + chunk]) for start in range(0, count, chunk)]
    media, pressures, errors = (jnp.concatenate(parts) for parts in zip(*chunks, strict=True))
    if not float(jnp.max(errors)) < 1e-4:
        raise checks.BlowUp(
            f"the pressure of medium {int(jnp.argmax(errors))} has a relative error of "
            f"{float(jnp.max(errors)):.1e}, more than 1e-4; take float64"
        )
    return media, pressures


def read_or_draw(path: Path, points: int, train: int, test: int) -> dict[str, Samples]:
    """Training and test samples of the file, which is written if it is not there; the same whatever
    the seed of the training.

    Raises `checks.DataError` for a damaged file, or one with other numbers of samples or points.
    """
    keys = jax.random.split(jax.random.key(0))
    counts = {"train": train, "test": test}
    names = {(part, kind): f"darcy_{part}_{points}_{kind}" for part in counts for kind in "au"}
    if not path.exists():
        samples = {
            names[part, kind]: np.asarray(values)
            for key, (part, count) in zip(keys, counts.items(), strict=True)
            for kind, values in zip("au", draw(key, count, points), strict=True)
        }
        write_arrays(path, samples)
    found = arrays(path, tuple(names.values()))
    for (part, _), name in names.items():
        expected = (counts[part], points, points)
        if found[name].shape != expected:
            raise checks.DataError(
                f"{path}: {name} must have shape {expected}, found {found[name].shape}"
            )
    return {
        part: (jnp.asarray(found[names[part, "a"]]), jnp.asarray(found[names[part, "u"]]))
        for part in counts
    }
