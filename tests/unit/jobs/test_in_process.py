import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, SlideNotFoundError
from qpbridge.jobs import in_process
from qpbridge.jobs.in_process import Recording, journaled
from qpbridge.jobs.records import Job, JobState
from qpbridge.jobs.store.journal import Journal

KILLED = """
import os, signal, sys
from pathlib import Path
from qpbridge.core.progress import SilentProgress
from qpbridge.files import atomic_file
from qpbridge.jobs.in_process import journaled

folder = Path(sys.argv[1])
with journaled(folder / "state", "train", {}, SilentProgress()), atomic_file(folder / "out" / "a") as file:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def jobs(state: Path) -> list[Job]:
    journal = Journal(state / "jobs.sqlite3")
    found = [journal.get(one.id) for one in journal.page(0, "", (), ()).jobs]
    journal.close()
    return found


def run(state: Path, work: Callable[[Recording], None], progress: SilentProgress | None = None) -> None:
    facts = {"title": "two slides", "device": "cpu"}
    with journaled(state, "predict", {"a": 1}, progress or SilentProgress(), **facts) as recording:
        work(recording)


def test_a_run_is_noted_with_its_result(state: Path):
    run(state, lambda recording: recording.finish({"digest": "x"}))

    [job] = jobs(state)
    assert (job.kind, job.title, job.device, job.request) == ("predict", "two slides", "cpu", {"a": 1})
    assert (job.state, job.result, job.error) == (JobState.SUCCEEDED, {"digest": "x"}, None)
    assert job.created <= job.started <= job.finished


def test_a_result_with_failures_is_partly_done_and_none_is_a_success(state: Path):
    run(state, lambda recording: recording.finish({"failures": [1]}))
    run(state, lambda _: None)

    assert [job.state for job in jobs(state)] == [JobState.SUCCEEDED, JobState.PARTLY_DONE]


def raising(error: BaseException) -> Callable[[Recording], None]:
    def work(recording: Recording) -> None:
        recording.finish({"a": 1})
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "state_", "reason"),
    [
        (SlideNotFoundError("gone"), JobState.FAILED, "SLIDE_NOT_FOUND"),
        (ValueError("x"), JobState.FAILED, "INTERNAL"),
        (CancelledError("stopped"), JobState.CANCELLED, None),
        (KeyboardInterrupt(), JobState.CANCELLED, None),
    ],
)
def test_an_error_is_noted_and_goes_on(state: Path, error: BaseException, state_: JobState, reason: str | None):
    with pytest.raises(type(error)):
        run(state, raising(error))

    [job] = jobs(state)
    assert job.state is state_
    assert (job.error and job.error.reason) == reason


def test_a_run_can_be_followed_while_it_goes_on(state: Path):
    progress = SilentProgress()

    def work(recording: Recording) -> None:
        recording.report("a", 1, 2, loss=0.5)
        recording.report("a", 2, 2)
        recording.warn("careful")
        recording.raise_if_cancelled()
        [job] = jobs(state)
        assert job.state is JobState.RUNNING
        assert job.progress.numbers == {"loss": 0.5}

    run(state, work, progress)
    [job] = jobs(state)
    assert (job.progress.done, job.warnings) == (2, ("careful",))
    assert progress.warnings == ["careful"]


def test_who_asks_to_stop_is_heard(state: Path):
    class Stopped(SilentProgress):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("stopped on request")

    with pytest.raises(CancelledError):
        run(state, lambda recording: recording.raise_if_cancelled(), Stopped())


def test_a_run_that_was_killed_has_failed_for_the_next_one(state: Path, tmp_path: Path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert jobs(state)[0].state is JobState.RUNNING
    assert len(list((tmp_path / "out").iterdir())) == 1

    run(state, lambda _: None)

    assert [(job.state, job.error and job.error.reason) for job in jobs(state)] == [
        (JobState.SUCCEEDED, None),
        (JobState.FAILED, "WORKER_DIED"),
    ]
    assert list((tmp_path / "out").iterdir()) == []


def test_runs_side_by_side_leave_one_another_alone(state: Path):
    def outer(recording: Recording) -> None:
        run(state, lambda _: None)
        assert [job.state for job in jobs(state)] == [JobState.SUCCEEDED, JobState.RUNNING]

    run(state, outer)
    assert {job.state for job in jobs(state)} == {JobState.SUCCEEDED}


def test_a_journal_that_cannot_be_used_does_not_stop_the_work(state: Path):
    state.mkdir()
    (state / "jobs.sqlite3").write_bytes(b"no database at all" * 100)
    progress = SilentProgress()

    run(state, lambda recording: recording.report("a", 1, 2), progress)

    [warning] = progress.warnings
    assert warning.startswith(f"this run is not noted in the journal of {state}: ")


def test_a_journal_that_breaks_on_the_way_does_not_stop_the_work(state: Path):
    def work(recording: Recording) -> None:
        journal = Journal(state / "jobs.sqlite3")
        journal._db.execute("DROP TABLE jobs")
        journal.close()
        recording.report("a", 1, 2)
        recording.finish({"a": 1})

    run(state, work)


def test_the_user_is_the_client(state: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOGNAME", "ann")
    run(state, lambda _: None)
    monkeypatch.setattr(in_process.getpass, "getuser", lambda: os.environ["NO_SUCH_VARIABLE"])
    run(state, lambda _: None)

    assert [job.client for job in jobs(state)] == ["", "ann"]
