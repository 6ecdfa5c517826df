"""Objects that come with a request as GeoJSON texts: those of an open viewer, which nobody has saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qpbridge.core.objects import PathObject
from qpbridge.errors import DamagedGeoJsonError, InvalidValueError, UnknownNameError
from qpbridge.workflows.entries.sources import Source
from qpbridge.workflows.requests import AnnotationsMode


def with_annotations(sources: Sequence[Source], texts: Mapping[str, str], mode: AnnotationsMode) -> list[Source]:
    """Return the sources, those with a text of their own with its objects.

    Parameters
    ----------
    sources : sequence of Source
        Slides to work on.
    texts : mapping of str to str
        GeoJSON by entry id, image name, stem or path of a slide.
    mode : {"replace", "add"}
        See ``AnnotationsMode``.

    Raises
    ------
    UnknownNameError
        If a text belongs to none of the slides.
    InvalidValueError
        If a text belongs to several slides, a slide has several texts, or a text cannot be read.
    """
    found: dict[int, tuple[PathObject, ...]] = {}
    for key, text in texts.items():
        position = _position(key, sources)
        label = sources[position].label
        if position in found:
            raise InvalidValueError(f"{label} is given annotations twice, last as '{key}'; give one text for each")
        found[position] = _objects(text, label)
    return [
        replace(source, given=found[i], keeps_saved=mode == "add") if i in found else source
        for i, source in enumerate(sources)
    ]


def with_complete(sources: Sequence[Source], region_class: str | None) -> list[Source]:
    """Return the sources as if everything on each were annotated, where a class is given that says so.

    Parameters
    ----------
    sources : sequence of Source
        Slides to work on. One without any object stays as it is: nobody has worked on it.
    region_class : str or None
        Class of annotations that mark areas as completely annotated.
    """
    return [replace(source, complete_class=region_class) for source in sources]


def _position(key: str, sources: Sequence[Source]) -> int:
    # An id before a name, as a project looks its entries up.
    for names in ([source.key for source in sources], [source.name for source in sources], list(map(_path, sources))):
        matching = [i for i, name in enumerate(names) if name == key]
        if len(matching) > 1:
            raise InvalidValueError(f"annotations are given for '{key}', which {len(matching)} slides are called")
        if matching:
            return matching[0]
    raise UnknownNameError("entry", key, [source.key for source in sources], "the annotations of the request")


def _path(source: Source) -> str:
    return "" if source.path is None else str(source.path)


def _objects(text: str, label: str) -> tuple[PathObject, ...]:
    from qpbridge.qupath.geojson import parse_objects

    try:
        content = text.encode()
        return parse_objects(content, f"the text given as annotations of {label}").objects
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"the text given as annotations of {label} is no valid Unicode: {error}") from error
    except DamagedGeoJsonError as error:
        raise InvalidValueError(str(error)) from error
