"""Figures: the same bytes every time, readable in both modes, true to the numbers given."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from adlib.study import figures

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _settings():
    """Give every test matplotlib's settings as they were."""
    with mpl.rc_context():
        yield


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.fixture
def scores():
    return np.random.default_rng(1).normal(size=(24, 32))


def drawing():
    fig, ax = figures.figure(5, 3)
    ax.plot([0, 1], [0, 1], color="black", label="a")
    ax.bar([0, 1], [1, 2], color="black")
    ax.set(title="text", xlabel="$x_1$")
    ax.legend()
    return fig


def relative_luminance(colour):
    # WCAG 2.2
    channels = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    low, high = sorted([relative_luminance(one), relative_luminance(other)])
    return (high + 0.05) / (low + 0.05)


# -- the file


def test_the_same_figure_gives_the_same_bytes():
    fig = drawing()
    first = figures.svg(fig, "t", "d").data
    assert figures.svg(fig, "t", "d").data == first
    assert figures.svg(drawing(), "t", "d").data == first
    assert "<dc:date>" not in first


def test_nothing_is_cut_off():
    fig, axes = figures.figure(6, 5, 2, 2)
    for ax in axes.flat:
        ax.set(xlabel="a text", ylabel="another text", title="title")
    figures.svg(fig, "t", "d")
    boxes = [ax.get_tightbbox() for ax in axes.flat]
    assert all(fig.bbox.padded(1).fully_containsx(edge) for box in boxes for edge in box.intervalx)
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])


def test_black_follows_the_page():
    text = figures.svg(drawing(), "t", "d").data
    assert re.search(r"#000\b|#000000", text) is None
    assert text.count("currentColor") > 2
    assert "prefers-color-scheme:dark" in text


def test_title_and_description_reach_a_screen_reader():
    root = ElementTree.fromstring(figures.svg(drawing(), "a < b", "R&D > 0").data)
    assert root.get("role") == "img"
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert (root[0].text, root[1].text) == ("a < b", "R&D > 0")


@pytest.mark.parametrize(("title", "desc"), [("", "d"), ("t", " ")])
def test_a_figure_without_words_is_refused(title, desc):
    with pytest.raises(ValueError, match="title and a description"):
        figures.svg(drawing(), title, desc)


# -- the style


@pytest.mark.parametrize("page", ["#ffffff", "#14181e"])
def test_colours_stand_out_on_both_pages(page):
    assert [c for c in figures.PALETTE if contrast(c, page) < 3] == []


def test_the_style_does_not_depend_on_the_users_settings():
    expected = figures.svg(drawing(), "t", "d").data
    mpl.rcParams.update({"font.size": 4, "legend.fontsize": 4, "axes.grid": False})
    fig = drawing()
    sizes = {text.get_fontsize() for text in fig.findobj(Text) if text.get_text()}
    assert min(sizes) >= 11
    mpl.rcParams.update({"svg.hashsalt": None, "svg.fonttype": "none"})
    assert figures.svg(fig, "t", "d").data == expected


def test_style_is_undone_after_its_block():
    mpl.rcParams["font.size"] = 4
    with figures.style():
        assert mpl.rcParams["font.size"] == 11
    assert mpl.rcParams["font.size"] == 4


@pytest.mark.parametrize("width", [7.1, 0, float("nan")])
def test_figures_are_no_wider_than_a_page(width):
    with pytest.raises(ValueError, match="at most 7 inches"):
        figures.figure(width, 3)


# -- lines


def band(ax):
    """Lowest and highest y of the band at each x."""
    (area,) = ax.collections
    vertices = area.get_paths()[0].vertices
    x = np.unique(vertices[:, 0])
    return np.array(
        [[f(vertices[vertices[:, 0] == at, 1]) for f in (np.min, np.max)] for at in x]
    ).T


VALUES = np.array([[1.0, 2.0, 6.0], [3.0, np.nan, 5.0], [np.nan, np.nan, 4.0]])


def test_line_and_band_show_mean_and_range():
    _, ax = figures.figure()
    line = figures.line_with_spread(ax, [1, 2, 3], VALUES, "a")
    np.testing.assert_allclose(line.get_ydata(), [3, 4, 4])
    np.testing.assert_allclose(band(ax), [[1, 3, 4], [6, 5, 4]])
    points = ax.lines[1].get_xydata()
    assert sorted(y for _, y in points if np.isfinite(y)) == [1, 2, 3, 4, 5, 6]


def test_band_of_one_standard_deviation():
    _, ax = figures.figure()
    figures.line_with_spread(ax, [1, 2, 3], VALUES, "a", spread="sd")
    half = [np.std([1, 2, 6], ddof=1), np.std([3, 5], ddof=1), 0]
    np.testing.assert_allclose(band(ax), [np.subtract([3, 4, 4], half), np.add([3, 4, 4], half)])


