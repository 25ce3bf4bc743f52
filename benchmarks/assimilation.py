"""Filters, smoothers and 4D-Var beside DAPPER, on the same truths and the same measurements.

    DAPPER_PYTHON=/path/to/python-with-dapper python benchmarks/assimilation.py [ANALYSES]

Errors of the analyses, mean of three truths, and milliseconds an analysis: of one run after another
on one core, and of ours also with 64 runs at once (`vmap`), as a study of settings has them.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from timing import side_by_side

from jaxpbdl.experiments.assimilation import twins
from jaxpbdl.inference.assimilation import assimilate, errors_in_time, twin_experiment

SEEDS, TOGETHER, TIMED = 3, 64, 200


def cases(analyses):
    config = twins.Config(analyses=analyses, seeds=SEEDS)
    made = (twins.lorenz63(config), twins.lorenz96(config), twins.sparse_lorenz96(config))
    return dict(zip(("lorenz63", "lorenz96", "lorenz96_sparse"), made, strict=True))


def seconds(call, repeats=3):
    return side_by_side({"": call}, repeats)[""].minimum


def ours(case, entry, twin):
    """Error, seconds an analysis alone, seconds an analysis of many runs at once."""

    @eqx.filter_jit
    def run(observed, key):
        return assimilate(entry.method, case.problem, observed, key)

    keys = jax.random.split(jax.random.key(1), SEEDS)
    errors = []
    for seed in range(SEEDS):
        part = jax.tree.map(lambda leaf, seed=seed: leaf[seed], twin)
        score = errors_in_time(run(part.observed, keys[seed]), part.truth)
        errors.append(float(np.mean(score.rmse[case.burn_in :])))
    alone = seconds(lambda: run(twin.observed[0], keys[0])) / len(twin.observed[0])
    few = twin.observed[0, :TIMED]
    many = eqx.filter_jit(jax.vmap(lambda key: run(few, key)))
    several = jax.random.split(jax.random.key(2), TOGETHER)
    together = seconds(lambda: many(several), 2) / (TIMED * TOGETHER)
    return float(np.mean(errors)), alone, together


def main():
    analyses = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    made, twins_of = cases(analyses), {}
    for name, case in made.items():
        keys = jax.random.split(jax.random.key(0), SEEDS)
        run = eqx.filter_jit(
            jax.vmap(lambda key, case=case: twin_experiment(case.problem, analyses, key))
        )
        twins_of[name] = run(keys)
    peer = {}
    if python := os.environ.get("DAPPER_PYTHON"):
        with tempfile.TemporaryDirectory() as folder:
            arrays = {}
            for name, twin in twins_of.items():
                arrays[f"{name}_truth"] = np.asarray(twin.truth)
                arrays[f"{name}_observed"] = np.asarray(twin.observed)
            np.savez(Path(folder) / "twins.npz", **arrays)
            script = str(Path(__file__).with_name("dapper_peer.py"))
            done = subprocess.run(
                [python, script, str(Path(folder) / "twins.npz")],
                stdout=subprocess.PIPE, text=True, check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
            )  # fmt: skip
            peer = json.loads(done.stdout.strip().splitlines()[-1])
    print("| case | error, ours | DAPPER here | ms, ours | ms, DAPPER | ms of 64 at once, each |")
    print("|---|---|---|---|---|---|")
    for name, case in made.items():
        for entry in case.entries:
            error, alone, together = ours(case, entry, twins_of[name])
            other = peer.get(f"{name}.{entry.name}")
            theirs = ("", "") if other is None else (f"{other[0]:.3f}", f"{1e3 * other[1]:.2f}")
            print(
                f"| {name} {entry.name} | {error:.3f} | {theirs[0]} | {1e3 * alone:.3f} | "
                f"{theirs[1]} | {1e3 * together:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
