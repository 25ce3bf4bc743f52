"""A box shared out over devices: the same numbers, no gathering, a P-th of the memory."""

import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.distributed import load_state, mesh, scatter, space_mesh, transforms
from jaxpbdl.equations import (
    Burgers,
    CompressibleFlow,
    GrayScott,
    IncompressibleFlow,
    NavierStokes2D,
    NavierStokes3D,
    Scalar,
    kolmogorov,
)
from jaxpbdl.grids import Cells, Periodic, Spectrum
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.compressible import finite_volumes, muscl, primitive, reflecting, van_leer
from jaxpbdl.solvers.flow import Smagorinsky, incompressible
from jaxpbdl.solvers.spectral import semilinear

pytestmark = pytest.mark.x64
MESHES = ((2,), (1, 2), (2, 1))


def parts_name(parts):
    return "x".join(map(str, parts))


def both(build, state, shape, parts, steps=3):
    """The last state of a rollout and its gradient, on one device and on those of a mesh."""
    found = []
    for sharing in (None, space_mesh(*parts)):
        step, start = build(sharing), state
        if sharing is not None:
            start = scatter(state, sharing, shape)

        def square(start, step=step):
            last = jax.tree.map(lambda a: a[-1], jp.rollout(step, start, steps, steps))
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(last)), last

        slope, last = jax.jit(jax.grad(square, has_aux=True))(start)
        found.append((jax.tree.leaves(last), jax.tree.leaves(slope)))
    return found


def assert_same(found):
    for one, shared in zip(*found, strict=True):
        for a, b in zip(one, shared, strict=True):
            np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=1e-10, atol=1e-12)
            assert len(b.sharding.device_set) == 2
            if b.ndim > 1:
                assert max(s.data.size for s in b.addressable_shards) == b.size / 2


@pytest.mark.parametrize("keep", (1.0, 0.5))
@pytest.mark.parametrize("parts", MESHES, ids=parts_name)
@pytest.mark.parametrize("shape", ((4, 6, 5), (6, 2, 8)), ids=str)
def test_transforms(shape, parts, keep):
    """Those of one device, modes that fill up are zero; a vector field as its components."""
    grid = Periodic(shape, (1.0, 2.0, 3.0))
    one, shared = Spectrum(grid, keep), Spectrum(grid, keep, mesh=space_mesh(*parts))
    values = jax.random.normal(jax.random.key(0), (2, *shape))
    survive = np.asarray(one.mask).astype(bool) if keep < 1 else np.ones(one.modes, bool)
    inside = tuple(
        int(survive.any(axis=tuple(b for b in range(3) if b != a)).sum()) for a in range(3)
    )
    expected = jax.jit(transformed)(one, values)
    found = jax.jit(transformed)(shared, scatter(values, shared.mesh, shape))
    modes = np.asarray(found.pop("modes"))
    compact = modes[:, : inside[0], : inside[1], : inside[2]]
    known = np.asarray(expected.pop("modes"))[:, survive].reshape(2, *inside)
    np.testing.assert_allclose(compact, known, atol=1e-12)
    assert np.sum(np.abs(modes)) == pytest.approx(np.sum(np.abs(compact)))
    for name, there in found.items():
        small = 1e-9 if name == "laplacian" else 1e-12
        np.testing.assert_allclose(there, expected[name], atol=small, err_msg=name)


def transformed(spectrum, values):
    """To modes, and from them back, with their derivatives."""
    modes = spectrum.to_modes(values)
    return {
        "modes": modes,
        "values": spectrum.to_grid(modes),
        "slope": spectrum.to_grid(spectrum.derivative(modes[0], 2)),
        "laplacian": spectrum.to_grid(spectrum.laplacian * modes),
    }


@pytest.mark.parametrize(
    "equation, shape, parts",
    (
        (NavierStokes3D(), (8, 6, 6), (2,)),
        (NavierStokes3D(drag=0.1), (6, 8, 9), (1, 2)),
        (NavierStokes2D(0.01, 0.1, 2.0, kolmogorov(2.0)), (8, 9), (2,)),
        (Burgers(0.1, 2), (8, 7), (2,)),
        (GrayScott(), (6, 8), (2,)),
    ),
    ids=("flow", "flow in pencils", "flow in a plane", "Burgers", "reaction and diffusion"),
)
def test_spectral_step(equation, shape, parts):
    grid = Periodic(shape)
    state = 0.3 * jax.random.normal(jax.random.key(1), (*equation.value_shape, *shape))
    if isinstance(equation, NavierStokes3D):
        state = Spectrum(grid).to_grid(
            equation.enter(Spectrum(grid).transform(state), Spectrum(grid))
        )
    assert_same(both(lambda m: semilinear(equation, grid, 0.05, mesh=m), state, shape, parts))


