import errno
import json
import re
import shutil
import uuid
from pathlib import Path

import pytest
from shapely import Polygon, box

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.errors import DiskFullError, InvalidValueError, ProjectExistsError
from qpbridge.qupath.encoding import entry as entries
from qpbridge.qupath.project import open_project
from qpbridge.qupath.writing import MADE_FILE, NewEntry, check_replaceable, create_project, new_project

TUMOR = PathClass("Tumor", (200, 0, 0))
NECROSIS = PathClass('Nécrose/坏死 "q"', (50, 50, 50))
TRIANGLE = Polygon([(0.25, 0), (9, 1.5), (3, 8)])
OBJECTS = (
    PathObject(id=str(uuid.UUID(int=1, version=4)), kind=ObjectKind.ANNOTATION, geometry=TRIANGLE, path_class=TUMOR),
    PathObject(
        id=str(uuid.UUID(int=2, version=4)),
        kind=ObjectKind.DETECTION,
        geometry=box(1, 1, 2, 2) - box(1.25, 1.25, 1.5, 1.5),
        parent_id=str(uuid.UUID(int=1, version=4)),
    ),
)


def new_entry(path, **fields):
    return NewEntry(
        **{
            "slide_path": path,
            "name": path.name,
            "width_px": 4096,
            "height_px": 3072,
            "downsamples": (1.0, 2.0, 4.0, 8.0),
            "calibration": PixelCalibration.square(0.25),
            **fields,
        }
    )


def test_a_new_project_is_read_as_it_was_given(tmp_path):
    entries = [
        new_entry(tmp_path / "a b é.tif", objects=OBJECTS, metadata={"split": "train"}),
        new_entry(tmp_path / "b.tif", name="second"),
    ]

    create_project(tmp_path / "new", entries, [TUMOR, NECROSIS])

    project = open_project(tmp_path / "new")
    first, second = project.entries
    assert project.path == tmp_path / "new" / "project.qpproj"
    assert project.classes == (TUMOR, NECROSIS)
    assert [(entry.id, entry.name) for entry in project.entries] == [("1", "a b é.tif"), ("2", "second")]
    assert first.metadata == {"split": "train"}
    assert project.read_objects(first) == OBJECTS
    assert not second.has_data
    assert project.read_objects(second) == ()


def test_the_image_is_described_as_it_was_given(tmp_path):
    create_project(tmp_path / "new", [new_entry(tmp_path / "a b é.tif")], [])

    server = open_project(tmp_path / "new").entries[0].server
    assert server.uri == f"file:{tmp_path.as_posix()}/a%20b%20%C3%A9.tif"
    assert server.provider == "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
    assert (server.width_px, server.height_px) == (4096, 3072)
    assert server.calibration == PixelCalibration.square(0.25)
    assert server.is_rgb


def test_flat_pictures_are_for_imagej_and_may_have_no_pixel_size(tmp_path):
    entry = new_entry(tmp_path / "a.PNG", calibration=None, downsamples=(1.0,), width_px=300, height_px=700)

    create_project(tmp_path / "new", [entry], [])

    (image,) = json.loads((tmp_path / "new" / "project.qpproj").read_text(encoding="utf-8"))["images"]
    metadata = image["serverBuilder"]["metadata"]
    assert image["serverBuilder"]["providerClassName"].endswith("ImageJServerBuilder")
    assert (metadata["preferredTileWidth"], metadata["preferredTileHeight"]) == (300, 700)
    assert open_project(tmp_path / "new").entries[0].server.calibration is None


@pytest.mark.parametrize("name", ["server.json", "project.qpproj"])
def test_files_are_written_as_qupath_writes_them(tmp_path, data_dir, name):
    theirs = data_dir / "made" / "qp-0.6.0" / "project"
    images = data_dir / "made" / "images"
    metadata = {"split": "train", "patient": "P-01"}

    create_project(tmp_path / "new", [new_entry(images / "slide_a.tif", metadata=metadata)], [])

    def lines(folder):
        path = folder / "data" / "1" / name if name == "server.json" else folder / name
        text = path.read_text(encoding="utf-8").split('"entryID": 1,')[0]
        varying = r'"(uri|lastID|createTimestamp|modifyTimestamp)": [^,]*'
        return re.sub(varying, r'"\1"', text)

    assert lines(tmp_path / "new") == lines(theirs)


