"""The verbs around a network: train, predict, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qpbridge.cli import options
from qpbridge.cli.running import carry_out
from qpbridge.cli.verb import verb
from qpbridge.cli.verbs.reports import TELLING
from qpbridge.cli.working import working
from qpbridge.workflows.entries.naming import RESULTS_FOLDER, default_results
from qpbridge.workflows.requests import EvaluateRequest, PredictRequest, TrainRequest

ModelPath = Annotated[
    Path,
    typer.Option(
        "--model",
        metavar="BUNDLE",
        help="Folder that train wrote; with --server also the name of one of its models.",
        show_default=False,
    ),
]


@verb
def train(
    project: options.ProjectPath,
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Folder to write the model to.")],
    family: Annotated[str | None, typer.Option("--family", help="Kind of network; see qpbridge models list.")] = None,
    base: Annotated[
        Path | None,
        typer.Option("--from", metavar="BUNDLE", help="Model to go on from with new annotations, and its settings."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same training was interrupted.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write live curves for TensorBoard to BUNDLE.tensorboard.")
    ] = False,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Named settings; small trains on two CPU cores.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--classes", metavar="A,B", help="Classes to tell apart; default: all that are annotated."),
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option("--validation", metavar="ENTRY", help="Entries held back to judge by; repeatable."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting of network or training; repeatable."),
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    *,
    scope: options.TruthScope,
    place: options.Place,
    output: options.Output,
) -> None:
    """Train a network on a project's annotations.

    Pixels that nobody annotated are ignored. The result is a bundle: weights, specification, model card, curves.
    """

    def request() -> TrainRequest:
        return TrainRequest(
            project=project,
            out=out,
            family=family,
            base=base,
            resume=resume,
            tensorboard=tensorboard,
            preset=preset,
            classes=options.names(classes),
            validation=options.names(validation) or (),
            settings=options.settings(settings),
            device=device,
            seed=seed,
            **scope.values(),
        )

    carry_out(working(request, place), output, TELLING["train"])


@verb
def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="PROJECT|SLIDE...", help="A project, a folder of slides, or slides.", show_default=False
        ),
    ],
    model: ModelPath,
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
        typer.Option(
            "--min-area-um2",
            min=0,
            help="Smaller regions join their neighbor, smaller nuclei are left out; default: 200, nuclei 3.125.",
        ),
    ] = None,
    cell_um: Annotated[
        float, typer.Option("--cell-um", min=0, help="Nuclei become cells that reach so far out of them.")
    ] = 0.0,
    smooth_um: Annotated[
        float, typer.Option("--smooth-um", min=0, help="Smooth outlines by this much; neighbors still share borders.")
    ] = 0.0,
    no_tissue_mask: Annotated[bool, typer.Option("--no-tissue-mask", help="Predict on blank glass, too.")] = False,
    within: Annotated[
        list[str] | None,
        typer.Option("--within", metavar="A,B", help="Predict only inside saved annotations of these classes."),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", metavar="PX", min=0, help="Rim of each tile that only serves as context, model px."),
    ] = None,
    project_out: Annotated[
        Path | None,
        typer.Option(
            "--project-out",
            metavar="DIR",
            help="Make a new QuPath project of slides and results, too; replaces one that only predict has written.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the slides that an earlier run of the same left whole.")
    ] = False,
    write_back: Annotated[
        bool,
        typer.Option(
            "--write-back", help="Put the objects into the project, too; needs a QuPath, and entries nobody changed."
        ),
    ] = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    *,
    maps: options.Maps,
    scope: options.Scope,
    place: options.Place,
    output: options.Output,
) -> None:
    """Predict regions on slides, as GeoJSON.

    Give a project or slide files; QuPath reads the results as annotations, or opens them as a new project.
    """

    def request() -> PredictRequest:
        return PredictRequest(
            inputs=tuple(inputs),
            model=model,
            out=out or default_results(tuple(inputs), model),
            device=device,
            gzip=gzip,
            min_area_um2=min_area_um2,
            smooth_um=smooth_um,
            cell_um=cell_um,
            use_tissue_mask=not no_tissue_mask,
            margin_px=overlap,
            within=options.names(within) or (),
            seed=seed,
            resume=resume,
            write_back=write_back,
            project_out=project_out,
            **maps.values(),
            **scope.values(),
        )

    carry_out(working(request, place), output, TELLING["predict"])


@verb
def evaluate(
    project: options.ProjectPath,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="BUNDLE", help="Predict with this model, then compare.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="DIR", help="Compare what predict wrote there.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the scores as JSON, too.")] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", metavar="DIR", help="Draw which nuclei were found, missed, split, merged or made up, too."
        ),
    ] = None,
    device: options.Device = "auto",
    *,
    scope: options.TruthScope,
    place: options.Place,
    output: options.Output,
) -> None:
    """Compare predictions with annotations.

    Only annotated pixels count; of nuclei, each single one is compared, too. Give either --model or --predictions.
    """

    def request() -> EvaluateRequest:
        return EvaluateRequest(
            project=project,
            model=model,
            predictions=predictions,
            device=device,
            out=out,
            pictures=pictures,
            **scope.values(),
        )

    carry_out(working(request, place), output, TELLING["evaluate"])
