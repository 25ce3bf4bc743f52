"""DAPPER on measurements that others made, in a process of its own.

`python dapper_peer.py FILE.npz`: the file holds for each case `CASE_truth (seeds, times, n)` and
`CASE_observed`. Prints JSON: by case and method the mean error of the analyses over the seeds and
the seconds an analysis takes.
"""

import json
import sys
import time

import dapper.da_methods as da
import numpy as np
from dapper.mods.Lorenz63.sakov2012 import HMM as LORENZ63
from dapper.mods.Lorenz96.sakov2008 import HMM as LORENZ96

METHODS = {
    "lorenz63": (
        LORENZ63,
        25,
        64,
        {
            "oi": lambda: da.OptInterp(),
            "3dvar": lambda: da.Var3D(xB=0.1),
            "enkf": lambda: da.EnKF("Sqrt", N=10, infl=1.02, rot=True),
            "enkf_n": lambda: da.EnKF_N(N=10, rot=True),
            "ienks": lambda: da.iEnKS("Sqrt", N=10, infl=1.02, rot=True),
        },
    ),
    "lorenz96": (
        LORENZ96,
        1,
        400,
        {
            "oi": lambda: da.OptInterp(),
            "3dvar": lambda: da.Var3D(xB=0.02),
            "enkf": lambda: da.EnKF("Sqrt", N=24, infl=1.02),
            "letkf": lambda: da.LETKF(N=7, rot=True, infl=1.04, loc_rad=4),
            "ienks": lambda: da.iEnKS("Sqrt", N=40, infl=1.01),
        },
    ),
    "lorenz96_sparse": (
        LORENZ96,
        4,
        100,
        {
            "4dvar_static": lambda: da.Var4D(Lag=4, xB=0.02),
            "ienks_lag4": lambda: da.iEnKS("Sqrt", N=20, Lag=4, xN=2),
        },
    ),
}
"""Model, steps between measurements, analyses that do not count, and methods, tuned as printed in
DAPPER's settings files. Its static covariance is 0.02 of the climate's for 4D-Var where ours is
0.002: each as tuned by its own."""


def main(path):
    given, found = np.load(path), {}
    for case, (model, every, burn_in, methods) in METHODS.items():
        truths, observed = given[f"{case}_truth"], given[f"{case}_observed"]
        model = model.copy()
        model.tseq.dko = every
        model.tseq.Ko = observed.shape[1] - 1
        steps = model.tseq.K + 1
        for name, make in methods.items():
            errors, seconds = [], []
            for seed, (truth, seen) in enumerate(zip(truths, observed, strict=True)):
                states = np.zeros((steps, truth.shape[1]))
                states[every::every] = truth  # elsewhere nobody looks
                np.random.seed(seed)
                method = make()
                begin = time.perf_counter()
                try:
                    method.assimilate(model, states, seen, liveplots=False)
                except IndexError:  # 4D-Var of DAPPER 1.7.1 with measurements of all values
                    break
                seconds.append((time.perf_counter() - begin) / len(seen))
                errors.append(float(np.mean(method.stats.err.rms.a[burn_in:])))
            if errors:
                found[f"{case}.{name}"] = [float(np.mean(errors)), min(seconds)]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
