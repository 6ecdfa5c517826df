from pathlib import Path

import pytest

from qpbridge.core.progress import SilentProgress
from qpbridge.errors import BundleNotFoundError, CancelledError
from qpbridge.models.bundle import Bundle
from qpbridge.workflows import export_model as workflow
from qpbridge.workflows.export_model import ExportModelRequest, export_model


@pytest.fixture
def exported(color_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The bundle of colors, and an exporter that writes its digest."""
    monkeypatch.setattr(workflow, "load_bundle", lambda _: color_bundle)
    monkeypatch.setattr(workflow, "export_onnx", lambda bundle, path: path.write_text(bundle.digest))
    return color_bundle


def test_a_model_is_written_and_told(exported: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"

    report = export_model(ExportModelRequest(model=tmp_path / "model", out=out), SilentProgress())

    assert out.read_text() == exported.digest
    assert report.to_dict() == {
        "bundle": str(tmp_path / "model"),
        "digest": exported.digest,
        "onnx": str(out),
        "bytes": 64,
    }


def test_a_cancel_leaves_nothing(exported: Bundle, tmp_path: Path) -> None:
    class Cancelled(SilentProgress):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        export_model(ExportModelRequest(model=tmp_path / "model", out=tmp_path / "model.onnx"), Cancelled())

    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError):
        export_model(ExportModelRequest(model=tmp_path / "model", out=tmp_path / "model.onnx"), SilentProgress())
