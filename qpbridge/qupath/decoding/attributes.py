"""What objects of QuPath carry beside their shape: metadata, ids, measurements, classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from qpbridge.core.objects import NO_MAPPING, NO_MEASUREMENTS, PathClass
from qpbridge.qupath.java import walking
from qpbridge.qupath.java.columns import Columns, Truths
from qpbridge.qupath.java.objects import JavaObject
from qpbridge.qupath.java.stream import Nodes
from qpbridge.qupath.java.values import damaged, is_object, list_of, text_or_none, unboxed

DEFAULT_COLOR_RGB: Final = (64, 64, 64)
"""Color of a class that has none; QuPath's own default."""

_OBJECT_ID: Final = "Object ID"
_PATH_CLASS: Final = "qupath.lib.objects.classes.PathClass"
_UUID: Final = np.dtype([("text", "u1", 36)])
_HYPHENS: Final = np.isin(np.arange(_UUID.itemsize), (8, 13, 18, 23))
_LOWER: Final = np.zeros(256, dtype=np.uint8)
"""Of each hexadecimal digit itself, lower case; 0 of everything else."""
_LOWER[list(b"0123456789abcdefABCDEF")] = list(b"0123456789abcdefabcdef")
_BATCH: Final = 1 << 16
"""Ids at once; more would only take more memory."""


def rgb_of(color: object) -> tuple[int, int, int]:
    """Return red, green, blue of a color as QuPath stores it: a signed ARGB integer, or nothing for the default."""
    argb = unboxed(color)
    if not isinstance(argb, int):
        return DEFAULT_COLOR_RGB
    return argb >> 16 & 0xFF, argb >> 8 & 0xFF, argb & 0xFF


def read_metadata(columns: Columns, nodes: Nodes) -> tuple[list[Mapping[str, str]], list[str | None]]:
    """Return the metadata of objects, and the ids that files of version 3 keep among them.

    Parameters
    ----------
    columns : Columns
        The stream.
    nodes : ndarray of int
        A MetadataMap each; negative for none.

    Raises
    ------
    DamagedDataError
        If keys and values do not match.
    """
    metadata: list[Any] = [NO_MAPPING] * len(nodes)
    ids: list[str | None] = [None] * len(nodes)
    present = np.flatnonzero(nodes >= 0)
    keys, values = _keys_and_values(columns, nodes[present])
    counts = columns.lengths(keys)
    columns.spend(counts, nodes[present])
    owners = present[np.repeat(np.arange(len(present)), counts)]
    key_texts, which = columns.mapped(_elements(columns, keys, counts), columns.stream.value)
    elements = _elements(columns, values, counts)
    is_id = np.array([key == _OBJECT_ID for key in key_texts], dtype=np.bool_)[which]
    others = [np.flatnonzero(~is_id)]
    for batch in np.split(np.flatnonzero(is_id), range(_BATCH, int(is_id.sum()), _BATCH)):
        is_uuid, uuids = _uuids(columns, elements[batch])
        for owner, text in zip(owners[batch[is_uuid]].tolist(), uuids, strict=True):
            ids[owner] = text
        others.append(batch[~is_uuid])
    rest = np.sort(np.concatenate(others))
    _add_texts(metadata, columns.texts(elements[rest]), [key_texts[which[one]] for one in rest.tolist()], owners[rest])
    return metadata, ids


def _add_texts(metadata: list[Any], texts: list[str | None], keys: list[object], owners: Nodes) -> None:
    for owner, key, text in zip(owners.tolist(), keys, texts, strict=True):
        if text is None or not isinstance(key, str):
            continue
        if metadata[owner] is NO_MAPPING:
            metadata[owner] = {key: text}
        else:
            metadata[owner][key] = text


def _uuids(columns: Columns, nodes: Nodes) -> tuple[Truths, list[str]]:
    """Tell which nodes are UUIDs in text, and return these, in lower case."""
    found = np.flatnonzero(columns.is_text(nodes) & (columns.stream.links[nodes] == _UUID.itemsize))
    texts = columns.records(nodes[found], _UUID)["text"]
    lower = np.where(_HYPHENS, texts, _LOWER[texts])
    fits = np.where(_HYPHENS, texts == ord("-"), lower > 0).all(axis=1)
    is_uuid = np.zeros(len(nodes), dtype=np.bool_)
    is_uuid[found[fits]] = True
    uuids: list[str] = lower[fits].view(f"S{_UUID.itemsize}").ravel().astype(np.str_).tolist()
    return is_uuid, uuids


