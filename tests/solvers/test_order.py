"""Order of convergence in dt of every scheme for every equation."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl import equations, solvers
from tests.cases import CASES, SCHEMES, every_case_in_time, every_scheme

pytestmark = pytest.mark.x64


@cache
def integrator(case, scheme):
    """`state at time(steps)`, compiled once for all numbers of steps."""

    @jax.jit
    def run(state, steps):
        step = case.step(case.time / steps, scheme)
        working = jax.lax.fori_loop(0, steps, lambda _, w: step.advance(w), step.enter(state))
        return step.leave(working)

    return lambda steps: run(case.state(case.grid()), steps)


@cache
def reference(case):
    return integrator(case, solvers.time.etdrk4)(1024)


def error(case, scheme, steps):
    exact = reference(case)
    return float(
        jnp.max(jnp.abs(integrator(case, scheme)(steps) - exact)) / jnp.max(jnp.abs(exact))
    )


@every_scheme
@every_case_in_time
def test_order_in_time(case, scheme, order):
    if case.linear and scheme is not solvers.time.imex:
        assert error(case, scheme, 4) < 1e-12
        return
    steps = {1: 512, 2: 128, 3: 64, 4: 32}[order]
    if scheme is solvers.time.etd_adams:  # until its next term, of order 5, no longer shows
        steps = 160
    coarse, fine = error(case, scheme, steps), error(case, scheme, 2 * steps)
    if fine < 3e-13:  # down to rounding errors
        coarse, fine = error(case, scheme, steps // 2), coarse
    observed = np.log2(coarse / fine)
    assert coarse < 1e-2 and fine > 1e-14
    assert abs(observed - order) < 0.1


def test_tables_are_complete():
    """Every equation and every scheme of the package has its line in `tests.cases`."""
    members = {
        member
        for name, member in vars(equations).items()
        if isinstance(member, type)
        and issubclass(member, equations.SemilinearEquation)
        and name != "SemilinearEquation"
        # Those of the sphere have tests of their own.
        and not member.__module__.endswith(".sphere")
    }
    assert members <= {type(case.make()) for case in CASES}
    schemes = {name for name in solvers.time.__all__ if name.startswith(("etd", "imex"))}
    assert schemes == {scheme.__name__ for scheme, _ in SCHEMES}
