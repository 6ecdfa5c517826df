"""Label map to polygons: ours against what others use, in one process and on one map.

Run: ``uv run python benchmarks/vectorize.py [--size 2048] [--rounds 5]``; prints a markdown table in under a minute.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import shapely
from rasterio import features
from shapely.geometry import Polygon, shape

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.vector.cleaning import remove_small
from qpbridge.vector.polygons import vectorize
from qpbridge.vector.smoothing import smooth

CLASSES = 7


def ragged_tissue(size: int, seed: int = 0) -> LabelMap:
    """Blobs of seven classes and of nothing, with rims as ragged as those of an unsure network."""
    generator = np.random.default_rng(seed)
    scores = sum(
        weight * _noise(generator, CLASSES + 1, size, step) for step, weight in ((64, 1.0), (8, 0.15), (2, 0.03))
    )
    label_map = np.argmax(scores, axis=0).astype(np.uint8)
    label_map[label_map == CLASSES] = IGNORE_INDEX
    return label_map


def _noise(generator: np.random.Generator, layers: int, size: int, step: int) -> np.ndarray:
    coarse = generator.standard_normal((layers, size // step + 2, size // step + 2), dtype=np.float32)
    return np.stack([cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC) for layer in coarse])


def by_rasterio(label_map: LabelMap) -> list[Polygon]:
    found = features.shapes(label_map, mask=label_map != IGNORE_INDEX, connectivity=4)
    return [shape(geometry) for geometry, _ in found]


def by_opencv(label_map: LabelMap) -> list[Polygon]:
    polygons = []
    for label in range(CLASSES):
        mask = (label_map == label).astype(np.uint8)
        contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        holes: dict[int, list[np.ndarray]] = {}
        for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True):
            if parent >= 0 and len(contour) > 2:
                holes.setdefault(int(parent), []).append(contour[:, 0])
        for i, (contour, (_, _, _, parent)) in enumerate(zip(contours, hierarchy[0], strict=True)):
            if parent < 0 and len(contour) > 2:
                polygons.append(Polygon(contour[:, 0], holes.get(i, [])))
    return polygons


def by_qpbridge(label_map: LabelMap) -> list[Polygon]:
    return [polygon.geometry for polygon in vectorize(label_map)]


METHODS: dict[str, Callable[[LabelMap], list[Polygon]]] = {
    "qpbridge vectorize": by_qpbridge,
    "rasterio.features.shapes + shapely": by_rasterio,
    "cv2.findContours + shapely": by_opencv,
}


def seconds(function: Callable[[LabelMap], object], label_map: LabelMap) -> float:
    start = time.perf_counter()
    function(label_map)
    return time.perf_counter() - start


def compare(label_map: LabelMap, rounds: int) -> list[str]:
    """One row a method; the rounds are interleaved, so that other load on the machine hits all alike."""
    polygons = {name: method(label_map) for name, method in METHODS.items()}
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(rounds):
        for name, method in METHODS.items():
            times[name].append(seconds(method, label_map))
    pixels = np.count_nonzero(label_map != IGNORE_INDEX)
    own = statistics.median(times["qpbridge vectorize"])
    rows = []
    for name, found in polygons.items():
        median = statistics.median(times[name])
        valid, area = shapely.is_valid(found).mean(), shapely.area(found).sum() / pixels
        rows.append(
            f"| {name} | {median * 1e3:.1f} | {min(times[name]) * 1e3:.1f} | {label_map.size / median / 1e6:.0f} "
            f"| {median / own:.2f} | {len(found)} | {valid:.1%} | {area:.4f} |"
        )
    return rows


def further_steps(label_map: LabelMap, rounds: int) -> list[str]:
    polygons = vectorize(label_map)
    steps: dict[str, Callable[[LabelMap], object]] = {
        "remove_small, 64 px": lambda pixels: remove_small(pixels, 64),
        "smooth, 1 px": lambda _: smooth(polygons, 1.0),
    }
    rows = []
    for name, step in steps.items():
        step(label_map)
        median = statistics.median(seconds(step, label_map) for _ in range(rounds))
        rows.append(f"| {name} | {median * 1e3:.1f} | {label_map.size / median / 1e6:.0f} |")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="edge of the label map, px")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    label_map = ragged_tissue(options.size)
    vectorize(label_map[:8, :8])
    remove_small(label_map[:8, :8], 3)

    print(f"Label map {options.size} x {options.size}, {CLASSES} classes, median of {options.rounds} rounds, ", end="")
    print(f"load of the machine {os.getloadavg()[0]:.1f}\n")
    print("| method | median ms | min ms | MP/s | times ours | polygons | valid | area / pixels |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    print("\n".join(compare(label_map, options.rounds)))
    print("\n| further step | median ms | MP/s |\n|---|--:|--:|")
    print("\n".join(further_steps(label_map, options.rounds)))


if __name__ == "__main__":
    main()
