"""Predict one region of a slide, and take each object as soon as the server knows it.

Slide, model and server are made for it, and go when it ends. Run it with ``uv run python examples/predict_region.py``.
"""

import tempfile
import time
from pathlib import Path

from support.small_project import make_project, quick_training

from qpbridge.client import Client, started_server
from qpbridge.core.geometry import Region
from qpbridge.workflows.requests import PredictRegionRequest


def main(client: Client, folder: Path) -> None:
    project, model = make_project(folder), folder / "model"
    client.run(quick_training(project, model))

    region = Region(x_px=64, y_px=64, width_px=384, height_px=384)
    request = PredictRegionRequest(input=project, entry="slide_0.tif", model=model, region=region)
    start_s = time.monotonic()
    # Leaving the block early would stop the work on the server.
    with client.predict_region(request) as objects:
        for number, found in enumerate(objects, start=1):
            if number <= 3:
                name = "" if found.path_class is None else found.path_class.name
                print(f"after {time.monotonic() - start_s:.2f} s: {name}, {found.geometry.area:.0f} px² of level 0")

    report = objects.report or {}
    print(f"{report['objects']} objects in {report['duration_s']:.2f} s; by class:")
    for found in report["classes"]:
        print(f"{found['name']:>12} {found['count']:4} regions {found['area_mm2']:6.3f} mm²")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with started_server(folder / "server", [folder]) as client:
            main(client, folder)
