"""What experiments with committees of potentials report: errors, deviations, a picture.

Energies in cm^-1, as the sources of the geometries have them, forces in meV/Angstrom.
"""

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from scipy.stats import rankdata

from jaxpbdl import plotting
from jaxpbdl.data.qm22 import WAVENUMBER
from jaxpbdl.molecules.potentials import Labelled
from jaxpbdl.uncertainty import conformal_interval, ensemble_crps, spread_skill

COVERAGE = 0.9

Answer = Mapping[str, np.ndarray]


def errors(name: str, answer: Answer, test: Labelled) -> dict[str, float]:
    """Root mean squares of the committee's mean, by `name.metric`."""
    off = answer["energies"].mean(0) - np.asarray(test.energies)[:, 0]
    found = {f"{name}.energy_rmse": _rms(off) / WAVENUMBER}
    if "forces" in answer:
        apart = answer["forces"].mean(0) - np.asarray(test.forces)
        found[f"{name}.force_rmse"] = 1e3 * _rms(apart)
    return found


def metrics(
    answers: Mapping[int, Answer],
    test: Labelled,
    calibrated: Mapping[int, Answer],
    calibration: Labelled,
) -> dict[str, float]:
    """Of each size: the errors of the mean, that of a member alone, and what the standard deviation
    is worth: its rank correlation with the size of the error, the ratio of spread and skill, the
    CRPS of the members (cm^-1), and the share of the test within conformal intervals of 90 %
    `mean +- q deviation` and their mean half width (cm^-1)."""
    found: dict[str, float] = {}
    truth, known = (np.asarray(part.energies)[:, 0] for part in (test, calibration))
    for size, answer in answers.items():
        name = f"n{size}"
        found |= errors(name, answer, test)
        energies, before = answer["energies"], calibrated[size]["energies"]
        found[f"{name}.energy_rmse_alone"] = _rms(energies - truth) / WAVENUMBER
        mean, deviation = energies.mean(0), energies.std(0, ddof=1)
        off = np.abs(mean - truth)
        found[f"{name}.correlation"] = float(np.corrcoef(rankdata(deviation), rankdata(off))[0, 1])
        members = jnp.asarray(energies)
        found[f"{name}.spread_skill"] = float(spread_skill(members, jnp.asarray(truth)))
        score = ensemble_crps(members, jnp.asarray(truth), fairness=0.0)
        found[f"{name}.crps"] = float(jnp.mean(score)) / WAVENUMBER
        lower, upper = conformal_interval(
            mean, deviation, before.mean(0) - known, before.std(0, ddof=1), COVERAGE
        )
        found[f"{name}.coverage_90"] = float(np.mean((lower <= truth) & (truth <= upper)))
        found[f"{name}.half_width"] = float(np.mean(upper - lower)) / 2 / WAVENUMBER
    last = f"n{max(answers)}"
    kinds = ("energy_rmse", "force_rmse")
    found |= {kind: found[f"{last}.{kind}"] for kind in kinds if f"{last}.{kind}" in found}
    return found


def picture(answers: Mapping[int, Answer], test: Labelled, folder: Path) -> None:
    """`committee.png`: error over the number of geometries, and deviation against error."""
    figure, axes = plotting.figure(1, 2, size=(3.4, 3.0))
    truth, sizes = np.asarray(test.energies)[:, 0], sorted(answers)
    alone = np.stack([[_rms(e - truth) for e in answers[size]["energies"]] for size in sizes], 1)
    mean = [_rms(answers[size]["energies"].mean(0) - truth) for size in sizes]
    left, right = axes[0]
    plotting.curves(
        left, {"one network": alone / WAVENUMBER, "mean": np.array(mean) / WAVENUMBER}, sizes,
        xlabel="geometries", ylabel="error of the energy (1/cm)", logarithmic=True,
    )  # fmt: skip
    left.set_xscale("log")
    energies = answers[sizes[-1]]["energies"]
    deviation = energies.std(0, ddof=1) / WAVENUMBER
    off = np.abs(energies.mean(0) - truth) / WAVENUMBER
    right.loglog(deviation, off, ".", markersize=3, alpha=0.4, color=plotting.LINES[0])
    ends = np.array([deviation.min(), deviation.max()])
    right.loglog(ends, ends, color="#6b7280", linewidth=1)
    right.set(xlabel="standard deviation (1/cm)", ylabel="error (1/cm)", ylim=(ends[0] / 10, None))
    plotting.save(figure, folder / "committee.png")


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
