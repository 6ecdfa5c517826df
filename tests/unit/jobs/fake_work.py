"""Work for worker processes: small, quick, and as bad as a test wants it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from qpbridge.errors import SlideNotFoundError
from qpbridge.files import atomic_file, atomic_folder
from qpbridge.jobs.desk import Desk

Request = dict[str, Any]


def echo(request: Request, desk: Desk) -> dict[str, Any]:
    return {**request, "pid": os.getpid(), "is_resumed": desk.is_resumed, "desk_device": desk.device}


def count(request: Request, desk: Desk) -> dict[str, Any]:
    """Count to ``total``, ``step_s`` a step."""
    for done in range(request["total"]):
        desk.raise_if_cancelled()
        desk.report("count", done, request["total"], loss=1 / (done + 1))
        time.sleep(request.get("step_s", 0.01))
    desk.report("count", request["total"], request["total"])
    return {"counted": request["total"]}


def stubborn(request: Request, desk: Desk) -> dict[str, Any]:
    """Sit in one step that never looks up."""
    desk.report("stubborn", 0, 1)
    time.sleep(600)
    return {}


def busy(request: Request, desk: Desk) -> dict[str, Any]:
    """Sit in one step that lets no other thread of the process run."""
    desk.report("busy", 0, 1)
    time.sleep(0.3)  # so that the report goes out
    re.match(r"(a+)+$", "a" * 50 + "b")
    return {}


def fail(request: Request, desk: Desk) -> dict[str, Any]:
    desk.warn("it looks bad")
    raise SlideNotFoundError("slide 'A12' is not there")


def defect(request: Request, desk: Desk) -> dict[str, Any]:
    raise ValueError("a wrong turn")


def no_memory(request: Request, desk: Desk) -> dict[str, Any]:
    raise MemoryError


def unspeakable(request: Request, desk: Desk) -> dict[str, Any]:
    return {1j: float}


def die(request: Request, desk: Desk) -> dict[str, Any]:
    sys.stderr.write("my last words\n")
    sys.stderr.flush()
    if "signal" in request:
        os.kill(os.getpid(), signal.Signals[request["signal"]])
    os._exit(request["code"])


def emit(request: Request, desk: Desk) -> dict[str, Any]:
    """Emit ``chunks`` of ``size`` bytes, and say in a file how many are gone."""
    for number in range(request["chunks"]):
        desk.emit(number.to_bytes(4, "big") * (request["size"] // 4), 1)
        if "told" in request:
            Path(request["told"]).write_text(str(number + 1))
    return {"emitted": request["chunks"]}


def partly(request: Request, desk: Desk) -> dict[str, Any]:
    return {"failures": [{"entry": "A12"}]}


def write_half(request: Request, desk: Desk) -> dict[str, Any]:
    """Be in the middle of writing a file and a folder."""
    out = Path(request["out"])
    with atomic_file(out / "a.json") as file, atomic_folder(out / "M") as folder:
        file.write(b"half")
        (folder / "new").touch()
        desk.report("write", 1, 2)
        time.sleep(600)
    return {}


def slides(request: Request, desk: Desk) -> dict[str, Any]:
    """Write ``total`` files; a resumed run goes on behind the last one."""
    out = Path(request["out"])
    for number in range(request["total"]):
        file = out / f"{number}.txt"
        if desk.is_resumed and file.exists():
            continue
        desk.raise_if_cancelled()
        time.sleep(request.get("step_s", 0.02))
        with atomic_file(file) as written:
            written.write(b"who")
            time.sleep(request.get("write_s", 0.0))
            written.write(b"le")
        with (out / "written.log").open("a") as log:
            log.write(f"{number} {os.getpid()}\n")
        desk.report("slides", number + 1, request["total"])
    return {"slides": request["total"]}


def with_child(request: Request, desk: Desk) -> dict[str, Any]:
    """Start another process that holds on to everything it can, and tell its id."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
    Path(request["told"]).write_text(str(child.pid))
    desk.report("child", 0, 1)
    if request.get("dies"):
        os._exit(3)
    time.sleep(600)
    return {}


def talk(request: Request, desk: Desk) -> dict[str, Any]:
    for number in range(request["warnings"]):
        desk.warn(f"warning {number}")
    return {}


def run(kind: str, request: Request, desk: Desk) -> dict[str, Any]:
    return globals()[kind](request, desk)
