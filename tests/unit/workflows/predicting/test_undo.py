import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shapely import box

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, InvalidValueError, LaterRunError, NothingToUndoError
from qpbridge.models.bundle import Bundle
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.workflows.predict import PredictReport, PredictRequest, predict
from qpbridge.workflows.predicting.undo import UndoRequest, undo

Draw = Callable[..., Path]


class Case:
    """Slides, and a folder of results that runs and a person write to."""

    def __init__(self, folder: Path, slides: Sequence[Path]) -> None:
        self.out = folder / "out"
        self.slides = tuple(slides)

    def run(self, job_id: str, **fields: Any) -> PredictReport:
        request = PredictRequest(
            inputs=self.slides, model=Path("m"), out=self.out, mpp=0.5, device="cpu", use_tissue_mask=False
        )
        return predict(replace(request, **fields), SilentProgress(), job_id=job_id)

    def undo(self, job_id: str) -> Any:
        return undo(UndoRequest(job_id=job_id, out=self.out), SilentProgress()).to_dict()

    def file(self, name: str = "a") -> Path:
        return self.out / f"{name}.geojson"

    def objects(self, name: str = "a") -> dict[str, PathObject]:
        """Objects by the name of their class, of which each slide has one region."""
        found = read_objects(self.file(name)).objects
        classes = [item.path_class.name if item.path_class else "" for item in found]
        assert len(set(classes)) == len(classes)
        return dict(zip(classes, found, strict=True))

    def edit(self, *removed: str, **changed: PathObject) -> None:
        kept = {name: item for name, item in self.objects().items() if name not in removed}
        write_objects(self.file(), {**kept, **changed}.values())


@pytest.fixture
def case(draw: Draw, tmp_path: Path, color_bundle: Bundle) -> Case:
    areas = {"Tumor": (100, 50, 200, 150), "Stroma": (200, 50, 300, 150)}
    return Case(tmp_path, [draw("a.png", **areas), draw("b.png", **areas)])


def test_undoing_the_only_run_leaves_nothing(case: Case) -> None:
    case.run("one")

    told = case.undo("one")

    assert [(slide["stem"], slide["removed"], slide["kept"]) for slide in told["slides"]] == [("a", 3, 0), ("b", 3, 0)]
    assert [path.name for path in case.out.iterdir()] == ["runs"]


def test_undoing_the_second_run_brings_back_the_bytes_of_the_first(case: Case) -> None:
    case.run("one")
    before = case.file().read_bytes()
    case.run("two", smooth_um=2.0, min_area_um2=0)

    case.undo("two")

    assert case.file().read_bytes() == before
    assert json.loads((case.out / "run.json").read_text())["job_id"] == "one"
    assert (case.out / "summary.csv").read_bytes() == (case.out / "runs" / "one" / "summary.csv").read_bytes()


def test_what_a_person_did_outlives_runs_and_their_undoing(case: Case) -> None:
    case.run("one")
    first = case.objects()
    case.edit("Background", Stroma=replace(first["Stroma"], is_locked=True), Tumor=replace(first["Tumor"], name="x"))
    edited = case.objects()

    (told, _) = case.run("two").results
    second = case.objects()
    case.undo("two")
    after = case.objects()
    case.undo("one")

    assert (told.added, told.replaced, told.kept, told.dropped) == (0, 0, 2, 3)
    assert second == after == edited == case.objects()
    assert [(one.name, one.count) for one in told.classes] == [("Tumor", 1), ("Stroma", 1), ("Background", 0)]


def test_an_edit_since_the_run_stays_and_what_it_replaced_does_not_come_back_below(case: Case) -> None:
    case.run("one")
    case.run("two", mpp=0.6)
    second = case.objects()
    case.edit(Tumor=replace(second["Tumor"], geometry=box(100, 50, 200, 140)))

    told = case.undo("two")

    assert (told["slides"][0]["kept"], told["slides"][0]["dropped"], told["slides"][0]["restored"]) == (1, 1, 2)
    assert case.objects()["Tumor"].geometry.bounds == (100, 50, 200, 140)


def test_a_run_below_a_later_one_is_not_undone(case: Case) -> None:
    case.run("one")
    case.run("two", inputs=case.slides[:1])
    before = [case.file(name).read_bytes() for name in "ab"]

    with pytest.raises(LaterRunError, match="job 'two' has predicted 'a' again since job 'one' did"):
        case.undo("one")

    assert [case.file(name).read_bytes() for name in "ab"] == before
    case.undo("two")
    assert len(case.undo("one")["slides"]) == 2


def test_what_was_undone_or_never_was_cannot_be_undone(case: Case) -> None:
    case.run("one")
    case.undo("one")

    for job in ("one", "none"):
        with pytest.raises(NothingToUndoError, match=f"nothing of job '{job}' is left"):
            case.undo(job)
    with pytest.raises(InvalidValueError, match="give their folder"):
        undo(UndoRequest(job_id="one"), SilentProgress())


def test_after_undoing_the_next_run_takes_the_place_of_the_one_before(case: Case) -> None:
    case.run("one")
    case.run("two")
    case.undo("two")

    (told, _) = case.run("three").results

    assert (told.added, told.replaced, told.kept, told.dropped) == (3, 3, 0, 0)


def test_undoing_that_was_stopped_goes_on(case: Case) -> None:
    class Stopped(SilentProgress):
        asked = 0

        def raise_if_cancelled(self) -> None:
            self.asked += 1
            if self.asked > 1:
                raise CancelledError("stopped")

    case.run("one")
    with pytest.raises(CancelledError):
        undo(UndoRequest(job_id="one", out=case.out), Stopped())

    assert [slide["stem"] for slide in case.undo("one")["slides"]] == ["b"]


def test_a_slide_whose_results_are_damaged_is_told_and_the_others_are_undone(case: Case) -> None:
    case.run("one")
    case.file().write_text("{")

    told = case.undo("one")

    assert [slide["stem"] for slide in told["slides"]] == ["b"]
    assert [failure["reason"] for failure in told["failures"]] == ["DAMAGED_GEO_JSON"]
    assert case.file().read_text() == "{"


def test_results_that_a_person_took_away_come_back_as_they_were_before(case: Case) -> None:
    case.run("one")
    first = case.objects()
    case.run("two", min_area_um2=0)
    case.file().unlink()

    case.undo("two")

    assert case.objects() == first
