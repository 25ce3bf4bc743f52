"""Time of a training step of a Fourier neural operator: batch 8, 32 channels, 4 layers, Adam.

Sixteen modes as the peers count them: 32 rows of both signs and 16 columns (neuraloperator says
`n_modes=(32, 30)`, pdequinox `num_modes=16`). Ours keeps 31 rows, the same set without the mode -16
that has no mirror image: 3 % fewer weights.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from timing import Line, Timing, in_own_process, side_by_side, training_step

from jaxpbdl.networks import FNO, DeepONet, parameter_count
from jaxpbdl.networks import spectral_convolution as transforms

BATCH, WIDTH, DEPTH, MODES = 8, 32, 4, 16


def step(network: Any, points: int) -> Callable[[], Any]:
    """A call that makes one update with the mean square error as loss, and keeps its result."""
    inputs = jax.random.normal(jax.random.key(0), (BATCH, 1, points, points))
    targets = jnp.roll(inputs, 1, -1)
    params, rest = eqx.partition(network, eqx.is_inexact_array)
    optimiser = optax.adam(1e-3)
    state = [params, optimiser.init(params)]

    @jax.jit
    def update(params: Any, optimiser_state: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
        def loss(params: Any) -> jax.Array:
            return jnp.mean((jax.vmap(eqx.combine(params, rest))(inputs) - targets) ** 2)

        change, optimiser_state = optimiser.update(jax.grad(loss)(params), optimiser_state)
        return optax.apply_updates(params, change), optimiser_state

    def call() -> Any:
        state[:] = update(*state, inputs, targets)
        return state

    return call


def ours() -> FNO:
    return FNO(
        2, 1, 1, modes=MODES, width=WIDTH, depth=DEPTH, hidden=WIDTH, activation=jax.nn.relu,
        key=jax.random.key(0),
    )  # fmt: skip


def fixed(network: FNO, path: Callable, points: int) -> Callable[[], Any]:
    """The step with one of the two transforms, whatever the library would choose."""
    call_step = step(network, points)

    def call() -> Any:
        chosen = transforms.few_modes
        transforms.few_modes = lambda modes, grid: path is transforms.by_products
        try:
            return call_step()
        finally:
            transforms.few_modes = chosen

    return call


def pdequinox(points: int) -> Callable[[], Any]:
    from pdequinox.arch import ClassicFNO

    network = ClassicFNO(
        2, 1, 1, hidden_channels=WIDTH, num_modes=MODES, num_blocks=DEPTH, activation=jax.nn.relu,
        key=jax.random.key(0),
    )  # fmt: skip
    return step(network, points)


def neuraloperator(points: int) -> Callable[[], Any]:
    import torch
    from neuralop.models import FNO as Peer

    torch.manual_seed(0)
    network = Peer(
        n_modes=(2 * MODES, 2 * MODES - 2), in_channels=1, out_channels=1, hidden_channels=WIDTH,
        n_layers=DEPTH, lifting_channel_ratio=0, projection_channel_ratio=1,
        positional_embedding=None, use_channel_mlp=False,
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    inputs = torch.randn(BATCH, 1, points, points)
    targets = torch.roll(inputs, 1, -1)

    def call() -> float:
        optimiser.zero_grad()
        loss = ((network(inputs) - targets) ** 2).mean()
        loss.backward()
        optimiser.step()
        return loss.item()

    return call


def training(points: int, repeats: int = 9) -> list[Line]:
    """Ours against the peers, and against itself by the fast transform."""
    candidates: dict[str, Callable[[], Any]] = {"ours": step(ours(), points)}
    candidates["ours, by FFT"] = fixed(ours(), transforms.by_fft, points)
    failed: dict[str, Timing | str] = {}
    for name, build in (
        ("pdequinox ClassicFNO", pdequinox),
        ("neuraloperator FNO", neuraloperator),
    ):
        try:
            candidates[name] = build(points)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    times = side_by_side(candidates, repeats) | failed
    mine = times["ours"]
    assert isinstance(mine, Timing), mine
    work = (
        f"FNO training step {points}², batch {BATCH}, {parameter_count(ours()) / 1e6:.2f} M weights"
    )
    peers = [name for name in times if name != "ours"]
    bars = {"pdequinox ClassicFNO": 1.0, "neuraloperator FNO": 1.0}
    return [Line(work, mine, name, times[name], "ms", bars.get(name)) for name in peers]


def deeponet() -> Line:
    """256 functions known at 100 sensors, evaluated at 2048 points; both nets of three times
    128."""
    keys = jax.random.split(jax.random.key(0), 4)
    network = DeepONet(100, 2, branch=(128, 128), trunk=(128, 128), rank=128, key=keys[0])
    known = jax.random.normal(keys[1], (256, 100))
    targets = jax.random.normal(keys[2], (256, 2048))
    points = jax.random.uniform(keys[3], (2048, 2))

    def loss(network: DeepONet, pairs: tuple[jax.Array, jax.Array]) -> jax.Array:
        answers = jax.vmap(lambda sensors: jax.vmap(network(sensors))(points))(pairs[0])
        return jnp.mean((answers[..., 0] - pairs[1]) ** 2)

    call = training_step(loss, network, (known, targets))
    mine = side_by_side({"ours": call}, 40)["ours"]
    assert isinstance(mine, Timing), mine
    peer = in_own_process("deepxde_peer.py", "deeponet", 60, DDE_BACKEND="pytorch")
    work = "DeepONet training step, 256 functions x 2048 points, 3 x 128"
    return Line(work, mine, "DeepXDE, pytorch", peer, "ms", 1.0)


def lines() -> list[Line]:
    return [line for points in (64, 128) for line in training(points)] + [deeponet()]


if __name__ == "__main__":
    from rich import print as show

    for line in lines():
        show(" | ".join(line.cells()))
