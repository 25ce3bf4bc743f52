"""A controller of smoke: from what is there and what is wanted to forces, as stream functions.

A force acts on the faces of the cells and is given by its stream function at the nodes: one with a
potential would change the pressure alone.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.networks import UNet
from jaxpbdl.networks.patches import folded, unfolded

STEPS = 16
PATCH = 4
"""Cells of a patch along each axis: the network sees and gives patches."""
REACH = 0.7
"""How far around the smoke the fluid is carried with it, relative to half the box."""
WALL = 0.1
"""Depth over which that fades towards the sides, relative to the box."""

Smoke = Float[Array, "cells cells"]
Velocity = tuple[Smoke, Smoke]
"""In the cells."""
Streams = Float[Array, "steps nodes nodes"]
"""Stream functions of the forces of some steps, at the nodes within the box."""


def forces(streams: Streams) -> tuple[Array, Array]:
    """Their components on the faces, with a first axis of steps: the curl."""
    nodes = jnp.pad(streams, ((0, 0), (1, 1), (1, 1)))
    return jnp.diff(nodes, axis=2), -jnp.diff(nodes, axis=1)


class Controller(eqx.Module):
    """The forces of the next `every` steps from what is there, what is wanted and the time left:
    those that carry the smoke as a whole, and what a network adds to them."""

    network: UNet | None
    every: int = eqx.field(static=True)

    def __call__(self, flow: Velocity, smoke: Smoke, target: Smoke, left: Array) -> Streams:
        """`flow`: the velocity in the cells."""
        cells = len(smoke)
        first = carrying(flow, smoke, target, left)
        streams = jnp.zeros((self.every, *first.shape)).at[0].set(first)
        if self.network is None:
            return streams
        there, wanted = from_centre(smoke), from_centre(target)
        seen = [smoke, target, *map(jnp.arcsinh, flow), *there, *wanted]
        clock = jnp.stack([left / STEPS, self.every / left])
        clock = jnp.broadcast_to(clock[:, None, None], (2, cells // PATCH, cells // PATCH))
        given = jnp.concatenate([folded(jnp.stack(seen), PATCH), clock])
        added = unfolded(self.network(given), PATCH)
        # Bounded: what is too strong comes back as velocity and grows from look to look.
        return streams + cells * jnp.tanh(at_nodes(added) / 6)


def carrying(flow: Velocity, smoke: Smoke, target: Smoke, left: Array) -> Array:
    """The stream function of a force that gives the smoke the mean velocity at which its centre
    would be at the target's in the time left."""
    cells, total = len(smoke), jnp.sum(smoke) + 1e-3
    x, y = from_centre(smoke)
    away = [jnp.sum(target * part) / jnp.sum(target) * cells / 2 for part in (x, y)]
    lacks = [d / left - jnp.sum(smoke * u) / total for d, u in zip(away, flow, strict=True)]
    near = jnp.exp(-(((x**2 + y**2) / REACH**2) ** 2))
    place = np.arange(cells) + 0.5
    wall = np.minimum(np.minimum(place, cells - place) / (WALL * cells), 1)
    stream = (lacks[0] * y - lacks[1] * x) * cells / 2
    return at_nodes((stream * near * wall * wall[:, None])[None])[0]


def at_nodes(values: Float[Array, "steps cells cells"]) -> Streams:
    """Means of the four cells around each node."""
    rows = values[:, 1:] + values[:, :-1]
    return (rows[:, :, 1:] + rows[:, :, :-1]) / 4


def from_centre(smoke: Smoke) -> tuple[Smoke, Smoke]:
    """Where each cell lies from the centre of some smoke, relative to half the box."""
    cells, total = len(smoke), jnp.sum(smoke) + 1e-3
    place = (np.arange(cells) + 0.5) / (cells / 2)
    x = place - jnp.sum(smoke, axis=1) @ place / total
    y = place - jnp.sum(smoke, axis=0) @ place / total
    return jnp.broadcast_to(x[:, None], smoke.shape), jnp.broadcast_to(y, smoke.shape)
