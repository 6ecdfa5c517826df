import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from shapely import box

from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.errors import DamagedGeoJsonError, DamagedRecordError, ResultsBusyError
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.qupath.reconcile import reconcile
from qpbridge.workflows.predicting import history as histories_module
from qpbridge.workflows.predicting.history import Changes, SlideHistory, histories, reserved


def objects(count: int, shift: int = 0) -> list[PathObject]:
    return [
        PathObject(
            id=f"{shift:08}-0000-4000-8000-{i:012}",
            kind=ObjectKind.ANNOTATION,
            geometry=box(100 * i + shift, 0, 100 * i + 80 + shift, 50),
            path_class=PathClass("Tumor", (200, 0, 0)),
        )
        for i in range(count)
    ]


class BrokenOffError(Exception):
    pass


def run(out: Path, job_id: str, new: Sequence[PathObject], *, breaks: str = "") -> None:
    history = SlideHistory(out, "a")
    found = reconcile(*history.before(job_id), new)
    with history.step(job_id, out / "a.geojson", found):
        if breaks == "before":
            raise BrokenOffError
        write_objects(out / "a.geojson", found.objects)
        if breaks == "after":
            raise BrokenOffError


def ids(out: Path) -> list[str]:
    return sorted(item.id for item in read_objects(out / "a.geojson").objects)


def ids_of(items: Sequence[PathObject]) -> list[str]:
    return sorted(item.id for item in items)


def test_what_runs_wrote_and_none_replaced_is_ours(tmp_path: Path) -> None:
    run(tmp_path, "one", objects(3))
    first = read_objects(tmp_path / "a.geojson").objects
    write_objects(tmp_path / "a.geojson", [replace(first[0], is_locked=True), first[1]])
    run(tmp_path, "two", objects(3, 5))

    existing, ours = SlideHistory(tmp_path, "a").before("three")

    assert ids_of(existing) == ids_of([*objects(1), *objects(3, 5)[1:]])
    assert ids_of(ours) == ids_of([objects(3)[0], objects(3)[2], *objects(3, 5)[1:]])


def test_a_deleted_object_does_not_come_back_after_many_runs(tmp_path: Path) -> None:
    run(tmp_path, "one", objects(3))
    write_objects(tmp_path / "a.geojson", read_objects(tmp_path / "a.geojson").objects[1:])
    for job in ("two", "three", "four"):
        run(tmp_path, job, objects(3))

        assert ids(tmp_path) == ids_of(objects(3)[1:])


def test_the_record_lists_what_was_added_replaced_kept_and_dropped(tmp_path: Path) -> None:
    run(tmp_path, "one", objects(2))
    first = read_objects(tmp_path / "a.geojson").objects
    write_objects(tmp_path / "a.geojson", [replace(first[0], name="x"), first[1]])
    run(tmp_path, "two", objects(2, 5))

    changes = msgspec.json.decode((tmp_path / "runs" / "two" / "a.changes.json").read_bytes(), type=Changes)

    kept, replaced = ids_of(objects(2))
    dropped, added = ids_of(objects(2, 5))
    assert changes == Changes(added=(added,), replaced=(replaced,), kept=(kept,), dropped=(dropped,))
    assert [one.stem for one in histories(tmp_path)] == ["a"]


def test_a_run_that_broke_off_before_it_wrote_results_never_was(tmp_path: Path) -> None:
    run(tmp_path, "one", objects(2))
    with pytest.raises(BrokenOffError):
        run(tmp_path, "two", objects(2, 5), breaks="before")

    assert [step.job_id for step in SlideHistory(tmp_path, "a").in_effect] == ["one"]
    run(tmp_path, "three", objects(2, 7))
    assert ids(tmp_path) == ids_of(objects(2, 7))


def test_a_run_that_broke_off_after_it_wrote_results_counts(tmp_path: Path) -> None:
    run(tmp_path, "one", objects(2))
    with pytest.raises(BrokenOffError):
        run(tmp_path, "two", objects(2, 5), breaks="after")

    assert [step.job_id for step in SlideHistory(tmp_path, "a").in_effect] == ["one", "two"]
    SlideHistory(tmp_path, "a").undo()
    assert ids(tmp_path) == ids_of(objects(2))


@pytest.mark.parametrize("breaks", ["before", "after", ""])
def test_a_run_that_is_started_again_is_one_run(tmp_path: Path, breaks: str) -> None:
    run(tmp_path, "one", objects(2))
    with contextlib.suppress(BrokenOffError):
        run(tmp_path, "two", objects(2, 5), breaks=breaks)
    run(tmp_path, "two", objects(2, 5))

    assert ids(tmp_path) == ids_of(objects(2, 5))
    assert [step.job_id for step in SlideHistory(tmp_path, "a").in_effect] == ["one", "two"]
    SlideHistory(tmp_path, "a").undo()
    assert ids(tmp_path) == ids_of(objects(2))


def test_results_that_nobody_has_a_record_of_are_somebodys_work(tmp_path: Path) -> None:
    write_objects(tmp_path / "a.geojson", objects(2))
    run(tmp_path, "one", objects(2, 5))

    assert ids(tmp_path) == ids_of(objects(2))


def test_damaged_results_and_records_are_told_and_left_alone(tmp_path: Path) -> None:
    run(tmp_path, "one", objects(2))
    (tmp_path / "a.geojson").write_text("{")
    with pytest.raises(DamagedGeoJsonError):
        SlideHistory(tmp_path, "a").before("two")

    (tmp_path / "runs" / "a.json").write_text("{")
    with pytest.raises(DamagedRecordError, match=r"runs/a\.json, which tells what earlier runs wrote, cannot be read"):
        SlideHistory(tmp_path, "a")


def test_only_one_run_at_a_time_works_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories_module, "LOCK_WAIT_S", 0.0)

    with reserved(tmp_path):
        with pytest.raises(ResultsBusyError, match=f"another run works on the results in {tmp_path}.*--out"):
            reserved(tmp_path).__enter__()
        with reserved(tmp_path / "other"):
            pass
    with contextlib.suppress(BrokenOffError), reserved(tmp_path):
        raise BrokenOffError
    with reserved(tmp_path):
        pass

    assert list((tmp_path / "runs").iterdir()) == []
