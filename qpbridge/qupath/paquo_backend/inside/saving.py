"""Objects changed by QuPath: only for its process. It works on a copy; the project itself is not touched."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from qpbridge.qupath.paquo_backend.inside import jvm
from qpbridge.qupath.paquo_backend.inside.hierarchy import preorder
from qpbridge.qupath.paquo_backend.records import Change, JavaFailure

_ENTRY_ID: Final = "PROJECT_ENTRY_ID"
"""Property by which QuPath knows the entry of open image data: path of the project, two colons, id."""

_SUMMARY: Final = "qupath.lib.projects.DefaultProject$ImageDataSummary"


def change(task: Change) -> str | None:
    """Write the data of an entry with some objects gone and others come.

    Objects come as they would where a person imports their GeoJSON; those that lie in others that go move up.

    Parameters
    ----------
    task : Change
        What to do.

    Returns
    -------
    str or None
        The new ``summary.json``; None where this QuPath does not make one.

    Raises
    ------
    JavaFailure
        If QuPath cannot open the slide, read the data or take the objects.
    """
    from paquo.projects import QuPathProject

    jvm.facts()
    with jvm.told("QuPath cannot change it"):
        copy = Path(task.folder) / "project.qpproj"
        (image,) = [one for one in QuPathProject(copy, mode="r").images if one.entry_id == task.entry]
        data = image.java_object.readImageData()
        if data is None:
            raise JavaFailure("QuPath cannot open its slide")
        hierarchy = data.getHierarchy()
        objects, _ = preorder(hierarchy.getRootObject())
        removed = set(task.removed)
        hierarchy.removeObjects([one for one in objects if str(one.getID()) in removed], True)
        if task.added is not None:
            hierarchy.addObjects(_imported(task.added))
        _restore_colors(preorder(hierarchy.getRootObject())[0], task.colors)
        data.setProperty(_ENTRY_ID, str(data.getProperty(_ENTRY_ID)).replace(str(copy), task.project))
        return _written(data, task.out)


def _imported(path: str) -> Any:
    from jpype import JClass

    with contextlib.closing(JClass("java.io.FileInputStream")(path)) as stream:
        return JClass("qupath.lib.io.PathIO").readObjectsFromGeoJSON(stream)


def _restore_colors(objects: Iterable[Any], colors: Mapping[str, int]) -> None:
    """Give classes the colors that they have in the project: an import gives them its own."""
    from jpype import JClass

    found = {str(one): one for item in objects if (one := item.getPathClass()) is not None}
    for name, path_class in found.items():
        if name in colors:
            path_class.setColor(JClass("java.lang.Integer").valueOf(colors[name]))


def _written(data: Any, out: str) -> str | None:
    from jpype import JClass

    with contextlib.closing(JClass("java.io.FileOutputStream")(out)) as stream:
        JClass("qupath.lib.io.PathIO").writeImageData(stream, data)
    return _summary(data)


def _summary(data: Any) -> str | None:
    """Return what QuPath writes beside the data it saves; the class that makes it is its own."""
    import jpype
    from jpype import JClass, JLong
    from paquo.java import GsonTools

    try:
        kinds = [JClass("qupath.lib.images.ImageData").class_, JLong.class_]
        maker = JClass("java.lang.Class").forName(_SUMMARY).getDeclaredConstructor(*kinds)
        maker.setAccessible(True)
        return str(
            GsonTools.getInstance().toJson(
                maker.newInstance(data, JClass("java.lang.Long").valueOf(round(time.time() * 1000)))
            )
        )
    except (jpype.JException, TypeError, AttributeError):
        return None
