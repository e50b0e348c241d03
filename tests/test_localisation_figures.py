"""Segmentations as pictures: what is drawn where."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_localisation import SIZE, experiment, scene

from adlib.scores import Scores
from adlib.study import figures, localisation
from adlib.study import localisation_figures as drawn


@pytest.fixture
def found() -> localisation.Localised:
    masks, maps = scene()
    return localisation.localise(experiment(masks), Scores(np.zeros(len(maps)), maps))


def orange(ax) -> list:
    return [
        path
        for path in ax.collections
        if len(path.get_edgecolor()) and to_hex(path.get_edgecolor()[0]) == drawn.ORANGE
    ]


def test_the_boundary_runs_where_the_map_crosses_the_threshold():
    _, ax = figures.figure()
    scores = np.tile(np.arange(10.0), (4, 1))
    drawn.boundary(ax, scores, 4.5)
    (lines,) = orange(ax)
    assert np.unique(lines.get_paths()[0].vertices[:, 0]).tolist() == [4.5]


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 9.5])
def test_a_map_that_does_not_cross_the_threshold_has_no_boundary(threshold):
    _, ax = figures.figure()
    drawn.boundary(ax, np.tile(np.arange(10.0), (4, 1)), threshold)
    assert not ax.collections


def test_a_row_a_category_with_the_worst_cases_last(found):
    fig = drawn.segmentations({"first": found, "second": found})
    axes = np.reshape(fig.axes, (2, len(drawn.COLUMNS)))
    assert [ax.get_title() for ax in axes[0]] == list(drawn.COLUMNS)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["first", "second"]
    assert axes[0, 3].get_xlabel() == "spot\nnothing found"
    assert axes[0, 4].get_xlabel() == f"good\n{600 / SIZE**2:.1f} % marked"
    assert [len(orange(ax)) for ax in axes[0]] == [0, 0, 1, 0, 1]
    fig.draw_without_rendering()


def test_what_does_not_exist_is_said_and_not_drawn(found):
    only = localisation.Localised(
        found.images[3:], found.labels[3:], found.defects[3:], found.masks[3:], found.known[3:],
        found.maps[3:], found.best,
    )  # fmt: skip
    fig = drawn.segmentations({"defects only": only})
    assert [text.get_text() for text in fig.axes[4].texts] == ["none"]
    fig = drawn.segmentations({"normal only": found._replace(masks=np.zeros_like(found.masks))})
    assert [text.get_text() for text in fig.axes[0].texts] == ["none"]


def test_a_constant_map_can_be_drawn(found):
    flat = found._replace(maps=np.full_like(found.maps, 2.0))
    drawn.segmentations({"flat": flat}).draw_without_rendering()


def test_no_row_is_refused():
    with pytest.raises(ValueError, match="must have a row"):
        drawn.segmentations({})
    with pytest.raises(ValueError, match="must have a row"):
        drawn.maps({})


def test_methods_share_the_image_and_have_their_own_threshold(found):
    other = found._replace(best=found.best._replace(threshold=1e9, f1=0.25))
    fig = drawn.maps({"a": {"x": found, "y": other}})
    assert [ax.get_title() for ax in fig.axes] == ["image, defect", "x", "y"]
    assert [len(orange(ax)) for ax in fig.axes] == [0, 1, 0]
    assert fig.axes[2].get_xlabel() == "F1 0.25"
