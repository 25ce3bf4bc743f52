"""What an ensemble knows of itself: noise, ignorance, coverage, score, and guaranteed intervals.

Five networks with a noise of their own are trained at once on noisy points of a curve with a gap.
Between the points their spread tells noise from ignorance; in the gap ignorance grows. Conformal
intervals from a calibration set cover as often as they say. Takes 20 seconds.
"""

import jax
import jax.numpy as jnp
import optax

from jaxpbdl import uncertainty
from jaxpbdl.learning import Samples, fit_ensemble
from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty import Heteroscedastic, beta_nll

NOISE = 0.1


def curve(x):
    return jnp.sin(6 * x) * x


def noisy(key, count):
    """Points on both sides of a gap, 0.4 to 0.7."""
    place, noise = jax.random.split(key)
    x = jax.random.uniform(place, (count, 1))
    x = jnp.where(x < 4 / 7, 0.7 * x, 0.7 + 0.7 * (x - 4 / 7))
    return x, curve(x) + NOISE * jax.random.normal(noise, x.shape)


def loss(model, batch):
    x, y = batch
    return beta_nll(jax.vmap(model)(x), y)


if __name__ == "__main__":
    keys = jax.random.split(jax.random.key(0), 4)
    train, calibration, test = (
        noisy(key, count) for key, count in zip(keys[:3], (200, 1000, 1000), strict=True)
    )
    members, histories = fit_ensemble(
        lambda key: Heteroscedastic(Dense((1, 32, 32, 2), key=key)),
        loss,
        Samples(*train, batch=50),
        optax.adam(3e-3),
        3000,
        keys=jax.random.split(keys[3], 5),
    )

    def said(x):
        found = uncertainty.predict(members, x, uncertainty.batch)
        return found.mean, found.deviation, found

    mean, deviation, found = said(test[0])
    within = normal = uncertainty.normal_half_width(0.9) * deviation
    held = float(jnp.mean(uncertainty.covered(mean - within, mean + within, test[1])))
    crps = float(jnp.mean(uncertainty.gaussian_crps(mean, deviation, test[1])))
    noise = float(jnp.sqrt(jnp.mean(found.aleatoric)))
    known, unknown = (
        float(jnp.sqrt(jnp.mean(f.epistemic))) for f in (found, said(jnp.full((1, 1), 0.55))[2])
    )
    before, spread, _ = said(calibration[0])
    low, high = uncertainty.conformal_interval(
        mean.ravel(), deviation.ravel(), (calibration[1] - before).ravel(), spread.ravel(), 0.9
    )
    promised = float(jnp.mean(uncertainty.covered(low, high, test[1].ravel())))
    print(f"noise {noise:.3f} (true {NOISE}), CRPS {crps:.4f} (at best {NOISE / jnp.pi**0.5:.4f})")
    print(f"ignorance {known:.3f} where points are, {unknown:.3f} in the gap")
    print(f"90 % intervals hold {held:.3f} of new points, conformal ones {promised:.3f}")
    assert abs(noise - NOISE) < 0.02 and unknown > 1.5 * known and 0.85 < promised < 0.95
