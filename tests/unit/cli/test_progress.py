import io
import signal
from collections.abc import Callable

import pytest

from qpbridge.cli.cancelling import Cancellation
from qpbridge.cli.progress import LINE_INTERVAL_S, VISIBLE_BARS, BarProgress, LineProgress, watched
from qpbridge.errors import CancelledError


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(stream: io.StringIO, clock: Clock) -> Callable[[], list[str]]:
    return lambda: stream.getvalue().splitlines()


@pytest.fixture
def progress(stream: io.StringIO, clock: Clock) -> LineProgress:
    return LineProgress(Cancellation(), stream, clock)


def test_lines_are_no_closer_than_their_interval(
    progress: LineProgress, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    for done in range(100):
        progress.report("train", done, 1000)
        clock.now_s += LINE_INTERVAL_S / 10

    assert len(lines()) == 10


def test_a_line_tells_count_rate_remaining_time_and_numbers(
    progress: LineProgress, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    progress.report("train", 0, 600)
    clock.now_s += 10
    progress.report("train", 60, 600, loss=0.12345, mean_iou=0.9, **{"iou Tumor": 0.8})

    assert lines() == ["train 0/600 (0 %)", "train 60/600 (10 %), 6/s, 1:30 left, loss 0.1235, mean iou 0.9"]


def test_slow_steps_are_told_in_seconds_and_long_times_in_hours(
    progress: LineProgress, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    progress.report("train", 0, 1000)
    clock.now_s += 8
    progress.report("train", 2, 1000)

    assert lines()[-1] == "train 2/1000 (0 %), 4 s each, 1:06:32 left"


def test_the_end_of_a_stage_is_told_once_in_any_case(progress: LineProgress, lines: Callable[[], list[str]]) -> None:
    progress.report("read", 1, 2)
    progress.report("read", 2, 2)
    progress.report("read", 2, 2)

    assert lines() == ["read 1/2 (50 %)", "read 2/2 (100 %)"]


def test_an_unknown_total_is_not_told(progress: LineProgress, lines: Callable[[], list[str]]) -> None:
    progress.report("scan", 7, 0)

    assert lines() == ["scan 7"]


def test_warnings_are_told_at_once(progress: LineProgress, lines: Callable[[], list[str]]) -> None:
    progress.report("train", 1, 9)
    progress.warn("no tissue on 'a'")

    assert lines()[-1] == "warning: no tissue on 'a'"


def test_warnings_are_told_once_and_long_ones_that_follow_in_short(
    progress: LineProgress, lines: Callable[[], list[str]]
) -> None:
    for message in (
        "a is lost\nlooked at\n  /a",
        "b is lost\nlooked at\n  /b",
        "short",
        "short",
        "b is lost\nlooked at\n  /b",
    ):
        progress.warn(message)

    assert lines() == ["warning: a is lost", "looked at", "  /a", "warning: b is lost", "warning: short"]


def test_progress_tells_the_work_that_somebody_asked_to_stop(stream: io.StringIO) -> None:
    with Cancellation() as cancellation, LineProgress(cancellation, stream) as progress:
        progress.raise_if_cancelled()
        signal.raise_signal(signal.SIGINT)

        with pytest.raises(CancelledError):
            progress.raise_if_cancelled()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_show_the_latest_stages_and_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")

    progress = watched(Cancellation())
    assert isinstance(progress, BarProgress)
    with progress:
        for index in range(VISIBLE_BARS + 2):
            progress.report(f"predict [slide_{index}]", 1, 4, objects=index)
        progress.warn("odd [thing]")

    shown = terminal.getvalue()
    assert "warning: odd [thing]" in shown
    last_frame = shown[shown.rindex("predict [slide_2]") :]
    assert "predict [slide_7]" in last_frame
    assert "1/4" in last_frame
    assert "objects 7" in last_frame


def test_lines_are_used_where_standard_error_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    monkeypatch.setattr("sys.stderr", stream)

    assert isinstance(watched(Cancellation()), LineProgress)