def test_lines_differ_in_colour_and_marker():
    _, ax = figures.figure()
    lines = [figures.line_with_spread(ax, [1, 2], np.ones((2, 2)), name) for name in "abcdef"]
    assert (
        len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 6
    )


@pytest.mark.parametrize(
    ("values", "spread", "message"),
    [
        (np.ones((3, 2)), "range", r"shape \(2, seeds\)"),
        (np.ones(2), "range", r"shape \(2, seeds\)"),
        (np.array([[1.0], [np.nan]]), "range", r"none at \[2.0\]"),
        (np.ones((2, 2)), "sem", "'range' or 'sd'"),
    ],
)
def test_values_that_cannot_be_drawn(values, spread, message):
    _, ax = figures.figure()
    with pytest.raises(ValueError, match=message):
        figures.line_with_spread(ax, [1, 2], values, "a", spread=spread)


# -- pictures


def test_overlay_is_grey_below_and_colour_above(image, scores):
    grey = figures.overlay(image, scores, -1, 1, alpha=0)
    expected = np.asarray(Image.fromarray(image).convert("L")).astype(int)
    assert np.abs(grey.astype(int) - expected[..., None]).max() <= 1
    heat = figures.overlay(image, scores, -1, 1, alpha=1)
    mappable = mpl.cm.ScalarMappable(mpl.colors.Normalize(-1, 1), figures.HEAT)
    assert np.abs(heat.astype(int) - mappable.to_rgba(scores, bytes=True)[..., :3]).max() <= 1
    half = figures.overlay(image, scores, -1, 1, alpha=0.5)
    assert np.abs(half - (grey.astype(float) + heat) / 2).max() <= 1


@pytest.mark.parametrize(("vmin", "vmax"), [(1, 1), (2, 1), (float("nan"), 1)])
def test_overlay_needs_limits_in_order(image, scores, vmin, vmax):
    with pytest.raises(ValueError, match="vmin must be below vmax"):
        figures.overlay(image, scores, vmin, vmax)


def test_overlay_needs_one_size(image, scores):
    with pytest.raises(ValueError, match=r"image must have shape \(24, 31, 3\)"):
        figures.overlay(image, scores[:, 1:], 0, 1)


def test_outline_goes_round_the_mask():
    mask = np.zeros((24, 32), bool)
    mask[5:10, 8:20] = True
    fig, ax = figures.figure()
    figures.picture(ax, np.zeros((24, 32, 3), np.uint8))
    figures.contour(ax, mask)
    (outline,) = ax.collections
    vertices = np.concatenate([path.vertices for path in outline.get_paths()])
    # half way between the last pixel inside and the first outside
    np.testing.assert_allclose(vertices.min(axis=0), [7.5, 4.5])
    np.testing.assert_allclose(vertices.max(axis=0), [19.5, 9.5])
    assert "#101010" in figures.svg(fig, "t", "d").data


@pytest.mark.parametrize("fill", [False, True])
def test_no_outline_without_an_edge(fill):
    _, ax = figures.figure()
    figures.contour(ax, np.full((4, 4), fill))
    assert len(ax.collections) == 0


def test_gallery_has_one_row_an_image_and_one_scale_a_method(image, scores):
    mask = scores > 2
    rows = [
        (image, mask, {"A": scores, "B": 10 * scores}),
        (image, None, {"A": scores - 9, "B": scores}),
    ]
    fig = figures.gallery(rows, labels=["best", "worst"], limits={"B": (0, 5)})
    axes = np.reshape(fig.axes, (2, 3))
    assert [ax.get_title() for ax in axes[0]] == ["image", "A", "B"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["best", "worst"]
    shown = [[ax.images[0].get_array() for ax in line] for line in axes]
    np.testing.assert_array_equal(shown[0][0], image)
    low, high = scores.min() - 9, scores.max()
    for row, maps in enumerate([rows[0][2], rows[1][2]]):
        np.testing.assert_array_equal(shown[row][1], figures.overlay(image, maps["A"], low, high))
        np.testing.assert_array_equal(shown[row][2], figures.overlay(image, maps["B"], 0, 5))
    assert figures.svg(fig, "t", "d").data.count("data:image/png;base64,") == 6


def test_gallery_of_a_flat_map(image):
    fig = figures.gallery([(image, None, {"A": np.zeros((24, 32))})])
    assert len(fig.axes) == 2


def test_galleries_that_cannot_be_drawn(image, scores):
    rows = [(image, None, {"A": scores}), (image, None, {"B": scores})]
    for wrong in ([], rows, [(image, None, {})]):
        with pytest.raises(ValueError, match="maps of the same methods"):
            figures.gallery(wrong)
    with pytest.raises(ValueError, match="labels"):
        figures.gallery(rows[:1], labels=["one", "two"])
