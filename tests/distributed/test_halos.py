"""Stencils of a box that devices share: halos and nothing else, the same numbers."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.distributed import scatter, space_mesh
from jaxpbdl.distributed.halos import Blocks
from jaxpbdl.equations import CompressibleFlow, IncompressibleFlow, Scalar
from jaxpbdl.grids import Cells
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.compressible import finite_volumes, inflow, rusanov
from jaxpbdl.solvers.flow import LinearStencils, central, incompressible, limited, wall

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from decomposition import flow_on_devices, gas_on_devices, light_on_devices


@pytest.mark.parametrize(
    "measure, arguments, kinds",
    (
        (flow_on_devices, ((8, 6), (True, False), (2,), central, 0), {"all-to-all"}),
        (partial(gas_on_devices, flux=rusanov, guard=None), ((16,), (2,)), set()),
        (light_on_devices, ((4, 4, 4), (2,)), set()),
    ),
    ids=("flow", "gas", "light"),
)
def test_what_is_exchanged(measure, arguments, kinds):
    """What stencils reach, and blocks of the pressure's transforms; the gradient too."""
    found = measure(*arguments)
    assert found["error"] < 1e-6 and found["gradient_error"] < 1e-6
    assert set(found["operations"]) == {"collective-permute", *kinds}
    assert set(found["gradient_operations"]) == {"collective-permute", *kinds}
    assert found["bytes_of_theory"] <= found["bytes"] <= 1.1 * found["bytes_of_theory"]
    assert found["gradient_bytes"] <= 1.1 * found["gradient_theory"]


@pytest.mark.x64
def test_what_sides_and_parameters_give():
    """Values on a wall that vary along it, and gradients with respect to what makes the step."""
    grid, sharing = Cells((6, 5), 1.0, periodic=(True, False)), space_mesh(2)

    def carried(mesh):
        def square(parameters, state):
            viscosity, amplitude = parameters

            def lid(x):
                return amplitude * jnp.array([jnp.sin(2 * jnp.pi * x[0]), 0.0])

            heat = {"heat": Scalar(viscosity, buoyancy=(0.5, 1.0))}
            sides = [None, (wall(heat=lambda x: jnp.cos(6 * x[0])), wall(lid))]
            flow = IncompressibleFlow(viscosity, scalars=heat)
            step = incompressible(flow, grid, 0.02, sides, interpolation=limited, mesh=mesh)
            rates = step.rates(state)
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(rates)), rates

        return jax.jit(jax.grad(square, (0, 1), has_aux=True))

    state = incompressible(
        IncompressibleFlow(0.1, scalars={"heat": Scalar(0.1)}), grid, 0.02
    ).start(lambda x: jnp.sin(2 * jnp.pi * jnp.roll(x, 1)), heat=lambda x: jnp.cos(x[0] + x[1]))
    parameters = jnp.array(0.1), jnp.array(0.7)
    expected = carried(None)(parameters, state)
    found = carried(sharing)(parameters, scatter(state, sharing, grid.shape))
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=1e-10, atol=1e-10)


PENCILS = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)
from jaxpbdl.distributed import scatter, space_mesh
from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.compressible import finite_volumes, sixth_order

grid, mesh = Cells((12, 10), (1.0, 2.0), periodic=True), space_mesh(2, 2)
gas = CompressibleFlow(2, viscosity=0.05, conductivity=0.1)
def varied(x):
    phases = 2 * jnp.pi * x[0] + jnp.pi * x[1] + jnp.arange(4.0)
    return 1 + 0.3 * jnp.sin(phases) + 0.1 * jnp.cos(4 * jnp.pi * x[0] - jnp.pi * x[1])
found = []
for sharing in (None, mesh):
    step = finite_volumes(
        gas, grid, 1e-4, quadrature=sixth_order, source=lambda u: 0.3 * u[::-1], mesh=sharing
    )
    state = step.start(lambda x: varied(x) + jnp.array([0.0, 0.0, 0.0, 3.0]))
    state = state if sharing is None else scatter(state, sharing, grid.shape)
    found.append(np.asarray(jax.jit(step.rates)(state)))
print(np.abs(found[1] - found[0]).max() / np.abs(found[0]).max())
"""


def test_a_viscous_gas_of_high_order_in_pencils():
    """Its stencils and quadrature reach around corners."""
    done = subprocess.run(
        [sys.executable, "-c", PENCILS], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-12


def test_who_is_left_to_the_compiler():
    """Stencils with coefficients of the whole box, and cells that differ along a split axis."""
    sharing, flow = space_mesh(2), IncompressibleFlow(0.1)
    equal, periodic = Cells((8, 4), periodic=True), (True, True)
    edges = [jnp.cumsum(jnp.array([0.0, 1, 1, 2, 2, 1, 1, 2, 2])), None]
    unequal = Cells((8, 4), edges=edges, periodic=periodic)
    learned = LinearStencils(jnp.zeros((12, 8, 4)))
    for grid, scheme, blocks in (
        (equal, central, True),
        (equal, learned, False),
        (unequal, central, False),
    ):
        step = incompressible(flow, grid, 0.01, interpolation=scheme, mesh=sharing)
        state = incompressible(flow, grid, 0.01).start()
        assert ("ppermute" in str(jax.make_jaxpr(step.rates)(state))) == blocks


def test_bad_input():
    pair, gas = space_mesh(2), CompressibleFlow(2)
    with pytest.raises(ValueError, match=r"axis 0 has 4 cells in 2 parts, 2 each, but stencils"):
        Blocks(pair, (4, 6), 3)
    with pytest.raises(ValueError, match="reach 3 beyond: at least 3 each, so at most 1 parts"):
        finite_volumes(gas, Cells((4, 8), periodic=True), 1e-3, mesh=pair)
    with pytest.raises(ValueError, match="mesh splits axis 0 into 2 parts, so it must be periodic"):
        finite_volumes(gas, Cells((8, 8)), 1e-3, mesh=pair)
    sides = [None, inflow(lambda x: jnp.ones(4))]
    with pytest.raises(ValueError, match="`reflecting`, `transmissive` or an `inflow` of const"):
        finite_volumes(gas, Cells((8, 8), periodic=(True, False)), 1e-3, sides, mesh=pair)
    with pytest.raises(ValueError, match="mesh splits axis 0 into 2 parts, so it must be periodic"):
        waves.maxwell(Cells((8, 8)), 0.01, components=waves.tm, mesh=pair)
    graded = Cells((8, 8), edges=[jnp.linspace(0, 1, 9) ** 2, None], periodic=True)
    with pytest.raises(ValueError, match="axis 0, which must have equal cells and no phase"):
        waves.maxwell(graded, 0.001, components=waves.tm, mesh=pair)
    layers, half = [None, waves.absorbing(2)], Cells((8, 8), periodic=(True, False))
    with pytest.raises(ValueError, match="devices share no box with absorbing layers"):
        waves.maxwell(half, 0.01, components=waves.tm, sides=layers, mesh=pair)
