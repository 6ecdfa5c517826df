"""How QuPath opens an image, from the JSON of its ``serverBuilder``.

What QuPath 0.2 to 0.7 use is the builder in ``project.qpproj``; ``data/<id>/server.json`` is a copy of it that QuPath
itself never reads, for projects whose file was lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import msgspec

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.image_server import ImageServer, Rotation
from qpbridge.errors import DamagedProjectError, InvalidValueError, UnsupportedImageError

_PLAIN: Final = "uri"
_MICROMETERS: Final = ("\u00b5m", "\u03bcm")
_ROTATIONS: Final = MappingProxyType(
    {
        "ROTATE_NONE": Rotation.NONE,
        "ROTATE_90": Rotation.ROTATE_90,
        "ROTATE_180": Rotation.ROTATE_180,
        "ROTATE_270": Rotation.ROTATE_270,
    }
)
_QUARTER_TURNS: Final = (Rotation.ROTATE_90, Rotation.ROTATE_270)


class _Quantity(msgspec.Struct):
    value: float | None = None
    unit: str = ""


class _Calibration(msgspec.Struct, rename="camel"):
    pixel_width: _Quantity
    pixel_height: _Quantity


class _Level(msgspec.Struct):
    width: int
    height: int


class _Metadata(msgspec.Struct, rename="camel"):
    width: int
    height: int
    levels: list[_Level] | None = None
    size_z: int = 1
    size_t: int = 1
    is_rgb: bool = msgspec.field(default=False, name="isRGB")
    pixel_calibration: _Calibration | None = None


class _Crop(msgspec.Struct):
    x: int
    y: int
    width: int
    height: int


class _Builder(msgspec.Struct, rename="camel"):
    """The fields of the three kinds of builder that are honored, together."""

    uri: str | None = None
    builder: dict[str, Any] | None = None
    provider_class_name: str | None = None
    args: list[str] | None = None
    metadata: _Metadata | None = None
    region: _Crop | None = None
    rotation: str | None = None


def parse_server(builder: Mapping[str, Any], label: str) -> ImageServer:
    """Return what a ``serverBuilder`` says about an image.

    Parameters
    ----------
    builder : mapping
        Its JSON: ``builderType`` "uri", or "cropped" and "rotated" around another ``builder``.
    label : str
        The entry, for messages.

    Returns
    -------
    ImageServer
        The file, and the image as QuPath shows it.

    Raises
    ------
    UnsupportedImageError
        If QuPath changes the image in another way.
    DamagedProjectError
        If something that QuPath always writes is missing or no such thing.

    References
    ----------
    QuPath 0.7.0, ``ImageServers`` (names of the builders and their fields), ``RotatedImageServer`` (turns are
    clockwise), ``CroppedImageServer`` (the region lies in the image before the crop).
    """
    try:
        return _parse(builder, label)
    except (msgspec.ValidationError, InvalidValueError) as error:
        raise DamagedProjectError(f"{label}: its serverBuilder cannot be understood: {error}") from error


def _parse(builder: Mapping[str, Any], label: str) -> ImageServer:
    layers: list[tuple[str, _Builder]] = []
    inner: Mapping[str, Any] | None = builder
    while inner is not None:
        kind = str(inner.get("builderType") or _PLAIN)
        if kind != _PLAIN and kind not in _TRANSFORMS:
            raise UnsupportedImageError(
                f"{label} is an image that QuPath makes through its {kind!r} server, which is not supported (plain, "
                "cropped and rotated images are); export it from QuPath as OME-TIFF and add that to the project"
            )
        layer = msgspec.convert(inner, _Builder)
        layers.append((kind, layer))
        inner = None if kind == _PLAIN else layer.builder
    kind, base = layers.pop()
    if kind != _PLAIN or not base.uri:
        raise InvalidValueError("no uri of a file in it")
    server = ImageServer(
        uri=base.uri, provider=base.provider_class_name or "", args=tuple(base.args or ()), **_shown(base.metadata)
    )
    for kind, layer in reversed(layers):
        server = _transformed(server, kind, layer)
    return server


def _shown(metadata: _Metadata | None) -> dict[str, Any]:
    """Return the fields of an ImageServer that tell what is shown."""
    if metadata is None:
        return {}
    return {
        "width_px": metadata.width,
        "height_px": metadata.height,
        "levels": tuple((level.width, level.height) for level in metadata.levels or ()),
        "calibration": _calibration(metadata.pixel_calibration),
        "is_rgb": metadata.is_rgb,
        "size_z": metadata.size_z,
        "size_t": metadata.size_t,
    }


def _calibration(stored: _Calibration | None) -> PixelCalibration | None:
    """Return the pixel size where it is one: QuPath says "px" for images that are not calibrated."""
    if stored is None:
        return None
    sizes = (stored.pixel_width, stored.pixel_height)
    if any(size.unit not in _MICROMETERS for size in sizes):
        return None
    mpp_x, mpp_y = (math.nan if size.value is None else size.value for size in sizes)
    if not (0 < mpp_x < math.inf and 0 < mpp_y < math.inf):
        return None
    return PixelCalibration(mpp_x=mpp_x, mpp_y=mpp_y)


def _transformed(server: ImageServer, kind: str, layer: _Builder) -> ImageServer:
    transform, shown = _TRANSFORMS[kind](server, layer)
    changes = shown | _shown(layer.metadata)
    if transform is not Rotation.NONE:
        changes |= {"transforms": (*server.transforms, transform), "levels": ()}
    return replace(server, **changes)


def _crop(_server: ImageServer, layer: _Builder) -> tuple[Region, dict[str, Any]]:
    if layer.region is None:
        raise InvalidValueError("a cropped image without a region")
    x, y, width, height = msgspec.structs.astuple(layer.region)
    region = Region(x_px=x, y_px=y, width_px=width, height_px=height)
    return region, {"width_px": width, "height_px": height}


def _turn(server: ImageServer, layer: _Builder) -> tuple[Rotation, dict[str, Any]]:
    rotation = _ROTATIONS.get(layer.rotation or "")
    if rotation is None:
        raise InvalidValueError(f"a rotation of {layer.rotation!r}")
    if rotation not in _QUARTER_TURNS:
        return rotation, {}
    shown: dict[str, Any] = {"width_px": server.height_px, "height_px": server.width_px}
    if server.calibration is not None:
        shown["calibration"] = PixelCalibration(mpp_x=server.calibration.mpp_y, mpp_y=server.calibration.mpp_x)
    return rotation, shown


_TRANSFORMS: Final = MappingProxyType[str, Callable[[ImageServer, _Builder], tuple[Region | Rotation, dict[str, Any]]]](
    {"cropped": _crop, "rotated": _turn}
)
