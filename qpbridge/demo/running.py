"""The demonstration from end to end."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qpbridge.core.progress import Progress
from qpbridge.demo.judging import CLASS_NAMES, compare_with_truth
from qpbridge.demo.making import ANNOTATED_SHARE, DemoFolder, make_case, relative
from qpbridge.demo.report import Results, demo_page
from qpbridge.files import write_bytes
from qpbridge.inference.objects import DEFAULT_MIN_AREA_UM2
from qpbridge.models.bundle import CURVES
from qpbridge.qupath.geojson import read_objects
from qpbridge.vector.labels import label_shapes
from qpbridge.workflows.predict import PredictRequest, predict
from qpbridge.workflows.train import TrainRequest, train

FAMILY = "dmmn"
PRESET = "small"
SETTINGS: Final = {
    "epochs": "8",
    "samples_per_epoch": "288",
    "context_swap_p": "0",
    "stain_jitter": "0.1",
    "color_p": "0",
}
"""Less training and fewer colors than the preset's, and full trust in context: the slide has one stain, and a class
that only context tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """Where to make the demonstration.

    Parameters
    ----------
    folder : Path
        Receives all files.
    device : str
        As for ``train``.
    seed : int
        Of slide, annotations and training.
    settings : mapping of str to str
        Single settings of the training; those of the demonstration where None.
    """

    folder: Path
    device: str = "auto"
    seed: int = 0
    settings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demonstration gave.

    Parameters
    ----------
    report : Path
        The page to look at.
    project, model, results : Path
        What it made.
    mean_iou : float
        Against the truth, where nothing was annotated.
    class_iou : mapping of str to float or None
        By class; None where a class neither occurs nor is predicted.
    regions : int
        Predicted regions.
    duration_s : float
        Wall time, s.
    """

    report: Path
    project: Path
    model: Path
    results: Path
    mean_iou: float
    class_iou: Mapping[str, float | None]
    regions: int
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "report": str(self.report),
            "project": str(self.project),
            "model": str(self.model),
            "results": str(self.results),
            "mean_iou": self.mean_iou,
            "class_iou": dict(self.class_iou),
            "regions": self.regions,
            "duration_s": self.duration_s,
        }


def run_demo(request: DemoRequest, progress: Progress) -> DemoReport:
    """Make a slide and a project, train on its partial annotations, predict, compare with the truth, report.

    Raises
    ------
    InvalidValueError
        If the folder holds something else.
    DiskFullError
        If there is no space left.
    CancelledError
        If somebody asked to stop.
    """
    start_s = time.monotonic()
    folder = DemoFolder(request.folder)
    case = make_case(folder, request.seed, progress)
    trained = train(
        TrainRequest(
            project=folder.project,
            out=folder.model,
            family=FAMILY,
            preset=PRESET,
            settings=SETTINGS if request.settings is None else request.settings,
            device=request.device,
            seed=request.seed,
        ),
        progress,
    )
    predicted = predict(
        PredictRequest(
            inputs=(folder.project,),
            model=folder.model,
            out=folder.results,
            device=request.device,
            min_area_um2=DEFAULT_MIN_AREA_UM2,
            seed=request.seed,
        ),
        progress,
    )
    regions = read_objects(predicted.results[0].file).objects
    shapes = label_shapes(regions, CLASS_NAMES).shapes
    matrix = compare_with_truth(case, shapes, progress)
    duration_s = round(time.monotonic() - start_s, 1)
    page = demo_page(
        Results(
            slide=folder.slide,
            case=case,
            predicted=shapes,
            matrix=matrix,
            curves=folder.model / CURVES,
            facts={
                "annotated share of the slide": f"{ANNOTATED_SHARE:.0%}",
                "training patches": str(trained.training_patches),
                "training": f"{trained.duration_s:.0f} s on {trained.device}",
                "predicted regions": str(len(regions)),
                "mean IoU against the truth": f"{matrix.mean_iou:.3f}",
                "all of this took": f"{duration_s:.0f} s",
            },
            commands=_commands(folder),
        )
    )
    write_bytes(folder.report, page)
    return DemoReport(
        report=folder.report,
        project=folder.project,
        model=folder.model,
        results=folder.results,
        mean_iou=matrix.mean_iou,
        class_iou={
            name: None if math.isnan(iou) else float(iou)
            for name, iou in zip(matrix.class_names, matrix.iou, strict=True)
        },
        regions=len(regions),
        duration_s=duration_s,
    )


def _commands(folder: DemoFolder) -> list[str]:
    project, model, results = (relative(path) for path in (folder.project, folder.model, folder.results))
    settings = " ".join(f"--set {key}={value}" for key, value in SETTINGS.items())
    return [
        f"qpbridge inspect {project}",
        f"qpbridge train {project} --family {FAMILY} --preset {PRESET} {settings} --out {model}",
        f"qpbridge predict {project} --model {model} --out {results}",
        f"qpbridge evaluate {project} --predictions {results}",
    ]
