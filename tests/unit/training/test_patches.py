from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, RgbImage
from qpbridge.core.geometry import FieldOfView, PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.core.tiles import view_region
from qpbridge.errors import CancelledError
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.patches import LabelledSlide, Labels, Patch
from qpbridge.vector.labels import TaggedArea

FOV = FieldOfView(size_px=20, mpp=0.5)
QUIET = SilentProgress()


def labelled_slide(
    *shapes: tuple[BaseGeometry, int], pixels: RgbImage | None = None, mpp: float = 0.5
) -> LabelledSlide:
    source = ArraySource([np.full((100, 120, 3), 255, np.uint8) if pixels is None else pixels])
    calibration = PixelCalibration.square(mpp)
    return LabelledSlide(key="1", slide=Slide(source), calibration=calibration, shapes=shapes)


def test_a_patch_needs_more_than_the_share_of_labelled_pixels() -> None:
    exactly = labelled_slide((box(0, 0, 4, 1), 0))
    more = labelled_slide((box(0, 0, 5, 1), 0))
    two_classes = labelled_slide((box(0, 0, 4, 1), 0), (box(0, 1, 1, 2), 1))

    patches, counts = Labels([exactly, more, two_classes], FOV, 2).find(20, 0.01, QUIET)

    assert patches == [Patch(slide=1, center_px=(10, 10)), Patch(slide=2, center_px=(10, 10))]
    assert counts.tolist() == [[5, 0], [4, 1]]


def test_unknown_pixels_do_not_count_as_labelled() -> None:
    slide = labelled_slide((box(0, 0, 20, 20), 0), (box(0, 0, 20, 20), IGNORE_INDEX), (box(40, 0, 60, 20), 0))

    patches, counts = Labels([slide], FOV, 2).find(20, 0.01, QUIET)

    assert patches == [Patch(slide=0, center_px=(50, 10))]
    assert counts.tolist() == [[400, 0]]


@pytest.mark.parametrize(("stride_px", "mpp"), [(20, 0.5), (10, 0.5), (20, 0.25), (7, 0.5), (20, 1.0)])
def test_centers_lie_a_stride_apart_over_the_whole_slide(stride_px: int, mpp: float) -> None:
    slide = labelled_slide((box(-50, -50, 200, 200), 1), mpp=mpp)

    patches, _ = Labels([slide], FOV, 2).find(stride_px, 0.01, QUIET)

    step = stride_px * 0.5 / mpp
    centers = np.array([patch.center_px for patch in patches])
    columns, rows = int(np.ceil(120 / step)), int(np.ceil(100 / step))
    expected = [[(x + 0.5) * step, (y + 0.5) * step] for y in range(rows) for x in range(columns)]
    np.testing.assert_allclose(centers, expected)


@given(
    stride_px=st.integers(10, 40),
    seed=st.integers(0, 1000),
    hole=st.booleans(),
)
@settings(deadline=None, max_examples=15)
def test_no_patch_with_labels_is_missed(stride_px: int, seed: int, hole: bool) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 90, (4, 2))
    shapes: list[tuple[BaseGeometry, int]] = [
        (box(x, y, x + rng.uniform(1, 40), y + rng.uniform(1, 40)), i % 3) for i, (x, y) in enumerate(corners)
    ]
    if hole:
        shapes.append((box(0, 0, 120, 100) - box(5, 5, 115, 95), 2))
    labels = Labels([labelled_slide(*shapes)], FOV, 3)

    found, counts = labels.find(stride_px, 0.0, QUIET)

    columns, rows = int(np.ceil(120 / stride_px)), int(np.ceil(100 / stride_px))
    everywhere = [
        Patch(slide=0, center_px=((x + 0.5) * stride_px, (y + 0.5) * stride_px))
        for y in range(rows)
        for x in range(columns)
    ]
    assert found == [patch for patch in everywhere if labels.count(patch).sum() > 0]
    assert counts.tolist() == [labels.count(patch).tolist() for patch in found]
    assert all(
        count.sum() == np.count_nonzero(labels.of(patch) < 3) for patch, count in zip(found, counts, strict=True)
    )


def test_slides_without_shapes_offer_nothing() -> None:
    patches, counts = Labels([labelled_slide(), labelled_slide()], FOV, 3).find(20, 0.0, QUIET)

    assert patches == []
    assert counts.shape == (0, 3)


