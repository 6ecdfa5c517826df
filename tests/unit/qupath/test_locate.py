from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.errors import InvalidValueError, SlideNotFoundError
from qpbridge.qupath.locate import FoundBy, PathMap, folders_of
from qpbridge.qupath.locate import locate_slide as located
from qpbridge.qupath.project import Project, ProjectEntry, open_project

NO_MAP = PathMap()
ON_POSIX = pytest.mark.skipif(os.name == "nt", reason="paths of other systems")


def made(folder: Path, uri: str, project_uri: str | None = None) -> tuple[Project, ProjectEntry]:
    folder.mkdir(parents=True, exist_ok=True)
    entry = ProjectEntry(
        id="1",
        name="x.svs",
        description=None,
        metadata={},
        tags=(),
        data_folder=folder / "data" / "1",
        builder={"builderType": "uri", "uri": uri},
    )
    path = folder / "project.qpproj"
    return Project(path=path, version="0.6.0", uri=project_uri, classes=(), entries=(entry,)), entry


def locate_slide(project: Project, entry: ProjectEntry, *options: Any) -> Path:
    return located(project, entry, *options).path


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("version", ["0.5.1", "0.6.0", "0.7.0"])
def test_slides_of_moved_projects_are_found(version, data_dir):
    project = open_project(data_dir / "made" / f"qp-{version}" / "project")

    found = [locate_slide(project, entry, NO_MAP) for entry in project.entries]

    assert [path.name for path in found] == [entry.name for entry in project.entries]
    assert {path.parent for path in found} == {data_dir / "made" / "images"}


def test_slides_of_public_projects_are_found(fixtures_dir):
    folder = fixtures_dir / "public" / "qupath" / "stardist_example" / "qupath_example_project"
    project = open_project(folder)

    assert [locate_slide(project, entry, NO_MAP).parent for entry in project.entries] == [folder / "images"] * 2


def test_a_slide_of_a_windows_project_is_mapped(fixtures_dir, tmp_path):
    project = open_project(fixtures_dir / "public" / "qupath" / "nedaghohabi")
    entry = project.entries[0]
    folder, name = entry.server.uri.split("/")[-2:]
    slide = touched(tmp_path / "coad" / folder / name)

    path_map = PathMap.parse([f"I:\\COAD-TCGA-Diagnostic-Slide={tmp_path / 'coad'}"])

    assert locate_slide(project, entry, path_map) == slide


def test_the_stored_place_comes_first(tmp_path):
    slide = touched(tmp_path / "far" / "x y+z (1).svs")
    touched(tmp_path / "p" / slide.name)

    project, entry = made(tmp_path / "p", slide.as_uri())

    assert "%20" in entry.server.uri
    assert locate_slide(project, entry, NO_MAP) == slide


@pytest.mark.parametrize("prefix", ["file:", "file://", "file://localhost"])
def test_every_form_of_a_file_uri_is_understood(prefix, tmp_path):
    slide = touched(tmp_path / "x.svs")

    assert locate_slide(*made(tmp_path / "p", f"{prefix}{slide.as_posix()}"), NO_MAP) == slide


@ON_POSIX
@pytest.mark.parametrize(
    "uri",
    [
        "file:/C:/Slides/a%20b/x.svs",
        "file:///c:/slides/a%20b/x.svs",
        "FILE://C:/slides/a%20b/x.svs",
        "file:C:\\Slides\\a%20b\\x.svs",
        "C:\\Slides\\a b\\x.svs",
        "\\\\?\\C:\\Slides\\a b\\x.svs",
    ],
)
@pytest.mark.parametrize("stored", ["C:\\Slides", "C:/Slides/", "file:/C:/Slides", "file:///c:/slides"])
def test_windows_drives_are_mapped_in_every_form(uri, stored, tmp_path):
    slide = touched(tmp_path / "now" / "a b" / "x.svs")
    project, entry = made(tmp_path / "p", uri)

    assert locate_slide(project, entry, PathMap.parse([f"{stored}={tmp_path / 'now'}"])) == slide


@ON_POSIX
def test_a_whole_drive_is_mapped(tmp_path):
    slide = touched(tmp_path / "Slides" / "x.svs")

    assert locate_slide(*made(tmp_path / "p", "file:/D:/Slides/x.svs"), PathMap.parse([f"D:={tmp_path}"])) == slide


@ON_POSIX
@pytest.mark.parametrize(
    "uri",
    [
        "file://server/share/x.svs",
        "file:////server/share/x.svs",
        "file://///server/share/x.svs",
        "\\\\Server\\share\\x.svs",
        "\\\\?\\UNC\\server\\Share\\x.svs",
    ],
)
def test_network_shares_are_mapped(uri, tmp_path):
    slide = touched(tmp_path / "mnt" / "x.svs")
    project, entry = made(tmp_path / "p", uri)

    path_map = PathMap.parse([f"\\\\server\\share={tmp_path / 'mnt'}"])

    assert locate_slide(project, entry, path_map) == slide


