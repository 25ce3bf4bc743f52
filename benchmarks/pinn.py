"""Time of a training step of a physics-informed network: Burgers' equation, 10,000 collocation
points, tanh, Adam. The peers are the usual way to write it in JAX, `grad` of `grad` in a vmap,
jinns, and DeepXDE with two of its backends.
"""

from collections.abc import Callable
from typing import Any

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from timing import Line, in_own_process, side_by_side, training_step  # noqa: E402

import jaxpbdl as jp  # noqa: E402
from jaxpbdl import fields, learning  # noqa: E402

BOX = fields.Box((-1.0, 0.0), (1.0, 1.0))
EQUATION = jp.equations.Burgers(0.01 / np.pi)


def plain(network: Any, points: jax.Array) -> jax.Array:
    """The loss by nested reverse mode, all points at once."""

    def u(x: jax.Array, t: jax.Array) -> jax.Array:
        return network(jnp.stack([x, t]))[0]

    def residual(point: jax.Array) -> jax.Array:
        x, t = point
        u_x = jax.grad(u, 0)
        second = jax.grad(u_x, 0)(x, t)
        return jax.grad(u, 1)(x, t) + u(x, t) * u_x(x, t) - EQUATION.viscosity * second

    return jnp.mean(jax.vmap(residual)(points) ** 2)


def ours(mesh: Any) -> Callable[..., jax.Array]:
    def loss(network: Any, points: jax.Array) -> jax.Array:
        field = jp.networks.Chain(network, jnp.squeeze)
        return learning.residual_loss(EQUATION, field, points, mesh=mesh)

    return loss


def lines() -> list[Line]:
    points = fields.uniform(jax.random.key(0), BOX, 10_000)
    table = []
    for name, sizes in (("8 x 20", (2, *[20] * 8, 1)), ("4 x 64", (2, *[64] * 4, 1))):
        network = jp.networks.Dense(sizes, key=jax.random.key(1))
        times: Any = side_by_side(
            {
                "shared": training_step(ours(jp.distributed.mesh("points")), network, points),
                "one": training_step(ours(None), network, points),
                "plain": training_step(plain, network, points),
            },
            repeats=25,
        )
        work = f"PINN step, Burgers, 10,000 points, {name}"
        peer = ("nested grad in plain JAX", times["plain"], "ms")
        table.append(Line(f"{work}, points shared by 2 devices", times["shared"], *peer, 2.0))
        table.append(Line(f"{work}, one device", times["one"], *peer))
        numbers = len(sizes) - 2, sizes[1], 40
        theirs = {
            "jinns": in_own_process("jinns_peer.py", *numbers),
            "DeepXDE, pytorch": in_own_process(
                "deepxde_peer.py", "pinn", *numbers, DDE_BACKEND="pytorch"
            ),
            "DeepXDE, jax": in_own_process("deepxde_peer.py", "pinn", *numbers, DDE_BACKEND="jax"),
        }
        for name, measured in theirs.items():
            shared = f"{work}, points shared by 2 devices"
            table.append(Line(shared, times["shared"], name, measured, "ms", 2.0))
    return table
