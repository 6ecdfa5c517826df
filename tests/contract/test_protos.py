"""The protos are the contract: what is committed in `qpbridge/v1` comes from them, and they keep the rules of buf."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "qpbridge/v1"


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix in {".py", ".pyi"}}


def test_the_committed_code_is_what_the_protos_give(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "protos/generate.py", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)

    fresh, committed = contents(tmp_path / PACKAGE), contents(ROOT / PACKAGE)

    assert sorted(fresh) == sorted(committed)
    assert [name for name, text in fresh.items() if text != committed[name]] == []


@pytest.mark.parametrize("check", [["lint"], ["format", "--diff", "--exit-code"]])
def test_buf_has_nothing_to_say(check: list[str]) -> None:
    buf = Path(sys.executable).with_name("buf")

    answer = subprocess.run([buf, *check, "protos"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert answer.stdout + answer.stderr == ""
    assert answer.returncode == 0
