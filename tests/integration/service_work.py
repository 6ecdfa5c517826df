"""Work for the workers of a server under test: as quick, as long and as bad as the request's harmless fields say."""

import os
import time
from pathlib import Path
from typing import Any

from qpbridge.errors import SlideNotFoundError
from qpbridge.files import atomic_file, atomic_folder
from qpbridge.jobs.desk import Desk

Request = dict[str, Any]
STEP_S = 0.05


def train(request: Request, desk: Desk) -> dict[str, Any]:
    """Work for ``settings.steps`` steps with a half-written bundle, which appears at the end."""
    steps = int(request["settings"].get("steps", "2"))
    with atomic_folder(Path(request["out"])) as draft:
        for step in range(steps):
            desk.raise_if_cancelled()
            desk.report("train", step + 1, steps, loss=1 / (step + 1))
            (draft / "weights").write_bytes(bytes(step + 1))
            time.sleep(STEP_S)
    return {"bundle": request["out"], "digest": "f00d", "classes": ["A", "B"], "device": desk.device, "epochs": steps}


def predict(request: Request, desk: Desk) -> dict[str, Any]:
    """Write a file a slide; a resumed run goes on behind the last one, and all tell what they wrote."""
    out, slides = Path(request["out"]), []
    out.mkdir(parents=True, exist_ok=True)
    for done, slide in enumerate(map(Path, request["inputs"])):
        file = out / f"{slide.stem}.geojson"
        desk.raise_if_cancelled()
        if not (desk.is_resumed and file.exists()):
            with atomic_file(file) as written:
                written.write(b"[" + b" " * 600_000)
                time.sleep(STEP_S)
                written.write(b" " * 600_000 + b"]")
            with (out / "written.log").open("a") as log:
                log.write(f"{slide.stem}\n")
        desk.report("slides", done + 1, len(request["inputs"]), objects=done)
        slides.append({"key": slide.stem, "name": slide.name, "file": str(file), "mpp_source": "file", "classes": []})
    return {"out": str(out), "slides": slides, "failures": []}


def predict_region(request: Request, desk: Desk) -> dict[str, Any]:
    """Emit ``margin_px`` chunks of a thousand objects, one each ``smooth_um`` seconds."""
    chunks = request["margin_px"] or 1
    for chunk in range(chunks):
        desk.raise_if_cancelled()
        desk.report("region", chunk, chunks, objects=1000 * chunk)
        time.sleep(request["smooth_um"])
        desk.emit(b'{"type":"Feature"}\n' * 1000, 1000)
    return {"objects": 1000 * chunks, "classes": [], "region": request["region"], "mpp_source": "file"}


def evaluate(request: Request, desk: Desk) -> dict[str, Any]:
    raise SlideNotFoundError("slide 'A12' is not there; look for it")


def export_model(request: Request, desk: Desk) -> dict[str, Any]:
    os._exit(3)


def export(request: Request, desk: Desk) -> dict[str, Any]:
    """Sit in one step that never looks up."""
    desk.report("export", 0, 1)
    time.sleep(600)
    return {}


def inspect(request: Request, desk: Desk) -> dict[str, Any]:
    """Take ``mpp`` seconds, and tell where it was looked at."""
    end = time.monotonic() + (request["mpp"] or 0)
    while time.monotonic() < end:
        desk.raise_if_cancelled()
        time.sleep(0.02)
    return {"project": request["project"], "qupath_version": desk.device, "entries": []}


def run(kind: str, request: Request, desk: Desk) -> dict[str, Any]:
    return globals()[kind](request, desk)