@pytest.mark.parametrize(
    "shape, periodic, parts",
    (((8, 6), (True, True), (2,)), ((6, 5), (True, False), (2,)),
     ((4, 6, 5), (True,) * 3, (1, 2)), ((4, 5, 6), (True, False, True), (2, 1))),
    ids=("periodic", "channel", "pencils", "channel between waves"),
)  # fmt: skip
def test_incompressible_flow(shape, periodic, parts):
    """With walls on the axes that are not split, and a scalar that is carried."""
    grid = Cells(shape, 1.0, periodic=periodic)
    equation = IncompressibleFlow(0.01, scalars={"heat": Scalar(0.02, buoyancy=1.0)})
    state = incompressible(equation, grid, 0.02).start(
        lambda x: jnp.sin(2 * jnp.pi * jnp.roll(x, 1)), heat=lambda x: jnp.cos(x[0] + 2 * x[1])
    )
    assert_same(both(lambda m: incompressible(equation, grid, 0.02, mesh=m), state, shape, parts))


def test_a_closure():
    """It is outside of the blocks: the compiler divides it."""
    grid, equation = Cells((8, 6), 1.0, periodic=True), IncompressibleFlow(0.01)
    state = incompressible(equation, grid, 0.02).start(
        lambda x: jnp.sin(2 * jnp.pi * jnp.roll(x, 1))
    )

    def closed(mesh):
        return incompressible(equation, grid, 0.02, closure=Smagorinsky(0.3), mesh=mesh)

    assert_same(both(closed, state, (8, 6), (2,)))


def test_gas_and_light():
    """A gas between walls that are not split; light in blocks, and without, following its state."""
    grid = Cells((8, 6), 1.0, periodic=(True, False))
    options = {"reconstruction": muscl(van_leer), "variables": primitive}

    def gas(mesh):
        sides = [None, reflecting]
        return finite_volumes(CompressibleFlow(2), grid, 1e-3, sides, mesh=mesh, **options)

    state = gas(None).start(lambda x: jnp.exp(-jnp.array([x[0], x[1], x @ x, x[0] * x[1]])))
    assert_same(both(gas, state, (8, 6), (2,), steps=1))
    grid = Cells((8, 6), 1.0, periodic=True)
    light = waves.maxwell(grid, 0.05, components=waves.tm)
    state = light.start(lambda x: jnp.stack([0 * x[0], 0 * x[0], jnp.sin(6.28 * x[0] + x[1])]))
    assert_same(both(lambda m: light, state, (8, 6), (2,), steps=2))
    half = Cells((8, 6), 1.0, periodic=(True, False))

    def between_walls(mesh):
        return waves.maxwell(half, 0.05, components=waves.te, permittivity=2.0, mesh=mesh)

    state = between_walls(None).start(lambda x: jnp.stack([x[1], 0 * x[0], jnp.cos(6.28 * x[0])]))
    assert_same(both(between_walls, state, (8, 6), (2,), steps=2))


def test_a_step_with_its_parameters():
    """What a step holds is scattered like a state; small things stay whole."""
    sharing = space_mesh(2)
    tree = {"box": jnp.zeros((3, 4, 6)), "row": jnp.zeros(6), "number": jnp.zeros(()), "none": None}
    found = scatter(tree, sharing, (4, 6))
    assert [leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(found)] == [
        False,
        True,
        True,
    ]
    np.testing.assert_array_equal(found["box"], tree["box"])


