import time

import pytest

from qpbridge.jobs.pace import JOURNAL_INTERVAL_S, STAGES, WINDOW_S, Due, Pace
from qpbridge.jobs.records import JobProgress


class Clock:
    def __init__(self) -> None:
        self.now_s = 1e6

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def steps(pace: Pace, clock: Clock, count: int, step_s: float, total: int = 1000, first: int = 0) -> JobProgress:
    for done in range(first, first + count + 1):
        progress = pace.progress("a", done, total, {})
        clock.now_s += step_s
    return progress


def test_the_first_report_tells_no_pace(clock: Clock):
    progress = Pace(clock).progress("a", 0, 10, {"loss": 0.5})

    assert progress == JobProgress(stage="a", done=0, total=10, numbers={"loss": 0.5})


@pytest.mark.parametrize("step_s", [0.01, 0.3, 2.0, 500.0])
def test_rate_and_remaining_time_follow_from_the_reports(clock: Clock, step_s: float):
    progress = steps(Pace(clock), clock, 200, step_s)

    assert progress.rate_per_s == pytest.approx(1 / step_s)
    assert progress.eta_s == pytest.approx(800 * step_s)


def test_the_rate_follows_a_change_of_pace(clock: Clock):
    pace = Pace(clock)
    steps(pace, clock, 100, 1.0)

    progress = steps(pace, clock, 500, 0.1, first=101)

    assert clock.now_s > 1e6 + 100 + WINDOW_S
    assert progress.rate_per_s == pytest.approx(10, rel=0.02)


def test_two_reports_in_the_same_moment_divide_by_nothing(clock: Clock):
    pace = Pace(clock)
    pace.progress("a", 0, 10, {})

    assert pace.progress("a", 10, 10, {}).rate_per_s is None


def test_work_that_stands_still_has_a_rate_of_nothing_and_no_end(clock: Clock):
    pace = Pace(clock)
    for _ in range(100):
        progress = pace.progress("a", 5, 10, {})
        clock.now_s += 1

    assert (progress.rate_per_s, progress.eta_s) == (0, None)


def test_what_has_no_total_has_a_rate_but_no_end(clock: Clock):
    progress = steps(Pace(clock), clock, 10, 1.0, total=0)

    assert progress.rate_per_s == pytest.approx(1)
    assert progress.eta_s is None


def test_more_done_than_there_is_takes_no_negative_time(clock: Clock):
    assert steps(Pace(clock), clock, 10, 1.0, total=5).eta_s == 0


def test_a_stage_that_begins_again_has_a_new_pace(clock: Clock):
    pace = Pace(clock)
    steps(pace, clock, 100, 0.6)

    assert pace.progress("a", 0, 1000, {}).rate_per_s is None
    clock.now_s += 6
    assert steps(pace, clock, 10, 6.0, first=1).rate_per_s == pytest.approx(1 / 6)


def test_stages_have_their_own_pace_until_there_are_too_many(clock: Clock):
    pace = Pace(clock)
    for step in range(10):
        pace.progress("slow", step, 10, {})
        fast = pace.progress("fast", 100 * step, 1000, {})
        clock.now_s += 1
    assert fast.rate_per_s == pytest.approx(100)

    for number in range(STAGES):
        pace.progress(str(number), 0, 1, {})
    assert pace.progress("slow", 10, 10, {}).rate_per_s is None


def test_the_time_of_day_does_not_matter(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "time", lambda: float("nan"))
    pace = Pace()

    pace.progress("a", 0, 2, {})
    time.sleep(0.6)

    assert 0 < pace.progress("a", 1, 2, {}).rate_per_s <= 1 / 0.6


def test_it_is_time_for_the_journal_at_once_and_then_once_an_interval(clock: Clock):
    due = Due(clock)

    answers = []
    for _ in range(5):
        answers += [due(), due()]
        clock.now_s += JOURNAL_INTERVAL_S / 2

    assert answers == [True, False, False, False, True, False, False, False, True, False]