def test_classes_are_written_as_qupath_writes_them(tmp_path, data_dir):
    theirs = data_dir / "made" / "qp-0.6.0" / "project"

    create_project(tmp_path / "new", [], open_project(theirs).classes)

    path = Path("classifiers") / "classes.json"
    assert (tmp_path / "new" / path).read_bytes() == (theirs / path).read_bytes()


@pytest.mark.parametrize("entry_id", ["1", "2", "4"])
def test_the_summary_counts_as_qupath_counts(tmp_path, data_dir, entry_id):
    theirs = open_project(data_dir / "made" / "qp-0.6.0" / "project")
    objects = theirs.read_objects(theirs.entry(entry_id))

    create_project(tmp_path / "new", [new_entry(tmp_path / "a.tif", objects=objects)], theirs.classes)

    counted = json.loads((tmp_path / "new" / "data" / "1" / "summary.json").read_text(encoding="utf-8"))
    expected = json.loads((theirs.folder / "data" / entry_id / "summary.json").read_text(encoding="utf-8"))
    assert counted["hierarchy"] == expected["hierarchy"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1.0, 2.0, 4.0), [(1.0, 4097, 3001), (2.0, 2048, 1500), (4.0, 1024, 750)]),
        ((1.0, 4.0009765625), [(1.0, 4097, 3001), (4.0, 1024, 750)]),
        ((1.0, 3.0), [(1.0, 4097, 3001), (3.0, 1366, 1000)]),
    ],
)
def test_levels_that_miss_a_power_of_two_by_rounding_have_it(tmp_path, given, expected):
    entry = new_entry(tmp_path / "a.tif", width_px=4097, height_px=3001, downsamples=given)

    create_project(tmp_path / "new", [entry], [])

    server = json.loads((tmp_path / "new" / "data" / "1" / "server.json").read_text(encoding="utf-8"))
    levels = [(level["downsample"], level["width"], level["height"]) for level in server["metadata"]["levels"]]
    assert levels == expected


def test_the_same_objects_give_the_same_data(tmp_path):
    def made():
        create_project(tmp_path / "new", [new_entry(tmp_path / "a.tif", objects=OBJECTS)], [])
        content = (tmp_path / "new" / "data" / "1" / "data.qpdata").read_bytes()
        shutil.rmtree(tmp_path / "new")
        return content

    assert made() == made()


def test_a_project_file_may_be_named(tmp_path):
    create_project(tmp_path / "new" / "study.qpproj", [], [])

    assert open_project(tmp_path / "new" / "study.qpproj").entries == ()


def test_other_files_of_the_folder_stay(tmp_path):
    (tmp_path / "slides").mkdir()
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")

    create_project(tmp_path, [], [])

    assert (tmp_path / "slides").is_dir()
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["other.qpproj", "data", "classifiers"])
def test_a_project_is_never_written_over(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine", encoding="utf-8")

    with pytest.raises(ProjectExistsError, match=f"holds {name} already"):
        create_project(tmp_path, [new_entry(tmp_path / "a.tif")], [])

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "mine").read_text(encoding="utf-8") == "mine"


def test_nothing_remains_of_a_project_that_could_not_be_made(tmp_path):
    wrong = PathObject(id="1", kind=ObjectKind.ANNOTATION, geometry=Polygon())

    with pytest.raises(InvalidValueError, match="is empty"):
        create_project(tmp_path, [new_entry(tmp_path / "a.tif", objects=[wrong])], [])

    assert list(tmp_path.iterdir()) == []


def test_nothing_remains_when_the_disk_is_full(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(entries, "create_qpdata", fail)

    with pytest.raises(DiskFullError):
        create_project(tmp_path, [new_entry(tmp_path / "a.tif", objects=OBJECTS)], [])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"width_px": 0}, "cannot have 0 x 3072 px"),
        ({"downsamples": ()}, "must begin with 1.0"),
        ({"downsamples": (2.0, 4.0)}, "must begin with 1.0"),
    ],
)
def test_an_image_without_size_or_full_resolution_is_refused(tmp_path, fields, said):
    with pytest.raises(InvalidValueError, match=said):
        new_entry(tmp_path / "a.tif", **fields)


