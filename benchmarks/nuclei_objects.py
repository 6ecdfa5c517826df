"""Nuclei to objects, ours against what others use: decoding, then outlines with measurements.

Run: ``uv run python benchmarks/nuclei_objects.py [--size 16384] [--nuclei 100000] [--mpp 0.25]``; prints a table.
In full it takes some minutes and up to 20 GB. Each method runs in a process of its own, which tells its memory; seconds
are those of the CPU, since machines are shared.

- ours: blocks of 4096 px with their margins, one after the other (worker processes would share the blocks);
  outlines count as decoding, since a block gives both
- ours, outlines only: those of the true instances of the whole map at once, with measurements
- scikit-image + rasterio: watershed, ``regionprops``, ``rasterio.features.shapes`` over the whole map at once
- tiatoolbox: HoVer-Net's way to outlines (``HoVerNet.get_instance_info``, of OpenCV's contours) in tiles of 512 px, as
  it looks at the whole tile for each nucleus; nuclei on seams are cut in two. It is given the true instances, since
  its own decoding wants other outputs of a network
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

EDGE_PX = 4096
TILE_PX = 512
AREA_TOLERANCE_PX = 0.5


@dataclass(frozen=True)
class Task:
    """A map of nuclei, which lies in a folder once it is made."""

    folder: Path
    size: int
    nuclei: int
    mpp: float


@dataclass(frozen=True)
class Result:
    """What one method needed, and the nuclei it found: centroids and areas in px."""

    decode_s: float
    objects_s: float
    memory_gb: float
    centroids: np.ndarray
    areas: np.ndarray
    are_valid: float


def nuclei_map(task: Task) -> np.ndarray:
    """Nuclei on a jittered grid, many of which touch; int32."""
    from skimage.draw import ellipse

    draw = np.random.default_rng(0)
    across = int(np.ceil(np.sqrt(task.nuclei)))
    pitch = task.size / across
    instances = np.zeros((task.size, task.size), np.int32)
    for number in range(task.nuclei):
        row, column = divmod(number, across)
        y, x = (np.array([row, column]) + draw.uniform(0.25, 0.75, 2)) * pitch
        half = draw.uniform(0.3, 0.55, 2) * min(pitch, 40)
        place = ellipse(y, x, *half, shape=instances.shape, rotation=draw.uniform(0, np.pi))
        free = instances[place] == 0
        instances[place[0][free], place[1][free]] = number + 1
    return instances


def make_maps(task: Task) -> None:
    """Write true instances, and probabilities of mask and marker of a good network in steps of 1/255."""
    from qpbridge.models.nuclei.targets import shape_marker

    instances = nuclei_map(task)
    np.save(task.folder / "instances.npy", instances)
    np.save(task.folder / "mask.npy", np.where(instances, np.uint8(240), np.uint8(5)))
    np.save(task.folder / "marker.npy", np.where(shape_marker(instances, task.mpp), np.uint8(240), np.uint8(5)))


def network_output(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of mask and marker."""
    return np.load(task.folder / "mask.npy"), np.load(task.folder / "marker.npy")


def by_qpbridge(task: Task) -> Result:
    from qpbridge.core.geometry import PixelCalibration
    from qpbridge.inference.nuclei.blocks import Block, RollingMosaic
    from qpbridge.inference.nuclei.decoding import Decoding
    from qpbridge.inference.nuclei.harvesting import Harvesting, harvest, joined
    from qpbridge.vector.instances.shapes import measure_shapes

    mask, marker = network_output(task)
    harvesting = Harvesting(decoding=Decoding(), mpp=task.mpp)
    small = {"mask": mask[None, :512, :512], "marker": marker[None, :512, :512]}
    harvest(Block(x=0, y=0, width=512, height=512, left=0, top=0, layers=small), harvesting)  # compiles
    rolling = RollingMosaic(task.size, task.size, {"mask": 1, "marker": 1}, EDGE_PX, harvesting.margin_px)
    before, began = memory_gb(), time.process_time()
    parts = []
    for y in range(0, task.size, EDGE_PX):
        rolling.paint(0, y, {"mask": mask[None, y : y + EDGE_PX], "marker": marker[None, y : y + EDGE_PX]})
        parts += [harvest(block, harvesting) for block in rolling.take(min(y + EDGE_PX, task.size))]
    nuclei = joined(parts)
    decoded = time.process_time()
    measure_shapes(nuclei.outlines, PixelCalibration.square(task.mpp))
    done = time.process_time()
    return Result(
        decode_s=decoded - began,
        objects_s=done - decoded,
        memory_gb=memory_gb() - before,
        centroids=nuclei.centroids,
        areas=shapely.area(nuclei.outlines),
        are_valid=float(shapely.is_valid(nuclei.outlines).mean()),
    )