def test_bad_input():
    pair = space_mesh(2)
    with pytest.raises(ValueError, match="parts must be one or two numbers, got 3"):
        space_mesh(2, 1, 1)
    with pytest.raises(ValueError, match=r"\(3,\) need 3 devices, there are 2"):
        space_mesh(3)
    with pytest.raises(ValueError, match="must split a box .*space_mesh.*'member'"):
        scatter(jnp.zeros((4, 4)), mesh("member"), (4, 4))
    with pytest.raises(ValueError, match="axis 0 has 5 points, which 2 parts do not divide"):
        scatter(jnp.zeros((5, 4)), pair, (5, 4))
    with pytest.raises(ValueError, match="axis 0 has walls .5 values for 4 cells"):
        scatter(jnp.zeros((5, 4)), pair, (4, 4))
    with pytest.raises(ValueError, match="mesh splits 2 axes, the box has 1"):
        transforms.check_box((4,), space_mesh(1, 2))
    with pytest.raises(ValueError, match="an axis that is not split, the mesh splits all 1"):
        semilinear(Burgers(1), Periodic(8), 0.1, mesh=pair)
    with pytest.raises(ValueError, match="devices share a periodic box; this one has walls"):
        Spectrum(Cells((4, 4), 1.0), mesh=pair)
    with pytest.raises(ValueError, match="axis 0 into 2 parts, so it must be periodic"):
        incompressible(IncompressibleFlow(0.1), Cells((4, 4), 1.0), 0.1, mesh=pair)


EIGHT = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
sys.path.insert(0, sys.argv[1])
from decomposition import central, flow_on_devices, measured
found = [measured((32, 32, 32), parts) for parts in ((8,), (4, 2))]
found.append(flow_on_devices((16, 8, 8), (True,) * 3, (4, 2), central, 0))
print(json.dumps(found))
"""


def test_eight_devices():
    """The compiled step of a flow in three dimensions, and its gradient: devices exchange what
    theory says and nothing is gathered; each holds an eighth. Staggered flow in pencils, whose
    stencils reach around corners, too."""
    folder = os.path.join(os.path.dirname(__file__), "..", "..", "benchmarks")
    done = subprocess.run(
        [sys.executable, "-c", EIGHT, folder], capture_output=True, text=True, timeout=300,
        env={**os.environ, "JAX_ENABLE_X64": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    slabs, pencils, staggered = json.loads(done.stdout.splitlines()[-1])
    for found in (slabs, pencils):
        assert found["error"] < 1e-6 and found["gradient_error"] < 1e-6
        assert found["operations"] == found["gradient_operations"] == ["all-to-all"]
        assert found["bytes"] == found["bytes_of_theory"]
        assert found["memory_share"] < 1.1 / 8
    assert staggered["error"] < 1e-6 and staggered["gradient_error"] < 1e-6
    assert staggered["operations"] == staggered["gradient_operations"]
    assert staggered["operations"] == ["all-to-all", "collective-permute"]
    assert staggered["bytes"] <= 1.1 * staggered["bytes_of_theory"]
    assert staggered["gradient_bytes"] <= 1.1 * staggered["gradient_theory"]


TWO = """
import sys
import jax
rank, port = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(f"localhost:{port}", 2, rank)
import jax.numpy as jnp
import numpy as np
import jaxpbdl as jp
from jaxpbdl.distributed import scatter, space_mesh
from jaxpbdl.equations import GrayScott
from jaxpbdl.solvers.spectral import semilinear

grid, mesh = jp.grids.Periodic((16, 12)), space_mesh()
state = jax.random.uniform(jax.random.key(0), (2, 16, 12))
shared = semilinear(GrayScott(), grid, 0.5, mesh=mesh)
last = jp.rollout(shared, scatter(state, mesh, grid.shape), 5, 5)[-1]
alone = jp.rollout(semilinear(GrayScott(), grid, 0.5), state, 5, 5)[-1]
for part in last.addressable_shards:
    np.testing.assert_allclose(part.data, np.asarray(alone)[part.index], atol=1e-5)
jp.distributed.save_state(sys.argv[3], {"states": last})
print("parts", [part.index[1].start for part in last.addressable_shards])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="collectives on a CPU need Linux")
def test_two_processes(tmp_path):
    """A box over two processes, each with its half; what they save serves one device."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, rank, port, str(tmp_path / "saved")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=200) for process in running]
    finally:
        for process in running:
            process.kill()
    assert "parts [0]" in said[0][0] or "parts [None]" in said[0][0], said[0][1]
    assert "parts [8]" in said[1][0], said[1][1]
    saved = load_state(tmp_path / "saved", {"states": jnp.zeros((2, 16, 12), jnp.float32)})
    grid, start = Periodic((16, 12), dtype=jnp.float32), jax.random.key(0)
    start = jax.random.uniform(start, (2, 16, 12), jnp.float32)
    alone = jp.rollout(semilinear(GrayScott(), grid, 0.5), start, 5, 5)[-1]
    np.testing.assert_allclose(saved["states"], alone, atol=1e-5)
