import pytest

from qpbridge.errors import SlideNotFoundError
from qpbridge.jobs.records import WARNINGS_MAX, JobError, JobState, ended_well, utc_now, with_warning


def test_jobs_that_wait_or_run_have_not_ended():
    assert {state for state in JobState if not state.is_terminal} == {JobState.QUEUED, JobState.RUNNING}


@pytest.mark.parametrize(
    ("error", "reason", "told"),
    [
        (SlideNotFoundError("slide 'A12' is not there"), "SLIDE_NOT_FOUND", "slide 'A12' is not there"),
        (MemoryError(), "OUT_OF_MEMORY", "free some"),
        (FileNotFoundError(2, "No such file", "a.txt"), "FILE_ACCESS", "No such file: 'a.txt'; check that path"),
        (ImportError("no torch"), "INSTALLATION", "ImportError: no torch"),
        (ValueError("x"), "INTERNAL", "a defect of qpbridge, not of your input: ValueError: x"),
        (KeyboardInterrupt(), "INTERNAL", "not of your input: KeyboardInterrupt"),
    ],
)
def test_every_error_means_something_for_a_user(error: BaseException, reason: str, told: str):
    cause = JobError.of(error)

    assert cause.reason == reason
    assert told in cause.message


@pytest.mark.parametrize("result", [{}, {"failures": []}, {"failures": ()}])
def test_a_result_without_failures_is_a_success(result: dict[str, object]):
    assert ended_well(result) is JobState.SUCCEEDED


def test_a_result_with_failures_is_partly_done():
    assert ended_well({"failures": [{"entry": "A12"}]}) is JobState.PARTLY_DONE


def test_a_warning_is_kept_once_and_not_without_end():
    warnings: tuple[str, ...] = ()
    for number in [*range(WARNINGS_MAX + 50), 3]:
        warnings = with_warning(warnings, str(number))

    assert warnings == tuple(str(number) for number in range(WARNINGS_MAX))


def test_times_are_in_utc():
    assert utc_now().utcoffset().total_seconds() == 0
