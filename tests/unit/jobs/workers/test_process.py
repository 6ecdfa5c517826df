import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.jobs.store.state_folder import StateFolder
from qpbridge.jobs.workers.messages import Begin, Ended, Reported, Warned
from qpbridge.jobs.workers.process import LAST_WORDS_BYTES, WorkerProcess

Talk = Callable[[WorkerProcess], Awaitable[None]]


def begin(kind: str, **request: Any) -> Begin:
    return Begin("job", kind, json.dumps(request).encode(), False)


def talk_to_worker(folder: StateFolder, entry: str, talk: Talk) -> None:
    async def talk_and_end() -> None:
        worker = await WorkerProcess.start(entry, "cuda:1", folder)
        try:
            await talk(worker)
        finally:
            await worker.end()
        assert not worker.is_alive
        assert folder.names() == []

    asyncio.run(talk_and_end())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def has_gone(pid: int) -> bool:
    for _ in range(500):
        if not is_running(pid):
            return True
        await asyncio.sleep(0.02)
    return False


def test_a_process_does_jobs_and_stays(folder: StateFolder, entry: str):
    async def talk(worker: WorkerProcess) -> None:
        pids = set()
        for _ in range(2):
            worker.send(begin("echo", device="auto"))
            ended = await worker.receive()
            assert isinstance(ended, Ended)
            result = json.loads(ended.result)
            assert (result["device"], result["desk_device"]) == ("cuda:1", "cuda:1")
            pids.add(result["pid"])
        assert pids == {worker.pid}
        assert worker.is_ready
        assert worker.is_alive
        assert len(folder.names()) == 1

    talk_to_worker(folder, entry, talk)


def test_a_process_takes_and_gives_large_messages(folder: StateFolder, entry: str):
    text = "x" * 20_000_000

    async def talk(worker: WorkerProcess) -> None:
        worker.send(begin("echo", text=text))
        assert json.loads((await worker.receive()).result)["text"] == text

    talk_to_worker(folder, entry, talk)


@pytest.mark.parametrize(
    ("request_", "how"),
    [
        ({"signal": "SIGKILL"}, "SIGKILL, as systems do where memory runs out"),
        ({"signal": "SIGSEGV"}, "SIGSEGV"),
        ({"code": 3}, "exit code 3"),
    ],
)
def test_a_death_is_told_with_the_last_words(folder: StateFolder, entry: str, request_: dict[str, Any], how: str):
    async def talk(worker: WorkerProcess) -> None:
        worker.begin_log()
        worker.send(begin("die", **request_))
        assert await worker.receive() is None
        assert await worker.death() == f"its worker ended with {how}; its last words: my last words"

    talk_to_worker(folder, entry, talk)


def test_words_of_an_earlier_job_are_not_the_last_ones(folder: StateFolder, entry: str):
    async def talk(worker: WorkerProcess) -> None:
        with worker.log.open("a") as log:
            log.write("of another job")
        worker.begin_log()
        worker.kill()
        assert await worker.receive() is None
        assert "last words" not in await worker.death()

    talk_to_worker(folder, entry, talk)


def test_many_last_words_are_cut(folder: StateFolder, entry: str):
    async def talk(worker: WorkerProcess) -> None:
        worker.begin_log()
        with worker.log.open("a") as log:
            log.write("no news " * LAST_WORDS_BYTES + "but this")
        worker.kill()
        told = await worker.death()
        assert told.endswith("no news but this")
        assert len(told) < LAST_WORDS_BYTES + 200

    talk_to_worker(folder, entry, talk)


def test_work_that_cannot_be_loaded_is_told(folder: StateFolder, entry: str):
    async def talk(worker: WorkerProcess) -> None:
        worker.begin_log()
        worker.send(begin("echo"))
        assert await worker.receive() is None
        assert not worker.is_ready
        assert "exit code 1" in (told := await worker.death())
        assert "No module named 'no_such_module'" in told

    talk_to_worker(folder, "no_such_module:run", talk)


def test_a_module_in_the_folder_of_the_server_is_not_imported(
    folder: StateFolder, entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('foreign code')")
    monkeypatch.chdir(tmp_path)

    async def talk(worker: WorkerProcess) -> None:
        worker.send(begin("echo"))
        assert isinstance(await worker.receive(), Ended)

    talk_to_worker(folder, entry, talk)


@pytest.mark.parametrize("dies", [False, True])
def test_what_a_worker_started_ends_with_it(folder: StateFolder, entry: str, tmp_path: Path, dies: bool):
    async def talk(worker: WorkerProcess) -> None:
        worker.send(begin("with_child", told=str(tmp_path / "pid"), dies=dies))
        while isinstance(await worker.receive(), Reported):
            if not dies:
                break
        pid = int((tmp_path / "pid").read_text())
        if not dies:
            assert is_running(pid)
            worker.kill()
        assert await has_gone(pid)

    talk_to_worker(folder, entry, talk)


def test_what_a_killed_worker_was_writing_is_removed(folder: StateFolder, entry: str, tmp_path: Path):
    async def talk(worker: WorkerProcess) -> None:
        worker.send(begin("write_half", out=str(tmp_path / "out")))
        assert isinstance(await worker.receive(), Reported)
        assert len(list((tmp_path / "out").iterdir())) == 2
        await worker.end()
        assert list((tmp_path / "out").iterdir()) == []

    talk_to_worker(folder, entry, talk)


def test_a_message_to_a_dead_worker_is_lost(folder: StateFolder, entry: str):
    async def talk(worker: WorkerProcess) -> None:
        await worker.end()
        worker.send(begin("echo"))
        assert await worker.receive() is None

    talk_to_worker(folder, entry, talk)


def test_a_worker_leaves_the_processor_to_others_and_has_a_log_of_its_own(folder: StateFolder, entry: str):
    async def talk(worker: WorkerProcess) -> None:
        worker.send(begin("talk", warnings=1))
        assert isinstance(await worker.receive(), Warned)
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) > os.getpriority(os.PRIO_PROCESS, 0) or (
            os.getpriority(os.PRIO_PROCESS, 0) == 19
        )
        assert os.getpgid(worker.pid) == worker.pid
        assert worker.log.is_relative_to(folder.path)

    talk_to_worker(folder, entry, talk)
