"""Flows about the airfoils of a published collection, by the toolkit's incompressible solver.

A box of 4 by 2.5 chords, a uniform stream of speed one along x, slip along it. The airfoil is
turned nose up by the angle of attack. A flow starts at once, settles for two thirds of the
duration, and the rest is averaged. One file holds the training, validation and test flows.

Many airfoils of the collection are variants of one another, so that a split by name would test on
outlines that training has all but seen. The parts are therefore split by outline: none lies within
`separation` chords (`data.airfoils.distances`) of one in another part. Half the collection lies
within 0.02 chords of any of its typical members, so the test and the validation part are drawn as
groups of near outlines: single ones would leave too few for training.

A trailing edge is thinner than any cell. About a cusp one the central scheme left the finite
numbers at 24 cells a chord, so the momentum is carried by the limited one, and the body is the
airfoil with a skin of half a cell, a cell thick where it is thinnest: these are flows of this grid,
and lift and drag depend on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxpbdl as jp
from jaxpbdl import checks
from jaxpbdl.data import find, hdf5
from jaxpbdl.data.airfoils import distances, read_airfoils, shape_of, thickness
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.grids.cells import Cells
from jaxpbdl.shapes import Outline, Shape, turned
from jaxpbdl.solvers.flow import (
    Flow,
    IncompressibleStep,
    force_on_body,
    incompressible,
    inflow,
    limited,
    outflow,
    slip,
    stable_dt,
)

LENGTHS, CENTRE = (4.0, 2.5), (1.3, 1.25)
"""Of the box, in chords, and the place of the middle of the chord."""
THICKEST = 0.3
"""What is thicker is no airfoil but a strut, in a narrow box."""
SNAPSHOTS = 24
"""Looks at a flow at even times; the mean is over the last third."""
PARTS = ("train", "validation", "test")
GROUP = 4
"""Near outlines that are drawn together for the validation and the test part."""
DRAWS = 10
"""Of the parts, before they are given up."""


class Thickened(eqx.Module):
    """An outline with a skin."""

    outline: Outline
    skin: float = eqx.field(static=True)

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        return self.outline(point) - self.skin


@dataclass(frozen=True)
class Setting:
    """How flows are drawn and computed; lengths in chords, times in chords over the speed."""

    cells: tuple[int, int]
    reynolds: tuple[float, float]
    """Range of the Reynolds number of the chord."""
    angles: tuple[float, float]
    """Range of the angle of attack, in degrees."""
    duration: float
    counts: tuple[int, int, int]
    """Training, validation and test flows."""
    separation: float
    """The smallest distance between outlines of different sets, in chords."""

    @cached_property
    def grid(self) -> Cells:
        return Cells(self.cells, LENGTHS)

    @property
    def widths(self) -> tuple[float, float]:
        wide, high = (side / n for side, n in zip(LENGTHS, self.cells, strict=True))
        return wide, high

    @property
    def thinnest(self) -> float:
        """Thickness of two cells."""
        return 2 * max(self.widths)

    @property
    def dt(self) -> float:
        """Stable up to speeds of 1.7 along the stream and 1.3 across it."""
        return float(0.85 * stable_dt((1.7, 1.3), self.widths, 1 / self.reynolds[0]))

    @property
    def max_cut_faces(self) -> int:
        """For the faces that a body cuts whose outline is 2.5 chords long at most."""
        return round(2.5 * 3.0 / min(self.widths))

    def body(self, corners: Array, angle: Array) -> Thickened:
        """The airfoil in the box, nose up by `angle` degrees."""
        about = jnp.asarray(corners) - jnp.asarray([0.5, 0.0])
        down = -jnp.deg2rad(angle)
        placed = jax.vmap(lambda point: turned(point, down))(about) + jnp.asarray(CENTRE)
        return Thickened(Outline(placed), max(self.widths) / 2)

    def step(self, body: Shape, reynolds: Array) -> IncompressibleStep:
        sides = ((inflow((1.0, 0.0)), outflow()), slip())
        return incompressible(
            IncompressibleFlow(1 / reynolds),
            self.grid,
            self.dt,
            sides,
            body=body,
            max_cut_faces=self.max_cut_faces,
            interpolation=limited,
        )


@dataclass(frozen=True)
class Flows:
    """Of one part: mean pressure and velocity in the cells, zero within the body, and about what.

    `distance` is the signed one of the cells' centres; `shape` is the outline as `shape_of` gives
    it, the same at all angles; `forces` are the mean drag and lift
    coefficients by `force_on_body`; `unsteadiness` is the deviation in time of the lift
    coefficient.
    """

    fields: Float[np.ndarray, "n 3 nx ny"]
    distance: Float[np.ndarray, "n nx ny"]
    shape: Float[np.ndarray, "n 2 stations"]
    reynolds: Float[np.ndarray, " n"]
    angle: Float[np.ndarray, " n"]
    forces: Float[np.ndarray, "n 2"]
    unsteadiness: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def fluid(self) -> Float[np.ndarray, "n nx ny"]:
        """1 in cells whose centre is in the fluid, 0 in the others."""
        return (self.distance > 0).astype(np.float32)


@eqx.filter_jit
def simulate(
    setting: Setting, corners: Array, reynolds: Array, angle: Array
) -> tuple[Array, Array, Array, Array]:
    """`(fields, distance, forces, unsteadiness)` of one flow; see `Flows`. One program for all."""
    shape = setting.body(corners, angle)
    step = setting.step(shape, reynolds)
    every = max(1, round(setting.duration / setting.dt / SNAPSHOTS))

    def seen(flow: Flow) -> tuple[Array, Array]:
        inside = jnp.concatenate([step.pressure(flow)[None], setting.grid.to_cells(flow.velocity)])
        return inside, 2 * force_on_body(step, flow)

    start = step.start((1.0, 0.0))
    snapshots, forces = jp.rollout(
        step, start, SNAPSHOTS * every, every, observe=seen, checkpoint=False
    )
    late = -(SNAPSHOTS // 3)
    distance = setting.grid.scalar(shape)
    mean = jnp.where(distance > 0, jnp.mean(snapshots[late:], axis=0), 0.0)
    forces = forces[late:]
    return mean, distance, jnp.mean(forces, axis=0), jnp.std(forces[:, 1])


def read_or_make(path: Path, airfoils: Path | None, setting: Setting) -> dict[str, Flows]:
    """The flows of the file, which is written if it is not there, from the zip `airfoils` or the
    one in the data folder; the same whatever the seed of the training.

    Raises `checks.DataError` for a damaged file or one of another setting.
    """
    if not path.exists():
        make(path, read_airfoils(find("airfoils", given=airfoils)), setting)
    with hdf5.opened(path) as file:
        for name, value in _attributes(setting).items():
            found = np.asarray(hdf5.attribute(file, name, ()))
            if not np.array_equal(found, value):
                raise ValueError(
                    f"its flows have {name} = {found.tolist()}, the settings say {value}; "
                    "give another file"
                )
        return {part: _read(hdf5.group(file, part)) for part in PARTS}


def _read(part: h5py.Group) -> Flows:
    named = {item.name: hdf5.complete(part, item.name)[()] for item in fields(Flows)}
    for name, values in named.items():
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{part.name}/{name} is not finite")
    return Flows(**named)


def parted(shapes: Mapping[str, np.ndarray], setting: Setting) -> dict[str, list[str]]:
    """Names of the airfoils of each part, none within `separation` of one in another part.

    Groups of near outlines are drawn for the test part, then for the validation part, then single
    ones from what is far enough from both for training. The draw is repeated until enough is left;
    it knows nothing of the flows.

    Raises `checks.DataError` where the collection does not hold enough.
    """
    names, values = list(shapes), np.stack(list(shapes.values()))
    training, validation, test = setting.counts
    largest = 0
    for draw in range(DRAWS):
        generator = np.random.default_rng(draw)
        free = np.ones(len(names), bool)
        held_out = {}
        for part, count in (("test", test), ("validation", validation)):
            chosen = _groups(values, free, count, setting.separation, generator)
            for each in chosen:
                free &= distances(values[each], values) > setting.separation
            held_out[part] = chosen
        left = generator.permutation(np.flatnonzero(free))
        if len(held_out["test"]) == test and len(held_out["validation"]) == validation:
            largest = max(largest, len(left))
            if len(left) >= training:
                chosen = {"train": left[:training].tolist(), **held_out}
                return {part: [names[each] for each in chosen[part]] for part in PARTS}
    raise checks.DataError(
        f"of {len(names)} airfoils, at most {largest} lie more than separation = "
        f"{setting.separation} chords from {test} test and {validation} validation ones in {DRAWS} "
        f"draws, training needs {training}: take fewer flows or a smaller separation"
    )


def _groups(
    values: np.ndarray,
    free: np.ndarray,
    count: int,
    separation: float,
    generator: np.random.Generator,
) -> list[int]:
    """Places of `count` outlines, or of all free ones if there are fewer."""
    chosen: list[int] = []
    for centre in generator.permutation(np.flatnonzero(free)).tolist():
        if len(chosen) == count:
            break
        if centre not in chosen:
            apart = np.where(free, distances(values[centre], values), np.inf)
            apart[chosen] = np.inf
            group = np.argsort(apart, kind="stable")[: min(GROUP, count - len(chosen))]
            chosen += group[apart[group] <= separation].tolist()
    return chosen


def make(path: Path, airfoils: Mapping[str, np.ndarray], setting: Setting) -> None:
    """Draw airfoils, Reynolds numbers and angles, compute the flows, write the file.

    Raises `checks.DataError` where too few airfoils are thick enough for the grid or far enough
    from one another, and
    `checks.BlowUp` naming the flow that left the finite numbers.
    """
    thick = {name: thickness(corners) for name, corners in airfoils.items()}
    usable = [name for name, t in thick.items() if setting.thinnest <= t <= THICKEST]
    needed = sum(setting.counts)
    if len(usable) < needed:
        raise checks.DataError(
            f"{needed} airfoils are needed, one a flow; of {len(airfoils)} given, {len(usable)} "
            f"are between two cells ({setting.thinnest:.3g} chords) and {THICKEST} chords thick: "
            "take fewer flows or more cells"
        )
    shapes = {name: shape_of(airfoils[name]) for name in usable}
    parts = parted(shapes, setting)
    names = [name for part in PARTS for name in parts[part]]
    generator = np.random.default_rng(0)
    reynolds = generator.uniform(*setting.reynolds, needed).astype(np.float32)
    angles = generator.uniform(*setting.angles, needed).astype(np.float32)
    print(f"computing {needed} flows about airfoils", flush=True)
    flows = []
    for name, *given in zip(names, reynolds, angles, strict=True):
        corners = jnp.asarray(airfoils[name], jnp.float32)
        flow = [np.asarray(part) for part in simulate(setting, corners, *map(jnp.asarray, given))]
        if not all(np.isfinite(part).all() for part in flow):
            raise checks.BlowUp(
                f"the flow about {name} at Reynolds number {given[0]:g}, {given[1]:g} degrees, "
                "left the finite numbers; more cells are the first thing to try"
            )
        flows.append(flow)
    kinds = ("fields", "distance", "forces", "unsteadiness")
    stacked = (np.stack(each) for each in zip(*flows, strict=True))
    values = dict(zip(kinds, stacked, strict=True))
    outlines = np.stack([shapes[name] for name in names])
    values |= {"shape": outlines, "reynolds": reynolds, "angle": angles}
    with hdf5.created(path) as file:
        file.attrs.update(_attributes(setting))
        ends = np.cumsum([0, *setting.counts])
        for part, start, stop in zip(PARTS, ends, ends[1:], strict=False):
            group = file.create_group(part)
            group.attrs["airfoils"] = hdf5.fixed(names[start:stop])
            for kind, each in values.items():
                _write(group, kind, each[start:stop].astype(np.float32))


def _write(group: h5py.Group, name: str, values: np.ndarray) -> None:
    if values.ndim < 3:
        hdf5.write(group, name, values)
    else:
        hdf5.reserve(group, name, values.shape, values.dtype)[...] = values


def _attributes(setting: Setting) -> dict[str, list[float]]:
    return {
        item.name: np.atleast_1d(getattr(setting, item.name)).tolist() for item in fields(setting)
    }
