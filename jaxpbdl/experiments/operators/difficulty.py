"""Three one-dimensional scenarios of APEBench by their difficulties, and its measure.

    du/dt = b (u^2)_x / 2 + sum_j a_j d^j u / dx^j,   x in [0, 1) periodic, dt = 1

Difficulties take the grid in: gamma_j = a_j N^j 2^(j-1) and delta_1 = b N in one dimension
(Koehler, Niedermayr, Westermann, Thuerey, "APEBench", NeurIPS 2024, arXiv:2411.00180). Reference
steps, one per unit of time, are those of ETDRK2 with 2/3 of the modes. States are made here by our
own solver from starts of APEBench's distribution, random Fourier series to wavenumber 5; they are
not its arrays.
"""

from dataclasses import dataclass, field

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.distributed import map_members
from jaxpbdl.equations.semilinear import SemilinearEquation, advective_rate
from jaxpbdl.grids import Periodic
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.spectrum import Spectrum, scaled
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import SpectralStep, semilinear
from jaxpbdl.solvers.time.exponential import etdrk2

CUTOFF = 5
"""The highest wavenumber of a start."""
UP_TO = 100
"""Steps that the measure takes in."""


class Convective(SemilinearEquation):
    """du/dt + advection u du/dx = sum_j coefficients[j] d^j u / dx^j on one axis.

    `coefficients` are those of the derivatives `orders`.
    """

    advection: Array
    coefficients: Float[Array, " orders"]
    orders: tuple[int, ...] = eqx.field(static=True)

    def check_grid(self, grid: Grid) -> None:
        if grid.ndim != 1:
            raise ValueError(f"grid must have 1 axis, got {grid.ndim}")

    def symbol(self, spectrum: Spectrum) -> Array:
        terms = [
            self.coefficients[j] * (1j * spectrum.k[0]) ** order
            for j, order in enumerate(self.orders)
        ]
        return jnp.sum(jnp.stack(terms), axis=0)

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        square = spectrum.transform(spectrum.to_grid(modes) ** 2)
        return scaled(-0.5 * self.advection, spectrum.derivative(square, 0))

    def transport_rate(self, state: Array, spectrum: Spectrum) -> Array:
        speed = jnp.abs(self.advection) * jnp.max(jnp.abs(state))
        return advective_rate([speed], spectrum.k)


@dataclass(frozen=True)
class Scenario:
    """An equation by its difficulties: `convection` is delta_1, `linear` gamma_j by j."""

    name: str
    convection: float
    linear: dict[int, float] = field(default_factory=dict)
    warmup: int = 0
    """Steps before the first state."""

    def equation(self, points: int) -> Convective:
        """Its coefficients on a grid of `points`."""
        orders = tuple(sorted(self.linear))
        coefficients = [self.linear[j] / (points**j * 2 ** (j - 1)) for j in orders]
        return Convective(jnp.asarray(-self.convection / points), jnp.asarray(coefficients), orders)

    def step(self, points: int, part: float = 1.0) -> SpectralStep:
        """The reference step, or a `part` of it: all coefficients, or the time step, times that."""
        return semilinear(self.equation(points), Periodic(points, 1.0), part, etdrk2)

    def trajectories(
        self, key: PRNGKeyArray, count: int, steps: int, points: int
    ) -> Float[Array, "count snapshots points"]:
        """States 0 to `steps` from random starts."""
        step = self.step(points)

        def one(key: PRNGKeyArray) -> Array:
            start = fourier_series(key, points)
            if self.warmup:
                start = rollout(step, start, self.warmup, self.warmup, checkpoint=False)[-1]
            return rollout(step, start, steps, checkpoint=False)

        return map_members(one, jax.random.split(key, count))


BURGERS = Scenario("burgers", -1.5, {2: 1.5})
KDV = Scenario("kdv", -2.0, {3: -14.0, 4: -9.0})
KS = Scenario("ks", -1.0, {2: -2.0, 4: -18.0}, warmup=500)
KS_OLDER = Scenario("ks_15", -1.0, {2: -2.0, 4: -15.0}, warmup=500)
"""The default until October 2024, of the published networks."""
SCENARIOS = (BURGERS, KDV, KS, KS_OLDER)


def fourier_series(key: PRNGKeyArray, points: int) -> Float[Array, " points"]:
    """sum_k a_k sin(2 pi k x + phase_k) to wavenumber 5, a_k uniform in [-1, 1], the phases in
    [0, 2 pi]; of mean zero and largest magnitude one."""
    size, turn = jax.random.uniform(key, (2, CUTOFF, 1))
    k = jnp.arange(1, CUTOFF + 1)[:, None]
    waves = (2 * size - 1) * jnp.sin(2 * jnp.pi * (k * jnp.arange(points) / points + turn))
    series = jnp.sum(waves, axis=0)
    return series / jnp.max(jnp.abs(series))


def geometric_mean(errors: Float[np.ndarray, "trajectories snapshots"]) -> float:
    """The geometric mean over steps 1 to 100 (or the last, if there are fewer) of the mean over
    trajectories of the relative errors of snapshots 0, 1, ..."""
    with np.errstate(over="ignore", divide="ignore"):
        return float(np.exp(np.mean(np.log(np.mean(errors[:, 1 : UP_TO + 1], axis=0)))))
