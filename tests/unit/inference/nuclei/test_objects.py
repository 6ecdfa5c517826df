import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from made_tissue import MPP, Tissue

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.objects import ObjectKind, PathObject
from qpbridge.inference.interest import Interest
from qpbridge.inference.nuclei.decoding import Decoding
from qpbridge.inference.nuclei.harvesting import Harvesting, Nuclei, harvest
from qpbridge.inference.nuclei.objects import Labelling, Placement, parent_ids, to_objects
from qpbridge.inference.objects import Identity
from qpbridge.models.spec import ModelClass

BOUNDS = Region(x_px=0, y_px=0, width_px=600, height_px=500)
PLACEMENT = Placement(
    origin_px=(40.0, 30.0), scale=(2.0, 2.0), bounds=BOUNDS, calibration=PixelCalibration.square(MPP / 2)
)
TUMOR, OTHER = (ModelClass(name=name, color_rgb=(200, 0, 0)) for name in ("Tumor", "Other"))
LABELLING = Labelling(classes=(TUMOR, OTHER), identity=Identity(slide="s", model="m"))
CELLS = Labelling(classes=(TUMOR, OTHER), identity=Identity(slide="s", model="m"), are_cells=True)


@pytest.fixture(scope="module")
def nuclei(crowd: Tissue) -> Nuclei:
    rows, columns = crowd.truth.shape
    image = np.random.default_rng(0).integers(0, 256, (3, rows, columns), np.uint8)
    block = crowd.block()
    layers = {**block.layers, "pixels": image}
    harvesting = Harvesting(decoding=Decoding(max_extent_um=14.0, reach_um=4.0), mpp=MPP, cell_um=1.5)
    return harvest(type(block)(x=0, y=0, width=columns, height=rows, left=0, top=0, layers=layers), harvesting)


def test_every_nucleus_is_a_detection_with_its_measurements(nuclei: Nuclei) -> None:
    objects = to_objects(nuclei, PLACEMENT, LABELLING)

    assert len(objects) == len(nuclei)
    assert {item.kind for item in objects} == {ObjectKind.DETECTION}
    assert {item.path_class.name for item in objects if item.path_class} == {"Tumor"}
    assert len({item.id for item in objects}) == len(objects)
    assert list(objects[0].measurements) == [
        "Nucleus: Area µm^2",
        "Nucleus: Perimeter µm",
        "Nucleus: Circularity",
        "Nucleus: Eccentricity",
        "Nucleus: Major axis µm",
        "Nucleus: Minor axis µm",
        "Hematoxylin: Nucleus: Mean",
        "Hematoxylin: Nucleus: Std.Dev.",
        "Eosin: Nucleus: Mean",
        "Eosin: Nucleus: Std.Dev.",
        "Detection probability",
    ]
    assert all(math.isfinite(value) for item in objects for value in item.measurements.values())


def test_sizes_are_those_of_the_outline_given_back(nuclei: Nuclei) -> None:
    for item in to_objects(nuclei, PLACEMENT, LABELLING):
        area, length = item.geometry.area * (MPP / 2) ** 2, item.geometry.length * MPP / 2
        assert item.measurements["Nucleus: Area µm^2"] == pytest.approx(area)
        assert item.measurements["Nucleus: Perimeter µm"] == pytest.approx(length)
        assert item.measurements["Nucleus: Circularity"] == pytest.approx(4 * np.pi * area / length**2)


def test_outlines_are_such_that_qupath_takes_them(nuclei: Nuclei) -> None:
    """Valid polygons of one part on a grid of 0.01 px, inside the image."""
    outlines = np.array([item.geometry for item in to_objects(nuclei, PLACEMENT, LABELLING)])

    assert (shapely.get_type_id(outlines) == 3).all()
    assert shapely.is_valid(outlines).all()
    points = shapely.get_coordinates(outlines)
    assert points * 100 == pytest.approx(np.rint(points * 100), abs=1e-6)
    assert shapely.within(outlines, shapely.box(0, 0, 600, 500)).all()


