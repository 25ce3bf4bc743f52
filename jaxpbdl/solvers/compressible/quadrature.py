"""Between means over the faces of cells and values in the middle of the faces.

    value = mean - d^2/24 mean + 3/640 d^4 mean,   mean = value + d^2/24 value - 17/5760 d^4 value

with the differences `d^2` of second order along the face. In two and three dimensions the mean of a
flux is the flux of the mean up to second order only (P. Buchmueller and C. Helzel, J. Sci. Comput.
61 (2014) 343, with one more term).
"""

import equinox as eqx
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import along


class FaceQuadrature(eqx.Module):
    """How fluxes are averaged over faces: `midpoint` or `sixth_order`.

    **Attributes:** the factors of the second and fourth difference along a face, `to_values` and
    `to_means`; None where nothing is done.
    """

    to_values: tuple[float, float] | None = eqx.field(static=True, default=None)
    to_means: tuple[float, float] | None = eqx.field(static=True, default=None)

    @property
    def reach(self) -> int:
        """Cells beyond both ends of each axis along the face."""
        return sum(2 for factors in (self.to_values, self.to_means) if factors is not None)

    def values(self, means: Float[Array, "value many *faces"], across: int) -> Array:
        """In the middle of faces across an axis, two less at both ends of each other axis."""
        return _along_faces(means, across, self.to_values)

    def means(self, values: Float[Array, "value many *faces"], across: int) -> Array:
        """Over faces across an axis, two less at both ends of each other axis."""
        return _along_faces(values, across, self.to_means)


midpoint = FaceQuadrature()
"""The flux in the middle: second order in two and three dimensions, robust at shocks."""
sixth_order = FaceQuadrature((-1 / 24, 3 / 640), (1 / 24, -17 / 5760))
"""The order of the reconstruction in all dimensions, for smooth flow."""


def _along_faces(field: Array, across: int, factors: tuple[float, float] | None) -> Array:
    if factors is None:
        return field
    second, fourth = factors
    for axis in range(2, field.ndim):
        if axis != 2 + across:
            n = field.shape[axis]
            a, b, c, d, e = (along(field, axis, k, n - 4 + k) for k in range(5))
            curve = b - 2 * c + d
            field = c + second * curve + fourth * (a - 4 * b + 6 * c - 4 * d + e)
    return field
