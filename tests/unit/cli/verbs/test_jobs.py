import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from qpbridge.cli.app import app
from qpbridge.cli.verbs import jobs
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import JobNotFoundError, ServerNotRunningError, ServerUnreachableError
from qpbridge.jobs.in_process import journaled
from qpbridge.jobs.records import Job, JobError, JobProgress, JobState
from qpbridge.workflows.predicting.undo import UndoneSlide, UndoReport, UndoRequest

CREATED = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
RUNNING = Job(
    id="7",
    kind="train",
    title="skin",
    client="ann@lab",
    device="cpu",
    state=JobState.RUNNING,
    created=CREATED,
    progress=JobProgress(stage="train", done=3, total=9),
    request={"secret": 1},
)
FAILED = replace(
    RUNNING,
    id="6",
    state=JobState.FAILED,
    progress=None,
    error=JobError(reason="SLIDE_NOT_FOUND", message="looked in /a"),
)
PREDICTED = {
    "out": "/o",
    "job_id": "7",
    "slides": [],
    "failures": [{"entry": "entry 2", "reason": "SLIDE_NOT_FOUND", "message": "looked in /b"}],
}


class Client:
    """Stands for a connected client."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[Any] = []
        self.ended = replace(RUNNING, kind="predict", state=JobState.PARTLY_DONE, result=PREDICTED)

    def __enter__(self) -> "Client":
        if self.error is not None:
            raise self.error
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def jobs(self, states: Any, kinds: Any) -> Any:
        self.asked.append((list(states), list(kinds)))
        return iter([RUNNING, FAILED])

    def wait(self, _: str, progress: Any) -> Job:
        progress.report("predict a", 1, 2)
        return self.ended

    def cancel(self, job_id: str) -> Job:
        if job_id != RUNNING.id:
            raise JobNotFoundError(f"no job '{job_id}'")
        return replace(RUNNING, state=self.ended.state)

    def download(self, job_id: str, folder: Path, entries: Any) -> list[Path]:
        self.asked.append((job_id, folder, entries))
        return [folder / "1-a.geojson"]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(jobs, "client_of", lambda _: client)
    return client


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["jobs", *words])


def rows(result: Result) -> list[list[str]]:
    return [line.split() for line in result.stdout.splitlines()]


def test_jobs_are_listed_with_how_far_they_are(client: Client) -> None:
    result = invoke("list")

    assert result.exit_code == 0
    assert ["7", "train", "skin", "running", "cpu", "ann@lab", "2026-01-02", "03:04", "train", "3/9"] in rows(result)
    assert ["6", "train", "skin", "failed", "cpu", "ann@lab", "2026-01-02", "03:04", "SLIDE_NOT_FOUND"] in rows(result)


def test_the_list_is_a_json_document_without_requests(client: Client) -> None:
    first, second = json.loads(invoke("list", "--json").stdout)["jobs"]

    assert (first["id"], first["state"], first["created"]) == ("7", "running", "2026-01-02T03:04:05+00:00")
    assert (first["progress"]["done"], first["error"]) == (3, None)
    assert second["error"]["reason"] == "SLIDE_NOT_FOUND"
    assert "request" not in first


def test_the_list_is_of_the_states_and_kinds_that_were_asked_for(client: Client) -> None:
    invoke("list", "--state", "queued,running", "--state", "failed", "--kind", "train,predict")
    result = invoke("list", "--limit", "1", "--json")

    assert client.asked[0] == ([JobState.QUEUED, JobState.RUNNING, JobState.FAILED], ["train", "predict"])
    assert len(json.loads(result.stdout)["jobs"]) == 1


def test_an_unknown_state_is_bad_usage(client: Client) -> None:
    result = invoke("list", "--state", "lost")

    assert result.exit_code == 2
    assert "unknown state 'lost'; there are: queued, running" in result.stderr


def test_without_a_server_the_journal_is_listed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "client_of", lambda _: Client(ServerNotRunningError("there is none")))
    with journaled(state, "train", {}, SilentProgress(), title="skin") as recording:
        recording.finish({"bundle": "/m"})

    listed = json.loads(invoke("list", "--json").stdout)["jobs"]

    assert [(job["kind"], job["title"], job["state"]) for job in listed] == [("train", "skin", "succeeded")]
    assert json.loads(invoke("list", "--state", "failed", "--json").stdout)["jobs"] == []
    assert invoke("list", "--state", "failed").stdout.strip() == "no jobs"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["list", "--server"], ServerNotRunningError("there is none")),
        (["list"], ServerUnreachableError("nothing listens")),
        (["watch", "7"], ServerNotRunningError("there is none")),
    ],
)
def test_a_server_that_is_needed_must_answer(
    words: list[str], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "client_of", lambda _: Client(error))

    result = invoke(*words)

    assert result.exit_code == 1
    assert str(error) in result.stderr


def test_a_watched_job_is_told_like_the_verb_that_asked_for_it(client: Client) -> None:
    result = invoke("watch", "7")

    assert result.exit_code == 1
    assert "predict a 1/2" in result.stderr
    assert "results in  /o" in result.stdout
    assert "SLIDE_NOT_FOUND" in result.stdout
    assert json.loads(invoke("watch", "7", "--json").stdout) == PREDICTED


def test_a_job_is_cancelled(client: Client) -> None:
    client.ended = replace(RUNNING, state=JobState.CANCELLED)

    result = invoke("cancel", "7")

    assert result.exit_code == 0
    assert "cancelled 7 (train on skin)" in result.stdout


def test_a_job_that_had_ended_was_not_cancelled(client: Client) -> None:
    result = invoke("cancel", "7")

    assert result.exit_code == 1
    assert "had ended already: partly_done" in result.stdout


def test_an_unknown_job_is_told(client: Client) -> None:
    result = invoke("cancel", "8", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["reason"] == "JOB_NOT_FOUND"


def test_files_are_fetched(client: Client) -> None:
    result = invoke("fetch", "7", "--out", "here", "--entries", "1,2", "--json")

    assert json.loads(result.stdout) == {"out": "here", "files": ["1-a.geojson"]}
    assert client.asked == [("7", Path("here"), ("1", "2"))]


@pytest.fixture
def undone(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the workflow, in this process."""
    asked: list[Any] = []

    def undo(request: Any, _: Any) -> UndoReport:
        asked.append(request)
        slide = UndoneSlide(stem="1-a", removed=5, restored=4, kept=2, dropped=1)
        return UndoReport(out=request.out, job_id=request.job_id, slides=(slide,), failures=())

    monkeypatch.setattr("qpbridge.workflows.predicting.undo.undo", undo)
    return asked


def test_a_job_of_the_journal_is_undone_where_it_wrote_its_results(state: Path, undone: list[Any]) -> None:
    with journaled(state, "predict", {"out": "/o"}, SilentProgress()) as recording:
        recording.finish({})

    result = invoke("undo", recording.job.id)

    assert undone == [UndoRequest(job_id=recording.job.id, out=Path("/o"))]
    assert ["1-a", "5", "4", "2", "1"] in rows(result)
    assert [job["title"] for job in json.loads(invoke("list", "--kind", "undo", "--json").stdout)["jobs"]] == [
        f"job {recording.job.id}"
    ]


def test_a_folder_of_results_may_be_named(undone: list[Any]) -> None:
    invoke("undo", "7", "--out", "/o")

    assert undone == [UndoRequest(job_id="7", out=Path("/o"))]


def test_only_a_prediction_that_is_known_is_undone(state: Path, undone: list[Any]) -> None:
    with journaled(state, "train", {"out": "/o"}, SilentProgress()) as recording:
        recording.finish({})

    assert "only a prediction can be undone" in invoke("undo", recording.job.id).stderr
    assert "JOB_NOT_FOUND" in invoke("undo", "none").stderr
    assert undone == []
