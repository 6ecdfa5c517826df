"""What Java's own classes hold, taken out of their serialized form with the types checked."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, TypeGuard

from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java.objects import JavaObject

_MAX_WRAPPERS: Final = 8
_WRAPPED_FIELDS: Final = MappingProxyType(
    {
        "java.util.Collections$UnmodifiableList": "list",
        "java.util.Collections$UnmodifiableRandomAccessList": "list",
        "java.util.Collections$SynchronizedList": "list",
        "java.util.Collections$SynchronizedRandomAccessList": "list",
        "java.util.Arrays$ArrayList": "a",
        "java.util.Collections$UnmodifiableMap": "m",
        "java.util.Collections$SynchronizedMap": "m",
    }
)
_LISTS: Final = frozenset({"java.util.ArrayList", "java.util.LinkedList"})
_MAPS: Final = ("java.util.HashMap", "java.util.TreeMap")
_IMMUTABLE: Final = "java.util.CollSer"
_LIST_TAGS: Final = (1, 4)
_MAP_TAG: Final = 3


def is_object(value: object, class_name: str) -> TypeGuard[JavaObject]:
    """Tell whether a value is an object of a class, or of one derived from it."""
    return type(value) is JavaObject and class_name in value.java_class.lineage


def unboxed(value: object) -> object:
    """Return what an Integer, Double, Boolean... holds; anything else as it is."""
    if type(value) is JavaObject and value.java_class.name.startswith("java.lang."):
        return value.fields.get("value", value)
    return value


def text_or_none(value: object) -> str | None:
    """Return a string or null.

    Raises
    ------
    DamagedDataError
        If it is anything else.
    """
    if value is None or isinstance(value, str):
        return value
    raise damaged("text expected", value)


def list_of(value: object) -> list[object]:
    """Return the elements of a ``java.util`` list or an array of objects.

    Raises
    ------
    DamagedDataError
        If it is anything else.
    """
    value = _unwrapped(value)
    if type(value) is JavaObject and (
        value.java_class.name.startswith(("[L", "[["))
        or value.java_class.name in _LISTS
        or _immutable_tag(value) in _LIST_TAGS
    ):
        return [item for item in value.items if type(item) is not bytes]
    raise damaged("list expected", value)


def map_of(value: object) -> dict[str, object]:
    """Return those entries of a ``java.util`` map whose keys are strings.

    Raises
    ------
    DamagedDataError
        If it is anything else.
    """
    value = _unwrapped(value)
    if is_object(value, "java.util.Collections$SingletonMap"):
        keys, values = [value.fields.get("k")], [value.fields.get("v")]
    elif is_map(value):
        content = [item for item in value.items if type(item) is not bytes]
        keys, values = content[::2], content[1::2]
    else:
        raise damaged("map expected", value)
    return {key: item for key, item in zip(keys, values, strict=False) if isinstance(key, str)}


def is_map(value: object) -> TypeGuard[JavaObject]:
    """Tell whether a value is a ``java.util`` map that lists its keys and values."""
    return any(is_object(value, name) for name in _MAPS) or _immutable_tag(value) == _MAP_TAG


def damaged(what: str, value: object) -> DamagedDataError:
    """Return the error for a value that is not what must stand in its place."""
    if type(value) is JavaObject:
        return DamagedDataError(f"{what}: {value.java_class.name} at byte {value.offset}")
    return DamagedDataError(f"{what}, not {type(value).__name__}")


def _unwrapped(value: object) -> object:
    for _ in range(_MAX_WRAPPERS):
        if type(value) is not JavaObject or value.java_class.name not in _WRAPPED_FIELDS:
            break
        value = value.fields.get(_WRAPPED_FIELDS[value.java_class.name])
    return value


def _immutable_tag(value: object) -> int:
    """Return what kind of ``List.of``, ``Set.of``, ``Map.of`` a value is, 0 for none of them."""
    if not is_object(value, _IMMUTABLE):
        return 0
    tag = value.fields.get("tag")
    return tag & 0xFF if isinstance(tag, int) else 0
