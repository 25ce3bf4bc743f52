"""How many devices an experiment gets, and processes that run it together.

`jaxpbdl run NAME --processes 4` starts four copies of itself on this machine; on a cluster each
task joins the others by `--processes join`, as its scheduler tells (SLURM, Open MPI, Kubernetes):

    srun --ntasks=8 jaxpbdl run NAME --out DIR --processes join
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

MAX_DEVICES = 8
JOIN = "join"
COMMAND = (sys.executable, "-m", "jaxpbdl.cli")
ADDRESS, NUMBER, INDEX = "JAX_COORDINATOR_ADDRESS", "JAXPBDL_PROCESSES", "JAXPBDL_PROCESS"


def choose_devices(wanted: int | None, joins: bool = False) -> None:
    """Before JAX starts: so many devices, by default all, on a CPU one a core, so that ensembles
    use them. A choice of the user in the environment stands. A process that `joins` others is not
    asked what it has: that would start JAX too early.

    **Raises:** ValueError for fewer than one device, or more than there are.
    """
    import jax

    chosen = {"XLA_FLAGS", "JAX_NUM_CPU_DEVICES"} & set(os.environ)
    if wanted is None:
        if not chosen:
            with suppress(RuntimeError):  # the caller has used JAX already: its devices stay
                jax.config.update("jax_num_cpu_devices", min(_cores(), MAX_DEVICES))
        return
    if wanted < 1:
        raise ValueError(f"--devices must be at least 1, got {wanted}")
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        os.environ.setdefault(name, ",".join(map(str, range(wanted))))
    with suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", wanted)
    if joins:
        return
    found = jax.local_device_count()
    if found < wanted:
        raise ValueError(f"--devices must be at most {found}, the devices there are, got {wanted}")


def start(count: int, arguments: Sequence[str]) -> int:
    """Run the command with these arguments in so many processes; the exit code of the first that
    failed, or 0. If one fails the others are told to stop. Each has one GPU, or what the user chose
    in the environment."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    own = {ADDRESS: address, NUMBER: str(count)}
    if not {"XLA_FLAGS", "JAX_NUM_CPU_DEVICES"} & set(os.environ):
        own["JAX_NUM_CPU_DEVICES"] = str(max(1, _cores() // count))
    running = [
        subprocess.Popen(
            [*COMMAND, *arguments],
            env={"CUDA_VISIBLE_DEVICES": str(index), **os.environ, **own, INDEX: str(index)},
        )
        for index in range(count)
    ]
    try:
        return _first_failure(running)
    except BaseException:  # Ctrl-C reaches all of the terminal, SIGTERM the parent only
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        raise


def _first_failure(running: list[subprocess.Popen]) -> int:
    code, waiting = 0, list(running)
    while waiting:
        for process in list(waiting):
            try:
                ended = process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            waiting.remove(process)
            if ended and not code:
                code = ended
                for other in waiting:
                    other.terminate()
    return code


def join() -> int:
    """Join the processes that run the same command; the number of this one among them.

    **Raises:** ValueError where neither `start` nor a scheduler says who they are.
    """
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    named = (ADDRESS, NUMBER, INDEX)
    try:
        if all(name in os.environ for name in named):
            address, number, index = (os.environ[name] for name in named)
            jax.distributed.initialize(address, int(number), int(index))
        else:
            jax.distributed.initialize()
    except (ValueError, TypeError) as error:
        raise ValueError(
            "--processes join needs a scheduler that says which processes there are (SLURM, Open "
            f"MPI, Kubernetes), or the variables {', '.join(named)}: {error}"
        ) from error
    return jax.process_index()


def _cores() -> int:
    return os.cpu_count() or 1
