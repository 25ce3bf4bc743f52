"""Unknowns of several systems: what the calls find agrees with the truth and with each other;
every system says something of both of its unknowns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.fitting import inverse_problems as ip
from jaxpbdl.experiments.fitting.systems import SYSTEMS, System


@pytest.mark.x64
@pytest.mark.parametrize("name", ["quantum", "molecule", "wake", "sphere", "equilibrium"])
def test_measurements_depend_on_both_unknowns(name):
    system = SYSTEMS[name]

    def seen(logarithms):
        return system.observe(jnp.exp(logarithms)).ravel()

    at = jnp.log(jnp.asarray(system.truth))
    value, slopes = jax.jit(lambda q: (seen(q), jax.jacfwd(seen)(q)))(at)
    assert jnp.all(jnp.isfinite(value))
    lengths = jnp.linalg.norm(slopes, axis=0) / jnp.linalg.norm(value)
    cosine = slopes[:, 0] @ slopes[:, 1] / jnp.prod(jnp.linalg.norm(slopes, axis=0))
    assert jnp.all(lengths > 0.05) and abs(float(cosine)) < 0.995


def test_the_simplex_is_counted_until_it_is_close():
    def loss(q):
        return jnp.sum((q - jnp.array([1.0, -2.0])) ** 2) + 5

    needed = ip._simplex(loss, jnp.zeros(2), 5.0, 500)
    assert 5 < needed < 200
    assert ip._simplex(loss, jnp.array([1.0, -2.0]), 5.0, 500) == 1
    assert ip._simplex(loss, jnp.zeros(2), 0.0, 20) is None  # never within one of this


def test_a_tiny_run(tmp_path):
    system = System(
        lambda unknowns: unknowns[0] * jnp.sin(unknowns[1] * jnp.linspace(0, 6, 50)),
        (2.0, 1.5), (1.5, 1.3),
    )  # fmt: skip
    found = ip.run(ip.Config(members=60), tmp_path, {"light": system}).metrics
    found = {name.replace("light", "waves"): value for name, value in found.items()}
    assert found["waves.errors_over_sigma"] < 4 and found["waves.error"] < 0.02
    assert found["waves.error_minimise"] == pytest.approx(found["waves.error"], abs=1e-3)
    assert found["waves.spread_over_sigma"] == pytest.approx(1, abs=0.25)
    assert found["waves.solves_least_squares"] < found["waves.solves_simplex"] < 200
    # The covariance of a sine's size and frequency, by hand.
    x = np.linspace(0, 6, 50)
    slopes = np.stack([2 * np.sin(1.5 * x), 3 * x * np.cos(1.5 * x)], axis=1)
    noise = 0.02 * np.sqrt(np.mean((2 * np.sin(1.5 * x)) ** 2))
    errors = noise * np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes)))
    assert found["waves.standard_error"] == pytest.approx(errors.max(), rel=0.1)
    assert (tmp_path / "unknowns.png").exists()
