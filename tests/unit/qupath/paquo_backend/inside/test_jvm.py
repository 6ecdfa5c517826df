from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.version import Version

from qpbridge.qupath.paquo_backend.inside import jvm
from qpbridge.qupath.paquo_backend.records import JavaFailure

OWNER = """
import os, sys, time
from qpbridge.qupath.paquo_backend.process import QuPathProcess
if __name__ == "__main__":
    process = QuPathProcess()
    print(process.ask(os.getpid), flush=True)
    process.ask(os.system, "echo noise")
    time.sleep(600)
"""


def test_what_java_and_paquo_raise_becomes_a_failure_with_its_first_line():
    with pytest.raises(JavaFailure, match=r"^it is odd: ValueError: first$"), jvm.told("it is odd"):
        raise ValueError("first\nsecond")
    with pytest.raises(JavaFailure, match=r"^as it is$"), jvm.told("it is odd"):
        raise JavaFailure("as it is")
    with pytest.raises(KeyError), jvm.told("it is odd"):
        raise KeyError("ours")


@pytest.mark.parametrize(("version", "is_old"), [("0.4.4", True), ("0.5.0", False), ("0.7.1", False)])
def test_a_qupath_that_is_too_old_is_refused(version, is_old):
    found = SimpleNamespace(version=Version(version))

    if is_old:
        with pytest.raises(JavaFailure, match=r"too old; 0.5 or later"):
            jvm._check_version(found)
    else:
        jvm._check_version(found)
    with pytest.raises(JavaFailure, match=r"unknown version"):
        jvm._check_version(None)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked for in /proc")
def test_a_process_of_qupath_says_nothing_and_dies_with_its_owner(tmp_path):
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert Path(f"/proc/{pid}").exists()

        owner.kill()

        assert owner.stdout.read() == ""
    while _is_running(pid):
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.qupath
def test_facts_say_which_qupath_and_java_run(qupath):
    facts = qupath.ask(jvm.facts)

    assert Path(facts.folder).is_dir()
    assert Path(facts.java_folder).is_dir()
    assert facts.version[0].isdigit()
    assert facts.java_version[0].isdigit()
