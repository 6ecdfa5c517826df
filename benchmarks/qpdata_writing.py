"""Write a new image's objects: ``uv run python benchmarks/qpdata_writing.py [DETECTIONS]``.

The peer is QuPath itself, which cannot run here: what it took for the same objects on another machine stands beside.
CPU time counts, since it is what a busy machine leaves as it is.
"""

import resource
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import shapely

from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.qupath.encoding.image_data import ImageDetails, create_qpdata

CORNERS = 20
CLASSES = (PathClass("Tumor", (200, 0, 0)), PathClass("Stroma", (150, 200, 150)))
QUPATH_S = 6.7
"""QuPath 0.7.0, 1,000,000 detections of 20 corners with class and one measurement, the best of its runs, 2 cores."""


def detections(count: int) -> list[PathObject]:
    """Return nuclei of 20 corners, each with a class and a measurement."""
    generator = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    circle = np.stack([6 * np.cos(angles), 5 * np.sin(angles)], axis=-1)
    outlines = shapely.polygons((generator.uniform(0, 1e5, (count, 1, 2)) + circle).round(2))
    return [
        PathObject(
            id=str(uuid.UUID(bytes=generator.bytes(16), version=4)),
            kind=ObjectKind.DETECTION,
            geometry=outline,
            path_class=CLASSES[index % len(CLASSES)],
            measurements={"Area µm²": float(index)},
        )
        for index, outline in enumerate(outlines)
    ]


def main() -> None:
    """Print what one file took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    objects = detections(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.qpdata"
        image = ImageDetails(server_json="{}", root_id=str(uuid.uuid4()))
        before_kb, start_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        create_qpdata(path, image, objects, CLASSES)
        cpu_s = time.process_time() - start_s
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1e3
        size_mb = path.stat().st_size / 1e6
    print("| detections | CPU s | file, MB | memory beyond the objects, MB | QuPath, s | ratio |")
    print("|--:|--:|--:|--:|--:|--:|")
    theirs_s = QUPATH_S * count / 1e6
    print(f"| {count:,} | {cpu_s:.1f} | {size_mb:.0f} | {grown_mb:.0f} | {theirs_s:.1f} | {cpu_s / theirs_s:.1f} |")


if __name__ == "__main__":
    main()
