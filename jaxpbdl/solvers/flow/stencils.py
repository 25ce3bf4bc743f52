"""Interpolation of the velocity that is carried by coefficients that differ from face to face."""

import equinox as eqx
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import close
from jaxpbdl.solvers.flow.operators import Stencil


class LinearStencils(eqx.Module):
    """Carried values from the four neighbours along an axis, with given coefficients.

        value = mean + a rise + b before + c after

    Whatever the coefficients, a constant is carried as it is and momentum is conserved, so the
    scheme is consistent; with zeros it is `central`. For `incompressible(interpolation=..)` on
    periodic boxes (learned: Kochkov et al., PNAS 118 (2021) e2101784118).

    **Arguments:** `coefficients`: a, b, c for each component of the velocity and, in turn, each
    axis that it is carried along.
    """

    coefficients: Float[Array, "components_axes_3 *cells"]

    def __call__(self, stencil: Stencil) -> Float[Array, "*places"]:
        if stencil.component is None:
            raise ValueError("LinearStencils are for the velocity, not for scalars")
        ndim = self.coefficients.ndim - 1
        first = 3 * (ndim * stencil.component + stencil.axis)
        mean, steps = stencil.mean, (stencil.rise, stencil.before, stencil.after)
        for step, a in zip(steps, self.coefficients[first : first + 3], strict=True):
            for axis in range(ndim):
                a = close(a, axis, a.shape[axis] < mean.shape[axis])
            mean = mean + a * step
        return mean
