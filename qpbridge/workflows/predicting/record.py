"""``run.json``: what a run has done so far, and what of an earlier run is still good."""

from __future__ import annotations

import datetime
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import torch

from qpbridge import __version__
from qpbridge.files import sha256, write_bytes
from qpbridge.inference.interest import Interest
from qpbridge.models.registry import family
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.entries.naming import RUN_FILE, probabilities_file
from qpbridge.workflows.entries.sources import OpenedSource
from qpbridge.workflows.predicting.areas import interest_digest
from qpbridge.workflows.predicting.history import RUNS_FOLDER
from qpbridge.workflows.predicting.predictor import Predictor
from qpbridge.workflows.predicting.results import SUMMARY_FILE, SlideResult, summary_csv
from qpbridge.workflows.requests import PredictRequest

DECISIVE: Final = (
    *("mpp", "min_area_um2", "smooth_um", "cell_um", "use_tissue_mask", "margin_px", "seed"),
    *("blend", "tta", "probabilities", "uncertainty", "suggest"),
)
"""Parameters that objects depend on. The device decides the rounding only."""


class RunRecord:
    """What a run has done so far, in a file that is always whole.

    Parameters
    ----------
    request : PredictRequest
        Names the folder.
    predictor : Predictor
        The model and where it runs.
    job_id : str
        Of the run; a copy of the file goes to the folder of that name among the runs.
    """

    def __init__(self, request: PredictRequest, predictor: Predictor, job_id: str) -> None:
        self.job_id = job_id
        self._request = request
        self._predictor = predictor
        self._started = datetime.datetime.now(datetime.UTC)
        self._encoded: list[msgspec.Raw] = []
        self._earlier = _read_earlier(request, predictor) if request.resume else {}
        self.results: list[SlideResult] = []

    @property
    def writes_back(self) -> bool:
        """Whether objects go into the project, too."""
        return self._request.write_back

    def add(self, result: SlideResult) -> None:
        """Note that the results of a slide are written."""
        self.results.append(result)
        # Once a slide: ten thousand of them would take minutes each time.
        self._encoded.append(msgspec.Raw(msgspec.json.encode(asdict(result), enc_hook=str)))
        self._earlier.pop(result.file.name, None)

    def map_file(self, file: Path) -> Path | None:
        """Return where the class probabilities of a slide go, beside its results; None where nobody asked for them."""
        return probabilities_file(file) if self._request.probabilities else None

    def still_good(self, file: Path, opened: OpenedSource, interest: Interest | None) -> SlideResult | None:
        """Return what an earlier run of the same kind wrote for a slide, where that is whole and up to date.

        Parameters
        ----------
        file : Path
            GeoJSON of the slide.
        opened : OpenedSource
            The slide.
        interest : Interest or None
            What is to be predicted of it.
        """
        earlier = self._earlier.get(file.name)
        if earlier is None or not file.is_file() or (self.writes_back and not _is_in_project(earlier)):
            return None
        map_file = None if earlier.probabilities is None else file.with_name(earlier.probabilities.name)
        if map_file is not None and not map_file.is_file():
            return None
        calibration = opened.calibration
        now = (opened.slide.fingerprint, calibration.mpp_x, calibration.mpp_y, interest_digest(interest))
        then = (earlier.fingerprint, earlier.mpp_x, earlier.mpp_y, earlier.interest_sha256)
        if now != then or sha256(file) != earlier.file_sha256:
            return None
        return replace(earlier, file=file, probabilities=map_file, slide_path=opened.slide.path)

    def write(self, status: str, failures: list[Failure]) -> None:
        """Write the file.

        Parameters
        ----------
        status : str
            ``"running"``, ``"done"``, ``"cancelled"`` or ``"failed"``.
        failures : list of Failure
            So far.
        """
        encoded = msgspec.json.encode(self._document(status, failures), enc_hook=str)
        self._write(RUN_FILE, msgspec.json.format(encoded, indent=2) + b"\n")

    def summarize(self) -> None:
        """Write ``summary.csv``."""
        self._write(SUMMARY_FILE, summary_csv(self.results))

    def _write(self, name: str, content: bytes) -> None:
        out = self._request.out
        write_bytes(out / RUNS_FOLDER / self.job_id / name, content)
        write_bytes(out / name, content)

    def _document(self, status: str, failures: list[Failure]) -> dict[str, Any]:
        spec, runtime = self._predictor.bundle.spec, self._predictor.runtime
        document = {
            "job_id": self.job_id,
            "status": status,
            "started": self._started.isoformat(timespec="seconds"),
            "duration_s": round((datetime.datetime.now(datetime.UTC) - self._started).total_seconds(), 3),
            "versions": {"qpbridge": __version__, "torch": str(torch.__version__)},
            "model": {
                "path": self._request.model.resolve(),
                "digest": self._predictor.bundle.digest,
                "family": spec.family,
                "subject": family(spec.family).subject.value,
                "variant": spec.variant,
                "classes": [item.name for item in spec.classes],
                "mpp": spec.views[0].fov.mpp,
            },
            "device": {
                "name": str(runtime.device),
                "precision": "bfloat16" if runtime.is_bf16 else "float32",
                "batch_size": runtime.batch_size,
                "threads": self._predictor.threads,
            },
            # Texts of annotations may be long; slides tell what followed from them.
            "parameters": {**asdict(self._request), "annotations": list(self._request.annotations)},
            "slides": self._encoded,
            "failures": [asdict(failure) for failure in failures],
        }
        # Not looked at yet: a run that is stopped here must still find them.
        return {**document, "earlier": list(map(asdict, self._earlier.values()))} if self._earlier else document


def _is_in_project(result: SlideResult) -> bool:
    return result.write_back is not None and result.write_back.is_written


class _Earlier(msgspec.Struct):
    """What is read of a ``run.json``."""

    versions: dict[str, str]
    model: dict[str, Any]
    parameters: dict[str, Any]
    slides: list[SlideResult]
    earlier: list[SlideResult] = []


def _read_earlier(request: PredictRequest, predictor: Predictor) -> dict[str, SlideResult]:
    """Return what an earlier run has done, by name of file; nothing where it was another kind of run."""
    path = request.out / RUN_FILE
    try:
        run = msgspec.json.decode(path.read_bytes(), type=_Earlier, dec_hook=lambda kind, text: kind(text))
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        predictor.progress.warn(f"{path} of an earlier run cannot be read ({error}): all slides are predicted again")
        return {}
    then = [run.versions.get("qpbridge"), run.model.get("digest"), *(run.parameters.get(name) for name in DECISIVE)]
    now = [__version__, predictor.bundle.digest, *(getattr(request, name) for name in DECISIVE)]
    if then != now:
        predictor.progress.warn(
            f"{path} is of a run with another model, version or parameters: all slides are predicted again"
        )
        return {}
    return {slide.file.name: slide for slide in (*run.earlier, *run.slides)}
