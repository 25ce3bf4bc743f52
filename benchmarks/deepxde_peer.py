"""DeepXDE's training steps, in a process of its own: its backend is chosen once, by DDE_BACKEND.

`python deepxde_peer.py pinn DEPTH WIDTH STEPS` and `python deepxde_peer.py deeponet STEPS` print
seconds per step, minimum and median.
"""

import sys
import time

import numpy as np


def watched(model, steps: int) -> None:
    """Train and print the times between the ends of steps."""
    import deepxde as dde

    class Clock(dde.callbacks.Callback):
        ends: list[float] = []

        def on_batch_end(self):
            if dde.backend.backend_name == "jax":  # which answers before it has computed
                dde.backend.jax.block_until_ready(self.model.params)
            self.ends.append(time.perf_counter())

    model.compile("adam", lr=1e-3)
    model.train(iterations=steps, display_every=10 * steps, callbacks=[Clock()], verbose=0)
    seconds = np.diff(Clock.ends)[5:]
    print("seconds", min(seconds), float(np.median(seconds)))


def pinn(depth: int, width: int, steps: int) -> None:
    """Burgers' equation at 10,000 points."""
    import deepxde as dde

    def residual(x, u):
        slope, rate = dde.grad.jacobian(u, x, i=0, j=0), dde.grad.jacobian(u, x, i=0, j=1)
        bend = dde.grad.hessian(u, x, i=0, j=0)
        if dde.backend.backend_name == "jax":
            (u, _), (slope, _), (rate, _), (bend, _) = u, slope, rate, bend
        return rate + u * slope - 0.01 / np.pi * bend

    domain = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1))
    data = dde.data.TimePDE(domain, residual, [], num_domain=10_000)
    net = dde.nn.FNN([2] + [width] * depth + [1], "tanh", "Glorot normal")
    watched(dde.Model(data, net), steps)


def deeponet(steps: int) -> None:
    """256 functions known at 100 sensors, evaluated at 2048 points; both nets of three times
    128."""
    import deepxde as dde

    random = np.random.default_rng(0)
    branch = random.standard_normal((256, 100)).astype(np.float32)
    trunk = random.random((2048, 2)).astype(np.float32)
    target = random.standard_normal((256, 2048)).astype(np.float32)
    data = dde.data.TripleCartesianProd((branch, trunk), target, (branch[:2], trunk), target[:2])
    net = dde.nn.DeepONetCartesianProd(
        [100, 128, 128, 128], [2, 128, 128, 128], "tanh", "Glorot normal"
    )
    watched(dde.Model(data, net), steps)


if __name__ == "__main__":
    task, *numbers = sys.argv[1:]
    {"pinn": pinn, "deeponet": deeponet}[task](*map(int, numbers))
