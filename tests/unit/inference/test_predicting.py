import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point, box
from shapely.geometry.base import BaseGeometry
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region, View
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, DamagedSlideError, InvalidValueError
from qpbridge.inference.device import Runtime
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.interest import Interest
from qpbridge.inference.predicting import Scene, default_margin_px, label_rows, predict_labels
from qpbridge.models.spec import ModelClass

HALF = PixelCalibration.square(0.5)
CLASSES = tuple(ModelClass(name=name, color_rgb=(0, 0, 0)) for name in ("Tumor", "Stroma", "Background"))


class FormulaSlide:
    """A slide whose color at a point follows from its place; white outside."""

    def __init__(self, width_px: int = 150, height_px: int = 110) -> None:
        self.width_px, self.height_px = width_px, height_px
        self.readers: set[str] = set()

    def read(self, region: Region, width: int, height: int) -> RgbImage:
        self.readers.add(threading.current_thread().name)
        x = np.floor(region.x_px + (np.arange(width) + 0.5) * region.width_px / width).astype(np.int64)
        y = np.floor(region.y_px + (np.arange(height) + 0.5) * region.height_px / height).astype(np.int64)
        inside = ((y >= 0) & (y < self.height_px))[:, None] & ((x >= 0) & (x < self.width_px))[None]
        value = (x[None] * 7919 + y[:, None] * 104729 + (x[None] // 9) * (y[:, None] // 7) * 31) % 256
        image = np.stack([value, (value * 3) % 256, (value * 5) % 256], axis=-1)
        return np.where(inside[..., None], image, 255).astype(np.uint8)

    @property
    def whole(self) -> Region:
        return Region(x_px=0, y_px=0, width_px=self.width_px, height_px=self.height_px)


class LeftOf:
    """Covers what lies left of a line."""

    def __init__(self, x_px: float) -> None:
        self.x_px = x_px

    def covers(self, region: Region) -> bool:
        return region.x_px < self.x_px


class CancelledAfter(SilentProgress):
    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches
        self.done: list[int] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        self.done.append(done)

    def raise_if_cancelled(self) -> None:
        if self.batches == 0:
            raise CancelledError("cancelled")
        self.batches -= 1


class Pointwise(nn.Module):
    """Three classes by the color of each pixel alone."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        red, green, blue = views["fine"].unbind(1)
        return {"logits": torch.stack([red, green, blue], dim=1)}


class Neighborhood(nn.Module):
    """Three classes by the exact sums over squares of 2 * radius + 1 pixels."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.edge = 2 * radius + 1

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        # Whole numbers below 2**24 add up exactly in any order.
        colors = (views["fine"] * 255).round()
        sums = nn.functional.avg_pool2d(colors, self.edge, stride=1, padding=self.edge // 2, divisor_override=1)
        return {"logits": sums}


class Surroundings(nn.Module):
    """Two classes by whether the fine view or the middle half of the wide view is brighter."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        edge = views["wide"].shape[-1]
        middle = views["wide"][..., edge // 4 : -(edge // 4), edge // 4 : -(edge // 4)]
        around = middle.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        return {"logits": torch.stack([views["fine"][:, 0], around[:, 0]], dim=1)}


def engine_of(network: nn.Module, edge: int, batch_size: int = 3, readers: int = 2) -> Engine:
    views = (
        View(name="fine", fov=FieldOfView(size_px=edge, mpp=0.5)),
        View(name="wide", fov=FieldOfView(size_px=edge, mpp=1.0)),
    )
    segmenter = Segmenter(
        network=network, views=views, classes=CLASSES, probabilities=lambda outputs: outputs["logits"].softmax(1)
    )
    runtime = Runtime(device=torch.device("cpu"), batch_size=batch_size, readers=readers)
    return Engine(segmenter, runtime, SilentProgress())


def labels_of(
    network: nn.Module, edge: int, margin: int, region: Region | None = None, batch_size: int = 3
) -> LabelMap:
    slide = FormulaSlide()
    scene = Scene(slide=slide, calibration=HALF, region=region or slide.whole)
    return predict_labels(engine_of(network, edge, batch_size), scene, SilentProgress(), margin).labels


@settings(max_examples=25, deadline=None)
@given(edge=st.integers(20, 64), margin=st.integers(0, 20), batch_size=st.integers(1, 5))
def test_a_pointwise_network_does_not_notice_tiles(edge: int, margin: int, batch_size: int) -> None:
    margin = min(margin, (edge - 15) // 2)

    labels = labels_of(Pointwise(), edge, margin, batch_size=batch_size)

    colors = FormulaSlide().read(FormulaSlide().whole, 150, 110)
    np.testing.assert_array_equal(labels, colors.argmax(axis=-1))


@settings(max_examples=15, deadline=None)
@given(x=st.integers(0, 40), y=st.integers(0, 40), edge=st.integers(16, 40))
def test_results_do_not_depend_on_the_offset_of_the_grid(x: int, y: int, edge: int) -> None:
    network = Neighborhood(radius=3)
    whole = labels_of(network, 40, 4)

    part = labels_of(network, edge, 3, Region(x_px=x, y_px=y, width_px=90, height_px=60))

    np.testing.assert_array_equal(part, whole[y : y + 60, x : x + 90])


@settings(max_examples=15, deadline=None)
@given(edge=st.integers(28, 70), batch_size=st.integers(1, 7))
def test_tiles_are_seamless_where_the_margin_holds_the_receptive_field(edge: int, batch_size: int) -> None:
    at_once = labels_of(Neighborhood(radius=5), 200, 5)

    tiled = labels_of(Neighborhood(radius=5), edge, 5, batch_size=batch_size)

    np.testing.assert_array_equal(tiled, at_once)


def test_a_margin_below_the_receptive_field_leaves_seams() -> None:
    at_once = labels_of(Neighborhood(radius=5), 200, 5)

    assert (labels_of(Neighborhood(radius=5), 24, 1) != at_once).any()


def test_wide_views_show_the_same_place_in_every_tile() -> None:
    at_once = labels_of(Surroundings(), 192, 8)

    np.testing.assert_array_equal(labels_of(Surroundings(), 32, 4), at_once)


def test_a_finer_slide_is_read_at_the_size_of_the_model() -> None:
    slide = FormulaSlide()
    scene = Scene(slide=slide, calibration=PixelCalibration.square(0.25), region=slide.whole)

    mosaic = predict_labels(engine_of(Pointwise(), 16), scene, SilentProgress(), 2)

    assert mosaic.labels.shape == (55, 75)
    assert (mosaic.grid.downsample_x, mosaic.grid.downsample_y) == (2, 2)
    np.testing.assert_array_equal(mosaic.labels, slide.read(slide.whole, 75, 55).argmax(axis=-1))


def test_tiles_without_tissue_become_background_unseen() -> None:
    slide = FormulaSlide()
    scene = Scene(slide=slide, calibration=HALF, region=slide.whole, tissue=LeftOf(40))
    reached = labels_of(Pointwise(), 24, 2)

    labels = predict_labels(engine_of(Pointwise(), 24), scene, SilentProgress(), 2).labels

    assert (labels[:, 40:] == 2).all()
    np.testing.assert_array_equal(labels[:, :40], reached[:, :40])
    assert (reached[:, 40:] != 2).any()


def test_tiles_without_tissue_stay_unlabelled_where_no_class_is_background() -> None:
    slide = FormulaSlide()
    engine = engine_of(Pointwise(), 24)
    named = Segmenter(
        network=engine.segmenter.network,
        views=engine.segmenter.views,
        classes=CLASSES[:2],
        probabilities=engine.segmenter.probabilities,
    )
    scene = Scene(slide=slide, calibration=HALF, region=slide.whole, tissue=LeftOf(-1))

    labels = predict_labels(Engine(named, engine.runtime, SilentProgress()), scene, SilentProgress(), 2).labels

    assert (labels == IGNORE_INDEX).all()
    assert not slide.readers


def test_tiles_that_nobody_wants_are_left_out() -> None:
    slide = FormulaSlide()
    scene = Scene(slide=slide, calibration=HALF, region=slide.whole, tissue=LeftOf(60), wanted=LeftOf(20))

    labels = predict_labels(engine_of(Pointwise(), 24), scene, SilentProgress(), 2).labels

    assert (labels[:, :20] != IGNORE_INDEX).all()
    assert (labels[:, 20:] == IGNORE_INDEX).all()


def test_cancelling_ends_before_the_next_batch() -> None:
    slide = FormulaSlide()
    progress = CancelledAfter(batches=2)

    with pytest.raises(CancelledError):
        predict_labels(
            engine_of(Pointwise(), 24), Scene(slide=slide, calibration=HALF, region=slide.whole), progress, 2
        )

    assert progress.done == [0, 3]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_progress_counts_every_tile() -> None:
    slide = FormulaSlide()
    progress = CancelledAfter(batches=1000)

    predict_labels(engine_of(Pointwise(), 54), Scene(slide=slide, calibration=HALF, region=slide.whole), progress, 2)

    assert progress.done == [0, 3, 6, 9]


def test_other_threads_read_ahead() -> None:
    slide = FormulaSlide()

    predict_labels(
        engine_of(Pointwise(), 24), Scene(slide=slide, calibration=HALF, region=slide.whole), SilentProgress(), 2
    )

    assert slide.readers
    assert all(name.startswith("read") for name in slide.readers)


def test_a_failing_read_ends_the_prediction() -> None:
    class Torn(FormulaSlide):
        def read(self, region: Region, width: int, height: int) -> RgbImage:
            if region.x_px > 60:
                raise DamagedSlideError("tile 4 cannot be decoded")
            return super().read(region, width, height)

    slide = Torn()
    with pytest.raises(DamagedSlideError, match="tile 4"):
        predict_labels(
            engine_of(Pointwise(), 24), Scene(slide=slide, calibration=HALF, region=slide.whole), SilentProgress(), 2
        )


def test_a_margin_that_leaves_no_core_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="leaves no core"):
        labels_of(Pointwise(), 24, 12)


def test_the_default_margin_is_an_eighth_of_the_tile() -> None:
    assert default_margin_px(FieldOfView(size_px=256, mpp=0.5)) == 32


def interesting(slide: FormulaSlide, geometry: BaseGeometry, finer: float = 1) -> Scene:
    calibration = PixelCalibration.square(0.5 / finer)
    return Scene(
        slide=slide, calibration=calibration, region=slide.whole, interest=Interest.of([geometry], slide.whole)
    )


@settings(max_examples=20, deadline=None)
@given(x=st.integers(0, 120), y=st.integers(0, 90), width=st.integers(1, 60), height=st.integers(1, 60))
def test_a_box_of_interest_shows_what_the_whole_slide_shows_there(x: int, y: int, width: int, height: int) -> None:
    slide = FormulaSlide()
    whole = labels_of(Neighborhood(radius=3), 24, 2)

    mosaic = predict_labels(
        engine_of(Neighborhood(radius=3), 24),
        interesting(slide, box(x, y, x + width, y + height)),
        SilentProgress(),
        2,
    )

    assert (mosaic.x, mosaic.y) == (x, y)
    np.testing.assert_array_equal(mosaic.labels, whole[y : y + height, x : x + width])


def test_only_the_pixels_of_interest_and_those_around_are_labelled() -> None:
    slide = FormulaSlide()
    disk = Point(70, 60).buffer(30)
    whole = labels_of(Pointwise(), 24, 2)

    mosaic = predict_labels(engine_of(Pointwise(), 24), interesting(slide, disk), SilentProgress(), 2)

    rows, columns = (np.arange(size) + 0.5 for size in mosaic.labels.shape)
    distance = np.hypot(columns[None] + mosaic.x - 70, rows[:, None] + mosaic.y - 60)
    assert (mosaic.x, mosaic.y, *mosaic.labels.shape) == (40, 30, 60, 60)
    assert (mosaic.labels[distance < 31] != IGNORE_INDEX).all()
    assert (mosaic.labels[distance > 33.5] == IGNORE_INDEX).all()
    shown = mosaic.labels != IGNORE_INDEX
    np.testing.assert_array_equal(mosaic.labels[shown], whole[30:90, 40:100][shown])


def test_a_window_begins_and_ends_with_whole_pixels_of_the_model() -> None:
    scene = interesting(FormulaSlide(), box(11, 20, 40.5, 21), finer=4)

    mosaic = predict_labels(engine_of(Pointwise(), 24), scene, SilentProgress(), 2)

    assert (mosaic.x, mosaic.y, *mosaic.labels.shape) == (2, 5, 1, 9)


def test_rows_become_final_from_top_to_bottom() -> None:
    slide = FormulaSlide()
    scene = Scene(slide=slide, calibration=HALF, region=slide.whole)
    whole = labels_of(Pointwise(), 24, 2)
    known = []

    for mosaic, rows in label_rows(engine_of(Pointwise(), 24), scene, SilentProgress(), 2):
        np.testing.assert_array_equal(mosaic.labels[:rows], whole[:rows])
        known.append(rows)

    assert known == [20, 40, 60, 80, 100, 110]


def test_rows_without_tissue_are_final_at_once() -> None:
    slide = FormulaSlide()
    scene = Scene(slide=slide, calibration=HALF, region=slide.whole, tissue=LeftOf(-1))

    (only,) = label_rows(engine_of(Pointwise(), 24), scene, SilentProgress(), 2)

    assert only[1] == 110
