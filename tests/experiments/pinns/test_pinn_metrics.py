"""What the physics-informed experiments report of fields and coefficients whose errors are known,
and that no reference value reaches a training that must not know it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.equations import AllenCahn, KortewegDeVries
from jaxpbdl.experiments.pinns import (
    pinn_allen_cahn,
    pinn_burgers,
    pinn_cavity,
    pinn_kdv_inverse,
    pinn_schroedinger,
    pinn_wake_inverse,
    spectral_bias,
    training,
)
from jaxpbdl.experiments.pinns.training import Reference, Settings
from jaxpbdl.learning import residual_at
from tests.data.test_wake import scattered
from tests.experiments.fakes import LOSSES, Training, assert_same

X, T = np.linspace(-1, 1, 21), np.linspace(0, 1, 11)
SETTINGS = dict(width=4, depth=1, points=5, adam=2, updates=2, chunk=2)


class Fit:
    """In place of `training.train`: the model it returns is `answer`. It also notes what data,
    initial or boundary values add to the loss."""

    def __init__(self, answer):
        self.answer, self.noted = answer, Training(lambda name: None)

    def __call__(self, settings, model, posed, domain, key, folder, anchors=None):
        added = jnp.zeros(()) if anchors is None else anchors(model)
        self.noted(model, domain, added, key=key, name=str(folder))
        return self.answer, jnp.zeros((3, 2)), {"Adam": LOSSES}


def wave(x, t):
    return (1.5 + jnp.sin(jnp.pi * x)) * jnp.exp(-t)


def off(point):
    """The wave with an error that grows in time to a tenth of it."""
    return (1 + 0.1 * point[1]) * wave(*point)


def known_reference(factor):
    x, t = np.meshgrid(X, T, indexing="ij")
    return Reference(X, T, factor * np.asarray(wave(x, t)), "a formula")


def expected(factor):
    """Relative error of `off` against a multiple of the wave; and at the end, and the largest."""
    x, t = np.meshgrid(X, T, indexing="ij")
    values = np.asarray(wave(x, t))
    error = (1 + 0.1 * t - factor) * values
    size = factor * np.linalg.norm(values)
    return {
        "relative_l2": np.linalg.norm(error) / size,
        "relative_l2_end": abs(1.1 - factor) / factor,
        "largest_error": np.abs(error).max(),
    }


CASES = {
    "burgers": (pinn_burgers, Settings(**SETTINGS), off),
    "schroedinger": (
        pinn_schroedinger,
        Settings(**SETTINGS),
        lambda point: jnp.array([0.6, -0.8]) * off(point),
    ),
    "allen-cahn": (pinn_allen_cahn, pinn_allen_cahn.Config(**SETTINGS, windows=2), off),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_problems(tmp_path, monkeypatch, name):
    module, config, field = CASES[name]
    monkeypatch.setattr(training.plotting, "save", lambda *_: None)
    fits, equations = [], []
    for factor in (1.0, 2.0):

        def reference(name, given, equation, *_, factor=factor):
            equations.append(equation)
            return known_reference(factor)

        monkeypatch.setattr(module, "reference", reference)
        fits.append(Fit(field))
        monkeypatch.setattr(module, "train", fits[-1])
        result = module.run(config, tmp_path)
        for metric, value in expected(factor).items():
            assert result.metrics[metric] == pytest.approx(value, rel=1e-6)
        assert all(loss.tolist() == [3, 2, 1] for loss in result.histories.values())
        assert len(result.histories) == (2 if name == "allen-cahn" else 1)
    with jax.enable_x64(True):
        at = np.stack(np.meshgrid(X, T, indexing="ij"), axis=-1).reshape(-1, 2)
        residual = residual_at(equations[0], field, jnp.asarray(at))
        rms = float(jnp.sqrt(jnp.mean(residual**2)))
    assert result.metrics["mean_residual"] == pytest.approx(rms, rel=1e-3)
    assert_same(fits[0].noted, fits[1].noted)


def test_kdv_inverse(tmp_path, monkeypatch):
    """The snapshots are data; the times between them are not."""
    monkeypatch.setattr(training.plotting, "save", lambda *_: None)
    config, fits, truth = pinn_kdv_inverse.Config(**SETTINGS), [], known_reference(1.0)
    with jax.enable_x64(True):
        found = pinn_kdv_inverse.Model(KortewegDeVries(1.1, 0.8 * 0.0025), lambda at: off(at)[None])
    for factor in (1.0, 2.0):
        middle = (T > 0.25) & (T < 0.75)
        values = np.where(middle, factor, 1.0) * truth.values
        values = np.where((T < 0.15) | (T > 0.85), 1e9, values)  # not between the snapshots
        changed = truth._replace(values=values)
        monkeypatch.setattr(pinn_kdv_inverse, "reference", lambda *_, r=changed, **__: r)
        fits.append(Fit(found))
        monkeypatch.setattr(pinn_kdv_inverse, "train", fits[-1])
        metrics = pinn_kdv_inverse.run(config, tmp_path).metrics
        assert metrics["lambda1"] == pytest.approx(1.1)
        assert metrics["lambda1_error"] == pytest.approx(0.1)
        assert metrics["lambda2_error"] == pytest.approx(0.2)
        inner = (T > 0.15) & (T < 0.85)
        wrong = ((1 + 0.1 * T) * truth.values - values)[:, inner]
        error = np.linalg.norm(wrong) / np.linalg.norm(values[:, inner])
        assert metrics["relative_l2"] == pytest.approx(error, rel=1e-6)
    assert_same(fits[0].noted, fits[1].noted)


def test_cavity(tmp_path, monkeypatch):
    """A field whose velocity is (y, x), and tables that differ from it by known amounts."""
    monkeypatch.setattr(pinn_cavity, "_picture", lambda *_: None)
    path, fits = tmp_path / "table.dat", []
    config = pinn_cavity.Config(**SETTINGS, data=path, reynolds=1000)
    column = 1 + pinn_cavity.COLUMNS[1000]
    for factor in (1.0, 3.0):
        places = np.array([0.1, 0.4, 0.7])
        rows = np.full((3, 12), 77.0)  # of the other Reynolds numbers
        rows[:, 0], rows[:, column] = places, places + factor * np.array([0.1, 0, -0.2])
        rows[:, 6], rows[:, 6 + column] = places, places + factor * np.array([0, 0.06, 0])
        np.savetxt(path, rows)
        fits.append(Fit(lambda at: jnp.stack([(at[1] ** 2 - at[0] ** 2) / 2, 0 * at[0]])))
        monkeypatch.setattr(pinn_cavity, "train", fits[-1])
        metrics = pinn_cavity.run(config, tmp_path).metrics
        assert metrics == {
            "u.largest_error": pytest.approx(0.2 * factor),
            "v.largest_error": pytest.approx(0.06 * factor),
            "largest_error": pytest.approx(0.2 * factor),
            "mean_error": pytest.approx(0.06 * factor),
        }
    assert_same(fits[0].noted, fits[1].noted)


@pytest.mark.x64
def test_momentum_in_the_cavity():
    """Of a flow at rest at its walls with a pressure of its own: beside the equations written out,
    and the weight that is small at the ends of the lid."""
    x, y, viscosity = 0.3, 0.6, 0.01
    flow = pinn_cavity.SteadyFlow(viscosity)
    field = lambda at: jnp.stack([at[0] ** 3 * at[1] ** 4, at[0] ** 2 + 5 * at[1]])  # noqa: E731
    u, v = 4 * x**3 * y**3, -3 * x**2 * y**4
    ux, uy, vx, vy = 12 * x**2 * y**3, 12 * x**3 * y**2, -6 * x * y**4, -12 * x**2 * y**3
    of_u = 24 * x * y**3 + 24 * x**3 * y
    of_v = -6 * y**4 - 36 * x**2 * y**2
    expected = np.stack(
        [u * ux + v * uy + 2 * x - viscosity * of_u, u * vx + v * vy + 5 - viscosity * of_v]
    )
    far = [((x - side) ** 2 + (y - 1) ** 2) / pinn_cavity.REACH**2 for side in (0, 1)]
    weight = np.prod([each / (1 + each) for each in far])
    found = flow.residual(field, jnp.asarray([x, y]))
    np.testing.assert_allclose(found, weight * expected, rtol=1e-9)
    velocity = pinn_cavity.velocity_of(field)(jnp.asarray([x, y]))
    np.testing.assert_allclose(velocity, [u, v], rtol=1e-9)


@pytest.mark.x64
@pytest.mark.stand_ins
def test_the_misfit_at_the_walls():
    """At rest the lid alone is missed, a quarter of the points; a flow of speed one along x is off
    on the other three."""
    at_rest = pinn_cavity._wall_misfit(lambda at: jnp.zeros(2))
    assert float(at_rest) == pytest.approx(pinn_cavity.WALL_WEIGHT / 4)
    sliding = pinn_cavity._wall_misfit(lambda at: jnp.stack([at[1], 0 * at[0]]))
    assert float(sliding) == pytest.approx(pinn_cavity.WALL_WEIGHT * 3 / 4)
    rising = pinn_cavity._wall_misfit(lambda at: jnp.stack([at[1] - at[0] ** 2, 0 * at[0]]))
    # v = 2 x, on the wall x = 1 and with the mean of 4 x^2 on floor and lid.
    x = (np.arange(pinn_cavity.WALL_POINTS) + 0.5) / pinn_cavity.WALL_POINTS
    expected = pinn_cavity.WALL_WEIGHT * (3 + 4 + 2 * np.mean(4 * x**2)) / 4
    assert float(rising) == pytest.approx(expected)


@pytest.mark.x64
def test_the_opening_of_a_seam():
    """The same to both sides of the seam, and what the heat equation makes of 2 |d| at its foot:
    2 sqrt(4 D t / pi), less decayed."""
    equation = AllenCahn(diffusivity=1e-4, growth=2.0, saturation=1.0)
    at = jax.jit(lambda x, t: pinn_allen_cahn.opening(jnp.stack([x, t]), equation))
    for away in (0.0, 0.01, 0.3):
        assert float(at(1 - away, 0.1)) == pytest.approx(float(at(away - 1, 0.1)), abs=1e-9)
    foot = 2 * np.sqrt(4 * 1e-4 * 0.1 / np.pi) * np.exp((2 - 3) * 0.1)
    initial = float(pinn_allen_cahn.initial(jnp.asarray(1.0)))
    assert float(at(1.0, 0.1)) == pytest.approx(initial + foot, abs=1e-5)
    middle = float(pinn_allen_cahn.initial(jnp.asarray(0.2)))
    assert float(at(0.2, 0.1)) == pytest.approx(middle, abs=1e-9)


def test_a_damaged_table(tmp_path):
    path = tmp_path / "table.dat"
    for content in (b"1 2 x", b"\xff\xfe", b"1 2\n1 2 3", b"1 2\n"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"table\.dat"):
            pinn_cavity.run(pinn_cavity.Config(data=path), tmp_path)


def test_wake_inverse(tmp_path, monkeypatch):
    """Two members, and pressures that are too large by a tenth and a third of a tenth."""
    monkeypatch.setattr(pinn_wake_inverse, "_picture", lambda *_: None)
    fits = []
    for factor in (1.0, 2.0):
        parts = scattered()
        parts["p_star"] = factor * parts["p_star"]
        np.savez(tmp_path / "wake.npz", **parts)
        noted = Training(lambda name: None)
        fits.append(noted)

        def fit(config, rows, key, folder, noted=noted):
            noted(rows, key=key, name=folder.name)
            number = int(folder.name)

            def field(at):
                x, y, t = at
                return jnp.stack([x, y, (1.1 + 0.2 * number) * (x + 10 * y) + 5 + t])

            equation = pinn_wake_inverse.Momentum(1.1 + 0.2 * number, 0.012)
            return pinn_wake_inverse.Model(field, equation), {"Adam": LOSSES}

        monkeypatch.setattr(pinn_wake_inverse, "_fit", fit)
        config = pinn_wake_inverse.Config(data=tmp_path / "wake.npz", members=2)
        result = pinn_wake_inverse.run(config, tmp_path)
        metrics = result.metrics
        assert metrics["lambda1"] == pytest.approx(1.2)
        assert metrics["lambda1_error"] == pytest.approx(0.2)
        assert metrics["lambda1_spread"] == pytest.approx(0.2 / 2**0.5)
        assert metrics["lambda2_error"] == pytest.approx(0.2)
        assert metrics["lambda2_spread"] == pytest.approx(0, abs=1e-12)
        error = pytest.approx(abs(1.2 / factor - 1), rel=1e-6)
        assert metrics["pressure.relative_l2"] == error
        assert set(result.histories) == {"member 0, Adam", "member 1, Adam"}
    assert_same(*fits)


def test_spectral_bias(tmp_path, monkeypatch):
    """Each method is off by a known factor at its last look."""
    monkeypatch.setattr(spectral_bias, "_picture", lambda *_: None)
    solution = np.random.default_rng(0).normal(size=(spectral_bias.TIMES + 1, spectral_bias.POINTS))
    monkeypatch.setattr(spectral_bias, "rollout", lambda *_: solution)
    factors = {"plain": 1.4, "fourier_features": 1.3, "adaptive_points": 1.2, "weak_form": 1.1}

    def watched(config, field, loss, batches, key, grid, folder, name):
        return [1, 2], [0 * solution, factors[name] * solution], LOSSES

    monkeypatch.setattr(spectral_bias, "_watched", watched)
    result = spectral_bias.run(spectral_bias.Config(width=4, depth=1, features=2), tmp_path)
    names = ["relative_l2", *(f"waves_{low}_{high}" for low, high in spectral_bias.BANDS)]
    assert result.metrics == {
        f"{method}.{name}": pytest.approx(factor - 1, rel=1e-5)
        for method, factor in factors.items()
        for name in names
    }
    assert set(result.histories) == set(factors)


@pytest.mark.parametrize("updates, count, looks", [
    (4, 12, [4]), (50, 12, [50]), (3000, 1, [3000]), (200, 3, [50, 100, 200]),
])  # fmt: skip
def test_looks_end_with_the_last_update(updates, count, looks):
    assert spectral_bias.looks_at(updates, count) == looks


def test_spectral_bias_trains_as_long_as_it_is_told(tmp_path):
    config = spectral_bias.Config(width=4, depth=1, features=2, points=50, updates=4, looks=3)
    equation = spectral_bias.AdvectionDiffusion(1.0, 1e-3)
    grid = spectral_bias.Periodic((spectral_bias.POINTS,), lengths=2.0, origin=-1.0)
    start = spectral_bias.initial(grid.axes[0], 0.1)
    field, loss, batches = spectral_bias._methods(config, equation, grid, start)["plain"]
    looks, solutions, losses = spectral_bias._watched(
        config, field, loss, batches, jax.random.key(0), grid, tmp_path, "plain"
    )
    assert looks == [4] and len(solutions) == 1 and losses.shape == (4,)


READERS = {
    "train": (pinn_burgers, pinn_schroedinger, pinn_allen_cahn, pinn_kdv_inverse, pinn_cavity),
    "_fit": (pinn_wake_inverse,),
}


@pytest.mark.parametrize("training, module", [(f, m) for f, ms in READERS.items() for m in ms])
def test_a_missing_file_is_noticed_before_the_training(tmp_path, monkeypatch, training, module):
    def trained(*_):
        raise AssertionError("trained before the file was looked for")

    monkeypatch.setattr(module, training, trained)
    kind = type(next(iter(module.EXPERIMENT.presets.values())))
    config = kind(data=tmp_path / "absent.mat")
    for look in (module.EXPERIMENT.files, lambda config: module.run(config, tmp_path)):
        with pytest.raises(DataError, match=r"absent\.mat"):
            look(config)
