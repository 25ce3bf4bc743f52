"""The airfoil surrogate: coordinate files, balance of momentum, a tiny run on flows of its own."""

import json
import zipfile
from dataclasses import replace

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.checks import DataError
from jaxpbdl.data.airfoils import CORNERS, STATIONS, distances, read_airfoils, shape_of, thickness
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.airfoils import airfoil_surrogate
from jaxpbdl.experiments.airfoils.airfoil_surrogate import EXPERIMENT, Config, mirrored, run
from jaxpbdl.experiments.airfoils.baselines import KernelRidge, Known, Neighbours, tuned
from jaxpbdl.experiments.airfoils.data import CENTRE, Flows, parted, read_or_make, simulate
from jaxpbdl.experiments.airfoils.report import (
    MARGINS,
    STREAM,
    deviation_metrics,
    errors,
    force_errors,
    momentum_balance,
)

DIGITS = ("0018", "2420", "0022", "4421", "0006")
TINY = Config(
    cells=(48, 32), reynolds=(100.0, 150.0), duration=2.0, train=2, validation=1, test=1,
    separation=0.005, members=2, width=2, levels=2, modes=4, channels=4, depth=1,
    training=replace(Config.training, batch=2, updates=4),
)  # fmt: skip


@pytest.fixture(scope="module")
def airfoils(tmp_path_factory):
    path = tmp_path_factory.mktemp("airfoils") / "airfoils.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for digits in DIGITS:
            pairs = [f"{10 * x:.6f} {10 * y:.6f}" for x, y in np.asarray(jp.shapes.naca(digits))]
            lines = [f"NACA {digits}", *pairs[:40], "a remark", *pairs[40:]]
            archive.writestr(f"naca{digits}.dat", "\n".join(lines))
    return path


def test_outlines_are_scaled_and_resampled(airfoils):
    found = read_airfoils(airfoils)
    assert sorted(found) == sorted(f"naca{digits}" for digits in DIGITS)
    for digits in DIGITS:
        corners = found[f"naca{digits}"]
        assert corners.shape == (CORNERS, 2)
        np.testing.assert_allclose(thickness(corners), int(digits[2:]) / 100, rtol=0.03)
        shape = jp.shapes.Outline(jnp.asarray(corners))
        exact = jp.shapes.Outline(jp.shapes.naca(digits))
        for point in ((0.3, 0.0), (0.5, 0.3), (-0.2, 0.1)):
            np.testing.assert_allclose(shape(jnp.array(point)), exact(jnp.array(point)), atol=4e-3)


def drawn(digits, turned_by=0.0):
    """A NACA airfoil with corners as `read_airfoils` gives them, turned in the file's frame."""
    corners = np.asarray(jp.shapes.naca(digits))
    return corners + np.stack([0 * corners[:, 0], np.tan(turned_by) * corners[:, 0] + 0.1], 1)


def test_the_distance_of_outlines():
    thin, thick, turned = (shape_of(drawn(*each)) for each in (("0012",), ("0018",), ("0012", 0.1)))
    np.testing.assert_allclose(turned, thin, atol=2e-3)
    # Half of the difference in thickness, on either side.
    np.testing.assert_allclose(distances(thin, np.stack([thick, thin])), [0.03, 0], atol=1e-3)
    cambered = shape_of(drawn("4412"))
    np.testing.assert_allclose(distances(cambered, -cambered[None, ::-1]), 0, atol=1e-12)
    assert distances(cambered, thin[None]) > 0.02


def test_no_outline_is_near_one_of_another_part():
    """Names differ, outlines hardly: 300 airfoils of two parameters."""
    generator = np.random.default_rng(0)
    half = 0.5 * np.sin(np.pi * STATIONS)
    arch = np.sin(2 * np.pi * STATIONS)
    shapes = {}
    for number, (thick, bent) in enumerate(generator.uniform([0.1, 0], [0.3, 0.1], (300, 2))):
        shapes[str(number)] = np.stack([thick * half + bent * arch, -thick * half + bent * arch])
    setting = replace(TINY, train=40, validation=4, test=9, separation=0.02).setting
    parts = parted(shapes, setting)
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [40, 4, 9]
    values = {name: np.stack([shapes[one] for one in part]) for name, part in parts.items()}
    for one, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
        nearest = min(distances(shape, values[other]).min() for shape in values[one])
        assert 0.02 < nearest < 0.06
    with pytest.raises(DataError, match="at most .* lie more than separation = 0.02 chords from 9"):
        parted(shapes, replace(TINY, train=290, validation=4, test=9, separation=0.02).setting)


