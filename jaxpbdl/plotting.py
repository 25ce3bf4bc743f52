"""Pictures with one look: fields, comparisons, spectra, curves, animations.

Every function draws on the axes it is given, or returns a `Figure` of its own; none touches the
global state of pyplot, so they are safe in threads and without a display. Save a figure with
`save(figure, path)`; a notebook shows one that ends a cell or is passed to `display`.
"""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from jaxpbdl.checks import Numbers
from jaxpbdl.files import replacing

SIGNED = "RdBu_r"
"""Colours for a quantity with a sign: white at zero."""
POSITIVE = "viridis"
"""Colours for a quantity without one, such as an error."""
LINES = ("#0b5fa5", "#d1495b", "#edae49", "#3b8f6b", "#7b5ea7", "#6b7280")
NOTEBOOK_DPI = 80
FORMATS = (".png", ".pdf", ".svg")
STYLE: dict[Any, Any] = {
    "pdf.fonttype": 42,  # text stays text
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.titleweight": "regular",
    "axes.edgecolor": "#4b5563",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "text.color": "#111827",
    "axes.labelcolor": "#111827",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
}


class ShownFigure(Figure):
    """A figure that a notebook shows without pyplot: IPython takes the PNG from this method."""

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        _write(self, content, NOTEBOOK_DPI)
        return content.getvalue()


def figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (4.0, 3.0)
) -> tuple[Figure, np.ndarray]:
    """A figure in the house style and its `(rows, columns)` axes, each of `size` inches."""
    with rc_context(STYLE):
        fig = ShownFigure(figsize=(columns * size[0], rows * size[1]), layout="constrained")
        FigureCanvasAgg(fig)
        return fig, fig.subplots(rows, columns, squeeze=False)


def save(fig: Figure, path: str | Path, *, dpi: int = 160) -> None:
    """Write a figure in the format that the suffix names, `.png`, or `.pdf` and `.svg`, in which
    lines and text are vectors; the file appears only when complete.

    Raises `ValueError` for another suffix.
    """
    suffix = format_of(path)
    with replacing(path) as temporary:
        _write(fig, temporary, dpi, suffix)


