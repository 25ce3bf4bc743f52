"""Quark against gluon jets: batches, figures of merit, a tiny run on the shower."""

import json
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data import shower
from jaxpbdl.data.jets import Constituents, pad
from jaxpbdl.diagnostics import area_under_curve
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.jets import quark_gluon
from jaxpbdl.experiments.jets.quark_gluon import (
    EXPERIMENT,
    METHODS,
    Config,
    jets_of,
    metrics_of,
    network,
    run,
)
from jaxpbdl.experiments.jets.tagging import (
    RADIUS,
    Held,
    JetBatches,
    cross_entropy,
    directions,
    rejection,
)
from jaxpbdl.learning import History, stack
from tests.experiments.fakes import LOSSES

TINY = Config(
    parametrised=True, train=400, validation=100, test=300, inner=(16, 16), outer=(8,),
    methods=("efn", "pfn"), members=2,
    training=replace(Config.training, batch=50, updates=60, learning_rate=1e-2),
)  # fmt: skip


@pytest.fixture(scope="module")
def jets():
    return shower.sample(jax.random.key(0), 40)


def test_the_area_counts_pairs():
    rng = np.random.default_rng(0)
    odds, quark = rng.integers(0, 6, 50).astype(float), rng.random(50) < 0.4
    differences = odds[quark][:, None] - odds[~quark]
    np.testing.assert_allclose(
        area_under_curve(odds, quark), np.mean((differences > 0) + (differences == 0) / 2)
    )
    assert area_under_curve(quark.astype(float), quark) == 1


def test_rejection():
    quark = np.arange(200) < 100
    odds = np.concatenate([np.arange(100), np.arange(100) - 75]).astype(float)
    assert rejection(odds, quark, 0.5) == np.inf  # no gluon above 24
    np.testing.assert_allclose(rejection(odds, quark, 0.9), 100 / 15)


