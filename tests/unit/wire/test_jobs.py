import datetime
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.errors import CancelledError, InvalidValueError, ServerFaultError, SlideNotFoundError
from qpbridge.jobs.records import Chunk, Job, JobError, JobPage, JobProgress, JobState
from qpbridge.v1 import job_pb2
from qpbridge.wire.jobs import chunk_message, ended_well, event_message, event_of, job_message, job_of, page_message
from qpbridge.wire.requests import MESSAGES

TIMES = st.datetimes(
    min_value=datetime.datetime(1971, 1, 1),
    max_value=datetime.datetime(2999, 1, 1),
    timezones=st.just(datetime.UTC),
)
TEXTS = st.text(st.characters(codec="utf-8"))
NUMBERS = st.floats(allow_nan=False)
COUNTS = st.integers(0, 2**63 - 1)
PROGRESS = st.builds(
    JobProgress,
    stage=TEXTS,
    done=COUNTS,
    total=COUNTS,
    rate_per_s=st.none() | NUMBERS,
    eta_s=st.none() | NUMBERS,
    numbers=st.dictionaries(TEXTS, NUMBERS),
)
JOBS = st.builds(
    Job,
    id=TEXTS,
    kind=st.sampled_from(sorted(MESSAGES)),
    title=TEXTS,
    client=TEXTS,
    device=TEXTS,
    state=st.sampled_from(JobState),
    created=TIMES,
    started=st.none() | TIMES,
    finished=st.none() | TIMES,
    request=st.just({}),
    progress=st.none() | PROGRESS,
    warnings=st.lists(TEXTS).map(tuple),
    result=st.none(),
    error=st.none() | st.builds(JobError, reason=TEXTS, message=TEXTS),
)
JOB = Job(
    id="7",
    kind="export_model",
    title="skin",
    client="ann",
    device="cpu",
    state=JobState.SUCCEEDED,
    created=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    request={"model": "/secret"},
    result={"bundle": "/m", "digest": "ab", "onnx": "/m.onnx", "bytes": 2**40},
)


def sent(message: job_pb2.Job) -> job_pb2.Job:
    return job_pb2.Job.FromString(message.SerializeToString())


@given(JOBS)
def test_a_job_comes_out_of_its_message_as_it_went_in(job: Job) -> None:
    assert job_of(sent(job_message(job))) == job


def test_a_result_travels_and_the_request_does_not() -> None:
    message = sent(job_message(JOB))

    assert message.WhichOneof("result") == "export_model"
    assert job_of(message) == replace(JOB, request={})
    assert b"secret" not in message.SerializeToString()


def test_every_kind_of_work_is_a_kind_of_job_with_a_result() -> None:
    kinds = {name.removeprefix("JOB_KIND_").lower() for name in job_pb2.JobKind.DESCRIPTOR.values_by_name} - {
        "unspecified"
    }

    assert kinds == set(MESSAGES)
    assert kinds == {field.name for field in job_pb2.Job.DESCRIPTOR.oneofs_by_name["result"].fields}


def test_states_are_those_of_jobs() -> None:
    states = {name.removeprefix("JOB_STATE_").lower() for name in job_pb2.JobState.DESCRIPTOR.values_by_name} - {
        "unspecified"
    }

    assert states == set(JobState)


def test_a_kind_without_a_message_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"JobKind is one of train, .* not 'dance'"):
        job_message(replace(JOB, kind="dance"))


def test_a_state_of_a_later_version_is_refused() -> None:
    message = job_message(JOB)
    message.state = 99  # type: ignore[assignment]

    with pytest.raises(InvalidValueError, match="no value 99"):
        job_of(message)


def test_a_page_keeps_its_jobs_and_token() -> None:
    page = page_message(JobPage(jobs=[JOB, replace(JOB, id="6")], next_page_token="more"))

    assert [job.id for job in page.jobs] == ["7", "6"]
    assert page.next_page_token == "more"


@pytest.mark.parametrize("event", [replace(JOB, request={}), Chunk(payload=b'{"a":1}\n', count=1)])
def test_what_a_watcher_is_told_comes_out_as_it_went_in(event: Job | Chunk) -> None:
    message = job_pb2.WatchJobResponse.FromString(event_message(event).SerializeToString())

    assert event_of(message) == event


def test_objects_of_a_region_are_counted() -> None:
    message = chunk_message(Chunk(payload=b"{}\n{}\n", count=2))

    assert (message.features, message.count) == (b"{}\n{}\n", 2)


def job_in(state: JobState, **changes: Any) -> Job:
    created = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return Job(id="7", kind="train", title="", client="", device="", state=state, created=created, **changes)


def test_a_job_that_failed_raises_what_it_failed_of() -> None:
    with pytest.raises(SlideNotFoundError, match="looked in /a"):
        ended_well(job_in(JobState.FAILED, error=JobError(reason="SLIDE_NOT_FOUND", message="looked in /a")))


def test_a_failure_that_only_servers_know_keeps_its_reason() -> None:
    with pytest.raises(ServerFaultError, match="signal 9") as failed:
        ended_well(job_in(JobState.FAILED, error=JobError(reason="WORKER_DIED", message="killed by signal 9")))

    assert failed.value.reason == "WORKER_DIED"


def test_a_job_that_was_cancelled_says_so() -> None:
    with pytest.raises(CancelledError, match="job 7"):
        ended_well(job_in(JobState.CANCELLED))


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.PARTLY_DONE])
def test_a_job_with_a_result_is_returned(state: JobState) -> None:
    ended = job_in(state, result={"a": 1})

    assert ended_well(ended) is ended
