"""Pictures are drawn, with the right orientation and scale, and without global state."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxpbdl import plotting

WAVES = np.sin(np.arange(6)[:, None, None] + np.arange(8)[:, None] + np.zeros(5))


def test_field_has_x_to_the_right_and_y_up():
    fig, axes = plotting.figure()
    values = np.zeros((8, 5))
    values[7, 0] = -2.0  # largest x, smallest y: the lower right corner
    image = plotting.field(axes[0, 0], values, (2.0, 1.0))
    assert image.get_clim() == (-2, 2) and image.get_extent() == [0, 2, 0, 1]
    assert image.origin == "lower" and image.get_array()[0, 7] == -2
    with pytest.raises(ValueError, match="two axes"):
        plotting.field(axes[0, 0], values[0])


def test_a_notebook_gets_a_png_of_a_figure():
    """IPython asks an object for it by this method; see also test_notebooks."""
    figure = plotting.compare({"u": WAVES[:2]}, [0, 1])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_positive_field_starts_at_zero():
    image = plotting.field(plotting.figure()[1][0, 0], 1 + np.ones((4, 4)))
    assert image.get_clim() == (0, 2) and image.get_cmap().name == plotting.POSITIVE


def test_compare(tmp_path):
    rows = {"fine": WAVES[:3], "blown up": 1e9 * WAVES[:3]}
    fig = plotting.compare(rows, [0, 1, 2], label="u")
    assert fig.axes[3].images[0].get_clim()[1] == pytest.approx(np.abs(WAVES[:3]).max())
    plotting.save(fig, tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").format == "PNG"
    with pytest.raises(ValueError, match="blown up must have shape"):
        plotting.compare({"fine": WAVES[:3], "blown up": WAVES}, [0, 1, 2])


def test_lines(tmp_path):
    fig, axes = plotting.figure(1, 3)
    k = np.arange(32)
    plotting.spectrum(axes[0, 0], k, {"a": np.maximum(k, 1.0) ** -3}, slope=-3)
    assert axes[0, 0].get_xscale() == "log" and len(axes[0, 0].lines) == 2
    guide = axes[0, 0].lines[1].get_xydata()
    slope = np.polyfit(*np.log(guide).T, 1)[0]
    assert slope == pytest.approx(-3)
    plotting.curves(axes[0, 1], {"one": np.ones(5), "three": np.eye(3, 5) + 1}, logarithmic=True)
    assert len(axes[0, 1].collections) == 1
    plotting.spread_skill(axes[0, 2], k, k / 3, k / 2)
    plotting.save(fig, tmp_path / "a.png")


def test_the_suffix_chooses_the_format(tmp_path):
    fig, axes = plotting.figure()
    plotting.curves(axes[0, 0], {"a": np.arange(3)})
    for suffix, begin in ((".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")):
        path = tmp_path / f"a{suffix}"
        plotting.save(fig, path)
        assert path.read_bytes().startswith(begin)
    assert b"/Subtype /Image" not in (tmp_path / "a.pdf").read_bytes()  # lines are vectors
    with pytest.raises(ValueError, match=r"path must end in \.png, \.pdf, \.svg, got 'a\.jpg'"):
        plotting.save(fig, "a.jpg")


def test_a_saved_field_has_the_colours_of_its_map(tmp_path):
    """More of them than a reduced palette would hold."""
    fig, axes = plotting.figure()
    plotting.field(axes[0, 0], np.linspace(-1, 1, 200 * 3).reshape(200, 3))
    plotting.save(fig, tmp_path / "a.png", dpi=300)
    colours = np.unique(
        np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3), axis=0
    )
    assert len(colours) > 240


def test_a_field_has_axes_and_a_colour_bar(tmp_path):
    fig, axes = plotting.figure()
    image = plotting.field(axes[0, 0], np.eye(4), (2.0, 0.5), bar="pressure")
    assert image.axes.get_xlabel() == "x" and image.axes.get_ylabel() == "y"
    assert list(image.axes.get_xticks()) == [0, 2] and list(image.axes.get_yticks()) == [0, 0.5]
    assert image.colorbar.ax.get_ylabel() == "pressure" and len(fig.axes) == 2
    image = plotting.field(plotting.figure()[1][0, 0], np.eye(4))
    assert image.axes.get_xlabel() == "x (points)" and image.colorbar is None


def test_a_name_keeps_its_colour_in_a_figure():
    fig, axes = plotting.figure(1, 3)
    plotting.curves(axes[0, 0], {"a": np.ones(3), "b": np.ones(3)})
    plotting.curves(axes[0, 1], {"truth": np.ones(3), "b": np.ones(3), "a": np.ones(3)})
    plotting.curves(axes[0, 2], {name: np.ones(3) for name in ("u", "v", "w", "x", "y", "a")})
    colours = [{line.get_label(): line.get_color() for line in ax.lines} for ax in axes[0]]
    for shown in colours:
        assert shown["a"] == plotting.LINES[0] and len(set(shown.values())) == len(shown)
    assert colours[1]["b"] == colours[0]["b"] and colours[1]["truth"] == plotting.LINES[2]


def test_animation_fits_its_size(tmp_path):
    path = tmp_path / "a.gif"
    plotting.animate({"a": WAVES, "b": WAVES}, path, times=np.arange(6.0), pixels=80)
    assert Image.open(path).n_frames == 6
    size = path.stat().st_size
    plotting.animate({"a": WAVES, "b": WAVES}, path, pixels=80, max_bytes=size // 2)
    assert path.stat().st_size <= size // 2
    with pytest.raises(ValueError, match="share one shape"):
        plotting.animate({"a": WAVES, "b": WAVES[:2]}, path)


def test_animated_frames_have_x_to_the_right_and_y_up(tmp_path):
    """A mark at the greatest x and smallest y, the lower right corner, in every frame."""
    values = np.zeros((3, 8, 8))
    values[:, 7, 0] = [1.0, 0.8, 0.6]
    plotting.animate({"": values}, tmp_path / "a.gif", pixels=160)
    picture = Image.open(tmp_path / "a.gif")
    for number in range(picture.n_frames):
        picture.seek(number)
        pixels = np.asarray(picture.convert("RGB"), float)
        empty = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]  # a zero of the field
        marked = np.abs(pixels - empty).sum(-1) > 60
        marked &= np.ptp(pixels, axis=-1) > 30  # neither white paper nor black text
        rows, columns = np.nonzero(marked)
        assert rows.min() > pixels.shape[0] / 2 and columns.min() > pixels.shape[1] / 2


def test_the_mean_line_is_geometric_on_a_logarithmic_axis():
    fig, axes = plotting.figure(1, 2)
    values = np.array([[1.0, 4.0], [100.0, 9.0]])
    for ax, logarithmic, expected in (
        (axes[0, 0], True, [10.0, 6.0]),
        (axes[0, 1], False, [50.5, 6.5]),
    ):
        plotting.curves(ax, {"a": values}, logarithmic=logarithmic)
        np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)
    plotting.spectrum(axes[0, 0], np.array([1.0, 2.0]), {"a": values})
    np.testing.assert_allclose(axes[0, 0].lines[-1].get_ydata(), [10.0, 6.0])


def test_spread_and_error_have_their_names():
    ax = plotting.figure()[1][0, 0]
    plotting.spread_skill(ax, np.arange(3), np.ones(3), 2 * np.ones(3))
    shown = {line.get_label(): line.get_ydata()[0] for line in ax.lines}
    assert shown == {"standard deviation": 1.0, "error of the mean": 2.0}
    assert {text.get_text() for text in ax.get_legend().get_texts()} == set(shown)


def test_no_global_state():
    """In a process of its own: other tests may have imported pyplot before."""
    code = (
        "import sys, numpy as np; from jaxpbdl import plotting\n"
        "plotting.compare({'a': np.ones((1, 3, 3))}, [0])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
