import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qpbridge.errors import CancelledError, SlideNotFoundError
from qpbridge.jobs.desk import Desk
from qpbridge.jobs.workers import child
from qpbridge.jobs.workers.child import PipeDesk, limit_log, serve
from qpbridge.jobs.workers.messages import (
    LENGTH,
    Begin,
    Emitted,
    Ended,
    Failed,
    FromWorker,
    Ready,
    Reported,
    Stop,
    Stopped,
    Taken,
    Warned,
    packed,
)

DECODER = msgspec.msgpack.Decoder(FromWorker)


class Server:
    """Talks to a worker that serves in a thread."""

    def __init__(self) -> None:
        self.connection, theirs = socket.socketpair()
        self.connection.settimeout(30)
        self.lost = threading.Event()
        self._theirs = theirs
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[Desk], dict[str, Any]]) -> None:
        def run(kind: str, request: dict[str, Any], desk: Desk) -> dict[str, Any]:
            return work(desk) if kind == "work" else {"kind": kind, **request, "is_resumed": desk.is_resumed}

        arguments = (self._theirs, run, "cuda:1", self.lost.set)
        self._thread = threading.Thread(target=serve, args=arguments, daemon=True)
        self._thread.start()
        assert self.hear() == Ready()

    def say(self, *messages: Begin | Stop | Taken) -> None:
        for message in messages:
            self.connection.sendall(packed(message))

    def hear(self) -> FromWorker:
        [size] = LENGTH.unpack(self.connection.recv(LENGTH.size, socket.MSG_WAITALL))
        return DECODER.decode(self.connection.recv(size, socket.MSG_WAITALL))

    def close(self) -> None:
        self.connection.close()
        if self._thread is not None:
            self._thread.join(30)
            assert not self._thread.is_alive()
        self._theirs.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


BEGIN = Begin("job", "work", b"{}", False)


def test_a_worker_does_one_job_after_the_other(server: Server):
    server.start(lambda _: {})
    results = []
    for begin in (Begin("job", "a", b'{"x": 1}', False), Begin("job", "b", b'{"device": "auto"}', True)):
        server.say(begin)
        results.append(msgspec.json.decode(server.hear().result))

    assert results == [
        {"kind": "a", "x": 1, "is_resumed": False},
        {"kind": "b", "device": "cuda:1", "is_resumed": True},
    ]


def test_what_a_job_says_comes_before_its_result(server: Server):
    def work(desk: Desk) -> dict[str, Any]:
        desk.report("a", 1, 2, loss=0.5)
        desk.warn("careful")
        desk.emit(b"{}", 1)
        return {"out": Path("/a")}

    server.start(work)
    server.say(BEGIN)

    said = [server.hear() for _ in range(4)]
    assert said == [Reported("a", 1, 2, {"loss": 0.5}), Warned("careful"), Emitted(b"{}", 1), Ended(b'{"out":"/a"}')]


def test_a_job_that_looks_up_stops_when_it_is_asked_to(server: Server):
    def work(desk: Desk) -> dict[str, Any]:
        desk.warn("begun")
        while True:
            desk.raise_if_cancelled()

    server.start(work)
    server.say(BEGIN)
    assert server.hear() == Warned("begun")
    server.say(Stop())

    assert server.hear() == Stopped()
    server.say(Begin("job", "a", b"{}", False))
    assert isinstance(server.hear(), Ended)


def test_a_stop_that_comes_late_does_not_hit_the_next_job(server: Server):
    server.start(lambda desk: {"was_stopped": desk.raise_if_cancelled()})
    for messages in [(Begin("job", "a", b"{}", False),), (Stop(), BEGIN)]:
        server.say(*messages)

        assert isinstance(server.hear(), Ended)


