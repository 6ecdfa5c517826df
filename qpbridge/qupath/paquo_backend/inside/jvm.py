"""The Java machine in the process of QuPath: started once, and watched over."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

from qpbridge.qupath.paquo_backend.records import JavaFailure, QuPathFacts

VERSION_MIN: Final = (0, 5)
"""First QuPath whose objects have all that is asked of them here."""

_JAVA_OPTIONS: Final = ("-Djava.awt.headless=true", "-XX:ErrorFile=/dev/null", "-Xss16m")
"""No screen, no crash report in the folder of the user, and room for deep hierarchies."""


def prepare(qupath_folder: str | None) -> None:
    """Make a fresh process one of QuPath's: it says nothing, and dies with the one that started it.

    Parameters
    ----------
    qupath_folder : str or None
        Where QuPath is; by paquo's configuration where None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it decides what an interrupt means
    if qupath_folder is not None:
        os.environ["PAQUO_QUPATH_DIR"] = qupath_folder
    silence = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # QuPath logs there; a document may be printed on the one that they share
        os.dup2(silence, descriptor)
    os.close(silence)
    threading.Thread(target=_die_with_parent, daemon=True).start()


@cache
def facts() -> QuPathFacts:
    """Start Java with QuPath's classes, and tell what has started.

    Raises
    ------
    JavaFailure
        If there is no QuPath, or it does not start; says why.
    """
    from paquo._config import settings, to_kwargs
    from paquo.jpype_backend import find_qupath, start_jvm

    wanted = to_kwargs(settings)
    options = wanted["java_opts"]
    wanted["java_opts"] = [*([options] if isinstance(options, str) else options), *_JAVA_OPTIONS]
    with told("it does not start"):
        try:
            found = find_qupath(**{**wanted, "java_opts": []})
        except (ValueError, FileNotFoundError, IsADirectoryError) as error:
            raise JavaFailure(f"paquo finds none: {error}") from error
        version = start_jvm(finder_kwargs=wanted)
    _check_version(version)
    return _facts(str(version), found.app_dir)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what Java, JPype and paquo raise into a ``JavaFailure``.

    Parameters
    ----------
    what : str
        What went wrong, for the message.
    """
    import jpype

    try:
        yield
    except JavaFailure:
        raise
    except (jpype.JException, AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise JavaFailure(f"{what}: {_said(error)}") from None  # Java's exceptions cannot leave this process


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _check_version(version: Any) -> None:
    if version is None or version.version.release < VERSION_MIN:
        needed = ".".join(map(str, VERSION_MIN))
        raise JavaFailure(f"QuPath {version or 'of an unknown version'} is too old; {needed} or later is needed")


def _facts(version: str, app: Path) -> QuPathFacts:
    from jpype import JClass

    from qpbridge.qupath.paquo_backend.inside.areas import area_kept

    system = JClass("java.lang.System")
    with told("it cannot work with polygons"):
        _load_openslide()
        return QuPathFacts(
            version=version,
            folder=str(app.parent.parent if app.parent.name == "lib" else app.parent),
            java_version=str(system.getProperty("java.version")),
            java_folder=str(system.getProperty("java.home")),
            area_kept=area_kept(),
        )


def _load_openslide() -> None:
    """QuPath 0.5 offers slides to OpenSlide only where its library was loaded before."""
    import jpype

    with contextlib.suppress(jpype.JException, TypeError, AttributeError):
        jpype.JClass("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoad()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