def test_outlines_lie_on_the_slide_where_the_nuclei_do_and_move_by_no_more_than_the_error(nuclei: Nuclei) -> None:
    outlines = np.array([item.geometry for item in to_objects(nuclei, PLACEMENT, LABELLING)])

    edges = shapely.transform(nuclei.outlines, lambda points: points * 2 + (40, 30))
    away = shapely.hausdorff_distance(shapely.boundary(outlines), shapely.boundary(edges))
    assert away.max() <= LABELLING.error_px * 2 + 0.01
    exact = Labelling(classes=(TUMOR, OTHER), identity=LABELLING.identity, error_px=0)
    assert all(
        item.geometry.equals(edge) for item, edge in zip(to_objects(nuclei, PLACEMENT, exact), edges, strict=True)
    )


def test_cells_have_a_nucleus(nuclei: Nuclei) -> None:
    cells = to_objects(nuclei, PLACEMENT, CELLS)
    plain = to_objects(nuclei, PLACEMENT, LABELLING)

    assert {item.kind for item in cells} == {ObjectKind.CELL}
    for cell, nucleus in zip(cells, plain, strict=True):
        assert cell.nucleus is not None
        assert cell.nucleus.equals(nucleus.geometry)
        assert cell.geometry.area > cell.nucleus.area
        assert cell.measurements["Cell: Area µm^2"] == pytest.approx(cell.geometry.area * (MPP / 2) ** 2)
        assert cell.measurements["Nucleus: Area µm^2"] == nucleus.measurements["Nucleus: Area µm^2"]
    assert nucleus.nucleus is None


def _of_classes(nuclei: Nuclei) -> Nuclei:
    half = np.arange(len(nuclei)) % 2

    return replace(nuclei, classes=half, class_probabilities=np.full(len(nuclei), 0.75))


def test_classes_that_are_not_written_are_left_out(nuclei: Nuclei) -> None:
    silent = Labelling(
        classes=(TUMOR, ModelClass(name="Other", color_rgb=(0, 0, 0), is_written=False)), identity=LABELLING.identity
    )

    both, one = (to_objects(_of_classes(nuclei), PLACEMENT, labelling) for labelling in (LABELLING, silent))

    assert len(both) == len(nuclei)
    assert [item.id for item in one] == [
        item.id for item in both if item.path_class and item.path_class.name == "Tumor"
    ]
    assert all(item.class_probability == 0.75 for item in both)


def test_only_nuclei_whose_centroid_is_of_interest_are_given(nuclei: Nuclei) -> None:
    area = shapely.Polygon([(60, 50), (260, 50), (60, 250)])

    objects = to_objects(nuclei, PLACEMENT, LABELLING, interest=Interest.of([area], BOUNDS))

    inside = shapely.contains_xy(area, *(nuclei.centroids * 2 + (40, 30)).T)
    assert 0 < len(objects) == inside.sum() < len(nuclei)


def test_the_smallest_annotation_around_a_nucleus_is_its_parent(nuclei: Nuclei) -> None:
    def annotation(name: str, geometry: shapely.Polygon) -> PathObject:
        return PathObject(id=name, kind=ObjectKind.ANNOTATION, geometry=geometry)

    parents = [annotation("left", shapely.box(0, 0, 240, 500)), annotation("small", shapely.box(0, 0, 240, 200))]
    points = np.array([[100.0, 100.0], [100.0, 300.0], [300.0, 100.0]])

    assert parent_ids(points, parents) == ["small", "left", None]
    assert parent_ids(points, parents[::-1]) == ["small", "left", None]
    assert parent_ids(points, []) == [None, None, None]
    owners = {item.parent_id for item in to_objects(nuclei, PLACEMENT, LABELLING, parents=parents)}
    assert owners == {"small", "left", None}


def test_the_same_prediction_has_the_same_ids(nuclei: Nuclei) -> None:
    again, other = (to_objects(nuclei, PLACEMENT, labelling) for labelling in (LABELLING, CELLS))

    assert [item.id for item in again] == [item.id for item in to_objects(nuclei, PLACEMENT, LABELLING)]
    assert {item.id for item in again}.isdisjoint(item.id for item in other)


def test_without_nuclei_there_are_no_objects(nuclei: Nuclei) -> None:
    assert to_objects(nuclei.chosen(np.zeros(len(nuclei), np.bool_)), PLACEMENT, LABELLING) == []


def test_what_was_not_measured_is_left_out(nuclei: Nuclei) -> None:

    blind = replace(nuclei, stains=np.full_like(nuclei.stains, np.nan))

    assert "Eosin: Nucleus: Mean" not in to_objects(blind, PLACEMENT, LABELLING)[0].measurements
