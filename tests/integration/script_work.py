"""Work for a server that scripts ask: quick, with results that a viewer can show."""

import gzip
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from qpbridge.files import atomic_file
from qpbridge.jobs.desk import Desk

Request = dict[str, Any]
SQUARES = 6


def train(request: Request, desk: Desk) -> dict[str, Any]:
    steps = int(request["settings"].get("steps", "2"))
    for step in range(steps):
        desk.raise_if_cancelled()
        desk.report("train", step + 1, steps, loss=1 / (step + 1))
        time.sleep(0.02)
    return {"bundle": request["out"], "digest": "f00d", "classes": ["A", "B"], "device": desk.device, "epochs": steps}


def predict(request: Request, desk: Desk) -> dict[str, Any]:
    """Write squares in a row, the first where the drawn one is; always the same."""
    file = Path(request["out"]) / "1-a.geojson.gz"
    file = file.with_suffix("") if not request["gzip"] else file
    file.parent.mkdir(parents=True, exist_ok=True)
    desk.report("slides", 1, 1, objects=SQUARES)
    content = msgspec.json.encode(
        {"type": "FeatureCollection", "features": [_square(i, "nuclei" in request["model"]) for i in range(SQUARES)]}
    )
    with atomic_file(file) as written:
        written.write(gzip.compress(content) if request["gzip"] else content)
    slide = {"key": "1", "name": "a.svs", "file": str(file), "mpp_source": "file", "classes": []}
    return {"out": str(file.parent), "slides": [slide], "failures": [], "job_id": desk.job_id}


def undo(request: Request, _: Desk) -> dict[str, Any]:
    out = Path(request["out"])
    for file in out.glob("1-a.geojson*"):
        file.unlink()
    return {"out": str(out), "job_id": request["job_id"], "slides": [], "failures": []}


def inspect(request: Request, _: Desk) -> dict[str, Any]:
    return {
        "project": request["project"],
        "qupath_version": "0.7.0",
        "entries": [],
        "training": {"obstacle": "no labels"},
    }


def run(kind: str, request: Request, desk: Desk) -> dict[str, Any]:
    return globals()[kind](request, desk)


def _square(number: int, is_nucleus: bool) -> dict[str, Any]:
    x, y, size = 100 * number, 200 if is_nucleus else 0, 48
    ring = [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{number} {is_nucleus}")),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "detection" if is_nucleus else "annotation",
            "classification": {"name": "Tumor", "color": [200, 0, 0]},
        },
    }
