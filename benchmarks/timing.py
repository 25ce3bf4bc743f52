"""Side-by-side timing: candidates take turns, so that all of them see the same machine."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the minimum and the median of the repeats."""

    minimum: float
    median: float

    def __truediv__(self, divisor: float) -> "Timing":
        return Timing(self.minimum / divisor, self.median / divisor)


def side_by_side(
    candidates: Mapping[str, Callable[[], Any]], repeats: int = 9
) -> dict[str, Timing | str]:
    """Time each candidate `repeats` times in turn, after one call that compiles. A candidate that
    fails is reported
    with its error instead of a time."""
    running, results = {}, {}
    for name, call in candidates.items():
        try:
            jax.block_until_ready(call())
            running[name] = call
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
            results[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    seconds: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(repeats):
        for name, call in running.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append(time.perf_counter() - start)
    results |= {name: Timing(min(s), float(np.median(s))) for name, s in seconds.items()}
    return {name: results[name] for name in candidates}


def training_step(loss: Callable[..., jax.Array], network: Any, batch: Any) -> Callable[[], Any]:
    """A call that makes one update by Adam and keeps its result; `loss(network, batch)`."""
    optimiser = optax.adam(1e-3)
    state = [network, optimiser.init(eqx.filter(network, eqx.is_inexact_array))]

    @eqx.filter_jit
    def update(network: Any, optimiser_state: Any, batch: Any) -> tuple[Any, Any]:
        gradient = eqx.filter_grad(loss)(network, batch)
        changes, optimiser_state = optimiser.update(gradient, optimiser_state)
        return eqx.apply_updates(network, changes), optimiser_state

    def call() -> Any:
        state[:] = update(*state, batch)
        return jax.tree.leaves(eqx.filter(state[0], eqx.is_array))

    return call


def in_own_process(script: str, *arguments: object, **environment: str) -> Timing | str:
    """What a peer's script beside this file prints at its end, the minimum and the median seconds;
    or the last line of its error.
    """
    interpreter = os.environ.get("PEER_PYTHON", sys.executable)
    command = [interpreter, str(Path(__file__).with_name(script)), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ | environment
    )
    try:
        minimum, median = map(float, done.stdout.split()[-2:])
    except ValueError:
        return (done.stderr.strip().splitlines() or ["no output"])[-1][:80]
    return Timing(minimum, median)


@dataclass(frozen=True)
class Line:
    """One line of the table: what was measured, ours and a peer's (unit as named), and the bar for
    the ratio.
    """

    work: str
    ours: Timing
    peer_name: str
    peer: Timing | str
    unit: str = "us"
    bar: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is, by the minimum times."""
        return None if isinstance(self.peer, str) else self.peer.minimum / self.ours.minimum

    def cells(self) -> list[str]:
        scale = {"us": 1e6, "ms": 1e3, "s": 1.0, "MB": 1.0}[self.unit]

        def show(t: Timing) -> str:
            return f"{t.minimum * scale:.3g} / {t.median * scale:.3g} {self.unit}"

        if isinstance(self.peer, str):
            return [self.work, show(self.ours), self.peer_name, "does not run", "", self.peer]
        medians = self.peer.median / self.ours.median
        ratio = f"{self.ratio:.2f} / {medians:.2f}"
        met = (
            "" if self.bar is None else f"{self.bar:g} {'yes' if self.ratio >= self.bar else 'NO'}"
        )
        return [self.work, show(self.ours), self.peer_name, show(self.peer), ratio, met, self.note]