CELLS = TINY.cells
BODY = (slice(10, 16), slice(13, 19))
DEPARTURE = np.asarray([0.1, -0.05, 0.02], np.float32)[:, None, None]


def flows(count, departure, reynolds=(100.0,), angle=(5.0,)):
    """Flows that depart everywhere by the same from the stream, about a square."""
    distance = np.ones((count, *CELLS), np.float32)
    distance[:, *BODY] = -1
    fields = (STREAM + departure) * (distance[:, None] > 0)
    rows = (count, 2, len(STATIONS))
    shape = np.broadcast_to(np.reshape([0.1, -0.1], (1, 2, 1)), rows)
    numbers = [np.resize(np.asarray(each, np.float32), count) for each in (reynolds, angle)]
    return Flows(
        fields.astype(np.float32), distance, shape, *numbers, np.ones((count, 2)), np.zeros(count)
    )


class Answer(eqx.Module):
    """The same departure everywhere, in units of that of training."""

    size: jax.Array

    def __call__(self, known):
        return jnp.broadcast_to(self.size * jnp.sign(DEPARTURE), known.shape)


def test_metrics_of_known_answers(tmp_path, monkeypatch):
    """Departures of training, validation and test are 1, 2 and 4 times the same; the members of the
    ensemble answer 2 and 3 times it, the FNO 4 times, nearest neighbours once."""
    parts = {
        name: flows(count, factor * DEPARTURE)
        for name, count, factor in (("train", 4, 1), ("validation", 3, 2), ("test", 2, 4))
    }
    open_part = 1 - 36 / np.prod(CELLS)  # scales are means over all cells, the body's too
    units = jnp.asarray([2.0, 3.0, 4.0]) / open_part
    monkeypatch.setattr(airfoil_surrogate, "read_or_make", lambda *_: parts)
    monkeypatch.setattr(
        airfoil_surrogate, "trained", lambda *_: (Answer(units[:2]), Answer(units[2]), {})
    )
    found = run(TINY, tmp_path).metrics
    total, own = np.abs(STREAM + 4 * DEPARTURE).sum(), np.abs(DEPARTURE).sum()
    expected = {"unet": 1.5, "fno": 0.0, "neighbours": 3.0, "stream": 4.0}
    for name, off in expected.items():
        assert found[f"{name}.relative_l1"] == pytest.approx(off * own / total, abs=1e-6)
        assert found[f"{name}.departure"] == pytest.approx(off / 4, abs=1e-6)
        assert found[f"{name}.relative_l1_v"] == pytest.approx(off / 4, abs=1e-6)
    assert found["unet.relative_l1_of_members"] == pytest.approx(1.5 * own / total, rel=1e-5)
    assert found["unet.deviation"] == pytest.approx(0.5**0.5 / open_part, rel=1e-5)
    assert found["unet.error"] == pytest.approx(1.5 / open_part, rel=1e-5)
    total = np.abs(STREAM + 2 * DEPARTURE).sum()
    for name, off in {"unet": 0.5, "fno": 2.0, "neighbours": 1.0, "stream": 2.0}.items():
        assert found[f"{name}.validation"] == pytest.approx(off * own / total, rel=1e-4)
    assert found["nearest_outline_smallest"] == found["nearest_outline_median"] == 0


