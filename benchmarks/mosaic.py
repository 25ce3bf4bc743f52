"""Gradients under the protocol of Mosaic (arXiv:2606.27895), on our solvers of flow.

- `checks`: J = sum(output^2) of the velocity after some steps, its gradient to the initial velocity
  by one reverse sweep. Random directions of unit length, central differences of eps times the root
  mean square of the initial velocity. Of each direction |fd - g.v| / max(|fd|, |g.v|); the score is
  the smallest over eps of the median over directions, beside the largest cosine of the vectors of
  fd and g.v.
- `horizons`: one reverse sweep through 40, 80, .. steps in three dimensions, finite or not.
- `cost`: of a product with the transposed derivative over the flow alone.
- `drag`: the inflow that a cylinder resists least (`mosaic_drag`).

    python benchmarks/mosaic.py [PART ..] [--long]

`--long` goes to 10,240 steps and the larger grids. Seconds are those of the processor, all threads
together, as others on the machine change them least, and of the clock.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.stages import Compiled
from mosaic_drag import PUBLISHED, lowered
from mosaic_flows import CYLINDER, FlowMap, random_waves, spectral, staggered, vortices

EPSILONS = (5.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)


class Check(NamedTuple):
    """The smallest error over the sizes of the perturbation, and the largest cosine."""

    error: float
    cosine: float


def energy_after(flow: FlowMap) -> FlowMap:
    """J of an initial velocity."""
    return lambda start: jnp.sum(flow(start) ** 2)


def fd_check(
    flow: FlowMap, start: Array, count: int, key: Array, epsilons: Sequence[float] = EPSILONS
) -> Check:
    """The gradient of `energy_after(flow)` beside central differences along `count` directions."""
    of_start = jax.jit(energy_after(flow))
    gradient = jax.jit(jax.grad(energy_after(flow)))(start)
    found = jax.random.normal(key, (count, *start.shape), start.dtype)
    directions = [v / jnp.linalg.norm(v) for v in found]
    slopes = np.array([float(jnp.vdot(gradient, v)) for v in directions])
    size = float(jnp.sqrt(jnp.mean(start**2)))
    errors, cosines = [], []
    for epsilon in epsilons:
        h = epsilon * size
        # Differences of the sums in double precision: those of single precision hold no digit more.
        fd = np.array(
            [(float(of_start(start + h * v)) - float(of_start(start - h * v))) for v in directions]
        ) / (2 * h)
        largest = np.maximum(np.abs(fd), np.abs(slopes))
        errors.append(np.median(np.abs(fd - slopes) / np.where(largest == 0, 1.0, largest)))
        cosines.append(fd @ slopes / (np.linalg.norm(fd) * np.linalg.norm(slopes)))
    return Check(float(np.nanmin(errors)), float(np.nanmax(cosines)))


class Seconds(NamedTuple):
    """Of one call."""

    processor: float
    clock: float


@contextmanager
def stopwatch() -> Iterator[list[Seconds]]:
    """The seconds of what is done meanwhile, in a list that is filled at the end."""
    found: list[Seconds] = []
    processor, clock = time.process_time(), time.perf_counter()
    yield found
    found.append(Seconds(time.process_time() - processor, time.perf_counter() - clock))


def least(call: Callable[[], Array], repeats: int) -> Seconds:
    """The least seconds of `repeats` calls, after one that is not counted."""
    jax.block_until_ready(call())
    taken = []
    for _ in range(repeats):
        with stopwatch() as seconds:
            jax.block_until_ready(call())
        taken.extend(seconds)
    return Seconds(min(one.processor for one in taken), min(one.clock for one in taken))


class Horizon(NamedTuple):
    """Of one reverse sweep: the norm of the gradient, the seconds, the bytes that the sweep needs
    at a time, and the most that the process held meanwhile."""

    norm: float
    seconds: Seconds
    bytes: int
    resident: int


def horizon(steps: int, points: int = 20) -> Horizon:
    """A gradient through `steps` steps."""
    start = vortices(points)
    sweep = jax.jit(jax.grad(energy_after(spectral(steps)))).lower(start).compile()
    with largest_resident_set() as resident, stopwatch() as seconds:
        gradient = jax.block_until_ready(sweep(start))
    norm = float(jnp.linalg.norm(gradient))
    return Horizon(norm, seconds[0], bytes_of(sweep), resident[0])


@contextmanager
def largest_resident_set() -> Iterator[list[int]]:
    """The most bytes that the process holds meanwhile, in a list that is filled at the end; zero
    where there is no Linux to count them."""
    process = Path("/proc/self")
    found: list[int] = []
    counted = (process / "clear_refs").exists()
    if counted:
        (process / "clear_refs").write_text("5")  # forgets the largest set so far
    yield found
    lines = (process / "status").read_text().splitlines() if counted else []
    found.extend(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    found.append(0)


class Sweep(NamedTuple):
    """Of one reverse sweep: its seconds, and the bytes that it needs at a time."""

    seconds: Seconds
    bytes: int


class Cost(NamedTuple):
    """Of the flow, and of a product with its transposed derivative (which holds the flow), states
    recomputed as `repeat` does and all kept."""

    forward: Seconds
    recomputed: Sweep
    kept: Sweep

    def ratio(self, sweep: Sweep) -> float:
        """Of the processor's seconds of a sweep to those of the flow."""
        return sweep.seconds.processor / self.forward.processor