@pytest.mark.parametrize("mpp", [0.125, 0.25, 0.5])
def test_labels_lie_on_the_pixels_that_they_were_drawn_on(mpp: float) -> None:
    # Dark pixels are annotated: the image itself says what the labels must be.
    ratio = round(0.5 / mpp)
    rng = np.random.default_rng(0)
    dark = rng.random((100 // ratio, 120 // ratio)) < 0.3
    pixels = np.repeat(np.where(dark, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    pixels = np.repeat(np.repeat(pixels, ratio, axis=0), ratio, axis=1)
    rows, columns = np.nonzero(dark)
    shapes = [(box(x, y, x + ratio, y + ratio), 1) for x, y in zip(columns * ratio, rows * ratio, strict=True)]
    slide = labelled_slide(*shapes, pixels=pixels, mpp=mpp)
    labels = Labels([slide], FOV, 2)

    patches, _ = labels.find(10, 0.01, QUIET)

    assert len(patches) > 4
    for patch in patches:
        seen = slide.slide.read(view_region(patch.center_px, FOV, slide.calibration), 20, 20)
        np.testing.assert_array_equal(labels.of(patch) == 1, seen[..., 0] == 0)


def test_labels_of_a_coarser_view_lie_around_the_same_center() -> None:
    slide = labelled_slide((box(30, 20, 50, 36), 1), (box(50, 20, 58, 60), 0))
    hidden = Patch(slide=0, center_px=(40, 50))
    labels = Labels([slide], FOV, 2, [hidden])
    patch = Patch(slide=0, center_px=(40, 40))

    fine, coarse = labels.of(patch), labels.of(patch, FieldOfView(size_px=20, mpp=1.0))

    assert np.array_equal(fine, labels.of(patch, FOV))
    x, y = np.meshgrid(np.arange(40) + 20, np.arange(40) + 20)
    expected = np.full((40, 40), IGNORE_INDEX, np.uint8)
    expected[(x >= 30) & (x < 50) & (y < 36)] = 1
    expected[(x >= 50) & (x < 58)] = 0
    expected[(x >= 30) & (x < 50) & (y >= 40)] = IGNORE_INDEX  # held back
    np.testing.assert_array_equal(coarse, expected[::2, ::2])
    np.testing.assert_array_equal(fine, expected[10:30, 10:30])


def test_what_is_held_back_is_unknown_and_nothing_else_changes() -> None:
    slide = labelled_slide((box(0, 0, 60, 100), 0), (box(60, 0, 120, 100), 1))
    hidden = [
        Patch(slide=0, center_px=(50, 30)),
        Patch(slide=0, center_px=(110, 90)),
        Patch(slide=1, center_px=(30, 30)),
    ]

    veiled, open_ = Labels([slide, slide], FOV, 2, hidden), Labels([slide, slide], FOV, 2)

    for center in [(10, 10), (50, 30), (47, 33), (60, 40), (110, 90), (100, 80)]:
        x, y = np.meshgrid(np.arange(20) + center[0] - 10, np.arange(20) + center[1] - 10)
        held = ((x >= 40) & (x < 60) & (y >= 20) & (y < 40)) | ((x >= 100) & (x < 120) & (y >= 80) & (y < 100))
        patch = Patch(slide=0, center_px=center)
        np.testing.assert_array_equal(veiled.of(patch), np.where(held, IGNORE_INDEX, open_.of(patch)))
    assert (veiled.of(hidden[0]) == IGNORE_INDEX).all()
    assert veiled.count(hidden[1]).tolist() == [0, 0]
    assert veiled.count(hidden[2]).tolist() == [0, 0]


def test_nuclei_that_are_held_back_are_not_there() -> None:
    slide = replace(labelled_slide((box(0, 0, 120, 100), 0)), nuclei=(box(20, 20, 44, 40), box(60, 60, 70, 70)))
    hidden = Patch(slide=0, center_px=(50, 30))

    veiled, open_ = Labels([slide], FOV, 2, [hidden]), Labels([slide], FOV, 2)

    assert (veiled.instances(hidden, FOV) == 0).all()
    assert (open_.instances(hidden, FOV) == 1).any()
    beside = Patch(slide=0, center_px=(40, 30))
    before, after = (one.instances(beside, FOV) for one in (open_, veiled))
    np.testing.assert_array_equal(after[:, :10], before[:, :10])
    assert (before[:, 10:14] == 1).all()
    assert (after[:, 10:] == 0).all()
    far = Patch(slide=0, center_px=(65, 65))
    np.testing.assert_array_equal(veiled.instances(far, FOV), open_.instances(far, FOV))


def test_patches_held_back_are_not_found_again_by_training() -> None:
    slide = labelled_slide((box(0, 0, 120, 100), 0))
    cells, _ = Labels([slide], FOV, 1).find(20, 0.01, QUIET)
    hidden = cells[::3]

    found, counts = Labels([slide], FOV, 1, hidden).find(20, 0.01, QUIET)

    assert set(found) == set(cells) - set(hidden)
    assert (counts == 400).all()


def test_shapes_beside_the_centers_count() -> None:
    sliver = Polygon([(0, 0), (3, 0), (3, 100), (0, 100)])

    patches, counts = Labels([labelled_slide((sliver, 0))], FOV, 1).find(20, 0.01, QUIET)

    assert [patch.center_px for patch in patches] == [(10, y) for y in (10, 30, 50, 70, 90)]
    assert (counts == 60).all()


def test_the_search_tells_how_far_it_is_and_can_be_stopped() -> None:
    class Stopping(SilentProgress):
        steps: list[tuple[int, int]]

        def __init__(self) -> None:
            super().__init__()
            self.steps = []

        def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
            self.steps.append((done, total))

        def raise_if_cancelled(self) -> None:
            if len(self.steps) == 2:
                raise CancelledError("stopped")

    progress = Stopping()
    labels = Labels([labelled_slide((box(0, 0, 120, 100), 0))], FOV, 1)

    with pytest.raises(CancelledError):
        labels.find(20, 0.01, progress)

    assert progress.steps == [(1, 30), (2, 30)]


def test_a_patch_of_a_tagged_area_knows_what_occurs_and_where() -> None:
    area = TaggedArea(geometry=box(10, 10, 20, 30), presence=(True, False, None))
    slide = replace(labelled_slide(), tagged=(area,))
    labels, patch = Labels([slide], FOV, 3), Patch(slide=0, center_px=(20, 20), area=0)

    presence, tagged = labels.presence(patch), labels.tagged(patch, FOV)

    assert presence is not None
    assert presence.tolist() == [1, 0, IGNORE_INDEX]
    assert tagged is not None
    assert tagged[:, :10].all()
    assert not tagged[:, 10:].any()
    untagged = Patch(slide=0, center_px=(20, 20))
    assert labels.presence(untagged) is labels.tagged(untagged, FOV) is labels.masks(patch, FOV) is None
