"""Many members: simulations shared out over the cores, networks trained together. Two CPU
devices.
"""

import time
from collections.abc import Callable

import jax

jax.config.update("jax_num_cpu_devices", 2)

import equinox as eqx  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402
from flows import FLOW, vorticity  # noqa: E402
from timing import Line, Timing, side_by_side  # noqa: E402

import jaxpbdl as jp  # noqa: E402
from jaxpbdl.learning import Corrected, Windows, fit_ensemble, stack, unrolled  # noqa: E402
from jaxpbdl.networks import ConvNet  # noqa: E402
from jaxpbdl.uncertainty import batch, predict  # noqa: E402


def simulations(points: int = 128, members: int = 16, steps: int = 50) -> list[Line]:
    """Rollouts of an ensemble: in turn, under vmap, shared out over devices."""
    grid = jp.grids.Periodic((points, points))
    step = jp.solvers.spectral.semilinear(FLOW, grid, 0.005)
    states = jnp.stack([jnp.roll(vorticity(points), 3 * i, 0) for i in range(members)])

    def ahead(state: jax.Array) -> jax.Array:
        return jp.repeat(step, steps, checkpoint=False)(state)

    one, batch = jax.jit(ahead), jax.jit(jax.vmap(ahead))
    shared = jax.jit(lambda s: jp.distributed.map_members(ahead, s))
    times = side_by_side(
        {
            "in turn": lambda: [one(state) for state in states],
            "vmap": lambda: batch(states),
            "shared": lambda: shared(states),
        },
        repeats=5,
    )
    work = f"{members} members x {steps} steps at {points}²"
    cores = len(jax.devices())
    return [
        Line(f"{work}, vmap", times["vmap"], "in turn", times["in turn"], "ms", 1.0),
        Line(
            f"{work}, shared out over {cores} devices",
            times["shared"],
            "in turn",
            times["in turn"],
            "ms",
            0.8 * cores,
        ),
    ]


def networks(members: int = 8, updates: int = 20) -> list[Line]:
    """Training through the solver: members together against one after another, on one device and on
    all.
    """
    grid = jp.grids.Periodic((32, 32))
    solver = jp.solvers.spectral.semilinear(FLOW, grid, 0.04)
    start = jp.initial_states.random_vorticity(jax.random.key(0), grid, 4.0, 3.0)
    trajectories = jp.rollout(solver, start, 400, 4)[None]

    def make(key: jax.Array) -> Corrected:
        return Corrected(
            solver, ConvNet(2, 1, 1, width=24, depth=5, key=key), scale=0.1, substeps=4
        )

    windows = Windows(trajectories, 4, 8)
    keys = jax.random.split(jax.random.key(1), members)
    devices = jax.devices()

    def per_update(count: int, used: list) -> Timing:
        """Seconds per update without compilation: the difference of a long and a short fit."""
        seconds = []
        for total in (updates, 3 * updates):
            begin = time.perf_counter()
            fit_ensemble(
                make, unrolled, windows, optax.adam(1e-3), total, keys=keys[:count], chunk=updates,
                progress=False, mesh=jp.distributed.mesh("member", used),
            )  # fmt: skip
            seconds.append(time.perf_counter() - begin)
        value = (seconds[1] - seconds[0]) / (2 * updates)
        return Timing(value, value)

    alone = per_update(1, devices[:1])
    in_turn = Timing(members * alone.minimum, members * alone.median)
    work = f"{members} networks trained through the solver, per update"
    name = f"{members} in turn"
    return [
        Line(f"{work}, one device", per_update(members, devices[:1]), name, in_turn, "ms", 1.0),
        Line(f"{work}, {len(devices)} devices", per_update(members, devices), name, in_turn, "ms"),
    ]


def predictions(count: int = 8, points: int = 64, states: int = 16) -> list[Line]:
    """An ensemble asked at once against its members one after another, on one device and on all."""
    keys = jax.random.split(jax.random.key(0), count)
    models = [ConvNet(2, 1, 1, width=24, depth=5, key=key) for key in keys]
    stacked = stack(models)
    inputs = jax.random.normal(jax.random.key(1), (states, 1, points, points))
    one = eqx.filter_jit(batch)
    devices = jax.devices()

    def together(used: list) -> Callable[[], jax.Array]:
        mesh = jp.distributed.mesh("member", used)
        return lambda: predict(stacked, inputs, batch, mesh=mesh).members

    times = side_by_side(
        {
            "in turn": lambda: [one(model, inputs) for model in models],
            "one device": together(devices[:1]),
            "all": together(devices),
        }
    )
    work = f"predictions of {count} networks for {states} fields of {points}²"
    name = f"{count} in turn"
    return [
        Line(f"{work}, one device", times["one device"], name, times["in turn"], "ms", 0.83),
        Line(f"{work}, {len(devices)} devices", times["all"], name, times["in turn"], "ms", 0.83),
    ]


def lines() -> list[Line]:
    return [*simulations(), *networks(), *predictions()]