def test_the_test_set_chooses_nothing(tmp_path, monkeypatch):
    """Whatever the test flows are, training and tuning are given the same."""
    train = flows(4, DEPARTURE, (90.0, 150.0), (2.0, 4.0, -3.0))
    held_out = flows(3, 2 * DEPARTURE)
    seen = []

    def trained(config, train, held_out, scale, folder):
        seen.append((vars(train), vars(held_out), scale))
        return Answer(jnp.ones(2)), Answer(jnp.ones(())), {}

    def watched(method, known, held_out, scale):
        best = tuned(method, known, held_out, scale)
        seen.append((vars(known), vars(held_out), scale, best))
        return best

    monkeypatch.setattr(airfoil_surrogate, "trained", trained)
    monkeypatch.setattr(airfoil_surrogate, "tuned", watched)
    monkeypatch.setattr(airfoil_surrogate, "picture", lambda *_: None)
    for factor in (3.0, np.nan):
        parts = {"train": train, "validation": held_out, "test": flows(2, factor * DEPARTURE)}
        monkeypatch.setattr(airfoil_surrogate, "read_or_make", lambda *_, parts=parts: parts)
        run(TINY, tmp_path)
    assert len(seen) == 6
    assert eqx.tree_equal(seen[:3], seen[3:])


@pytest.mark.parametrize("method", [Neighbours(), KernelRidge(smooth=False, ridge=1e-9)])
def test_plain_methods_know_their_training_flows(method):
    """Upside down too, and what is tuned is no worse on the validation set."""
    generator = np.random.default_rng(0)
    train = flows(12, DEPARTURE, generator.uniform(100, 400, 12), generator.uniform(-9, 9, 12))
    waves = 1 + train.angle / 10 + np.log(train.reynolds / 200)
    train = replace(
        train, fields=train.fields + train.fluid[:, None] * waves[:, None, None, None] * DEPARTURE
    )
    known = Known(train)
    answer = known.answer(method, known.apart(train), train.fluid)
    np.testing.assert_allclose(answer, train.fields, atol=2e-4)
    flipped = replace(
        train, fields=train.fields[..., ::-1] * np.reshape([1, 1, -1], (3, 1, 1)),
        distance=train.distance[..., ::-1], shape=-train.shape[:, ::-1], angle=-train.angle,
    )  # fmt: skip
    answer = known.answer(method, known.apart(flipped), flipped.fluid)
    np.testing.assert_allclose(answer, flipped.fields, atol=2e-4)

    part, rest = (
        Flows(**{k: v[rows] for k, v in vars(train).items()}) for rows in (slice(8), slice(8, 12))
    )
    known, scale = Known(part), np.abs(DEPARTURE)
    best = tuned(method, known, rest, scale)
    off = [
        np.abs(known.answer(each, known.apart(rest), rest.fluid) - rest.fields).mean()
        for each in (method, best)
    ]
    assert best != method and off[1] < 0.8 * off[0]


@pytest.mark.x64
def test_the_force_is_the_momentum_that_is_lost_in_the_boxes():
    """Beside the sum of the divergence of the momentum's flux over the cells of each box, by
    central differences: the sums over the sides are the same."""
    setting = TINY.setting
    fields = np.random.default_rng(0).normal(size=(3, *CELLS))
    pressure, u, v = fields
    (hx, hy), viscosity = setting.widths, 1 / 3.0
    (ux, uy), (vx, vy) = (np.gradient(part, hx, hy) for part in (u, v))
    shear = viscosity * (uy + vx)
    lost = np.stack(
        [
            np.gradient((u - 1) * u + pressure - 2 * viscosity * ux, hx, axis=0)
            + np.gradient((u - 1) * v - shear, hy, axis=1),
            np.gradient(u * v - shear, hx, axis=0)
            + np.gradient(v * v + pressure - 2 * viscosity * vy, hy, axis=1),
        ]
    )
    x, y = (h * (np.arange(n) + 0.5) for h, n in zip((hx, hy), CELLS, strict=True))
    inside = [
        (abs(x - CENTRE[0]) < 0.5 + margin)[:, None] & (abs(y - CENTRE[1]) < 0.3 + margin)
        for margin in MARGINS
    ]
    expected = [-2 * hx * hy * np.sum(lost * box, axis=(1, 2)) for box in inside]
    found = jax.jit(lambda f: momentum_balance(setting, f, jnp.asarray(3.0)))(jnp.asarray(fields))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-9)
    truth = flows(1, DEPARTURE, (3.0,))
    truth = replace(truth, forces=np.asarray(found)[None] * [[1.25, 0.5]])
    off = force_errors(setting, fields[None].astype(np.float32), truth)
    assert off["drag_error"] == pytest.approx(0.2, rel=1e-3)
    assert off["lift_error"] == pytest.approx(1.0, rel=1e-3)


