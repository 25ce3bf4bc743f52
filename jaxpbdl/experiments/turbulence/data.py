"""Trajectories of turbulence: simulated, or by others, then read, turned into vorticity, filtered,
divided.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import data
from jaxpbdl.checks import DataError
from jaxpbdl.distributed.members import map_members
from jaxpbdl.experiments.turbulence.setting import Config
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum, resample
from jaxpbdl.initial_states import random_vorticity
from jaxpbdl.learning import checkpoint
from jaxpbdl.rollouts import repeat, rollout

VELOCITY = (("velocity_x", "velocity_y"), ("v_x", "v_y"), ("Vx", "Vy"), ("u", "v"))
VORTICITY = ("vorticity", "omega", "w", "tensor")


def trajectories(
    config: Config, folder: Path, train_key: PRNGKeyArray, test_key: PRNGKeyArray
) -> tuple[Array, dict[str, Array]]:
    """Training trajectories on the coarse grid, and test ones with their initial states on the
    finest grid.
    """
    if config.data is not None:
        return read_trajectories(config.data, config.coarse, config.interval)
    return checkpoint.cached(folder / "data", lambda: _simulate(config, train_key, test_key))


def _simulate(
    config: Config, train_key: PRNGKeyArray, test_key: PRNGKeyArray
) -> tuple[Array, dict[str, Array]]:
    count = config.train_trajectories + config.test_trajectories
    print(f"simulating {count} trajectories, up to {config.reference}²", flush=True)
    train, _ = simulate(
        config, train_key, config.train_trajectories, config.train_time, config.fine
    )
    truth, initial = simulate(
        config, test_key, config.test_trajectories, config.test_time, config.reference
    )
    return train, {"coarse": truth, "initial": initial}


def simulate(
    config: Config, key: PRNGKeyArray, count: int, time: float, points: int
) -> tuple[Float[Array, "count snapshots n n"], Float[Array, "count m m"]]:
    """Trajectories of developed turbulence with `points` per side, filtered to the coarse grid, and
    their initial states unfiltered.
    """
    warm, warm_every = config.solver(min(2 * config.coarse, points))
    warm_steps = warm_every * max(1, round(config.warm_up / config.interval))
    step, every = config.solver(points)
    coarse = Periodic((config.coarse,) * 2)

    def one(key: PRNGKeyArray) -> tuple[Array, Array]:
        start = random_vorticity(key, warm.grid, config.wavenumber, max_speed=3.0)
        developed = repeat(warm, warm_steps, checkpoint=False)(start)
        # A few intervals on the fine grid fill the scales that the warm-up did not hold.
        fine = resample(developed, warm.grid, step.grid)
        initial = repeat(step, every * max(1, round(2 / config.interval)), checkpoint=False)(fine)
        steps, observe = (
            every * round(time / config.interval),
            partial(resample, source=step.grid, target=coarse),
        )
        snapshots = rollout(step, initial, steps, every, observe=observe, checkpoint=False)
        return snapshots, initial

    return map_members(one, jax.random.split(key, count))


def read_trajectories(
    path: Path, coarse: int, interval: float, test_share: float = 0.25
) -> tuple[Array, dict[str, Array]]:
    """`(train, {"coarse": test, "initial": test states on the file's own grid})`, as simulating
    gives them.

    The file holds two-dimensional vorticity, or velocity, on a periodic square of side 2 pi, at
    equal time steps that divide `interval`. The last quarter of the trajectories (of the time, if
    there is only one) is the test set.

    Raises DataError where the file holds something else.
    """
    source = data.read(path)
    n = source.grid_shape
    if len(n) != 2 or n[0] != n[1] or not np.allclose(source.lengths, 2 * np.pi, rtol=1e-3):
        raise DataError(
            f"{path} must hold a square of side 2 pi, got {n} points and lengths {source.lengths}"
        )
    if n[0] <= coarse:
        raise DataError(f"{path} has {n[0]} points per side, the coarse grid needs fewer than that")
    spacing = np.diff(source.times)
    stride = round(interval / float(spacing[0]))
    if stride < 1 or not np.allclose(spacing * stride, interval, rtol=1e-3):
        raise DataError(
            f"{path} has snapshots {spacing[0]:g} apart, which do not divide the time {interval:g} "
            "between those of this run; set --dt or --substeps to fit (interval = dt * substeps)"
        )
    grid, target = Periodic(n), Periodic((coarse,) * 2)
    fine = _vorticity(source, path, grid)[:, ::stride]
    if len(fine) > 1:
        reserved = max(1, round(test_share * len(fine)))
        train, test = fine[:-reserved], fine[-reserved:]
    else:
        cut = round((1 - test_share) * fine.shape[1])
        train, test = fine[:, :cut], fine[:, cut:]
    down = jax.jit(jax.vmap(jax.vmap(partial(resample, source=grid, target=target))))
    return down(train), {"coarse": down(test), "initial": test[:, 0]}


def _vorticity(source: data.Trajectories, path: Path, grid: Periodic) -> Array:
    names = list(source.channels)
    for name in VORTICITY:
        if name in names:
            return jnp.asarray(source.values[:, :, names.index(name)])
    for first, second in VELOCITY:
        if first in names and second in names:
            u = jnp.asarray(source.values[:, :, names.index(first)])
            v = jnp.asarray(source.values[:, :, names.index(second)])
            return jax.jit(partial(_curl, grid))(u, v)
    raise DataError(f"{path} must hold vorticity or velocity, got the channels {names}")


def _curl(grid: Periodic, u: Array, v: Array) -> Array:
    spectrum = Spectrum(grid)
    modes = spectrum.derivative(spectrum.transform(v), 0) - spectrum.derivative(
        spectrum.transform(u), 1
    )
    return spectrum.to_grid(modes)
