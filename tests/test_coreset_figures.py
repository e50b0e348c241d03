"""Figures of the coreset page: what is drawn is what was computed."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.patches import Circle, Rectangle

from adlib import coreset_demo, coreset_figures, coreset_trace, figures


@pytest.fixture(autouse=True)
def _settings():
    """Give every test matplotlib's settings as they were."""
    with mpl.rc_context():
        yield


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_subsets_show_the_largest_gap():
    points = np.array([[0, 0], [1, 0], [9, 1], [10, 0]], np.float32)
    kept = {"coreset": {"line": np.array([0, 3])}, "random": {"line": np.array([0, 1])}}
    fig = coreset_figures.subsets({"line": points}, kept)
    for ax, radius, centre in zip(fig.axes, (2**0.5, 9), ((9, 1), (10, 0)), strict=True):
        (circle,) = [patch for patch in ax.patches if isinstance(patch, Circle)]
        assert circle.get_radius() == pytest.approx(radius) and tuple(circle.center) == centre
        assert f"radius {radius:.2f}" in ax.get_title()
        assert ax.lines[0].get_xydata().tolist() == points.tolist()
    assert fig.axes[0].lines[1].get_xdata().tolist() == [0, 10]
    assert fig.axes[0].get_xlim() == fig.axes[1].get_xlim()
    assert figures.svg(fig, "t", "d").data


def test_radius_panels_mark_what_no_subset_can_reach():
    coreset, at_random = np.array([[4.0, 2.0], [6.0, 1.0]]), np.array([[8.0, 4.0], [8.0, 2.0]])
    fig = coreset_figures.radius_panels({"data": {"coreset": coreset, "random": at_random}})
    lines = {line.get_label(): line.get_ydata().tolist() for line in fig.axes[0].lines}
    assert lines == {"coreset": [5, 1.5], "random": [8, 3]}
    grey = next(c for c in fig.axes[0].collections if c.get_label() == "impossible")
    assert grey.get_paths()[0].vertices[:, 1].max() == 3
    assert {text.get_text() for text in fig.legends[0].get_texts()} == {*lines, "impossible"}


def test_the_matrix_holds_every_pair_and_the_phase_its_points():
    x = np.cumsum(np.random.default_rng(0).standard_normal((200, 40)), axis=0).astype(np.float32)
    trace = coreset_trace.lazy_greedy(x, 30)
    phase = trace.phases[-1]
    fig = coreset_figures.selection(trace, phase)
    assert np.array_equal(fig.axes[0].images[0].get_array(), trace.pairs)
    assert legend(fig.axes[0])[0] == f"never looked at, {trace.share(0):.0%}"
    drawn = {line.get_label(): line for line in fig.axes[1].lines}
    assert drawn["upper bound u"].get_ydata().tolist() == sorted(
        drawn["upper bound u"].get_ydata(), reverse=True
    )
    assert drawn[r"threshold $\theta$"].get_ydata()[0] == phase.theta
    hinted = drawn["brought below by a hint"].get_ydata()
    assert len(hinted) == phase.hinted.sum() and (hinted < phase.theta).all()
    candidates = drawn["true distance: candidate"].get_ydata()
    assert sorted(candidates) == sorted(phase.after[phase.after >= phase.theta])


CASES = [
    {
        "case": "bottle 1 %",
        "points": 163856,
        "centres": 1639,
        "seconds": {"adlib": 0.65, "product": 0.8, "plain": 10.0, "anomalib": 1206.4},
        "extrapolated": ["anomalib"],
    },
    {
        "case": "tile 1 %",
        "points": 597408,
        "centres": 5974,
        "seconds": {"adlib": 4.5, "product": 11.0, "plain": 130.0, "anomalib": None},
    },
]


def test_bars_show_what_was_measured():
    fig = coreset_figures.cost_bars(CASES)
    ax = fig.axes[0]
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in ax.containers}
    assert widths["ours, exact"] == [0.65, 4.5] and widths["anomalib"] == [1206.4]
    assert {"0.65 s", "10 s", "1,206 s*"} <= {text.get_text() for text in ax.texts}
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["bottle 1 %\n163,856 x 1,639", "tile 1 %\n597,408 x 5,974"]
    assert ax.get_xscale() == "log"


def test_growth_has_a_line_for_each_kind_where_a_number_varies():
    measured = [
        ("patches", 1000, 10, 1.0, 4.0),
        ("patches", 2000, 10, 2.0, 8.0),
        ("patches", 2000, 40, 4.0, 32.0),
        ("isotropic", 1000, 10, 5.0, 4.0),
        ("isotropic", 2000, 10, 9.0, 8.0),
        ("isotropic", 2000, 40, 30.0, 32.0),
    ]
    names = ("kind", "points", "centres", "seconds", "product")
    rows = [dict(zip(names, row, strict=True)) for row in measured]
    points, centres = coreset_figures.growth_panels(rows[::-1]).axes
    assert sorted(legend(points)) == ["isotropic, 10 centres", "patches, 10 centres"]
    line = next(each for each in points.lines if each.get_label() == "patches, 10 centres")
    assert line.get_xydata() == pytest.approx(np.array([[1000, 1], [2000, 2]]))
    line = next(each for each in centres.lines if each.get_label().startswith("isotropic"))
    assert line.get_label() == "isotropic, 2,000 points"
    assert line.get_xydata() == pytest.approx(np.array([[10, 9], [40, 30]]))
    assert sum(each.get_linestyle() == "--" for each in centres.lines) == 2


def test_squares_lie_where_the_patches_are():
    images = [np.zeros((8, 12, 3), np.uint8)] * 2
    places = coreset_demo.places(np.array([5, 6, 11]), (2, 3))
    fig = coreset_figures.kept_patches(images, {"coreset": places}, (2, 3))
    first, second = (
        {patch.get_xy() for patch in ax.patches if isinstance(patch, Rectangle)} for ax in fig.axes
    )
    assert first == {(7.5, 3.5)} and second == {(-0.5, -0.5), (7.5, 3.5)}
    assert [ax.get_xlabel() for ax in fig.axes] == ["1 kept", "2 kept"]
