import numpy as np
import pytest
from shapely import Polygon, box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import NothingToTrainError
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.patches import LabelledSlide
from qpbridge.training.tagging import TaggedPatches, check_learnable, tagged_areas_px, tagged_patches
from qpbridge.vector.labels import TaggedArea

FOV = FieldOfView(size_px=50, mpp=2.0)
"""100 level-0 px."""


def found(*geometries: BaseGeometry, presence: tuple[bool | None, ...] = (True, False)) -> TaggedPatches:
    pixels = np.full((600, 800, 3), 250, np.uint8)
    pixels[:, :400] = (150, 60, 120)  # tissue on the left
    areas = tuple(TaggedArea(geometry=one, presence=presence) for one in geometries)
    slide = LabelledSlide(
        key="1", slide=Slide(ArraySource([pixels])), calibration=PixelCalibration.square(1.0), shapes=(), tagged=areas
    )
    return tagged_patches([slide], FOV, 2, SilentProgress())


@pytest.mark.parametrize("edge", [20, 100, 109])
def test_a_patch_shows_an_area_that_it_holds(edge: float) -> None:
    patches = found(box(50, 60, 50 + edge, 60 + edge), box(600, 60, 640, 100))

    assert [(one.center_px, one.area) for one in patches.patches] == [
        ((50 + edge / 2, 60 + edge / 2), 0),
        ((620, 80), 1),
    ]
    assert patches.presence.tolist() == [[1, 0], [1, 0]]
    assert patches.larger == 0


def test_a_larger_area_takes_several_patches_with_all_its_tags() -> None:
    patches = found(box(0, 0, 250, 100), presence=(None, True))

    assert [one.center_px for one in patches.patches] == [(50, 50), (125, 50), (200, 50)]
    assert patches.presence.tolist() == [[-1, 1]] * 3
    assert patches.larger == 1


def test_patches_beside_the_area_or_without_tissue_are_left_out() -> None:
    triangle = found(Polygon([(0, 0), (300, 0), (0, 300)]))
    whole_image = found(box(0, 0, 800, 600))

    assert (250, 250) not in [one.center_px for one in triangle.patches]
    assert len(triangle.patches) == 6
    rightmost = max(one.center_px[0] for one in whole_image.patches)
    assert rightmost == 450  # its left rim is not far from tissue
    assert len(whole_image.patches) == 5 * 6


def test_areas_of_which_nothing_is_known_give_no_patch() -> None:
    assert found(box(0, 0, 50, 50), presence=(None, None)).patches == ()


def test_areas_are_counted_for_each_class_as_far_as_they_lie_in_the_image() -> None:
    tagged = [
        TaggedArea(geometry=box(0, 0, 10, 10), presence=(True, True, False)),
        TaggedArea(geometry=box(-10, 0, 10, 10), presence=(None, True, False)),
    ]

    assert tagged_areas_px(tagged, Region(x_px=0, y_px=0, width_px=50, height_px=50)) == {0: 100, 1: 200}


@pytest.mark.parametrize(
    ("presence", "told"),
    [
        ([[1, 1], [0, 1]], "where 'Stroma' is: no tagged area is known to be without it"),
        ([[1, 0], [0, -1]], "nothing to learn 'Stroma' from"),
        ([[1, -1], [-1, 1]], "where 'Tumor', 'Stroma' is"),
    ],
)
def test_classes_that_no_tags_tell_apart_are_refused(presence: list[list[int]], told: str) -> None:
    with pytest.raises(NothingToTrainError, match=told):
        check_learnable(np.array(presence), ["Tumor", "Stroma"])
