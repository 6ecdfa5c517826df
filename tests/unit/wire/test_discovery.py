import datetime
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from qpbridge.errors import DamagedDiscoveryError, DiscoveryUnsafeError, QpbridgeError, ServerNotRunningError
from qpbridge.wire import discovery
from qpbridge.wire.discovery import Discovery, read_discovery, remove_discovery, write_discovery

SERVER = Discovery(
    address="127.0.0.1:50051",
    http_address="127.0.0.1:8080",
    pid=os.getpid(),
    token="s3cret",
    started=datetime.datetime(2026, 11, 21, 3, 4, tzinfo=datetime.UTC),
    tls_ca="/etc/ca.pem",
    version="0.1.0",
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write_discovery(tmp_path / "state", SERVER)

    assert read_discovery(tmp_path / "state") == SERVER
    assert path == tmp_path / "state" / "server.json"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_and_its_folder_are_the_owners_alone_whatever_the_mask(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        path = write_discovery(tmp_path / "state", SERVER)
    finally:
        os.umask(former)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_file_is_closed_to_others_before_anything_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real_open = os.open

    def watching_open(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real_open(path, flags, mode)
        seen.append((Path(path).name, os.fstat(descriptor).st_mode & 0o777, os.fstat(descriptor).st_size))
        return descriptor

    monkeypatch.setattr(os, "open", watching_open)
    write_discovery(tmp_path, SERVER)

    (name, mode, size) = seen[0]
    assert name != "server.json"
    assert (mode, size) == (0o600, 0)


def test_a_second_server_replaces_the_file_and_the_first_does_not_remove_it(tmp_path: Path) -> None:
    second = Discovery(address="h:1", pid=os.getpid(), token="other", started=SERVER.started, version="0.1.0")
    write_discovery(tmp_path, SERVER)
    write_discovery(tmp_path, second)

    remove_discovery(tmp_path, SERVER)
    assert read_discovery(tmp_path) == second

    remove_discovery(tmp_path, second)
    assert list(tmp_path.iterdir()) == []


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    remove_discovery(tmp_path, SERVER)

    assert list(tmp_path.iterdir()) == []


def test_without_a_file_the_user_learns_where_was_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ServerNotRunningError, match=r"no .*server\.json; start one with `qpbridge serve`"):
        read_discovery(tmp_path)


def test_a_server_that_is_gone_is_told_so(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "server.json").touch(0o600)
    (tmp_path / "server.json").write_text(
        json.dumps(
            {"address": "h:1", "pid": ended.pid, "token": "t", "started": "2026-01-01T00:00:00Z", "version": "1"}
        )
    )

    with pytest.raises(ServerNotRunningError, match=rf"is gone \(process {ended.pid}\)"):
        read_discovery(tmp_path)


def test_a_process_of_another_user_counts_as_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    write_discovery(tmp_path, SERVER)
    monkeypatch.setattr(os, "kill", refuse)

    assert read_discovery(tmp_path) == SERVER


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    write_discovery(tmp_path, SERVER).chmod(mode)

    with pytest.raises(DiscoveryUnsafeError, match=f"rights {mode:o}"):
        read_discovery(tmp_path)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_discovery(tmp_path, SERVER)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(DiscoveryUnsafeError, match=f"belongs to user {os.getuid()}"):
        read_discovery(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path = write_discovery(tmp_path / "real", SERVER)
    (tmp_path / "server.json").symlink_to(path)

    with pytest.raises(DiscoveryUnsafeError, match=r"cannot open .*server\.json"):
        read_discovery(tmp_path)


def test_a_pipe_does_not_make_the_reader_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "server.json", 0o600)

    with pytest.raises(DiscoveryUnsafeError, match="no regular file"):
        read_discovery(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"address": "h:1"}', b"\xff", b" " * 100_000 + b"{}"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    write_discovery(tmp_path, SERVER).write_bytes(content)

    with pytest.raises(DamagedDiscoveryError, match=r"server\.json cannot be read"):
        read_discovery(tmp_path)


def test_a_later_version_may_tell_more(tmp_path: Path) -> None:
    path = write_discovery(tmp_path, SERVER)
    path.write_text(json.dumps({**json.loads(path.read_text()), "color": "blue"}))

    assert read_discovery(tmp_path) == SERVER


def test_a_disk_that_keeps_no_rights_is_refused_before_the_token_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_OWNER_ONLY", 0o666)
    former = os.umask(0)
    try:
        with pytest.raises(DiscoveryUnsafeError, match="others may read or write"):
            write_discovery(tmp_path, SERVER)
    finally:
        os.umask(former)

    assert list(tmp_path.iterdir()) == []


def test_the_token_does_not_get_into_logs() -> None:
    assert "s3cret" not in repr(SERVER)


@pytest.mark.parametrize("broken", [b"{", None])
def test_errors_name_the_file(tmp_path: Path, broken: bytes | None) -> None:
    if broken is not None:
        write_discovery(tmp_path, SERVER).write_bytes(broken)

    with pytest.raises(QpbridgeError, match=str(tmp_path / "server.json")):
        read_discovery(tmp_path)
