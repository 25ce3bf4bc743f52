"""Designs that a brush can paint, solid and void."""

import numpy as np
import pytest
from scipy import ndimage

from jaxpbdl.experiments.waves.photonic_brushes import (
    Widths,
    disc,
    paintable,
    too_narrow,
    touched_designs,
    widths,
)


def around(reach, shape=(40, 40)):
    """Void, with a guide of ten pixels from the left."""
    found = np.zeros([n + 2 * reach for n in shape], bool)
    found[:reach, reach + 15 : reach + 25] = True
    return found


def border(shape=(40, 40)):
    fixed = np.full(shape, np.nan)
    fixed[0], fixed[-1], fixed[:, 0], fixed[:, -1] = 0.0, 0.0, 0.0, 0.0
    fixed[0, 15:25] = 1.0
    return fixed


def test_brushes():
    """As imageruler 0.3 has them."""
    assert disc(1).all() and disc(2).all()
    np.testing.assert_array_equal(disc(3), [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    np.testing.assert_array_equal(disc(4)[:2], [[0, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(disc(8).sum(axis=0), [4, 6, 8, 8, 8, 8, 6, 4])


def test_widths():
    """Of bars and of the gaps between them, that go on beyond the border; so does the guide."""
    for width in (3, 4, 7):
        whole = np.zeros((64, 64), bool)
        whole[22 : 22 + width] = True
        whole[32:] = True
        for image in (whole, whole.T):
            assert widths(image[12:52, 12:52], image) == Widths(width, 10 - width)
    solid = np.zeros((40, 40), bool)
    solid[:20, 15:25] = True
    assert widths(solid, around(12)) == Widths(2, 12)  # discs leave its corners
    solid[19, [15, 24]] = False
    assert widths(solid, around(12)) == Widths(6, 12)
    solid[:19, 25] = True  # a step at the border
    wrong = too_narrow(solid, around(12), 3)
    np.testing.assert_array_equal(np.argwhere(wrong & solid), [[18, 25]])
    solid[22, 30] = True
    assert widths(solid, around(12)).solid == 1 and too_narrow(solid, around(12), 2)[22, 30]


@pytest.mark.parametrize("width", (3, 5))
def test_what_is_painted(width):
    """Any image becomes a design of the width, solid and void, with the border as it is and the
    symmetry of the image; one of that width stays, and the nearest is near."""
    mirror = lambda image: image[:, ::-1]  # noqa: E731
    rng = np.random.default_rng(width)
    for number in range(3):
        rough = ndimage.gaussian_filter(rng.normal(size=(40, 40)), width / 2)
        image = rough + mirror(rough)
        solid = paintable(image, border(), around(width), width, (mirror,))
        assert not too_narrow(solid, around(width), width).any()
        np.testing.assert_array_equal(solid, mirror(solid))
        given = ~np.isnan(border())
        np.testing.assert_array_equal(solid[given], border()[given])
        inner = solid[1:-1, 1:-1] == (image > 0)[1:-1, 1:-1]
        assert inner.mean() > 0.85
        again = np.where(solid, 0.2, -0.3)
        np.testing.assert_array_equal(
            paintable(again, border(), around(width), width, (mirror,)), solid
        )
        again[20, 20] = -again[20, 20]  # one pixel is mended, not spread
        again[20, 19] = again[20, 20]
        near = paintable(again, border(), around(width), width, (mirror,))
        assert (near != solid).sum() <= 2 * width**2
        if number == 0:
            slope = rng.normal(size=(40, 40))
            slope += mirror(slope)
            others = touched_designs(
                solid, slope, border(), around(width), width, (mirror,), rng, 12
            )
            changes = [np.sum(slope * (other * 1.0 - solid)) for other in others]
            assert len(others) > 4 and changes == sorted(changes) and changes[0] < 0
            for other in others:
                assert not too_narrow(other, around(width), width).any()
                np.testing.assert_array_equal(other, mirror(other))
                assert (other != solid).any()


def test_refused():
    fixed = np.full((20, 20), np.nan)
    fixed[9:12, 9:12] = 0.0
    fixed[10, 10] = 1.0
    with pytest.raises(ValueError, match="the brush of 3 pixels paints no design near"):
        paintable(np.ones((20, 20)), fixed, around(3, (20, 20)), 3)
