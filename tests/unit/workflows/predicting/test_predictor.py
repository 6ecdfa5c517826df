from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shapely import box

from qpbridge.core.objects import ObjectKind, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, InvalidValueError
from qpbridge.inference import engine
from qpbridge.models.bundle import Bundle
from qpbridge.qupath.geojson import write_objects
from qpbridge.slides.stains.staining import Staining
from qpbridge.workflows.entries.annotations import with_annotations
from qpbridge.workflows.entries.sources import sources_of_project, sources_of_slides
from qpbridge.workflows.predicting.areas import interest_of
from qpbridge.workflows.predicting.predictor import NotedProgress, Predictor
from qpbridge.workflows.requests import PredictRequest


class Watched(SilentProgress):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, dict[str, float]]] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        self.told.append((stage, numbers))

    def raise_if_cancelled(self) -> None:
        raise CancelledError("cancelled")


def predictor_of(bundle: Bundle, **fields: Any) -> Predictor:
    chosen = {"device": "cpu", "use_tissue_mask": False, **fields}
    request = PredictRequest(inputs=(), model=Path("m"), out=Path("o"), **chosen)
    return Predictor(request, bundle, NotedProgress(SilentProgress()))


def objects_of(predictor: Predictor, slide: Path) -> list[PathObject]:
    (source,) = sources_of_slides([slide])
    with source.open(0.5) as opened:
        return predictor.objects(source, opened, interest_of(source, opened))


def test_progress_is_passed_on_with_the_objects_so_far() -> None:
    watched = Watched()
    noted = NotedProgress(watched)

    noted.objects = 3
    noted.report("predict", 1, 2, loss=0.5)
    noted.warn("odd")

    assert watched.told == [("predict", {"objects": 3, "loss": 0.5})]
    assert noted.warnings == watched.warnings == ["odd"]
    with pytest.raises(CancelledError):
        noted.raise_if_cancelled()


def test_a_slide_is_shown_in_the_stains_that_the_model_learnt(draw: Callable[..., Path], color_bundle: Bundle) -> None:
    # Halfway to the other color: what is green becomes red.
    red = Staining(method="reinhard", rows=((110.0, 200.0, 180.0), (1.0, 1.0, 1.0)))
    bundle = replace(color_bundle, spec=replace(color_bundle.spec, staining=red))
    slide = draw("a.png", Stroma=(0, 0, 400, 300))

    plain, stained = (objects_of(predictor_of(one), slide) for one in (color_bundle, bundle))

    names = [[item.path_class.name for item in found if item.path_class] for found in (plain, stained)]
    assert names == [["Stroma"], ["Tumor"]]


def test_objects_of_a_slide_are_annotations_where_they_are(draw: Callable[..., Path], color_bundle: Bundle) -> None:
    predictor = predictor_of(color_bundle)

    objects = objects_of(predictor, draw("a.png", Tumor=(100, 50, 200, 150)))

    tumor = next(item for item in objects if item.path_class is not None and item.path_class.name == "Tumor")
    assert tumor.geometry.equals(box(100, 50, 200, 150))
    assert predictor.progress.objects == len(objects) == 2


def test_ids_follow_from_slide_and_model(draw: Callable[..., Path], color_bundle: Bundle) -> None:
    slide = draw("a.png", Tumor=(100, 50, 200, 150))

    first, again = (
        [item.id for item in objects_of(predictor_of(color_bundle, margin_px=margin), slide)] for margin in (0, 9)
    )

    assert first == again
    assert len(set(first)) == 2


@pytest.mark.parametrize(("field", "value"), [("min_area_um2", -1.0), ("smooth_um", -1.0), ("device", "tpu")])
def test_values_out_of_range_are_refused(field: str, value: object, color_bundle: Bundle) -> None:
    with pytest.raises(InvalidValueError):
        predictor_of(color_bundle, **{field: value})


def test_nuclei_belong_to_the_areas_that_they_were_asked_for_in(
    spot_project: Callable[..., Path], make_nucleus: Callable[..., PathObject], spot_bundle: Bundle, tmp_path: Path
) -> None:
    saved = make_nucleus(box(0, 0, 200, 200), "Stroma", ObjectKind.ANNOTATION)
    upper, left = (make_nucleus(box(0, 0, *to), "Tumor", ObjectKind.ANNOTATION) for to in ((200, 90), (80, 80)))
    sources = sources_of_project(spot_project([saved]))
    write_objects(tmp_path / "asked.geojson", [upper, left])
    (asked,) = with_annotations(sources, {"1": (tmp_path / "asked.geojson").read_text()}, "replace")

    found = []
    for source in (sources[0], asked):
        with source.open(None) as opened:
            predictor = predictor_of(spot_bundle)
            found.append(predictor.objects(source, opened, interest_of(source, opened)))

    everywhere, inside = found
    assert [item.parent_id for item in everywhere] == [None] * 3
    assert {item.geometry.centroid.x < 80: item.parent_id for item in inside} == {True: left.id, False: upper.id}


@pytest.mark.parametrize(("asked", "turns"), [(None, 4), ("none", 1), ("d4", 8)])
def test_tiles_are_turned_as_the_model_was_made_for_unless_asked(
    spot_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, asked: str | None, turns: int
) -> None:
    made: list[int] = []
    plain = engine.Engine.__init__

    def noted(self: engine.Engine, *arguments: Any) -> None:
        made.append(len(arguments[3]))
        plain(self, *arguments)

    monkeypatch.setattr(engine.Engine, "__init__", noted)
    spec = replace(spot_bundle.spec, config=replace(spot_bundle.spec.config, turns="flips"))

    predictor_of(replace(spot_bundle, spec=spec), tta=asked)

    assert made == [turns]


def test_nuclei_are_decoded_as_the_model_says(spot_bundle: Bundle) -> None:
    spec = replace(spot_bundle.spec, config=replace(spot_bundle.spec.config, decoding="published"))

    strict = predictor_of(spot_bundle).decoding
    published = predictor_of(replace(spot_bundle, spec=spec), min_area_um2=9.0).decoding

    assert (strict.grow, strict.min_area_um2) == ("within_mask", 3.125)
    assert (published.grow, published.mask_threshold, published.min_area_um2) == ("free", 0.1, 9.0)
