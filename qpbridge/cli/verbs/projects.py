"""The verbs that read a project: inspect and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qpbridge.cli import options
from qpbridge.cli.running import carry_out
from qpbridge.cli.verb import verb
from qpbridge.cli.verbs.reports import TELLING
from qpbridge.cli.working import working
from qpbridge.core.objects import REGION_CLASS
from qpbridge.workflows.requests import ExportRequest, InspectRequest


@verb
def inspect(
    project: options.ProjectPath, *, scope: options.LabelScope, place: options.Place, output: options.Output
) -> None:
    """Tell what of a project can be used.

    Entries, slides, pixel sizes, annotated area of each class, and what is wrong. Writes nothing.
    """
    carry_out(working(lambda: InspectRequest(project=project, **scope.values()), place), output, TELLING["inspect"])


@verb
def export(
    project: options.ProjectPath,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for one GeoJSON an entry.")],
    entries: options.Entries = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Write .geojson.gz.")] = False,
    annotations_only: Annotated[
        bool, typer.Option("--annotations-only", help="Leave out detections, cells, tiles and TMA cores.")
    ] = False,
    label_maps: Annotated[
        bool, typer.Option("--label-maps", help="Write PNG label maps of the annotations and classes.json, too.")
    ] = False,
    mpp: Annotated[
        float | None,
        typer.Option(
            "--mpp",
            metavar="UM_PER_PX",
            callback=options.positive,
            help="Pixel size of the label maps; default: the slide's own.",
        ),
    ] = None,
    path_map: options.PathMap = None,
    region_class: options.RegionClass = REGION_CLASS,
    backend: options.BackendName = "auto",
    *,
    place: options.Place,
    output: options.Output,
) -> None:
    """Write a project's objects as GeoJSON.

    As QuPath would export them: one file an entry, ID-NAME.geojson.
    """

    def request() -> ExportRequest:
        return ExportRequest(
            project=project,
            out=out,
            entries=options.names(entries),
            gzip=gzip,
            annotations_only=annotations_only,
            label_maps=label_maps,
            mpp=mpp,
            path_map=tuple(path_map or ()),
            region_class=region_class,
            backend=options.backend(backend),
        )

    carry_out(working(request, place), output, TELLING["export"])