@pytest.mark.parametrize(
    ("error", "reason", "is_defect"),
    [
        (SlideNotFoundError("gone"), "SLIDE_NOT_FOUND", False),
        (PermissionError(13, "no", "a"), "FILE_ACCESS", False),
        (MemoryError(), "OUT_OF_MEMORY", True),
        (KeyError("x"), "INTERNAL", True),
        (SystemExit(1), "INTERNAL", True),
    ],
)
def test_a_job_that_fails_says_why(
    server: Server, capsys: pytest.CaptureFixture[str], error: BaseException, reason: str, is_defect: bool
):
    def work(desk: Desk) -> dict[str, Any]:
        raise error

    server.start(work)
    server.say(BEGIN)

    failed = server.hear()
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.is_defect) == (reason, is_defect)
    assert ("Traceback" in capsys.readouterr().err) == (reason != "SLIDE_NOT_FOUND")


def test_a_result_that_cannot_be_said_is_a_defect(server: Server, capsys: pytest.CaptureFixture[str]):
    circle: dict[str, Any] = {}
    circle["again"] = circle

    server.start(lambda _: circle)
    server.say(BEGIN)

    assert server.hear().reason == "INTERNAL"
    assert "Recursion" in capsys.readouterr().err


def test_work_waits_while_too_much_is_on_its_way(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child, "WINDOW_BYTES", 100)
    emitted = threading.Semaphore(0)

    def work(desk: Desk) -> dict[str, Any]:
        for size in (60, 40, 60, 1000, 1):
            desk.emit(b"x" * size, 1)
            emitted.release()
        return {}

    server.start(work)
    server.say(BEGIN)
    for allowed, sizes in [(None, [60, 40]), (60, [60]), (100, [1000]), (1000, [1])]:
        if allowed:
            server.say(Taken(allowed))
        for size in sizes:
            assert len(server.hear().payload) == size
            assert emitted.acquire(timeout=30)
        assert size == 1 or not emitted.acquire(timeout=0.05)

    assert isinstance(server.hear(), Ended)


def test_work_that_waits_to_emit_can_be_stopped(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child, "WINDOW_BYTES", 10)
    server.start(lambda desk: {"never": [desk.emit(b"x" * 10, 1) for _ in range(2)]})
    server.say(BEGIN)
    assert isinstance(server.hear(), Emitted)
    server.say(Stop())

    assert server.hear() == Stopped()


def test_what_was_on_its_way_in_one_job_is_none_of_the_next(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child, "WINDOW_BYTES", 10)
    server.start(lambda desk: {"none": desk.emit(b"x" * 10, 1)})
    for _ in range(2):
        server.say(BEGIN)

        assert [type(server.hear()) for _ in range(2)] == [Emitted, Ended]


def test_the_end_of_the_server_is_noticed_at_once(server: Server):
    wait = threading.Event()
    server.start(lambda _: {"never": wait.wait(30)})
    server.say(BEGIN)
    server.connection.close()

    assert server.lost.wait(30)
    wait.set()


def test_a_stopped_desk_is_clear_for_the_next_job():
    class NoOutbox:
        def send(self, _: object) -> None:
            raise AssertionError

    desk = PipeDesk(NoOutbox(), "cpu")
    desk.stop()
    with pytest.raises(CancelledError, match="stopped on request"):
        desk.raise_if_cancelled()
    with pytest.raises(CancelledError):
        desk.emit(b"", 0)

    desk.begin("next", is_resumed=True)
    desk.raise_if_cancelled()
    assert desk.is_resumed


def test_a_log_is_moved_away_when_it_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child, "LOG_BYTES_MAX", 10)
    log = tmp_path / "worker-cpu.log"
    with log.open("ab", buffering=0) as file:
        file.write(b"0123456789")
        limit_log(log)
        assert log.stat().st_size == 10

        file.write(b"and more")
        limit_log(log)
        file.write(b"new")

    assert log.read_bytes() == b"new"
    assert (tmp_path / "worker-cpu.1.log").read_bytes() == b"0123456789and more"