def test_a_rule_fits_whole_folders_only_and_the_first_that_leads_somewhere_counts(tmp_path):
    slide = touched(tmp_path / "b" / "x.svs")
    project, entry = made(tmp_path / "p", "file:/data/slides/x.svs")

    rules = [f"/data/slide={tmp_path / 'b'}", f"/data/slides={tmp_path / 'a'}", f"file:/data/slides={tmp_path / 'b'}"]

    assert locate_slide(project, entry, PathMap.parse(rules)) == slide
    with pytest.raises(SlideNotFoundError):
        locate_slide(project, entry, PathMap.parse(rules[:2]))


def test_the_longest_prefix_wins_in_whatever_order_the_rules_come(tmp_path):
    slide = touched(tmp_path / "b" / "x.svs")
    touched(tmp_path / "a" / "slides" / "x.svs")
    project, entry = made(tmp_path / "p", "file:/data/slides/x.svs")

    rules = [f"/data={tmp_path / 'a'}", f"/data/slides={tmp_path / 'b'}"]

    assert locate_slide(project, entry, PathMap.parse(rules)) == slide
    assert locate_slide(project, entry, PathMap.parse(rules[::-1])) == slide


@ON_POSIX
def test_only_windows_forms_do_not_tell_cases_apart(tmp_path):
    touched(tmp_path / "now" / "x.svs")

    assert list(PathMap.parse([f"d:\\SLIDES={tmp_path}"]).candidates("D:/slides/x.svs")) == [tmp_path / "x.svs"]
    assert list(PathMap.parse([f"/DATA={tmp_path}"]).candidates("/data/x.svs")) == []


@pytest.mark.parametrize("name", ["a?b#c.svs", "100%.svs", "a=b;c,d.svs", "a'b\"(1).svs"])
def test_names_with_signs_that_mean_something_in_a_uri_are_found(name, tmp_path):
    slide = touched(tmp_path / "far" / name)

    assert locate_slide(*made(tmp_path / "p", slide.as_uri()), NO_MAP) == slide


def test_a_folder_with_an_equals_sign_is_mapped_by_its_escape(tmp_path):
    slide = touched(tmp_path / "x.svs")
    project, entry = made(tmp_path / "p", "file:/data/a=b/x.svs")

    assert locate_slide(project, entry, PathMap.parse([f"file:/data/a%3Db={tmp_path}"])) == slide


