"""One image of a new project: what QuPath keeps in ``data/<id>`` and in the project file."""

from __future__ import annotations

import io
import json
import math
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import NO_MAPPING, ObjectKind, PathClass, PathObject
from qpbridge.errors import InvalidValueError
from qpbridge.files import write_bytes
from qpbridge.qupath.encoding.image_data import UNSET_TYPE, ImageDetails, argb, create_qpdata

FORMAT: Final = "0.6.0"
"""Version of QuPath whose format is written; 0.5 and 0.7 open it too."""

OPENSLIDE: Final = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
BIOFORMATS: Final = "qupath.lib.images.servers.bioformats.BioFormatsServerBuilder"
IMAGEJ: Final = "qupath.imagej.images.servers.ImageJServerBuilder"

THUMBNAIL_PX: Final = (1000, 600)
"""Width and height that QuPath's thumbnails do not exceed."""

_FLAT_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_TILE_PX: Final = 256
_JPEG_QUALITY: Final = 75
_URI_BUILDER: Final = "uri"

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
        The file.
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
    description : str or None
        For the same.
    tags : tuple of str
        For the same.
    provider : str or None
        Class by which QuPath opens the file; ImageJ's for PNG, JPEG, BMP and GIF and OpenSlide's for others where None.
    builder : mapping or None
        JSON of a server builder that another project has for the image: crops, turns and arguments are kept.
    image_type : str
        Name of QuPath's image type.
    stains : str or None
        See ``ImageDetails``.
    tma_grid : tuple of int or None
        See ``ImageDetails``.
    thumbnail : ndarray of uint8, shape (H, W, 3), or None
        Of at most ``THUMBNAIL_PX``; QuPath makes one itself where there is none.

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
    description: str | None = None
    tags: tuple[str, ...] = ()
    provider: str | None = None
    builder: Mapping[str, Any] | None = None
    image_type: str = UNSET_TYPE
    stains: str | None = None
    tma_grid: tuple[int, int] | None = None
    thumbnail: RgbImage | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise InvalidValueError(f"image '{self.name}' cannot have {self.width_px} x {self.height_px} px")
        if not self.downsamples or self.downsamples[0] != 1:
            raise InvalidValueError(f"the downsamples of '{self.name}' must begin with 1.0, not be {self.downsamples}")


def write_entry(folder: Path, entry: NewEntry, classes: Sequence[PathClass], key: str) -> None:
    """Write the folder of an image.

    Parameters
    ----------
    folder : Path
        ``data/<id>``; made.
    entry : NewEntry
        The image.
    classes : sequence of PathClass
        Their colors precede those of the objects' classes.
    key : str
        Path of the project file, ``"::"`` and the image's id, by which QuPath knows it again.

    Raises
    ------
    DataExistsError
        If the folder has objects already, which stay.
    InvalidValueError
        As ``write_qpdata``.
    """
    folder.mkdir(exist_ok=True)
    builder = server_builder(entry)
    header = {"dataVersion": 3, "qupathVersion": FORMAT, "server": builder}
    image = ImageDetails(
        server_json=_compact(header),
        root_id=str(uuid.uuid5(uuid.NAMESPACE_URL, key)),
        image_type=entry.image_type,
        stains=entry.stains,
        tma_grid=entry.tma_grid,
        properties={"PROJECT_ENTRY_ID": key},
    )
    if entry.objects:
        create_qpdata(folder / "data.qpdata", image, entry.objects, classes)
        write_bytes(folder / "summary.json", _compact(_summary(entry)).encode("utf-8", "replace"))
    write_bytes(folder / "server.json", pretty(builder))
    if entry.thumbnail is not None:
        write_bytes(folder / "thumbnail.jpg", _jpeg(entry.thumbnail))


def image_json(entry: NewEntry, entry_id: int) -> dict[str, Any]:
    """Return what the project file says of an image."""
    described = {} if entry.description is None else {"description": entry.description}
    return {
        "serverBuilder": server_builder(entry),
        "entryID": entry_id,
        "randomizedName": str(uuid.uuid4()),
        "imageName": entry.name,
        **described,
        "metadata": dict(entry.metadata),
        "tags": list(entry.tags),
    }


def server_builder(entry: NewEntry) -> dict[str, Any]:
    """Return how QuPath opens an image."""
    uri = uri_of(entry.slide_path.resolve())
    if entry.builder is not None:
        return _calibrated(_moved(entry.builder, uri), entry.calibration)
    is_flat = entry.slide_path.suffix.lower() in _FLAT_SUFFIXES
    return {
        "builderType": _URI_BUILDER,
        "providerClassName": entry.provider or (IMAGEJ if is_flat else OPENSLIDE),
        "uri": uri,
        "args": [],
        "metadata": _server_metadata(entry, max(entry.width_px, entry.height_px) if is_flat else _TILE_PX),
    }


def pretty(content: Mapping[str, Any]) -> bytes:
    """Return JSON as QuPath lays it out."""
    return json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8", "replace")


def uri_of(path: Path) -> str:
    """Return the URI of an absolute path as Java writes it, with one slash."""
    return path.as_uri().replace("file:///", "file:/", 1)


def _compact(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _moved(builder: Mapping[str, Any], uri: str) -> dict[str, Any]:
    """Return a builder whose file, within all crops and turns, has another place."""
    inner = builder.get("builder")
    return {**builder, "builder": _moved(inner, uri)} if isinstance(inner, Mapping) else {**builder, "uri": uri}


def _calibrated(builder: dict[str, Any], calibration: PixelCalibration | None) -> dict[str, Any]:
    metadata = builder.get("metadata")
    if calibration is None or not isinstance(metadata, Mapping):
        return builder
    stored = {**_calibration(None), **(metadata.get("pixelCalibration") or {})}
    sizes = {name: _calibration(calibration)[name] for name in ("pixelWidth", "pixelHeight")}
    return {**builder, "metadata": {**metadata, "pixelCalibration": {**stored, **sizes}}}


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
        "imageType": entry.image_type,
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


def _jpeg(image: RgbImage) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=_JPEG_QUALITY)
    return content.getvalue()
