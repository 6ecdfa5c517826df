"""A model as an ONNX file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qpbridge.core.progress import Progress
from qpbridge.models.bundle import load_bundle
from qpbridge.models.onnx_export import export_onnx
from qpbridge.workflows.requests import ExportModelRequest

__all__ = ["ExportModelReport", "ExportModelRequest", "export_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportModelReport:
    """What was written.

    Parameters
    ----------
    bundle : Path
        Folder of the model.
    digest : str
        Of its weights.
    onnx : Path
        The file.
    bytes : int
        Its size.
    """

    bundle: Path
    digest: str
    onnx: Path
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "bundle": str(self.bundle), "onnx": str(self.onnx)}


def export_model(request: ExportModelRequest, progress: Progress) -> ExportModelReport:
    """Write a model as an ONNX file; one that was there is replaced when all is done.

    Raises
    ------
    BundleNotFoundError, DamagedBundleError
        If there is no such model.
    PackageMissingError
        If torch's exporter lacks its packages.
    DiskFullError
        If there is no space left.
    CancelledError
        If somebody asked to stop.
    """
    progress.report("export model", 0, 2)
    # Not one that stays loaded: it may lie on a GPU.
    bundle = load_bundle(request.model)
    progress.report("export model", 1, 2)
    progress.raise_if_cancelled()
    export_onnx(bundle, request.out)
    progress.report("export model", 2, 2)
    return ExportModelReport(
        bundle=request.model, digest=bundle.digest, onnx=request.out, bytes=request.out.stat().st_size
    )