def test_deviations_of_known_members():
    """Two members about a mean that is off by twice their distance, but for one cell."""
    truth, scale = flows(2, DEPARTURE), np.asarray([2.0, 0.5, 1.0])[:, None, None]
    generator = np.random.default_rng(0)
    far = scale * generator.uniform(1, 2, truth.fields.shape) * np.reshape([1, 3], (2, 1, 1, 1))
    centre = truth.fields + 2 * far
    found = deviation_metrics(np.stack([centre - far / 2, centre + far / 2]), truth, scale)
    open_cells = np.broadcast_to(truth.fluid[:, None] > 0, far.shape)
    size = np.sqrt(np.mean((far / scale)[open_cells] ** 2))
    assert found["error"] == pytest.approx(2 * size, rel=1e-6)
    assert found["deviation"] == pytest.approx(size / 2**0.5, rel=1e-6)
    assert found["correlation"] == pytest.approx(1)
    assert found["correlation_of_flows"] == pytest.approx(1)
    members, one = np.stack([centre - far / 2, centre + far / 2]), flows(1, DEPARTURE)
    found = deviation_metrics(members[:, :1], one, scale)
    assert found["correlation"] == pytest.approx(1)
    assert np.isnan(found["correlation_of_flows"])


@pytest.mark.parametrize("smooth", [True, False])
def test_kernel_ridge_regression(smooth):
    """Beside the least squares in which the ridge is a row for each training flow."""
    generator = np.random.default_rng(0)
    points, queries = generator.normal(size=(7, 2)), generator.normal(size=(3, 2))
    values, ridge = generator.normal(size=7), 0.3

    def kernel(one, other):
        r2 = np.sum((one[:, None] - other) ** 2, axis=-1)
        matern = (1 + np.sqrt(5 * r2) + 5 * r2 / 3) * np.exp(-np.sqrt(5 * r2))
        return np.exp(-r2 / 2) if smooth else matern

    root = np.linalg.cholesky(kernel(points, points))
    rows = np.concatenate([root, np.sqrt(ridge) * np.eye(7)])
    off = np.append(values - values.mean(), np.zeros(7))
    found = np.linalg.solve(root.T, np.linalg.lstsq(rows, off, rcond=None)[0])
    expected = values.mean() + kernel(queries, points) @ found
    apart, known = (np.sum((some[:, None] - points) ** 2, -1) for some in (queries, points))
    weights = KernelRidge(smooth=smooth, ridge=ridge).weights(apart, known)
    np.testing.assert_allclose(weights @ values, expected, rtol=1e-9)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_weights_of_the_nearest():
    apart, none = np.asarray([[4.0, 1.0, 9.0], [25.0, 16.0, 0.25]]), np.zeros((3, 3))
    found = Neighbours(k=2, power=1.0).weights(apart, none)
    np.testing.assert_allclose(found, [[0.5, 1, 0], [0, 0.25, 2]], rtol=1e-6)
    np.testing.assert_array_equal(Neighbours(k=1).weights(apart, none), [[0, 1, 0], [0, 0, 1]])


def test_distances_between_flows():
    """Each in units of its mean over the training set with its mirror images."""
    train = flows(2, DEPARTURE, (100.0, 400.0), (2.0, 6.0))
    known = Known(train)
    shape, reynolds, angle = known.apart(flows(1, DEPARTURE, (200.0,), (4.0,)))
    np.testing.assert_allclose(shape, 0)
    # Reynolds numbers differ in half of all pairs, by a factor of 4.
    np.testing.assert_allclose(reynolds, np.full((1, 4), 0.5), rtol=1e-5)
    angles = np.asarray([2.0, 6.0, -2.0, -6.0])
    mean = np.mean((angles[:, None] - angles) ** 2)
    np.testing.assert_allclose(angle[0], (angles - 4) ** 2 / mean, rtol=1e-5)


