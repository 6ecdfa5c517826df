"""Which backend opens a project: a real QuPath through paquo, or this package itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from qpbridge.core.backend import Backend, BackendChoice
from qpbridge.errors import InvalidValueError, QupathMissingError
from qpbridge.qupath.paquo_backend import installation
from qpbridge.qupath.project import Project, open_project

if TYPE_CHECKING:
    from qpbridge.qupath.paquo_backend.process import QuPathProcess

NO_QUPATH: Final = "no QuPath was found on this machine"


def open_project_with(choice: BackendChoice, path: Path) -> Project:
    """Open a project with the backend that was asked for; ``Project.backend`` says which it is, and why.

    Parameters
    ----------
    choice : {"auto", "paquo", "native"}
        ``auto`` takes paquo where a QuPath is installed whose Java keeps the area of polygons, and otherwise native.
    path : Path
        The ``.qpproj`` file, or the folder that holds it.

    Raises
    ------
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    QupathMissingError
        If paquo was asked for and there is no QuPath that runs; says how to get one.
    InvalidValueError
        If there is no such backend.
    """
    if choice not in _OPENERS:
        raise InvalidValueError(f"--backend takes {', '.join(get_args(BackendChoice))}, not '{choice}'")
    return _OPENERS[choice](path)


def _open_by_paquo(path: Path) -> Project:
    process, backend = _started()
    return _opened(path, process, backend)


def _open_by_either(path: Path) -> Project:
    folder = installation.told_folder()
    if not installation.may_be_here():
        return open_project(path, Backend(detail=NO_QUPATH))
    if folder not in _distrusted:
        try:
            process, backend = _started()
        except QupathMissingError as error:
            _distrusted[folder] = Backend(detail=str(error), warning=str(error) if folder else None)
        else:
            if backend.warning is None:
                return _opened(path, process, backend)
            process.close()
            why = f"{backend.warning}; so the project is read without QuPath"
            _distrusted[folder] = Backend(detail=why, warning=why)
    return open_project(path, _distrusted[folder])


def _started() -> tuple[QuPathProcess, Backend]:
    # Loads what only a user of a real QuPath needs.
    from qpbridge.qupath.paquo_backend.process import QuPathProcess

    process = QuPathProcess()
    facts = process.start()
    warning = None if facts.keeps_areas else f"{facts.trouble}; see qpbridge doctor"
    return process, Backend(name="paquo", detail=facts.text, warning=warning)


def _opened(path: Path, process: QuPathProcess, backend: Backend) -> Project:
    from qpbridge.qupath.paquo_backend.project import open_by_paquo

    return open_by_paquo(path, process, backend)


# Of the process: a QuPath that does not run, or cannot be trusted, takes seconds to say so each time.
_distrusted: dict[str | None, Backend] = {}

_OPENERS: Final[Mapping[str, Callable[[Path], Project]]] = {
    "auto": _open_by_either,
    "paquo": _open_by_paquo,
    "native": open_project,
}
