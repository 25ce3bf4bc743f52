"""A neural operator on arrays of your own: their units, a log, the best model, one file, a server.

Temperatures of a moving rod in kelvin, at the start and later. The operator sees standard numbers
and answers in kelvin: means and deviations of the training data are parts of the model and travel
with it. Training writes losses to a CSV file, keeps the best validated model in a folder, from
which it would resume, and the model runs as StableHLO without this package. Takes 30 seconds.
"""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxpbdl as jp
from jaxpbdl.learning import CsvLog, Samples, export, exported, fit, relative_l2_loss
from jaxpbdl.networks import FNO, Standardised, Units


def measured(key, count):
    """Arrays `(samples, channels, points)`, as they might come from a laboratory."""
    grid = jp.grids.Periodic(64)
    step = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.05), grid, 0.05)
    power = jp.initial_states.peaked(2.0)
    keys = jax.random.split(key, count)
    starts = jax.vmap(lambda k: jp.initial_states.random_field(k, grid, power))(keys)
    later = jax.vmap(lambda u: jp.rollout(step, u, 20, every=20)[-1])(starts)
    return tuple(np.asarray(300 + 5 * values)[:, None] for values in (starts, later))


if __name__ == "__main__":
    keys = jax.random.split(jax.random.key(0), 5)
    (x, y), (x_valid, y_valid), (x_test, y_test) = (
        measured(key, count) for key, count in zip(keys[:3], (400, 50, 50), strict=True)
    )
    network = FNO(1, 1, 1, modes=12, width=24, depth=3, key=keys[3])
    model = Standardised(network, Units.of(x), Units.of(y))

    def error(model, x, y):
        """Of the deviations from 300 K: 300 K themselves are no achievement."""
        found = jax.vmap(model)(jnp.asarray(x))
        return jnp.linalg.norm(found - y) / jnp.linalg.norm(y - 300)

    model, history = fit(
        model,
        relative_l2_loss,
        Samples(jnp.asarray(x), jnp.asarray(y), batch=20),
        optax.adam(optax.cosine_decay_schedule(3e-3, 900)),
        900,
        key=keys[4],
        validate=lambda model: error(model, x_valid, y_valid),
        callback=CsvLog("losses.csv"),
        folder="operator",
    )
    again = jp.load("operator/model.jaxpbdl")  # in any process, without the lines above
    np.testing.assert_array_equal(again(jnp.asarray(x_test[0])), model(jnp.asarray(x_test[0])))
    export(again, jnp.asarray(x_test[0]), "operator.stablehlo")
    served = exported("operator.stablehlo")(jnp.asarray(x_test[:7]))  # any number at once
    lines = list(csv.DictReader(open("losses.csv")))
    found = float(error(again, x_test, y_test))
    print(f"test error {100 * found:.1f} %, {len(lines)} lines of losses, served {served.shape}")
    assert found < 0.05 and served.shape == (7, 1, 64)
