"""jinns' training step of a physics-informed network, in a process of its own.

`python jinns_peer.py DEPTH WIDTH STEPS`: Burgers' equation at 10,000 points, tanh, Adam. Prints
seconds per step, minimum and median of three trainings, by the time of training alone that jinns
reports.
"""

import io
import re
import sys
from contextlib import redirect_stdout

import equinox as eqx
import jax
import jinns
import numpy as np
import optax
from jinns.data import CubicMeshPDENonStatio
from jinns.loss import BurgersEquation, LossPDENonStatio, LossWeightsPDENonStatio
from jinns.nn import PINN_MLP
from jinns.parameters import EqParams, Params


def main(depth: int, width: int, steps: int) -> None:
    key = jax.random.key(0)
    hidden = [(jax.nn.tanh,), (eqx.nn.Linear, width, width)] * (depth - 1)
    layers = [(eqx.nn.Linear, 2, width), *hidden, (jax.nn.tanh,), (eqx.nn.Linear, width, 1)]
    network, weights = PINN_MLP.create(eq_type="PDENonStatio", key=key, eqx_list=tuple(layers))
    params = Params(nn_params=weights, eq_params=EqParams({"nu": 0.01 / np.pi}, "Viscosity"))
    loss = LossPDENonStatio(
        u=network,
        dynamic_loss=BurgersEquation(Tmax=1),
        loss_weights=LossWeightsPDENonStatio(dyn_loss=1.0),
        params=params,
    )
    data = CubicMeshPDENonStatio(
        key=key, n=10_000, nb=None, ni=1, dim=1, min_pts=(-1,), max_pts=(1,), tmin=0, tmax=1,
        domain_batch_size=None,
    )  # fmt: skip

    def seconds(count: int) -> float:
        said = io.StringIO()
        with redirect_stdout(said):
            jinns.solve(
                n_iter=count, init_params=params, data=data, loss=loss,
                optimizer=optax.adam(1e-3), print_loss_every=10 * count,
            )  # fmt: skip
        return float(re.findall(r"Training took\s+([0-9.e+-]+)", said.getvalue())[-1])

    times = [seconds(steps) / steps for _ in range(3)]
    print("seconds", min(times), float(np.median(times)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
