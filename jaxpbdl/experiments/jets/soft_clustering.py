"""Jets of `e+ e- -> H` at 250 GeV, exactly and softly clustered.

The Durham algorithm joins the particles of each event until three jets are left: as FastJet does
(its answers lie beside the events, package JetReconstruction.jl), and softly at falling
temperatures. The error of a soft answer is the L2 norm of the difference of the jets' momenta to
the exact ones, relative to the norm of these, jets matched so that it is smallest.
"""

import json
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from jaxpbdl import checks, plotting
from jaxpbdl.clustering import exclusive, transverse
from jaxpbdl.data import find
from jaxpbdl.data.archive import arrays
from jaxpbdl.experiments.configuration import Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.soft_clustering import soft_exclusive

JETS = 3
ANSWERS = "jet-collections-fastjet-njets3-Durham-eeH.json"
KEYS = ("p4_px_py_pz_E_GeV", "event_offsets")


@dataclass(frozen=True)
class Config(Validated):
    """Settings; nothing is drawn at random, `seed` is of no account."""

    seed: int = 0
    data: Path | None = None
    """The events as npz, FastJet's answers in the same folder; else looked for in JAXPBDL_DATA."""
    max_particles: Annotated[int, at_least(JETS)] = 55
    """Particles of an event that is clustered softly; larger events are left out there."""
    temperatures: tuple[Positive, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 1e-3, 3e-4, 1e-4, 3e-5)


QUICK = Config()
FULL = Config(max_particles=200)


def files(config: Config) -> list[Path]:
    """The events and FastJet's answers beside them.

    Raises `checks.DataError` for what is not there.
    """
    path = find("jet-events", given=config.data)
    answers = path.with_name(ANSWERS)
    if not answers.is_file():
        raise checks.DataError(f"{answers}: no such file; FastJet's answers lie beside the events")
    return [path, answers]


def events(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Momenta `(events, particles, 4)` in GeV, and the mask of particles."""
    found = arrays(path, KEYS)
    counts = np.diff(found["event_offsets"])
    mask = np.arange(counts.max()) < counts[:, None]
    momenta = np.zeros((*mask.shape, 4))
    momenta[mask] = found["p4_px_py_pz_E_GeV"]
    return momenta, mask


def nearest(jets: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The relative error of each event, over all ways to match the jets."""
    ways = [jets[:, list(order)] for order in permutations(range(JETS))]
    errors = [np.linalg.norm(way - exact, axis=(1, 2)) for way in ways]
    return np.min(errors, axis=0) / np.linalg.norm(exact, axis=(1, 2))


def run(config: Config, folder: Path) -> Result:
    """Cluster, compare with FastJet, and lower the temperature; a picture goes to `folder`."""
    path, answers = files(config)
    with jax.enable_x64(True):
        momenta, mask = events(path)
        cluster = jax.jit(jax.vmap(lambda p, m: exclusive(p, JETS, mask=m).momenta))
        exact = np.asarray(cluster(momenta, mask))
        known = json.loads(answers.read_text(encoding="utf-8"))
        truth = np.asarray([[jet["pt"] for jet in event["jets"]] for event in known])
        worst = float(np.max(np.abs(np.asarray(transverse(jnp.asarray(exact))) / truth - 1)))

        chosen = mask.sum(axis=1) <= config.max_particles
        width = int(mask[chosen].sum(axis=1).max())
        small = jnp.asarray(momenta[chosen, :width]), jnp.asarray(mask[chosen, :width])

        @jax.jit
        def softly(small: tuple[jax.Array, jax.Array], temperature: jax.Array) -> jax.Array:
            def one(event: tuple[jax.Array, jax.Array]) -> jax.Array:
                return soft_exclusive(event[0], JETS, temperature, mask=event[1]).momenta

            return jax.lax.map(one, small)

        errors = np.stack(
            [
                nearest(np.asarray(softly(small, jnp.asarray(t))), exact[chosen])
                for t in config.temperatures
            ]
        )
    metrics = {"exact.largest_difference_to_fastjet": worst, "events": float(np.sum(chosen))}
    for temperature, each in zip(config.temperatures, errors, strict=True):
        name = f"temperature {temperature:g}".replace(".", ",")
        metrics |= {f"{name}.median": float(np.median(each)), f"{name}.mean": float(each.mean())}
        metrics[f"{name}.within_1e-3"] = float(np.mean(each < 1e-3))
    _picture(np.asarray(config.temperatures), errors, folder)
    return Result(metrics)


def _picture(temperatures: np.ndarray, errors: np.ndarray, folder: Path) -> None:
    """`limit.png`: the error of the soft jets over the temperature."""
    figure, axes = plotting.figure(1, 1, size=(4.2, 3.0))
    lines = {
        "mean": errors.mean(axis=1),
        "median": np.median(errors, axis=1),
        "best of ten": np.quantile(errors, 0.1, axis=1),
    }
    shown = {name: np.maximum(line, 1e-16) for name, line in lines.items()}
    plotting.curves(
        axes[0, 0], shown, temperatures, xlabel="temperature", ylabel="relative error of the jets",
        logarithmic=True,
    )  # fmt: skip
    axes[0, 0].set_xscale("log")
    plotting.save(figure, folder / "limit.png")


EXPERIMENT = Experiment(
    name="soft-clustering",
    summary="jets by FastJet's algorithm, and softly: differentiable, with the exact ones as limit",
    presets={"quick": QUICK, "full": FULL},
    run=run,
    files=files,
)