@pytest.mark.parametrize(("stored", "lies"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_may_be_spelt_either_way(stored, lies, tmp_path):
    slide = touched(tmp_path / "far" / unicodedata.normalize(lies, "n\u00e9crose.svs"))
    name = unicodedata.normalize(stored, "n\u00e9crose.svs")

    found = locate_slide(*made(tmp_path / "p", (tmp_path / "far" / name).as_uri()), NO_MAP)

    assert found.samefile(slide)


def test_it_is_told_what_led_to_the_slide(tmp_path):
    def found_by(uri: str, project_uri: str | None = None, *rules: str) -> FoundBy:
        return located(*made(tmp_path / "p", uri, project_uri), PathMap.parse(rules)).found_by

    slide = touched(tmp_path / "far" / "x.svs")
    touched(tmp_path / "p" / "y.svs")

    assert found_by(slide.as_uri()) is FoundBy.STORED
    assert found_by("file:/gone/x.svs", None, f"/gone={tmp_path / 'far'}") is FoundBy.PATH_MAP
    assert found_by("file:/old/far/x.svs", "file:/old/p/project.qpproj") is FoundBy.MOVED
    assert found_by("file:/gone/far/x.svs") is FoundBy.END
    assert found_by("file:/gone/y.svs") is FoundBy.NAME
    assert [one for one in FoundBy if one.is_guess] == [FoundBy.END, FoundBy.NAME]


def test_missing_slides_are_gathered_into_few_folders_that_rules_take():
    uris = [
        "file:/I:/COAD/a%20b/1.svs",
        "file:///i:/coad/c/2.svs",
        "file://server/share/x/3.svs",
        "\\\\server\\share\\x\\4.svs",
        "file:/data/one/5.svs",
        "file:/home/two/6.svs",
        "https://images.org/7.svs",
    ]

    assert folders_of(uris) == {
        "I:/COAD": 2,
        "//server/share/x": 2,
        "/data/one": 1,
        "/home/two": 1,
        "https:/images.org": 1,
    }
    assert folders_of([]) == {}


@pytest.mark.parametrize("text", ["", "=", "/data", "/data=", "=/mnt", "  = "])
def test_a_rule_of_another_form_is_refused(text):
    with pytest.raises(InvalidValueError, match="has not the form FROM=TO"):
        PathMap.parse([text])


def test_a_rule_may_lead_into_the_home_folder_or_to_a_uri(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    path_map = PathMap.parse(["/data=~/slides", f"/other={tmp_path.as_uri()}/other"])

    assert path_map.rules == (("/data", str(tmp_path / "slides")), ("/other", str(tmp_path / "other")))


def test_project_and_slides_that_moved_together_are_found_by_where_the_project_was(tmp_path):
    slide = touched(tmp_path / "new" / "scans" / "x.svs")
    project, entry = made(
        tmp_path / "new" / "projects" / "one",
        "file:/old/study/scans/x.svs",
        "file:/old/study/projects/first%20one/project.qpproj",
    )

    assert locate_slide(project, entry, NO_MAP) == slide


@ON_POSIX
def test_project_and_slides_may_have_moved_together_from_windows(tmp_path):
    slide = touched(tmp_path / "scans" / "x.svs")
    project, entry = made(tmp_path / "p", "file:/D:/Study/scans/x.svs", "file:/d:/study/p/project.qpproj")

    assert locate_slide(project, entry, NO_MAP) == slide


def test_the_longest_end_of_the_stored_path_counts(tmp_path):
    slide = touched(tmp_path / "real" / "skin" / "x.svs")
    touched(tmp_path / "real" / "skin" / "p" / "skin" / "x.svs")
    project, entry = made(tmp_path / "real" / "skin" / "p", "file:/data/histology/real/skin/x.svs")

    assert locate_slide(project, entry, NO_MAP) == slide


@pytest.mark.parametrize("folder", [".", "images", "slides"])
def test_the_file_name_alone_counts_beside_the_project(folder, tmp_path):
    slide = touched(tmp_path / "p" / folder / "x.svs")

    assert locate_slide(*made(tmp_path / "p", "file:/gone/x.svs"), NO_MAP) == slide


def test_a_file_of_another_name_or_place_is_never_taken(tmp_path):
    for name in ("X.svs", "x.svs.tif", "x", "y.svs"):
        touched(tmp_path / "p" / name)
    touched(tmp_path / "x.svs")
    touched(tmp_path / "p" / "other" / "x.svs")
    project, entry = made(tmp_path / "p", "file:/gone/x.svs", "file:/elsewhere/p/project.qpproj")

    with pytest.raises(SlideNotFoundError):
        locate_slide(project, entry, NO_MAP)


def test_the_error_names_every_place_and_the_way_out(tmp_path):
    project, entry = made(tmp_path / "p", "file:/gone/a%20b/x.svs", "file:/gone/p/project.qpproj")

    with pytest.raises(SlideNotFoundError) as caught:
        locate_slide(project, entry, PathMap.parse([f"/gone={tmp_path / 'mapped'}"]))

    message = str(caught.value)
    for place in (
        "entry 1 'x.svs'",
        str(tmp_path / "mapped" / "a b" / "x.svs"),
        str(tmp_path / "a b" / "x.svs"),
        f"a b/x.svs in {tmp_path / 'p'} and every folder above it",
        str(tmp_path / "p" / "images" / "x.svs"),
        "--path-map 'file:/gone/a%20b=/folder/of/the/slides'",
    ):
        assert place in message


@pytest.mark.parametrize(
    "uri", ["https://images.org/a/x.svs", "omero:x", "file://[bad/x.svs", "file:/a\0b/x.svs", "file:"]
)
def test_uris_that_are_no_files_are_looked_for_by_name_only(uri, tmp_path):
    project, entry = made(tmp_path / "p", uri)

    with pytest.raises(SlideNotFoundError, match="has it as"):
        locate_slide(project, entry, NO_MAP)


@given(uri=st.text(min_size=1, max_size=40), project_uri=st.text(max_size=20))
def test_no_uri_breaks_the_search(uri, project_uri):
    entry = ProjectEntry(
        id="1",
        name="x",
        description=None,
        metadata={},
        tags=(),
        data_folder=Path("/nowhere/data/1"),
        builder={"uri": f"file:/nowhere/{uri}/no such slide"},
    )
    project = Project(path=Path("/nowhere/p.qpproj"), version="", uri=project_uri, classes=(), entries=(entry,))

    with pytest.raises(SlideNotFoundError):
        locate_slide(project, entry, NO_MAP)


@ON_POSIX
def test_places_that_may_not_be_read_are_passed_over_and_told(tmp_path):
    secret, copy = touched(tmp_path / "secret" / "a.svs"), touched(tmp_path / "open" / "p" / "images" / "a.svs")
    project, entry = made(tmp_path / "open" / "p", f"file:{secret}")

    def is_open(path: Path) -> bool:
        return path.resolve().is_relative_to(tmp_path / "open")

    assert locate_slide(project, entry, NO_MAP, is_open) == copy
    copy.unlink()
    for path_map in (NO_MAP, PathMap.parse([f"{tmp_path}={tmp_path / 'open' / '..'}"])):
        with pytest.raises(SlideNotFoundError, match=r"a\.svs \(not looked at: outside the server's roots\)"):
            locate_slide(project, entry, path_map, is_open)
