"""Reading a data.qpdata: ours against javaobj-py3, and paquo where there is a QuPath, on one file.

Run: ``uv run python benchmarks/qpdata.py [--detections 100000] [--rounds 3] [--file F] [--alone]``; prints a table in
markdown. CPU time counts, since it is what a busy machine leaves as it is. Ours ends in objects with shapely
geometries; javaobj-py3 only takes the stream apart. paquo starts a JVM, which is not counted, and hands every shape
over as WKB.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import javaobj.v2 as javaobj
import numpy as np
import shapely

from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.qupath.encoding.image_data import ImageDetails, write_qpdata
from qpbridge.qupath.qpdata import read_qpdata

CLASSES = (PathClass("Tumor", (200, 0, 0)), PathClass("Stroma", (150, 200, 150)))


def detections(count: int, seed: int = 0) -> list[PathObject]:
    """20-gons with a class and one measurement."""
    generator = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    directions = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    centers, radii = generator.uniform(0, 40_000, (count, 1, 2)), generator.uniform(4, 8, (count, 20, 1))
    polygons = shapely.polygons(centers + radii * directions)
    areas = shapely.area(polygons).tolist()
    return [
        PathObject(
            id=str(uuid.UUID(bytes=generator.bytes(16), version=4)),
            kind=ObjectKind.DETECTION,
            geometry=polygon,
            path_class=CLASSES[number % len(CLASSES)],
            measurements={"Area px^2": areas[number]},
        )
        for number, polygon in enumerate(polygons)
    ]


def made(count: int) -> bytes:
    out = io.BytesIO()
    image = ImageDetails(server_json="{}", root_id=str(uuid.UUID(int=1, version=4)))
    write_qpdata(out, image, detections(count), CLASSES)
    return out.getvalue()


def by_qpbridge(data: bytes) -> object:
    return read_qpdata(data)


def by_javaobj(data: bytes) -> object:
    return javaobj.load(io.BytesIO(data))


def mend_javaobj() -> None:
    """Let javaobj-py3 read objects that write themselves once; 0.4.4 expects their content for each base class."""
    described = javaobj.beans.JavaClassDesc
    with_bases = described.get_hierarchy

    def get_hierarchy(self: Any, classes: list[Any]) -> None:
        classes.append(self) if self.desc_flags & javaobj.beans.ClassDescFlags.SC_EXTERNALIZABLE else with_bases(
            self, classes
        )

    described.get_hierarchy = get_hierarchy


def by_paquo(data: bytes) -> object:
    from paquo.java import PathIO
    from paquo.pathobjects import QuPathPathDetectionObject

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.qpdata"
        path.write_bytes(data)
        hierarchy = PathIO.readHierarchy(path)
    found = [QuPathPathDetectionObject(item) for item in hierarchy.getDetectionObjects()]
    return [(item.roi, item.path_class, dict(item.measurements)) for item in found]


def methods() -> dict[str, Callable[[bytes], object]]:
    found: dict[str, Callable[[bytes], object]] = {"qpbridge read_qpdata": by_qpbridge, "javaobj-py3": by_javaobj}
    if os.environ.get("QPBRIDGE_QUPATH_DIR"):
        os.environ.setdefault("PAQUO_QUPATH_DIR", os.environ["QPBRIDGE_QUPATH_DIR"])
        found["paquo"] = by_paquo
    return found


def seconds(function: Callable[[bytes], object], data: bytes) -> float:
    start = time.process_time()
    function(data)
    return time.process_time() - start


def compare(data: bytes, rounds: int, names: Sequence[str]) -> list[str]:
    """One row a method; the rounds are interleaved, so that other load on the machine hits all alike."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in names:
            times.setdefault(name, []).append(seconds(methods()[name], data))
    medians = {name: statistics.median(values) for name, values in times.items()}
    own = medians["qpbridge read_qpdata"]
    return [
        f"| {name} | {median:.2f} | {min(times[name]):.2f} | {len(data) / 1e6 / median:.0f} | {median / own:.2f} |"
        for name, median in medians.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detections", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path, help="a data.qpdata to read instead")
    parser.add_argument("--alone", action="store_true", help="without the peers, which take minutes for large files")
    options = parser.parse_args(arguments)
    mend_javaobj()
    data = options.file.read_bytes() if options.file else made(options.detections)
    first = seconds(by_qpbridge, data)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    count = len(read_qpdata(data).objects)

    print(f"{count} objects, {len(data) / 1e6:.0f} MB, median of {options.rounds} rounds, ", end="")
    print(f"load of the machine {os.getloadavg()[0]:.1f}")
    print(f"First read of the process: {first:.2f} CPU s; peak of memory, the file included: {peak_mib} MiB\n")
    print("| method | median CPU s | min CPU s | MB/s | times ours |")
    print("|---|--:|--:|--:|--:|")
    print("\n".join(compare(data, options.rounds, list(methods())[: 1 if options.alone else None])))


if __name__ == "__main__":
    main()