def _keys_and_values(columns: Columns, nodes: Nodes) -> tuple[Nodes, Nodes]:
    ends = columns.stream.ends
    keys = ends[columns.begins(nodes)].astype(np.int64)
    columns.refuse(keys >= ends[nodes], "metadata that is no map", nodes)
    values = ends[keys].astype(np.int64)
    columns.refuse(values >= ends[nodes], "metadata that is no map", nodes)
    keys, values = columns.resolved(keys), columns.resolved(values)
    columns.refuse(columns.lengths(keys) != columns.lengths(values), "metadata with other keys than values", nodes)
    return keys, values


def _elements(columns: Columns, arrays: Nodes, counts: Nodes) -> Nodes:
    """Return the elements of arrays of text, one array after the other."""
    begins = columns.begins(arrays)
    is_flat = columns.stream.ends[arrays] - begins == counts
    columns.refuse(~is_flat, "metadata that is no text", arrays)
    offsets = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return columns.resolved(np.repeat(begins, counts) + offsets)


def read_measurements(columns: Columns, nodes: Nodes) -> list[Mapping[str, float]]:
    """Return the measurements of objects.

    Parameters
    ----------
    columns : Columns
        The stream.
    nodes : ndarray of int
        A MeasurementList each; negative for none.

    Raises
    ------
    DamagedDataError
        If a list is of no known form.
    """
    measurements: list[Mapping[str, float]] = [NO_MEASUREMENTS] * len(nodes)
    present = np.flatnonzero(nodes >= 0)
    for java_class, chosen in columns.by_class(nodes[present]):
        owners = nodes[present[chosen]]
        if java_class is None:
            raise columns.damaged("measurements expected", owners[0])
        fields = columns.fields(java_class, owners)
        if "list" in fields.nodes:
            found = _listed(columns, fields.nodes["list"], owners)
        else:
            found = _numeric(columns, fields.objects("names"), fields.objects("values"), owners)
        for index, made in zip(present[chosen].tolist(), found, strict=True):
            if made:
                measurements[index] = made
    return measurements


def _numeric(columns: Columns, names: Nodes, values: Nodes, owners: Nodes) -> list[dict[str, float]]:
    """Read lists that keep their values in one array, and share their names."""
    known, which = columns.mapped(names, lambda node: tuple(str(name) for name in list_of(columns.stream.value(node))))
    counts = np.array([len(known[index]) for index in which], dtype=np.int64)  # type: ignore[arg-type]
    columns.spend(counts, owners)
    columns.spend(columns.lengths(values), owners)
    numbers, lengths = columns.floats(values)
    columns.refuse(lengths < counts, "fewer measurements than names", owners)
    begins = (np.cumsum(lengths) - lengths).tolist()
    flat = numbers.tolist()
    return [
        dict(zip(known[index], flat[begin : begin + count], strict=True))  # type: ignore[call-overload]
        for index, begin, count in zip(which, begins, counts.tolist(), strict=True)
    ]


def _listed(columns: Columns, lists: Nodes, owners: Nodes) -> list[dict[str, float]]:
    """Read lists that keep an object for each measurement."""
    stream = columns.stream
    found: list[dict[str, float]] = [{} for _ in owners]
    at, ends, active = columns.begins(lists), stream.ends[lists], np.arange(len(owners))
    columns.refuse(stream.codes[lists] != walking.OBJECT, "list expected", owners)
    while True:
        active = active[at[active] < ends[active]]
        if not len(active):
            return found
        elements = columns.resolved(at[active])
        is_one = stream.codes[elements] == walking.OBJECT
        columns.spend(is_one.astype(np.int64), owners[active])
        for java_class, chosen in columns.by_class(elements[is_one]):
            if java_class is None:
                continue
            fields = columns.fields(java_class, elements[is_one][chosen])
            names, (values,) = columns.texts(fields.objects("name")), fields.doubles("value")
            for owner, name, value in zip(active[is_one][chosen].tolist(), names, values.tolist(), strict=True):
                if name is None:
                    raise columns.damaged("measurement without a name", owners[owner])
                found[owner][name] = value
        at[active] = stream.ends[at[active]]


def read_class(value: object, columns: Columns) -> PathClass | None:
    """Return a classification; derived classes have names in parts.

    Raises
    ------
    DamagedDataError
        If it is anything else.
    """
    if value is None:
        return None
    names: list[str] = []
    part, color = value, None
    while is_object(part, _PATH_CLASS):
        fields = part.fields
        names.append(text_or_none(fields.get("name")) or "")
        color = fields.get("colorRGB") if len(names) == 1 else color
        columns.spend(np.array([1 + len(names[-1])]), np.array([part.node]))
        part = fields.get("parentClass")
    if part is not None or type(value) is not JavaObject:
        raise damaged("class expected", part)
    return PathClass(": ".join(name for name in reversed(names) if name), rgb_of(color))
