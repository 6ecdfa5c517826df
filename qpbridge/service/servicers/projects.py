"""QuPath projects: what is in them, and what of it can be used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qpbridge.jobs.records import Job
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.service.servicers.jobs import JobEvents
from qpbridge.service.servicers.paging import page_of
from qpbridge.v1 import objects_pb2, project_pb2
from qpbridge.wire.jobs import ended_well, job_message
from qpbridge.wire.records import pack
from qpbridge.wire.requests import Places

if TYPE_CHECKING:
    from qpbridge.core.objects import PathClass
    from qpbridge.qupath.project import Project, ProjectEntry

_ENTRY_FIELDS: Final = ("id", "name", "description", "metadata", "tags", "has_data")


class ProjectServicer:
    """``ProjectService``.

    Parameters
    ----------
    events : JobEvents
        Of the board that the intake submits to.
    intake : Intake
        Takes requests in.
    places : Places
        Where projects may be read.
    """

    def __init__(self, events: JobEvents, intake: Intake, places: Places) -> None:
        self._events = events
        self._intake = intake
        self._places = places

    async def inspect_project(
        self, request: project_pb2.InspectProjectRequest, caller: Caller
    ) -> project_pb2.InspectProjectResponse:
        """Return what of a project can be used; a caller who goes away stops the work."""
        async with self._intake.attended(request, caller) as job:
            last = job
            async with contextlib.aclosing(self._events.watch(job.id)) as events:
                async for event in events:
                    last = event if isinstance(event, Job) else last
            return project_pb2.InspectProjectResponse(report=job_message(ended_well(last)).inspect)

    async def list_entries(self, request: project_pb2.ListEntriesRequest, _: Caller) -> project_pb2.ListEntriesResponse:
        """Return a page of a project's entries."""
        return await asyncio.to_thread(self._entries, request)

    async def list_classes(self, request: project_pb2.ListClassesRequest, _: Caller) -> project_pb2.ListClassesResponse:
        """Return a page of a project's classes."""
        return await asyncio.to_thread(self._classes, request)

    async def export_project(
        self, request: project_pb2.ExportProjectRequest, caller: Caller
    ) -> project_pb2.ExportProjectResponse:
        """Begin to write a project's objects."""
        return project_pb2.ExportProjectResponse(job=job_message(await self._intake.submit(request, caller)))

    def _entries(self, request: project_pb2.ListEntriesRequest) -> project_pb2.ListEntriesResponse:
        entries = self._project(request.project).entries
        page, token = page_of(entries, lambda entry: entry.id, request.page_size, request.page_token)
        return project_pb2.ListEntriesResponse(
            entries=[pack(project_pb2.Entry, _entry_values(entry)) for entry in page],
            next_page_token=token,
            total_size=len(entries),
        )

    def _classes(self, request: project_pb2.ListClassesRequest) -> project_pb2.ListClassesResponse:
        classes = self._project(request.project).classes
        page, token = page_of(classes, lambda one: one.name, request.page_size, request.page_token)
        return project_pb2.ListClassesResponse(
            classes=[pack(objects_pb2.PathClass, _class_values(one)) for one in page], next_page_token=token
        )

    def _project(self, path: str) -> Project:
        # Loads numpy and shapely, which the start of a server need not wait for.
        from qpbridge.qupath.project import open_project

        return open_project(self._places.read(path))


def _entry_values(entry: ProjectEntry) -> Mapping[str, Any]:
    return {name: getattr(entry, name) for name in _ENTRY_FIELDS}


def _class_values(one: PathClass) -> Mapping[str, Any]:
    return {"name": one.name, "color_rgb": one.color_rgb, "is_ignored": one.is_ignored}
