from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qpbridge.core.backend import Backend
from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import DamagedRecordError, InvalidValueError, PathRefusedError, QupathFailedError
from qpbridge.models.bundle import Bundle
from qpbridge.qupath import backends
from qpbridge.qupath.geojson import read_objects
from qpbridge.qupath.paquo_backend.project import PaquoReader, open_by_paquo
from qpbridge.qupath.paquo_backend.records import QuPathFacts
from qpbridge.qupath.project import open_project
from qpbridge.qupath.reconcile import Reconciliation
from qpbridge.qupath.write_back import DataFingerprint, WriteBack, write_back
from qpbridge.workflows.entries.roots import reading_only_in
from qpbridge.workflows.entries.sources import Source, sources_in
from qpbridge.workflows.predict import PredictReport, PredictRequest, predict
from qpbridge.workflows.predicting.projects import in_project
from qpbridge.workflows.predicting.projects.in_project import ProjectStep
from qpbridge.workflows.predicting.undo import UndoRequest, undo

PAQUO = Backend(name="paquo", detail="QuPath")
DONE = WriteBack(is_written=True, added=1)
LEFT = WriteBack(is_written=False, reason="it changed")


class Warnings(SilentProgress):
    def __init__(self) -> None:
        self.told: list[str] = []

    def warn(self, message: str) -> None:
        self.told.append(message)


class Case:
    """A project of one image with an annotation, a folder of results, and one who predicts into both."""

    def __init__(self, project: Path, out: Path) -> None:
        self.project = project
        self.out = out
        self.progress = Warnings()

    def run(self, job_id: str, **fields: Any) -> PredictReport:
        request = PredictRequest(
            inputs=(self.project,), model=Path("m"), out=self.out, device="cpu", use_tissue_mask=False, write_back=True
        )
        return predict(replace(request, **fields), self.progress, job_id=job_id)

    def undo(self, job_id: str) -> Any:
        return undo(UndoRequest(job_id=job_id, out=self.out), self.progress).to_dict()

    def lock(self, key: str) -> str:
        """Do to an object what a person does in QuPath, and return its id."""
        project = backends.open_project_with("paquo", self.project)
        entry = project.entries[0]
        item = self.objects()[key]
        done = write_back(project, entry, DataFingerprint.of(entry), [item], [replace(item, is_locked=True)])
        assert done.is_written
        return key

    def objects(self) -> dict[str, PathObject]:
        project = open_project(self.project)
        return {item.id: item for item in project.read_objects(project.entries[0])}


@pytest.fixture
def case(make_project: Any, annotate: Any, color_bundle: Bundle, tmp_path: Path) -> Case:
    return Case(make_project({"a.png": [annotate("Region*", 300, 10, 390, 60)]}), tmp_path / "out")


@pytest.fixture
def source(case: Case) -> Source:
    """The entry, of a project that a QuPath has opened."""
    project = open_project(case.project)
    opened = replace(project, reader=PaquoReader(project.path, object(), PAQUO))  # type: ignore[arg-type]
    (source,) = sources_in(opened)
    return replace(source, given=())


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[WriteBack], list[Any]]:
    """Put another in the place of ``write_back``, and objects in that of QuPath's."""

    def replaced(answer: WriteBack) -> list[Any]:
        calls: list[Any] = []

        def write_back(*arguments: Any) -> WriteBack:
            calls.append(arguments)
            return answer

        monkeypatch.setattr(in_project, "write_back", write_back)
        monkeypatch.setattr(Source, "saved_objects", lambda _: ())
        return calls

    return replaced


def only(*added: PathObject) -> Callable[[Any], Reconciliation]:
    return lambda _: Reconciliation(kept=(), replaced=(), added=added, dropped=(), starts_afresh=True)


def test_without_a_qupath_the_geojson_is_left_and_everything_says_why(case: Case) -> None:
    before = case.objects()

    report = case.run("one", backend="native")

    (result,) = report.results
    assert result.write_back is not None
    assert not result.write_back.is_written
    assert "read without QuPath, as asked" in (result.write_back.reason or "")
    assert "get_qupath" in (result.write_back.reason or "")
    assert len(read_objects(result.file).objects) == result.objects > 0
    assert case.objects() == before
    assert any("nothing goes into the project, the GeoJSON is left: only QuPath" in one for one in case.progress.told)
    (slide,) = json.loads((case.out / "run.json").read_text())["slides"]
    assert slide["write_back"]["reason"] == result.write_back.reason
    rows = list(csv.DictReader((case.out / "summary.csv").read_text().splitlines()))
    assert {row["in_project"] for row in rows} == {f"no: {result.write_back.reason}"}
    assert report.to_dict()["slides"][0]["write_back"]["is_written"] is False


