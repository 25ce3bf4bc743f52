"""A network in a coarse solver of wakes, beside the plain solvers that cost as much or err as much.

The solver in the loop (Um et al., NeurIPS 2020) on the wakes of `flow.py`: a small network on
patches pushes the flow of a coarse solver, the same force at all stages of a few steps, and
training unrolls several such turns against simulations on a grid six times finer. Does it pay?
Against its own solver it does, but a plain solver on a finer grid errs less too. So plain solvers
on grids up to four times finer, with two kinds of interpolation and two schemes, each at its
largest accurate dt, make a front of error against cost, and the pay-off is the cost of the plain
solver that errs as much over that of the hybrid. Validation wakes choose the update of each member;
test wakes have Reynolds numbers between those of the training, and outside them, or other bodies.

The simulations take half an hour of one core and are kept: with `--data FOLDER` a run reads them
from there, or leaves them there for the next one. They are not exact, and a network that learns
from them learns their errors too: so the truth of one more test is on a still finer grid.
"""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.wakes import hybrid as hybrids
from jaxpbdl.experiments.wakes.comparison import (
    all_methods,
    coarse,
    over_long_times,
    over_whole_wakes,
    pictures,
    same_cost,
    summary,
    timed,
    window_errors,
)
from jaxpbdl.experiments.wakes.hybrid import Hybrid
from jaxpbdl.experiments.wakes.setting import Config, simulated


def run(config: Config, folder: Path) -> Result:
    """Simulate, train, compare; pictures go to `folder`."""
    data = simulated(config, folder)
    key = jax.random.key(config.seed)
    models, histories = hybrids.train(
        config.hybrid, config.setting, data.train, data.validation, config.horizon, key, folder
    )
    cylinder, *others = data.tests
    methods = all_methods(config, models, cylinder)
    errors = window_errors(config, methods, cylinder)
    for test in others:
        errors |= window_errors(config, all_methods(config, models, test), test)
    prices = timed(config, methods)
    invested = sum(float(jnp.sum(wake.seconds)) for wake in (data.train, data.validation))
    invested += sum(history.seconds for history in histories) / len(histories)
    length = config.window * config.test_windows
    metrics, notes = summary(errors, prices, invested, length)
    validated = [float(np.nanmin(history.validation)) for history in histories]
    metrics |= {f"hybrid_{k}.validation": value for k, value in enumerate(validated)}
    best = f"hybrid_{int(np.argmin(validated))}"
    equal = same_cost(config, errors["inside"], prices)
    long = over_whole_wakes(config, models, cylinder, [coarse(config), equal])
    metrics |= over_long_times(config, cylinder, long, equal)
    names = coarse(config), equal, best
    pictures(config, cylinder, errors, prices, long, names, folder)
    losses = {f"hybrid_{k}": history.loss for k, history in enumerate(histories)}
    return Result(metrics, histories=losses, notes=notes)


EXPERIMENT = Experiment(
    name="wake-correction",
    summary="a network in a coarse solver of wakes against plain solvers: error over cost",
    presets={
        # The plain solvers that are on the front of `full`.
        "quick": Config(
            central_grids=(1.0, 2.0, 3.0, 4.0),
            limited_grids=(1.0,),
            multistep=False,
            bodies=(),
            finest=None,
        ),  # fmt: skip
        "full": Config(hybrid=Hybrid(training=replace(Hybrid().training, updates=4000))),
    },
    run=run,
)
