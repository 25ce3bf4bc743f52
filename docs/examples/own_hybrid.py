"""A hybrid of your own: a solver whose unknown force is a network, trained through the solver.

Any class of steps and networks can be trained by `fit`: what a solver holds stays as it is, what a
network holds learns, and nobody has to say so. Takes 30 seconds.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import jaxpbdl as jp
from jaxpbdl.learning import Windows, fit, unrolled
from jaxpbdl.networks import Dense

grid = jp.grids.Periodic(64)
x = grid.axes[0]
solver = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.05), grid, 0.02)


class Forced(jp.Step):
    """Burgers' equation with a force that a network gives at every point."""

    solver: jp.Step
    network: Dense

    def advance(self, state):
        where = jnp.stack([jnp.sin(x), jnp.cos(x)], axis=1)
        force = jax.vmap(self.network)(where)[:, 0]
        return self.solver(state, force)


def true_force(x):
    return 0.5 * jnp.sin(2 * x) - 0.3 * jnp.cos(x)


if __name__ == "__main__":
    starts = jnp.stack([jnp.sin(x + shift) for shift in range(8)])
    forces = jnp.broadcast_to(true_force(x), (50, 64))
    truth = jax.vmap(lambda u: jp.rollout(solver, u, 50, inputs=forces))(starts)

    model = Forced(solver, Dense((2, 32, 32, 1), key=jax.random.key(0)))
    batches = Windows(truth, steps=5, batch=8)
    trained, history = fit(model, unrolled, batches, optax.adam(3e-3), 600, key=jax.random.key(1))
    where = jnp.stack([jnp.sin(x), jnp.cos(x)], axis=1)
    error = jp.diagnostics.relative_l2(jax.vmap(trained.network)(where)[:, 0], true_force(x))
    print(f"the force is found within {100 * float(error):.1f} %")
    assert eqx.tree_equal(trained.solver, solver), "the solver is what it was"
    assert error < 0.05
