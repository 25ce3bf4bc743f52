"""An hour of trouble: a fit that is killed, told to stop, robbed of disk space and damaged, again
and again, and a process that trains and simulates all the time.

    python benchmarks/endurance.py --minutes 60

What must hold at the end: the fit has the very bits of one that was never disturbed, so that no
flipped bit went unnoticed; each disturbed process ended as it should; the memory of the quiet
process has not grown. The record is printed as one line of JSON.
"""

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHUNK = 20
SMALL_DISK = 2000  # bytes a file may have: less than any checkpoint needs


def problem():
    """A hybrid solver, its loss, its data: small, so that starting takes most of the time."""
    import jax
    import jax.numpy as jnp
    import optax

    import jaxpbdl as jp
    from jaxpbdl.learning import Corrected, Windows, unrolled
    from jaxpbdl.networks import ConvNet

    grid = jp.grids.Periodic(32)
    step = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.05), grid, 0.05)
    x = grid.axes[0]
    starts = jnp.stack([jnp.sin(x + shift) for shift in range(4)])
    truth = jax.vmap(lambda u: jp.rollout(step, u, 40))(starts) * 1.01
    model = Corrected(step, ConvNet(1, 1, 1, width=8, depth=2, key=jax.random.key(0)), scale=0.1)
    return model, unrolled, Windows(truth, steps=4, batch=4), optax.adam(1e-3)


def fitted(folder, steps, pause=0.0):
    import jax

    from jaxpbdl.learning import fit

    def going(report):
        print(report.step, flush=True)
        time.sleep(pause)

    return fit(
        *problem(), steps, key=jax.random.key(1), chunk=CHUNK, folder=folder, progress=False,
        callback=going if pause else None,
    )  # fmt: skip


def train(folder, small_disk):
    """The child: goes on with the fit until somebody ends it."""
    from jaxpbdl.checks import RunFolderError

    if small_disk:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error, not the end
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_DISK, SMALL_DISK))
    try:
        fitted(folder, 10**8, pause=0.1)
    except (RunFolderError, OSError) as error:
        print(f"refused: {error}"[:200], flush=True)
        sys.exit(5)


def quiet(minutes):
    """The process nobody disturbs: its memory in MB, a number a minute."""
    import gc
    import os

    import jax

    import jaxpbdl as jp
    from jaxpbdl.learning import fit

    found, end = [], time.monotonic() + 60 * minutes
    mark = time.monotonic()
    model, loss, batches, optimiser = problem()
    flow = jp.solvers.spectral.semilinear(
        jp.equations.NavierStokes2D(viscosity=0.01), jp.grids.Periodic((32, 32)), 0.01
    )
    state = jp.initial_states.random_vorticity(jax.random.key(0), flow.grid)
    while time.monotonic() < end:
        settings = {"key": jax.random.key(len(found)), "progress": False}
        model, _ = fit(model, loss, batches, optimiser, 100, **settings)
        state = jp.rollout(flow, state, 200, every=50)[-1]
        if time.monotonic() - mark > 30:
            mark = time.monotonic()
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found.append(round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1))
    print(json.dumps(found), flush=True)


def flip(folder, rng, damaged):
    """One bit of one file of the newest checkpoint, where the one before it is whole: two are kept,
    and if both are damaged there is nothing to go on from. Whether it was done."""
    steps = sorted(path for path in folder.glob("step-*") if path.is_dir())
    if len(steps) < 2 or steps[0] in damaged:
        return False
    files = [path for path in steps[-1].iterdir() if path.stat().st_size]
    chosen = rng.choice(files)
    content = bytearray(chosen.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    chosen.write_bytes(content)
    damaged.add(steps[-1])
    return True


def trouble(folder, minutes, seed):
    """Disturb the fit until time is over; how often what was done, and what went wrong."""
    rng, end = random.Random(seed), time.monotonic() + 60 * minutes
    done = dict.fromkeys(("killed", "stopped", "flipped", "full"), 0)
    wrong, damaged = [], set()
    while time.monotonic() < end:
        what = rng.choice(tuple(done))
        command = [sys.executable, __file__, "--train", str(folder)]
        child = subprocess.Popen(
            [*command, *(["--small-disk"] if what == "full" else [])],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        child.stdout.readline()  # it is under way, or has ended
        try:
            out, error = child.communicate(timeout=rng.uniform(0, 3))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGTERM if what == "stopped" else signal.SIGKILL)
            out, error = child.communicate()
        expected = {"stopped": (-signal.SIGTERM, 143), "full": (5, -signal.SIGKILL)}
        if child.returncode not in expected.get(what, (-signal.SIGKILL,)):
            wrong.append(f"{what}: exit {child.returncode}: {(out + error)[-300:]}")
        if what != "flipped" or flip(folder, rng, damaged):
            done[what] += 1
    return done, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--small-disk", action="store_true")
    parser.add_argument("--quiet", type=float)
    options = parser.parse_args()
    if options.train is not None:
        return train(options.train, options.small_disk)
    if options.quiet is not None:
        return quiet(options.quiet)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "fit"
        other = subprocess.Popen(
            [sys.executable, __file__, "--quiet", str(options.minutes)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        done, wrong = trouble(folder, options.minutes, options.seed)
        memory = json.loads(other.communicate()[0])

        import equinox as eqx

        from jaxpbdl.learning import checkpoint

        step = int(checkpoint.latest(folder).name.rpartition("-")[2])
        step += -step % CHUNK
        troubled, history = fitted(folder, step + CHUNK)
        calm, same = fitted(Path(place) / "calm", step + CHUNK)
        record = {
            "minutes": options.minutes,
            **done,
            "updates": len(history.loss),
            "wrong": wrong,
            "bits_equal": bool(eqx.tree_equal(troubled, calm)),
            "losses_equal": bool((history.loss == same.loss).all()),
            "memory_mb": [memory[0], memory[len(memory) // 2], memory[-1]] if memory else [],
        }
    print(json.dumps(record))
    grown = bool(memory) and memory[-1] > 1.03 * memory[len(memory) // 4]
    return 0 if record["bits_equal"] and record["losses_equal"] and not wrong and not grown else 1


if __name__ == "__main__":
    sys.exit(main())
