"""Mosaic's drag task: the inflow that a cylinder resists least.

A unit square with walls above and below, a cylinder of radius 0.05 in its middle at the Reynolds
number 20, 32 velocities at the inlet, which Adam changes to lower

    |drag| + 50 (mean - 0.5)^2,   drag the mean over the last half of 200 steps from uniform flow.

Mosaic gives the box as periodic along the stream with the inlet imposed; here fluid leaves through
an open side. Its drag is a sum over the cells next to the body, another one in each solver; ours is
the rate at which the body takes momentum up, over density.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

import jaxpbdl as jp
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.flow import (
    IncompressibleStep,
    force_on_body,
    incompressible,
    inflow,
    outflow,
    wall,
)

SPEED, VISCOSITY, DT = 0.5, 0.0025, 0.02
FASTEST = 1.5
CYLINDER = Ball((0.5, 0.5), 0.05)
PUBLISHED = {"PhiFlow": -7.1e-4, "PICT": -1.8e-2, "XLB": -4.8e-2}
"""Drag at the end, as a force on the fluid; not comparable among each other, nor with ours."""


class Loss(NamedTuple):
    """What is lowered, and the drag in it."""

    value: Array
    drag: Array


def channel(inlet: Array) -> IncompressibleStep:
    """The step of the flow that enters with so many velocities from the lower to the upper wall."""
    points = len(inlet)
    grid = jp.grids.Cells((points, points), 1.0)
    heights = jnp.asarray(grid.centres[1], inlet.dtype)

    def entering(point: Array) -> Array:
        return jnp.stack([jnp.interp(point[1], heights, inlet), jnp.zeros((), inlet.dtype)])

    sides = ((inflow(entering), outflow()), wall())
    return incompressible(IncompressibleFlow(VISCOSITY), grid, DT, sides, body=CYLINDER)


def loss_of(inlet: Array, steps: int = 200) -> Loss:
    """Of the velocities at the inlet."""
    step = channel(inlet)
    half = steps // 2
    developed = jp.repeat(step, steps - half)(step.start((SPEED, 0.0)))
    drags = jp.rollout(step, developed, half, observe=lambda flow: force_on_body(step, flow)[0])
    drag = jnp.mean(drags[1:])
    return Loss(jnp.abs(drag) + 50 * (jnp.mean(inlet) - SPEED) ** 2, drag)


class Found(NamedTuple):
    """The best inlet, its loss, that of uniform flow, and the iterations that were made."""

    inlet: Array
    best: Loss
    first: Loss
    iterations: int


def lowered(points: int = 32, steps: int = 200, iterations: int = 250, patience: int = 50) -> Found:
    """By Adam, until the loss has not fallen for `patience` iterations."""
    optimiser = optax.adam(5e-4)

    @jax.jit
    def update(inlet: Array, state: optax.OptState) -> tuple[Loss, Array, optax.OptState]:
        def value(inlet: Array) -> tuple[Array, Array]:
            return tuple(loss_of(inlet, steps))

        (loss, drag), gradient = jax.value_and_grad(value, has_aux=True)(inlet)
        change, state = optimiser.update(gradient, state, inlet)
        return Loss(loss, drag), jnp.clip(inlet + change, 0.0, FASTEST), state

    inlet = jnp.full(points, SPEED)
    state = optimiser.init(inlet)
    first: Loss | None = None
    best, at, since, made = None, inlet, 0, 0
    while made < iterations and since < patience:
        loss, after, state = update(inlet, state)
        first = loss if first is None else first
        since += 1
        if best is None or loss.value < best.value:
            best, at, since = loss, inlet, 0
        inlet, made = after, made + 1
    assert best is not None and first is not None
    return Found(at, best, first, made)
