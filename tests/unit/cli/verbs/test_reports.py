import pytest

from qpbridge.cli.running import ExitCode
from qpbridge.cli.verbs.reports import TELLING, show_evaluation, show_prediction
from qpbridge.workflows.kinds import KINDS

SCORES = {"mean_iou": 0.5, "mean_recall": None, "mean_precision": 0.25, "labelled_px": 12345, "nuclei": None}
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


def test_single_nuclei_are_told_slide_by_slide_and_together(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"annotated": 40, "predicted": 38, "matched": 30, "merged": 4, "split": 1, "found": 30, "missed": 5}
    scores = {"aji": 0.625, "dice": 0.8, "pq": None, "sq": 0.7, "dq": 0.75, "f1": 0.75, "counts": counts}
    slide = {"name": "a.png", "mean_iou": 0.5, "labelled_mm2": 1.0, "was_trained_on": False, "nuclei": scores}
    nuclei = {"nuclei": scores, "nuclei_mean": {**scores, "counts": None}}

    show_evaluation({**SCORES, **nuclei, "classes": {}, "entries": [slide], "failures": [], "unlabelled": []})

    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a.png", "0.625", "0.8", "-", "0.7", "0.75", "0.75"] in told
    assert ["mean", "of", "slides", "0.625", "0.8", "-", "0.7", "0.75", "0.75"] in told
    assert ["all", "nuclei", "40", "38", "30", "4", "1", "30", "5"] in told


def test_a_run_of_which_nothing_came_is_not_to_be_undone(capsys: pytest.CaptureFixture[str]) -> None:
    lost = [{**FAILURE, "message": f"{name} is lost\nlooked in\n  /{name}"} for name in "ab"]

    show_prediction({"out": "/out", "job_id": "7", "slides": [], "failures": lost})

    out = capsys.readouterr().out
    assert "undo" not in out
    assert "/a" in out
    assert "b is lost" in out
    assert "/b" not in out
