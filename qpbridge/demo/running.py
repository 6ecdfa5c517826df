"""The demonstration from end to end, through a server."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qpbridge.client import Client, started_server
from qpbridge.core.objects import PathClass
from qpbridge.core.progress import Progress
from qpbridge.demo.making import DemoFolder, make_case, relative
from qpbridge.demo.report import Page
from qpbridge.demo.subject import Gained, MadeSlide, OwnProject, Subject, Verdict
from qpbridge.errors import InvalidValueError
from qpbridge.files import write_bytes
from qpbridge.models.bundle import CURVES
from qpbridge.wire.errors import error_of_reason
from qpbridge.workflows.requests import PredictRequest, TrainRequest

FAMILY = "dmmn"
PRESET = "small"
SETTINGS: Final = {
    "mpp": "2",
    "patch_px": "64",
    "epochs": "24",
    "batch_size": "8",
    "paste_p": "0",
    "density_jitter": "0.1",
}
"""The preset's fields of view in a quarter of its pixels, so that there is time for the steps it takes to learn a class
that only context tells; fewer colors, since the slide has one stain; and no pasting, which would part nests from what
lies around them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """What to demonstrate, and where.

    Parameters
    ----------
    folder : Path
        Receives all files.
    device : str
        As for ``train``.
    seed : int
        Of slide, annotations and training.
    settings : mapping of str to str
        Single settings of the training; those of the demonstration where None, and the preset's for a project.
    project : Path or None
        Somebody's own project; a slide is made where None.
    """

    folder: Path
    device: str = "auto"
    seed: int = 0
    settings: Mapping[str, str] | None = None
    project: Path | None = None

    @property
    def used_settings(self) -> Mapping[str, str]:
        """Settings that the training gets."""
        if self.settings is not None:
            return self.settings
        return SETTINGS if self.project is None else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demonstration gave.

    Parameters
    ----------
    report : Path
        The page to look at.
    project, model, results, predicted : Path
        What it made, or was given; ``predicted`` is a QuPath project that shows the results.
    judged_by : str
        What the scores compare with.
    mean_iou : float or None
        Over the classes.
    class_iou : mapping of str to float or None
        By class; None where there is nothing to compare.
    regions : int
        Predicted regions.
    failures : sequence of mapping
        Entries that could not be used.
    duration_s : float
        Wall time, s.
    """

    report: Path
    project: Path
    model: Path
    results: Path
    predicted: Path
    judged_by: str
    mean_iou: float | None
    class_iou: Mapping[str, float | None]
    regions: int
    failures: Sequence[Mapping[str, str]] = ()
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "report": str(self.report),
            "project": str(self.project),
            "model": str(self.model),
            "results": str(self.results),
            "predicted": str(self.predicted),
            "judged_by": self.judged_by,
            "mean_iou": self.mean_iou,
            "class_iou": dict(self.class_iou),
            "regions": self.regions,
            "failures": list(self.failures),
            "duration_s": self.duration_s,
        }


def run_demo(request: DemoRequest, progress: Progress, client: Client | None = None) -> DemoReport:
    """Train on partial annotations, predict, judge, report; a server does the work.

    Parameters
    ----------
    request : DemoRequest
        What, and where.
    progress : Progress
        Told of every stage.
    client : Client or None
        Of a server on this machine; one is started for it where None.

    Raises
    ------
    InvalidValueError
        If the folder holds something else, or the server is elsewhere.
    ServerNotRunningError
        If no server starts.
    DiskFullError
        If there is no space left.
    CancelledError
        If somebody asked to stop.
    QpbridgeError
        As training and prediction do; a prediction of nothing is the failure of its first slide.
    """
    start_s = time.monotonic()
    folder = DemoFolder(request.folder)
    subject = _subject(request, folder, progress)
    with _server(request, folder, subject, client, progress) as server:
        gained = _gained(server, request, folder, subject, progress)
    outcome = subject.outcome(gained, progress)
    verdict = outcome.verdict
    regions = sum(one["objects"] for one in gained.predicted["slides"])
    duration_s = round(time.monotonic() - start_s, 1)
    page = Page(
        slides=outcome.slides,
        classes=outcome.classes,
        scores=verdict.table,
        judged_by=verdict.judged_by,
        curves=folder.model / CURVES,
        facts=subject.facts | _facts(gained.trained, verdict, regions, duration_s),
        commands=_commands(request, folder, subject.project),
    )
    write_bytes(folder.report, page.to_html())
    return DemoReport(
        report=folder.report,
        project=subject.project,
        model=folder.model,
        results=folder.results,
        predicted=folder.predicted,
        judged_by=verdict.judged_by,
        mean_iou=verdict.mean_iou,
        class_iou=verdict.class_iou,
        regions=regions,
        failures=(*gained.trained["failures"], *gained.predicted["failures"]),
        duration_s=duration_s,
    )


def _subject(request: DemoRequest, folder: DemoFolder, progress: Progress) -> Subject:
    if request.project is None:
        return MadeSlide(folder, make_case(folder, request.seed, progress))
    if request.project.resolve().is_relative_to(request.folder.resolve()):
        raise InvalidValueError(
            f"{request.project} lies in {request.folder}, which a demo replaces; name another folder for the demo"
        )
    subject = OwnProject.at(request.project)
    folder.clear()
    return subject


@contextlib.contextmanager
def _server(
    request: DemoRequest, folder: DemoFolder, subject: Subject, client: Client | None, progress: Progress
) -> Iterator[Client]:
    if client is not None:
        if not client.access.is_local:
            raise InvalidValueError(
                f"the server at {client.access.address} has other files than this machine: run the demo there, or"
                " without --server"
            )
        yield client
        return
    state = folder.root.absolute() / "server"
    shutil.rmtree(state, ignore_errors=True)
    roots = [root.absolute() for root in (folder.root, *subject.roots)]
    progress.report("start a server", 0, 1)
    with started_server(state, roots, device=request.device, progress=progress) as started:
        progress.report("start a server", 1, 1)
        yield started
    shutil.rmtree(state, ignore_errors=True)


def _gained(client: Client, request: DemoRequest, folder: DemoFolder, subject: Subject, progress: Progress) -> Gained:
    project, model, results = (path.absolute() for path in (subject.project, folder.model, folder.results))
    training = TrainRequest(
        project=project,
        out=model,
        family=FAMILY,
        preset=PRESET,
        settings=request.used_settings,
        device=request.device,
        seed=request.seed,
    )
    prediction = PredictRequest(
        inputs=(project,),
        model=model,
        out=results,
        project_out=folder.predicted.absolute(),
        device=request.device,
        seed=request.seed,
    )
    trained = client.run(training, progress)
    predicted = client.run(prediction, progress)
    if not predicted["slides"]:
        first = predicted["failures"][0]
        raise error_of_reason(first["reason"], first["message"])
    classes = [PathClass(one["name"], tuple(one["color_rgb"])) for one in client.model(str(model))["classes"]]
    return Gained(trained=trained, predicted=predicted, classes=classes)


def _facts(trained: Mapping[str, Any], verdict: Verdict, regions: int, duration_s: float) -> dict[str, str]:
    mean_iou = "-" if verdict.mean_iou is None else f"{verdict.mean_iou:.3f}"
    return {
        "training patches": str(trained["training_patches"]),
        "training": f"{trained['duration_s']:.0f} s on {trained['device']}",
        "predicted regions": str(regions),
        f"mean IoU against {verdict.judged_by}": mean_iou,
        "all of this took": f"{duration_s:.0f} s",
    }


def _commands(request: DemoRequest, folder: DemoFolder, project: Path) -> list[str]:
    """Return how to do the same by hand, from the working folder."""
    named = {"project": project, "model": folder.model, "results": folder.results, "predicted": folder.predicted}
    paths = {name: relative(path) for name, path in named.items()}
    settings = [word for key, value in request.used_settings.items() for word in ("--set", f"{key}={value}")]
    device = [] if request.device == "auto" else ["--device", request.device]
    draw = ["--seed", str(request.seed), *device]
    training = ["--family", FAMILY, "--preset", PRESET, *settings, *draw, "--out", paths["model"]]
    prediction = ["--model", paths["model"], *draw, "--out", paths["results"], "--project-out", paths["predicted"]]
    verbs = [
        ["inspect", paths["project"]],
        ["train", paths["project"], *training],
        ["predict", paths["project"], *prediction],
        ["evaluate", paths["project"], "--predictions", paths["results"]],
    ]
    return [shlex.join(["qpbridge", *verb]) for verb in verbs]
