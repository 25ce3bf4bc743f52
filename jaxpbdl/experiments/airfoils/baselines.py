"""Flows about airfoils without a network: weighted sums of the flows of the training set.

Two plain methods, each with the settings that are best on the validation set:

- `Neighbours`: the mean of the `k` nearest training flows, weighted by a power of one over their
  distance.
- `KernelRidge`: kernel ridge regression of the whole field on the same inputs; as the fields enter
  linearly, it is that of the coefficients of all their principal components (POD).

Both judge nearness by the same squared distance,

    r^2 = w_shape |s - s'|^2 + w_reynolds (log Re - log Re')^2 + w_angle (angle - angle')^2

with `s` the heights of both sides of the outline, each of the three terms in units of its mean over
the training set. As for the networks, every training flow also counts upside down, fields are
departures from the stream, and only cells in the fluid enter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float

from jaxpbdl.experiments.airfoils.data import Flows
from jaxpbdl.experiments.airfoils.report import STREAM

ROUNDS = 3
"""Passes over the settings, each changed alone, until none changes."""
WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Neighbours:
    """Settings of the mean over neighbours; `power` is that of one over the distance."""

    shape: float = 1.0
    reynolds: float = 1.0
    angle: float = 1.0
    k: int = 1
    power: float = 0.0

    masked = True
    """Whether an answer is a mean over those training flows that have fluid in the cell."""
    GRID = {
        "shape": WEIGHTS,
        "reynolds": WEIGHTS,
        "angle": WEIGHTS,
        "k": (1, 2, 3, 4, 6, 8, 12, 16),
        "power": (0.0, 1.0, 2.0, 3.0, 4.0),
    }

    def weights(
        self, apart: Float[np.ndarray, "n m"], known: Float[np.ndarray, "m m"]
    ) -> Float[np.ndarray, "n m"]:
        """Of each training flow in each answer, from the squared distances."""
        rank = np.argsort(np.argsort(apart, axis=1, kind="stable"), axis=1, kind="stable")
        return np.where(rank < self.k, (apart + 1e-9) ** (-self.power / 2), 0.0)


@dataclass(frozen=True)
class KernelRidge:
    """Settings of the kernel and the ridge; `smooth` chooses the Gaussian kernel, else Matern's of
    order 5/2. The weights contain the length."""

    shape: float = 0.1
    reynolds: float = 0.1
    angle: float = 0.1
    smooth: bool = True
    ridge: float = 1e-2

    masked = False
    GRID = {
        "shape": (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0),
        "reynolds": (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0),
        "angle": (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0),
        "smooth": (True, False),
        "ridge": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3),
    }

    def weights(
        self, apart: Float[np.ndarray, "n m"], known: Float[np.ndarray, "m m"]
    ) -> Float[np.ndarray, "n m"]:
        """Of each training flow in each answer, from the squared distances, in those (`known`)
        between training flows; the mean is taken off the fields before and added after."""
        gram = self._kernel(known) + self.ridge * np.eye(len(known))
        found = np.linalg.solve(gram, self._kernel(apart).T).T
        return found + (1 - found.sum(axis=1, keepdims=True)) / len(known)

    def _kernel(self, squared: np.ndarray) -> np.ndarray:
        if self.smooth:
            return np.exp(-squared / 2)
        r = np.sqrt(5 * squared)
        return (1 + r + r**2 / 3) * np.exp(-r)


Method = Neighbours | KernelRidge


class Known:
    """The flows of a training set, upside down too, and the distances from them."""

    def __init__(self, train: Flows):
        departures = (train.fields - STREAM) * train.fluid[:, None]
        signs = np.reshape([1, 1, -1], (3, 1, 1)).astype(np.float32)
        self.departures = np.concatenate([departures, departures[..., ::-1] * signs])
        self.fluid = np.concatenate([train.fluid, train.fluid[..., ::-1]])
        mirrored = -train.shape[:, ::-1]
        self.inputs = (
            np.concatenate([train.shape, mirrored]).reshape(2 * len(train), -1),
            np.log(np.tile(train.reynolds, 2))[:, None],
            np.concatenate([train.angle, -train.angle])[:, None],
        )
        between = [_squared(part, part) for part in self.inputs]
        self.units = [max(float(part.mean()), 1e-12) for part in between]
        self.between = [part / unit for part, unit in zip(between, self.units, strict=True)]

    def apart(self, flows: Flows) -> list[Float[np.ndarray, "n m"]]:
        """Squared distances of shape, Reynolds number and angle."""
        queries = (
            flows.shape.reshape(len(flows), -1),
            np.log(flows.reynolds)[:, None],
            flows.angle[:, None],
        )
        parts = zip(queries, self.inputs, self.units, strict=True)
        return [_squared(one, other) / unit for one, other, unit in parts]

    def answer(
        self, method: Method, apart: Sequence[np.ndarray], fluid: Float[np.ndarray, "n nx ny"]
    ) -> Float[np.ndarray, "n 3 nx ny"]:
        """Pressure and velocity of flows at these distances, zero within their bodies."""
        scales = (method.shape, method.reynolds, method.angle)
        far, known = (
            sum(scale * part for scale, part in zip(scales, parts, strict=True))
            for parts in (apart, self.between)
        )
        weights = method.weights(np.asarray(far), np.asarray(known)).astype(np.float32)
        departures = np.tensordot(weights, self.departures, 1)
        if method.masked:
            share = np.tensordot(weights, self.fluid, 1)[:, None]
            departures = np.divide(
                departures, share, out=np.zeros_like(departures), where=share > 0
            )
        return (departures + STREAM) * fluid[:, None]


def tuned(method: Method, known: Known, validation: Flows, scale: np.ndarray) -> Method:
    """The settings of the smallest L1 error on the validation set, in units of `scale`: each is
    changed alone, over all its values, in turn."""
    apart = known.apart(validation)

    def error(candidate: Method) -> float:
        answer = known.answer(candidate, apart, validation.fluid)
        off = np.abs(answer - validation.fields) * validation.fluid[:, None] / scale
        return float(off.mean())

    best, smallest = method, error(method)
    for _ in range(ROUNDS):
        before = best
        for item in fields(method):
            for value in method.GRID[item.name]:
                candidate = replace(best, **{item.name: value})
                found = error(candidate)
                if found < smallest:
                    best, smallest = candidate, found
        if best == before:
            break
    return best


def _squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean squared differences of all rows."""
    return np.mean((one[:, None] - other[None]) ** 2, axis=-1)
