"""Predicted flows about airfoils beside computed ones: fields, forces, deviations, a picture."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import plotting
from jaxpbdl.experiments.airfoils.data import CENTRE, LENGTHS, Flows, Setting

CHANNELS = ("pressure", "u", "v")
STREAM = np.asarray([0.0, 1.0, 0.0], np.float32)[:, None, None]
MARGINS = (0.2, 0.3, 0.4)
"""Between the body's surroundings and the boxes of the momentum balance, in chords."""


def errors(answer: Float[np.ndarray, "n 3 nx ny"], truth: Flows) -> dict[str, float]:
    """`relative_l1 = sum |answer - truth| / sum |truth|` over the cells in the fluid of all flows
    and over the channels, in units of the stream's speed; the same of each channel; and
    `departure`, whose denominator is without the stream, the speed of one that is in every u.
    """
    fluid = truth.fluid[:, None]
    apart = np.sum(np.abs(answer - truth.fields) * fluid, axis=(0, 2, 3))
    size = np.sum(np.abs(truth.fields) * fluid, axis=(0, 2, 3))
    departure = np.sum(np.abs(truth.fields - STREAM) * fluid)
    found = {"relative_l1": apart.sum() / size.sum(), "departure": apart.sum() / departure}
    found |= {
        f"relative_l1_{name}": a / s for name, a, s in zip(CHANNELS, apart, size, strict=True)
    }
    return {name: float(value) for name, value in found.items()}


def deviation_metrics(
    each: Float[np.ndarray, "members n 3 nx ny"], truth: Flows, scale: np.ndarray
) -> dict[str, float]:
    """The members' standard deviation beside the error of their mean, root mean squares over the
    cells in the fluid with channels in units of `scale`, and how the two correlate, over cells and
    over flows."""
    fluid = np.broadcast_to(truth.fluid[:, None] > 0, truth.fields.shape)
    deviation = each.std(axis=0, ddof=1) / scale
    error = np.abs(each.mean(axis=0) - truth.fields) / scale
    over_cells = np.corrcoef(deviation[fluid], error[fluid])[0, 1]
    flows = [np.where(fluid, part, 0).sum(axis=(1, 2, 3)) for part in (deviation, error)]
    several = len(truth) > 1
    return {
        "deviation": float(np.sqrt(np.mean(deviation[fluid] ** 2))),
        "error": float(np.sqrt(np.mean(error[fluid] ** 2))),
        "correlation": float(over_cells),
        "correlation_of_flows": float(np.corrcoef(*flows)[0, 1]) if several else float("nan"),
    }


def force_errors(
    setting: Setting, fields: Float[np.ndarray, "n 3 nx ny"], truth: Flows
) -> dict[str, float]:
    """Distances of drag and lift by the balance of momentum from `force_on_body`, sums of their
    sizes over that of the forces."""
    balance = jax.jit(jax.vmap(lambda field, number: momentum_balance(setting, field, number)))
    found = np.asarray(balance(jnp.asarray(fields), jnp.asarray(truth.reynolds)))
    apart = np.abs(found - truth.forces).sum(axis=0) / np.abs(truth.forces).sum(axis=0)
    return {"drag_error": float(apart[0]), "lift_error": float(apart[1])}


def picture(each: Float[np.ndarray, "members n 3 nx ny"], test: Flows, folder: Path) -> None:
    """`airfoil.png`: truth, prediction, error and deviation of the first flow of the test set."""
    answer, deviation = each[:, 0].mean(axis=0), each[:, 0].std(axis=0, ddof=1)
    figure, axes = plotting.figure(3, 4, size=(2.6, 1.9))
    for line, name, truth, mean, sure in zip(
        axes, CHANNELS, test.fields[0], answer, deviation, strict=True
    ):
        limit, largest_error = float(np.abs(truth).max()), float(np.abs(mean - truth).max())
        panels = {name: truth, "ensemble": mean, "error": np.abs(mean - truth), "deviation": sure}
        for ax, (title, values) in zip(line, panels.items(), strict=True):
            small = title in ("error", "deviation")
            values = np.where(test.distance[0] > 0, values, np.nan)
            plotting.field(
                ax,
                values,
                LENGTHS,
                title=f"{title}, largest {np.nanmax(values):.2g}" if small else title,
                limit=largest_error if small else limit,
                colours=plotting.POSITIVE if small else plotting.SIGNED,
                bar="",
            )
    figure.suptitle(f"Re {test.reynolds[0]:.0f}, angle of attack {test.angle[0]:.1f} degrees")
    plotting.save(figure, folder / "airfoil.png")


def momentum_balance(
    setting: Setting, fields: Float[Array, "3 nx ny"], reynolds: Array
) -> Float[Array, "2"]:
    """Drag and lift coefficients from mean fields in the cells alone:

        force = -int (u - stream) u.n + p n - viscosity (grad u + grad u^T) n

    over the sides of boxes about the body, of which the mean is taken. What flows in counts
    relative to the stream, so that an error of the volume that is lost weighs little.
    """
    pressure, u, v = fields
    hx, hy = setting.widths
    (ux, uy), (vx, vy) = (jnp.gradient(part, hx, hy) for part in (u, v))
    shear = (uy + vx) / reynolds
    along = ((u - 1) * u + pressure - 2 * ux / reynolds, v * u - shear)
    across = ((u - 1) * v - shear, v * v + pressure - 2 * vy / reynolds)
    forces = []
    for margin in MARGINS:
        (left, right), (low, high) = (
            (round((c - half - margin) / h), round((c + half + margin) / h))
            for c, half, h in zip(CENTRE, (0.5, 0.3), (hx, hy), strict=True)
        )
        rows, columns = slice(left, right), slice(low, high)
        lost = []
        for ends, sides in zip(along, across, strict=True):
            through = (ends[right - 1] + ends[right] - ends[left - 1] - ends[left])[columns]
            past = (sides[:, high - 1] + sides[:, high] - sides[:, low - 1] - sides[:, low])[rows]
            lost.append((jnp.sum(through) * hy + jnp.sum(past) * hx) / 2)
        forces.append(-2 * jnp.stack(lost))
    return jnp.mean(jnp.stack(forces), axis=0)
