"""Blending, turns, maps, measurements and suggestions on a procedural slide, with a network that nobody trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile

from qpbridge.core.geometry import Region
from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.inference.maps.certainty import PROBABILITY, UNCERTAINTY
from qpbridge.jobs.desk import SilentDesk
from qpbridge.qupath.geojson import parse_objects, read_objects
from qpbridge.slides.synthetic import SyntheticSpec, make_slide, write_slide
from qpbridge.workflows import worker
from qpbridge.workflows.kinds import to_json
from qpbridge.workflows.predict import PredictReport, PredictRequest, predict
from qpbridge.workflows.requests import PredictRegionRequest

WIDTH_PX, HEIGHT_PX = 1300, 900
EDGE_PX = 256
"""Of the model's view, at the slide's own pixel size."""

EXTRAS = {"blend": True, "tta": "flips", "uncertainty": True, "suggest": 3}


@pytest.fixture(scope="module")
def request_for_slide(model: Path, tmp_path_factory: pytest.TempPathFactory) -> PredictRequest:
    folder = tmp_path_factory.mktemp("probabilities")
    write_slide(folder / "a.tif", make_slide(SyntheticSpec(width_px=WIDTH_PX, height_px=HEIGHT_PX, mpp=1.0, seed=4)))
    return PredictRequest(
        inputs=(folder / "a.tif",), model=model, out=folder / "out", device="cpu", use_tissue_mask=False
    )


@pytest.fixture(scope="module")
def report(request_for_slide: PredictRequest) -> PredictReport:
    return predict(replace(request_for_slide, probabilities=True, **EXTRAS), SilentProgress())


def parts_of(path: Path) -> tuple[list[PathObject], list[PathObject]]:
    """Return the objects of classes and the suggestions in a file of results."""
    objects = read_objects(path).objects
    reviews = [item for item in objects if item.path_class is not None and item.path_class.is_suggestion]
    return [item for item in objects if item not in reviews], reviews


def test_the_map_agrees_with_the_objects(report: PredictReport) -> None:
    (result,) = report.results
    objects, _ = parts_of(result.file)
    assert result.probabilities is not None

    with tifffile.TiffFile(result.probabilities) as tiff:
        shown = tiff.asarray()
        levels = [level.shape for level in tiff.series[0].levels]

    assert levels == [(2, 900, 1300), (2, 450, 650), (2, 225, 325)]
    assert np.abs(shown.astype(int).sum(axis=0) - 255).max() <= 1
    tumor = sum(item.geometry.area for item in objects if item.path_class and item.path_class.name == "Tumor")
    share = tumor / (WIDTH_PX * HEIGHT_PX)
    # Small pieces have joined their neighbors, and bytes may not tell which class is likelier.
    assert (shown[0] > shown[1]).mean() - 0.02 < share < (shown[0] >= shown[1]).mean() + 0.02
    assert 0.1 < share < 0.9


def test_objects_tell_how_sure_the_network_is(report: PredictReport) -> None:
    objects, _ = parts_of(report.results[0].file)

    assert all(0.5 - 1 / 255 <= item.measurements[PROBABILITY] <= 1 for item in objects)
    assert all(0 <= item.measurements[UNCERTAINTY] <= 1 for item in objects)
    assert len({round(item.measurements[UNCERTAINTY], 4) for item in objects}) > 1


def test_suggestions_are_spread_out_and_no_tissue(report: PredictReport) -> None:
    (result,) = report.results
    objects, reviews = parts_of(result.file)

    assert [item.name for item in reviews] == [f"Review {rank} of 3" for rank in (1, 2, 3)]
    # They may end at the slide's rim.
    assert all(item.is_locked and 0.8 <= item.geometry.area / EDGE_PX**2 <= 1 for item in reviews)
    assert all(one.geometry.distance(two.geometry) >= EDGE_PX for one in reviews for two in reviews if one is not two)
    assert sum(item.count for item in result.classes) == len(objects)
    assert sum(item.area_mm2 for item in result.classes) == pytest.approx(WIDTH_PX * HEIGHT_PX * 1e-6, rel=1e-6)


def test_a_region_has_the_same_extras(report: PredictReport, request_for_slide: PredictRequest) -> None:
    region = Region(x_px=0, y_px=0, width_px=WIDTH_PX, height_px=HEIGHT_PX)
    request = PredictRegionRequest(
        input=request_for_slide.inputs[0],
        model=request_for_slide.model,
        region=region,
        device="cpu",
        use_tissue_mask=False,
        **EXTRAS,
    )
    desk = SilentDesk()

    told = worker.run("predict_region", to_json(request), desk)

    lines = b"".join(chunk.payload for chunk in desk.chunks).splitlines()
    found = {item.id: item for item in parse_objects(b"[" + b",".join(lines) + b"]", "the region").objects}
    whole = {item.id: item for item in read_objects(report.results[0].file).objects}
    assert found.keys() == whole.keys()
    assert told["suggestions"] == 3
    for key, item in found.items():
        assert item.measurements == pytest.approx(whole[key].measurements, abs=1e-6)
        assert shapely.equals(item.geometry, whole[key].geometry)
