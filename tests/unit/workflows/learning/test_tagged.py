from collections.abc import Sequence

import numpy as np
from shapely import box

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.models.registry import configure, family
from qpbridge.models.spec import ModelClass
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.patches import LabelledSlide, PatchSet
from qpbridge.vector.labels import TaggedArea
from qpbridge.workflows.learning.tagged import split_tagged

CONFIG, _ = configure("weak_tissue", "small", {"patch_px": "64", "mpp": "1"})
SPEC = family("weak_tissue").spec(CONFIG, [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in ("Tumor", "Stroma")])


class Told(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def slide(*presence: tuple[bool | None, bool | None], edge: int = 64, strangers: tuple[str, ...] = ()) -> LabelledSlide:
    """Areas side by side."""
    areas = tuple(
        TaggedArea(geometry=box(i * edge, 0, (i + 1) * edge, edge), presence=one, strangers=strangers)
        for i, one in enumerate(presence)
    )
    pixels = np.full((edge, edge * len(presence), 3), 120, np.uint8)
    source = Slide(ArraySource([pixels]))
    return LabelledSlide(key="1", slide=source, calibration=PixelCalibration.square(1.0), shapes=(), tagged=areas)


def split(
    *slides: LabelledSlide, held_back: Sequence[int] = (), share: float = 0.2, told: Told | None = None
) -> tuple[PatchSet, PatchSet]:
    return split_tagged(slides, SPEC, held_back, share, 0, told or Told())


def areas_of(patches: PatchSet) -> set[tuple[int, int | None]]:
    return {(patch.slide, patch.area) for patch in patches.patches}


def test_some_areas_of_each_class_are_held_back() -> None:
    training, validation = split(slide(*[(True, False)] * 5, *[(False, True)] * 5))

    assert len(validation.patches) == 2
    assert validation.counts.sum(axis=0).tolist() == [1, 1]
    assert areas_of(training).isdisjoint(areas_of(validation))
    assert len(training.patches) == 8
    assert training.counts.tolist() == [[1, 0]] * 4 + [[0, 1]] * 4


def test_patches_of_one_area_stay_together() -> None:
    wide = slide(*[(True, False), (False, True)] * 4, edge=192)

    training, validation = split(wide, told=Told())

    assert len(validation.patches) % 9 == 0
    assert areas_of(training).isdisjoint(areas_of(validation))


def test_slides_that_are_named_are_held_back_whole() -> None:
    mixed = slide((True, False), (False, True))

    training, validation = split(mixed, mixed, held_back=[1])

    assert {patch.slide for patch in training.patches} == {0}
    assert {patch.slide for patch in validation.patches} == {1}


def test_nothing_is_learnt_from_an_area_that_shows_what_is_held_back() -> None:
    areas = [TaggedArea(geometry=box(64 * i, 0, 64 * i + 64, 64), presence=(i < 5, i >= 5)) for i in range(10)]
    over = [TaggedArea(geometry=box(64 * i + 32, 0, 64 * i + 96, 64), presence=(i < 5, i >= 5)) for i in range(9)]
    both = slide(*[(True, False)] * 10)
    overlapping = LabelledSlide(
        key="1", slide=both.slide, calibration=both.calibration, shapes=(), tagged=(*areas, *over)
    )

    training, validation = split(overlapping, share=0.1)

    centers = {patch.center_px[0] for patch in validation.patches}
    assert centers
    assert all(abs(patch.center_px[0] - one) >= 63 for patch in training.patches for one in centers)


def test_doubts_are_told() -> None:
    told = Told()

    split(slide(*[(True, False), (False, True)] * 3, edge=150, strangers=("Fat",)), told=told)

    assert any("no class of the model are left out: Fat" in one for one in told.warnings)
    assert any("6 tagged areas are larger than a patch of 64 px at 1 µm/px" in one for one in told.warnings)


def test_where_little_is_tagged_the_model_is_judged_by_what_it_learnt() -> None:
    told = Told()

    training, validation = split(slide((True, False), (False, True)), told=told)

    assert areas_of(training) == areas_of(validation) == {(0, 0), (0, 1)}
    assert any("too little is tagged" in one for one in told.warnings)
