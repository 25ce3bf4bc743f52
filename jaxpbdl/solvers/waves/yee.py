"""Yee's scheme: electric and magnetic fields in turn, half a step apart.

    dH/dt = -curl E,   permittivity dE/dt + conductivity E + sum_k dP_k/dt = curl H - J

in units in which the speed of light and the constants of vacuum are one: a time is a length over
the speed of light. E, P and the state's time stand at n dt, H at (n - 1/2) dt (K. S. Yee, IEEE
Trans. Antennas Propag. 14 (1966) 302).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.distributed.halos import Blocks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.solvers.waves.components import (
    NAMES,
    Components,
    electric_location,
    magnetic_location,
)
from jaxpbdl.solvers.waves.curls import Curl, Rates, curl_of
from jaxpbdl.solvers.waves.interfaces import MixedMedium
from jaxpbdl.solvers.waves.media import Medium
from jaxpbdl.solvers.waves.sides import Pairs, Turns
from jaxpbdl.step import Step


class Fields(NamedTuple):
    """The state.

    **Attributes:**

    - `electric`, `magnetic`: one array for each component on its edges and faces, E at `time` and H
      half a step before.
    - `time`: of E.
    - `absorbed`: memory of the absorbing layers, in the curl of E and in that of H.
    - `polarisation`: for each pole, P of each component now and one step before.
    - `sources`: memory of each source.
    - `displacement`: D of each component, where the medium has an interface; else empty.
    """

    electric: tuple[Array, ...]
    magnetic: tuple[Array, ...]
    time: Float[Array, ""]
    absorbed: PyTree = ()
    polarisation: PyTree = ()
    sources: PyTree = ()
    displacement: PyTree = ()


class Source(eqx.Module):
    """What a source adds to the curls. One that is given to `maxwell` is bound to the grid."""

    trainable_fields = ()

    def start(self) -> PyTree:
        """Its memory at time zero."""
        return ()

    def to_magnetic(self, rates: Rates, memory: PyTree, time: Array) -> tuple[Rates, PyTree]:
        """dH/dt with the source at the time of E, and its memory with H advanced."""
        return rates, memory

    def to_electric(self, rates: Rates, memory: PyTree, time: Array) -> tuple[Rates, PyTree]:
        """curl H - J with the source at the time of H, and its memory with E advanced."""
        return rates, memory


class MaxwellStep(Step):
    """One step of E and H; created by `maxwell`.

    `step(state)`, or `step(state, current)` with a current density for each electric component on
    its edges (half a step ahead of the state's time).
    """

    trainable_fields = ()

    grid: Cells
    dt: Array
    components: Components = eqx.field(static=True)
    medium: Medium | MixedMedium
    curl_electric: Curl
    curl_magnetic: Curl
    free: tuple[Array, ...]
    sources: tuple[Source, ...]
    pairs: Pairs
    turns: Turns = ()
    blocks: Blocks | None = None

    @property
    def interval(self) -> Array:
        return self.dt

    @property
    def dtype(self) -> np.dtype:
        """Of the fields: the grid's, or complex with Bloch's sides."""
        if all(turn is None for turn in self.turns):
            return self.grid.dtype
        return jnp.result_type(self.grid.dtype, jnp.complex64)

    def start(
        self,
        electric: Callable[[Array], Sequence | Array] | Sequence[Array] | None = None,
        magnetic: Callable[[Array], Sequence | Array] | Sequence[Array] | None = None,
    ) -> Fields:
        """The state at time zero, of functions `point -> (3,)` or of arrays for each component;
        zero by default. H is that of half a step before time zero.

        E on conductors becomes zero. With an interface what is given in place of E is D.
        """
        grid, axes, dtype = self.grid, self.components, self.dtype
        parts = []
        for name, given, components, place in (
            ("electric", electric, axes.electric, electric_location),
            ("magnetic", magnetic, axes.magnetic, magnetic_location),
        ):
            fields = []
            if given is not None and not callable(given) and len(given) != len(components):
                raise ValueError(f"{name} must have {len(components)} components, got {len(given)}")
            for position, component in enumerate(components):
                location = place(component, grid.ndim)
                shape = grid.shape_at(location)
                if given is None:
                    fields.append(jnp.zeros(shape, dtype))
                elif callable(given):
                    points = grid.points_at(location).reshape(-1, grid.ndim)

                    def value(point: Array, given=given, component: int = component) -> Array:
                        return jnp.asarray(given(point), dtype)[component]

                    fields.append(jax.vmap(value)(points).reshape(shape))
                else:
                    checks.shape(f"{name} component {position}", given[position], shape)
                    fields.append(jnp.asarray(given[position], dtype))
            parts.append(tuple(fields))
        held, free = parts[0], self.free
        absorbed = tuple(
            tuple(
                tuple(one.difference.memory(field.shape, dtype) for one in terms)
                for terms, field in zip(curl, fields, strict=True)
            )
            for curl, fields in ((self.curl_electric, parts[1]), (self.curl_magnetic, parts[0]))
        )
        nothing = tuple(jnp.zeros_like(field) for field in held)
        held = tuple(field * one for field, one in zip(held, free, strict=True))
        electric, displacement = held, ()
        if isinstance(self.medium, MixedMedium):
            rest = tuple(nothing for _ in self.medium.poles)
            electric, displacement = self._walled(self.medium.electric(held, rest)), held
        return Fields(
            electric,
            parts[1],
            jnp.zeros((), grid.dtype),
            absorbed,
            tuple((nothing, nothing) for _ in self.medium.poles),
            tuple(source.start() for source in self.sources),
            displacement,
        )

    def advance(self, working: Fields, *inputs: Sequence[Array]) -> Fields:
        return self.electric_half(self.magnetic_half(working), *inputs)

    def magnetic_half(self, state: Fields) -> Fields:
        """H half a step past the time of E."""
        curls, absorbed = curl_of(
            self.curl_electric,
            state.electric,
            state.absorbed[0],
            self.dt,
            state.magnetic,
            self.blocks,
        )
        rates, memories = tuple(-one for one in curls), []
        for source, memory in zip(self.sources, state.sources, strict=True):
            rates, memory = source.to_magnetic(rates, memory, state.time)
            memories.append(memory)
        magnetic = tuple(
            field + self.dt * rate for field, rate in zip(state.magnetic, rates, strict=True)
        )
        return state._replace(
            magnetic=magnetic,
            absorbed=(absorbed, state.absorbed[1]),
            sources=tuple(memories),
        )

    def electric_half(self, state: Fields, *inputs: Sequence[Array]) -> Fields:
        """E and the time one step later, once `magnetic_half` has advanced H."""
        rates, absorbed = curl_of(
            self.curl_magnetic,
            state.magnetic,
            state.absorbed[1],
            self.dt,
            state.electric,
            self.blocks,
        )
        for currents in inputs:
            if len(currents) != len(rates):
                raise ValueError(f"the current must have {len(rates)} components")
            rates = tuple(rate - one for rate, one in zip(rates, currents, strict=True))
        memories = []
        for source, memory in zip(self.sources, state.sources, strict=True):
            rates, memory = source.to_electric(rates, memory, state.time + self.dt / 2)
            memories.append(memory)
        medium = self.medium
        before = tuple(now for now, _ in state.polarisation)
        drive = state.electric
        if isinstance(medium, MixedMedium) and medium.poles:
            drive = medium.driving(state.displacement, before)
        polarisation = tuple(
            self._polarised(number, state, drive) for number in range(len(medium.poles))
        )
        state = state._replace(
            time=state.time + self.dt,
            absorbed=(state.absorbed[0], absorbed),
            polarisation=polarisation,
            sources=tuple(memories),
        )
        if isinstance(medium, MixedMedium):
            displacement = tuple(
                field + free * self.dt * rate
                for field, free, rate in zip(state.displacement, self.free, rates, strict=True)
            )
            electric = medium.electric(displacement, tuple(later for later, _ in polarisation))
            return state._replace(electric=self._walled(electric), displacement=displacement)
        for later, now in polarisation:
            rates = tuple(
                rate - (new - old) / self.dt
                for rate, new, old in zip(rates, later, now, strict=True)
            )
        return state._replace(electric=self._driven(medium, state.electric, rates))

    def _walled(self, electric: tuple[Array, ...]) -> tuple[Array, ...]:
        """Zero on conductors."""
        return tuple(field * free for field, free in zip(electric, self.free, strict=True))

    def _driven(
        self, medium: Medium, electric: tuple[Array, ...], rates: Rates
    ) -> tuple[Array, ...]:
        """permittivity dE/dt + conductivity E = rate, E at the middle of the step by the mean."""
        fields = []
        for position, (field, rate) in enumerate(zip(electric, rates, strict=True)):
            permittivity, free = medium.permittivity[position], self.free[position]
            if medium.conductivity is None:
                fields.append(field + free * (self.dt / permittivity) * rate)
                continue
            loss = medium.conductivity[position] * self.dt / 2
            fields.append(
                free * ((permittivity - loss) * field + self.dt * rate) / (permittivity + loss)
            )
        return tuple(fields)

    def _polarised(
        self, number: int, state: Fields, drive: tuple[Array, ...]
    ) -> tuple[Rates, Rates]:
        """P of a pole one step later, and now, driven by the field in its medium."""
        pole = self.medium.poles[number]
        now, before = state.polarisation[number]
        dt = self.dt
        half = (pole.damping * dt / 2).astype(self.grid.dtype)
        spring = ((pole.resonance * dt) ** 2).astype(self.grid.dtype)
        later = tuple(
            ((2 - spring) * p - (1 - half) * q + dt**2 * strength * field) / (1 + half)
            for p, q, strength, field in zip(
                now, before, self.medium.strengths[number], drive, strict=True
            )
        )
        return later, now

    def largest_dt(self, state: PyTree = None) -> Array:
        """2 over a bound on the fastest oscillation; in vacuum Courant's
        dt = 1 / sqrt(sum over axes of 1/h^2), h the narrowest cell.

        With poles the square of that oscillation is bounded by the trace of the matrix that couples
        E to them.
        """
        curl = 4 * sum(float(h.min()) ** -2 for h in self.grid.widths)
        medium = self.medium
        if isinstance(medium, MixedMedium):
            squares = [jnp.max(one) for one in medium.stiffness(curl)]
        else:
            squares = [
                jnp.max(
                    (curl + sum(strength[position] for strength in medium.strengths)) / permittivity
                )
                for position, permittivity in enumerate(medium.permittivity)
            ]
        square = jnp.max(jnp.stack(squares)) + sum(pole.resonance**2 for pole in medium.poles)
        return (2 / jnp.sqrt(square)).astype(self.grid.dtype)

    def refuse_above(self, limit: Array | float) -> None:
        if not checks.is_concrete((self.dt, limit)):
            return
        # At the limit itself the two numbers differ by rounding.
        if float(self.dt) > float(limit) * (1 + 1e-5):
            raise ValueError(
                f"dt = {float(self.dt):.6g} is above Courant's limit of this grid and medium: use "
                f"dt <= {float(limit) * (1 - 1e-6):.6g}"
            )

    def check_state(self, state: PyTree) -> None:
        if not isinstance(state, Fields):
            raise ValueError(f"state must be Fields, as `start` gives, got {type(state).__name__}")
        for name, fields, components, place in (
            ("E", state.electric, self.components.electric, electric_location),
            ("H", state.magnetic, self.components.magnetic, magnetic_location),
        ):
            if len(fields) != len(components):
                raise ValueError(f"state must have {len(components)} components of {name}")
            for component, field in zip(components, fields, strict=True):
                shape = self.grid.shape_at(place(component, self.grid.ndim))
                checks.shape(f"{name}_{NAMES[component]}", field, shape)
                if not jnp.issubdtype(self.dtype, jnp.complexfloating):
                    checks.real(f"{name}_{NAMES[component]}", field)
        if len(state.polarisation) != len(self.medium.poles):
            raise ValueError(f"state must have {len(self.medium.poles)} polarisations")
