"""QuPath projects from scratch: images with their objects, as QuPath 0.6 would write them."""

from __future__ import annotations

import json
import math
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import NO_MAPPING, ObjectKind, PathClass, PathObject
from qpbridge.errors import InvalidValueError, ProjectExistsError
from qpbridge.files import atomic_folder, write_bytes
from qpbridge.qupath.encoding.image_data import ImageDetails, argb, create_qpdata

_SUFFIX: Final = ".qpproj"
_FORMAT: Final = "0.6.0"
"""Version of QuPath whose format is written; 0.5 and 0.7 open it too."""

_OPENSLIDE: Final = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
_IMAGEJ: Final = "qupath.imagej.images.servers.ImageJServerBuilder"
_FLAT_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_TILE_PX: Final = 256

_CHANNELS: Final = {"Red": (255, 0, 0), "Green": (0, 255, 0), "Blue": (0, 0, 255)}
_KIND_TITLES: Final = {
    ObjectKind.ANNOTATION: "Annotations",
    ObjectKind.TMA_CORE: "TMA cores",
    ObjectKind.TILE: "Tiles",
    ObjectKind.DETECTION: "Detections",
    ObjectKind.CELL: "Cells",
}
_DETECTIONS: Final = (ObjectKind.DETECTION, ObjectKind.CELL, ObjectKind.TILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """One image of a project to be made.

    Parameters
    ----------
    slide_path : Path
        The file, which QuPath opens with OpenSlide; PNG, JPEG, BMP and GIF with ImageJ.
    name : str
        As QuPath shall show it.
    width_px, height_px : int
        Size of level 0.
    downsamples : tuple of float
        Of all levels of the file, 1.0 first.
    calibration : PixelCalibration or None
        Pixel size; None leaves the image uncalibrated.
    objects : sequence of PathObject
        Geometries in level-0 px, nested by ``parent_id``. Without any, the image stays as one that was never opened.
    metadata : mapping of str to str
        For QuPath's project pane.

    Raises
    ------
    InvalidValueError
        If the image has no size, or no level of full resolution.
    """

    slide_path: Path
    name: str
    width_px: int
    height_px: int
    downsamples: tuple[float, ...]
    calibration: PixelCalibration | None
    objects: Sequence[PathObject] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_MAPPING)

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise InvalidValueError(f"image '{self.name}' cannot have {self.width_px} x {self.height_px} px")
        if not self.downsamples or self.downsamples[0] != 1:
            raise InvalidValueError(f"the downsamples of '{self.name}' must begin with 1.0, not be {self.downsamples}")


def create_project(path: Path, entries: Sequence[NewEntry], classes: Sequence[PathClass]) -> None:
    """Make a QuPath project that holds images and their objects.

    The project file comes last, so that a project is whole or not there. Slides are referred to, not copied.

    Parameters
    ----------
    path : Path
        The project file (``.qpproj``), or the folder that gets a ``project.qpproj``; made where it is missing.
    entries : sequence of NewEntry
        Numbered from 1 in this order.
    classes : sequence of PathClass
        For the list of classes; their colors also hold for the objects.

    Raises
    ------
    ProjectExistsError
        If the folder holds a project, or parts of one, already; nothing is changed then.
    InvalidValueError
        If objects share an id, or have an outline that QuPath cannot hold.
    DiskFullError
        If the disk has no space left; nothing remains of the project then.
    """
    file = path if path.suffix == _SUFFIX else path / f"project{_SUFFIX}"
    file = file.resolve()
    _refuse_existing(file.parent)
    parts = file.parent / "classifiers", file.parent / "data"
    try:
        with atomic_folder(parts[0]) as folder:
            write_bytes(folder / "classes.json", _classes_json(classes))
        with atomic_folder(parts[1]) as folder:
            write_bytes(folder / "metadata.json", b"{}")
            for number, entry in enumerate(entries, start=1):
                _write_entry(folder / str(number), entry, classes, f"{_uri(file)}::{number}")
        write_bytes(file, _project_json(file, entries))
    except BaseException:
        for part in parts:
            shutil.rmtree(part, ignore_errors=True)
        raise


def _refuse_existing(folder: Path) -> None:
    found = [
        *folder.glob(f"*{_SUFFIX}"),
        *(part for part in (folder / "classifiers", folder / "data") if part.exists()),
    ]
    if found:
        raise ProjectExistsError(f"{folder} holds {found[0].name} already; give a folder without a QuPath project")


