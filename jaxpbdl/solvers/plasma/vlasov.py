"""The Vlasov-Poisson system on a grid of phase space, by splitting with exact shifts.

    df/dt + v . grad_x f - E . grad_v f = 0,   -lap phi = 1 - integral f dv,   E = -grad phi

for electrons on ions at rest, with lengths in Debye lengths, times in 1/omega_p, and a mean density
of one. Each part of the splitting (Cheng and Knorr, J. Comput. Phys. 22 (1976) 330) only moves
values along one axis, by a shift in Fourier space that is exact for what the grid resolves. The
splitting is of order 2 (`leapfrog`) or 4 (`yoshida`). Mass is kept to rounding; the energy has the
error of the splitting, and does not drift while the grid resolves the density.

A grid of `2 d` axes, first positions, then velocities, serves for `d` = 1, 2 or 3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum, fourier_modes
from jaxpbdl.solvers.time.symplectic import Leapfrog, SeparableSystem, leapfrog
from jaxpbdl.step import Step

SMALLEST = 1e-12
"""Negative values of the density that count as rounding, over the largest."""
EDGE = 1e-4
"""The density at the ends of the velocities, and its highest mode there, over the largest: above,
the grid does not hold it."""


def velocity_grid(points: tuple[int, ...], lengths: tuple[float, ...], fastest: float) -> Periodic:
    """The grid of phase space: as many axes of positions as `lengths`, from zero, and of velocities
    from `-fastest` to `fastest`.

    **Raises** ValueError unless there are two numbers of points for each length.
    """
    if len(points) != 2 * len(lengths):
        raise ValueError(
            f"points must have {2 * len(lengths)} entries, two for each length, got {points}"
        )
    checks.positive("fastest", fastest)
    widths = (2 * fastest,) * len(lengths)
    origin = (0.0,) * len(lengths) + (-fastest,) * len(lengths)
    return Periodic(points, (*lengths, *widths), origin)


class VlasovStep(Step):
    """One step of the density `f` `(*positions, *velocities)`; created by `vlasov_poisson`."""

    trainable_fields = ()

    grid: Periodic
    dt: Float[Array, ""]
    scheme: Leapfrog
    space: Spectrum

    @property
    def interval(self) -> Float[Array, ""]:
        return self.dt

    @property
    def dim(self) -> int:
        """Axes of positions."""
        return self.grid.ndim // 2

    @property
    def recurrence_time(self) -> float:
        """`2 pi / (k dv)` of the longest wave: after it, free motion on the grid repeats itself,
        and what was damped is back."""
        spacing = self.grid.spacing[self.dim :]
        return min(length / dv for length, dv in zip(self.grid.lengths, spacing, strict=False))

    def check_duration(self, time: float) -> None:
        """Refuse a time at which what the grid does not resolve is back.

        Raises ValueError, with the recurrence time and the points that are needed.
        """
        if time >= self.recurrence_time:
            needed = int(np.ceil(max(self.grid.shape[self.dim :]) * time / self.recurrence_time))
            raise ValueError(
                f"time must be below {self.recurrence_time:.4g}, the recurrence time of this grid, "
                f"got {time}; use more than {needed} points in velocity"
            )

    def start(
        self,
        density: Callable[[Float[Array, " axes"]], Float[Array, ""]] | Float[Array, "*grid"],
    ) -> Float[Array, "*grid"]:
        """The state of a function of one point of phase space (positions, then velocities), or of
        an array.

        Raises ValueError for a density that is negative somewhere, or that the velocities do not
        hold or do not resolve.
        """
        if callable(density):
            points = self.grid.points.reshape(-1, self.grid.ndim)
            state = jax.vmap(density)(points).reshape(self.grid.shape)
        else:
            state = self.grid.check_state(density)
        if checks.is_concrete(state):
            self.check_state(state)
            self._check_start(np.asarray(state))
        return state

    def _check_start(self, state: np.ndarray) -> None:
        largest = float(state.max())
        if state.min() < -SMALLEST * largest:
            raise ValueError(
                f"density must be >= 0 everywhere in phase space, got {float(state.min()):.3g}"
            )
        for axis in range(self.dim, self.grid.ndim):
            fastest = self.grid.lengths[axis] / 2
            edge = float(np.take(state, 0, axis).max())
            if edge > EDGE * largest:
                raise ValueError(
                    f"density must vanish at the velocity {-fastest:.4g}, got {edge:.3g} there; "
                    "use a grid of faster velocities"
                )
            modes = np.abs(np.fft.rfft(state, axis=axis))
            high = float(np.take(modes, -1, axis).max() / modes.max())
            if high > EDGE:
                raise ValueError(
                    f"density is not resolved in velocity: its highest mode has {high:.3g} of the "
                    f"largest; use more than {self.grid.shape[axis]} points (free motion recurs "
                    f"after {self.recurrence_time:.4g})"
                )

    def check_state(self, state: Float[Array, "*grid"]) -> None:
        """Refuse a state of another shape or dtype, that is not finite, or of a density of
        positions that is not positive."""
        self.grid.check_state(state)
        checks.finite("state", state)
        if checks.is_concrete(state):
            checks.positive("density of positions", float(jnp.min(self.density(state))))

    def largest_dt(self, state: Float[Array, "*grid"]) -> Float[Array, ""]:
        """From the plasma frequency of the densest place."""
        return jnp.asarray(self.scheme.largest_dt(jnp.sqrt(jnp.max(self.density(state)))))

    def system(self) -> SeparableSystem:
        """Shifts in velocity by the field, and in position by the velocity."""
        dim, shape = self.dim, self.grid.shape

        def kick(state: Array, field: Array, dt: Array) -> Array:
            for axis in range(dim):
                moved = -dt * field[axis].reshape(shape[:dim] + (1,) * dim)
                state = self._shifted(state, dim + axis, moved)
            return state

        def drift(state: Array, dt: Array) -> Array:
            for axis in range(dim):
                along = [shape[dim + axis] if at == dim + axis else 1 for at in range(2 * dim)]
                state = self._shifted(state, axis, dt * self.grid.axes[dim + axis].reshape(along))
            return state

        return SeparableSystem(self.field, kick, drift, self.dt)

    def advance(self, working: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return self.scheme.advance(working, self.system())

    def _shifted(self, values: Array, axis: int, moved: Array) -> Array:
        """The values moved along an axis by a length, the same all along it."""
        n = self.grid.shape[axis]
        along = [-1 if at == axis else 1 for at in range(self.grid.ndim)]
        k = 2 * np.pi / self.grid.lengths[axis] * fourier_modes(n, half=True)
        angles = jnp.asarray(k.astype(self.grid.dtype)).reshape(along) * moved
        phases = jax.lax.complex(jnp.cos(angles), -jnp.sin(angles))
        return jnp.fft.irfft(jnp.fft.rfft(values, axis=axis) * phases, n=n, axis=axis)

    def density(self, state: Float[Array, "*grid"]) -> Float[Array, "*positions"]:
        """Electrons at each position."""
        spacing = np.prod(self.grid.spacing[self.dim :])
        return jnp.sum(state, axis=tuple(range(self.dim, self.grid.ndim))) * float(spacing)

    def field(self, state: Float[Array, "*grid"]) -> Float[Array, "dim *positions"]:
        """The electric field at each position."""
        return electric_field(self.space, self.density(state))

    def mass(self, state: Float[Array, "*grid"]) -> Float[Array, ""]:
        """All electrons."""
        return self.grid.integral(state)

    def energy(self, state: Float[Array, "*grid"]) -> Float[Array, ""]:
        """Kinetic, and that of the field."""
        squares = sum(one**2 for one in self.grid.coordinates[self.dim :])
        kinetic = self.grid.integral(state * squares) / 2
        return kinetic + jnp.sum(self.space.grid.integral(self.field(state) ** 2)) / 2


def electric_field(
    space: Spectrum, density: Float[Array, "*positions"]
) -> Float[Array, "dim *positions"]:
    """The field of electrons on ions of the same mean density: `E = -grad phi`, `lap phi = n - 1`.

    `space` is the spectrum of the positions.
    """
    potential = -space.inverse_k_squared * space.transform(density)
    return -space.to_grid(space.gradient(potential))


def vlasov_poisson(grid: Periodic, dt: ArrayLike, scheme: Leapfrog = leapfrog) -> VlasovStep:
    """The step of electrons on a grid of phase space.

    **Arguments**

    - `grid`: positions first, then as many velocities; `velocity_grid` makes one.
    - `dt`: > 0, over the inverse plasma frequency. May be traced.
    - `scheme`: `leapfrog`, or `yoshida` for order 4.

    **Raises** ValueError for an odd number of axes or velocities that are not symmetric about zero;
    when called, for a dt above the stability limit of the state.
    """
    checks.positive("dt", dt)
    if grid.ndim % 2:
        raise ValueError(f"grid must have as many velocities as positions, got {grid.ndim} axes")
    half = grid.ndim // 2
    for origin, length in zip(grid.origin[half:], grid.lengths[half:], strict=True):
        if abs(origin + length / 2) > 1e-9 * length:
            raise ValueError(
                f"grid must have velocities symmetric about zero, got {origin} to {origin + length}"
            )
    positions = Periodic(grid.shape[:half], grid.lengths[:half], grid.origin[:half], grid.dtype)
    return VlasovStep(grid, jnp.asarray(dt, grid.dtype), scheme, Spectrum(positions))
