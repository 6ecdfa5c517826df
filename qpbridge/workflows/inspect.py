"""The preflight: what a project holds, what of it can be used, and why the rest cannot. Nothing is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from qpbridge.core.objects import PathObject, annotations_of
from qpbridge.core.progress import Progress
from qpbridge.qupath.locate import folders_of
from qpbridge.qupath.project import Project
from qpbridge.workflows.entries.failures import one_by_one
from qpbridge.workflows.entries.sources import open_told, sources_in
from qpbridge.workflows.inspecting.entries import inspect_entry
from qpbridge.workflows.inspecting.previewing import preview_training
from qpbridge.workflows.inspecting.records import EntryReport, InspectReport, MissingFolder, OrphanedData
from qpbridge.workflows.requests import InspectRequest

__all__ = ["InspectReport", "InspectRequest", "inspect", "orphaned_data", "similar_names"]


def inspect(request: InspectRequest, progress: Progress) -> InspectReport:
    """Look at every entry of a project; a broken one is told and does not stop the rest.

    Raises
    ------
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    UnknownNameError
        If an entry does not exist.
    CancelledError
        If somebody asked to stop.
    """
    project = open_told(request.project, request.backend, progress)
    sources = sources_in(project, request.entries, request.path_map)
    found: list[tuple[EntryReport, Sequence[PathObject]]] = []
    for source in one_by_one(sources, "inspect", progress):
        entry, objects = inspect_entry(source, request.mpp, request.region_class)
        # Detections may be millions, and are counted already.
        found.append((entry, () if entry.problems else annotations_of(objects)))
    entries = [entry for entry, _ in found]
    classes = {one.name: one.is_ignored for entry in entries for one in entry.classes if one.name is not None}
    listed = {item.name: item.is_ignored for item in project.classes}
    return InspectReport(
        project=project.path,
        qupath_version=project.version,
        entries=tuple(entries),
        similar_classes=similar_names([*listed, *sorted(classes)]),
        training=preview_training(found, project.classes, request.region_class),
        ignored_classes=tuple(name for name, is_ignored in {**listed, **classes}.items() if is_ignored),
        missing=_missing(entries),
        orphans=tuple(orphaned_data(project)),
        backend=project.backend,
    )


def similar_names(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return the names that differ from one another only by case or blanks, group by group."""
    groups: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        groups["".join(name.split()).casefold()][name] = None
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def orphaned_data(project: Project) -> list[OrphanedData]:
    """Return the data folders with objects that belong to no entry of a project, as QuPath leaves them behind."""
    owned = {entry.data_folder.name for entry in project.entries}
    files = sorted(project.folder.glob("data/*/data.qpdata"))
    return [
        OrphanedData(folder=file.parent, bytes=file.stat().st_size) for file in files if file.parent.name not in owned
    ]


def _missing(entries: Sequence[EntryReport]) -> tuple[MissingFolder, ...]:
    uris = [
        entry.image.uri
        for entry in entries
        if entry.image.uri is not None and any(problem.reason == "SLIDE_NOT_FOUND" for problem in entry.problems)
    ]
    return tuple(MissingFolder(folder=folder, slides=slides) for folder, slides in folders_of(uris).items())
