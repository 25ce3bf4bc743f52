"""Operators that return a field: a branch reads the input function at its sensors, a trunk gives
the functions in which the output is expanded."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.dense import Dense
from jaxpbdl.trainable import Constant

Activation = Callable[[Array], Array]


class BranchedField(eqx.Module):
    """The field `point -> coefficients . trunk(point) + bias`: what a DeepONet returns."""

    coefficients: Float[Array, "out_channels rank"]
    trunk: Callable[[Array], Array]
    bias: Float[Array, " out_channels"]

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, " out_channels"]:
        """The values at one point; `jax.vmap` over points, any derivative by `jaxpbdl.fields`."""
        return self.coefficients @ self.trunk(point) + self.bias


class DeepONet(eqx.Module):
    """From the values of a function at its sensors to a field.

        G(u)(x)_c = sum_r branch(u)_{c r} trunk(x)_r + bias_c

    (Lu, Jin, Pang, Zhang, Karniadakis, "Learning nonlinear operators via DeepONet", Nature Machine
    Intelligence 3 (2021) 218). `operator(sensors)` is a field, so the residual of an equation
    judges it like any other; `jax.vmap(operator(sensors))(points)` evaluates the branch once.

    **Arguments**

    - `sensors`: number of sensor values; `dim`: coordinates of a point.
    - `branch`, `trunk`: hidden sizes of the two dense networks.
    - `rank`: number of functions in the expansion.
    """

    branch: Dense
    trunk: Callable[[Array], Array]
    bias: Float[Array, " out_channels"]

    def __init__(
        self,
        sensors: int,
        dim: int,
        out_channels: int = 1,
        *,
        branch: Sequence[int] = (128, 128),
        trunk: Sequence[int] = (128, 128),
        rank: int = 64,
        activation: Activation = jnp.tanh,
        key: PRNGKeyArray,
    ):
        """Raises ValueError for sizes below one."""
        checks.counts(sensors=sensors, dim=dim, out_channels=out_channels, rank=rank)
        first, second = jax.random.split(key)
        self.branch = Dense(
            (sensors, *branch, out_channels * rank), activation=activation, key=first
        )
        # The functions of the trunk end in an activation: each is one more hidden unit of x. Their
        # scale leaves an output of order one for a sum over `rank` of them.
        basis = Dense((dim, *trunk, rank), activation=activation, key=second)
        self.trunk = _Activated(basis, activation, rank**-0.5)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, sensors: Float[Array, " sensors"]) -> BranchedField:
        """Raises ValueError if `sensors` is not one vector of the size of the branch."""
        coefficients = self.branch(sensors).reshape(self.bias.shape[0], -1)
        return BranchedField(coefficients, self.trunk, self.bias)


class _Activated(eqx.Module):
    network: Dense
    activation: Activation = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __call__(self, point: Array) -> Array:
        return self.scale * self.activation(self.network(point))


class PODDeepONet(eqx.Module):
    """A branch alone, its trunk being the modes of the training data.

        G(u) = mean + sum_r branch(u)_r deviation_r mode_r

    (Lu, Meng, Cai, Mao, Goswami, Zhang, Karniadakis, CMAME 393 (2022) 114778, arXiv:2111.05512.)
    `mean` has the shape of one output, `modes` `(rank, *shape)`, `deviations` `(rank,)` the spread
    of the training data along each mode, so that the branch gives numbers of order one;
    `principal_modes` makes all three from data. They are fixed. The result is the array of values
    at the points of the training data.
    """

    branch: Dense
    mean: Constant
    modes: Constant
    deviations: Constant

    def __init__(
        self,
        sensors: int,
        mean: ArrayLike,
        modes: ArrayLike,
        deviations: ArrayLike,
        *,
        branch: Sequence[int] = (128, 128),
        activation: Activation = jnp.tanh,
        key: PRNGKeyArray,
    ):
        """Raises ValueError unless every mode has the shape of `mean`, and one deviation."""
        checks.count("sensors", sensors)
        mean, modes, deviations = map(jnp.asarray, (mean, modes, deviations))
        rank = len(modes)
        checks.shape("modes", modes, (rank, *mean.shape))
        checks.shape("deviations", deviations, (rank,))
        self.mean, self.modes, self.deviations = map(Constant, (mean, modes, deviations))
        self.branch = Dense((sensors, *branch, rank), activation=activation, key=key)

    def __call__(self, sensors: Float[Array, " sensors"]) -> Float[Array, "*shape"]:
        """Raises ValueError if `sensors` is not one vector of the size of the branch."""
        amounts = self.branch(sensors) * self.deviations()
        return self.mean() + jnp.tensordot(amounts, self.modes(), axes=1)


def principal_modes(outputs: ArrayLike, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(mean, modes, deviations)` of outputs `(samples, *shape)`: proper orthogonal decomposition.

    The `rank` modes are orthonormal in the sense of the mean square over points and come in the
    order of their deviation. Raises ValueError for more of them than there are samples or points.
    """
    data = np.asarray(outputs, float)
    samples, shape = len(data), data.shape[1:]
    flat = data.reshape(samples, -1)
    most = min(flat.shape)
    checks.count("rank", rank)
    if rank > most:
        raise ValueError(
            f"rank must be at most {most}, of samples and points the fewer, got {rank}"
        )
    mean = flat.mean(0)
    _, values, rows = np.linalg.svd(flat - mean, full_matrices=False)
    points = flat.shape[1]
    modes = rows[:rank].reshape(rank, *shape) * points**0.5
    kind = np.asarray(outputs).dtype
    basis = (mean.reshape(shape), modes, values[:rank] / (points * samples) ** 0.5)
    return tuple(part.astype(kind) for part in basis)
