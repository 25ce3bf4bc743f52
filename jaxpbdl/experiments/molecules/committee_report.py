"""What experiments with committees of potentials report: errors, deviations, a picture.

Energies in cm^-1, as the sources of the geometries have them, forces in meV/Angstrom.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from jaxpbdl import plotting
from jaxpbdl.data.qm22 import WAVENUMBER
from jaxpbdl.molecules.potentials import Labelled

Answer = Mapping[str, np.ndarray]


def errors(name: str, answer: Answer, test: Labelled) -> dict[str, float]:
    """Root mean squares of the committee's mean, by `name.metric`."""
    off = answer["energies"].mean(0) - np.asarray(test.energies)[:, 0]
    found = {f"{name}.energy_rmse": _rms(off) / WAVENUMBER}
    if "forces" in answer:
        apart = answer["forces"].mean(0) - np.asarray(test.forces)
        found[f"{name}.force_rmse"] = 1e3 * _rms(apart)
    return found


def metrics(answers: Mapping[int, Answer], test: Labelled) -> dict[str, float]:
    """Of each size: the errors of the mean, that of a member alone, and what the standard deviation
    is worth: its rank correlation with the size of the error, and the ratio of the two root mean
    squares."""
    found: dict[str, float] = {}
    truth = np.asarray(test.energies)[:, 0]
    for size, answer in answers.items():
        name = f"n{size}"
        found |= errors(name, answer, test)
        found[f"{name}.energy_rmse_alone"] = _rms(answer["energies"] - truth) / WAVENUMBER
        deviation = answer["energies"].std(0, ddof=1)
        off = np.abs(answer["energies"].mean(0) - truth)
        found[f"{name}.correlation"] = float(np.corrcoef(rankdata(deviation), rankdata(off))[0, 1])
        found[f"{name}.deviation_over_error"] = _rms(deviation) / _rms(off)
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
