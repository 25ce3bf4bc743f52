"""Laws of model files: what was saved comes back in any process, every damage is noticed, no name
in a file leads out of the packages that are allowed."""

import functools
import json
import random
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import e3nn_jax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import Batches, Linear, mean_square

import jaxpbdl as jp
from jaxpbdl import networks
from jaxpbdl.checks import CheckpointError, RunFolderError
from jaxpbdl.learning import Corrected, Emulator, encoding, fit, fit_ensemble, stack
from jaxpbdl.learning.muon import muon
from jaxpbdl.solvers.flow import slip
from jaxpbdl.uncertainty import Heteroscedastic

KEY = jax.random.key(0)
OLD = Path(__file__).parents[1] / "references" / "hybrid-format-1.jaxpbdl"
"""Written by `jp.save(hybrid(), OLD)` when the format had the number 1."""


def hybrid():
    solver = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.1), jp.grids.Periodic(16), 0.1)
    network = networks.ConvNet(1, 1, 1, width=4, depth=2, key=KEY)
    return Corrected(solver, network, scale=0.1)


def flow():
    grid, equation = jp.grids.Cells((8, 6), (1.0, 1.0)), jp.equations.IncompressibleFlow(0.1)
    return jp.solvers.flow.incompressible(equation, grid, 0.01, (slip(), slip()))