def test_slides_without_a_project_are_refused(case: Case, draw: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"--write-back .* slides were given"):
        case.run("one", inputs=(draw("b.png"),))


def test_a_resumed_run_tries_again_what_is_not_in_the_project(case: Case) -> None:
    case.run("one", backend="native", write_back=False)
    case.run("one", backend="native", resume=True, write_back=False)
    first = (case.out / "run.json").read_bytes()

    (result,) = case.run("one", backend="native", resume=True).results

    assert result.write_back is not None
    assert b'"write_back": null' in first


def test_what_was_put_is_noted_before_and_forgotten_where_it_was_left(
    source: Source, annotate: Any, tmp_path: Path, written: Any
) -> None:
    step = ProjectStep(tmp_path, "job", "a")
    calls = written(LEFT)

    assert step.put(source, None, only(annotate("Tumor", 0, 0, 9, 9))) == LEFT

    assert len(calls) == 1
    assert not list((tmp_path / "runs" / "job").iterdir())
    written(DONE)
    assert step.put(source, None, only(annotate("Tumor", 0, 0, 9, 9))) == DONE
    note = json.loads((tmp_path / "runs" / "job" / "a.in-project.json").read_text())
    assert source.project is not None
    assert note == {"project": str(source.project.path), "entry": "1"}


def test_taking_back_needs_a_note_that_can_be_read_and_a_project_within_the_roots(
    source: Source, annotate: Any, tmp_path: Path, written: Any
) -> None:
    step = ProjectStep(tmp_path, "job", "a")
    step.take_back()  # nothing was put anywhere
    written(DONE)
    step.put(source, None, only(annotate("Tumor", 0, 0, 9, 9)))

    with reading_only_in([tmp_path / "elsewhere"]), pytest.raises(PathRefusedError, match="outside the server's roots"):
        step.take_back()
    (tmp_path / "runs" / "job" / "a.in-project.json").write_text("{")
    with pytest.raises(DamagedRecordError, match=r"a.in-project.json cannot be read"):
        step.take_back()


def test_what_cannot_be_taken_back_is_told_and_can_be_tried_again(
    source: Source, annotate: Any, tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ProjectStep(tmp_path, "job", "a")
    written(DONE)
    step.put(source, None, only(annotate("Tumor", 0, 0, 9, 9)))
    monkeypatch.setattr(in_project, "open_project_with", lambda _, path: open_project(path))
    written(LEFT)

    with pytest.raises(QupathFailedError, match=r"still has what the run put there: it changed"):
        step.take_back()
    calls = written(DONE)
    step.take_back()
    step.take_back()
    assert len(calls) == 1


@pytest.fixture
def by_qupath(qupath: Any, monkeypatch: pytest.MonkeyPatch) -> QuPathFacts:
    """Let every project be opened by the QuPath of the tests, whatever its Java does to areas."""
    monkeypatch.setitem(backends._OPENERS, "paquo", lambda path: open_by_paquo(path, qupath, PAQUO))
    return qupath.start()


@pytest.mark.qupath
def test_a_run_an_edit_a_second_run_and_their_undoing_in_the_project(by_qupath: QuPathFacts, case: Case) -> None:
    file = case.project / "project.qpproj"
    file.write_text(file.read_text().replace('"version": "0.6.0"', f'"version": "{by_qupath.version}"'))
    drawn = case.objects().keys()

    (first,) = case.run("one", backend="paquo").results
    found = {item.id for item in read_objects(first.file).objects}
    assert first.write_back is not None
    assert (first.write_back.reason, first.write_back.added, first.write_back.kept) == (None, first.objects, 1)
    assert case.objects().keys() == found | drawn

    mine = case.lock(next(iter(found)))
    (second,) = case.run("two", backend="paquo").results
    assert second.write_back is not None
    assert (second.write_back.is_written, second.write_back.kept) == (True, 2)
    assert case.objects()[mine].is_locked
    assert len(case.objects()) == second.objects + 1  # nothing doubled
    assert second.write_back.backup is not None
    assert second.write_back.backup.is_file()

    case.undo("two")
    assert case.objects().keys() == found | drawn
    case.undo("one")
    assert case.objects().keys() == drawn | {mine}
    assert list(case.out.glob("*.geojson")) == []
