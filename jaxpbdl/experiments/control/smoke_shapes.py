"""Shapes of smoke, and tasks that ask for one shape in the place of another.

The book draws from ten masks of its own, which its text does not describe. These ten are ours: all
of one area, which an incompressible flow keeps, and without holes, which no flow makes or closes.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

AREA = 0.09
"""Of a shape, relative to the box."""
MARGIN = 1
"""Cells between a shape and the sides, at least."""


class Library(NamedTuple):
    """Masks in the middle of the box, and how far each may be moved along each axis."""

    masks: Bool[np.ndarray, "shapes cells cells"]
    lowest: np.ndarray
    highest: np.ndarray


def _within(x: np.ndarray, y: np.ndarray, left: float, right: float, low: float, high: float):
    return (x >= left) & (x <= right) & (y >= low) & (y <= high)


SHAPES = {
    "disc": lambda x, y: x**2 + y**2 <= 1,
    "square": lambda x, y: _within(x, y, -1, 1, -1, 1),
    "bar": lambda x, y: _within(x, y, -1.7, 1.7, -0.6, 0.6),
    "diamond": lambda x, y: np.abs(x) + np.abs(y) <= 1,
    "triangle": lambda x, y: (y >= -0.7) & (y <= 1.1 - 1.7 * np.abs(x)),
    "cross": lambda x, y: _within(x, y, -0.4, 0.4, -1, 1) | _within(x, y, -1, 1, -0.4, 0.4),
    "L": lambda x, y: _within(x, y, -0.8, 0, -1, 1) | _within(x, y, -0.8, 0.8, -1, -0.3),
    "T": lambda x, y: _within(x, y, -0.4, 0.4, -1, 1) | _within(x, y, -1, 1, 0.3, 1),
    "U": lambda x, y: _within(x, y, -1, 1, -1, 1) & ~_within(x, y, -0.35, 0.35, -0.2, 1),
    "arrow": lambda x, y: (
        _within(x, y, -1.2, 0, -0.35, 0.35) | ((x >= 0) & (np.abs(y) <= 1 - 0.9 * x))
    ),
}
"""Each with a size of its own, which `library` makes one area."""


@cache
def library(cells: int) -> Library:
    """On a grid of cells x cells; each shape with the number of cells nearest to its area."""
    middle = np.arange(cells) + 0.5 - cells / 2
    # Of an irregular start: else whole rows of a square would come in at once, never the area.
    x, y = np.meshgrid(middle + 0.13, middle + 0.29, indexing="ij")
    sizes = cells * np.linspace(0.1, 0.35, 300)
    masks, lowest, highest = [], [], []
    for inside in SHAPES.values():
        tried = [inside(x / size, y / size) for size in sizes]
        away = [abs(np.sum(mask) - AREA * cells**2) for mask in tried]
        mask = tried[int(np.argmin(away))]
        taken = np.argwhere(mask)
        masks.append(mask)
        lowest.append(MARGIN - taken.min(0))
        highest.append(cells - 1 - MARGIN - taken.max(0))
    return Library(np.stack(masks), np.stack(lowest), np.stack(highest))


def tasks(
    key: PRNGKeyArray, count: int, cells: int
) -> tuple[Float[Array, "count cells cells"], Float[Array, "count cells cells"]]:
    """Smoke at the start and as it is wanted: two shapes, each in a place of its own."""
    masks, lowest, highest = (jnp.asarray(part) for part in library(cells))

    def one(key: PRNGKeyArray) -> Float[Array, "cells cells"]:
        which, where = jax.random.split(key)
        shape = jax.random.randint(which, (), 0, len(SHAPES))
        shift = jax.random.randint(where, (2,), lowest[shape], highest[shape] + 1)
        return jnp.roll(masks[shape], shift, (0, 1)).astype(float)

    start, target = jax.random.split(key)
    draw = jax.vmap(one)
    return draw(jax.random.split(start, count)), draw(jax.random.split(target, count))
