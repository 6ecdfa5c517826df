from typing import Any

import pytest

from qpbridge.cli.verbs.inspection import ROWS_MAX, show_inspection

TRAINING = {"obstacle": None, "classes": [], "entries": [], "patches": 0, "patch_px": 256, "patch_mpp": 0.5}
IMAGE = {
    "slide": "/slides/a.svs",
    "width_px": 4000,
    "height_px": 3000,
    "calibration": {"mpp_x": 0.25, "mpp_y": 0.25},
    "calibration_source": "project",
    "found_by": "path map",
}


def a_class(name: str | None, **fields: Any) -> dict[str, Any]:
    plain = {"objects": 3, "annotations": 2, "area_mm2": 0.5, "tags": 0, "is_ignored": False, "is_region": False}
    return {"name": name, **plain, **fields}


def an_entry(key: str, **fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"id": key, "name": f"{key}.svs", "image": IMAGE, "has_data": True, "locked": 0}
    plain |= {"kinds": {"annotation": 2, "cell": 1}, "metadata": {}, "tags": [], "classes": []}
    return {**plain, "troubles": [], "notes": [], "problems": [], **fields}


def shown(capsys: pytest.CaptureFixture[str], *entries: dict[str, Any], **fields: Any) -> list[str]:
    training = {**TRAINING, "nuclei": 0, "complete_mm2": 0.0, "tagged": None, **fields.pop("training", {})}
    report = {"project": "/p", "qupath_version": "0.6.0", "entries": list(entries), "training": training}
    show_inspection({**report, "similar_classes": [], "ignored_classes": [], "missing": [], "orphans": [], **fields})
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_an_entry_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tumor = a_class("Tumor")
    lines = shown(capsys, an_entry("1", classes=[tumor, a_class("Ignore*", area_mm2=None, is_ignored=True)], locked=1))

    assert "slides 1 in /slides (path map)" in lines
    assert "1 1.svs path map 4000 x 3000 0.25 (project) 2 annotations, 1 cell 1 0.5" in lines
    assert "Tumor 1 3 2 0.5 -" in lines
    assert "Ignore* 1 3 2 - - ignored" in lines


def test_slides_that_are_missing_are_told_once_with_the_rule_that_finds_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = {**IMAGE, "slide": None, "found_by": None}
    problem = {"entry": "e", "reason": "SLIDE_NOT_FOUND", "message": "looked at /here"}
    entries = [an_entry(str(key), image=lost, problems=[problem]) for key in range(ROWS_MAX + 10)]

    lines = shown(capsys, *entries, missing=[{"folder": "I:/slides", "slides": 50}])

    assert "entries 50, of which 50 cannot be used" in lines
    assert "0 0.svs not found 4000 x 3000 0.25 (project) 2 annotations, 1 cell - -" in lines
    assert "... and 11 more, see --json" in lines
    assert sum("looked at /here" in line for line in lines) == 1
    assert "... SLIDE_NOT_FOUND and 49 more slides, looked for in the same way" in lines
    assert "--path-map 'I:/slides=/folder/of/the/slides'" in lines


def test_names_of_classes_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(
        capsys,
        similar_classes=[["Tumor", "[red]tumor"]],
        training={"obstacle": "the class '[bold]' has no area"},
        orphans=[{"folder": "/p/data/7", "bytes": 1234567}],
    )

    text = " ".join(lines)
    assert "'Tumor', '[red]tumor'; are they one class?" in text
    assert "Training of tissue would refuse: the class '[bold]' has no area" in text
    assert "/p/data/7 holds data (1,234,567 bytes) of no entry" in text


def test_what_training_would_use_is_told_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    one = {"name": "Tumor", "entries": 2, "annotations": 5, "area_mm2": 0.25, "patches": 7}
    training = {"classes": [one], "entries": list("abcdefgh"), "patches": 9, "nuclei": 458, "complete_mm2": 0.041}

    lines = shown(capsys, training=training)

    assert "Training of nuclei would use 458 in 0.041 mm² of complete areas" in lines
    assert "Tumor 2 5 0.25 7" in lines
    assert "9 patches of 256 px of 0.5 µm, entries a, b, c, d, e, f and 2 more" in " ".join(lines)


def test_what_training_on_tags_would_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tagged = {"classes": [{"name": "Tumor", "present": 3, "absent": 0}], "areas": 3, "edge_um": 128.4}

    lines = shown(capsys, training={"tagged": {**tagged, "obstacle": "nothing tells where 'Tumor' is"}})

    assert "Training on tags would refuse: nothing tells where 'Tumor' is" in lines
    assert "Tags of 3 areas, most about 128 µm wide" in lines
    assert "Tumor 3 0" in lines


def test_notes_troubles_and_doubts_are_gathered(capsys: pytest.CaptureFixture[str]) -> None:
    trouble = {"what": "crosses itself", "count": 2, "examples": ["x", "y"]}
    region = a_class("Region*: Tumor", area_mm2=None, is_ignored=True, is_region=True)
    entry = an_entry(
        "1",
        metadata={"tissues": "Tumor"},
        tags=["fold 1"],
        notes=["is it right?"],
        troubles=[trouble],
        classes=[region],
    )

    lines = shown(capsys, entry, {**entry, "id": "2"})

    assert "1 tissues = Tumor fold 1" in lines
    assert "4 crosses itself 1, 2 x, y" in lines
    assert "1 is it right?" in lines
    assert "Region*: Tumor 2 6 4 - - tags areas" in lines


def test_a_slide_that_is_there_but_of_no_use_is_told_with_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    problem = {"entry": "e", "reason": "UNSUPPORTED_IMAGE", "message": "is not RGB"}
    entry = an_entry("1", image={**IMAGE, "found_by": None}, kinds={"tmaCore": 2}, problems=[problem])

    lines = shown(capsys, entry)

    assert "slides 1 in /slides (cannot be used)" in lines
    assert "1 1.svs not supported 4000 x 3000 0.25 (project) 2 TMA cores - -" in lines
