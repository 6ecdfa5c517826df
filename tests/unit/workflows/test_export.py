import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import InvalidValueError, UnknownNameError
from qpbridge.qupath.geojson import read_objects
from qpbridge.vector.labels import UNLABELLED
from qpbridge.workflows import export as workflow
from qpbridge.workflows.export import ExportReport, ExportRequest, LabelFrame, LabelTable, export

VERSIONS = ("0.5.1", "0.6.0", "0.7.0")
KNOWN_LOSS = {"brush"}
"""QuPath on JDK 25 loses a part of this object in its own export (fixtures' README)."""


def exported(
    data_dir: Path, out: Path, version: str = "0.7.0", **options: object
) -> tuple[ExportReport, SilentProgress]:
    progress = SilentProgress()
    project = data_dir / "made" / f"qp-{version}" / "project"
    return export(ExportRequest(project=project, out=out, **options), progress), progress


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("image", ["1-slide_a.tif", "2-slide_b.tif", "4-plain.png", "5-stack_z3c2.tif"])
def test_annotations_equal_those_of_qupath_itself(data_dir: Path, tmp_path: Path, version: str, image: str) -> None:
    entry, name = image.split("-")
    theirs = data_dir / "made" / f"qp-{version}" / "exports" / f"{Path(name).stem}.annotations.fc.geojson.gz"

    exported(data_dir, tmp_path, version, entries=(entry,), annotations_only=True)

    ours, expected = (
        {item.id: item for item in read_objects(path).objects} for path in (tmp_path / f"{image}.geojson", theirs)
    )
    assert ours.keys() == expected.keys()
    assert len(ours) > 0
    for key, item in expected.items():
        assert (ours[key].name, ours[key].is_locked, ours[key].kind) == (item.name, item.is_locked, item.kind)
        assert ours[key].path_class == item.path_class
        if item.name not in KNOWN_LOSS:
            assert shapely.hausdorff_distance(ours[key].geometry, item.geometry) < 0.02
            assert ours[key].geometry.area == pytest.approx(item.geometry.area, abs=0.02 * item.geometry.length)


def test_an_entry_without_data_gets_no_file(data_dir: Path, tmp_path: Path) -> None:
    report, _ = exported(data_dir, tmp_path, entries=("3",))

    assert [(one.name, one.objects, one.geojson) for one in report.entries] == [("slide_c.tif", 0, None)]
    assert list(tmp_path.iterdir()) == []


def test_detections_are_exported_unless_only_annotations_are_asked_for(data_dir: Path, tmp_path: Path) -> None:
    everything, _ = exported(data_dir, tmp_path / "all", entries=("1",))
    annotations, _ = exported(data_dir, tmp_path / "some", entries=("1",), annotations_only=True)

    assert everything.entries[0].objects == 97
    assert 0 < annotations.entries[0].objects < 97


def test_files_can_be_compressed(data_dir: Path, tmp_path: Path) -> None:
    report, _ = exported(data_dir, tmp_path, entries=("slide_b.tif",), gzip=True)

    path = tmp_path / "2-slide_b.tif.geojson.gz"
    assert report.entries[0].geojson == path
    assert len(json.loads(gzip.decompress(path.read_bytes()))["features"]) == report.entries[0].objects


