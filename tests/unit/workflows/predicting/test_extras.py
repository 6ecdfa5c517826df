from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import InvalidValueError, UnknownNameError
from qpbridge.inference.maps.certainty import PROBABILITY, UNCERTAINTY
from qpbridge.inference.objects import AREA
from qpbridge.models.bundle import Bundle
from qpbridge.workflows.entries.sources import sources_of_slides
from qpbridge.workflows.predicting.extras import check
from qpbridge.workflows.predicting.predictor import NotedProgress, Predictor
from qpbridge.workflows.requests import PredictRequest

Found = tuple[list[PathObject], list[PathObject]]


@pytest.fixture
def predicted(draw: Callable[..., Path], color_bundle: Bundle, tmp_path: Path) -> Callable[..., Found]:
    """Predict a slide, and return the objects of classes and the suggestions."""

    def predict(**fields: Any) -> Found:
        chosen = {"device": "cpu", "use_tissue_mask": False, **fields}
        request = PredictRequest(inputs=(), model=Path("m"), out=tmp_path, **chosen)
        predictor = Predictor(request, color_bundle, NotedProgress(SilentProgress()))
        (source,) = sources_of_slides([draw("a.png", Tumor=(100, 50, 200, 150))])
        with source.open(0.5) as opened:
            found = predictor.objects(source, opened, None, tmp_path / "map.tif" if request.probabilities else None)
        reviews = [item for item in found if item.path_class is not None and item.path_class.is_suggestion]
        return [item for item in found if item not in reviews], reviews

    return predict


def test_nothing_is_extra_unless_asked_for(predicted: Callable[..., Found], tmp_path: Path) -> None:
    objects, reviews = predicted()

    assert [list(item.measurements) for item in objects] == [[AREA], [AREA]]
    assert reviews == []
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize("more", [{}, {"blend": True, "tta": "d4"}])
def test_extras_leave_objects_as_they_are(
    predicted: Callable[..., Found], more: dict[str, Any], tmp_path: Path
) -> None:
    plain, _ = predicted()

    objects, reviews = predicted(uncertainty=True, suggest=3, probabilities=True, **more)

    assert [(item.id, item.measurements[AREA]) for item in objects] == [
        (item.id, item.measurements[AREA]) for item in plain
    ]
    assert all(0 <= item.measurements[name] <= 1 for item in objects for name in (PROBABILITY, UNCERTAINTY))
    assert len(reviews) == 3
    assert tifffile.imread(tmp_path / "map.tif").shape == (3, 300, 400)


def test_what_is_doubtful_is_suggested_first(predicted: Callable[..., Found]) -> None:
    objects, (first, *_) = predicted(uncertainty=True, suggest=2)

    doubts = {item.path_class.name: item.measurements[UNCERTAINTY] for item in objects if item.path_class}
    most = next(item for item in objects if item.measurements[UNCERTAINTY] == max(doubts.values()))
    assert first.measurements[UNCERTAINTY] == pytest.approx(max(doubts.values()), abs=0.02)
    assert first.geometry.intersection(most.geometry).area > first.geometry.area / 2


def test_what_cannot_be_is_refused(predicted: Callable[..., Found]) -> None:
    with pytest.raises(InvalidValueError, match="suggest must be 0 or more regions, not -1"):
        predicted(suggest=-1)
    with pytest.raises(UnknownNameError, match="none, flips, d4"):
        predicted(tta="mirror")


@pytest.mark.parametrize("fields", [{"blend": True, "suggest": 1}, {"probabilities": True}, {"uncertainty": True}])
def test_models_of_nuclei_refuse_what_only_regions_have(fields: dict[str, Any]) -> None:
    request = PredictRequest(inputs=(), model=Path("m"), out=Path("o"), tta="d4", **fields)

    check(request, finds_nuclei=False)
    check(PredictRequest(inputs=(), model=Path("m"), out=Path("o"), tta="d4"), finds_nuclei=True)
    with pytest.raises(InvalidValueError, match=f"m finds nuclei, and {', '.join(fields)} are of models of tissue"):
        check(request, finds_nuclei=True)