def format_of(path: str | Path) -> str:
    """Of a figure at a path. Raises `ValueError` for a suffix that `save` does not know."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"path must end in {', '.join(FORMATS)}, got {str(path)!r}")
    return suffix[1:]


def _write(fig: Figure, target: Path | BytesIO, dpi: int, suffix: str = "png") -> None:
    with rc_context(STYLE):
        fig.savefig(target, dpi=dpi, format=suffix, bbox_inches="tight", pad_inches=0.04)


def field(
    ax: Axes,
    values: Numbers,
    lengths: tuple[float, float] | None = None,
    *,
    title: str = "",
    limit: float | None = None,
    colours: str | None = None,
    bar: str | None = None,
) -> AxesImage:
    """Draw a field `(nx, ny)` with x to the right and y up; returns the image.

    A field that changes sign gets colours symmetric about zero, from `-limit` to `limit`; any other
    runs from zero, or its smallest value, to `limit`. The limit is the largest magnitude unless
    given. `bar` is the label of a colour bar beside the field; None draws none (`colour_bar` draws
    one for several fields). Axes are numbered by `lengths`, or else by points.

    Raises `ValueError` unless `values` has two axes.
    """
    values = np.asarray(values)
    if values.ndim != 2:
        raise ValueError(f"a field to draw has two axes, got shape {values.shape}")
    unit = "" if lengths else " (points)"
    lengths = lengths or (values.shape[0], values.shape[1])
    limit = _limit([values]) if limit is None else limit
    signed = colours == SIGNED or (colours is None and np.nanmin(values) < 0)
    image = ax.imshow(
        values.T,
        origin="lower",
        extent=(0, lengths[0], 0, lengths[1]),
        cmap=colours or (SIGNED if signed else POSITIVE),
        vmin=-limit if signed else min(0.0, float(np.nanmin(values))),
        vmax=limit,
        interpolation="nearest",
    )
    ax.set(xticks=[0, lengths[0]], yticks=[0, lengths[1]])
    ax.tick_params(length=2, labelsize=7)
    ax.xaxis.set_major_formatter("{x:.3g}")
    ax.yaxis.set_major_formatter("{x:.3g}")
    ax.set_xlabel(f"x{unit}", fontsize=8, labelpad=-4)
    ax.set_ylabel(f"y{unit}", fontsize=8, labelpad=-4)
    ax.set_title(title, fontsize=9)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    if bar is not None:
        colour_bar(image, ax, bar)
    return image


def colour_bar(image: AxesImage, axes: Axes | np.ndarray, label: str = "") -> None:
    """Draw the colours of `image` and their values beside one axes, or an array of them."""
    with rc_context(STYLE):
        bar = image.figure.colorbar(  # pyright: ignore[reportAttributeAccessIssue]
            image, ax=axes, shrink=0.8, aspect=30, pad=0.02, label=label
        )
        bar.outline.set_visible(False)


def compare(
    rows: Mapping[str, Numbers],
    times: Sequence[float] | np.ndarray,
    lengths: tuple[float, float] | None = None,
    *,
    label: str = "",
    limit: float | None = None,
) -> Figure:
    """A row of pictures for each name, a column for each time, one colour scale for all.

    Args:
        rows: name -> snapshots `(times, nx, ny)`.
        times: the time of each column.
        label: what the colours show.
        limit: end of the colour scale; by default the largest magnitude of the first row, so that
            a method that blows up does not hide the others.

    Raises `ValueError` if a row does not have one snapshot for each time.
    """
    snapshots = {name: np.asarray(values) for name, values in rows.items()}
    for name, values in snapshots.items():
        if values.ndim != 3 or len(values) != len(times):
            raise ValueError(f"{name} must have shape ({len(times)}, nx, ny), got {values.shape}")
    first = next(iter(snapshots.values()))
    limit = _limit(first) if limit is None else limit
    colours = SIGNED if min(np.nanmin(values) for values in snapshots.values()) < 0 else POSITIVE
    wide, high = lengths or first.shape[1:]
    width = 1.55 if wide <= 1.5 * high else 2.3
    size = (width, max(0.6, width * high / wide) + 0.08)
    fig, axes = figure(len(snapshots), len(times), size=size)
    fig.set_layout_engine("compressed")
    images = [
        field(ax, snapshot, (wide, high), limit=limit, colours=colours)
        for line, values in zip(axes, snapshots.values(), strict=True)
        for ax, snapshot in zip(line, values, strict=True)
    ]
    for ax in axes.flat:
        ax.label_outer()
    for name, line in zip(snapshots, axes, strict=True):
        line[0].set_ylabel(f"{name}\ny" if lengths else name, fontsize=9)
    for ax, time in zip(axes[0], times, strict=True):
        ax.set_title(f"t = {time:.3g}", fontsize=9)
    colour_bar(images[0], axes, label)
    return fig


def curves(
    ax: Axes,
    lines: Mapping[str, Numbers],
    x: Numbers | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    logarithmic: bool = False,
) -> None:
    """Draw one line for each name; values `(members, points)` become a mean line in their range.

    A name that is drawn elsewhere in the figure keeps its colour.
    """
    for (name, values), colour in zip(lines.items(), _colours(ax, list(lines)), strict=True):
        values = np.atleast_2d(np.asarray(values))
        points = np.arange(values.shape[1]) if x is None else np.asarray(x)
        if len(values) > 1:
            low, high = values.min(axis=0), values.max(axis=0)
            ax.fill_between(points, low, high, color=colour, alpha=0.18, linewidth=0)
        middle = np.exp(np.log(values).mean(axis=0)) if logarithmic else values.mean(axis=0)
        ax.plot(points, middle, color=colour, label=name, linewidth=1.6)
    if logarithmic:
        ax.set_yscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    _legend(ax, len(lines))


def spectrum(
    ax: Axes,
    wavenumbers: Numbers,
    energies: Mapping[str, Numbers],
    *,
    slope: float | None = None,
    ylabel: str = "E(k)",
) -> None:
    """Draw energy spectra over `wavenumbers` with both axes logarithmic.

    Args:
        energies: name -> `(wavenumbers,)` or `(members, wavenumbers)`.
        slope: exponent of a dashed guide through the middle of the first spectrum.
    """
    k = np.asarray(wavenumbers)
    keep = k > 0  # the mean has no place on a logarithmic axis
    shown = {name: np.atleast_2d(np.asarray(e))[:, keep] for name, e in energies.items()}
    curves(ax, shown, k[keep], xlabel="wavenumber k", ylabel=ylabel, logarithmic=True)
    if slope is not None:
        first = np.exp(np.log(next(iter(shown.values()))).mean(axis=0))
        middle = np.sqrt(k[keep][0] * k[keep][-1])
        near = np.abs(np.log(k[keep] / middle)) < 0.8
        height = 2.5 * first[np.argmin(np.abs(k[keep] - middle))]
        guide = height * (k[keep][near] / middle) ** slope
        ax.plot(
            k[keep][near], guide, "--", color="#6b7280", linewidth=1, label=f"$k^{{{slope:.3g}}}$"
        )
    ax.set_xscale("log")
    _legend(ax, len(shown) + (slope is not None))


def spread_skill(ax: Axes, times: Numbers, deviation: Numbers, error: Numbers) -> None:
    """Draw spread and skill: the standard deviation of an ensemble beside the error of its mean.
    Calibrated, the two agree."""
    lines = {"error of the mean": error, "standard deviation": deviation}
    curves(ax, lines, times, xlabel="time", ylabel="RMS")
    ax.set_ylim(bottom=0)


def cost_and_error(
    ax: Axes, plain: Any, front: Any, learned: Any, *, unit: str = "ms a unit of time"
) -> None:
    """Draw relative error against cost, both axes logarithmic: plain solvers, the line of those
    that no other beats, and learned ones, which pay where they lie beneath that line.

    `plain`, `front` and `learned` are pairs `(n, 2)` of cost and error."""
    blue, red, grey = LINES[0], LINES[1], LINES[-1]
    for pairs, look, colour, label in (
        (plain, "o", grey, "plain solvers"),
        (front, "o-", blue, "their front"),
        (learned, "s", red, "learned"),
    ):
        cost, error = np.asarray(pairs, float).reshape(-1, 2).T
        ax.plot(cost, error, look, color=colour, label=label, markersize=5)
    ax.set(xscale="log", yscale="log", xlabel=unit, ylabel="relative L2 error")
    _legend(ax, 3)


def animate(
    rows: Mapping[str, Numbers],
    path: str | Path,
    lengths: tuple[float, float] | None = None,
    *,
    times: Sequence[float] | np.ndarray | None = None,
    seconds: float = 4.0,
    max_frames: int = 48,
    max_bytes: int = 1_500_000,
    pixels: int = 200,
) -> None:
    """Write trajectories `(times, nx, ny)` side by side as a GIF that repeats.

    Frames are thinned to `max_frames`, and further until the file is no larger than `max_bytes`;
    `pixels` is the width of one picture. The colour scale is that of the first trajectory.
    Raises `ValueError` for trajectories of unequal shape.
    """
    snapshots = {name: np.asarray(values) for name, values in rows.items()}
    first = next(iter(snapshots.values()))
    if first.ndim != 3 or {values.shape for values in snapshots.values()} != {first.shape}:
        shapes = {name: values.shape for name, values in snapshots.items()}
        raise ValueError(f"trajectories must share one shape (times, nx, ny), got {shapes}")
    limit, (wide, high) = _limit(first), lengths or first.shape[1:]
    colours = SIGNED if min(np.nanmin(values) for values in snapshots.values()) < 0 else POSITIVE
    width = pixels / 100
    fig, axes = figure(1, len(snapshots), size=(width, width * high / wide + 0.45))
    images = [
        _bare(field(ax, values[0], (wide, high), title=name, limit=limit, colours=colours))
        for ax, (name, values) in zip(axes[0], snapshots.items(), strict=True)
    ]
    chosen = np.unique(np.linspace(0, len(first) - 1, min(len(first), max_frames)).astype(int))
    with rc_context(STYLE):
        stamp = fig.supxlabel(" ", fontsize=8)
        pictures = []
        for at in chosen:
            for image, values in zip(images, snapshots.values(), strict=True):
                image.set_data(values[at].T)
            stamp.set_text(f"t = {times[at]:.3g}" if times is not None else " ")
            pictures.append(_picture(fig))
    palette = _palette(colours)
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    while len(content := _gif(pictures, seconds)) > max_bytes and len(pictures) > 2:
        pictures = pictures[::2]
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _bare(image: AxesImage) -> AxesImage:
    """The image in axes without numbers and names."""
    image.axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    return image


def _palette(colours: str) -> Image.Image:
    """Shades of a colour map, and greys for the text: one palette, so that colours hold still."""
    shades = colormaps[colours](np.linspace(0, 1, 48))[:, :3]
    greys = np.repeat(np.linspace(0, 1, 8)[:, None], 3, axis=1)
    image = Image.new("P", (1, 1))
    image.putpalette((255 * np.concatenate([shades, greys])).round().astype(np.uint8).tobytes())
    return image


def _gif(pictures: list[Image.Image], seconds: float) -> bytes:
    content = BytesIO()
    pictures[0].save(
        content,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=max(20, int(1000 * seconds / len(pictures))),
        loop=0,
    )
    return content.getvalue()


def _picture(fig: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(fig)
    fig.set_dpi(100)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _limit(snapshots: Iterable[np.ndarray]) -> float:
    """The largest finite magnitude, or one for a field of zeros."""
    values = np.concatenate([np.ravel(snapshot) for snapshot in snapshots])
    values = values[np.isfinite(values)]
    return float(np.max(np.abs(values), initial=0.0)) or 1.0


def _colours(ax: Axes, names: Sequence[str]) -> list[str]:
    """A colour for each name: the one it has in this figure, else one that is free there, else one
    that no other of the names has."""
    fig: Any = ax.figure
    used = {line.get_label(): line.get_color() for other in fig.axes for line in other.lines}
    kept = {used[name] for name in names if name in used}
    free = [colour for colour in LINES if colour not in used.values()]
    others = [colour for colour in LINES if colour in used.values() and colour not in kept]
    spare = chain(free, others, cycle(LINES))
    return [used[name] if name in used else next(spare) for name in names]


def _legend(ax: Axes, lines: int) -> None:
    if lines > 1:
        ax.legend(frameon=False, fontsize=8)