@pytest.mark.parametrize("method", METHODS)
def test_a_ragged_batch_is_its_jets(jets, method):
    tagger = network(TINY, method)(jax.random.key(0))
    chosen = jnp.asarray([7, 7, 0, 39, 12])
    batch = eqx.filter_jit(JetBatches(jets, 5).take)(chosen)
    particles, mask = jax.tree.map(lambda part: jnp.asarray(part[np.asarray(chosen)]), pad(jets))
    dense = jax.jit(jax.vmap(tagger))(particles, mask)
    np.testing.assert_allclose(tagger.ragged(batch), dense, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(batch.quark, jets.quark[np.asarray(chosen)])
    assert np.all(batch.complete)


def test_a_jet_that_does_not_fit_is_left_out(jets):
    batches = JetBatches(jets, 4, capacity=int(jets.counts[:3].sum()))
    batch = batches.take(jnp.arange(4))
    assert list(batch.complete) == [True, True, True, False]
    tagger = network(TINY, "pfn")(jax.random.key(0))
    alone = JetBatches(jets, 3).take(jnp.arange(3))
    np.testing.assert_allclose(
        cross_entropy(tagger, batch), cross_entropy(tagger, alone), rtol=1e-5
    )


def test_held_jets_come_in_order(jets):
    tagger = network(TINY, "pfn")(jax.random.key(0))
    held = Held(jets, 10)
    one = [
        tagger(Constituents(*(part[i] for part in pad(jets)[0])), pad(jets)[1][i]) for i in (0, 25)
    ]
    np.testing.assert_allclose(held.odds(tagger)[jnp.asarray([0, 25])], one, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        held.loss(tagger),
        cross_entropy(tagger, JetBatches(jets, 40).take(jnp.arange(40))),
        rtol=1e-5,
    )


def test_metrics_of_known_odds():
    """Of two members one sorts all jets of the test set rightly and one all but one pair; of the
    validation set the first sorts all wrongly."""
    quark = {"test": np.arange(10) < 5, "validation": np.arange(8) < 4}
    right = np.where(quark["test"], 1.0, -1.0) + np.linspace(0.1, -0.1, 10)
    swapped = right.copy()
    swapped[[4, 5]] = right[[5, 4]]
    odds = {
        "test": np.stack([right, 0.5 * swapped]),
        "validation": np.stack([np.where(quark["validation"], -1.0, 1.0), np.zeros(8)]),
    }
    found = metrics_of("pfn", odds, quark)
    assert found["pfn.auc"] == pytest.approx((1 + 24 / 25) / 2)
    assert found["pfn.auc_deviation"] == pytest.approx((1 - 24 / 25) / 2)
    assert found["pfn.committee_auc"] == 1
    assert found["pfn.accuracy"] == pytest.approx((1 + 0.8) / 2)
    assert found["pfn.validation_auc"] == pytest.approx((0 + 0.5) / 2)
    assert found["pfn.committee_validation_auc"] == 0


def test_the_test_set_trains_nothing(tmp_path, monkeypatch):
    """Training is given the training and the validation set, and each area is of its own set."""
    seen = []

    def train(config, method, jets, folder):
        seen.append(jets)
        history = History(LOSSES, np.empty(0), np.empty(0), None, 0.0)
        return stack([network(config, method)(jax.random.key(0))] * 2), [history] * 2

    monkeypatch.setattr(quark_gluon, "train", train)
    monkeypatch.setattr(quark_gluon, "_picture", lambda *_: None)
    monkeypatch.setattr(
        quark_gluon, "_odds", lambda _, held: -jnp.diff(held.batches.ends, prepend=0)
    )
    config = replace(TINY, train=30, validation=20, test=25, methods=("efn",))
    monkeypatch.setattr(quark_gluon, "unsafe", lambda *_: (np.ones(6), np.ones(6)))
    result = run(config, tmp_path)
    found = result.metrics
    assert {name: list(loss) for name, loss in result.histories.items()} == {
        "efn_0": list(LOSSES), "efn_1": list(LOSSES)
    }  # fmt: skip
    assert [set(each) for each in seen] == [{"train", "validation"}]
    parts = jets_of(config, tmp_path)
    for part in ("train", "validation"):
        np.testing.assert_array_equal(seen[0][part].counts, parts[part].counts)
    # The fake odds are minus the number of particles, whose area is known of each set.
    assert found["efn.auc"] == found["multiplicity.auc"]
    assert found["efn.validation_auc"] == found["multiplicity.validation_auc"]
    assert found["efn.auc"] != found["efn.validation_auc"]
    counts = np.asarray(parts["test"].counts, float)
    assert found["multiplicity.auc"] == area_under_curve(-counts, np.asarray(parts["test"].quark))


@pytest.mark.stand_ins
def test_taggers_are_validated_on_the_validation_set(jets, tmp_path, monkeypatch):
    parts = {"train": jets[:30], "validation": jets[30:]}

    def fit_ensemble(make, loss, batches, *arguments, validate, **settings):
        for given, name in ((batches, "train"), (validate.__self__.batches, "validation")):
            np.testing.assert_array_equal(given.ends, np.cumsum(parts[name].counts))
            np.testing.assert_array_equal(given.quark, parts[name].quark)
        return "stacked", []

    monkeypatch.setattr(quark_gluon, "fit_ensemble", fit_ensemble)
    assert quark_gluon.train(TINY, "efn", parts, tmp_path) == ("stacked", [])


def test_a_tiny_run(tmp_path):
    contract.execute(EXPERIMENT, "quick", TINY, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["multiplicity.auc"] > 0.75 and metrics["pfn.auc"] > 0.7
    assert metrics["efn.auc"] > 0.6 and "efn.committee_auc" in metrics
    assert metrics["efn.soft"] < 1e-4 and metrics["efn.collinear"] < 1e-4
    assert metrics["pfn.soft"] > 1e-2 and metrics["pfn.collinear"] > 1e-3
    assert (tmp_path / "tagging.png").exists() and (tmp_path / "safety.png").exists()


def test_files(tmp_path):
    assert EXPERIMENT.files(Config()) == EXPERIMENT.files(TINY) == []
    for name in ("b.npz", "a.npz"):
        (tmp_path / name).touch()
    files = EXPERIMENT.files
    assert files(Config(data=tmp_path)) == [tmp_path / "a.npz", tmp_path / "b.npz"]
    assert files(Config(data=tmp_path / "a.npz")) == [tmp_path / "a.npz"]
    (tmp_path / "empty").mkdir()
    for absent, message in (("c.npz", "no such file or folder"), ("empty", r"no file \*\.npz")):
        with pytest.raises(DataError, match=f"{absent}: {message}"):
            files(Config(data=tmp_path / absent))


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="updates must be an integer >= 1, got 0"):
        replace(Config.training, updates=0)
    with pytest.raises(ValueError, match="methods must be among efn, .*, got 'cnn'"):
        Config(methods=("cnn",))
    with pytest.raises(ValueError, match="read from data or drawn from the shower"):
        Config(parametrised=True, data=tmp_path)


def test_directions_of_a_particle():
    """Three and four radii from the axis: five, and the logarithm of that."""
    found = directions(RADIUS * jnp.array([[3.0, 4.0]]))
    np.testing.assert_allclose(found, [[3, 4, 5, 1 + np.log(5.01) / 2]], rtol=1e-5)
