"""What tells nuclei apart that touch: the ablation of Rahmon et al. 2022 on procedural slides, and a slide's count.

"ablation": a small U-Net learns from the nuclei of some slides with a mask alone, with a center marker, or with a shape
marker, by cross-entropy alone or with Dice; all learn equally long, without a choice between epochs. They are judged on
slides that they never saw, whose nuclei are known exactly, and the last of them counts the nuclei of those slides.
"count": a network learns from slides with all tissues, and counts the nuclei of the demonstration's slide. Both are
asked how they did where tiles meet.

Run: ``uv run python benchmarks/nuclei_learning.py [--parts ablation count] [--seeds 0 1] [--epochs 30]
[--arms NAME ...]``; prints markdown tables. On one core, a network of the ablation takes about four minutes, the one
that counts a quarter of an hour.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely

from qpbridge.core.objects import REGION_CLASS, ObjectKind, PathClass, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.demo.making import EDGE_PX as DEMO_PX
from qpbridge.qupath.geojson import read_objects
from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.slides.synthetic import SyntheticSlide, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import nucleus_detections
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.evaluate import EvaluateRequest, EvaluationReport, evaluate
from qpbridge.workflows.predict import PredictRequest, predict
from qpbridge.workflows.train import TrainRequest, train

EDGE_PX, MPP = 1024, 0.5
TRAINING_SEEDS, TEST_SEEDS = (1, 2, 6), (101, 103, 108)
"""Slides of some hundred nuclei and more; others of this size are mostly stroma, where few of them touch."""

DENSITY = 1.5

WHOLE_PX = 4096
"""Edge of slides that hold all tissues."""

TILE_PX, MARGIN_PX = 128, 16
"""Of the network: tiles meet every 96 px of its mosaic."""
LEARNING = {
    "mpp": str(MPP),
    "patch_px": str(TILE_PX),
    "class_head": "false",
    "density_jitter": "0.1",
    "validation_share": "0",
    "selection_tolerance": "1",
    "turns": "none",
}
"""What departs from the preset "small", whose network it is."""

ABLATION = {"samples_per_epoch": "160"}
COUNTING = {"epochs": "40", "validation_share": "0.02"}
"""Where nothing is held back, all of the slides would be judged after every epoch."""

ARMS: Mapping[str, Mapping[str, str]] = {
    "mask": {"marker": "none"},
    "mask and center": {"marker": "center"},
    "mask and shape, cross-entropy": {"dice_share": "0"},
    "mask and shape, cross-entropy and Dice": {},
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one network scored with one seed, and where what it found lies."""

    report: EvaluationReport
    seconds: float
    found: Path


def make_project(folder: Path, name: str, slides: Mapping[str, SyntheticSlide]) -> Path:
    """Write slides and a project with all their nuclei."""
    create_project(folder / name, [_entry(folder, key, slide) for key, slide in slides.items()], [])
    return folder / name


def small_slides(seeds: Sequence[int]) -> dict[str, SyntheticSlide]:
    """Return slides of one kind, by name."""
    spec = SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, mpp=MPP, nucleus_density=DENSITY, has_context_class=False)
    return {str(seed): make_slide(replace(spec, seed=seed)) for seed in seeds}


def _entry(folder: Path, name: str, slide: SyntheticSlide) -> NewEntry:
    path = folder / f"{name}.tif"
    write_slide(path, slide)
    mark = PathObject(
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        kind=ObjectKind.ANNOTATION,
        geometry=shapely.box(0, 0, slide.width_px, slide.height_px),
        path_class=PathClass(REGION_CLASS, (0, 0, 0)),
    )
    return entry_of_file(path, [mark, *(replace(one, path_class=None) for one in nucleus_detections(slide))])


def result(folder: Path, arm: str, seed: int, settings: Mapping[str, str]) -> Result:
    """Train a network, let it find nuclei on slides it never saw, and judge."""
    begin_s, out = time.process_time(), folder / f"{arm} {seed}"
    learn(folder / "training", out / "model", {**ARMS[arm], **settings}, seed)
    seconds = time.process_time() - begin_s
    find(folder / "test", out / "model", out / "found")
    judging = EvaluateRequest(project=folder / "test", predictions=out / "found", backend="native")
    return Result(report=evaluate(judging, SilentProgress()), seconds=seconds, found=out / "found")


def learn(project: Path, out: Path, settings: Mapping[str, str], seed: int) -> None:
    """Train a network on all nuclei of a project."""
    train(
        TrainRequest(
            project=project,
            out=out,
            family="use_net",
            preset="small",
            settings={**LEARNING, **settings},
            device="cpu",
            backend="native",
            seed=seed,
        ),
        SilentProgress(),
    )


def find(project: Path, model: Path, out: Path) -> None:
    """Let a network find the nuclei of a project."""
    asked = PredictRequest(inputs=(project,), model=model, out=out, margin_px=MARGIN_PX, backend="native")
    predict(replace(asked, device="cpu", use_tissue_mask=False), SilentProgress())


