"""Figures of the coreset page: what is drawn is what was computed."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.patches import Circle, Rectangle

from adlib.study import coreset_demo, coreset_figures, coreset_trace, figures


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


def row(name, N, n, **seconds):
    medians = {side: {"seconds": value} for side, value in seconds.items()}
    medians.get("anomalib", {})["measured_steps"] = 12
    return {
        "name": name, "fraction": 0.01, "points": [N, 128], "centres": n, "medians": medians,
    }  # fmt: skip


def test_bars_show_what_was_measured():
    bottle = row("bottle", 163856, 1639, adlib=0.65, product=0.8, plain=10.0, anomalib=1206.4)
    fig = coreset_figures.cost_bars([bottle, row("tile", 597408, 5974, adlib=4.5, plain=130.0)])
    ax = fig.axes[0]
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in ax.containers}
    assert widths["ours, exact"] == [0.65, 4.5] and widths["anomalib"] == [1206.4]
    assert {"0.65 s", "10 s", "1,206 s*", "130 s"} <= {text.get_text() for text in ax.texts}
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["bottle 1%\n163,856 x 1,639", "tile 1%\n597,408 x 5,974"]
    assert ax.get_xscale() == "log"


def grown(N, n, ours, product, **more):
    return {"points": N, "centres": n, "seconds": {"adlib": ours, "product": product}} | more


def test_growth_has_a_line_where_only_one_number_varies():
    rows = [grown(16000, 160, 1, 2), grown(64000, 640, 4, 32), grown(16000, 16, 0.5, 0.2)]
    points, centres = coreset_figures.growth_panels(rows).axes
    assert legend(points) == ["1 % kept"] and legend(centres) == ["16,000 points"]
    assert points.lines[0].get_xydata().tolist() == [[16000, 1], [64000, 4]]
    assert points.lines[1].get_xydata().tolist() == [[16000, 2], [64000, 32]]
    assert centres.lines[0].get_xydata().tolist() == [[16, 0.5], [160, 1]]
    assert centres.lines[1].get_linestyle() == "--"
    assert [label.get_text() for label in points.get_xticklabels()] == ["16,000", "64,000"]


def test_growth_tells_kinds_of_points_apart_and_may_have_no_line():
    rows = [grown(N, N // 100, 1, 2, kind=kind) for kind in ("a", "b") for N in (1000, 2000)]
    points, centres = coreset_figures.growth_panels(rows).axes
    assert legend(points) == ["a, 1 % kept", "b, 1 % kept"]
    assert len(centres.lines) == 0 and centres.get_legend() is None


def test_squares_lie_where_the_patches_are():
    images = [np.zeros((8, 12, 3), np.uint8)] * 2
    places = coreset_demo.places(np.array([5, 6, 11]), (2, 3))
    fig = coreset_figures.kept_patches(images, {"coreset": places}, (2, 3))
    first, second = (
        {patch.get_xy() for patch in ax.patches if isinstance(patch, Rectangle)} for ax in fig.axes
    )
    assert first == {(7.5, 3.5)} and second == {(-0.5, -0.5), (7.5, 3.5)}
    assert [ax.get_xlabel() for ax in fig.axes] == ["1 kept", "2 kept"]
