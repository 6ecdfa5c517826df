from pathlib import Path
from typing import Any

import pytest

from qpbridge.cli import working
from qpbridge.cli.options import Place
from qpbridge.cli.working import as_seen_by_server, client_of, work_here
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, InvalidValueError, SlideNotFoundError
from qpbridge.jobs.records import JobState
from qpbridge.jobs.store.journal import Journal
from qpbridge.jobs.store.state_folder import StateFolder
from qpbridge.workflows import worker
from qpbridge.workflows.requests import EvaluateRequest, InspectRequest, PredictRequest, TrainRequest

TRAIN = TrainRequest(project=Path("/p/skin"), out=Path("/m"), family="dmmn", device="cuda:1")


class Client:
    """Stands for a connected client."""

    def __init__(self, is_local: bool) -> None:
        self.access = type("Access", (), {"is_local": is_local})()
        self.ran: list[Any] = []

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, request: Any, _: Any) -> dict[str, Any]:
        self.ran.append(request)
        return {"out": "/o"}


def jobs(state: Path) -> list[Any]:
    journal = Journal(StateFolder(state).journal)
    try:
        return [journal.get(job.id) for job in journal.page(0, "", (), ()).jobs]
    finally:
        journal.close()


def answer(monkeypatch: pytest.MonkeyPatch, result: dict[str, Any] | BaseException) -> None:
    def run(kind: str, request: dict[str, Any], desk: Any) -> dict[str, Any]:
        desk.report(kind, 1, 2)
        desk.raise_if_cancelled()
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(worker, "run", run)


def test_work_in_this_process_is_noted_in_the_journal(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"bundle": "/m", "failures": []})

    document = work_here(TRAIN, SilentProgress())

    assert document == {"bundle": "/m", "failures": []}
    (job,) = jobs(state)
    assert (job.kind, job.title, job.device, job.state) == ("train", "skin", "cuda:1", JobState.SUCCEEDED)
    assert (job.request["family"], job.result["bundle"]) == ("dmmn", "/m")


@pytest.mark.parametrize(
    ("error", "state_of_job"),
    [(SlideNotFoundError("looked in /a"), JobState.FAILED), (CancelledError("stopped"), JobState.CANCELLED)],
)
def test_work_that_goes_wrong_is_noted_too(
    error: Exception, state_of_job: JobState, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, error)

    with pytest.raises(type(error)):
        work_here(TRAIN, SilentProgress())

    assert [job.state for job in jobs(state)] == [state_of_job]


def test_looking_at_a_project_writes_nothing_at_all(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"project": "/p"})

    assert work_here(InspectRequest(project=Path("/p")), SilentProgress()) == {"project": "/p"}
    assert list(state.iterdir()) == []


def test_a_server_on_this_machine_gets_whole_paths_and_another_one_what_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = TrainRequest(project=Path("p"), out=Path("m"), family="dmmn")

    for is_local, project, out in ((True, tmp_path / "p", tmp_path / "m"), (False, Path("p"), Path("m"))):
        client = Client(is_local)
        monkeypatch.setattr(working, "client_of", lambda _, client=client: client)
        document = working.working(lambda: request, Place(server="auto"))(SilentProgress())

        assert document == {"out": "/o"}
        assert (client.ran[0].project, client.ran[0].out) == (project, out)


def test_names_of_models_stay_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    request = PredictRequest(inputs=(Path("a.svs"), Path("/b.svs")), model=Path("skin"), out=Path("o"))

    seen = as_seen_by_server(request)

    assert isinstance(seen, PredictRequest)
    assert (seen.inputs, seen.model) == ((tmp_path / "a.svs", Path("/b.svs")), Path("skin"))
    evaluation = as_seen_by_server(EvaluateRequest(project=Path("p"), model=Path("here"), path_map=("D:=slides",)))
    assert isinstance(evaluation, EvaluateRequest)
    assert evaluation.model == tmp_path / "here"
    assert evaluation.path_map == (f"D:={tmp_path / 'slides'}",)
    assert evaluation.predictions is None


def test_an_error_of_making_the_request_is_one_of_the_work() -> None:
    def make() -> TrainRequest:
        raise InvalidValueError("--set takes key=value")

    with pytest.raises(InvalidValueError, match="key=value"):
        working.working(make, Place())(SilentProgress())


def test_the_token_comes_from_its_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("QPBRIDGE_TOKEN", "from-environment")

    def token(**place: Any) -> str | None:
        return client_of(Place(server="gpu:1", **place))._find().token

    assert token(token_file=tmp_path / "token") == "from-file"
    assert token() == "from-environment"
    monkeypatch.delenv("QPBRIDGE_TOKEN")
    assert token() is None


def test_a_token_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="the token's file"):
        client_of(Place(server="gpu:1", token_file=tmp_path / "none"))


def test_certificates_are_passed_on(tmp_path: Path) -> None:
    tls = client_of(Place(server="gpu:1", tls_ca=tmp_path / "ca.pem"))._find().tls

    assert tls is not None
    assert tls.ca == tmp_path / "ca.pem"
    assert client_of(Place(server="gpu:1"))._find().tls is None