def test_a_tiny_run(airfoils, tmp_path):
    config = replace(TINY, data=airfoils)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["data"][0]["file"] == "airfoils.zip"
    losses = {name: len(each["loss"]) for name, each in report["histories"].items()}
    assert losses == {"unet_0": 4, "unet_1": 4, "fno": 4}
    metrics = report["metrics"]
    assert metrics["stream.departure"] == pytest.approx(1, abs=1e-5)
    assert 0 < metrics["relative_l1"] < 1 and 0 < metrics["fno.relative_l1"] < 1
    assert metrics["unet.relative_l1"] < metrics["stream.relative_l1"]
    assert metrics["nearest_outline_smallest"] > 0.005
    # Two independent ways to the forces of the same flow, on a grid of twelve cells a chord.
    assert metrics["solver.drag_error"] < 0.1
    assert (tmp_path / "airfoil.png").exists()

    # Computed flows are all that is read from then on.
    flows = tmp_path / "flows.h5"
    assert EXPERIMENT.files(replace(config, data=None, flows=flows)) == [flows]
    with h5py.File(flows) as file:
        names = [file[part].attrs["airfoils"] for part in ("train", "validation", "test")]
    assert all(each.dtype.kind == "S" for each in names)  # under the checksum of the file
    assert {name.decode() for each in names for name in each} <= {f"naca{d}" for d in DIGITS}

    parts = read_or_make(tmp_path / "flows.h5", airfoils, config.setting)
    assert [len(part) for part in parts.values()] == [2, 1, 1]
    with pytest.raises(DataError, match=r"separation = \[0.005\], the settings say \[0.01\]"):
        read_or_make(tmp_path / "flows.h5", airfoils, replace(config, separation=0.01).setting)
    with pytest.raises(DataError, match=r"duration = \[2.0\], the settings say \[3.0\]"):
        read_or_make(tmp_path / "flows.h5", airfoils, replace(config, duration=3.0).setting)
    truth = parts["test"]
    assert errors(truth.fields, truth)["relative_l1"] == 0

    # The program is compiled: the mirrored airfoil at the mirrored angle has the mirrored flow.
    corners = jnp.asarray(read_airfoils(airfoils)["naca4421"], jnp.float32)
    number = jnp.asarray(120.0)
    one, _, force, _ = simulate(config.setting, corners, number, jnp.asarray(8.0))
    flipped = corners * jnp.array([1.0, -1.0])
    other, _, against, _ = simulate(config.setting, flipped, number, jnp.asarray(-8.0))
    np.testing.assert_allclose(mirrored(np.asarray(one)[None], (1, 1, -1))[1], other, atol=2e-4)
    np.testing.assert_allclose(force, against * jnp.array([1, -1]), atol=1e-4)


def test_a_uniform_stream_exerts_no_force():
    fields = jnp.broadcast_to(STREAM, (3, *TINY.cells))
    force = jax.jit(lambda f: momentum_balance(TINY.setting, f, jnp.asarray(100.0)))(fields)
    np.testing.assert_allclose(force, 0, atol=1e-5)


def test_bad_input(airfoils, tmp_path):
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        Config(members=1)
    with pytest.raises(ValueError, match="cells must be even and at least 48 by 30 for airf"):
        Config(cells=(32, 32))
    with pytest.raises(ValueError, match="modes must be at most half the cells, got 40"):
        Config(modes=40)
    with pytest.raises(ValueError, match="reynolds must be a range within 0..1000, laminar"):
        Config(reynolds=(400.0, 100.0))
    with pytest.raises(ValueError, match="angles must be a range within -25..25 degrees"):
        Config(angles=(0.0, 40.0))
    with pytest.raises(DataError, match="of 5 given, 4 are between two cells"):
        read_or_make(tmp_path / "flows.h5", airfoils, replace(TINY, train=3).setting)
    for flows in (None, tmp_path / "absent.h5"):
        with pytest.raises(DataError, match=r"absent\.zip"):
            EXPERIMENT.files(Config(data=tmp_path / "absent.zip", flows=flows))
    (tmp_path / "no.zip").write_text("nothing")
    with pytest.raises(DataError, match="no zip of airfoil coordinates"):
        read_airfoils(tmp_path / "no.zip")