SEAMS_HEADER = """
| slide | true | counted | off by | found away from seams | found on seams | overlapping pairs |
|---|--:|--:|--:|--:|--:|--:|"""


def ablation(results: Mapping[str, Sequence[Result]]) -> None:
    """Print what each network scored."""
    print("| outputs, loss | AJI | each seed | PQ | F1 | merged | missed | CPU s |\n|---|--:|---|--:|--:|--:|--:|--:|")
    for arm, found in results.items():
        rows = [one.report.to_dict() for one in found]
        aji = [row["nuclei_mean"]["aji"] for row in rows]
        means = [statistics.mean(row["nuclei"][name] for row in rows) for name in ("pq", "f1")]
        counts = [statistics.mean(row["nuclei"]["counts"][name] for row in rows) for name in ("merged", "missed")]
        each, seconds = ", ".join(f"{one:.3f}" for one in aji), statistics.mean(one.seconds for one in found)
        print(
            f"| {arm} | {statistics.mean(aji):.3f} | {each} | {means[0]:.3f} | {means[1]:.3f}"
            f" | {counts[0]:.0f} | {counts[1]:.0f} | {seconds:.0f} |"
        )


def seams(slides: Mapping[str, SyntheticSlide], found: Path) -> None:
    """Print how many nuclei were counted on some slides, and how those did that lie where tiles meet."""
    for position, (name, slide) in enumerate(slides.items(), start=1):
        true = [one.geometry for one in nucleus_detections(slide)]
        counted = [one.geometry for one in read_objects(next(found.glob(f"{position}-*.geojson"))).objects]
        is_found, is_on_seam = _found(true, counted), np.array([_meets_seam(one) for one in true])
        print(
            f"| {name} | {len(true)} | {len(counted)} | {len(counted) / len(true) - 1:+.1%}"
            f" | {is_found[~is_on_seam].mean():.1%} of {(~is_on_seam).sum()}"
            f" | {is_found[is_on_seam].mean():.1%} of {is_on_seam.sum()} | {_overlapping(counted)} |",
            flush=True,
        )


def _found(true: Sequence[shapely.Polygon], counted: Sequence[shapely.Polygon]) -> np.ndarray:
    ours, theirs = np.array(true, dtype=object), np.array(counted, dtype=object)
    a, b = shapely.STRtree(theirs).query(ours, predicate="intersects")
    shared = shapely.area(shapely.intersection(ours[a], theirs[b]))
    iou = shared / (shapely.area(ours[a]) + shapely.area(theirs[b]) - shared)
    best = np.zeros(len(ours))
    np.maximum.at(best, a, iou)
    return best > 0.5


def _meets_seam(outline: shapely.Polygon) -> bool:
    step = TILE_PX - 2 * MARGIN_PX
    left, top, right, bottom = outline.bounds
    return left // step != right // step or top // step != bottom // step


def _overlapping(outlines: Sequence[shapely.Polygon]) -> int:
    """Number of pairs that share more than a tenth of the smaller: a nucleus found twice."""
    shapes = np.array(outlines, dtype=object)
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    a, b = a[a < b], b[a < b]
    shared = shapely.area(shapely.intersection(shapes[a], shapes[b]))
    return int((shared > 0.1 * np.minimum(shapely.area(shapes[a]), shapely.area(shapes[b]))).sum())


def judge_arms(folder: Path, arms: Sequence[str], seeds: Sequence[int], epochs: int) -> None:
    """Print what each network scored, and what the last of them counts."""
    tests = small_slides(TEST_SEEDS)
    make_project(folder, "training", small_slides(TRAINING_SEEDS))
    make_project(folder, "test", tests)
    settings = {**ABLATION, "epochs": str(epochs)}
    results = {arm: [result(folder, arm, seed, settings) for seed in seeds] for arm in arms}
    ablation(results)
    print(SEAMS_HEADER)
    seams(tests, results[arms[-1]][0].found)


def count_demo(folder: Path, seed: int) -> None:
    """Print how many nuclei of the demonstration's slide are counted by a network that learned from others."""
    whole = SyntheticSpec(width_px=WHOLE_PX, height_px=WHOLE_PX, mpp=MPP)
    demo = {"demo": make_slide(replace(whole, width_px=DEMO_PX, height_px=DEMO_PX))}
    slides = {f"whole {one}": make_slide(replace(whole, seed=one)) for one in TRAINING_SEEDS}
    begin_s = time.process_time()
    learn(make_project(folder, "wholes", slides), folder / "model", COUNTING, seed)
    print(f"\nLearned in {time.process_time() - begin_s:.0f} CPU s.\n{SEAMS_HEADER}")
    find(make_project(folder, "demo", demo), folder / "model", folder / "found")
    seams(demo, folder / "found")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=["ablation", "count"], default=["ablation", "count"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=30, help="of the ablation")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        if "ablation" in options.parts:
            judge_arms(Path(scratch), options.arms, options.seeds, options.epochs)
        if "count" in options.parts:
            count_demo(Path(scratch), options.seeds[0])


if __name__ == "__main__":
    main()
