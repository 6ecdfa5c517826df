"""The verbs around a network: train, predict, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qpbridge.cli import options
from qpbridge.cli.output import fields_table, output_console, records_table
from qpbridge.cli.running import ExitCode, carry_out, rate_batch
from qpbridge.core.progress import Progress

if TYPE_CHECKING:
    from qpbridge.workflows.evaluate import EvaluationReport
    from qpbridge.workflows.entries.failures import Failure
    from qpbridge.workflows.predict import PredictReport
    from qpbridge.workflows.train import TrainReport

RESULTS_FOLDER = "qpbridge-results"
"""Where predictions go unless the user says otherwise: beside the project, one folder a model."""

ModelPath = Annotated[
    Path, typer.Option("--model", metavar="BUNDLE", help="Folder that train wrote.", show_default=False)
]


def train(
    project: options.ProjectPath,
    family: Annotated[str, typer.Option("--family", help="Kind of network; see qpbridge models list.")],
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Folder to write the model to.")],
    preset: Annotated[
        str | None, typer.Option("--preset", help="Named settings; small trains on two CPU cores.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--classes", metavar="A,B", help="Classes to tell apart; default: all that are annotated."),
    ] = None,
    entries: options.Entries = None,
    validation: Annotated[
        list[str] | None,
        typer.Option("--validation", metavar="ENTRY", help="Entries held back to judge by; repeatable."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting of network or training; repeatable."),
    ] = None,
    mpp: options.PixelSize = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    path_map: options.PathMap = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Train a network on a project's annotations.

    Pixels that nobody annotated are ignored. The result is a bundle: weights, specification, model card, curves.
    """

    def work(progress: Progress) -> TrainReport:
        pairs = options.settings(settings)
        from qpbridge.workflows import train as workflow

        request = workflow.TrainRequest(
            project=project,
            out=out,
            family=family,
            preset=preset,
            classes=options.names(classes),
            entries=options.names(entries),
            validation=options.names(validation) or (),
            settings=pairs,
            mpp=mpp,
            device=device,
            seed=seed,
            path_map=tuple(path_map or ()),
        )
        return workflow.train(request, progress)

    def rate(report: TrainReport) -> ExitCode:
        return rate_batch(report.failures, [report])

    carry_out(work, as_json=as_json, debug=debug, rate=rate)


def predict(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="PROJECT|SLIDE...", help="A project, or slides.", show_default=False)
    ],
    model: ModelPath,
    entries: options.Entries = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help=f"Folder of the results; default: {RESULTS_FOLDER}/NAME-OF-BUNDLE beside the project or first slide.",
        ),
    ] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Write .geojson.gz.")] = False,
    min_area_um2: Annotated[
        float | None,
        typer.Option("--min-area-um2", min=0, help="Smaller regions join their neighbor; default: 200."),
    ] = None,
    smooth_um: Annotated[
        float, typer.Option("--smooth-um", min=0, help="Smooth outlines by this much; neighbors still share borders.")
    ] = 0.0,
    no_tissue_mask: Annotated[bool, typer.Option("--no-tissue-mask", help="Predict on blank glass, too.")] = False,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", metavar="PX", min=0, help="Rim of each tile that only serves as context, model px."),
    ] = None,
    mpp: options.PixelSize = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    path_map: options.PathMap = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Predict regions on slides, as GeoJSON.

    Give a project or slide files; QuPath reads the results as annotations.
    """

    def work(progress: Progress) -> PredictReport:
        from qpbridge.inference.objects import DEFAULT_MIN_AREA_UM2
        from qpbridge.workflows import predict as workflow

        request = workflow.PredictRequest(
            inputs=tuple(inputs),
            model=model,
            out=out or results_folder(inputs, model),
            entries=options.names(entries),
            mpp=mpp,
            device=device,
            path_map=tuple(path_map or ()),
            gzip=gzip,
            min_area_um2=DEFAULT_MIN_AREA_UM2 if min_area_um2 is None else min_area_um2,
            smooth_um=smooth_um,
            use_tissue_mask=not no_tissue_mask,
            margin_px=overlap,
            seed=seed,
        )
        return workflow.predict(request, progress)

    def rate(report: PredictReport) -> ExitCode:
        return rate_batch(report.failures, report.results)

    carry_out(work, as_json=as_json, debug=debug, show=show_prediction, rate=rate)


def evaluate(
    project: options.ProjectPath,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="BUNDLE", help="Predict with this model, then compare.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="DIR", help="Compare what predict wrote there.")
    ] = None,
    entries: options.Entries = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the scores as JSON, too.")] = None,
    mpp: options.PixelSize = None,
    device: options.Device = "auto",
    path_map: options.PathMap = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Compare predictions with annotations.

    Only annotated pixels count. Give either --model or --predictions.
    """

    def work(progress: Progress) -> EvaluationReport:
        from qpbridge.workflows import evaluate as workflow

        request = workflow.EvaluateRequest(
            project=project,
            model=model,
            predictions=predictions,
            entries=options.names(entries),
            mpp=mpp,
            device=device,
            path_map=tuple(path_map or ()),
            out=out,
        )
        return workflow.evaluate(request, progress)

    def rate(report: EvaluationReport) -> ExitCode:
        return rate_batch(report.failures, report.entries)

    carry_out(work, as_json=as_json, debug=debug, show=show_evaluation, rate=rate)


