"""What the endpoints of `tesseract_api` compute, without the packages that serve them.

Incompressible flow in a periodic box from velocity to velocity, pseudo-spectral and free of
aliasing, ETDRK4 in time: vorticity in two dimensions, velocity in three. A mean flow carries the
vorticity along, so in two dimensions it is taken off, and what is left is shifted by the way that
it went.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from math import tau
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import jaxpbdl as jp
from jaxpbdl.equations.navier_stokes import velocity_modes
from jaxpbdl.grids.spectrum import Spectrum

Inputs: TypeAlias = Mapping[str, ArrayLike]
"""`v0` (nx, ny, 1, 2) or (nx, ny, nz, 3), `viscosity` and `dt` of one value each, the number of
`steps`, and the side of the box, `domain_extent`. What else there is of them has no effect."""

DIFFERENTIABLE = ("v0", "viscosity", "dt")


def velocity_after(
    velocity: Float[Array, "dim *points"],
    viscosity: Float[ArrayLike, ""],
    dt: Float[ArrayLike, ""],
    steps: int,
    extent: float = tau,
    checkpoint: bool = True,
) -> Float[Array, "dim *points"]:
    """The velocity after `steps` steps in a box of side `extent`; `checkpoint` as of `repeat`."""
    grid = jp.grids.Periodic(velocity.shape[1:], extent, dtype=velocity.dtype)
    if len(velocity) == 3:
        step = jp.solvers.spectral.semilinear(jp.equations.NavierStokes3D(viscosity), grid, dt)
        return jp.repeat(step, steps, checkpoint=checkpoint)(velocity)
    step = jp.solvers.spectral.semilinear(jp.equations.NavierStokes2D(viscosity), grid, dt)
    spectrum = Spectrum(grid)
    u, v = spectrum.transform(velocity)
    curl = spectrum.to_grid(spectrum.derivative(v, 0) - spectrum.derivative(u, 1))
    curl = jp.repeat(step, steps, checkpoint=checkpoint)(curl)
    mean = jnp.mean(velocity, axis=(1, 2))
    angle = sum(k * speed for k, speed in zip(spectrum.k, mean, strict=True)) * (dt * steps)
    modes = velocity_modes(spectrum.transform(curl), spectrum) * jnp.exp(-1j * angle)
    return spectrum.to_grid(modes) + mean[:, None, None]


@partial(jax.jit, static_argnames=("steps", "extent"))
def _result(given: dict[str, Array], steps: int, extent: float) -> Array:
    start = given["v0"]
    flat = start[:, :, 0] if start.shape[-1] == 2 else start
    numbers = (given[name].reshape(()) for name in ("viscosity", "dt"))
    after = velocity_after(jnp.moveaxis(flat, -1, 0), *numbers, steps=steps, extent=extent)
    return jnp.moveaxis(after, 0, -1).reshape(start.shape)


@partial(jax.jit, static_argnames=("steps", "extent"))
def _pulled(
    wanted: dict[str, Array], rest: dict[str, Array], cotangent: Array, steps: int, extent: float
) -> dict[str, Array]:
    _, pull = jax.vjp(lambda some: _result({**rest, **some}, steps, extent), wanted)
    return pull(cotangent)[0]


def evaluate(inputs: Inputs) -> dict[str, Array]:
    """`result`, the velocity after the steps, of the shape of `v0`."""
    return {"result": _result(*_given(inputs))}


def pullback(
    inputs: Inputs, wanted: Iterable[str], cotangents: Mapping[str, ArrayLike]
) -> dict[str, Array]:
    """The products of the cotangent of `result` with the derivatives by the inputs `wanted`, of
    their shapes: zero by those that the flow in a periodic box does not depend on."""
    given, steps, extent = _given(inputs)
    names = set(wanted)
    some = {name: value for name, value in given.items() if name in names}
    rest = {name: value for name, value in given.items() if name not in names}
    cotangent = jnp.asarray(cotangents.get("result", 0.0), given["v0"].dtype)
    pulled = _pulled(some, rest, jnp.broadcast_to(cotangent, given["v0"].shape), steps, extent)
    others = names - set(DIFFERENTIABLE)
    return pulled | {name: jnp.zeros_like(jnp.asarray(inputs[name])) for name in others}


def _given(inputs: Inputs) -> tuple[dict[str, Array], int, float]:
    """The arrays that gradients reach, the number of steps and the side of the box."""
    arrays = {name: jnp.asarray(inputs[name], jnp.float32) for name in DIFFERENTIABLE}
    steps, extent = (np.asarray(inputs[name]).item() for name in ("steps", "domain_extent"))
    return arrays, int(steps), float(extent)
