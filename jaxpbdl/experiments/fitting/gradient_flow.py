"""One network, trained by integrators of its gradient flow with equally many gradients.

A physics-informed network for the Poisson equation on 0 < x < 1,

    u'' = f,   u = x (1 - x) network(x),   u = sin(pi x) + sin(6 pi x) / 4

whose loss, the mean square of the residual over that of f, is stiff: its curvatures lie many orders
of magnitude apart. Each integrator has the dt (or the tolerance) of a few that trains best on a
seed that is not among those reported. A product with the Hessian counts as two gradients, a
half-inverse gradient too.

Beside it: gradient descent against Euler's method bit by bit, the paths of all integrators on a
landscape of two parameters against the exact flow, and three updates of a textbook example (Thuerey
et al., Physics-based Deep Learning, chapter on scale-invariance and inversion) with the figures
printed there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.learning.gradient_flows import (
    HEUN,
    adaptive_heun,
    exponential_euler,
    gradient_flow,
    half_inverse_loss,
    heavy_ball,
    implicit_euler,
    runge_kutta,
    scale_invariant_loss,
)
from jaxpbdl.networks import Dense
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.time import rk4

Loss = Callable[[PyTree], Array]
MOMENTUM_DECAY = 0.1
"""Friction times dt: momentum exp(-0.1) = 0.905."""
CORNER = np.asarray([-1.2, 1.0])
SOURCE = "Physics-based Deep Learning, notebook physgrad-comparison"
TABLE = {
    "b18_descent": (2.4512184, 0.96171147, 2.63, 1.053930),
    "b18_newton": (0.05202458, 0.92383826, 0.925, 1.264911),
    "b18_inverse": (0.08474258, 0.50421, 0.51, 1.356443),
}
"""Where ten updates from (3, 3) end, its distance to the minimum (two or three digits are printed),
and the cosine of the first update to the diagonal, times sqrt(2)."""
COLUMNS = ("x0", "x1", "distance", "alignment")


@dataclass(frozen=True)
class Config(Validated):
    """Network, points and gradients."""

    seed: int = 0
    seeds: Annotated[int, at_least(1)] = 3
    """Networks that are reported; one more chooses dt."""
    width: Count = 12
    depth: Count = 2
    points: Count = 64
    gradients: Annotated[int, at_least(20)] = 3000
    """Of each training."""
    updates: Count = 1000
    """For the comparison of bits."""


class Method(NamedTuple):
    """An optimiser from its dt (or tolerance), and values of that to choose from."""

    optimiser: Callable[[Array | float], optax.GradientTransformation]
    sizes: tuple[float, ...]
    inverted: bool = False
    """Whether it is given half-inverse gradients, each counted as two."""


METHODS = {
    "euler": Method(optax.sgd, (0.03, 0.1, 0.3, 1.0, 3.0)),
    "momentum": Method(lambda dt: heavy_ball(dt, MOMENTUM_DECAY / dt), (0.2, 0.4, 0.8, 1.6)),
    "heun": Method(lambda dt: runge_kutta(dt, HEUN), (0.1, 0.3, 1.0, 3.0)),
    "kutta": Method(runge_kutta, (0.1, 0.3, 1.0, 3.0)),
    "adaptive": Method(lambda tolerance: adaptive_heun(1e-4, tolerance), (1e-3, 1e-2, 0.1, 1.0)),
    "exponential": Method(
        lambda dt: exponential_euler(dt, curvature=jnp.abs), (1.0, 10.0, 100.0, 1000.0)
    ),
    "implicit": Method(implicit_euler, (1e2, 1e3, 1e4, 1e5, 1e6)),
    "adam": Method(optax.adam, (3e-3, 1e-2, 3e-2, 0.1, 0.3)),
    "half_inverse": Method(optax.sgd, (0.3, 1.0, 3.0, 10.0), True),
}
"""`exponential` has the magnitudes of curvatures: the flow itself runs away where some are
negative."""


class Trained(NamedTuple):
    """Parameters after at most the given number of gradients, and the losses on the way: that of
    the parameters after so many gradients, NaN where no update began."""

    model: PyTree
    state: PyTree
    losses: Float[Array, " gradients"]
    spent: Int[Array, ""]
    ended: Array


@eqx.filter_jit
def train(
    method: Method, size: Array, loss: Callable, driver: Callable, model: PyTree, gradients: int
) -> Trained:
    """Updates while the next one does not exceed the number of gradients. `driver` is the function
    whose gradient the optimiser is given, `loss` the one that is recorded; elsewhere the same."""
    optimiser = optax.with_extra_args_support(method.optimiser(size))
    cost = 2 if method.inverted else 1

    def turn(run: Trained) -> Trained:
        value, gradient = jax.value_and_grad(driver)(run.model)
        changes, state = optimiser.update(
            gradient, run.state, run.model, value=value, grad=gradient, value_fn=loss
        )
        counted = optax.tree_utils.tree_get(state, "gradients")
        spent = run.spent + cost if counted is None else counted
        within = spent <= gradients
        moved = optax.apply_updates(run.model, changes)
        model = jax.tree.map(lambda new, old: jnp.where(within, new, old), moved, run.model)
        losses = run.losses.at[run.spent].set(value, mode="drop")
        return Trained(model, state, losses, jnp.where(within, spent, run.spent), ~within)

    start = Trained(
        model,
        optimiser.init(model),
        jnp.full(gradients, jnp.nan),
        jnp.asarray(0),
        jnp.asarray(False),
    )
    return jax.lax.while_loop(lambda run: ~run.ended & (run.spent < gradients), turn, start)


class Poisson(NamedTuple):
    """The loss of a network, the same with half-inverse gradients, and the relative L2 error of
    its field."""

    loss: Loss
    inverted: Loss
    error: Loss


def poisson(points: int) -> Poisson:
    """The problem at the head of this file, on points in the middle of equal cells."""
    x = (jnp.arange(points) + 0.5) / points
    fine = jnp.linspace(0, 1, 401)

    def truth(x: Array) -> Array:
        return jnp.sin(jnp.pi * x) + jnp.sin(6 * jnp.pi * x) / 4

    def second(function: Callable[[Array], Array], x: Array) -> Array:
        return jax.grad(jax.grad(function))(x)

    size = jnp.mean(jax.vmap(lambda x: second(truth, x))(x) ** 2)

    def field(network: Dense, x: Array) -> Array:
        return x * (1 - x) * network(x[None])[0]

    def residual(network: Dense, x: Array) -> Array:
        return (second(lambda x: field(network, x), x) - second(truth, x)) / jnp.sqrt(size)

    def mean_square(residuals: Array, x: Array) -> Array:
        return jnp.mean(residuals**2)

    def loss(network: Dense) -> Array:
        return mean_square(jax.vmap(lambda x: residual(network, x))(x), x)

    def error(network: Dense) -> Array:
        off = jax.vmap(lambda x: field(network, x))(fine) - truth(fine)
        return jnp.linalg.norm(off) / jnp.linalg.norm(truth(fine))

    inverted = half_inverse_loss(residual, mean_square)
    return Poisson(loss, lambda network: inverted(network, x), error)


def run(config: Config, folder: Path) -> Result:
    """Train by all, compare; a picture goes to `folder`."""
    with jax.enable_x64(True):
        problem = poisson(config.points)
        networks = [_network(config, seed) for seed in range(config.seeds + 1)]
        metrics = {"sgd.bits_equal": bits_equal(problem.loss, networks[0], config.updates)}
        curves = {}
        for name, method in METHODS.items():
            found, curves[name] = _compared(config, problem, method, networks)
            metrics |= {f"{name}.{key}": value for key, value in found.items()}
        paths = landscape_paths()
        for name, path in paths.items():
            if name != "exact":
                metrics[f"{name}.off_path"] = off_path(path, paths["exact"])
        book = book_example()
        for name, row in book.items():
            metrics |= {f"{name}.{key}": value for key, value in zip(COLUMNS, row, strict=True)}
        differences = [np.max(np.abs(np.subtract(book[n], TABLE[n])[[0, 1, 3]])) for n in TABLE]
        metrics["b18.largest_difference"] = float(max(differences))
    _picture(paths, curves, folder)
    published = {
        f"{name}.{key}": Published(value, SOURCE)
        for name, row in TABLE.items()
        for key, value in zip(COLUMNS, row, strict=True)
    }
    return Result(metrics, published)


def _network(config: Config, seed: int) -> Dense:
    sizes = (1, *[config.width] * config.depth, 1)
    return Dense(sizes, key=jax.random.fold_in(jax.random.key(config.seed), seed))


def _compared(
    config: Config, problem: Poisson, method: Method, networks: list[Dense]
) -> tuple[dict[str, float], np.ndarray]:
    """Medians over the seeds, and the losses `(seeds, gradients)`."""
    driver = problem.inverted if method.inverted else problem.loss

    def trained(size: float, network: Dense) -> Trained:
        found = train(method, jnp.asarray(size), problem.loss, driver, network, config.gradients)
        return jax.block_until_ready(found)

    evaluate = eqx.filter_jit(lambda network: (problem.loss(network), problem.error(network)))
    tried = [float(evaluate(trained(size, networks[-1]).model)[0]) for size in method.sizes]
    size = method.sizes[int(np.argmin(np.nan_to_num(tried, nan=np.inf)))]
    rows, lines = [], []
    for network in networks[:-1]:
        begin = time.perf_counter()
        found = trained(size, network)
        seconds = time.perf_counter() - begin
        loss, error = (float(each) for each in evaluate(found.model))
        line = held(np.asarray(found.losses))
        rows.append((loss, line[config.gradients // 10], error, seconds))
        lines.append(line)
    loss, early, error, seconds = np.median(rows, axis=0)
    worst = float(np.max([row[0] for row in rows]))
    found = {"loss": loss, "worst_loss": worst, "early_loss": early, "relative_l2": error}
    numbers = {key: float(value) for key, value in found.items()}
    return {**numbers, "seconds": float(seconds), "dt": size}, np.stack(lines)


def held(losses: Float[np.ndarray, " gradients"]) -> Float[np.ndarray, " gradients"]:
    """The last loss known at each number of gradients; the first one is."""
    known = ~np.isnan(losses)
    known[0] = True
    return losses[np.maximum.accumulate(np.where(known, np.arange(len(losses)), 0))]


def bits_equal(loss: Loss, model: PyTree, updates: int, rate: float = 1e-3) -> float:
    """1 where Euler's method on the gradient flow and `optax.sgd` end at the same bits, else 0."""
    step, descent = gradient_flow(loss, rate), optax.sgd(rate)

    def descend(_: Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        model, state = carry
        changes, state = descent.update(jax.grad(loss)(model), state, model)
        return optax.apply_updates(model, changes), state

    @eqx.filter_jit
    def ends(model: PyTree) -> tuple[PyTree, PyTree]:
        flow = jax.lax.fori_loop(0, updates, lambda _, model: step.advance(model), model)
        return flow, jax.lax.fori_loop(0, updates, descend, (model, descent.init(model)))[0]

    first, second = (jax.tree.leaves(end) for end in ends(model))
    same = [
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first, second, strict=True)
    ]
    return float(all(same))


