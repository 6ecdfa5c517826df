import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_server import LONG_S, TRAINED, Script, Watching, discoverable, job, serving

from qpbridge.client import Client
from qpbridge.errors import (
    CancelledError,
    JobNotFoundError,
    QueueFullError,
    ServerNotRunningError,
    ServerUnreachableError,
    SlideNotFoundError,
    TooLargeError,
)
from qpbridge.jobs.records import Chunk, JobError, JobProgress, JobState
from qpbridge.workflows.requests import InspectRequest, PredictRequest, TrainRequest

TRAIN = TrainRequest(project=Path("/p"), out=Path("/m"), family="dmmn")
PREDICT = PredictRequest(inputs=(Path("/p"),), model=Path("/m"), out=Path("/o"))
RUNNING = job(progress=JobProgress(stage="train", done=3, total=9, numbers={"loss": 0.5}), warnings=("odd",))


@pytest.fixture
def client(port: int, state: Path) -> Client:
    return Client(state_folder=state, name="ann")


def test_a_client_finds_its_server_and_shows_token_and_name(client: Client, script: Script) -> None:
    with client:
        told = client.server()

    assert (told["devices"], told["roots"]) == (["cpu"], ["/data"])
    assert client.access.is_local
    assert {metadata["authorization"] for _, _, metadata in script.asked} == {"Bearer right"}
    assert {metadata["qpbridge-client"] for _, _, metadata in script.asked} == {"ann"}
    client.close()


def test_without_a_server_entering_the_block_says_so(tmp_path: Path) -> None:
    with pytest.raises(ServerNotRunningError, match="qpbridge serve"), Client(state_folder=tmp_path):
        pass


def test_long_work_is_answered_at_once(client: Client, script: Script) -> None:
    with client:
        assert client.train(TRAIN).state is JobState.QUEUED
        assert client.predict(PREDICT).kind == "predict"

    messages = {name: message for name, message, _ in script.asked}
    assert (messages["Train"].project, messages["Train"].family) == ("/p", "dmmn")
    assert messages["Predict"].out == "/o"


def test_more_than_the_server_takes_is_not_even_sent(client: Client, script: Script) -> None:
    script.message_bytes_max = 1000
    large = replace(TRAIN, annotations={"1": " " * 1000})

    with client:
        client.train(TRAIN)
        with pytest.raises(TooLargeError, match="bytes, and this server takes 1,000 at once: send less"):
            client.train(large)

    assert script.names() == ["GetServer", "Train"]


def test_what_is_refused_is_the_same_error_as_in_this_process(client: Client, script: Script) -> None:
    script.error = QueueFullError("100 jobs wait, which is the limit")

    with client, pytest.raises(QueueFullError, match="100 jobs wait"):
        client.train(TRAIN)


def test_lists_come_page_by_page(client: Client, script: Script) -> None:
    with client:
        listed = list(client.jobs([JobState.RUNNING], ["train"]))

    assert [one.state for one in listed] == [JobState.RUNNING, JobState.RUNNING, JobState.CANCELLED]
    assert script.names().count("ListJobs") == 2


def test_a_long_list_is_asked_for_only_as_far_as_it_is_read(client: Client, script: Script) -> None:
    with client:
        next(client.jobs())

    assert script.names().count("ListJobs") == 1


def test_models_families_entries_and_classes_are_documents(client: Client) -> None:
    with client:
        assert [one["name"] for one in client.models()] == ["skin"]
        assert client.model("skin")["path"] == "/models/skin"
        assert [one["name"] for one in client.families()] == ["dmmn"]
        assert [one["name"] for one in client.entries(Path("/p"))] == ["a.svs"]
        assert [one["color_rgb"] for one in client.classes(Path("/p"))] == [[200, 0, 0]]


def test_a_job_is_returned_watched_and_cancelled(client: Client, script: Script) -> None:
    script.events = [RUNNING, Chunk(payload=b"{}\n", count=1), job(JobState.SUCCEEDED)]

    with client:
        assert list(client.watch("7")) == script.events
        assert client.job("7").result["bundle"] == "/m"
        assert client.cancel("7").state is JobState.CANCELLED
        with pytest.raises(JobNotFoundError, match="no job '8'"):
            client.job("8")


def test_work_that_is_run_tells_its_progress_and_gives_its_document(client: Client, script: Script) -> None:
    script.events = [job(JobState.QUEUED), RUNNING, job(JobState.SUCCEEDED)]
    progress = Watching()

    with client:
        document = client.run(TRAIN, progress)

    assert {name: document[name] for name in TRAINED} == TRAINED
    assert [stage for stage, *_ in progress.reports] == ["wait in the queue", "train"]
    assert progress.reports[-1] == ("train", 3, 9, {"loss": 0.5})
    assert progress.warnings == ["odd"]


