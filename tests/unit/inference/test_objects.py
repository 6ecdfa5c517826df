import uuid
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapely import box

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.objects import ObjectKind
from qpbridge.core.tiles import TileGrid
from qpbridge.inference.objects import AREA, Identity, Outlining, outlines, to_annotations
from qpbridge.inference.predicting import Mosaic
from qpbridge.models.spec import ModelClass

CLASSES = (
    ModelClass(name="Tumor", color_rgb=(200, 0, 0)),
    ModelClass(name="Stroma", color_rgb=(0, 200, 0)),
    ModelClass(name="(rest)", color_rgb=(0, 0, 0), is_written=False),
)
IDENTITY = Identity(slide="quickhash-1:abc", model="f00d")
EXACT = Outlining(min_area_um2=0)


def mosaic_of(labels: LabelMap, mpp: float = 0.5, slide_mpp: float = 0.25) -> tuple[Mosaic, PixelCalibration, Region]:
    calibration = PixelCalibration.square(slide_mpp)
    scale = mpp / slide_mpp
    region = Region(x_px=0, y_px=0, width_px=labels.shape[1] * scale, height_px=labels.shape[0] * scale)
    grid = TileGrid(region=region, fov=FieldOfView(size_px=16, mpp=mpp), margin_px=0, calibration=calibration)
    return Mosaic(labels=labels, grid=grid), calibration, region


def halves() -> LabelMap:
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 1
    labels[10:13, 10:13] = 1
    return labels


@settings(deadline=None, max_examples=30)
@given(labels=hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 2, IGNORE_INDEX])))
def test_areas_are_pixel_counts_at_the_true_pixel_size(labels: LabelMap) -> None:
    mosaic, calibration, region = mosaic_of(labels)

    polygons = outlines(mosaic, calibration, EXACT, region)

    for label in range(3):
        area_um2 = sum(p.geometry.area for p in polygons if p.label == label) * calibration.pixel_area_um2
        assert area_um2 == pytest.approx((labels == label).sum() * 0.25)
    assert all(polygon.geometry.is_valid for polygon in polygons)


def test_small_regions_go_by_their_true_area() -> None:
    mosaic, calibration, region = mosaic_of(halves())

    kept = outlines(mosaic, calibration, Outlining(min_area_um2=9 * 0.25), region)
    removed = outlines(mosaic, calibration, Outlining(min_area_um2=9 * 0.25 + 0.01), region)

    assert [polygon.label for polygon in kept] == [0, 1, 1]
    assert [polygon.label for polygon in removed] == [0, 1]
    assert removed[0].geometry.equals(box(0, 0, 60, 80))


def test_a_slide_that_is_fitted_to_the_model_keeps_its_true_areas() -> None:
    mosaic, _, region = mosaic_of(halves(), mpp=0.5, slide_mpp=0.5)
    true = PixelCalibration.square(0.49)

    objects = to_annotations(outlines(mosaic, true, EXACT, region), CLASSES, true, IDENTITY)

    assert objects[0].measurements[AREA] == pytest.approx((30 * 40 - 9) * 0.49**2)
    assert objects[0].geometry.bounds == (0, 0, 30, 40)


def test_smoothing_is_in_micrometers_and_keeps_borders_shared() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[np.add.outer(np.arange(40), np.arange(40)) > 40] = 1
    mosaic, calibration, region = mosaic_of(labels)

    stairs = outlines(mosaic, calibration, EXACT, region)
    smooth = outlines(mosaic, calibration, replace(EXACT, smooth_um=1.0), region)

    assert shapely.get_num_coordinates(smooth[0].geometry) < shapely.get_num_coordinates(stairs[0].geometry) / 4
    assert shapely.intersection(smooth[0].geometry, smooth[1].geometry).area == 0
    assert shapely.union(smooth[0].geometry, smooth[1].geometry).equals(box(0, 0, 80, 80))


def test_outlines_end_at_the_rim_of_the_image() -> None:
    mosaic, calibration, _ = mosaic_of(halves())
    image = Region(x_px=0, y_px=0, width_px=119, height_px=79)

    polygons = outlines(mosaic, calibration, EXACT, image)

    assert shapely.total_bounds([polygon.geometry for polygon in polygons]).tolist() == [0, 0, 119, 79]


def test_annotations_carry_class_color_and_area_and_no_name() -> None:
    mosaic, calibration, region = mosaic_of(halves())

    tumor, *stroma = to_annotations(outlines(mosaic, calibration, EXACT, region), CLASSES, calibration, IDENTITY)

    assert tumor.kind is ObjectKind.ANNOTATION
    assert tumor.path_class is not None
    assert (tumor.path_class.name, tumor.path_class.color_rgb) == ("Tumor", (200, 0, 0))
    assert tumor.name is None
    assert tumor.measurements == {"Area µm^2": pytest.approx((30 * 40 - 9) * 0.25)}
    assert len(tumor.geometry.interiors) == 1
    assert len(stroma) == 2


def test_a_class_that_is_never_written_makes_no_object() -> None:
    mosaic, calibration, region = mosaic_of(np.full((10, 10), 2, np.uint8))

    assert to_annotations(outlines(mosaic, calibration, EXACT, region), CLASSES, calibration, IDENTITY) == []


def test_ids_follow_from_slide_model_class_and_outline() -> None:
    outline = shapely.to_wkb(box(0, 0, 10, 10), byte_order=1)
    variants = [
        IDENTITY.object_id("Tumor", outline),
        IDENTITY.object_id("Stroma", outline),
        IDENTITY.object_id("Tumor", shapely.to_wkb(box(0, 0, 10, 10.01), byte_order=1)),
        replace(IDENTITY, slide="other").object_id("Tumor", outline),
        replace(IDENTITY, model="other").object_id("Tumor", outline),
    ]

    assert len(set(variants)) == 5
    assert uuid.UUID(variants[0]).version == 5
    assert variants[0] == "5dddb066-6f1a-5ec7-857a-96a78cd4252b"


def test_the_same_labels_make_the_same_objects_in_the_same_order() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (50, 50)).astype(np.uint8)
    mosaic, calibration, region = mosaic_of(labels)

    first, second = (
        to_annotations(outlines(mosaic, calibration, EXACT, region), CLASSES, calibration, IDENTITY) for _ in range(2)
    )

    assert [item.id for item in first] == [item.id for item in second]
    assert len({item.id for item in first}) == len(first)
    names = [item.path_class.name for item in first if item.path_class is not None]
    assert names == sorted(names, key=["Tumor", "Stroma"].index)
