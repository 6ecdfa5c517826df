"""Paths of requests; what must be refused is tried in tests/integration/test_service_security.py, too."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qpbridge.errors import BundleNotFoundError, InvalidValueError, PathRefusedError
from qpbridge.service.places import AllowedPlaces
from qpbridge.workflows.entries.naming import RESULTS_FOLDER

PARTS = st.lists(st.sampled_from(["..", ".", "", "a", "link", "up", "root", "%2e%2e", "file:", "b c"]), max_size=7)


@given(parts=PARTS, scheme=st.sampled_from(["", "file:", "file://", "file://localhost", "FILE:"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_returned_lies_in_the_roots_without_a_link(
    parts: list[str], scheme: str, places: AllowedPlaces, root: Path
) -> None:
    for name, target in (("link", root.parent), ("up", Path("..")), ("a", Path())):
        if not (root / name).is_symlink():
            (root / name).symlink_to(target)
    text = scheme + "/".join([str(root), *parts])

    for method in (places.read, places.write, places.new_project, places.model, places.new_model):
        try:
            found = method(text)
        except PathRefusedError:
            continue
        assert found.is_relative_to(root)
        assert found == found.resolve()


def test_a_root_may_be_reached_by_a_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "way").symlink_to(root)

    places = AllowedPlaces([tmp_path / "way"], [tmp_path / "models"], tmp_path / "state")

    assert places.roots == (root,)
    assert places.read(f"{tmp_path}/way/x") == root / "x"


def test_the_state_folder_is_closed_but_for_its_models(tmp_path: Path) -> None:
    places = AllowedPlaces([tmp_path], [tmp_path / "state" / "models"], tmp_path / "state")

    for method in (places.read, places.write, places.new_project, places.model, places.new_model):
        with pytest.raises(PathRefusedError, match="server's own folder"):
            method(f"{tmp_path}/state/jobs.sqlite3")
    assert places.new_model("m") == tmp_path / "state" / "models" / "m"
    assert places.read(f"{tmp_path}/stately") == tmp_path / "stately"


def test_a_root_itself_does_not_become_a_project(places: AllowedPlaces, root: Path) -> None:
    (root / "way").symlink_to(root)

    assert places.new_project(f"{root}/made") == root / "made"
    for text in (f"{root}", f"{root}/made/..", f"{root}/way"):
        with pytest.raises(PathRefusedError, match="is one of the server's own folders"):
            places.new_project(text)


def test_models_are_found_by_name_in_the_first_folder_that_has_one(tmp_path: Path, root: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    (tmp_path / "two" / "m").mkdir(parents=True)
    places = AllowedPlaces([root], folders, tmp_path / "state")

    assert places.model("m") == tmp_path / "two" / "m"
    (tmp_path / "one" / "m").mkdir()
    assert places.model("m") == tmp_path / "one" / "m"
    assert places.model(str(tmp_path / "two" / "m")) == tmp_path / "two" / "m"
    assert places.new_model("fresh") == tmp_path / "one" / "fresh"
    with pytest.raises(BundleNotFoundError, match="no model 'other'"):
        places.model("other")


def test_results_go_beside_the_project_or_the_first_slide_and_not_through_a_link(
    places: AllowedPlaces, root: Path
) -> None:
    (root / "project").mkdir()
    (root / "slides").mkdir()

    assert places.results([root / "project"], Path("/m/tissue")) == root / "project" / RESULTS_FOLDER / "tissue"
    slides = [root / "slides" / "a.svs", root / "b.svs"]
    assert places.results(slides, Path("/m/tissue")) == root / "slides" / RESULTS_FOLDER / "tissue"
    (root / "slides" / RESULTS_FOLDER).symlink_to("/")
    with pytest.raises(PathRefusedError):
        places.results(slides, Path("/m/tissue"))


def test_only_the_target_of_a_rule_is_looked_at(places: AllowedPlaces, root: Path) -> None:
    assert places.path_rule(f"file:/C:/slides={root}/../root") == f"file:/C:/slides={root}"
    assert places.path_rule("no rule") == "no rule"
    with pytest.raises(PathRefusedError):
        places.path_rule("/x=/etc")


def test_a_refusal_does_not_tell_whether_there_is_something(places: AllowedPlaces) -> None:
    told = []
    for path in ("/etc/passwd", "/etc/nothing"):
        with pytest.raises(PathRefusedError) as caught:
            places.read(path)
        told.append(str(caught.value).replace(path, "PATH"))

    assert told[0] == told[1]


def test_a_root_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(InvalidValueError, match=f"{path.name} in roots"):
            AllowedPlaces([path], [tmp_path / "models"], tmp_path / "state")
