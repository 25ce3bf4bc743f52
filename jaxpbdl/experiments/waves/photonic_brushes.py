"""Designs that a brush can paint: the smallest width of what is solid and of what is not.

A brush is a disc of pixels. Where a design has the width of a brush, each solid pixel is under a
touch of it that covers solid ones alone, and the same for the void (an opening changes neither); so
both can be painted, as in M. F. Schubert, A. K. C. Cheung, I. A. D. Williamson, A. Spyra and D. H.
Alexander, ACS Photonics 9 (2022) 2327. Here, too, an image is turned into such a design by touches:
first those that the image has, then one by one those that agree best with it, none of them such
that some pixel could no longer be painted.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


def disc(width: int) -> Bool[np.ndarray, "width width"]:
    """The brush of a width in pixels, as the package imageruler has it (D. Chen et al., J. Opt.
    Soc. Am. B 41 (2024) A161): the pixels whose centres are within the circle, without those that a
    cross of three could not paint."""
    x = np.arange(width) - (width - 1) / 2
    inside = x[:, None] ** 2 + x**2 < (width / 2) ** 2
    if width < 3:
        return inside
    cross = np.asarray([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    return painted(touches(inside, cross), cross)


def touches(there: Bool[np.ndarray, "nx ny"], brush: Bool[np.ndarray, "w w"]) -> np.ndarray:
    """Where the corner of the brush may be, so that all of it is there."""
    w = len(brush)
    shape = there.shape[0] - w + 1, there.shape[1] - w + 1
    found = np.ones(shape, bool)
    for i, j in np.argwhere(brush):
        found &= there[i : i + shape[0], j : j + shape[1]]
    return found


def painted(corners: Bool[np.ndarray, "x y"], brush: Bool[np.ndarray, "w w"]) -> np.ndarray:
    """The pixels under the touches at these corners."""
    w = len(brush)
    found = np.zeros((corners.shape[0] + w - 1, corners.shape[1] + w - 1), bool)
    for i, j in np.argwhere(brush):
        found[i : i + corners.shape[0], j : j + corners.shape[1]] |= corners
    return found


def too_narrow(
    solid: Bool[np.ndarray, "x y"], around: Bool[np.ndarray, "nx ny"], width: int
) -> Bool[np.ndarray, "x y"]:
    """The pixels of a design that a brush of this width cannot paint, solid or void. `around` is
    what lies about it, as wide on all sides and at least as wide as the brush."""
    inner = _inner(solid, around)
    whole, brush = around.copy(), disc(width)
    whole[inner] = solid
    kept = [painted(touches(one, brush), brush) for one in (whole, ~whole)]
    return ~np.where(whole, *kept)[inner]


class Widths(NamedTuple):
    """Of the largest brushes, in pixels, that paint the solid and the void of a design."""

    solid: int
    void: int


def widths(solid: Bool[np.ndarray, "x y"], around: Bool[np.ndarray, "nx ny"]) -> Widths:
    """Of a design with what lies `around` it, as wide on all sides; no brush is tried that is wider
    than that. Stricter than imageruler, which forgives single pixels at edges and beyond the
    border takes all that it likes."""
    reach = (around.shape[0] - solid.shape[0]) // 2
    found = [1, 1]
    for width in range(2, reach + 1):
        wrong = too_narrow(solid, around, width)
        for phase, here in enumerate((solid, ~solid)):
            if not (wrong & here).any():
                found[phase] = width
    return Widths(*found)


def paintable(
    image: Float[np.ndarray, "x y"],
    fixed: Float[np.ndarray, "x y"],
    around: Bool[np.ndarray, "nx ny"],
    width: int,
    mirrors: Sequence[Callable[[np.ndarray], np.ndarray]] = (),
) -> Bool[np.ndarray, "x y"]:
    """A design near to an image that a brush can paint, solid and void.

    **Arguments:**

    - `image`: positive where a pixel should rather be solid; as symmetric as `mirrors` have it.
    - `fixed`: 1 and 0 of pixels that stay, NaN elsewhere.
    - `around`: as in `too_narrow`.
    - `width`: of the brush in pixels.
    - `mirrors`: symmetries of the design; what lies around it need not have them.

    **Returns** the solid pixels.

    **Raises** ValueError if touches lead to none, as for fixed pixels that the brush cannot paint.
    """
    from scipy import ndimage  # waits for its first use

    inner = _inner(image, around)
    brush = disc(width)
    want = np.where(around, 1.0, -1.0)
    want[inner] = np.where(np.isnan(fixed), image, np.where(fixed > 0.5, 1.0, -1.0))
    given = np.ones(around.shape, bool)
    given[inner] = ~np.isnan(fixed)
    left = np.zeros(around.shape, bool)
    for reach in (1, 1, 2, 2, 3, 3, 4, 4, max(around.shape)):
        # The touches that the image has, but for those near a dead end of the last try.
        sure = [given & (want > 0), given & (want < 0)]
        for phase, sign in enumerate((1, -1)):
            first = painted(touches(((sign * want > 0) & ~left) | sure[phase], brush), brush)
            sure[phase] |= _mirrored(first, inner, mirrors) & ~given
        found, dead = _finished(sure, want, brush, inner, mirrors)
        if found is not None:
            return found[inner]
        away = ndimage.distance_transform_cdt(~_mirrored(dead, inner, mirrors), "chessboard")
        left |= np.asarray(away) <= reach * width
    raise ValueError(f"the brush of {width} pixels paints no design near to this image")


def touched_designs(
    solid: Bool[np.ndarray, "x y"],
    slope: Float[np.ndarray, "x y"],
    fixed: Float[np.ndarray, "x y"],
    around: Bool[np.ndarray, "nx ny"],
    width: int,
    mirrors: Sequence[Callable[[np.ndarray], np.ndarray]],
    rng: np.random.Generator,
    count: int,
) -> list[Bool[np.ndarray, "x y"]]:
    """Painted designs one touch away from one, with what else that takes.

    **Arguments:**

    - `slope`: of a loss to the pixels; the touches are chosen at random among those that should
      lower it, and the designs are sorted by what it should become.
    - `count`: of touches; there may be fewer designs.
    - the rest as in `paintable`.
    """
    inner, brush = _inner(solid, around), disc(width)
    whole, gradient = around.copy(), np.zeros(around.shape)
    whole[inner], gradient[inner] = solid, np.where(np.isnan(fixed), slope, 0.0)
    change = np.stack([_under(gradient * ~whole, brush), _under(-gradient * whole, brush)])
    falls = np.maximum(-change, 0.0).ravel()
    if not falls.any():
        return []
    tried = min(count, int(np.count_nonzero(falls)))
    found: dict[bytes, tuple[float, np.ndarray]] = {}
    for number in rng.choice(falls.size, tried, replace=False, p=falls / falls.sum()):
        phase, *corner = np.unravel_index(number, change.shape)
        one = np.zeros(change.shape[1:], bool)
        one[tuple(corner)] = True
        touch = _mirrored(painted(one, brush), inner, mirrors)[inner]
        image = np.where(touch, 3.0 if phase == 0 else -3.0, np.where(solid, 1.0, -1.0))
        try:
            other = paintable(image, fixed, around, width, mirrors)
        except ValueError:  # no way to paint this one
            continue
        difference = float(np.sum(slope * (other.astype(float) - solid)))
        if (other != solid).any():
            found[other.tobytes()] = difference, other
    return [other for _, other in sorted(found.values(), key=lambda pair: pair[0])]


def _finished(
    assigned: list[np.ndarray],
    want: np.ndarray,
    brush: np.ndarray,
    inner: tuple[slice, slice],
    mirrors: Sequence[Callable[[np.ndarray], np.ndarray]],
) -> tuple[np.ndarray | None, np.ndarray]:
    """All pixels, from the solid and void ones that are assigned; None for a dead end, and where
    that is."""
    area = np.zeros(want.shape, bool)
    area[inner] = True
    weight = [want, -want]
    banned = [np.zeros(np.subtract(want.shape, len(brush) - 1), bool) for _ in range(2)]
    while True:
        free = area & ~assigned[0] & ~assigned[1]
        may = [touches(~assigned[1 - phase], brush) for phase in (0, 1)]
        over = [painted(one, brush) for one in may]
        lost = [area & assigned[phase] & ~over[phase] for phase in (0, 1)]
        if lost[0].any() or lost[1].any():
            return None, lost[0] | lost[1]
        done = [painted(touches(assigned[phase], brush), brush) for phase in (0, 1)]
        # Pixels that must still be under a touch of one phase: those assigned without one, and
        # those that no touch of the other reaches.
        due = [
            area & ((assigned[phase] & ~done[phase]) | (free & ~over[1 - phase]))
            for phase in (0, 1)
        ]
        if not free.any() and not due[0].any() and not due[1].any():
            return assigned[0], area
        urgent = due[0].any() or due[1].any()
        best, where = -np.inf, None
        for phase in (0, 1):
            goal = due[phase] if urgent else free
            if not goal.any():
                continue
            candidates = may[phase] & ~banned[phase] & (_under(goal, brush) > 0)
            gain = _under(free * weight[phase], brush) / np.maximum(_under(free, brush), 1)
            gain = np.where(candidates, gain, -np.inf)
            at = np.unravel_index(np.argmax(gain), gain.shape)
            if gain[at] > best:
                best, where = gain[at], (phase, at)
        if where is None:
            return None, due[0] | due[1] if urgent else free
        phase, at = where
        one = np.zeros_like(banned[phase])
        one[at] = True
        new = assigned[phase] | (_mirrored(painted(one, brush), inner, mirrors) & area)
        if (new & assigned[1 - phase]).any() or _dead(new, assigned[1 - phase], area, brush):
            banned[phase][at] = True
            continue
        assigned = [new, assigned[1]] if phase == 0 else [assigned[0], new]


def _dead(one: np.ndarray, other: np.ndarray, area: np.ndarray, brush: np.ndarray) -> bool:
    """Whether some pixel could no longer be painted."""
    over_one = painted(touches(~other, brush), brush)
    over_other = painted(touches(~one, brush), brush)
    lost = (one & ~over_one) | (other & ~over_other) | ~(over_one | over_other)
    return bool((lost & area).any())


def _under(values: np.ndarray, brush: np.ndarray) -> np.ndarray:
    """The sum of what is under each touch."""
    w = len(brush)
    shape = values.shape[0] - w + 1, values.shape[1] - w + 1
    return np.sum(
        [values[i : i + shape[0], j : j + shape[1]] for i, j in np.argwhere(brush)],
        axis=0, dtype=float,
    )  # fmt: skip


def _mirrored(
    there: np.ndarray,
    inner: tuple[slice, slice],
    mirrors: Sequence[Callable[[np.ndarray], np.ndarray]],
) -> np.ndarray:
    """With the images of its pixels in the design."""
    found = there.copy()
    for mirror in mirrors:
        found[inner] |= mirror(found[inner].copy())
    return found


def _inner(design: np.ndarray, around: np.ndarray) -> tuple[slice, slice]:
    reach = (around.shape[0] - design.shape[0]) // 2
    x, y = (slice(reach, reach + n) for n in design.shape)
    return x, y
