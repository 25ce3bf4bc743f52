"""The tables of measured data on which probabilistic regression is compared (UCI and OpenML)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from jaxpbdl import checks
from jaxpbdl.checks import DataError

SETS = ("concrete", "kin8nm", "naval-propulsion", "power-plant", "yacht")
"""`energy.csv` of the same repository is left out: its heating loads are not the measured ones but
numbers of levels of rounded values, sorted as text, so that 6 comes after 43."""
TARGETS = {name: 1 for name in SETS} | {"naval-propulsion": 2}
"""Columns of targets, the last ones. Of two the first is the usual one, the decay of the
compressor."""


@dataclass(frozen=True)
class Regression:
    """A table: what is known of each sample, and the number to predict."""

    inputs: Float[np.ndarray, "samples features"]
    targets: Float[np.ndarray, " samples"]

    def __len__(self) -> int:
        return len(self.targets)


def read_regression(path: str | Path, name: str) -> Regression:
    """The set `name` of `SETS` from its csv file with a header; columns that do not vary are left
    out.

    Raises ValueError for another name; DataError for a file that is missing or damaged.
    """
    if name not in SETS:
        raise ValueError(f"name must be one of {', '.join(SETS)}, got {name!r}")
    try:
        table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except ValueError as error:
        raise DataError(f"{path}: not a csv table of numbers: {error}") from error
    if table.shape[0] < 20 or table.shape[1] < 3:
        raise DataError(f"{path}: a table of at least 20 x 3 expected, got {table.shape}")
    if not np.all(np.isfinite(table)):
        where = np.argwhere(~np.isfinite(table))[0].tolist()
        raise DataError(f"{path}: not finite in row {where[0]}, column {where[1]}")
    inputs, targets = np.split(table, [-TARGETS[name]], axis=1)
    return Regression(inputs[:, np.ptp(inputs, axis=0) > 0], targets[:, 0])


def splits(
    samples: int, number: int = 20, seed: int = 1
) -> tuple[Int[np.ndarray, "number train"], Int[np.ndarray, "number test"]]:
    """Rows of the training and of the test sets: 90 and 10 % of the samples, drawn `number` times,
    by the recipe that the published tables used (Hernandez-Lobato and Adams, ICML 2015): numbers of
    NumPy's old generator with the seed 1. The rows are those of the tables' files only where these
    list the samples in the same order.
    """
    checks.counts(samples=samples, number=number)
    generator = np.random.RandomState(seed)
    order = np.stack([generator.choice(samples, samples, replace=False) for _ in range(number)])
    train = round(0.9 * samples)
    return order[:, :train], order[:, train:]
