import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qpbridge.errors import ServerRunningError
from qpbridge.files import atomic_file
from qpbridge.jobs.store import state_folder
from qpbridge.jobs.store.state_folder import FileLock, ServerLock, StateFolder, default_state_folder

HOLDER = """
import sys, time
from pathlib import Path
from qpbridge.files import atomic_file
from qpbridge.jobs.store.state_folder import StateFolder

folder = Path(sys.argv[1])
with StateFolder(folder / "state").alive("one"), atomic_file(folder / "out" / "a.json") as file:
    file.write(b"half")
    print("here", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def start_holder(tmp_path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "here\n"
    return holder


def kill(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_the_folder_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("QPBRIDGE_STATE", str(tmp_path / "here"))
    assert default_state_folder() == tmp_path / "here"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QPBRIDGE_STATE", "relative")
    assert default_state_folder() == tmp_path / "relative"


def test_the_folder_is_the_users_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("QPBRIDGE_STATE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    assert default_state_folder().is_relative_to(tmp_path)
    assert default_state_folder().name == "qpbridge"


def test_only_its_owner_may_look_into_it(folder: StateFolder):
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert StateFolder(folder.path).path == folder.path


def test_everything_lies_in_the_folder(folder: StateFolder):
    paths = {folder.journal, folder.server_lock, folder.log("cuda:0"), folder.log("cpu")}

    assert len(paths) == 4
    assert all(path.is_relative_to(folder.path) and ":" not in path.name for path in paths)


def test_a_process_is_alive_as_long_as_it_says_so(folder: StateFolder):
    assert not folder.is_alive("one")
    with folder.alive("one"):
        assert folder.is_alive("one")
        assert folder.names() == ["one"]
        assert not folder.remove_leftovers("one")

    assert not folder.is_alive("one")
    assert folder.names() == []


def test_what_a_killed_process_was_writing_is_removed(folder: StateFolder, tmp_path: Path):
    holder = start_holder(tmp_path)
    try:
        assert folder.is_alive("one")
        assert not folder.remove_leftovers("one", wait_s=0.1)
        assert len(list((tmp_path / "out").iterdir())) == 1
    finally:
        kill(holder)

    assert not folder.is_alive("one")
    assert folder.names() == ["one"]
    assert folder.remove_leftovers("one")
    assert list((tmp_path / "out").iterdir()) == []
    assert folder.names() == []
    assert list((folder.path / "processes").iterdir()) == []


def test_leftovers_wait_for_the_end_of_their_process(folder: StateFolder, tmp_path: Path):
    holder = start_holder(tmp_path)
    timer = threading.Timer(0.2, holder.kill)
    timer.start()

    assert folder.remove_leftovers("one", wait_s=30)
    assert list((tmp_path / "out").iterdir()) == []
    timer.join()
    kill(holder)


def test_a_process_without_leftovers_is_none_to_tidy_up_after(folder: StateFolder):
    assert folder.remove_leftovers("never there")
    assert folder.names() == []


def test_temporaries_of_a_process_that_ends_well_are_its_own_matter(folder: StateFolder, tmp_path: Path):
    with folder.alive("one"), atomic_file(tmp_path / "a") as file:
        file.write(b"whole")

    assert (tmp_path / "a").read_bytes() == b"whole"
    assert list((folder.path / "processes").iterdir()) == []


def test_a_lock_has_one_holder(tmp_path: Path):
    with FileLock(tmp_path / "new" / "lock") as first, FileLock(tmp_path / "new" / "lock") as second:
        assert first.acquire()
        assert not second.acquire()
        begin_s = time.monotonic()
        assert not second.acquire(wait_s=0.1)
        assert time.monotonic() - begin_s >= 0.1
        first.release()
        assert second.acquire()


def test_a_lock_whose_file_was_removed_is_taken_where_others_see_it(tmp_path: Path):
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        first.acquire()
        first.path.unlink()
        first.release()

        assert second.acquire()
        with FileLock(tmp_path / "lock") as third:
            assert not third.acquire()


def test_a_process_that_is_looked_at_just_then_is_alive_all_the_same(folder: StateFolder, tmp_path: Path):
    looking = FileLock(folder.path / "processes" / "one.lock")
    looking.acquire()
    timer = threading.Timer(0.1, looking.release)
    timer.start()

    with folder.alive("one"):
        assert folder.is_alive("one")
    timer.join()


def test_what_a_holder_tells_others_can_read(tmp_path: Path):
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        first.acquire()
        first.write(b"a long story")
        first.write(b"short")

        assert second.read() == b"short"


def test_a_second_server_learns_of_the_first(folder: StateFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(state_folder, "SERVER_END_S", 0.05)
    lock = ServerLock(folder)
    with pytest.raises(ServerRunningError, match=rf"works on {folder.path} already \(process {os.getpid()}\): use it"):
        ServerLock(folder)
    lock.tell("127.0.0.1:50051")
    with pytest.raises(ServerRunningError, match=rf"process {os.getpid()} at 127\.0\.0\.1:50051"):
        ServerLock(folder)

    lock.release()
    ServerLock(folder).release()


def test_a_server_that_has_not_told_its_name_yet_is_one(folder: StateFolder):
    with FileLock(folder.server_lock) as lock:
        lock.acquire()

        with pytest.raises(ServerRunningError, match="it begins just now"):
            ServerLock(folder)


def test_a_lock_that_opens_a_little_later_is_not_another_server(folder: StateFolder):
    first = FileLock(folder.server_lock)
    first.acquire()
    timer = threading.Timer(0.1, first.release)
    timer.start()

    ServerLock(folder).release()
    timer.join()


def test_the_lock_says_who_holds_it(folder: StateFolder):
    lock = ServerLock(folder)
    lock.tell("127.0.0.1:1")

    assert json.loads(folder.server_lock.read_bytes()) == {"pid": os.getpid(), "address": "127.0.0.1:1"}
    lock.release()
    assert folder.server_lock.read_bytes() == b""
