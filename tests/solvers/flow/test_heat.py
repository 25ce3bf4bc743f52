"""What of a scalar enters through the sides."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import IncompressibleFlow, Scalar
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.flow import flux, incompressible, scalar_through_sides, wall

EDGES = np.array([0.0, 0.2, 0.5, 0.7, 1.2, 1.4, 2.0])


def carrying(sides):
    """A temperature in a box of 2 x 1 x 1.5, periodic along the second axis."""
    grid = Cells(
        (6, 5, 4), (2.0, 1.0, 1.5), periodic=(False, True, False), edges=(EDGES, None, None)
    )
    scalars = {"temperature": Scalar(0.3)}
    return incompressible(IncompressibleFlow(0.1, scalars=scalars), grid, 1e-3, sides)


@pytest.mark.x64
def test_conduction_through_graded_cells():
    """Temperatures that fall from 1 to 0, and a flux that is given: heat is diffusivity times slope
    times area."""
    sides = (
        (wall(temperature=1.0), wall(temperature=0.0)),
        None,
        (wall(temperature=flux(0.7)), wall()),
    )
    step = carrying(sides)
    state = step.start(temperature=lambda point: 1 - point[0] / 2)
    found = scalar_through_sides(step, state, "temperature")
    assert found[1] is None
    np.testing.assert_allclose(found[0], (0.3 / 2 * 1.5, -0.3 / 2 * 1.5), rtol=1e-12)
    np.testing.assert_allclose(found[2], (0.7 * 2 * 1, 0.0), atol=1e-12)


@pytest.mark.x64
def test_what_enters_is_what_the_box_gains():
    sides = (wall(temperature=2.0), wall(temperature=flux(-0.4))), None, wall(temperature=0.5)
    step = carrying(sides)
    values = np.random.default_rng(0).normal(size=step.grid.shape)
    state = step.start(temperature=jnp.asarray(values))
    gained = jnp.sum(step.rates(state).scalars["temperature"] * step.grid.volumes)
    pairs = [pair for pair in scalar_through_sides(step, state, "temperature") if pair is not None]
    assert float(sum(low + high for low, high in pairs)) == pytest.approx(float(gained), rel=1e-12)


def test_unknown_scalars_are_refused():
    step = carrying(None)
    with pytest.raises(ValueError, match=r"one of \['temperature'\], got 'salt'"):
        scalar_through_sides(step, step.start(), "salt")