def test_work_that_fails_raises_what_it_failed_of(client: Client, script: Script) -> None:
    script.job = job(JobState.FAILED, error=JobError(reason="SLIDE_NOT_FOUND", message="looked in /a"))

    with client, pytest.raises(SlideNotFoundError, match="looked in /a"):
        client.run(TRAIN)

    assert "CancelJob" not in script.names()


def test_a_progress_that_asks_to_stop_stops_the_job(client: Client, script: Script) -> None:
    script.events, script.waits = [RUNNING], True

    with client, pytest.raises(CancelledError, match="stopped on request"):
        client.run(TRAIN, Watching(stop_at="train"))

    assert script.names()[-1] == "CancelJob"


def test_a_progress_that_asks_to_stop_while_nothing_comes_is_heard(client: Client, script: Script) -> None:
    script.waits = True

    class Impatient(Watching):
        looks = 0

        def raise_if_cancelled(self) -> None:
            self.looks += 1
            if self.looks > 3:
                raise CancelledError("stopped on request")

    with client, pytest.raises(CancelledError, match="stopped on request"):
        client.run(TRAIN, Impatient())

    assert script.names()[-1] == "CancelJob"


def test_an_interrupt_stops_the_job(client: Client, script: Script) -> None:
    script.events, script.waits = [RUNNING], True

    class Interrupting(Watching):
        def warn(self, _: str) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with client, pytest.raises(KeyboardInterrupt):
            client.run(TRAIN, Interrupting())
    finally:
        signal.signal(signal.SIGINT, former)

    assert script.names()[-1] == "CancelJob"


def test_a_wait_that_ends_leaves_the_job_alone(client: Client, script: Script) -> None:
    script.events, script.waits = [RUNNING], True

    with client, pytest.raises(CancelledError):
        client.wait("7", Watching(stop_at="train"))

    assert "CancelJob" not in script.names()


def test_a_job_that_somebody_else_cancelled_says_so(client: Client, script: Script) -> None:
    script.job = job(JobState.CANCELLED)

    with client, pytest.raises(CancelledError, match="job 7 was cancelled"):
        client.wait(job())


def test_a_server_that_starts_again_is_found_again(state: Path, script: Script) -> None:
    script.events, script.waits = [RUNNING], True
    second = Script()
    gone, done = threading.Event(), threading.Event()
    ended = []

    class Listening(Watching):
        def report(self, *_: object, **__: float) -> None:
            gone.set()

    def wait() -> None:
        with Client(state_folder=state) as client:
            ended.append(client.wait("7", progress))
        done.set()

    progress = Listening()
    with serving(script) as port:
        discoverable(state, port)
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        assert gone.wait(LONG_S)
    with serving(second) as port:
        discoverable(state, port)
        assert done.wait(LONG_S)

    assert [one.state for one in ended] == [JobState.SUCCEEDED]
    assert "lost the server; trying again for 60 s" in progress.warnings[-1]


def test_a_server_that_stays_away_is_given_up(state: Path, script: Script, impatient: Callable[[float], None]) -> None:
    script.events = [RUNNING]
    impatient(0.2)

    with serving(script) as port:
        discoverable(state, port)
        client = Client(state_folder=state)
        assert client.job("7").id == "7"

    with pytest.raises(ServerUnreachableError, match="nothing listens"):
        client.wait("7")
    client.close()


def test_a_project_is_inspected_at_once(client: Client) -> None:
    with client:
        told = client.inspect(InspectRequest(project=Path("/p")))
        assert client.run(InspectRequest(project=Path("/p"))) == told

    assert (told["project"], told["qupath_version"]) == ("/p", "0.6.0")


def test_an_inspection_can_be_stopped(client: Client, script: Script) -> None:
    script.waits = True

    class Stopping(Watching):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("stopped on request")

    with client, pytest.raises(CancelledError, match="stopped on request"):
        client.inspect(InspectRequest(project=Path("/p")), Stopping())

    assert script.let_go.wait(LONG_S)


def test_files_are_fetched_into_a_folder(client: Client, script: Script, tmp_path: Path) -> None:
    slides = [{"key": "1", "name": "a.svs"}, {"key": "2", "name": "b.svs"}]
    script.job = job(JobState.SUCCEEDED, kind="predict", result={"out": "/o", "slides": slides})
    script.files = {"1": [("1-a.geojson", 2), b"{", b"}"], "2": [("2-b.geojson", 0)]}

    with client:
        both = client.download("7", tmp_path / "all")
        one = client.download(script.job, tmp_path / "one", ["b.svs"])

    assert [path.name for path in both] == ["1-a.geojson", "2-b.geojson"]
    assert both[0].read_bytes() == b"{}"
    assert one == [tmp_path / "one" / "2-b.geojson"]


def test_a_closed_client_opens_another_connection(client: Client, script: Script) -> None:
    client.job("7")
    client.close()
    client.job("7")
    client.close()

    assert script.names() == ["GetServer", "GetJob"] * 2
