import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.errors import InvalidValueError, NothingToUndoError
from qpbridge.jobs.records import Job, JobState, utc_now
from qpbridge.workflows.entries.naming import (
    default_results,
    distinct_stems,
    find_results,
    places_file,
    results_file,
    results_folder,
    results_stem,
    safe_stem,
)


@given(st.text())
def test_a_safe_stem_is_a_plain_file_name(name: str) -> None:
    stem = safe_stem(name)

    assert 0 < len(stem) <= 121
    assert not set(stem) & set('<>:"/\\|?*\0\n')
    assert stem == stem.strip(" .")
    assert safe_stem(stem) == stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("slide_a.svs", "slide_a.svs"),
        ("case 7/12: b.svs", "case 7_12_ b.svs"),
        ("..", "image"),
        ("Größe.tif", "Größe.tif"),
        ("con.svs", "_con.svs"),
    ],
)
def test_safe_stems_stay_readable(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


@given(st.lists(st.sampled_from(["a", "A", "b", "a-2", "A-2"]), max_size=8))
def test_distinct_stems_differ_on_every_file_system(stems: list[str]) -> None:
    distinct = distinct_stems(stems)

    assert len({stem.casefold() for stem in distinct}) == len(stems)
    assert all(new.startswith(old) for old, new in zip(stems, distinct, strict=True))


def test_stems_that_do_not_clash_stay() -> None:
    assert distinct_stems(["a", "b"]) == ["a", "b"]
    assert distinct_stems(["a", "A", "b", "a"]) == ["a", "A-2", "b", "a-3"]


def test_the_newer_results_are_found(tmp_path: Path) -> None:
    plain, gzipped = results_file(tmp_path, "1-a"), results_file(tmp_path, "1-a", is_gzipped=True)
    assert find_results(tmp_path, "1-a") is None

    for path, time_s in ((plain, 100), (gzipped, 200)):
        path.touch()
        os.utime(path, (time_s, time_s))

    assert find_results(tmp_path, "1-a") == gzipped
    assert (plain.name, gzipped.name) == ("1-a.geojson", "1-a.geojson.gz")


@pytest.mark.parametrize("first", ["project", "project/project.qpproj", "project/a.svs"])
def test_results_go_beside_the_project_or_slide_unless_told(first: str, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    model = tmp_path / "models" / "skin"

    folder = default_results((tmp_path / first, Path("other.svs")), model)

    assert folder == tmp_path / "project" / "qpbridge-results" / "skin"


@pytest.mark.parametrize("first", ["/far/project", "/far/project/project.qpproj", "/far/project/a.svs"])
def test_results_of_what_is_elsewhere_go_to_the_same_place(first: str) -> None:
    assert default_results((Path(first),), Path("skin")) == Path("/far/project/qpbridge-results/skin")


def test_results_take_the_models_name_however_its_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "skin").mkdir()
    monkeypatch.chdir(tmp_path / "skin")

    assert default_results((Path("a.svs"),), Path()) == Path("qpbridge-results/skin")


def test_where_a_prediction_wrote_is_told_by_its_request() -> None:
    job = Job(
        id="7",
        kind="predict",
        title="",
        client="",
        device="cpu",
        state=JobState.FAILED,
        created=utc_now(),
        request={"out": "/out"},
    )

    assert results_folder(job) == Path("/out")
    with pytest.raises(InvalidValueError, match="job '7' is of the kind train: only a prediction can be undone"):
        results_folder(replace(job, kind="train"))
    with pytest.raises(NothingToUndoError, match="job '7' is running: cancel it first"):
        results_folder(replace(job, state=JobState.RUNNING))


@pytest.mark.parametrize("is_gzipped", [False, True])
def test_the_stem_of_a_file_of_results_is_that_of_its_slide(is_gzipped: bool) -> None:
    assert results_stem(results_file(Path("/out"), "1-a.geojson.svs", is_gzipped)) == "1-a.geojson.svs"


@pytest.mark.parametrize(("is_gzipped", "name"), [(False, "1-a.places.geojson"), (True, "1-a.places.geojson.gz")])
def test_what_is_said_of_places_lies_beside_the_results(is_gzipped: bool, name: str) -> None:
    assert places_file(results_file(Path("/out"), "1-a", is_gzipped)) == Path("/out") / name