def rosenbrock(x: Float[Array, "2"]) -> Float[Array, ""]:
    """A bent valley, with a floor that falls slowly."""
    return (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2


PATHS = {
    "euler": (optax.sgd(0.01), 600),
    "momentum": (heavy_ball(0.07, 1.0), 200),
    "heun": (runge_kutta(0.01, HEUN), 600),
    "kutta": (runge_kutta(0.015), 400),
    "adaptive": (adaptive_heun(1e-3, 1e-2), 400),
    "exponential": (exponential_euler(0.1, 2), 100),
    "implicit": (implicit_euler(0.1, newton_steps=6, products=2), 100),
}
"""On `rosenbrock`: optimisers, and updates."""


def landscape_paths() -> dict[str, np.ndarray]:
    """Points `(updates + 1, 2)` of all integrators from `CORNER`, and of the exact flow."""
    start = jnp.asarray(CORNER)
    paths = {}
    for name, (optimiser, updates) in PATHS.items():
        method = optax.with_extra_args_support(optimiser)

        def turn(
            carry: tuple[PyTree, PyTree],
            _: None,
            method: optax.GradientTransformationExtraArgs = method,
        ) -> tuple[tuple[PyTree, PyTree], PyTree]:
            x, state = carry
            value, gradient = jax.value_and_grad(rosenbrock)(x)
            changes, state = method.update(
                gradient, state, x, value=value, grad=gradient, value_fn=rosenbrock
            )
            x = optax.apply_updates(x, changes)
            return (x, state), x

        walk = jax.jit(
            lambda x, t=turn, m=method, n=updates: jax.lax.scan(t, (x, m.init(x)), length=n)[1]
        )
        paths[name] = np.concatenate([CORNER[None], np.asarray(walk(start))])
    flow = rollout(gradient_flow(rosenbrock, 1e-3, rk4), start, 10000, every=2)
    return {"exact": np.asarray(flow), **paths}


def off_path(path: Float[np.ndarray, "points 2"], exact: Float[np.ndarray, "finer 2"]) -> float:
    """The largest distance of a point of a path from the line through the points of another."""
    begin, along = exact[:-1], np.diff(exact, axis=0)
    squares = np.maximum(np.sum(along**2, axis=1), np.finfo(float).tiny)
    off = path[:, None] - begin
    share = np.clip(np.sum(off * along, axis=-1) / squares, 0, 1)
    gaps = np.linalg.norm(off - share[..., None] * along, axis=-1)
    return float(gaps.min(axis=1).max())


def book_example() -> dict[str, tuple[float, float, float, float]]:
    """Ten updates each on |y|^2, y = (x0, x1^2), from (3, 3): gradient descent of rate 0.01,
    Newton's method of rate 1/3, and the inverse of the simulator x -> y applied to Newton's method
    of rate 0.3 in y."""

    def loss(x: Array) -> Array:
        return x[0] ** 2 + x[1] ** 4

    def newton(x: Array) -> Array:
        return x - jnp.linalg.solve(jax.hessian(loss)(x), jax.grad(loss)(x)) / 3

    def inverse(x: Array, batch: None) -> Array:
        y = 0.7 * jnp.stack([x[:, 0], x[:, 1] ** 2], axis=-1)
        return jnp.stack([y[:, 0], jnp.sign(x[:, 1]) * jnp.sqrt(y[:, 1])], axis=-1)

    follow = scale_invariant_loss(lambda x, _: x[None], inverse, lambda x, _: loss(x[0]))
    moves = (
        gradient_flow(loss, 0.01),
        newton,
        gradient_flow(lambda x: follow(x, None), 1.0),
    )
    found, start = {}, jnp.asarray([3.0, 3.0])
    for name, move in zip(TABLE, moves, strict=True):
        path = np.asarray(rollout(move, start, 10))
        first = path[1] - path[0]
        alignment = float(-first.sum() / np.linalg.norm(first))
        x0, x1 = (float(each) for each in path[-1])
        found[name] = (x0, x1, float(np.linalg.norm(path[-1])), alignment)
    return found


def _picture(paths: dict[str, np.ndarray], curves: dict[str, np.ndarray], folder: Path) -> None:
    """`gradient_flow.png`: paths on the landscape beside the exact flow, and losses."""
    figure, axes = plotting.figure(1, 3, size=(4.2, 3.4))
    x, y = np.meshgrid(np.linspace(-1.6, 1.4, 121), np.linspace(-0.4, 1.9, 121), indexing="ij")
    heights = (1 - x) ** 2 + 10 * (y - x**2) ** 2
    names = [name for name in paths if name != "exact"]
    colours = dict(zip(names, (*plotting.LINES, "#0f766e"), strict=True))
    for ax, chosen in zip(axes[0], (names[:4], names[4:]), strict=False):
        ax.contour(x, y, np.log(heights + 0.02), 14, colors="#d1d5db", linewidths=0.5)
        ax.plot(*paths["exact"].T, color="black", linewidth=3, alpha=0.35, label="exact flow")
        for name in chosen:
            ax.plot(
                *paths[name].T, ".-", color=colours[name], label=name, linewidth=0.9, markersize=3
            )
        ax.set(xlim=(-1.6, 1.4), ylim=(-0.4, 1.9), xlabel="x", ylabel="y")
        ax.legend(fontsize=6)
    styles = {"adam": ("black", "--"), "half_inverse": ("black", ":")}
    for name, lines in curves.items():
        colour, style = styles.get(name, (colours.get(name), "-"))
        middle = np.median(lines, axis=0)
        axes[0, 2].loglog(np.arange(1, len(middle) + 1), middle, style, color=colour, label=name)
    axes[0, 2].set(xlabel="gradients", ylabel="loss, median")
    axes[0, 2].legend(fontsize=6)
    plotting.save(figure, folder / "gradient_flow.png")


EXPERIMENT = Experiment(
    name="gradient-flow",
    summary="optimisers as integrators of gradient flow: one stiff network at equal gradients",
    presets={"quick": Config(), "full": Config(gradients=20000)},
    run=run,
)
