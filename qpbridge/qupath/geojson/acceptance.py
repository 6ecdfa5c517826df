"""Whether a version of QuPath accepts GeoJSON, and what it makes of it, as measured with 0.5.1, 0.6.0 and 0.7.0.

One thing that it refuses makes it refuse a whole file. What nobody measured counts as refused here, so that what
passes here passes there. Coordinates in level-0 px.
"""

from __future__ import annotations

import json
import math
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from qpbridge.core.objects import ObjectKind
from qpbridge.qupath.geojson.containers import gunzipped, unzipped
from qpbridge.qupath.geojson.outlines import DEPTHS
from qpbridge.qupath.geojson.shapes import QupathVersion, RefusedError, Shape, take_shape

__all__ = ["QupathVersion", "Shape", "Taken", "Verdict", "judge", "judge_feature", "judge_file"]

DESCRIPTION: Final = "ANNOTATION_DESCRIPTION"

_ROOT: Final = "root"
_KINDS: Final[Mapping[str, ObjectKind]] = {**{kind.value: kind for kind in ObjectKind}, "tma_core": ObjectKind.TMA_CORE}
_OLD_IDS: Final[Mapping[str, ObjectKind]] = {
    "PathAnnotationObject": ObjectKind.ANNOTATION,
    "PathDetectionObject": ObjectKind.DETECTION,
    "PathCellObject": ObjectKind.CELL,
    "PathTileObject": ObjectKind.TILE,
    "TMACoreObject": ObjectKind.TMA_CORE,
}
_NUMBER_NAMES: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An object as QuPath makes it of a feature.

    Parameters
    ----------
    kind : ObjectKind or None
        None for the root of a hierarchy, which then lies among the objects.
    shape : Shape or None
        None for a root.
    nucleus : Shape or None
        Only of cells.
    id : str or None
        UUID; None where QuPath draws one by chance.
    class_name : str or None
        Full name, derived ones joined by ``": "``.
    class_color_rgb : tuple of int or None
        What the class, wherever it is used, gets as color; None where QuPath has or chooses one.
    name : str or None
        As shown.
    color_rgb : tuple of int or None
        Its own color.
    is_locked : bool
        Against edits.
    measurements : mapping of str to float
        Those that stay.
    metadata : mapping of str to str
        Those that stay; the description is among them.
    children : tuple of Taken
        Nested in it.
    """

    kind: ObjectKind | None
    shape: Shape | None
    nucleus: Shape | None
    id: str | None
    class_name: str | None
    class_color_rgb: Rgb | None
    name: str | None
    color_rgb: Rgb | None
    is_locked: bool
    measurements: Mapping[str, float]
    metadata: Mapping[str, str]
    children: tuple[Taken, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a version of QuPath does with a feature or a file.

    Parameters
    ----------
    version : QupathVersion
        Which.
    reason : str or None
        Why it refuses; None where it accepts.
    place : str
        The feature that it refuses it for, counted from 0 (``"3"``, or ``"3.0"`` for the first child of the fourth);
        empty where it is the file, or where it accepts.
    objects : tuple of Taken
        What it makes of it; empty where it refuses.
    """

    version: QupathVersion
    reason: str | None = None
    place: str = ""
    objects: tuple[Taken, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """Whether it takes all of it."""
        return self.reason is None


def judge_file(path: Path, version: QupathVersion) -> Verdict:
    """Return what a version does with a file.

    Parameters
    ----------
    path : Path
        ``.geojson``, ``.json``, either with ``.gz``, or ``.zip``; in the latter, files that are refused are passed
        over, and said so nowhere.
    version : QupathVersion
        Who reads.
    """
    try:
        content = path.read_bytes()
        suffix = path.suffix.lower()
        if suffix == ".zip":
            verdicts = [judge(part, version) for part in unzipped(content)]
            return Verdict(version=version, objects=tuple(item for one in verdicts for item in one.objects))
        return judge(gunzipped(content) if suffix == ".gz" else content, version)
    except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        return Verdict(version=version, reason=f"{path} cannot be read: {error}")


def judge(content: bytes, version: QupathVersion) -> Verdict:
    """Return what a version does with the content of a GeoJSON file, not compressed."""
    try:
        tree = json.loads(content.decode())
        features = _features(tree)
    except (ValueError, RecursionError) as error:
        return Verdict(version=version, reason=f"this is no JSON document: {error}")
    except RefusedError as refusal:
        return Verdict(version=version, reason=str(refusal))
    taken: list[Taken] = []
    for place, feature in enumerate(features):
        verdict = judge_feature(feature, version)
        if not verdict.is_accepted:
            return replace(verdict, place=f"{place}{verdict.place}")
        taken.extend(verdict.objects)
    return Verdict(version=version, objects=tuple(taken))


def judge_feature(feature: Any, version: QupathVersion) -> Verdict:
    """Return what a version does with one feature, or bare geometry, given as JSON values."""
    try:
        return Verdict(version=version, objects=(_taken(feature, version),))
    except _RefusedChildError as refusal:
        return Verdict(version=version, reason=refusal.reason, place=refusal.place)
    except RefusedError as refusal:
        return Verdict(version=version, reason=str(refusal))
    except RecursionError:
        return Verdict(version=version, reason="it is nested too deeply")


class _RefusedChildError(RefusedError):
    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


def _features(tree: Any) -> Sequence[Any]:
    if isinstance(tree, list):
        return tree
    kind = tree.get("type") if isinstance(tree, dict) else None
    if kind == "FeatureCollection":
        return _listed(tree.get("features"), "the features of a collection")
    if kind in ("Feature", "GeometryCollection", *DEPTHS):
        return [tree]
    raise RefusedError(f"its type is {kind!r}, neither a FeatureCollection nor a feature nor a geometry")


def _taken(feature: Any, version: QupathVersion) -> Taken:
    if not isinstance(feature, Mapping):
        raise RefusedError("a feature is no JSON object")
    if feature.get("type") in DEPTHS:
        feature = {"type": "Feature", "geometry": feature}
    if feature.get("type") != "Feature":
        raise RefusedError(f"its type is {feature.get('type')!r}, not Feature")
    properties = feature.get("properties", {})
    if not isinstance(properties, Mapping):
        raise RefusedError(f"the properties are {properties!r}, no JSON object")
    kind = _kind(feature, properties)
    is_root = kind is None
    class_name, class_color = (None, None) if is_root else _class(properties.get("classification"))
    core = kind is ObjectKind.TMA_CORE
    shape = take_shape(feature.get("geometry"), version, is_core=core)
    has_nucleus = kind is ObjectKind.CELL and "nucleusGeometry" in feature
    return Taken(
        kind=kind,
        shape=None if is_root else shape,
        nucleus=take_shape(feature["nucleusGeometry"], version) if has_nucleus else None,
        id=_id(feature),
        class_name="Image" if is_root else class_name,
        class_color_rgb=class_color,
        name=_name(properties),
        color_rgb=_color(properties.get("color")),
        is_locked=is_root or _is_true(properties, "isLocked"),
        measurements=_measurements(properties.get("measurements")),
        metadata=_metadata(properties.get("metadata", {})),
        children=_children(properties, version),
    )


def _kind(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> ObjectKind | None:
    for key in ("objectType", "object_type"):
        if key in properties:
            named = properties[key]
            if not isinstance(named, str):
                raise RefusedError(f"{key} is {named!r}, no text")
            return None if named == _ROOT else _KINDS.get(named, ObjectKind.ANNOTATION)
    return _OLD_IDS.get(str(feature.get("id")), ObjectKind.ANNOTATION)


def _id(feature: Mapping[str, Any]) -> str | None:
    if "id" not in feature:
        return None
    given = feature["id"]
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise RefusedError(f"the id is {given!r}, neither text nor number")
    try:
        return str(uuid.UUID(given)) if isinstance(given, str) and len(given) == 36 else None
    except ValueError:
        return None


def _name(properties: Mapping[str, Any]) -> str | None:
    if "name" not in properties:
        return None
    name = properties["name"]
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise RefusedError(f"the name is {name!r}, neither text nor number")
    return str(name)


def _is_true(properties: Mapping[str, Any], key: str) -> bool:
    value = properties.get(key, False)
    if not isinstance(value, bool | str):
        raise RefusedError(f"{key} is {value!r}, neither true nor false")
    return value in (True, "true")


def _class(value: Any) -> tuple[str | None, Rgb | None]:
    if value is None:
        return None, None
    if isinstance(value, str) and value.strip():
        return value, None
    if not isinstance(value, Mapping):
        raise RefusedError(f"the classification is {value!r}: neither a name nor a JSON object")
    names = value.get("names", [value.get("name")])
    if not isinstance(names, list) or not names or not all(isinstance(one, str) and one.strip() for one in names):
        raise RefusedError(f"the classification {dict(value)!r} has no name")
    colors = [key for key in ("color", "colorRGB") if key in value]
    if not colors:
        raise RefusedError(f"the classification {dict(value)!r} has no color")
    return ": ".join(names), _color(value[colors[0]])


def _color(value: Any) -> Rgb | None:
    if isinstance(value, list):
        if not all(map(_is_number, value)):
            raise RefusedError(f"the color {value!r} has something else than numbers")
        if len(value) != 3:
            return None
        red, green, blue = (int(part) & 255 for part in value)
        return red, green, blue
    if value is None:
        return None
    if not _is_number(value):
        raise RefusedError(f"the color is {value!r}, neither [red, green, blue] nor a number")
    return int(value) >> 16 & 255, int(value) >> 8 & 255, int(value) & 255


def _measurements(value: Any) -> Mapping[str, float]:
    if value is None:
        return {}
    if isinstance(value, list):
        if not all(isinstance(item, Mapping) and {"name", "value"} <= item.keys() for item in value):
            raise RefusedError("a measurement in the list has no name or no value")
        pairs = [(str(item["name"]), item["value"]) for item in value]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        raise RefusedError(f"the measurements are {value!r}, neither a JSON object nor a list")
    return {name: _measured(name, number) for name, number in pairs if not (number is None or isinstance(number, bool))}


def _measured(name: str, number: Any) -> float:
    if isinstance(number, int | float):
        return float(number)
    if isinstance(number, str) and number in _NUMBER_NAMES:
        return _NUMBER_NAMES[number]
    raise RefusedError(f"the measurement '{name}' is {number!r}, no number")


def _metadata(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise RefusedError(f"the metadata are {value!r}, no JSON object")
    return {key: _TEXTS[type(member)](member) for key, member in value.items() if type(member) in _TEXTS}


_TEXTS: Final[Mapping[type, Callable[[Any], str]]] = {
    str: str,
    int: str,
    float: str,
    bool: lambda flag: "true" if flag else "false",
}


def _children(properties: Mapping[str, Any], version: QupathVersion) -> tuple[Taken, ...]:
    for key in ("childObjects", "children"):
        if key in properties:
            verdicts = [judge_feature(child, version) for child in _listed(properties[key], key)]
            for place, verdict in enumerate(verdicts):
                if verdict.reason is not None:
                    raise _RefusedChildError(f".{place}{verdict.place}", verdict.reason)
            return tuple(item for verdict in verdicts for item in verdict.objects)
    return ()


def _listed(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise RefusedError(f"{what} are {value!r}, no list")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