def made(folder, *names, then=lambda: None):
    with new_project(folder, [TUMOR]) as project:
        for name in names:
            project.add(new_entry(folder.parent / name, objects=OBJECTS))
        then()


def test_a_project_appears_when_its_images_are_written(tmp_path):
    folder = tmp_path / "made"
    with new_project(folder, [TUMOR]) as project:
        project.add(new_entry(tmp_path / "a.tif", objects=OBJECTS, description="d", tags=("t",)))
        assert not folder.exists()

    opened = open_project(folder)
    assert opened.classes == (TUMOR,)
    assert opened.uri == f"file:{folder.as_posix()}/project.qpproj"
    assert [(entry.name, entry.description, entry.tags) for entry in opened.entries] == [("a.tif", "d", ("t",))]
    assert opened.read_objects(opened.entries[0]) == OBJECTS
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_our_own_project_is_made_anew(tmp_path):
    made(tmp_path / "made", "a.tif", "b.tif")

    made(tmp_path / "made", "c.tif")

    assert [entry.name for entry in open_project(tmp_path / "made").entries] == ["c.tif"]
    assert not (tmp_path / "made" / "data" / "2").exists()


def test_an_image_that_cannot_be_written_leaves_no_gap(tmp_path):
    wrong = PathObject(id="1", kind=ObjectKind.ANNOTATION, geometry=Polygon())
    with new_project(tmp_path / "made", []) as project:
        with pytest.raises(InvalidValueError):
            project.add(new_entry(tmp_path / "a.tif", objects=[wrong]))
        project.add(new_entry(tmp_path / "b.tif"))

    assert [(entry.id, entry.name) for entry in open_project(tmp_path / "made").entries] == [("1", "b.tif")]


def test_a_project_without_images_does_not_appear_and_replaces_none(tmp_path):
    made(tmp_path / "first")
    made(tmp_path / "second", "a.tif")

    made(tmp_path / "second")

    assert [path.name for path in tmp_path.iterdir()] == ["second"]
    assert len(open_project(tmp_path / "second").entries) == 1


def test_nothing_appears_of_a_project_that_is_given_up(tmp_path):
    def give_up():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "made", "a.tif", then=give_up)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["data/1/data.qpdata", "project.qpproj", "classifiers/classes.json", "new.txt"])
def test_a_project_that_somebody_changed_is_not_replaced(tmp_path, name):
    made(tmp_path / "made", "a.tif")
    (tmp_path / "made" / name).write_bytes(b"of somebody")

    with pytest.raises(ProjectExistsError, match=rf"{name} was changed since qpbridge made this project"):
        made(tmp_path / "made", "b.tif")

    assert (tmp_path / "made" / name).read_bytes() == b"of somebody"


def test_a_project_that_somebody_changes_meanwhile_is_not_replaced(tmp_path):
    made(tmp_path / "made", "a.tif")
    data = tmp_path / "made" / "data" / "1" / "data.qpdata"

    with pytest.raises(ProjectExistsError, match="was changed"):
        made(tmp_path / "made", "b.tif", then=lambda: data.write_bytes(b"of QuPath"))

    assert data.read_bytes() == b"of QuPath"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("content", [None, "no json", "[]", '{"files": 1}', "{}"])
def test_what_we_did_not_make_is_not_replaced(tmp_path, content):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    if content is not None:
        (tmp_path / MADE_FILE).write_text(content, encoding="utf-8")

    with pytest.raises(ProjectExistsError, match="is no project that qpbridge made"):
        check_replaceable(tmp_path)


def test_a_file_or_a_link_is_not_replaced(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    made(tmp_path / "made", "a.tif")
    (tmp_path / "made" / "link").symlink_to(tmp_path)

    with pytest.raises(ProjectExistsError, match="is a file"):
        check_replaceable(tmp_path / "file")
    with pytest.raises(ProjectExistsError, match="link was changed"):
        check_replaceable(tmp_path / "made")


def test_an_empty_folder_may_become_a_project(tmp_path):
    (tmp_path / "made").mkdir()

    made(tmp_path / "made", "a.tif")

    assert len(open_project(tmp_path / "made").entries) == 1
