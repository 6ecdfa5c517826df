"""A second run over nuclei that people have worked on: ours against one query of a tree per object.

Run: ``uv run python benchmarks/reconcile.py [--nuclei 100000] [--rounds 3]``; prints a markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import shapely

from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.qupath.reconcile import IOU_MAX, Reconciliation, reconcile

TUMOR = PathClass("Tumor", (200, 0, 0))
SPACING_PX = 30.0
RADIUS_PX = 6.0
CORNERS = 20
LOCKED_EVERY, DELETED_EVERY = 10, 25


def nuclei(count: int, seed: int) -> list[PathObject]:
    """Return round nuclei as dense as in a tumor, on the grid on which they are written."""
    centers = np.random.default_rng(seed).uniform(0, SPACING_PX * count**0.5, (count, 1, 2))
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    rings = (centers + RADIUS_PX * np.stack([np.cos(angles), np.sin(angles)], axis=-1)).round(2)
    return [
        PathObject(id=f"{seed}-{i}", kind=ObjectKind.DETECTION, geometry=outline, path_class=TUMOR)
        for i, outline in enumerate(shapely.polygons(rings))
    ]


def worked_on(objects: Sequence[PathObject]) -> list[PathObject]:
    """Return objects of which a person has locked some and deleted others; rings begin elsewhere, as in QuPath."""
    turned = shapely.normalize([item.geometry for item in objects])
    return [
        replace(item, geometry=outline, is_locked=i % LOCKED_EVERY == 0)
        for i, (item, outline) in enumerate(zip(objects, turned, strict=True))
        if i % DELETED_EVERY != 1
    ]


def one_by_one(
    existing: Sequence[PathObject], record: Sequence[PathObject], new: Sequence[PathObject]
) -> Reconciliation:
    """Do the same for nuclei that are as recorded or locked, the plain way."""
    recorded = {item.id: item for item in record}
    kept = [item for item in existing if item.is_locked or not item.geometry.equals(recorded[item.id].geometry)]
    tree = shapely.STRtree([item.geometry for item in kept])
    dropped = []
    for item in new:
        near = [kept[index].geometry for index in tree.query(item.geometry)]
        if any(_is_on_top(item.geometry, other) for other in near):
            dropped.append(item)
    gone = {item.id for item in dropped}
    return Reconciliation(
        kept=tuple(kept),
        replaced=tuple(item for item in existing if not item.is_locked),
        added=tuple(item for item in new if item.id not in gone),
        dropped=tuple(dropped),
        starts_afresh=False,
    )


def _is_on_top(one: shapely.Polygon, other: shapely.Polygon) -> bool:
    common = one.intersection(other).area
    return bool(other.intersects(one.centroid) or common > IOU_MAX * (one.area + other.area - common))


def seconds(work: Callable[[], Reconciliation], rounds: int) -> tuple[float, Reconciliation]:
    """Return the median time of some rounds, and what came out."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nuclei", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    record, new = nuclei(asked.nuclei, 0), nuclei(asked.nuclei, 1)
    existing = worked_on(record)
    ours_s, ours = seconds(lambda: reconcile(existing, record, new), asked.rounds)
    plain_s, plain = seconds(lambda: one_by_one(existing, record, new), asked.rounds)
    assert {item.id for item in ours.dropped} == {item.id for item in plain.dropped}
    assert {item.id for item in ours.kept} == {item.id for item in plain.kept}
    print(f"| {asked.nuclei:,} nuclei, {len(ours.kept):,} kept | s | ratio |\n|---|---|---|")
    print(f"| qpbridge | {ours_s:.2f} | 1 |\n| one by one | {plain_s:.2f} | {plain_s / ours_s:.1f} |")


if __name__ == "__main__":
    main()
