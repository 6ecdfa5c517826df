"""What context is worth: the networks on procedural slides where one class is told only by its surroundings.

Nests of cells in fat are "Benign", the same nests in stroma are "Tumor", and each lies in a ring of stroma of 130 µm.
All networks have the same finest view, 64 px at 2 µm/px. They learn from some slides and are judged on others, whose
truth is known everywhere.

Run: ``uv run python benchmarks/context.py [--parts dmmn multiscale foveation memory] [--seeds 0 1 2] [--epochs 16]``;
prints markdown tables. With the defaults each network takes minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.models.registry import configure, family
from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.slides.opening import open_slide
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import partial_annotations, region_annotations
from qpbridge.workflows.evaluate import EvaluateRequest, evaluate
from qpbridge.workflows.train import TrainRequest, train

Annotate: TypeAlias = Callable[[SyntheticSlide], tuple[PathObject, ...]]

MPP = 2.0
EDGE_UM = 3000
TEST_SEED = 100
LABELLED_SHARE = 0.05
COMMON = {"mpp": "2.0", "patch_px": "64", "stride_px": "32"}
FOVEATED = {"fields_px": "64,128,256", "glance_factor": "8"}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One network of a comparison, and what it learns from: ``"few"`` annotations or ``"full"`` ones."""

    title: str
    family: str
    settings: Mapping[str, str] = field(default_factory=dict)
    project: str = "few"


PARTS: Mapping[str, Sequence[Arm]] = {
    "dmmn": [
        Arm(title="U-Net, one magnification", family="dmmn", settings={"variant": "unet"}),
        Arm(title="DMMN-M3", family="dmmn", settings={"variant": "m3"}),
        Arm(title="DMMN-M3, everything labelled", family="dmmn", settings={"variant": "m3"}, project="full"),
    ],
    "multiscale": [
        *(
            Arm(title=variant, family="multiscale", settings={"variant": variant})
            for variant in ("unet", "msy4", "msy16", "msui", "msyi", "msy2", "msy_mm2", "msy_mm_i_mm")
        ),
        *(
            Arm(title=f"msy2, merge {rule}", family="multiscale", settings={"variant": "msy2", "merge": rule})
            for rule in ("published", "resized")
        ),
    ],
    "foveation": [
        *(
            Arm(title=f"field {64 * 2**i} px only", family="foveation", settings={**FOVEATED, **fixed})
            for i, fixed in enumerate({"variant": "fixed", "fixed_field": str(i)} for i in range(3))
        ),
        *(
            Arm(title=variant, family="foveation", settings={**FOVEATED, "variant": variant})
            for variant in ("random", "average", "mean", "gumbel", "argmax")
        ),
    ],
}


def projects(folder: Path, slides: int) -> None:
    """Make the projects "few", "full" and "test" with their slides."""
    kinds: Mapping[str, tuple[range, Annotate]] = {
        "few": (range(slides), lambda slide: partial_annotations(slide, share=LABELLED_SHARE)),
        "full": (range(slides), lambda slide: region_annotations(slide, count=1, size_um=EDGE_UM)),
        "test": (range(TEST_SEED, TEST_SEED + 2), lambda slide: region_annotations(slide, count=8, size_um=600)),
    }
    for name, (seeds, annotate) in kinds.items():
        create_project(folder / name, [_entry(folder, seed, annotate) for seed in seeds], CLASSES)


def _entry(folder: Path, seed: int, annotate: Annotate) -> NewEntry:
    edge_px = round(EDGE_UM / MPP)
    slide = make_slide(SyntheticSpec(width_px=edge_px, height_px=edge_px, mpp=MPP, seed=seed))
    path = folder / f"{seed}.tif"
    if not path.exists():
        write_slide(path, slide)
    with open_slide(path) as written:
        return NewEntry(
            slide_path=path,
            name=path.name,
            width_px=written.width_px,
            height_px=written.height_px,
            downsamples=written.downsamples,
            calibration=slide.calibration,
            objects=annotate(slide),
        )


def score(arm: Arm, folder: Path, seed: int, training: Mapping[str, str]) -> Mapping[str, float]:
    """Train a network and return its IoU on the slides it never saw, by class, and the mean."""
    settings = {**COMMON, **training, **arm.settings}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        bundle = Path(scratch) / "model"
        train(
            TrainRequest(
                project=folder / arm.project,
                out=bundle,
                family=arm.family,
                preset="small",
                settings=settings,
                backend="native",
                seed=seed,
            ),
            SilentProgress(),
        )
        pooled = evaluate(
            EvaluateRequest(project=folder / "test", model=bundle, backend="native"), SilentProgress()
        ).pooled
    return {"mean": pooled.mean_iou, **dict(zip(pooled.class_names, pooled.iou.tolist(), strict=True))}


def table(arms: Sequence[Arm], folder: Path, seeds: Sequence[int], training: Mapping[str, str]) -> None:
    """Print the scores of some networks, row by row as they come."""
    print("| network | mean IoU | each seed | Benign | Tumor | minutes |\n|---|--:|---|--:|--:|--:|", flush=True)
    for arm in arms:
        start_s = time.monotonic()
        found = [score(arm, folder, seed, training) for seed in seeds]
        minutes = (time.monotonic() - start_s) / 60 / len(seeds)
        mean, benign, tumor = (statistics.mean(one[key] for one in found) for key in ("mean", "Benign", "Tumor"))
        each = ", ".join(f"{one['mean']:.3f}" for one in found)
        print(f"| {arm.title} | {mean:.3f} | {each} | {benign:.3f} | {tumor:.3f} | {minutes:.1f} |", flush=True)
    print()


def saved_mib(name: str, variant: str) -> float:
    """Return what a published network keeps of one sample for the gradient, MiB; nothing is computed."""
    chosen = family(name)
    config, _ = configure(name, "paper", {"variant": variant})
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.device("meta"):
        network = chosen.build(config, chosen.paper_classes).train()
        views = {v.name: torch.zeros(1, 3, v.fov.size_px, v.fov.size_px) for v in chosen.views(config)}
        own = {weights.untyped_storage()._cdata for weights in (*network.parameters(), *network.buffers())}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = network(views)
    assert outputs
    return sum(storage.nbytes() for key, storage in kept.items() if key not in own) / 2**20


def memory() -> None:
    """Print the activation memory of the networks of Schmitz et al. 2021, one sample of 512 px."""
    single = saved_mib("multiscale", "unet")
    print("| network | activations, MiB | three single-scale networks |\n|---|--:|--:|")
    for variant in family("multiscale").variants:
        mib = saved_mib("multiscale", variant)
        print(f"| {variant} | {mib:.0f} | {mib / (3 * single):.2f} x |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", default=[*PARTS, "memory"], choices=[*PARTS, "memory"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", default="16")
    parser.add_argument("--samples", default="480", help="in an epoch")
    parser.add_argument("--slides", type=int, default=3, help="to learn from")
    parser.add_argument("--arms", nargs="+", help="only networks whose title holds one of these")
    given = parser.parse_args()
    training = {"epochs": given.epochs, "samples_per_epoch": given.samples}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if set(given.parts) & set(PARTS):
            projects(folder, given.slides)
        for part in given.parts:
            print(f"\n### {part}\n", flush=True)
            if part == "memory":
                memory()
                continue
            arms = [arm for arm in PARTS[part] if not given.arms or any(one in arm.title for one in given.arms)]
            table(arms, folder, given.seeds, training)


if __name__ == "__main__":
    main()
