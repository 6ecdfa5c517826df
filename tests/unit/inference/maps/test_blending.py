from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point, box

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import Region
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, InvalidValueError
from qpbridge.inference.interest import Interest
from qpbridge.inference.maps.blending import Plan, Strip, rows_of, window
from qpbridge.inference.predicting import Mosaic, predict_labels


class LeftOf:
    """Covers what lies left of a line."""

    def __init__(self, x_px: float) -> None:
        self.x_px = x_px

    def covers(self, region: Region) -> bool:
        return region.x_px < self.x_px


@settings(max_examples=30, deadline=None)
@given(step=st.integers(4, 40), reach=st.integers(0, 20))
def test_windows_of_neighbors_sum_to_one(step: int, reach: int) -> None:
    reach = min(reach, step // 2)
    weights = window(step, reach)

    total = np.zeros((3 * step + 2 * reach,) * 2)
    for row in range(3):
        for column in range(3):
            place = (slice(row * step, row * step + len(weights)), slice(column * step, column * step + len(weights)))
            total[place] += weights

    inner = total[step + reach : 2 * step + reach, step + reach : 2 * step + reach]
    np.testing.assert_allclose(inner, 1, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    x=st.integers(0, 40), y=st.integers(0, 40), edge=st.integers(20, 50), margin=st.integers(6, 9), blend=st.booleans()
)
def test_probabilities_do_not_depend_on_size_and_offset_of_the_grid(
    predicting: Any, x: int, y: int, edge: int, margin: int, blend: bool
) -> None:
    network = predicting.blur(radius=3)
    whole = predicting(network, 60, 6).probabilities
    scene = predicting.scene(Region(x_px=x, y_px=y, width_px=90, height_px=60))

    part = predicting(network, edge, margin, scene, is_blended=blend).probabilities

    np.testing.assert_allclose(part, whole[:, y : y + 60, x : x + 90], atol=1e-5)


def test_a_margin_below_twice_the_receptive_field_leaves_traces_of_tiles(predicting: Any) -> None:
    network = predicting.blur(radius=3)

    traces = np.abs(predicting(network, 24, 3).probabilities - predicting(network, 60, 6).probabilities)

    assert traces.max() > 1e-3


def test_blending_turns_seams_into_slopes(predicting: Any) -> None:
    steps = {}
    for blend in (False, True):
        found = predicting(predicting.tile_bound(), 48, 16, is_blended=blend).probabilities
        steps[blend] = max(np.abs(np.diff(found, axis=axis)).max() for axis in (1, 2))

    assert 0 < steps[True] < steps[False] / 4


@pytest.mark.parametrize("interest", [None, box(20, 30, 101, 90), Point(70, 60).buffer(30)])
@pytest.mark.parametrize("limit", [40, 1000])
def test_listening_does_not_change_labels(predicting: Any, interest: Any, limit: float) -> None:
    area = None if interest is None else Interest.of([interest], predicting.whole)
    scene = predicting.scene(tissue=LeftOf(limit), interest=area)
    network = predicting.blur(radius=3)
    plain = predict_labels(predicting.engine(network, 24), scene, SilentProgress(), 2).labels

    collected = predicting(network, 24, 2, scene, is_blended=False)

    np.testing.assert_array_equal(collected.labels, plain)
    labelled = plain != IGNORE_INDEX
    np.testing.assert_allclose(collected.probabilities.sum(0), labelled, atol=1e-5)
    np.testing.assert_array_equal(collected.probabilities.argmax(0)[labelled], plain[labelled])


def test_blank_glass_is_certainly_background_up_to_where_the_network_looks(predicting: Any) -> None:
    scene = predicting.scene(tissue=LeftOf(40))

    collected = predicting(predicting.blur(radius=1), 24, 4, scene)

    seen = np.concatenate([strip.seen for strip in collected.strips])
    uncertainty = np.concatenate([strip.uncertainty for strip in collected.strips])
    assert seen[:, :48].all()
    assert not seen[:, 48:].any()
    assert (collected.labels[:, 48:] == 2).all()
    assert (collected.probabilities[2, :, 48:] == 1).all()
    assert (uncertainty[:, 48:] == 0).all()
    assert (uncertainty[:, :48] > 0).all()


@settings(max_examples=15, deadline=None)
@given(x=st.integers(0, 120), y=st.integers(0, 90), width=st.integers(1, 60), height=st.integers(1, 60))
def test_a_box_of_interest_shows_what_the_whole_slide_shows_there(
    predicting: Any, x: int, y: int, width: int, height: int
) -> None:
    network = predicting.tile_bound()
    whole = predicting(network, 24, 6).probabilities
    width, height = min(width, 150 - x), min(height, 110 - y)
    interest = Interest.of([box(x, y, x + width, y + height)], predicting.whole)

    part = predicting(network, 24, 6, predicting.scene(interest=interest)).probabilities

    np.testing.assert_allclose(part, whole[:, y : y + height, x : x + width], atol=1e-5)


def test_uncertainty_is_entropy_over_that_of_ignorance() -> None:
    probabilities = np.array([[[1, 1 / 3, 0.5, 0]], [[0, 1 / 3, 0.5, 0]], [[0, 1 / 3, 0, 0]]], np.float32)
    strip = Strip(mosaic=None, y=0, probabilities=probabilities, seen=np.ones((1, 4), bool))  # type: ignore[arg-type]

    np.testing.assert_allclose(strip.uncertainty, [[0, 1, np.log(2) / np.log(3), 0]], atol=1e-6)


def test_no_more_rows_are_held_than_a_row_of_tiles_reaches(predicting: Any) -> None:
    strips = predicting(predicting.blur(radius=1), 24, 4).strips

    assert [strip.y for strip in strips] == [0, 14, 30, 46, 62, 78, 94]
    assert max(len(strip.seen) for strip in strips) <= 16 + 2 * 2


def test_rows_are_given_once_they_are_final(predicting: Any) -> None:
    engine, scene = predicting.engine(predicting.blur(radius=3), 24), predicting.scene()
    final = predicting(predicting.blur(radius=3), 24, 8).labels
    known = []

    for mosaic, rows in rows_of(engine, scene, SilentProgress(), Plan(margin_px=8, is_blended=True)):
        np.testing.assert_array_equal(mosaic.labels[:rows], final[:rows])
        known.append(rows)

    assert known == sorted(set(known))
    assert known[-1] == 110


def test_without_blending_and_listeners_no_probability_leaves_the_device(
    predicting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = predicting.engine(predicting.blur(radius=1), 24)
    monkeypatch.setattr(engine, "probabilities", lambda _: pytest.fail("probabilities were asked for"))

    *_, (mosaic, rows) = rows_of(engine, predicting.scene(), SilentProgress(), Plan())

    assert isinstance(mosaic, Mosaic)
    assert rows == 110


def test_cancelling_ends_before_the_next_batch(predicting: Any) -> None:
    class Cancelled(SilentProgress):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("cancelled")

    rows = rows_of(
        predicting.engine(predicting.blur(radius=1), 24), predicting.scene(), Cancelled(), Plan(is_blended=True)
    )

    with pytest.raises(CancelledError):
        list(rows)


def test_a_margin_that_leaves_no_core_is_refused(predicting: Any) -> None:
    with pytest.raises(InvalidValueError, match="leaves no core"):
        predicting(predicting.blur(radius=1), 24, 12)


def test_blended_labels_are_the_likeliest_class(predicting: Any) -> None:
    collected = predicting(predicting.tile_bound(), 48, 16)

    best = torch.from_numpy(collected.probabilities).argmax(0)

    np.testing.assert_array_equal(collected.labels, best)