MODELS = {
    "dense": lambda: networks.Dense((2, 8, 1), activation=jnp.tanh, key=KEY),
    "gelu": lambda: networks.Dense((2, 8, 1), activation=jax.nn.gelu, key=KEY),
    "fno": lambda: networks.FNO(1, 1, 1, modes=4, width=4, depth=2, key=KEY),
    "unet": lambda: networks.UNet(2, 1, 1, width=4, levels=2, key=KEY),
    "hybrid": hybrid,
    "emulator with a method": lambda: Emulator(hybrid().network, features=hybrid().solver.channels),
    "heteroscedastic": lambda: Heteroscedastic(networks.Dense((2, 8, 2), key=KEY)),
    "flow": flow,
    "ensemble": lambda: stack([networks.Dense((2, 3, 1), key=k) for k in jax.random.split(KEY)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_as_it_was(name, tmp_path):
    model = MODELS[name]()
    back = jp.load(jp.save(model, tmp_path / "model"))
    assert eqx.tree_equal(model, back) is True or bool(eqx.tree_equal(model, back))
    assert jax.tree.structure(model) == jax.tree.structure(back)


def test_a_loaded_hybrid_steps_as_before(tmp_path):
    model, state = hybrid(), jnp.sin(jp.grids.Periodic(16).axes[0])
    back = jp.load(jp.save(model, tmp_path / "model"))
    np.testing.assert_array_equal(model(state), back(state))


def test_every_kind_of_part_comes_back(tmp_path):
    shared = jnp.arange(3.0)
    tree = {
        "plain": [True, 3, -1.5, "é", None, (1, 2), 2 + 3j, float("inf")],
        1: {"numpy": np.arange(4, dtype=np.int16), "scalar": np.float32(2.5)},
        "bfloat16": jnp.arange(4, dtype=jnp.bfloat16),
        "key": jax.random.key(7),
        "same": (shared, shared),
        "static": [slice(1, None, 2), range(3), ..., np.dtype("float32"), {1, 2}, float],
        "functions": [jnp.sin, jax.nn.silu, jax.nn.relu, jnp.add],
        "partial": functools.partial(jnp.sum, axis=0),
        "weak": jnp.asarray(0.5),
        "irreps": e3nn_jax.Irreps("2x0e + 1o"),
    }
    back = jp.load(jp.save(tree, tmp_path / "tree"))
    assert back["same"][0] is back["same"][1]
    assert back["static"] == tree["static"] and back["functions"] == tree["functions"]
    np.testing.assert_array_equal(back["partial"](jnp.ones((2, 3))), 2 * np.ones(3))
    for name in ("plain", "bfloat16", "irreps", "weak", 1):
        assert bool(eqx.tree_equal(tree[name], back[name])), name
    assert list(back) == list(tree) and back["weak"].weak_type and not back["same"][0].weak_type
    assert jax.random.key_data(back["key"]).tolist() == jax.random.key_data(tree["key"]).tolist()
    assert type(back[1]["scalar"]) is np.float32 and isinstance(back[1]["numpy"], np.ndarray)


def test_equal_models_are_equal_files(tmp_path):
    one, two = (jp.save(hybrid(), tmp_path / name, {"a": 1}) for name in "ab")
    assert one.read_bytes() == two.read_bytes()


def test_another_process_needs_neither_template_nor_code(tmp_path):
    model, x = MODELS["fno"](), np.linspace(0, 1, 16, dtype=np.float32)[None]
    file = jp.save(model, tmp_path / "fno.jaxpbdl")
    code = (
        "import sys, numpy as np, jax.numpy as jnp, jaxpbdl as jp\n"
        "x = np.linspace(0, 1, 16, dtype=np.float32)[None]\n"
        "np.save(sys.argv[2], jp.load(sys.argv[1])(jnp.asarray(x)))"
    )
    subprocess.run([sys.executable, "-c", code, file, tmp_path / "y.npy"], check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), model(jnp.asarray(x)), rtol=1e-6, atol=1e-7
    )


def test_a_file_of_an_earlier_version():
    model, state = hybrid(), jnp.sin(jp.grids.Periodic(16).axes[0])
    np.testing.assert_allclose(jp.load(OLD)(state), model(state), rtol=1e-5, atol=1e-6)
    assert jp.read_card(OLD)["made"] == "test"


def test_a_field_that_came_later_has_its_default(tmp_path):
    model = MODELS["dense"]()
    tree, arrays = encoding.encode(model)
    assert tree["object"] == "jaxpbdl.networks:Dense"
    numbers = [np.asarray(a) for a in arrays]
    del tree["fields"]["weights"]
    with pytest.raises(CheckpointError, match="older than the field weights of Dense"):
        encoding.decode(tree, numbers)
    equation, _ = encoding.encode(jp.equations.Burgers())
    equation["fields"].clear()
    assert float(encoding.decode(equation, []).viscosity) == float(jp.equations.Burgers().viscosity)
    equation["fields"]["colour"] = 3
    with pytest.raises(CheckpointError, match="Burgers has no field colour"):
        encoding.decode(equation, [])


def test_damage_is_noticed(tmp_path):
    """A flipped bit anywhere is an error, or changes nothing that is read."""
    model = MODELS["dense"]()
    file = jp.save(model, tmp_path / "model")
    whole, draw, noticed = file.read_bytes(), random.Random(0), 0
    for _ in range(150):
        octets = bytearray(whole)
        octets[draw.randrange(len(octets))] ^= 1 << draw.randrange(8)
        file.write_bytes(octets)
        try:
            assert bool(eqx.tree_equal(model, jp.load(file)))
        except CheckpointError as error:
            noticed += str(file) in str(error)
    assert noticed > 100
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match="damaged"):
            jp.load(file)
    with pytest.raises(CheckpointError, match="cannot be read"):
        jp.load(tmp_path / "none")


def changed(file, **content):
    """A file with other content, and right checksums."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    text = json.dumps(json.loads(entries["model.json"]) | content).encode()
    entries |= {"model.json": text, "model.sha256": sha256(text).hexdigest().encode()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, octets in entries.items():
            archive.writestr(name, octets)
    return file


@pytest.mark.parametrize(
    "name", ["os:system", "subprocess:run", "jaxpbdl.cli:os.system", "jaxpbdl.files:os", "numpy:os"]
)
def test_no_name_leads_out_of_the_packages(name, tmp_path):
    file = changed(jp.save(1, tmp_path / "model"), model={"name": name})
    with pytest.raises(CheckpointError, match=name):
        jp.load(file)


def test_own_classes_are_loaded_when_allowed(tmp_path):
    file = jp.save(Linear(KEY), tmp_path / "model")
    with pytest.raises(CheckpointError, match=r'packages=\("regression",\)'):
        jp.load(file)
    assert bool(eqx.tree_equal(jp.load(file, packages=("regression",)), Linear(KEY)))


def test_later_formats_and_strange_parts_are_refused(tmp_path):
    file = changed(jp.save(1, tmp_path / "model"), format=2)
    with pytest.raises(CheckpointError, match="has the format 2, this version knows 1 to 1"):
        jp.load(file)
    with pytest.raises(CheckpointError, match="holds a tensor, which"):
        jp.load(changed(file, format=1, model={"tensor": 1}))


def test_what_has_no_name_is_refused_with_its_place(tmp_path):
    model = networks.Dense((2, 3, 1), activation=lambda x: x**2, key=KEY)
    with pytest.raises(ValueError, match=r"^\.activation cannot be saved: .*<lambda>"):
        jp.save(model, tmp_path / "model")
    with pytest.raises(ValueError, match=r"^\[0\]\['b'\] cannot be saved: object"):
        jp.save([{"b": object()}], tmp_path / "model")
    with pytest.raises(ValueError, match="card must hold what JSON can"):
        jp.save(1, tmp_path / "model", {"a": float("nan")})
    assert not (tmp_path / "model").exists()
    with pytest.raises(RunFolderError, match="cannot be written"):
        jp.save(1, "/proc/none/model")


def test_float64_is_not_rounded_in_silence(tmp_path):
    tree, arrays = encoding.encode(jnp.ones(2, jnp.float32))
    with pytest.raises(CheckpointError, match="float64 numbers, which JAX would round to float32"):
        encoding.decode(tree, [np.asarray(arrays[0], np.float64)])


def test_a_fit_leaves_its_model(batches, tmp_path):
    model, history = fit(
        Linear(KEY), mean_square, batches, optax.adam(0.1), 20, key=KEY, chunk=10,
        folder=tmp_path / "one", progress=False, validate=lambda model: jnp.sum(model.weight**2),
    )  # fmt: skip
    file = tmp_path / "one" / "model.jaxpbdl"
    assert bool(eqx.tree_equal(jp.load(file, packages=("regression",)), model))
    card = jp.read_card(file)
    assert card["updates"] == [20] and card["members"] is None
    assert card["validation"] == [pytest.approx(history.validation.min())]
    stacked, _ = fit_ensemble(
        Linear, mean_square, batches, muon(0.1), 10, keys=jax.random.split(KEY, 2),
        folder=tmp_path / "two", progress=False,
    )  # fmt: skip
    file = tmp_path / "two" / "model.jaxpbdl"
    assert bool(eqx.tree_equal(jp.load(file, packages=("regression",)), stacked))
    assert jp.read_card(file)["members"] == 2


class Nameless(eqx.Module):
    inner: Linear
    function: object = eqx.field(static=True)

    def __call__(self, x):
        return self.inner(x)


def test_a_fit_of_a_model_without_a_name_still_ends(batches: Batches, tmp_path):
    model = Nameless(Linear(KEY), lambda x: x)
    fit(model, mean_square, batches, optax.sgd(0.1), 2, key=KEY, folder=tmp_path, progress=False)
    assert not (tmp_path / "model.jaxpbdl").exists()
