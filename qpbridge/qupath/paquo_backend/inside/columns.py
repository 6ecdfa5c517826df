"""Values of many Java objects by one call each: only for the process of QuPath.

A call through JPype costs some microseconds, and objects have many values: Java's own streams gather them, by way of
method handles, into arrays that come over at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from qpbridge.qupath.paquo_backend.records import Numbers


class Getter(NamedTuple):
    """A method without parameters: its class, its name and what it returns, by their Java names."""

    owner: str
    name: str
    returns: str


TO_STREAM = Getter("java.util.Collection", "stream", "java.util.stream.Stream")
SIZE = Getter("java.util.Collection", "size", "int")

_PRIMITIVES = {"boolean": "Boolean", "int": "Integer", "double": "Double"}


def array_of(items: Sequence[Any]) -> Any:
    """Return Java objects as a Java array."""
    import jpype

    return jpype.JArray(jpype.JObject)(list(items))


def numbers(items: Any, *getters: Getter) -> Numbers:
    """Return a number, or a truth value as 0 or 1, of each object.

    Parameters
    ----------
    items : Java array
        Objects that have the first getter.
    *getters : Getter
        One applied to what the one before gives.
    """
    stream = _through(items, getters[:-1]).mapToDouble(_function(getters[-1], is_number=True))
    return np.array(stream.toArray(), dtype=np.float64)


def values(items: Any, *getters: Getter) -> Any:
    """Return what the getters give for each object, as a Java array."""
    return _through(items, getters).toArray()


def members(items: Any, *getters: Getter) -> Any:
    """Return the members of the collections that the getters give, one after the other, as a Java array."""
    return _through(items, getters).flatMap(_function(TO_STREAM)).toArray()


def texts(found: Any) -> list[str | None]:
    """Return Java's strings as text."""
    return [None if text is None else str(text) for text in found]


def _through(items: Any, getters: Sequence[Getter]) -> Any:
    import jpype

    stream = jpype.JClass("java.util.Arrays").stream(items)
    for getter in getters:
        stream = stream.map(_function(getter))
    return stream


@cache
def _function(getter: Getter, is_number: bool = False) -> Any:
    """Return a getter as a Java function of objects; with ``is_number`` as one to doubles."""
    from jpype import JClass

    handles, method_type = JClass("java.lang.invoke.MethodHandles"), JClass("java.lang.invoke.MethodType")
    owner = JClass(getter.owner)
    handle = handles.publicLookup().findVirtual(owner, getter.name, method_type.methodType(_class(getter.returns)))
    if is_number:
        handle = handles.explicitCastArguments(handle, method_type.methodType(_class("double"), owner))
    kind = "java.util.function.ToDoubleFunction" if is_number else "java.util.function.Function"
    return JClass("java.lang.invoke.MethodHandleProxies").asInterfaceInstance(JClass(kind), handle)


def _class(name: str) -> Any:
    from jpype import JClass

    return JClass(f"java.lang.{_PRIMITIVES[name]}").TYPE if name in _PRIMITIVES else JClass(name)
