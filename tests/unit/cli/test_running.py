import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer

from qpbridge.cli.options import Output
from qpbridge.cli.running import ExitCode, Telling, carry_out, rate_batch
from qpbridge.core.progress import Progress
from qpbridge.errors import SlideNotFoundError, UnknownNameError

REPORT = {"count": 3}


def code_of(work: Callable[[Progress], Any], *, as_json: bool = False, debug: bool = False, **telling: Any) -> int:
    with pytest.raises(typer.Exit) as leaving:
        carry_out(work, Output(as_json=as_json, debug=debug), Telling(**telling))
    return leaving.value.exit_code


def failing(error: BaseException) -> Callable[[Progress], Any]:
    def work(progress: Progress) -> Any:
        raise error

    return work


def test_work_that_ends_well_leaves_with_0_and_shows_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(lambda _: REPORT) == 0
    assert capsys.readouterr().out.split() == ["count", "3"]


def test_json_stands_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    def work(progress: Progress) -> Any:
        sys.stdout.write("a library chats\n")
        progress.report("train", 1, 1)
        progress.warn("odd")
        return REPORT

    assert code_of(work, as_json=True) == 0

    out, err = capsys.readouterr()
    assert json.loads(out) == {"count": 3}
    assert err.splitlines() == ["a library chats", "train 1/1 (100 %)", "warning: odd"]


def test_the_report_can_mean_partly_done() -> None:
    assert code_of(lambda _: REPORT, rate=lambda _: ExitCode.PARTLY_DONE) == 3


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (UnknownNameError("family", "unet", ["dmmn"]), 2, "UNKNOWN_NAME"),
        (SlideNotFoundError("looked in /a"), 1, "SLIDE_NOT_FOUND"),
        (KeyboardInterrupt(), 1, "CANCELLED"),
        (MemoryError(), 1, "OUT_OF_MEMORY"),
        (ImportError("libGL.so.1 is missing"), 1, "INSTALLATION"),
        (PermissionError(13, "Permission denied", "/root/x"), 1, "FILE_ACCESS"),
        (KeyError("no such {key}"), 1, "INTERNAL"),
    ],
)
def test_errors_are_told_without_a_trace(
    error: BaseException, code: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(failing(error)) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith(f"[{reason}]\n")
    assert "Traceback" not in err


def test_an_error_is_a_json_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(failing(SlideNotFoundError("looked in /a")), as_json=True) == 1

    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"reason": "SLIDE_NOT_FOUND", "message": "looked in /a"}}
    assert err == "error: looked in /a [SLIDE_NOT_FOUND]\n"


def test_an_unexpected_error_says_that_it_is_a_defect_and_how_to_get_its_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code_of(failing(KeyError("no such {key}")))

    err = capsys.readouterr().err
    assert "a defect of qpbridge, not of your input: KeyError: 'no such {key}'" in err
    assert "--debug" in err


def test_debug_prints_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    code_of(failing(SlideNotFoundError("looked in /a")), debug=True)

    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_is_left_to_the_shell() -> None:
    with pytest.raises(BrokenPipeError):
        carry_out(failing(BrokenPipeError()), Output())


def test_an_interrupt_cancels_the_work_cleanly(capsys: pytest.CaptureFixture[str]) -> None:
    def work(progress: Progress) -> Any:
        signal.raise_signal(signal.SIGINT)
        progress.raise_if_cancelled()
        return REPORT

    assert code_of(work) == 1
    assert "error: stopped on request [CANCELLED]" in capsys.readouterr().err


@pytest.mark.parametrize(("failed", "finished", "code"), [(0, 0, 0), (0, 3, 0), (1, 2, 3), (3, 0, 1)])
def test_a_batch_is_rated_by_what_failed(failed: int, finished: int, code: int) -> None:
    assert rate_batch(["failure"] * failed, ["result"] * finished) == code
