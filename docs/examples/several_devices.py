"""Two devices: a batch, the members of an ensemble, and the box of a solver shared between them.

Two cores of a CPU stand for two accelerators; nothing else would change. Takes 20 seconds.
"""

import jax

jax.config.update("jax_num_cpu_devices", 2)  # before JAX computes anything

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

import jaxpbdl as jp  # noqa: E402
from jaxpbdl import distributed, uncertainty  # noqa: E402
from jaxpbdl.learning import Samples, fit, fit_ensemble, members  # noqa: E402
from jaxpbdl.networks import Dense  # noqa: E402


def loss(model, batch):
    x, y = batch
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


def network(key):
    return Dense((1, 32, 1), key=key)


if __name__ == "__main__":
    x = jnp.linspace(0, 1, 200)[:, None]
    batches = Samples(x, jnp.sin(6 * x), batch=50)
    settings = batches, optax.adam(1e-2), 500
    keys = jax.random.split(jax.random.key(0), 3)

    alone, _ = fit(network(keys[0]), loss, *settings, key=keys[0])
    halves = distributed.mesh("batch")
    shared, _ = fit(network(keys[0]), loss, *settings, key=keys[0], mesh=halves)
    apart = np.abs(np.asarray(jax.vmap(alone)(x) - jax.vmap(shared)(x))).max()

    several, _ = fit_ensemble(network, loss, *settings, keys=keys)  # three members on two devices
    each = uncertainty.predict(several, x, uncertainty.batch, mesh=distributed.mesh("member"))
    same = np.abs(np.asarray(jax.vmap(members(several)[0])(x) - jax.vmap(alone)(x))).max()

    grid, mesh = jp.grids.Periodic((32, 32)), distributed.space_mesh()
    flow = jp.equations.NavierStokes2D(viscosity=0.01)
    start = jp.initial_states.random_vorticity(keys[1], grid)
    step = jp.solvers.spectral.semilinear(flow, grid, 0.01, mesh=mesh)
    state = distributed.scatter(start, mesh, grid.shape)
    turned = jp.rollout(step, state, 20, every=20)[-1]
    plain = jp.rollout(jp.solvers.spectral.semilinear(flow, grid, 0.01), start, 20, every=20)[-1]
    differ = np.abs(np.asarray(turned) - np.asarray(plain)).max() / np.abs(plain).max()

    print(f"devices {len(jax.devices())}, shards of the flow {len(state.addressable_shards)}")
    print(f"differences: batch {apart:.1e}, member {same:.1e}, flow {differ:.1e}")
    assert len(state.addressable_shards) == len(jax.devices()) == each.members.shape[0] - 1
    assert max(apart, same) < 1e-2 and differ < 1e-4
