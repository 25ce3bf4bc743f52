"""What the experiment on delta-learning reports of its learning curves: numbers and a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxpbdl import plotting
from jaxpbdl.data.two_levels import TwoLevels
from jaxpbdl.learning.delta import data_factors


def metrics(sizes: Sequence[int], curves: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of errors `(repeats, sizes)`: means over repeats, the data factor at each size off the mean
    curves, as `data_factor` its geometric mean over the sizes where there is one, and as
    `data_factor_at_least` how many times the data of the smallest sufficient delta model do not
    bring the direct one to its error."""
    direct, delta = (curves[name].mean(0) for name in ("direct", "delta"))
    factors = data_factors(sizes, direct, delta)
    known = factors[np.isfinite(factors)]
    found = {
        "direct.mae": direct[-1],
        "delta.mae": delta[-1],
        "baseline.mae": np.mean(curves["baseline"]),
        "baseline_constant.mae": np.mean(curves["baseline_constant"]),
        "direct.cover_90": np.mean(curves["direct_cover"]),
        "delta.cover_90": np.mean(curves["delta_cover"]),
    }
    for size, one, other, factor in zip(sizes, direct, delta, factors, strict=True):
        found[f"direct.mae_{size}"] = one
        found[f"delta.mae_{size}"] = other
        if np.isfinite(factor):
            found[f"delta.data_factor_{size}"] = factor
    # Where the direct model does not get there: as many as it has been given, and more.
    beyond = [
        sizes[-1] / size for size, error in zip(sizes, delta, strict=True) if error < direct[-1]
    ]
    found["data_factor_at_least"] = max(beyond, default=np.nan)
    found["data_factor"] = float(np.exp(np.log(known).mean())) if len(known) else np.nan
    return {name: float(value) for name, value in found.items()}


def picture(
    sizes: Sequence[int], curves: Mapping[str, np.ndarray], data: TwoLevels, folder: Path
) -> None:
    """`learning_curves.png`: errors over the number of molecules, and the factor of data saved."""
    figure, axes = plotting.figure(1, 2, size=(3.6, 3.0))
    dear, cheap = data.methods
    named = {f"{dear} directly": curves["direct"], f"{dear} - {cheap}": curves["delta"]}
    left, right = axes[0]
    plotting.curves(
        left, named, sizes, xlabel="molecules to learn from", ylabel="mean error (kcal/mol)",
        logarithmic=True,
    )  # fmt: skip
    left.axhline(
        np.mean(curves["baseline"]), color="#6b7280", linestyle="--", label=f"{cheap}, shifted"
    )
    left.set_xscale("log")
    left.legend(frameon=False, loc="lower left")
    factors = data_factors(sizes, curves["direct"].mean(0), curves["delta"].mean(0))
    plotting.curves(
        right, {"": factors}, sizes, xlabel="molecules the delta model has",
        ylabel="times as many for the direct one",
    )  # fmt: skip
    right.axhline(1.0, color="#6b7280", linewidth=0.8)
    right.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)
    right.set_xscale("log")
    right.set_ylim(bottom=0)
    plotting.save(figure, folder / "learning_curves.png")
