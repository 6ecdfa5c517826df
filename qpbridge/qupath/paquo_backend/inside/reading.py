"""Projects and their objects, read by QuPath: only for its process. Nothing of a project is changed.

QuPath makes folders where it opens a project: what it opens is a copy of the few files that it needs.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from qpbridge.qupath.paquo_backend.inside import jvm
from qpbridge.qupath.paquo_backend.inside.hierarchy import class_of, columns_of
from qpbridge.qupath.paquo_backend.records import DataContent, EntryContent, ProjectContent

_SERVER_BUILDER: Final = "qupath.lib.images.servers.ImageServerBuilder$ServerBuilder"


def read_project(path: str) -> ProjectContent:
    """Return what QuPath says of a project.

    Parameters
    ----------
    path : str
        The ``.qpproj`` file.

    Raises
    ------
    JavaFailure
        If QuPath cannot open it.
    """
    with jvm.told("QuPath cannot open the project"):
        project = opened(path)
        java = project.java_object
        uri = java.getPreviousURI()
        return ProjectContent(
            version="" if java.getVersion() is None else str(java.getVersion()),
            uri=None if uri is None else str(uri.toString()),
            classes=[class_of(one) for one in java.getPathClasses() if one.isValid()],
            entries=[_entry(image) for image in project.images],
        )


def read_data(project: str, path: str) -> DataContent:
    """Return what a ``data.qpdata`` holds.

    Parameters
    ----------
    project : str
        The ``.qpproj`` file, whose classes have their colors before objects bring others.
    path : str
        Of the file.

    Raises
    ------
    JavaFailure
        If QuPath cannot read it.
    """
    with jvm.told("QuPath cannot read it"):
        opened(project)
        data = _image_data(path)
        return DataContent(
            hierarchy=columns_of(data.getHierarchy().getRootObject()),
            image_type=str(data.getImageType().name()),
            properties=_plain(data.getProperties()),
        )


def opened(path: str) -> Any:
    """Return paquo's project of a copy of a project's files, and the same one as long as they do not change."""
    jvm.facts()
    files = [Path(path), Path(path).parent / "classifiers" / "classes.json"]
    stamp = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file())
    return _opened(path, stamp)


@lru_cache(maxsize=1)
def _opened(path: str, _stamp: tuple[tuple[int, int], ...]) -> Any:
    from paquo.projects import QuPathProject

    with tempfile.TemporaryDirectory(prefix="qpbridge-") as folder:
        copy = stage(Path(path), Path(folder))
        return QuPathProject(copy, mode="r")


def stage(project: Path, folder: Path) -> Path:
    """Copy what QuPath reads of a project when it opens it, and return the copy of the project file."""
    classes = project.parent / "classifiers" / "classes.json"
    (folder / "classifiers").mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    if classes.is_file():
        shutil.copyfile(classes, folder / "classifiers" / "classes.json")
    return Path(shutil.copyfile(project, folder / "project.qpproj"))


def _entry(image: Any) -> EntryContent:
    from jpype import JClass
    from paquo.java import GsonTools

    java = image.java_object
    builder, description = java.getServerBuilder(), java.getDescription()
    name = java.getImageName()
    return EntryContent(
        id=str(java.getID()),
        name="" if name is None else str(name),
        description=None if description is None else str(description),
        metadata=dict(image.metadata),
        tags=tuple(map(str, java.getTags())) if hasattr(java, "getTags") else None,
        builder=None
        if builder is None
        else str(GsonTools.getInstance().toJson(builder, JClass(_SERVER_BUILDER).class_)),
    )


def _image_data(path: str) -> Any:
    """Read image data as QuPath does, with its filter, which lets only QuPath's and Java's own classes be made.

    The slide is not touched: an image of one pixel stands in for it. QuPath's ``readHierarchy``, which would need none,
    never ends on a file that is cut off (0.5 to 0.7).
    """
    from jpype import JClass
    from paquo.java import BufferedImage, PathIO

    stand_in = JClass("qupath.lib.images.servers.WrappedBufferedImageServer")(
        "stand-in", BufferedImage(1, 1, BufferedImage.TYPE_INT_RGB)
    )
    files, paths = JClass("java.nio.file.Files"), JClass("java.nio.file.Paths")
    with contextlib.closing(files.newInputStream(paths.get(path))) as stream:
        return PathIO.readImageData(stream, None, stand_in, BufferedImage.class_)


def _plain(properties: Any) -> dict[str, str]:
    from jpype import JClass

    number, truth = JClass("java.lang.Number"), JClass("java.lang.Boolean")
    plain = {}
    for item in properties.entrySet():
        key, value = str(item.getKey()), item.getValue()
        if isinstance(value, JClass("java.lang.String")):
            plain[key] = str(value)
        elif isinstance(value, truth):
            plain[key] = str(bool(value))
        elif isinstance(value, number):
            plain[key] = str(_number(value))
    return plain


def _number(value: Any) -> int | float:
    from jpype import JClass

    is_real = isinstance(value, (JClass("java.lang.Double"), JClass("java.lang.Float")))
    return float(value.doubleValue()) if is_real else int(value.longValue())
