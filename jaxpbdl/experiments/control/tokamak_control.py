"""A tokamak plasma that follows moving targets, by a network trained through its response.

The machine is of the size of TCV (major radius 0.88 m, 120 kA, 10 kHz; J. Degrave et al., Nature
602 (2022) 414), with coils of its own: eight on each side of 36 turns, a solenoid of 144, and a
vessel of 34 filaments of steel. The plasma is elongated, leans on the inner wall and is vertically
unstable: the linear response of `solvers.plasma` about free-boundary equilibria of several profiles
(beta and the peaking of the current); controllers are made on some, without knowing which one they
have, and judged on others. Measured are the distances from a fixed point to the boundary along rays
and the plasma current, as a reconstruction of the equilibrium in real time gives them, and the
currents of the coils; all with noise and late by one or two steps. Beta jumps at a random time.

Beside the network stands a controller with proportional, integral and derivative parts of the four
quantities that targets move (height, size, elongation, current), decoupled by the pseudo-inverse of
the response of a nominal plasma, with what the moving target asks for in advance. Its gains and the
ridge of the pseudo-inverse are the best of a random search, tuned by the same gradient on the same
scenarios, and as often. The network works through the same pseudo-inverse and starts from no
voltages at all; the same without hidden layers is linear and shows what these are worth. In the end
the free boundary is solved for at currents that the network made, beside the linear response.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpbdl import plotting
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.control.tokamak_loop import (
    Controller,
    Course,
    Policy,
    Scenario,
    Scenarios,
    Signals,
    Tracking,
    best_drawn,
    controlled_rows,
    decoupled,
    first_gains,
    judged,
    measures,
    room,
    units,
)
from jaxpbdl.experiments.control.tokamak_machine import (
    CENTRE,
    HALF,
    INNER,
    OUTER,
    Config,
    Plasmas,
    ProfileOf,
    machine,
    plasmas,
)
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.solvers.plasma import Equilibrium, PlasmaShape, Tokamak, free_boundary


class Checked(NamedTuple):
    """One moment of a course by the equilibrium of its currents; root mean squares of distances in
    cm."""

    found: Equilibrium
    difference: float
    """From the linear model."""
    off: float
    """From the target."""
    moved: float
    """From the reference."""


def checked(
    config: Config, whole: Tokamak, group: Plasmas, scenario: Scenario, course: Course, step: int
) -> Checked:
    """Solve for the free boundary at the currents after a step (from 0); needs float64."""
    number = int(scenario.plasma)
    beta, exponent = group.profiles[number]
    response, start = group.responses[number], group.found[number]
    currents = np.asarray(response.reference) + np.asarray(course.plasma.currents[step], float)
    now = jnp.asarray([beta]) + jnp.asarray(course.plasma.disturbances[step], float)
    of = ProfileOf(jnp.asarray(exponent))(jnp.asarray(currents[-1]), now)
    found = free_boundary(whole, currents[:-1], of, start=start.plasma, picard=0, tolerance=1e-9)
    view = PlasmaShape(whole.grid, CENTRE, config.rays)
    change = np.asarray(view(found) - response.seen)[controlled_rows(config.rays)]
    change = (change / units(config.rays))[:-1]
    linear = np.asarray(course.controlled[step, :-1])
    target = np.asarray(scenario.given.target[step, :-1])
    sizes = [float(np.sqrt(np.mean(x**2))) for x in (change - linear, change - target, change)]
    return Checked(found, *sizes)


def seconds_of_a_call(policy: Policy, calls: int) -> float:
    """Of the compiled network, one set of signals each: the median."""
    controlled, driven = policy.inverse.rates.shape
    inverse = policy.inverse.matrix(10.0**policy.ridge)
    act = jax.jit(lambda signals: policy.act(signals, inverse))
    none = jnp.zeros(controlled)
    signals = Signals(jnp.zeros((3, controlled)), none, none, jnp.zeros(driven))
    act(signals).block_until_ready()
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        act(signals).block_until_ready()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def run(config: Config, folder: Path) -> Result:
    """Linearise, tune, train, judge, check by equilibria; a picture goes to `folder`."""
    with jax.enable_x64(True):
        whole = machine(config.nodes)
        known, held = (plasmas(config, whole, each) for each in (config.known, config.held))
        practice, test = room(config, known), room(config, held)
        inverse = decoupled(config, known.responses[0])
    rates = [response.rates[0] for group in (known, held) for response in group.responses]
    metrics: dict[str, float] = {
        "slowest_growth_per_s": float(min(rates)), "fastest_growth_per_s": float(max(rates)),
    }  # fmt: skip
    loss, histories, ends = Tracking(practice), {}, {}
    methods: dict[str, Controller] = {}
    tuning = replace(config.training, learning_rate=config.tuning_rate)
    keys = jax.random.split(jax.random.key(config.seed), config.members + 1)
    for number, key in enumerate(keys[1:]):
        end = f"_{number}" if number else ""
        draw, which, weights, batches = jax.random.split(key, 4)
        begin = time.perf_counter()
        gains = first_gains(config, inverse, practice.wishes, known.responses[0])
        few = Scenarios(practice, config.training.batch)
        gains = best_drawn(loss, gains, few(which), draw, config.draws)
        gains, history = train(tuning, gains, loss, few, batches, folder, f"pid{end}", b2=0.99)
        methods[f"pid{end}"], histories[f"pid{end}"] = gains, history.loss
        metrics[f"pid{end}.seconds"] = time.perf_counter() - begin
        hidden = {"linear": (), "network": (config.width, config.width)}
        for kind, layers in hidden.items():
            begin, name = time.perf_counter(), f"{kind}{end}"
            policy, history = train(
                config.training, Policy(inverse, layers, weights), loss,
                few, batches, folder, name, b2=0.99,
            )  # fmt: skip
            methods[name], histories[name] = policy, history.loss
            metrics[f"{name}.seconds"] = time.perf_counter() - begin
            metrics[f"{name}.microseconds"] = 1e6 * seconds_of_a_call(policy, config.timed)
    for name, controller in methods.items():
        ends[name] = judged(test, controller, keys[0])
        metrics |= {f"{name}.{what}": value for what, value in measures(*ends[name]).items()}
    for what in ("shape_rmse_cm", "current_rmse_ka"):
        every = [metrics[f"{name}.{what}"] for name in methods if name.startswith("network")]
        metrics[what] = max(every)
    with jax.enable_x64(True):
        far, late = [], []
        for number in range(len(config.held)):
            scenario, course = jax.tree.map(lambda leaf, n=number: leaf[n], ends["network"])
            farthest = int(jnp.argmax(jnp.sum(scenario.given.target[:, :-1] ** 2, axis=1)))
            for moments, step in ((far, farthest), (late, config.judged - 1)):
                moments.append(checked(config, whole, held, scenario, course, step))
    for name, found in (("equilibrium_far", far), ("equilibrium_end", late)):
        metrics[f"{name}.difference_cm"] = max(one.difference for one in found)
        metrics[f"{name}.off_target_cm"] = max(one.off for one in found)
        metrics[f"{name}.moved_cm"] = max(one.moved for one in found)
    _picture(config, whole, held, ends, far[0], folder / "control.png")
    published = {
        what: Published(value, "Degrave et al. 2022, on hardware with magnetic probes")
        for what, value in (("shape_rmse_cm", 0.75), ("current_rmse_ka", 0.62))
    }
    notes = {
        "pid": f"the best of {config.draws} draws, then {config.training.updates} updates",
        "linear": "the network without hidden layers",
        "equilibrium_far": "solved at the currents of the network's first course of each plasma, "
        "where its target is farthest from the reference; the largest",
        "equilibrium_end": "the same at the end",
    }
    return Result(metrics, published, histories, notes=notes)


def _picture(
    config: Config,
    whole: Tokamak,
    group: Plasmas,
    ends: dict[str, tuple[Scenario, Course]],
    far: Checked,
    path: Path,
) -> None:
    """`control.png`: the first scenario, and its boundary where the target is farthest beside that
    of the reference."""
    figure, axes = plotting.figure(1, 4, size=(2.8, 3.0))
    times = 1e3 * config.interval * np.arange(1, config.judged + 1)
    scenario = ends["network"][0]
    upwards = config.rays // 4
    shown = ((upwards, "distance upwards (cm)"), (config.rays, "plasma current (kA)"))
    for ax, (row, title) in zip(axes[0], shown, strict=False):
        ax.plot(times, scenario.given.target[0, :, row], "k--", label="target", linewidth=0.9)
        for name in ("pid", "network"):
            ax.plot(times, ends[name][1].controlled[0, :, row], label=name, linewidth=0.9)
        ax.set(title=title, xlabel="time (ms)")
    axes[0, 0].legend(fontsize=7)
    axes[0, 2].plot(times, ends["network"][1].shares[0], linewidth=0.6)
    axes[0, 2].set(title="voltages over their limits", xlabel="time (ms)")
    ax = axes[0, 3]
    r, z = whole.grid.lines
    for one, colour in ((group.found[0], plotting.LINES[5]), (far.found, plotting.LINES[0])):
        ax.contour(r, z, np.asarray(one.normalised()).T, [1.0], colors=colour, linewidths=1.3)
    box = [(INNER, -HALF), (OUTER, -HALF), (OUTER, HALF), (INNER, HALF), (INNER, -HALF)]
    ax.plot(*np.transpose(box), color="black", linewidth=0.8)
    ax.plot(whole.coils.r, whole.coils.z, "s", color=plotting.LINES[1], markersize=2)
    ax.set(aspect="equal", title="boundaries", xlabel="R (m)")
    plotting.save(figure, path)


EXPERIMENT = Experiment(
    name="tokamak-control",
    summary="a network that moves an unstable tokamak plasma, trained through its response",
    presets={
        "quick": Config(),
        "full": Config(
            nodes=33, members=3, scenarios=16, draws=300,
            training=Training(300, 20, 1e-2, average=None),
        ),
    },
    run=run,
)  # fmt: skip
