"""A network trained through a coarse solver corrects it towards a fine one.

Kolmogorov flow, the benchmark of learned interpolation (Kochkov et al., PNAS 118 (2021)
e2101784118). The coarse solver takes `substeps` steps, a small convolutional network corrects the
state, and training unrolls several such turns against the filtered fine solution; an ensemble of
networks is trained at once.
"""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.turbulence.data import trajectories
from jaxpbdl.experiments.turbulence.report import (
    Row,
    member_rows,
    pictures,
    plain_row,
    plain_rows,
    summary,
)
from jaxpbdl.experiments.turbulence.setting import Config
from jaxpbdl.experiments.turbulence.training import (
    Features,
    correction,
    network,
    train_ensemble,
)
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.learning import Emulator
from jaxpbdl.step import AnyStep

SOURCE = "Kochkov et al., PNAS 118 (2021) e2101784118, against a second-order finite-volume solver"


QUICK = Config()
# The published benchmark: Re = 1000 on 64^2, filtered from 2048^2. Meant for an accelerator.
FULL = Config(
    viscosity=1e-3, coarse=64, fine=1024, reference=2048, marks=(1.25, 1.5, 2.0, 4.0, 8.0),
    mark_steps=(4, 5, 6, 8, 18, 40), dt=0.02,
    warm_up=40.0, train_trajectories=32, train_time=30.0, test_trajectories=16, test_time=15.0,
    members=8, emulators=2, width=64, depth=7, unroll=8, pretraining=1000,
    training=replace(Config.training, updates=20_000, batch=16, learning_rate=1e-3),
)  # fmt: skip


def run(config: Config, folder: Path) -> Result:
    """Simulate, train, compare; picture and animation go to `folder`."""
    begin = time.perf_counter()
    keys = iter(jax.random.split(jax.random.key(config.seed), 8))
    train, test = trajectories(config, folder, next(keys), next(keys))
    coarse = Periodic((config.coarse,) * 2)
    scale = jnp.std(train)
    features = Features(coarse, scale)
    corrected = partial(correction, config, features, *config.solver(config.coarse, config.keep))

    def emulator(key: PRNGKeyArray) -> Emulator:
        return Emulator(network(config, 1, key), scale=scale, features=features)

    train_all = partial(train_ensemble, config, folder, train, scale)
    simulated = time.perf_counter()
    ensemble, losses = train_all(corrected, config.members, next(keys), "corrected")
    trained = time.perf_counter()
    emulators, others = train_all(emulator, config.emulators, next(keys), "emulator")
    rows = _compare(config, test, coarse, ensemble, emulators)
    invested = simulated - begin + (trained - simulated) / config.members
    metrics = summary(rows, test["coarse"], coarse, config.interval, invested)
    pictures(rows, test["coarse"], coarse, folder)
    published = {
        "effective_refinement": Published(8.0, f"8-10 times finer; {SOURCE}"),
        "speed_up": Published(40.0, f"40-80 times faster; {SOURCE}"),
    }
    return Result(metrics, published, losses | others)


def _compare(
    config: Config,
    test: dict[str, Array],
    coarse: Periodic,
    ensemble: list[AnyStep],
    emulators: list[AnyStep],
) -> list[Row]:
    """Every method against the test trajectories, each from the same initial states."""
    truth = test["coarse"]
    times = config.interval * np.arange(truth.shape[1])
    print(f"comparing every method on {len(truth)} test trajectories", flush=True)
    rows = plain_rows(config.mark, config, test, times, coarse)
    usual = config.solver(config.coarse)
    rows.insert(1, plain_row("coarse_dealiased", *usual, test, times, coarse))
    rows += member_rows("emulator", emulators, truth, times)
    return rows + member_rows("corrected", ensemble, truth, times)


EXPERIMENT = Experiment(
    name="turbulence-correction",
    summary="a network trained through a coarse solver corrects it towards a fine one",
    presets={"quick": QUICK, "full": FULL},
    run=run,
)
