"""The verbs that read a project: inspect and export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qpbridge.cli import options
from qpbridge.cli.output import fields_table, output_console, records_table
from qpbridge.cli.running import ExitCode, carry_out, rate_batch
from qpbridge.core.progress import Progress

if TYPE_CHECKING:
    from qpbridge.workflows.export import ExportReport
    from qpbridge.workflows.inspect import EntryReport, InspectReport


def inspect(
    project: options.ProjectPath,
    entries: options.Entries = None,
    mpp: options.PixelSize = None,
    path_map: options.PathMap = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Tell what of a project can be used.

    Entries, slides, pixel sizes, annotated area of each class, and what is wrong. Writes nothing.
    """

    def work(progress: Progress) -> InspectReport:
        from qpbridge.workflows import inspect as workflow

        request = workflow.InspectRequest(
            project=project, entries=options.names(entries), mpp=mpp, path_map=tuple(path_map or ())
        )
        return workflow.inspect(request, progress)

    def rate(report: InspectReport) -> ExitCode:
        broken = [entry for entry in report.entries if entry.problems]
        return rate_batch(broken, [entry for entry in report.entries if not entry.problems])

    carry_out(work, as_json=as_json, debug=debug, show=show_inspection, rate=rate)


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
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Write a project's objects as GeoJSON.

    As QuPath would export them: one file an entry, ID-NAME.geojson.
    """

    def work(progress: Progress) -> ExportReport:
        from qpbridge.workflows import export as workflow

        request = workflow.ExportRequest(
            project=project,
            out=out,
            entries=options.names(entries),
            gzip=gzip,
            annotations_only=annotations_only,
            label_maps=label_maps,
            mpp=mpp,
            path_map=tuple(path_map or ()),
        )
        return workflow.export(request, progress)

    def rate(report: ExportReport) -> ExitCode:
        return rate_batch(report.failures, report.entries)

    carry_out(work, as_json=as_json, debug=debug, rate=rate)


def show_inspection(report: InspectReport) -> None:
    """Print the preflight for a reader."""
    console = output_console()
    console.print(fields_table({"project": report.project, "QuPath": report.qupath_version}))
    console.print(records_table("Entries", [_entry_row(entry) for entry in report.entries]))
    for title, rows in (
        ("Objects", [row for entry in report.entries for row in _class_rows(entry)]),
        ("Annotations to look at", [row for entry in report.entries for row in _trouble_rows(entry)]),
        ("Problems", [row for entry in report.entries for row in _problem_rows(entry)]),
    ):
        if rows:
            console.print(records_table(title, rows))
    for names in report.similar_classes:
        listed = ", ".join(f"'{name}'" for name in names)
        console.print(f"class names that differ only by case or blanks: {listed}; are they one class?", markup=False)
    _show_training(report)


def _show_training(report: InspectReport) -> None:
    console = output_console()
    training = report.training
    if training.obstacle is not None:
        console.print(f"training would refuse: {training.obstacle}", markup=False)
        return
    rows = [
        {"class": one.name, "entries": one.entries, "annotations": one.annotations, "mm²": one.area_mm2}
        for one in training.classes
    ]
    console.print(records_table(f"Training would use entries {', '.join(training.entries)}", rows))


def _entry_row(entry: EntryReport) -> dict[str, Any]:
    image = entry.image
    calibration = image.calibration
    return {
        "id": entry.id,
        "name": entry.name,
        "size px": None if image.width_px is None else f"{image.width_px} x {image.height_px}",
        "µm/px": None if calibration is None else f"{calibration.mpp_x:.5g} x {calibration.mpp_y:.5g}",
        "from": image.calibration_source,
        "slide": image.slide,
    }


def _class_rows(entry: EntryReport) -> list[dict[str, Any]]:
    return [
        {
            "entry": entry.id,
            "class": one.name,
            "objects": one.objects,
            "annotations": one.annotations,
            "mm²": one.area_mm2,
            "": "ignored" if one.is_ignored else "",
        }
        for one in entry.classes
    ]


def _trouble_rows(entry: EntryReport) -> list[dict[str, Any]]:
    return [
        {"entry": entry.id, "count": one.count, "what": one.what, "e.g.": list(one.examples)} for one in entry.troubles
    ]


def _problem_rows(entry: EntryReport) -> list[dict[str, Any]]:
    return [{"entry": entry.id, "reason": one.reason, "message": one.message} for one in entry.problems]
