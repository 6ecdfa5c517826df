from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qpbridge.core.objects import PathObject
from qpbridge.errors import InvalidValueError, UnknownNameError
from qpbridge.qupath.geojson import write_objects
from qpbridge.workflows.entries.annotations import with_annotations, with_complete
from qpbridge.workflows.entries.sources import Source, sources_of_project, sources_of_slides

Annotate = Callable[..., PathObject]


@pytest.fixture
def text_of(tmp_path: Path) -> Callable[..., str]:
    def make(*objects: PathObject) -> str:
        write_objects(tmp_path / "given.geojson", objects)
        return (tmp_path / "given.geojson").read_text()

    return make


def ids(source: Source) -> list[str]:
    return [item.id for item in source.objects()]


def test_given_objects_take_the_place_of_saved_ones_or_join_them(
    make_project: Callable[..., Path], annotate: Annotate, text_of: Callable[..., str]
) -> None:
    saved, given = annotate("Tumor", 0, 0, 9, 9), annotate("Stroma", 0, 0, 9, 9)
    sources = sources_of_project(make_project({"a.png": [saved], "b.png": [saved]}))

    replaced, untouched = with_annotations(sources, {"a.png": text_of(given)}, "replace")
    joined, _ = with_annotations(sources, {"1": text_of(given)}, "add")

    assert ids(replaced) == [given.id]
    assert ids(untouched) == [saved.id]
    assert untouched.given is None
    assert ids(joined) == [saved.id, given.id]


def test_a_saved_object_that_is_given_again_counts_as_given(
    make_project: Callable[..., Path], annotate: Annotate, text_of: Callable[..., str]
) -> None:
    saved = annotate("Tumor", 0, 0, 9, 9)
    edited = replace(annotate("Tumor", 0, 0, 50, 50), id=saved.id)
    sources = sources_of_project(make_project({"a.png": [saved]}))

    (joined,) = with_annotations(sources, {"a.png": text_of(edited)}, "add")

    assert [item.geometry.area for item in joined.objects()] == [2500]


def test_a_bare_slide_goes_by_its_path_name_or_stem(annotate: Annotate, text_of: Callable[..., str]) -> None:
    sources = sources_of_slides([Path("/slides/a.svs"), Path("/slides/b.svs")])
    text = text_of(annotate("Tumor", 0, 0, 9, 9))

    for key in ("b", "b.svs", "/slides/b.svs"):
        first, second = with_annotations(sources, {key: text}, "replace")
        assert (first.given, len(second.given or ())) == (None, 1)


def test_no_objects_are_something_else_than_no_text(make_project: Callable[..., Path], annotate: Annotate) -> None:
    sources = sources_of_project(make_project({"a.png": [annotate("Tumor", 0, 0, 9, 9)]}))

    (emptied,) = with_annotations(sources, {"a.png": '{"type":"FeatureCollection","features":[]}'}, "replace")

    assert emptied.objects() == ()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a.png": "{"}, "the text given as annotations of entry 1 'a.png' is no GeoJSON"),
        ({"1": '{"type":"Polygon","coordinates":"x"}'}, "annotations of entry 1 'a.png': feature 0"),
        ({"1": "\ud800"}, "annotations of entry 1 'a.png' is no valid Unicode"),
        ({"1": "[]", "a.png": "[]"}, "entry 1 'a.png' is given annotations twice, last as 'a.png'"),
    ],
)
def test_a_bad_text_is_told_with_its_entry(
    texts: dict[str, str], message: str, make_project: Callable[..., Path]
) -> None:
    sources = sources_of_project(make_project({"a.png": [], "b.png": []}))

    with pytest.raises(InvalidValueError, match=message):
        with_annotations(sources, texts, "replace")


def test_a_text_must_belong_to_one_slide(make_project: Callable[..., Path]) -> None:
    sources = sources_of_project(make_project({"a.png": [], "b.png": []}))

    with pytest.raises(
        UnknownNameError, match=r"unknown entry 'c.png' in the annotations of the request; there are: 1"
    ):
        with_annotations(sources, {"c.png": "[]"}, "replace")
    with pytest.raises(InvalidValueError, match="'a', which 2 slides are called"):
        with_annotations(sources_of_slides([Path("/x/a.svs"), Path("/y/a.svs")]), {"a": "[]"}, "replace")


def test_everything_is_annotated_where_there_are_objects(make_project: Callable[..., Path], annotate: Annotate) -> None:
    saved = annotate("Tumor", 0, 0, 9, 9)
    sources = sources_of_project(make_project({"a.png": [saved], "b.png": []}))

    a, b = with_complete(sources, "Whole*")

    assert [item.path_class.name for item in a.objects() if item.path_class] == ["Tumor", "Whole*"]
    assert a.objects()[-1].geometry.contains(saved.geometry)
    assert b.objects() == ()
    assert ids(with_complete(sources, None)[0]) == [saved.id]
