"""Random states of Burgers' equation on the periodic unit interval, and what becomes of them.

    du/dt + u du/dx = viscosity d2u/dx2,  u(0) from N(0, 625 (-Laplace + 25)^-2)

as in the paper on Fourier neural operators (Li et al., ICLR 2021, arXiv:2010.08895, appendix
A.3.1), by the toolkit's spectral solver.
"""

import jax
from jaxtyping import Array, Float, PRNGKeyArray

import jaxpbdl as jp
from jaxpbdl.step import Step


def initial(key: PRNGKeyArray, count: int, grid: jp.grids.Periodic) -> Float[Array, "count n"]:
    """Independent random states of mean zero and mean square 0.36."""

    def one(key: PRNGKeyArray) -> Array:
        return jp.initial_states.gaussian_field(key, grid, lambda k: 25 / (k**2 + 25))

    return jax.vmap(one)(jax.random.split(key, count))


def solver(grid: jp.grids.Periodic, viscosity: float, dt: float) -> Step:
    """The spectral step of fourth order."""
    return jp.solvers.spectral.semilinear(jp.equations.Burgers(viscosity), grid, dt)


def histories(
    states: Float[Array, "count n"],
    grid: jp.grids.Periodic,
    viscosity: float,
    times: int,
    substeps: int,
) -> Float[Array, "count snapshots n"]:
    """The states at `times` equal intervals up to t = 1, the first at t = 0; `substeps` of the
    solver in each."""
    step = solver(grid, viscosity, 1 / (times * substeps))
    return jp.distributed.map_members(
        lambda state: jp.rollout(step, state, times * substeps, substeps), states
    )