def results_folder(inputs: Sequence[Path], model: Path) -> Path:
    """Return where predictions go unless told: beside the project or the first slide, one folder a model."""
    first = inputs[0]
    return (first if first.is_dir() else first.parent) / RESULTS_FOLDER / model.resolve().name


def show_training(report: TrainReport) -> None:
    """Print what training gave for a reader."""
    console = output_console()
    facts = {
        "model": report.bundle,
        "trained on": ", ".join(report.training_entries),
        "judged by": ", ".join(report.validation_entries),
        "patches": f"{report.training_patches} to learn from, {report.validation_patches} held back",
        "best epoch": f"{report.best_epoch} of {report.epochs}",
        "mean IoU": report.mean_iou,
        "seconds": report.duration_s,
    }
    console.print(fields_table(facts))
    scores = [{"class": name, "IoU held back": iou} for name, iou in report.class_iou.items()]
    for title, rows in (("Classes", scores), ("Failures", _failure_rows(report.failures))):
        if rows:
            console.print(records_table(title, rows))


def show_prediction(report: PredictReport) -> None:
    """Print what was predicted for a reader."""
    console = output_console()
    console.print(fields_table({"results in": report.out}))
    slides = [
        {"slide": one.name, "file": one.file.name, "regions": one.objects, "µm/px": one.mpp_x, "from": one.mpp_source}
        | {"seconds": one.duration_s}
        for one in report.results
    ]
    areas = [
        {"slide": one.name, "class": part.name, "regions": part.count, "mm²": part.area_mm2}
        | {"% of tissue": None if part.share_of_tissue is None else 100 * part.share_of_tissue}
        for one in report.results
        for part in one.classes
    ]
    for title, rows in (("Slides", slides), ("Areas", areas), ("Failures", _failure_rows(report.failures))):
        if rows:
            console.print(records_table(title, rows))


def show_evaluation(report: EvaluationReport) -> None:
    """Print scores for a reader."""
    console = output_console()
    console.print(report.to_table(), markup=False)
    entries = [
        {"slide": one.name, "mean IoU": one.matrix.mean_iou, "labelled mm²": one.labelled_mm2}
        | {"trained on": one.was_trained_on}
        for one in report.entries
    ]
    for title, rows in (("Slides", entries), ("Failures", _failure_rows(report.failures))):
        if rows:
            console.print(records_table(title, rows))
    if report.unlabelled:
        console.print(f"without annotations: {', '.join(report.unlabelled)}", markup=False)


def _failure_rows(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    return [{"failed": one.entry, "reason": one.reason, "message": one.message} for one in failures]