def _write_entry(folder: Path, entry: NewEntry, classes: Sequence[PathClass], key: str) -> None:
    folder.mkdir()
    builder = _server_builder(entry)
    write_bytes(folder / "server.json", _pretty(builder))
    if not entry.objects:
        return
    header = json.dumps(
        {"dataVersion": 3, "qupathVersion": _FORMAT, "server": builder}, ensure_ascii=False, separators=(",", ":")
    )
    image = ImageDetails(server_json=header, root_id=str(uuid.uuid5(uuid.NAMESPACE_URL, key)))
    create_qpdata(folder / "data.qpdata", image, entry.objects, classes)
    write_bytes(
        folder / "summary.json", json.dumps(_summary(entry), ensure_ascii=False, separators=(",", ":")).encode()
    )


def _project_json(file: Path, entries: Sequence[NewEntry]) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    images = [
        {
            "serverBuilder": _server_builder(entry),
            "entryID": number,
            "randomizedName": str(uuid.uuid4()),
            "imageName": entry.name,
            "metadata": dict(entry.metadata),
            "tags": [],
        }
        for number, entry in enumerate(entries, start=1)
    ]
    return _pretty(
        {
            "version": _FORMAT,
            "createTimestamp": now_ms,
            "modifyTimestamp": now_ms,
            "uri": _uri(file),
            "lastID": len(entries),
            "images": images,
        }
    )


def _classes_json(classes: Iterable[PathClass]) -> bytes:
    return _pretty({"pathClasses": [{"name": item.name, "color": argb(item.color_rgb)} for item in classes]})


def _server_builder(entry: NewEntry) -> dict[str, Any]:
    is_flat = entry.slide_path.suffix.lower() in _FLAT_SUFFIXES
    return {
        "builderType": "uri",
        "providerClassName": _IMAGEJ if is_flat else _OPENSLIDE,
        "uri": _uri(entry.slide_path.resolve()),
        "args": [],
        "metadata": _server_metadata(entry, max(entry.width_px, entry.height_px) if is_flat else _TILE_PX),
    }


def _server_metadata(entry: NewEntry, tile_px: int) -> dict[str, Any]:
    return {
        "name": entry.name,
        "width": entry.width_px,
        "height": entry.height_px,
        "sizeZ": 1,
        "sizeT": 1,
        "channelType": "DEFAULT",
        "isRGB": True,
        "pixelType": "UINT8",
        "levels": [_level(entry, downsample) for downsample in entry.downsamples],
        "channels": [{"name": name, "color": argb(color_rgb)} for name, color_rgb in _CHANNELS.items()],
        "pixelCalibration": _calibration(entry.calibration),
        "preferredTileWidth": min(tile_px, entry.width_px),
        "preferredTileHeight": min(tile_px, entry.height_px),
    }


def _level(entry: NewEntry, downsample: float) -> dict[str, float | int]:
    width, height = entry.width_px / downsample, entry.height_px / downsample
    # As QuPath does: a level that misses a power of two by rounding to whole pixels only has that downsample.
    power = 2.0 ** round(math.log2(downsample))
    is_power = abs(entry.width_px / power - width) < 2 and abs(entry.height_px / power - height) < 2
    return {"downsample": power if is_power else float(downsample), "width": round(width), "height": round(height)}


def _calibration(calibration: PixelCalibration | None) -> dict[str, Any]:
    sizes = (1.0, 1.0) if calibration is None else (calibration.mpp_x, calibration.mpp_y)
    unit = "px" if calibration is None else "µm"
    return {
        "pixelWidth": {"value": sizes[0], "unit": unit},
        "pixelHeight": {"value": sizes[1], "unit": unit},
        "zSpacing": {"value": 1.0, "unit": "z-slice"},
        "timeUnit": "SECONDS",
        "timepoints": [],
    }


def _summary(entry: NewEntry) -> dict[str, Any]:
    kinds = Counter(item.kind for item in entry.objects)
    titles = {title: kinds[kind] for kind, title in _KIND_TITLES.items() if kinds[kind]}
    return {
        "timestamp": time.time_ns() // 1_000_000,
        "imageType": "UNSET",
        "server": {"width": entry.width_px, "height": entry.height_px, "sizeC": 3, "sizeZ": 1, "sizeT": 1},
        "hierarchy": {
            "nObjects": len(entry.objects) + 1,
            "objectTypeCounts": {"Root objects": 1, **titles},
            "annotationClassificationCounts": _class_counts(entry.objects, (ObjectKind.ANNOTATION,)),
            "detectionClassificationCounts": _class_counts(entry.objects, _DETECTIONS),
        },
    }


def _class_counts(objects: Iterable[PathObject], kinds: Sequence[ObjectKind]) -> dict[str, int]:
    names = (item.path_class.name if item.path_class else "Unclassified" for item in objects if item.kind in kinds)
    return dict(Counter(names))


def _pretty(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8", "replace")


def _uri(path: Path) -> str:
    """Return the URI of an absolute path as Java writes it, with one slash."""
    return path.as_uri().replace("file:///", "file:/", 1)
