"""Lynx and hare: the equations by what they conserve, the density by its parts, a tiny run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxpbdl.checks import DataError
from jaxpbdl.data.pelts import read_pelts
from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty.lynx_hare import (
    EXPERIMENT,
    Config,
    Posterior,
    populations,
    start,
)

CSV = "# counts\nYear, Lynx, Hare\n1900, 4.0, 30.0\n1901, 6.1, 47.2\n"


def test_what_predator_and_prey_conserve():
    unknowns = start()
    alpha, beta, gamma, delta = (
        float(jnp.exp(unknowns[n])) for n in ("alpha", "beta", "gamma", "delta")
    )
    hare, lynx = np.asarray(populations(unknowns, 15), float).T
    kept = delta * hare - gamma * np.log(hare) + beta * lynx - alpha * np.log(lynx)
    assert np.ptp(hare) > 20
    np.testing.assert_allclose(kept, kept[0], rtol=2e-4)


def test_the_density():
    """Of numbers, changed to their logarithms, by SciPy."""
    counts = np.array([[30.0, 4.0], [47.2, 6.1], [70.2, 9.8]])
    unknowns = start()
    values = {name: np.exp(np.asarray(leaf, float)) for name, leaf in unknowns.items()}
    expected = (
        stats.norm(np.log(populations(unknowns, 3)), values["spread"]).logpdf(np.log(counts)).sum()
    )
    for name, (centre, width) in {
        "alpha": (1.0, 0.5), "beta": (0.05, 0.05), "gamma": (1.0, 0.5), "delta": (0.05, 0.05),
    }.items():  # fmt: skip
        expected += stats.norm(centre, width).logpdf(values[name]) + np.log(values[name])
    expected += stats.norm(-1, 1).logpdf(np.log(values["spread"])).sum()
    expected += stats.norm(np.log(10), 1).logpdf(np.log(values["start"])).sum()
    found = Posterior(jnp.asarray(counts, float))(unknowns)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_reader(tmp_path):
    path = tmp_path / "pelts.csv"
    path.write_text(CSV)
    years, counts = read_pelts(path)
    np.testing.assert_array_equal(years, [1900, 1901])
    np.testing.assert_array_equal(counts, [[30.0, 4.0], [47.2, 6.1]])
    path.write_text(CSV.replace("Lynx, Hare", "Hare, Lynx"))
    with pytest.raises(DataError, match="columns Year, Lynx, Hare expected"):
        read_pelts(path)
    path.write_text(CSV.replace("47.2", "-1"))
    with pytest.raises(DataError, match="positive counts"):
        read_pelts(path)
    with pytest.raises(DataError, match="no such file"):
        read_pelts(tmp_path / "none.csv")


def test_a_tiny_run(tmp_path, monkeypatch):
    """Counts that follow the equations closely: their rates are found."""
    pytest.importorskip("blackjax")
    (tmp_path / "lynx-hare").mkdir()
    true = start()
    counts = populations(true, 15) * jnp.exp(0.02 * jax.random.normal(jax.random.key(0), (15, 2)))
    rows = [f"{1900 + i}, {lynx}, {hare}" for i, (hare, lynx) in enumerate(np.asarray(counts))]
    text = "\n".join(["Year, Lynx, Hare", *rows])
    (tmp_path / "lynx-hare" / "hudson-bay-lynx-hare.csv").write_text(text)
    monkeypatch.setenv("JAXPBDL_DATA", str(tmp_path))
    config = Config(draws=100, warmup=100, chains=2)
    with pytest.warns(UserWarning, match="not the published file"):
        found = execute(EXPERIMENT, "quick", config, tmp_path / "run").metrics
    for name in ("alpha", "beta", "gamma", "delta"):
        assert found[f"{name}.sampled"] == pytest.approx(float(jnp.exp(true[name])), rel=0.1)
        assert found[f"{name}.laplace"] == pytest.approx(found[f"{name}.sampled"], rel=0.05)
    assert (tmp_path / "run" / "populations.png").exists()
