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
    """Write squares in a row, the first where the drawn one is; always the same. Suggestions lie below them."""
    file = Path(request["out"]) / "1-a.geojson.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    desk.report("slides", 1, 1, objects=SQUARES)
    features = [_square(i, "nuclei" in request["model"]) for i in range(SQUARES)]
    features += [_review(i) for i in range(request["suggest"])]
    if file.exists():
        file.rename(_former(file, desk.job_id))
    with atomic_file(file) as written:
        written.write(gzip.compress(msgspec.json.encode({"type": "FeatureCollection", "features": features})))
    slide = {"key": "1", "name": "a.svs", "file": str(file), "mpp_source": "file", "classes": []}
    return {"out": str(file.parent), "slides": [slide], "failures": [], "job_id": desk.job_id}


def undo(request: Request, _: Desk) -> dict[str, Any]:
    file = Path(request["out"]) / "1-a.geojson.gz"
    file.unlink()
    former = _former(file, request["job_id"])
    if former.exists():
        former.rename(file)
    return {"out": str(file.parent), "job_id": request["job_id"], "slides": [], "failures": []}


def inspect(request: Request, _: Desk) -> dict[str, Any]:
    return {
        "project": request["project"],
        "qupath_version": "0.7.0",
        "entries": [],
        "training": {"obstacle": "no labels"},
    }


def run(kind: str, request: Request, desk: Desk) -> dict[str, Any]:
    return globals()[kind](request, desk)


def _former(file: Path, job_id: str) -> Path:
    return file.with_name(f"{job_id}-{file.name}")


def _square(number: int, is_nucleus: bool) -> dict[str, Any]:
    kind = {"objectType": "detection" if is_nucleus else "annotation"}
    return _feature(f"{number} {is_nucleus}", (100 * number, 200 if is_nucleus else 0, 48), kind, "Tumor")


def _review(number: int) -> dict[str, Any]:
    kind = {"objectType": "annotation", "isLocked": True}
    return _feature(f"review {number}", (100 * number, 400, 90), kind, "Review*")


def _feature(name: str, place: tuple[int, int, int], told: dict[str, Any], class_name: str) -> dict[str, Any]:
    x, y, size = place
    ring = [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {**told, "classification": {"name": class_name, "color": [200, 0, 0]}},
    }
