import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.workflows.entries.naming import distinct_stems, find_results, results_file, safe_stem


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
