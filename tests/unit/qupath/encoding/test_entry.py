import io
import json
import uuid

import numpy as np
import pytest
from PIL import Image
from shapely import box

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.image_server import Rotation
from qpbridge.core.objects import ObjectKind, PathObject
from qpbridge.errors import DataExistsError
from qpbridge.qupath.encoding.entry import BIOFORMATS, NewEntry, image_json, server_builder, write_entry
from qpbridge.qupath.encoding.settings import read_settings
from qpbridge.qupath.server_builders import parse_server

OBJECT = PathObject(id=str(uuid.UUID(int=1, version=4)), kind=ObjectKind.ANNOTATION, geometry=box(0, 0, 5, 5))


def an_entry(tmp_path, **fields):
    given = {"slide_path": tmp_path / "a.tif", "name": "a", "width_px": 512, "height_px": 256, "downsamples": (1.0,)}
    return NewEntry(**{**given, "calibration": PixelCalibration.square(0.5), **fields})


def stored(builder, **metadata):
    sizes = {"pixelWidth": {"value": 0.25, "unit": "µm"}, "pixelHeight": {"value": 0.25, "unit": "µm"}}
    known = {"width": 512, "height": 256, "isRGB": True, "pixelCalibration": sizes}
    return {**builder, "metadata": {**known, **metadata}}


def test_an_entry_has_all_files_of_qupath(tmp_path):
    thumbnail = np.full((30, 60, 3), (250, 10, 10), np.uint8)
    entry = an_entry(tmp_path, objects=[OBJECT], thumbnail=thumbnail, image_type="BRIGHTFIELD_H_E", stains="{}")

    write_entry(tmp_path / "1", entry, [], "key::1")

    files = {path.name: path.read_bytes() for path in (tmp_path / "1").iterdir()}
    assert sorted(files) == ["data.qpdata", "server.json", "summary.json", "thumbnail.jpg"]
    shown = np.asarray(Image.open(io.BytesIO(files["thumbnail.jpg"])))
    assert np.abs(shown.astype(int) - thumbnail).max() < 8
    assert json.loads(files["summary.json"])["imageType"] == "BRIGHTFIELD_H_E"
    settings = read_settings(tmp_path / "1" / "data.qpdata")
    assert (settings.image_type, settings.stains) == ("BRIGHTFIELD_H_E", "{}")


def test_an_entry_without_objects_is_one_that_was_never_opened(tmp_path):
    write_entry(tmp_path / "1", an_entry(tmp_path), [], "key::1")

    assert [path.name for path in (tmp_path / "1").iterdir()] == ["server.json"]


def test_objects_that_are_there_are_never_written_over(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "data.qpdata").write_bytes(b"of QuPath")

    with pytest.raises(DataExistsError, match="only QuPath changes such files"):
        write_entry(tmp_path / "1", an_entry(tmp_path, objects=[OBJECT]), [], "key::1")

    assert [path.read_bytes() for path in (tmp_path / "1").iterdir()] == [b"of QuPath"]


def test_the_builder_of_another_project_is_kept_but_for_the_place_of_the_file(tmp_path):
    base = stored(
        {"builderType": "uri", "providerClassName": "theirs", "uri": "file:/elsewhere/a.tif", "args": ["--no-crop"]}
    )
    region = {"x": 10, "y": 20, "width": 300, "height": 200}
    turned = stored({"builderType": "rotated", "builder": base, "rotation": "ROTATE_90"})
    builder = stored({"builderType": "cropped", "builder": turned, "region": region}, width=300, height=200)
    entry = an_entry(tmp_path, builder=builder, width_px=300, height_px=200)

    server = parse_server(server_builder(entry), "entry")

    assert server.uri == f"file:{tmp_path.as_posix()}/a.tif"
    assert (server.provider, server.args) == ("theirs", ("--no-crop",))
    assert server.transforms == (Rotation.ROTATE_90, Region(x_px=10, y_px=20, width_px=300, height_px=200))
    assert server.calibration == PixelCalibration.square(0.5)
    assert builder["builder"]["builder"]["uri"] == "file:/elsewhere/a.tif"


def test_who_opens_the_file_may_be_told(tmp_path):
    assert server_builder(an_entry(tmp_path, provider=BIOFORMATS))["providerClassName"] == BIOFORMATS


def test_the_project_file_tells_what_people_wrote(tmp_path):
    entry = an_entry(tmp_path, description="two\nlines", tags=("fold 1",), metadata={"split": "train"})

    told = image_json(entry, 7)

    assert (told["entryID"], told["imageName"], told["description"]) == (7, "a", "two\nlines")
    assert (told["tags"], told["metadata"]) == (["fold 1"], {"split": "train"})
    assert "description" not in image_json(an_entry(tmp_path), 7)
