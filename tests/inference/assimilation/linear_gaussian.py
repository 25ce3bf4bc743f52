"""A linear model with Gaussian errors, and the Kalman filter and smoother of it in NumPy."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpbdl.inference.assimilation import Observations, Problem, problem

SIZE, MEASURED = 4, 3


class Linear(NamedTuple):
    """`x <- forward x` a step, `y = look x`, errors with covariance `errors`."""

    forward: np.ndarray
    look: np.ndarray
    errors: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    def problem(self, interval: int = 1) -> Problem:
        """With the state as a tree of two leaves."""
        forward, look = jnp.asarray(self.forward), jnp.asarray(self.look)

        def flat(state):
            return jnp.concatenate([state["a"].ravel(), state["b"]])

        def step(state):
            moved = forward @ flat(state)
            return {"a": moved[:2].reshape(1, 2), "b": moved[2:]}

        start = {"a": jnp.asarray(self.mean[:2]).reshape(1, 2), "b": jnp.asarray(self.mean[2:])}
        observations = Observations(lambda state: look @ flat(state), self.errors, interval)
        return problem(step, observations, start, self.covariance)


def linear(seed: int = 0) -> Linear:
    draw = np.random.default_rng(seed)
    rotation = np.linalg.qr(draw.normal(size=(SIZE, SIZE)))[0]
    some, other = draw.normal(size=(SIZE, SIZE)), draw.normal(size=(MEASURED, MEASURED))
    return Linear(
        forward=1.05 * rotation + 0.05 * draw.normal(size=(SIZE, SIZE)),
        look=draw.normal(size=(MEASURED, SIZE)),
        errors=other @ other.T + 0.5 * np.eye(MEASURED),
        mean=draw.normal(size=SIZE),
        covariance=some @ some.T + 0.2 * np.eye(SIZE),
    )


def kalman(model: Linear, observed, mean, covariance, *, interval=1, noise=0.0, inflation=1.0):
    """Means and covariances of the analyses (Kalman filter); `noise` times the identity is added to
    the covariance at each interval, the square of `inflation` multiplies each analysed one."""
    forward = np.linalg.matrix_power(model.forward, interval)
    means, covariances = [], []
    for y in np.asarray(observed):
        mean, covariance = forward @ mean, forward @ covariance @ forward.T
        covariance = covariance + noise * np.eye(SIZE)
        innovation = model.look @ covariance @ model.look.T + model.errors
        gain = covariance @ model.look.T @ np.linalg.inv(innovation)
        mean = mean + gain @ (y - model.look @ mean)
        covariance = inflation**2 * (covariance - gain @ model.look @ covariance)
        means.append(mean)
        covariances.append(covariance)
    return np.stack(means), np.stack(covariances)


def deviations(covariances) -> np.ndarray:
    return np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