def test_a_damaged_entry_does_not_stop_the_others(data_dir: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(data_dir / "made" / "qp-0.7.0" / "project", project)
    (project / "data" / "2" / "data.qpdata").write_bytes(b"no java")
    progress = SilentProgress()

    report = export(ExportRequest(project=project, out=tmp_path / "out"), progress)

    assert [(one.entry, one.reason) for one in report.failures] == [("entry 2 'slide_b.tif'", "DAMAGED_DATA")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "1-slide_a.tif.geojson",
        "4-plain.png.geojson",
        "5-stack_z3c2.tif.geojson",
    ]
    assert len(progress.warnings) == 1


def test_an_unknown_entry_is_refused_with_those_that_exist(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"slide_a\.tif"):
        exported(data_dir, tmp_path, entries=("slide_x.tif",))


def test_label_maps_hold_the_class_under_each_pixel(data_dir: Path, tmp_path: Path) -> None:
    report, _ = exported(data_dir, tmp_path, entries=("2",), label_maps=True, mpp=2.0)

    classes = json.loads((tmp_path / "classes.json").read_bytes())
    labels = {item["name"]: item["label"] for item in classes["classes"]}
    with Image.open(tmp_path / "2-slide_b.tif.labels.png") as image:
        label_map, palette = np.asarray(image), image.getpalette()
    assert report.entries[0].label_map == tmp_path / "2-slide_b.tif.labels.png"
    assert label_map.shape == (3072 // 8, 4096 // 8)
    assert classes["ignore_index"] == IGNORE_INDEX
    assert set(np.unique(label_map)) == {labels["Tumor"], labels["Stroma"], IGNORE_INDEX}
    areas_um2 = {"Tumor": 7967, "Stroma": 196 * 172 / 16}  # of the stroma, 300 px square, the part in the image
    for name, area_um2 in areas_um2.items():
        assert (label_map == labels[name]).sum() * 4 == pytest.approx(area_um2, rel=0.02)
    assert palette[: 3 * 2] == [200, 0, 0, 150, 200, 150]


def test_without_a_pixel_size_the_label_map_has_the_slides_own_pixels(data_dir: Path, tmp_path: Path) -> None:
    exported(data_dir, tmp_path, entries=("plain.png",), label_maps=True)

    with Image.open(tmp_path / "4-plain.png.labels.png") as image:
        assert image.size == (1024, 768)


def test_a_slide_without_pixel_size_keeps_its_objects_where_its_label_map_fails(data_dir: Path, tmp_path: Path) -> None:
    report, _ = exported(data_dir, tmp_path, entries=("plain.png",), label_maps=True, mpp=2.0)

    assert report.entries[0].geojson == tmp_path / "4-plain.png.geojson"
    assert [one.reason for one in report.failures] == ["PIXEL_SIZE_MISSING"]
    assert "leave --mpp out" in report.failures[0].message


def test_a_full_disk_ends_the_export(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qpbridge.errors import DiskFullError

    def no_space(path: Path, objects: object) -> int:
        raise DiskFullError("no space left")

    monkeypatch.setattr(workflow, "write_objects", no_space)

    with pytest.raises(DiskFullError):
        exported(data_dir, tmp_path)


def test_the_frame_of_a_label_map_has_whole_pixels_of_exactly_the_mpp() -> None:
    frame = LabelFrame.of_image((1001, 500), PixelCalibration(mpp_x=0.5, mpp_y=0.25), 1.0)

    assert (frame.width, frame.height) == (501, 125)
    assert (frame.region.width_px, frame.region.height_px) == (1002, 500)


def test_a_label_map_that_memory_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="coarser --mpp"):
        LabelFrame.of_image((100_000, 100_000), None, None)


def test_labels_are_for_classes_that_are_not_ignored_and_white_is_for_none() -> None:
    table = LabelTable(
        [PathClass("A", (1, 2, 3)), PathClass("Ignore*", (0, 0, 0)), PathClass("B", (4, 5, 6))], "Region*"
    )

    assert table.names == ["A", "B"]
    assert table.palette[:9] == [1, 2, 3, 4, 5, 6, 255, 255, 255]
    assert len(table.palette) == 256 * 3


@pytest.mark.parametrize(("known", "rest"), [(("Tumor", "Background"), "Background"), (("Tumor",), UNLABELLED)])
def test_what_is_free_inside_a_region_is_background_or_has_a_label_of_its_own(
    known: tuple[str, ...], rest: str
) -> None:
    table = LabelTable([PathClass(name, (1, 2, 3)) for name in known], "Done")
    objects = [
        PathObject(id=name, kind=ObjectKind.ANNOTATION, geometry=shape, path_class=PathClass(name, (0, 0, 0)))
        for name, shape in (("Done", shapely.box(0, 0, 2, 1)), ("Tumor", shapely.box(0, 0, 1, 1)))
    ]

    labels = table.paint(objects, LabelFrame.of_image((3, 1), None, None))

    assert table.names == ["Tumor", rest]
    assert labels.tolist() == [[0, 1, IGNORE_INDEX]]


def test_more_classes_than_labels_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="255 classes, not 256"):
        LabelTable([PathClass(f"c{index}", (0, 0, 0)) for index in range(256)], "Region*")