def outlines_by_qpbridge(task: Task) -> Result:
    from qpbridge.core.geometry import PixelCalibration
    from qpbridge.vector.instances.outlining import outline
    from qpbridge.vector.instances.shapes import measure_shapes

    instances = np.load(task.folder / "instances.npy")
    outline(instances[:512, :512])  # compiles
    before, began = memory_gb(), time.process_time()
    _, outlines = outline(instances)
    measure_shapes(outlines, PixelCalibration.square(task.mpp))
    done = time.process_time()
    centers = shapely.centroid(outlines)
    return Result(
        decode_s=float("nan"),
        objects_s=done - began,
        memory_gb=memory_gb() - before,
        centroids=np.stack((shapely.get_x(centers), shapely.get_y(centers)), axis=1),
        areas=shapely.area(outlines),
        are_valid=float(shapely.is_valid(outlines).mean()),
    )


def by_scikit_image(task: Task) -> Result:
    from rasterio import features
    from skimage.measure import label, regionprops_table
    from skimage.segmentation import watershed

    mask, marker = network_output(task)
    before, began = memory_gb(), time.process_time()
    seeds = label(marker > 127, connectivity=2)
    instances = watershed(np.zeros(mask.shape, np.uint8), seeds, mask=mask > 127).astype(np.int32)
    decoded = time.process_time()
    names = ("label", "area", "centroid", "perimeter", "eccentricity", "axis_major_length", "axis_minor_length")
    table = regionprops_table(instances, properties=names)
    found = list(features.shapes(instances, mask=instances > 0, connectivity=4))
    outlines = np.array([shapely.geometry.shape(outline) for outline, _ in found])
    done = time.process_time()
    return Result(
        decode_s=decoded - began,
        objects_s=done - decoded,
        memory_gb=memory_gb() - before,
        centroids=np.stack((table["centroid-1"], table["centroid-0"]), axis=1) + 0.5,
        areas=table["area"],
        are_valid=float(shapely.is_valid(outlines).mean()),
    )


def by_tiatoolbox(task: Task) -> Result:
    warnings.simplefilter("ignore")
    from tiatoolbox.models.architecture.hovernet import HoVerNet

    instances = np.load(task.folder / "instances.npy")
    before, began = memory_gb(), time.process_time()
    centroids, rings = [], []
    for y in range(0, task.size, TILE_PX):
        for x in range(0, task.size, TILE_PX):
            tile = instances[y : y + TILE_PX, x : x + TILE_PX]
            with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
                found = HoVerNet.get_instance_info(tile, None)
            centroids += [one["centroid"] + (x, y) for one in found.values()]
            rings += [one["contours"] + (x, y) for one in found.values()]
    outlines = np.array([shapely.Polygon(ring) for ring in rings])
    done = time.process_time()
    return Result(
        decode_s=float("nan"),
        objects_s=done - began,
        memory_gb=memory_gb() - before,
        centroids=np.array(centroids) + 0.5,
        areas=shapely.area(outlines),
        are_valid=float(shapely.is_valid(outlines).mean()),
    )


METHODS: dict[str, Callable[[Task], Result]] = {
    "qpbridge": by_qpbridge,
    "qpbridge (outlines only)": outlines_by_qpbridge,
    "scikit-image + rasterio": by_scikit_image,
    "tiatoolbox (outlines only)": by_tiatoolbox,
}


def alone(work: Callable[[Task], Any], task: Task) -> Any:
    """Do something in a process of its own, whose memory is then its own, too."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (task,))


def memory_gb() -> float:
    """Most memory that this process ever had, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def equal_share(ours: Result, theirs: Result) -> float:
    """Share of our nuclei that have a centroid of theirs within a pixel, and its area within one in a hundred."""
    from scipy.spatial import cKDTree

    away, nearest = cKDTree(theirs.centroids).query(ours.centroids)
    alike = abs(theirs.areas[nearest] - ours.areas) <= np.maximum(AREA_TOLERANCE_PX, 0.01 * ours.areas)
    return float(((away < 1) & alike).mean())


def table(results: dict[str, Result]) -> list[str]:
    ours = next(iter(results.values()))
    rows = [
        "| method | decoding s | objects s | ratio of all | peak memory GB | nuclei | equal | valid | mean area px |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in results.items():
        seconds = np.nansum((one.decode_s, one.objects_s))
        ratio = seconds / (ours.decode_s + ours.objects_s)
        rows.append(
            f"| {name} | {one.decode_s:.2f} | {one.objects_s:.2f} | {ratio:.2f} | {one.memory_gb:.2f} "
            f"| {len(one.centroids)} | {equal_share(ours, one):.2%} | {one.are_valid:.1%} | {one.areas.mean():.1f} |"
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=16_384, help="edge of the map, px")
    parser.add_argument("--nuclei", type=int, default=100_000)
    parser.add_argument("--mpp", type=float, default=0.25)
    parser.add_argument("--without", nargs="*", default=[], choices=list(METHODS), help="methods to leave out")
    options = parser.parse_args(arguments)
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        task = Task(folder=Path(scratch), size=options.size, nuclei=options.nuclei, mpp=options.mpp)
        alone(make_maps, task)
        for name, method in METHODS.items():
            if name not in options.without:
                results[name] = alone(method, task)
    print(f"{task.nuclei} nuclei in {task.size} x {task.size} px\n")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
