"""Finished runs looked at again: compared, drawn, and their models taken out."""

import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.cli import main
from jaxpbdl.learning import Samples, exported, fit, fit_ensemble
from jaxpbdl.networks import Dense


def loss(model, batch):
    inputs, outputs = batch
    return jnp.mean((jax.vmap(model)(inputs) - outputs) ** 2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two folders as runs leave them, the first with a fit of one network and one of three."""
    root = tmp_path_factory.mktemp("runs")
    x = jnp.linspace(-1, 1, 32)[:, None]
    batches = Samples(x, x**2, batch=8)
    histories, trained = {}, {}
    for name, fitted in {"one": fit, "three": fit_ensemble}.items():
        keys = jax.random.split(jax.random.key(0), 3)
        start = Dense((1, 4, 1), key=keys[0])
        make = start if fitted is fit else lambda key: Dense((1, 4, 1), key=key)
        given = {"key": keys[0]} if fitted is fit else {"keys": keys}
        trained[name], history = fitted(
            make, loss, batches, optax.adam(1e-2), 20, **given,
            folder=root / "a" / "checkpoints" / name, progress=False,
        )  # fmt: skip
        history = history if fitted is fit else history[0]
        histories[name] = {"every": 1, "loss": history.loss.tolist()}
    for name, rate in {"a": 0.1, "b": 0.2}.items():
        report = {
            "experiment": "dummy", "preset": "quick", "seed": 0, "commit": "0123456789abcdef",
            "config": {"training": {"rate": rate, "batch": 8}}, "metrics": {"error": rate / 3},
            "histories": histories if name == "a" else {}, "seconds": 1.5, "data": [], "date": "",
        }  # fmt: skip
        (root / name).mkdir(exist_ok=True)
        (root / name / "result.json").write_text(json.dumps(report))
    return root, trained


def test_runs_side_by_side(runs, capsys):
    root, _ = runs
    assert main(["compare", str(root / "a"), str(root / "b")]) == 0
    shown = capsys.readouterr().out
    assert "training.rate" in shown and "training.batch" not in shown and "commit" not in shown
    assert "0.03333" in shown and "0.06667" in shown
    assert main(["compare", str(root / "a")]) == 2
    assert main(["compare", str(root / "a"), str(root / "none")]) == 2
    assert "none holds no finished run" in capsys.readouterr().err


def test_the_losses_are_drawn(runs, tmp_path, capsys):
    root, _ = runs
    assert main(["plot", str(root / "a"), "--out", str(tmp_path / "losses.svg")]) == 0
    assert "three" in (tmp_path / "losses.svg").read_text()
    assert main(["plot", str(root / "a")]) == 0 and (root / "a" / "losses.png").stat().st_size
    assert main(["plot", str(root / "b")]) == 2
    assert "recorded no losses" in capsys.readouterr().err


def test_the_model_of_a_run_in_one_file(runs, tmp_path, capsys):
    root, trained = runs
    file = tmp_path / "one.jaxpbdl"
    call = ["export", str(root / "a"), "--out", str(file)]
    assert main(call) == 2 and "--fit must be one of one, three" in capsys.readouterr().err
    assert main([*call, "--fit", "one"]) == 0
    assert bool(eqx.tree_equal(jp.load(file), trained["one"]))
    assert jp.read_card(file)["metrics"] == {"error": 0.1 / 3}
    assert main([*call, "--fit", "one"]) == 2 and "is there already" in capsys.readouterr().err
    call[1], call[3] = str(root / "b"), str(tmp_path / "none")
    assert main(call) == 2 and "holds no model.jaxpbdl" in capsys.readouterr().err


def test_the_model_of_a_run_as_a_program(runs, tmp_path, capsys):
    pytest.importorskip("flatbuffers")
    root, trained = runs
    x = jnp.linspace(-1, 1, 7)[:, None]

    def program(name, *options):
        file = tmp_path / "-".join(("program", name, *options))
        call = ["export", str(root / "a"), "--to", "stablehlo", "--fit", name, "--out", str(file)]
        assert main([*call, "--input", "1", *options]) == 0
        return exported(file)

    np.testing.assert_allclose(program("one")(x), jax.vmap(trained["one"])(x), rtol=1e-6)
    second = jp.learning.member(trained["three"], 1)
    np.testing.assert_allclose(program("three", "--member", "1")(x), jax.vmap(second)(x), rtol=1e-6)
    assert program("three")(x[:2]).shape == (2, 3, 1)
    call = ["export", str(root / "a"), "--to", "stablehlo", "--fit", "three"]
    call += ["--out", str(tmp_path / "bad")]
    for options, message in (
        ((), "--input must be a shape, as 1,64"),
        (("--input", "5"), "does not take inputs"),
        (("--input", "1", "--member", "3"), "--member must be from 0 to 2"),
    ):
        assert main([*call, *options]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "bad").write_bytes(b"nothing")
    with pytest.raises(jp.checks.CheckpointError, match="damaged or no exported program"):
        exported(tmp_path / "bad")


def test_the_model_of_a_run_as_onnx(runs, tmp_path):
    """In a runtime without JAX, for any batch."""
    pytest.importorskip("jax2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    root, trained = runs
    x = np.linspace(-1, 1, 7, dtype=np.float32)[:, None]
    call = ["export", str(root / "a"), "--to", "onnx", "--input", "1"]
    for name, options, model in (
        ("one", (), trained["one"]),
        ("three", ("--member", "1"), jp.learning.member(trained["three"], 1)),
    ):
        file = tmp_path / f"{name}.onnx"
        assert main([*call, "--fit", name, "--out", str(file), *options]) == 0
        session = onnxruntime.InferenceSession(str(file))
        for inputs in (x, x[:2]):
            (found,) = session.run(None, {session.get_inputs()[0].name: inputs})
            np.testing.assert_allclose(found, jax.vmap(model)(inputs), rtol=1e-5, atol=1e-6)


def test_onnx_needs_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ImportError, match=r"pip install .jaxpbdl\[onnx\]"):
        jp.learning.export_onnx(jnp.sin, jnp.zeros(3), tmp_path / "sine.onnx")


def test_devices_are_listed(capsys):
    assert main(["devices"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(jax.devices())


def test_the_demonstration_is_its_program(tmp_path, monkeypatch, capsys):
    from jaxpbdl.experiments import demo

    monkeypatch.setattr(demo, "PROGRAM", demo.PROGRAM.replace("96, 96", "16, 16"))
    assert main(["demo", "--out", str(tmp_path / "demo.png")]) == 0
    assert "jp.rollout" in capsys.readouterr().out and (tmp_path / "demo.png").stat().st_size


def test_a_demonstration_without_a_place_for_its_picture_computes_nothing(tmp_path, capsys):
    for name, message in (("demo", "must end in"), ("none/demo.png", "folder that exists")):
        assert main(["demo", "--out", str(tmp_path / name)]) != 0
        said = capsys.readouterr()
        assert message in said.err and "jp.rollout" not in said.out
