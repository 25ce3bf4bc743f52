"""Operators of one task by one recipe: porous flow of the experiment `fno-darcy`, quick settings.

    JAXPBDL_DATA=/path/to/data python benchmarks/architectures.py [updates] [seed]

prints parameters, seconds and relative L2 error at 16 points a side and at 32, which none has seen.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxpbdl.data import find
from jaxpbdl.experiments.operators import fno_darcy
from jaxpbdl.networks import FNO, UNO, Transolver, parameter_count


class OnGrid(eqx.Module):
    """A network of values at points as one of fields: the points of a grid on the unit square."""

    network: Transolver

    def __call__(self, field: Array) -> Array:
        grid = field.shape[1:]
        axes = [jnp.arange(n) / n for n in grid]
        points = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(grid))
        values = self.network(field.reshape(len(field), -1).T, points)
        return values.T.reshape(-1, *grid)


def main(updates: int = 900, seed: int = 0) -> None:
    training = replace(fno_darcy.QUICK.training, updates=updates)
    config = replace(fno_darcy.QUICK, training=training, seed=seed)
    samples = fno_darcy.read(find("darcy-small"))
    start, fitting = jax.random.split(jax.random.key(seed))
    shared = {"modes": 8, "padding": 0.25, "coordinates": True, "key": start}
    candidates = {
        "FNO": (FNO(2, 1, 1, width=24, **shared), 1e-2),
        "UNO": (UNO(2, 1, 1, width=16, levels=2, **shared), 1e-2),
        "Transolver": (OnGrid(Transolver(2, 1, 1, width=48, slices=24, key=start)), 2e-3),
    }
    for name, (network, rate) in candidates.items():
        settings = replace(config, training=replace(training, learning_rate=rate))
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            operator = fno_darcy.train(
                settings, network, *samples["train_16"], Path(folder), fitting
            )
        seconds = time.perf_counter() - begin
        errors = [fno_darcy.error(operator, *samples[part]) for part in ("test_16", "test_32")]
        print(
            f"{name}: {parameter_count(operator)} parameters, {seconds:.0f} s, "
            f"at 16 {errors[0]:.4f}, at 32 {errors[1]:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
