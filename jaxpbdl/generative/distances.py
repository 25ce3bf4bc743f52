"""How far two samples are from being drawn from one distribution."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks


def squared_mmd(
    x: Float[Array, "n dim"], y: Float[Array, "m dim"], bandwidth: float = 1.0
) -> Float[Array, ""]:
    """The squared maximum mean discrepancy for the kernel `exp(-|a - b|^2 / (2 bandwidth^2))`:

        mean over i != j of k(x_i, x_j) + the same of y - 2 mean of k(x_i, y_j)

    without bias, so that samples of one distribution give zero on average, and a value below zero
    half of the time (Gretton et al., J. Mach. Learn. Res. 13 (2012) 723).

    **Raises** ValueError for fewer than two samples and a bandwidth that is not above 0.
    """
    checks.positive("bandwidth", bandwidth)
    for name, samples in {"x": x, "y": y}.items():
        if len(samples) < 2:
            raise ValueError(f"{name} must hold at least two samples, got {len(samples)}")

    def total(a: Array, b: Array) -> Array:
        # One row of the kernel at a time: no matrix of all pairs.
        def row(point: Array) -> Array:
            return jnp.sum(jnp.exp(-jnp.sum((b - point) ** 2, axis=1) / (2 * bandwidth**2)))

        return jnp.sum(jax.lax.map(row, a, batch_size=64))

    def within(a: Array) -> Array:
        count = len(a)
        return (total(a, a) - count) / (count * (count - 1))  # k(x_i, x_i) is one

    return within(x) + within(y) - 2 * total(x, y) / (len(x) * len(y))


def sliced_wasserstein(
    x: Float[Array, "n dim"], y: Float[Array, "n dim"], key: PRNGKeyArray, directions: int = 64
) -> Float[Array, ""]:
    """The square root of the mean over random directions of the squared Wasserstein distance of
    what the samples are along them, which is that of the sorted values (Bonneel et al., J. Math.
    Imaging Vis. 51 (2015) 22).

    **Raises** ValueError for fewer than one direction.
    """
    checks.count("directions", directions)
    normals = jax.random.normal(key, (directions, x.shape[1]), x.dtype)
    normals = normals / jnp.linalg.norm(normals, axis=1, keepdims=True)
    gap = jnp.sort(x @ normals.T, axis=0) - jnp.sort(y @ normals.T, axis=0)
    return jnp.sqrt(jnp.mean(gap**2))
