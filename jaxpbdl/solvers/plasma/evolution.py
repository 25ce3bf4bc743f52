"""The plasma of a tokamak with its circuits in time, linear about one free-boundary equilibrium.

    d/dt (M I + L(I, I_p, w)) + R I = V,    dPhi/dt + R_p (I_p - I_p0) = 0

I are the currents of driven coils and of passive conductors (V = 0 there), L the flux of the plasma
through the circuits, w what disturbs the profile, such as its beta. Phi is the poloidal flux
averaged over the current of the plasma, whose change drives it: the plasma current has a circuit of
its own, and is not held (the lumped form of Ohm's law; N. C. Amorisco et al., Phys. Plasmas 31
(2024) 042517). The plasma has no mass: it is in equilibrium at every time, so that L
and Phi follow from the currents. With x the deviations of all currents from the reference,

    M* dx/dt + D dw/dt + R x = V - V_0,    M* = M + dL/dI, ..

where derivatives are the implicit ones of the equilibrium. The reference is held by constant
voltages in the coils and a constant electromotive force in the plasma. An elongated plasma with a
wall has one mode that grows, the vertical one: a positive eigenvalue of -M*^-1 R (E. A. Lazarus,
J. B. Lister and G. H. Neilson, Nucl. Fusion 30 (1990) 111). Where the wall is too weak for that,
the plasma moves on the time of its inertia, of which this model knows nothing: see
`stability_margin`.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.solvers.plasma.circuits import Coils, filament_flux
from jaxpbdl.solvers.plasma.equilibrium import Equilibrium, Tokamak, surfaces_and_current
from jaxpbdl.solvers.plasma.profiles import Profile
from jaxpbdl.solvers.plasma.rectangle import Rectangle
from jaxpbdl.solvers.plasma.surfaces import flux_surface
from jaxpbdl.step import Step

ProfileOf: TypeAlias = Callable[[Float[Array, ""], Float[Array, " disturbances"]], Profile]
"""From the plasma current (A) and what disturbs it to the profile."""
Observe: TypeAlias = Callable[[Equilibrium], Float[Array, " outputs"]]
RESIDUAL = 1e-6
"""Of a reference, the largest."""
COLUMNS = 128
"""Of the Jacobian that are made together."""


def inductances(coils: Coils, radii: Numbers) -> Float[Array, "circuits circuits"]:
    """Mutual inductances of the circuits and their own, in H.

    A conductor of round section carries its current evenly: its own flux is that at the geometric
    mean distance `radius exp(-1/4)` within its section (J. C. Maxwell, Treatise, 1873, section
    692), to the order of `(radius / R)^2`.

    **Arguments:** `radii`: of the sections in m, one number or one for each filament.

    **Raises** ValueError for radii that are not above zero.
    """
    checks.positive("radii", radii)
    mean = jnp.broadcast_to(np.exp(-0.25) * checks.as_floats(radii), coils.r.shape)
    apart = coils.z[:, None] + jnp.diag(mean)
    flux = filament_flux(coils.r, coils.z, coils.r[:, None], apart)
    return 2 * jnp.pi * coils.turns @ flux @ coils.turns.T


class PlasmaShape(eqx.Module):
    """What is seen of an equilibrium: the distances (m) from a fixed `centre` to the boundary along
    `rays` at equal angles, R and Z of the axis, the plasma current (A)."""

    trainable_fields = ()

    grid: Rectangle
    centre: Float[Array, "2"] = eqx.field(converter=checks.as_floats)
    rays: int = eqx.field(static=True, default=16)

    @property
    def angles(self) -> np.ndarray:
        """Of the rays, from the outward direction."""
        return 2 * np.pi * (np.arange(self.rays) + 0.5) / self.rays

    def __call__(self, found: Equilibrium) -> Float[Array, " outputs"]:
        """Raises ValueError, outside of jit, where a ray does not meet the boundary."""
        points = flux_surface(
            self.grid, found.psi, self.centre, found.boundary_flux, rays=self.rays
        )
        distance = jnp.linalg.norm(points - self.centre, axis=-1)
        area = self.grid.spacing[0] * self.grid.spacing[1]
        current = area * jnp.sum(found.density.values)
        return jnp.concatenate([distance, found.axis, current[None]])


class Response(eqx.Module):
    """The linear model about an equilibrium: the circuits first, the plasma last. The stack of many
    (`jax.tree.map` of `jnp.stack`) goes through vmap."""

    trainable_fields = ()

    inductance: Float[Array, "n n"]
    """M*, in H: the flux through each circuit per ampere of each, with what the plasma answers."""
    disturbance: Float[Array, "n disturbances"]
    """D: that flux per unit of each disturbance."""
    resistance: Float[Array, " n"]
    outputs: Float[Array, "outputs n"]
    """What is seen, per ampere."""
    disturbed: Float[Array, "outputs disturbances"]
    """What is seen, per unit of each disturbance."""
    reference: Float[Array, " n"]
    """The currents of the equilibrium, in A."""
    seen: Float[Array, " outputs"]
    """Of the equilibrium."""

    @property
    def rates(self) -> Float[np.ndarray, " n"]:
        """The real parts of the eigenvalues of -M*^-1 R in 1/s, that which grows fastest first;
        for numbers, not inside of jit."""
        return np.sort(np.linalg.eigvals(self._generator).real)[::-1]

    @property
    def unstable_mode(self) -> Float[np.ndarray, " n"]:
        """The currents of the mode that grows fastest, of norm one; for numbers as `rates`."""
        values, vectors = np.linalg.eig(self._generator)
        return np.real(vectors[:, np.argmax(np.real(values))])

    @property
    def _generator(self) -> Float[np.ndarray, "n n"]:
        """-M*^-1 R."""
        resistance = np.diag(np.asarray(self.resistance))
        return -np.linalg.solve(np.asarray(self.inductance), resistance)

    def observe(self, state: PyTree) -> Float[Array, " outputs"]:
        """What is seen of a `Deviation`."""
        return self.seen + self.outputs @ state.currents + self.disturbed @ state.disturbances


class Deviation(NamedTuple):
    """The state: what differs from the reference."""

    currents: Float[Array, " n"]
    """Of the circuits, the plasma last, in A."""
    disturbances: Float[Array, " disturbances"]


class Drive(NamedTuple):
    """The input of a step."""

    voltages: Float[Array, " driven"]
    """Over those of the reference, of the first circuits, held over the step; all others and the
    plasma have none."""
    disturbances: Float[Array, " disturbances"]
    """At the end of the step."""


def plasma_response(
    machine: Tokamak,
    about: Equilibrium,
    profile_of: ProfileOf,
    plasma_current: float,
    observe: Observe,
    *,
    resistances: Numbers,
    plasma_resistance: float,
    radii: Numbers,
    disturbances: Numbers = (),
) -> Response:
    """The response about an equilibrium: one Jacobian, by the implicit function theorem. Its
    linear equations are few enough to be solved by elimination for all circuits at once.

    **Arguments:**

    - `about`: the reference, with a current of each circuit of `machine` (zero in passive ones).
    - `profile_of`: the profile of a plasma current and of disturbances, such as
      `lambda current, w: PoloidalBeta(shape, current, w[0])`.
    - `plasma_current`, `disturbances`: of the reference.
    - `observe`: what is seen of an equilibrium, such as a `PlasmaShape`.
    - `resistances`: of each circuit in Ohm; `plasma_resistance`: of the plasma.
    - `radii`: of the conductors, see `inductances`.

    **Raises** ValueError for resistances or radii that are not above zero, other shapes, a
    reference that is no equilibrium of this machine and profile (with the residual), and a plasma
    that the conductors do not hold against its vertical motion (with the margin).
    """
    count, currents = machine.coils.count, about.currents
    resistances = checks.as_floats(resistances)
    checks.shape("about.currents", currents, (count,))
    checks.shape("resistances", resistances, (count,))
    checks.positive("resistances", resistances)
    checks.positive("plasma_resistance", plasma_resistance)
    checks.positive("the magnitude of plasma_current", abs(plasma_current))
    own = inductances(machine.coils, radii)
    _check_margin(machine, about, own)
    disturbed = jnp.atleast_1d(checks.as_floats(disturbances))
    point = jnp.concatenate([currents, checks.as_floats(plasma_current)[None], disturbed])
    residual, seen, jacobian = _linearised(machine, about, point, profile_of, observe)
    if checks.is_concrete(residual) and not float(residual) <= RESIDUAL:
        raise ValueError(
            "about must be an equilibrium of this machine and profile, with a residual of at most "
            f"{RESIDUAL:g}, got {float(residual):.3g}"
        )
    linked, outputs = jacobian[: count + 1], jacobian[count + 1 :]
    return Response(
        linked[:, : count + 1].at[:count, :count].add(own),
        linked[:, count + 1 :],
        jnp.append(resistances, plasma_resistance),
        outputs[:, : count + 1],
        outputs[:, count + 1 :],
        point[: count + 1],
        seen,
    )


@eqx.filter_jit
def _linearised(
    machine: Tokamak, about: Equilibrium, point: Array, profile_of: ProfileOf, observe: Observe
) -> tuple[Array, Array, Array]:
    """The residual of the reference, what is seen of it, and the derivatives with respect to all
    currents and disturbances: of the fluxes of the plasma through the circuits, of the flux
    averaged over its current, and of what is seen."""
    count, area = machine.coils.count, machine.grid.spacing[0] * machine.grid.spacing[1]
    weights = about.density.values / jnp.sum(about.density.values)
    nodes = about.plasma.size

    def everything(values: Array) -> Array:
        plasma, currents = values[:nodes].reshape(about.plasma.shape), values[nodes:][:count]
        profile = profile_of(values[nodes + count], values[nodes + count + 1 :])
        psi = plasma + machine.coil_flux(currents)
        bounds, density = surfaces_and_current(machine, profile, psi)
        found = about._replace(
            psi=psi, plasma=plasma, currents=currents, density=density, surfaces=bounds
        )
        change = machine.plasma_flux(density.values) - plasma
        through = area * jnp.sum(machine.response * density.values, axis=(1, 2))
        fluxes = 2 * jnp.pi * jnp.append(through, jnp.sum(weights * psi))
        return jnp.concatenate([change.ravel(), fluxes, observe(found)])

    values, linear = jax.linearize(everything, jnp.concatenate([about.plasma.ravel(), point]))
    # A share of the columns at a time, for memory.
    columns = lax.map(linear, jnp.eye(nodes + len(point), dtype=values.dtype), batch_size=COLUMNS)
    by_plasma, by_point = columns[:nodes].T, columns[nodes:].T
    answer = jnp.linalg.solve(by_plasma[:nodes], -by_point[:nodes])
    residual = jnp.linalg.norm(values[:nodes]) / jnp.linalg.norm(about.plasma)
    seen = values[nodes + count + 1 :]
    return residual, seen, by_point[nodes:] + by_plasma[nodes:] @ answer


def stability_margin(
    machine: Tokamak, found: Equilibrium, inductance: Float[Array, "circuits circuits"]
) -> Float[Array, ""]:
    """Of the vertical force on a plasma that moves as a rigid body: what currents induced in ideal
    conductors take off it, over what the field of the coils adds to it, less one. Below zero
    conductors do not hold the plasma; infinite where the coils do (J. B. Lister et al., Nucl.
    Fusion 42 (2002) 708, for the rigid body).
    """
    area, h = machine.grid.spacing[0] * machine.grid.spacing[1], machine.grid.spacing[1]
    density = area * found.density.values[:, 1:-1]
    flux = machine.response
    slope = (flux[:, :, 2:] - flux[:, :, :-2]) / (2 * h)
    bend = (flux[:, :, 2:] - 2 * flux[:, :, 1:-1] + flux[:, :, :-2]) / h**2
    force = 2 * jnp.pi * jnp.sum(density * slope, axis=(1, 2))
    pushing = 2 * jnp.pi * found.currents @ jnp.sum(density * bend, axis=(1, 2))
    holding = force @ jnp.linalg.solve(inductance, force)
    return jnp.where(pushing > 0, holding / jnp.where(pushing > 0, pushing, 1.0) - 1, jnp.inf)


def _check_margin(machine: Tokamak, found: Equilibrium, inductance: Array) -> None:
    margin = stability_margin(machine, found, inductance)
    if checks.is_concrete(margin) and not float(margin) > 0:
        raise ValueError(
            "the conductors must hold the plasma against its vertical motion, got a stability "
            f"margin of {float(margin):.3g}, not above 0: without them it moves on the time of its "
            "inertia; bring conductors nearer or make the plasma rounder"
        )


class EvolutionStep(Step):
    """One step of a `Response`, from a `Deviation` and a `Drive`; created by `plasma_evolution`."""

    trainable_fields = ()

    response: Response
    propagator: Float[Array, "n n"]
    by_voltage: Float[Array, "n driven"]
    by_disturbance: Float[Array, "n disturbances"]
    dt: Float[Array, ""]
    growth: Float[Array, ""]
    """Of the fastest mode in 1/s, below zero for none that grows."""

    @property
    def interval(self) -> Array:
        """dt."""
        return self.dt

    def largest_dt(self, state: PyTree) -> Array | float:
        """The growth time of the vertical mode: a longer step reverses or distorts its growth."""
        return jnp.where(self.growth > 0, 1 / jnp.where(self.growth > 0, self.growth, 1), jnp.inf)

    def start(self) -> Deviation:
        """The reference itself."""
        n, disturbances = self.by_disturbance.shape
        zeros = jnp.zeros(n + disturbances, self.propagator.dtype)
        return Deviation(zeros[:n], zeros[n:])

    def check_state(self, state: PyTree) -> None:
        """Raise ValueError for currents or disturbances of another number or not finite."""
        for name, size in zip(Deviation._fields, self.by_disturbance.shape, strict=True):
            value = getattr(state, name)
            checks.shape(name, value, (size,))
            checks.finite(name, value)

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        """The state after `dt` with the given `Drive`."""
        (drive,) = inputs
        change = drive.disturbances - working.disturbances
        currents = (
            self.propagator @ working.currents
            + self.by_voltage @ drive.voltages
            + self.by_disturbance @ change
        )
        return Deviation(currents, drive.disturbances)


def plasma_evolution(
    response: Response, dt: float | Array, driven: int, *, implicitness: float = 0.5
) -> EvolutionStep:
    """The step of a linear response. Its matrices are made here, once.

        (M* + theta dt R) x_1 = (M* - (1 - theta) dt R) x_0 + dt V - D (w_1 - w_0)

    **Arguments:**

    - `dt`: time of a step, in s.
    - `driven`: the first so many circuits have voltages.
    - `implicitness`: theta, 1/2 for the trapezoidal rule (order 2, keeps the energy balance), 1 for
      the implicit Euler method (order 1); between them.

    **Raises** ValueError for a step beyond the growth time of the vertical mode (not inside of jit
    or vmap, where growth is not known: look at `Response.rates` before), an implicitness outside of
    [1/2, 1] and more driven circuits than there are.
    """
    checks.positive("dt", dt)
    circuits = len(response.resistance) - 1
    driven = checks.count("driven", driven)
    if driven > circuits:
        raise ValueError(f"driven must be at most the number of circuits, {circuits}, got {driven}")
    if not 0.5 <= implicitness <= 1:
        raise ValueError(f"implicitness must be in [1/2, 1], got {implicitness}")
    growth = _growth(response)
    if checks.is_concrete((growth, dt)) and float(dt) * float(growth) >= 1:
        raise ValueError(
            f"dt must be below the growth time of the vertical mode, {1 / float(growth):.4g} s, "
            f"got {float(dt):.4g} s"
        )
    interval = checks.as_floats(dt)
    loss = interval * jnp.diag(response.resistance)
    implicit = response.inductance + implicitness * loss
    explicit = response.inductance - (1 - implicitness) * loss
    sources = interval * jnp.eye(circuits + 1, driven, dtype=implicit.dtype)
    right = jnp.concatenate([explicit, sources, -response.disturbance], axis=1)
    solved = jnp.linalg.solve(implicit, right)
    n = circuits + 1
    return EvolutionStep(
        response,
        solved[:, :n],
        solved[:, n : n + driven],
        solved[:, n + driven :],
        interval,
        growth,
    )


def _growth(response: Response) -> Float[Array, ""]:
    """Of the fastest mode; NaN while JAX traces, when it cannot be looked at."""
    dtype = response.inductance.dtype
    if not checks.is_concrete((response.inductance, response.resistance)):
        return jnp.full((), jnp.nan, dtype)
    return jnp.asarray(response.rates[0], dtype)
