import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qpbridge.errors import DiskFullError
from qpbridge.files import atomic_file, atomic_folder, list_temporaries, remove_listed, sha256, write_bytes


class StoppedError(Exception):
    pass


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def write_half(target: Path, error: Exception) -> None:
    with atomic_file(target) as file:
        file.write(b"half of the n")
        raise error


def fill_half(target: Path, error: Exception) -> None:
    with atomic_folder(target) as folder:
        (folder / "new").touch()
        raise error


def failing(code: int) -> Callable[..., None]:
    def fail(*args: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_appears_whole_under_its_name(tmp_path: Path):
    target = tmp_path / "new" / "folder" / "a.json"

    with atomic_file(target) as file:
        file.write(b"first ")
        assert not target.exists()
        file.write(b"second")

    assert target.read_bytes() == b"first second"
    assert names(target.parent) == ["a.json"]


def test_a_file_is_replaced(tmp_path: Path):
    write_bytes(tmp_path / "a", b"old")
    write_bytes(tmp_path / "a", b"new")

    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_failure_leaves_the_old_file(tmp_path: Path):
    write_bytes(tmp_path / "a", b"old")

    with pytest.raises(StoppedError):
        write_half(tmp_path / "a", StoppedError())

    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_failure_leaves_no_file_where_there_was_none(tmp_path: Path):
    with pytest.raises(StoppedError):
        write_half(tmp_path / "a", StoppedError())

    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, step: str):
    write_bytes(tmp_path / "a", b"old")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], failing(code))

    with pytest.raises(DiskFullError, match=r"no space left for .*a \(\d+ MB free\); nothing was changed"):
        write_bytes(tmp_path / "a", b"new")

    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_disk_that_fills_while_writing_is_told(tmp_path: Path):
    with pytest.raises(DiskFullError):
        write_half(tmp_path / "a", OSError(errno.ENOSPC, "full"))

    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device of Linux that is always full")
def test_a_device_that_is_really_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "open", lambda *_: io.FileIO("/dev/full", "w"))

    with pytest.raises(DiskFullError):
        write_bytes(tmp_path / "a", b"new")

    assert names(tmp_path) == []


def test_a_disk_without_room_for_a_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "mkdir", failing(errno.ENOSPC))

    with pytest.raises(DiskFullError):
        write_bytes(tmp_path / "deep" / "folder" / "a", b"new")


def test_other_failures_stay_what_they_are(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"a file, no folder")

    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "a" / "b", b"new")


def test_files_have_the_rights_of_any_new_file(tmp_path: Path):
    (tmp_path / "plain").touch()
    write_bytes(tmp_path / "a", b"")

    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_appears_whole_under_its_name(tmp_path: Path):
    target = tmp_path / "models" / "M"

    with atomic_folder(target) as folder:
        (folder / "spec.json").write_text("{}")
        assert not target.exists()

    assert (target / "spec.json").read_text() == "{}"
    assert names(target.parent) == ["M"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path):
    with atomic_folder(tmp_path / "M") as folder:
        (folder / "old").touch()
    with atomic_folder(tmp_path / "M") as folder:
        (folder / "new").touch()

    assert names(tmp_path) == ["M"]
    assert names(tmp_path / "M") == ["new"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path):
    with atomic_folder(tmp_path / "M") as folder:
        (folder / "old").touch()

    with pytest.raises(StoppedError):
        fill_half(tmp_path / "M", StoppedError())

    assert names(tmp_path) == ["M"]
    assert names(tmp_path / "M") == ["old"]


def test_a_full_disk_leaves_the_old_folder(tmp_path: Path):
    with atomic_folder(tmp_path / "M") as folder:
        (folder / "old").touch()

    with pytest.raises(DiskFullError, match="nothing was changed"):
        fill_half(tmp_path / "M", OSError(errno.ENOSPC, "full"))

    assert names(tmp_path) == ["M"]
    assert names(tmp_path / "M") == ["old"]


@pytest.mark.parametrize("failing_rename", [1, 2])
def test_an_exchange_that_fails_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_rename: int
):
    with atomic_folder(tmp_path / "M") as folder:
        (folder / "old").touch()
    rename, calls = Path.rename, []

    def rename_or_fail(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == failing_rename:
            raise OSError(errno.ENOSPC, "full")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_or_fail)
    with pytest.raises(DiskFullError), atomic_folder(tmp_path / "M") as folder:
        (folder / "new").touch()

    assert names(tmp_path) == ["M"]
    assert names(tmp_path / "M") == ["old"]


def test_folders_have_the_rights_of_any_new_folder(tmp_path: Path):
    (tmp_path / "plain").mkdir()
    with atomic_folder(tmp_path / "M"):
        pass

    assert (tmp_path / "M").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_digests_are_those_of_the_content(tmp_path: Path):
    write_bytes(tmp_path / "a", b"content" * 1000)

    assert sha256(tmp_path / "a") == hashlib.sha256(b"content" * 1000).hexdigest()


KILLED = """
import os, signal, sys
from pathlib import Path
from qpbridge.files import atomic_file, atomic_folder, list_temporaries

folder = Path(sys.argv[1])
rename, calls = Path.rename, []

def rename_or_die(path, target):
    calls.append(path)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)

Path.rename = rename_or_die
with list_temporaries(folder / "listing"), atomic_file(folder / "other" / "a\\nb") as file:
    file.write(b"half")
    with atomic_folder(folder / "M") as draft:
        (draft / "new").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("fatal_rename", "kept"), [(1, "old"), (2, "old"), (3, "new")])
def test_what_a_killed_process_leaves_is_removed_and_what_it_replaced_comes_back(
    tmp_path: Path, fatal_rename: int, kept: str
):
    with atomic_folder(tmp_path / "M") as folder:
        (folder / "old").touch()

    code = subprocess.run([sys.executable, "-c", KILLED, tmp_path, str(fatal_rename)], check=False).returncode
    assert code == -signal.SIGKILL
    assert len(names(tmp_path / "other")) == 1
    left = remove_listed(tmp_path / "listing")

    assert left == {1: 3, 2: 3, 3: 1}[fatal_rename]
    assert names(tmp_path / "other") == []
    assert names(tmp_path) == ["M", "other"]
    assert names(tmp_path / "M") == [kept]


def test_temporaries_are_listed_before_they_are_made_and_no_longer_than_they_last(tmp_path: Path):
    listing = tmp_path / "state" / "listing"

    with list_temporaries(listing):
        with atomic_file(tmp_path / "a"), atomic_folder(tmp_path / "M"):
            listed = listing.read_text()
        empty = listing.read_text()

    assert listed.count(str(tmp_path / ".a.")) == 1
    assert listed.count(str(tmp_path / ".M.")) == 1
    assert empty == ""
    assert not listing.exists()


def test_listings_may_be_missing_cut_or_about_files_that_are_gone(tmp_path: Path):
    write_bytes(tmp_path / "kept", b"")
    (tmp_path / "listing").write_text(f'\n["{tmp_path}/gone", null]\n["{tmp_path}/kep')

    assert remove_listed(tmp_path / "listing") == 0
    assert remove_listed(tmp_path / "listing") == 0
    assert names(tmp_path) == ["kept"]


def test_failures_leave_the_listing_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with list_temporaries(tmp_path / "listing"):
        monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(DiskFullError):
            write_bytes(tmp_path / "a", b"new")

        assert (tmp_path / "listing").read_text() == ""