def cost(flow: Callable[[bool], FlowMap], start: Array, repeats: int = 3) -> Cost:
    """`flow`: by whether it recomputes."""

    def sweep(recomputed: bool) -> Sweep:
        def product(start: Array, cotangent: Array) -> Array:
            return jax.vjp(flow(recomputed), start)[1](cotangent)[0]

        compiled = jax.jit(product).lower(start, start).compile()
        return Sweep(least(lambda: compiled(start, start), repeats), bytes_of(compiled))

    forward = jax.jit(flow(True))
    return Cost(least(lambda: forward(start), repeats), sweep(True), sweep(False))


def bytes_of(compiled: Compiled) -> int:
    """That a program needs at a time besides what goes in and comes out."""
    memory = compiled.memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes


def print_checks() -> None:
    """Both solvers, both precisions."""
    print("| flow | precision | error | cosine |\n|---|---|---|---|")
    for precise in (True, False):
        with jax.enable_x64(precise):
            key = jax.random.key(0)
            for name, flow, start, count in (
                ("2D spectral", spectral(20), random_waves(16), 20),
                ("3D spectral", spectral(10), vortices(16), 10),
                ("2D staggered", staggered(20), random_waves(16), 20),
                ("3D staggered", staggered(10), vortices(16), 10),
                ("2D, cylinder", staggered(20, body=CYLINDER), random_waves(16), 20),
            ):
                found = fd_check(flow, start, count, key)
                line = f"{found.error:.2g} | {found.cosine:.8f}"
                print(f"| {name} | {start.dtype} | {line} |", flush=True)


def print_horizons(longest: int) -> None:
    """Until the longest."""
    print("| steps, 20^3 | norm of the gradient | processor, clock s | sweep MiB | resident MiB |")
    print("|---|---|---|---|---|")
    steps = 40
    while steps <= longest:
        found = horizon(steps)
        seconds = f"{found.seconds.processor:.3g}, {found.seconds.clock:.3g}"
        memory = f"{found.bytes / 2**20:.1f} | {found.resident / 2**20:.0f}"
        print(f"| {steps} | {found.norm:.4g} | {seconds} | {memory} |", flush=True)
        steps *= 2


def print_cost(flat: Sequence[int], solid: Sequence[int]) -> None:
    """By the points along a side in two and three dimensions."""
    print("| flow | s | recomputed: over the flow, MiB | all kept: over the flow, MiB |")
    print("|---|---|---|---|")
    cases = [(n, 100, random_waves(n)) for n in flat] + [(n, 50, vortices(n)) for n in solid]
    for points, steps, start in cases:
        for solver in (spectral, staggered):
            found = cost(lambda again: solver(steps, 0.01, 0.01, again), start)  # noqa: B023
            name = f"{solver.__name__} {points}^{len(start)}, {steps} steps"
            sweeps = " | ".join(
                f"{found.ratio(sweep):.2f}, {sweep.bytes / 2**20:.1f}"
                for sweep in (found.recomputed, found.kept)
            )
            print(f"| {name} | {found.forward.processor:.3g} | {sweeps} |", flush=True)


def print_drag() -> None:
    """Beside the published figures."""
    found = lowered()
    print("| drag task | drag at first | at the end | loss at first | at the end |")
    print("|---|---|---|---|---|")
    drags = f"{found.first.drag:.4g} | {found.best.drag:.4g}"
    losses = f"{found.first.value:.4g} | {found.best.value:.4g}"
    print(f"| ours, {found.iterations} iterations, on the body | {drags} | {losses} |")
    for name, drag in PUBLISHED.items():
        print(f"| {name}, on the fluid, not comparable | | {drag:.2g} | | |")
    print("inlet:", " ".join(f"{speed:.3f}" for speed in found.inlet), flush=True)


def main() -> None:
    """Print the parts that are asked for, all by default."""
    parser = argparse.ArgumentParser(description="Gradients under Mosaic's protocol.")
    names = ("checks", "horizons", "cost", "drag")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(names)}")
    parser.add_argument("--long", action="store_true", help="the whole protocol")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(names):
        parser.error(f"parts are {', '.join(names)}; got {', '.join(sorted(unknown))}")
    parts: dict[str, Callable[[], None]] = {
        "checks": print_checks,
        "horizons": lambda: print_horizons(10_240 if given.long else 640),
        "cost": lambda: print_cost(*((64, 128), (16, 32)) if given.long else ((64,), (16,))),
        "drag": print_drag,
    }
    for name in given.parts or names:
        parts[name]()


if __name__ == "__main__":
    main()
