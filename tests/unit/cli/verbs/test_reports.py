import pytest

from qpbridge.cli.running import ExitCode
from qpbridge.cli.verbs.reports import TELLING, show_evaluation
from qpbridge.workflows.kinds import KINDS

SCORES = {"mean_iou": 0.5, "mean_recall": None, "mean_precision": 0.25, "labelled_px": 12345}
FAILURE = {"entry": "entry 2 'b.svs'", "reason": "SLIDE_NOT_FOUND", "message": "looked in /b"}


def test_every_kind_of_work_can_be_told() -> None:
    assert set(TELLING) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "report", "code"),
    [
        ("train", {"failures": []}, ExitCode.DONE),
        ("train", {"failures": [FAILURE]}, ExitCode.PARTLY_DONE),
        ("predict", {"failures": [FAILURE], "slides": [{}]}, ExitCode.PARTLY_DONE),
        ("predict", {"failures": [FAILURE], "slides": []}, ExitCode.FAILED),
        ("evaluate", {"failures": [], "entries": [{}]}, ExitCode.DONE),
        ("export", {"failures": [FAILURE], "entries": []}, ExitCode.FAILED),
        ("inspect", {"entries": [{"problems": []}, {"problems": [FAILURE]}]}, ExitCode.PARTLY_DONE),
        ("inspect", {"entries": [{"problems": [FAILURE]}]}, ExitCode.FAILED),
        ("export_model", {"bytes": 1}, ExitCode.DONE),
    ],
)
def test_a_report_means_an_exit_code(kind: str, report: dict[str, object], code: ExitCode) -> None:
    assert TELLING[kind].rate(report) is code


def test_a_score_that_is_not_defined_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    one = {"iou": 0.5, "recall": None, "precision": 0.25, "true_px": 12345}
    show_evaluation({**SCORES, "classes": {"Tumor": one}, "entries": [], "failures": [FAILURE], "unlabelled": []})

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Tumor", "0.500", "-", "0.250", "12,345"] in rows
    assert ["mean", "0.500", "-", "0.250", "12,345"] in rows
    assert any("SLIDE_NOT_FOUND" in row for row in rows)
