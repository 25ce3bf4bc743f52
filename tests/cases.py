"""The table of cases that the tests of solvers and equations run through.

A new equation is tested by adding one line to `CASES`, a new scheme by one line to `SCHEMES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from pathlib import Path
from runpy import run_path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import equations as eq
from jaxpbdl import solvers
from jaxpbdl.equations.navier_stokes import project

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
ZakharovKuznetsov = run_path(str(EXAMPLES / "zakharov_kuznetsov.py"))["ZakharovKuznetsov"]


def smooth(
    grid: jp.grids.Periodic, value_shape: tuple[int, ...] = (), size: float = 1.0, mean: float = 0.0
):
    """A few long waves, different in every component and along every axis."""
    components = []
    for c in range(int(np.prod(value_shape, dtype=int))):
        total = jnp.zeros(grid.shape, grid.dtype)
        for axis, x in enumerate(grid.coordinates):
            phase = 2 * pi / grid.lengths[axis] * (x - grid.origin[axis])
            others = sum(
                (2 * pi / grid.lengths[other] * y for other, y in enumerate(grid.coordinates)),
                start=jnp.zeros(grid.shape, grid.dtype),
            )
            total += jnp.sin(phase + 0.7 * c + axis) + 0.4 * jnp.cos(others + c - axis)
        components.append(mean + size * total / grid.ndim)
    return jnp.stack(components).reshape(value_shape + grid.shape).astype(grid.dtype)


def solenoidal(grid: jp.grids.Periodic, size: float = 1.0):
    """A smooth velocity without divergence."""
    spectrum = jp.grids.Spectrum(grid)
    modes = project(spectrum.transform(smooth(grid, (grid.ndim,), size)), spectrum)
    return spectrum.to_grid(modes)


@dataclass(frozen=True)
class Case:
    """An equation on a small grid with a smooth state, integrated over `time`.

    `size` and `mean` are those of the state; `linear` marks what the exponential schemes solve
    exactly; `conserves` names what stays the same, "mean" of every component and "energy" (the mean
    square), and `transported` says whether N carries the unknown along. `test_declared_laws`
    measures both, so that neither can be forgotten.
    """

    name: str
    make: Callable[[], eq.Equation]
    shape: tuple[int, ...]
    lengths: tuple[float, ...]
    time: float
    size: float = 1.0
    mean: float = 0.0
    linear: bool = False
    conserves: tuple[str, ...] = ()
    transported: bool = False

    def grid(self, dtype: Any = None) -> jp.grids.Periodic:
        return jp.grids.Periodic(self.shape, self.lengths, dtype=dtype)

    def state(self, grid: jp.grids.Periodic):
        equation = self.make()
        if isinstance(equation, eq.NavierStokes3D):
            return solenoidal(grid, self.size)
        return smooth(grid, equation.value_shape, self.size, self.mean)

    def step(
        self, dt: Any, scheme=solvers.time.etdrk4, dtype: Any = None
    ) -> solvers.spectral.SpectralStep:
        return solvers.spectral.semilinear(self.make(), self.grid(dtype), dt, scheme)


def _flow_2d() -> eq.Equation:
    return eq.NavierStokes2D(0.05, drag=0.1, beta=2.0, forcing=eq.kolmogorov(2.0, 0.5))


def _flow_3d() -> eq.Equation:
    return eq.NavierStokes3D(0.05, drag=0.1, forcing=eq.kolmogorov(2.0, 0.5))


def _transport(velocity: Any, dispersion: Any = None, hyper: Any = None) -> eq.Equation:
    return eq.AdvectionDiffusion(velocity, 0.1, dispersion, hyper)


one, plane, box = (2 * pi,), (3 * pi, 2 * pi), (2 * pi, 2 * pi, 3 * pi)
long, wide = (8 * pi,), (6 * pi, 4 * pi)  # where high derivatives would make small boxes stiff
CASES = [
    Case("advection", lambda: _transport(1.0), (24,), one, 0.5, linear=True,
         conserves=("mean",)),
    Case("transport-2d", lambda: _transport((1.0, 2.0), 0.1, 0.02), (18, 15), plane, 0.5,
         linear=True,
         conserves=("mean",)),
    Case("heat-3d", lambda: eq.AdvectionDiffusion(diffusivity=0.5), (8, 9, 6), box, 0.5,
         linear=True,
         conserves=("mean",)),
    Case("wave", lambda: eq.Wave(2.0), (24,), one, 0.5, mean=0.3, linear=True),
    Case("wave-2d", lambda: eq.Wave(1.5), (18, 15), plane, 0.5, mean=0.3, linear=True),
    Case("burgers", lambda: eq.Burgers(0.1), (32,), one, 0.4,
         conserves=("mean",), transported=True),
    Case("burgers-2d", lambda: eq.Burgers(0.2, 2), (24, 18), plane, 0.4,
         transported=True),
    Case("burgers-3d", lambda: eq.Burgers(0.3, 3), (12, 12, 12), box, 0.4, 0.4,
         transported=True),
    Case("kdv", lambda: eq.KortewegDeVries(1.0, 0.1), (32,), one, 0.4,
         conserves=("mean", "energy"), transported=True),
    Case("ks", lambda: eq.KuramotoSivashinsky(1.2, 0.9, 1.1), (32,), long, 1.0,
         conserves=("mean",), transported=True),
    Case("ks-2d", lambda: eq.KuramotoSivashinsky(), (18, 15), wide, 1.0, 2.0,
         transported=True),
    Case("zakharov-kuznetsov", ZakharovKuznetsov, (24, 15), wide, 0.6, 3.0,
         conserves=("mean", "energy"), transported=True),
    Case("schroedinger", lambda: eq.Schroedinger(0.5, 1.0), (32,), one, 0.4,
         conserves=("energy",)),
    Case("schroedinger-2d", lambda: eq.Schroedinger(0.4, -0.8), (18, 15), plane, 0.4,
         conserves=("energy",)),
    Case("navier-stokes-2d", _flow_2d, (24, 21), plane, 0.5,
         conserves=("mean",), transported=True),
    Case("navier-stokes-3d", _flow_3d, (12, 12, 15), box, 0.5,
         conserves=("mean",), transported=True),
    Case("allen-cahn", lambda: eq.AllenCahn(0.01, 2.0, 2.0), (32,), one, 0.5),
    Case("allen-cahn-3d", lambda: eq.AllenCahn(0.1, 2.0, 2.0), (12, 12, 12), box, 0.3, 0.2),
    Case("fisher-kpp", lambda: eq.FisherKPP(0.1, 3.0), (32,), one, 0.5, 0.3, 0.5),
    Case("fisher-kpp-2d", lambda: eq.FisherKPP(0.1, 3.0), (18, 15), plane, 0.5, 0.3, 0.5),
    Case("gray-scott", lambda: eq.GrayScott((0.2, 0.1), 0.4, 0.6), (32,), one, 0.5, 0.3, 1.0),
    Case("gray-scott-2d", lambda: eq.GrayScott((0.2, 0.1), 0.4, 0.6), (18, 15), plane, 0.5,
         0.3, 1.0),
    Case("swift-hohenberg", lambda: eq.SwiftHohenberg(0.7, 1.0, 0.5), (32,), long, 0.4),
    Case("swift-hohenberg-2d", lambda: eq.SwiftHohenberg(0.7, 1.0, 0.5), (18, 15), wide, 0.4),
    Case("cahn-hilliard", lambda: eq.CahnHilliard(0.5, 0.5), (32,), long, 2.0, 0.8, 0.1,
         conserves=("mean",)),
    Case("cahn-hilliard-2d", lambda: eq.CahnHilliard(0.5, 0.7), (18, 15), wide, 0.8, 0.4, 0.1,
         conserves=("mean",)),
]  # fmt: skip

SCHEMES = [
    (solvers.time.etdrk1, 1),
    (solvers.time.etdrk2, 2),
    (solvers.time.etdrk3, 3),
    (solvers.time.etdrk4, 4),
    (solvers.time.etd_multistep, 2),
    (solvers.time.etd_adams, 4),
    (solvers.time.imex, 2),
]

# One case an equation, for laws that do not depend on the dimension.
_seen: set[type] = set()
ONE_EACH = [
    case for case in CASES if not (type(case.make()) in _seen or _seen.add(type(case.make())))
]

# Every scheme on one case, and every equation with one scheme.
_burgers = next(case for case in CASES if case.name == "burgers")
SCHEMES_AND_EQUATIONS = [(_burgers, scheme) for scheme, _ in SCHEMES]
SCHEMES_AND_EQUATIONS += [(case, solvers.time.etdrk4) for case in ONE_EACH]

every_scheme_and_equation = pytest.mark.parametrize(
    ("case", "scheme"),
    SCHEMES_AND_EQUATIONS,
    ids=[f"{case.name}-{scheme.__name__}" for case, scheme in SCHEMES_AND_EQUATIONS],
)
# Every case; of those of a second dimension only the ones with terms of their own there, the others
# in the slow run.
_IN_TIME = [*ONE_EACH, *(case for case in CASES if case.name in ("ks-2d", "burgers-2d"))]
every_case_in_time = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case in _IN_TIME else pytest.mark.slow) for case in CASES],
    ids=lambda case: case.name,
)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_equation = pytest.mark.parametrize("case", ONE_EACH, ids=lambda case: case.name)
every_scheme = pytest.mark.parametrize(
    ("scheme", "order"), SCHEMES, ids=[scheme.__name__ for scheme, _ in SCHEMES]
)
