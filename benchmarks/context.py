"""What context is worth: the networks on procedural slides where one class is told only by its surroundings.

Nests of cells in fat are "Benign", the same nests in stroma are "Tumor", and each lies in a ring of stroma of 130 µm.
In a part, all networks have the same finest view, which does not reach out of that ring. They learn equally long from
the same slides, without a choice between epochs, and are judged on others, whose truth is known everywhere.

Run: ``uv run python benchmarks/context.py [--parts dmmn multiscale foveation memory] [--arms NAME ...] [--seeds 0 1 2]
[--log FILE]``; prints markdown tables. Each network takes minutes on two CPU cores. With ``--log`` every result is also
a line of that file, and what the file holds already is not computed again; so several runs can share the work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.models.registry import configure, family
from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import partial_annotations, region_annotations
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.evaluate import EvaluateRequest, evaluate
from qpbridge.workflows.train import TrainRequest, train

Annotate: TypeAlias = Callable[[SyntheticSlide], tuple[PathObject, ...]]

EDGE_UM = 3000
LABELLED_SHARE = 0.06
VALIDATION_SEED = 50
TEST_SEEDS = 100, 101, 102
LEARNING = {
    "stride_px": "32",
    "batch_size": "8",
    "learning_rate": "2e-3",
    "density_jitter": "0.1",
    "paste_p": "0",
    "selection_tolerance": "1",
}
"""What departs from the preset "small" in all networks: one stain, context that is to be trusted, the last epoch."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One network of a comparison, and what it learns from: ``"few"`` annotations or ``"full"`` ones."""

    title: str
    settings: Mapping[str, str] = field(default_factory=dict)
    project: str = "few"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One comparison: networks of a family on slides of a pixel size, µm, and how long they learn."""

    family: str
    mpp: float
    epochs: int
    settings: Mapping[str, str]
    arms: Sequence[Arm]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The IoU of one trained network on slides that it never saw: the mean and by class."""

    part: str
    network: str
    seed: int
    mean: float
    classes: Mapping[str, float]
    minutes: float
    training: Mapping[str, str]


PARTS: Mapping[str, Part] = {
    "dmmn": Part(
        family="dmmn",
        mpp=2.5,
        epochs=48,
        # Views of 160, 320 and 640 µm: what tells nests apart begins 175 µm beyond their border, 240 from their middle.
        settings={"patch_px": "64"},
        arms=[
            Arm(title="U-Net, one magnification", settings={"variant": "unet"}),
            Arm(title="DMMN-M3", settings={"variant": "m3"}),
            Arm(title="DMMN-M3, everything labelled", settings={"variant": "m3", "stride_px": "64"}, project="full"),
        ],
    ),
    "multiscale": Part(
        family="multiscale",
        mpp=1.25,
        epochs=24,
        settings={"patch_px": "64"},  # views of 80, 320 and 1280 µm
        arms=[
            *(
                Arm(title=variant, settings={"variant": variant})
                for variant in ("unet", "msy4", "msy16", "msui", "msyi", "msy2", "msy_mm2", "msy_mm_i_mm")
            ),
            *(
                Arm(title=f"msy_mm2, merge {rule}", settings={"variant": "msy_mm2", "merge": rule})
                for rule in ("published", "resized")
            ),
        ],
    ),
    "foveation": Part(
        family="foveation",
        mpp=1.25,
        epochs=24,
        # Fields of 80, 160, 320 and 640 µm: as in the paper, the finest lies within most regions of a class.
        settings={"patch_px": "64", "fields_px": "64,128,256,512", "glance_factor": "16"},
        arms=[
            *(
                Arm(title=f"field {80 * 2**i} µm only", settings={"variant": "fixed", "fixed_field": str(i)})
                for i in range(4)
            ),
            *(
                Arm(title=variant, settings={"variant": variant})
                for variant in ("random", "average", "mean", "gumbel", "argmax")
            ),
        ],
    ),
}


def projects(folder: Path, slides: int, mpp: float) -> Path:
    """Make the projects "few", "full" and "test" with slides of a pixel size, unless they are there; return where."""
    room = folder / f"{slides} slides of {mpp:g} µm"
    kinds: Mapping[str, tuple[Sequence[int], Annotate]] = {
        "few": (range(slides), lambda slide: partial_annotations(slide, share=LABELLED_SHARE)),
        "full": (range(slides), lambda slide: region_annotations(slide, count=1, size_um=EDGE_UM)),
        "test": (TEST_SEEDS, lambda slide: region_annotations(slide, count=6, size_um=600)),
    }
    for name, (seeds, annotate) in kinds.items():
        if (room / name).exists():
            continue
        entries = [_entry(room, seed, mpp, annotate) for seed in seeds]
        if name != "test":
            # Just enough to have it: no epoch is chosen.
            entries.append(_entry(room, VALIDATION_SEED, mpp, lambda slide: partial_annotations(slide, share=0.005)))
        create_project(room / name, entries, CLASSES)
    return room


def _entry(folder: Path, seed: int, mpp: float, annotate: Annotate) -> NewEntry:
    edge_px = round(EDGE_UM / mpp)
    slide = make_slide(SyntheticSpec(width_px=edge_px, height_px=edge_px, mpp=mpp, seed=seed))
    path = folder / f"{seed}.tif"
    if not path.exists():
        write_slide(path, slide)
    return entry_of_file(path, annotate(slide))


def result(name: str, arm: Arm, folder: Path, seed: int, training: Mapping[str, str]) -> Result:
    """Train a network and judge it on the slides that it never saw."""
    part, start_s = PARTS[name], time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        request = TrainRequest(
            project=folder / arm.project,
            out=Path(scratch) / "model",
            family=part.family,
            preset="small",
            validation=(f"{VALIDATION_SEED}.tif",),
            settings={"mpp": str(part.mpp), **LEARNING, **part.settings, **arm.settings, **training},
            backend="native",
            seed=seed,
        )
        train(request, SilentProgress())
        judging = EvaluateRequest(project=folder / "test", model=request.out, backend="native")
        pooled = evaluate(judging, SilentProgress()).pooled
    iou = {key: round(value, 4) for key, value in zip(pooled.class_names, pooled.iou.tolist(), strict=True)}
    minutes = round((time.monotonic() - start_s) / 60, 1)
    mean = round(pooled.mean_iou, 4)
    return Result(part=name, network=arm.title, seed=seed, mean=mean, classes=iou, minutes=minutes, training=training)


def table(name: str, results: Sequence[Result]) -> None:
    """Print the scores of a part's networks, those with results."""
    print(f"\n### {name}\n\n| network | mean IoU | each seed | {' | '.join(one.name for one in CLASSES)} | minutes |")
    print(f"|---|--:|---|{'--:|' * len(CLASSES)}--:|")
    for arm in PARTS[name].arms:
        found = [one for one in results if (one.part, one.network) == (name, arm.title)]
        if not found:
            continue
        mean, minutes = statistics.mean(one.mean for one in found), statistics.mean(one.minutes for one in found)
        classes = [statistics.mean(one.classes[item.name] for one in found) for item in CLASSES]
        each = ", ".join(f"{one.mean:.3f}" for one in sorted(found, key=lambda one: one.seed))
        print(f"| {arm.title} | {mean:.3f} | {each} | {' | '.join(f'{iou:.2f}' for iou in classes)} | {minutes:.1f} |")
    print(flush=True)


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
    print("\n### memory\n\n| network | activations, MiB | three single-scale networks |\n|---|--:|--:|")
    for variant in family("multiscale").variants:
        mib = saved_mib("multiscale", variant)
        print(f"| {variant} | {mib:.0f} | {mib / (3 * single):.2f} x |")
    print(flush=True)


def measure(given: argparse.Namespace, folder: Path) -> list[Result]:
    """Return what the log holds, and the results asked for beyond that, each logged as it comes."""
    log: Path | None = given.log
    known = (
        [] if log is None or not log.exists() else [Result(**json.loads(one)) for one in log.read_text().splitlines()]
    )
    training = {
        name: {"epochs": str(given.epochs or part.epochs), "samples_per_epoch": given.samples}
        for name, part in PARTS.items()
    }
    # Networks that learned longer or shorter are no comparison.
    known = [one for one in known if one.training == training[one.part]]
    done = {(one.part, one.network, one.seed) for one in known}
    for name in given.parts:
        for arm in PARTS[name].arms if name in PARTS else ():
            for seed in given.seeds:
                if (name, arm.title, seed) in done or (given.arms and arm.title not in given.arms):
                    continue
                found = result(name, arm, projects(folder, given.slides, PARTS[name].mpp), seed, training[name])
                known.append(found)
                if log is not None:
                    with log.open("a") as lines:
                        lines.write(json.dumps(asdict(found)) + "\n")
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", default=[*PARTS, "memory"], choices=[*PARTS, "memory"])
    parser.add_argument("--arms", nargs="+", help="only networks of these titles")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2], help="none prints the log")
    parser.add_argument("--epochs", type=int, help="for all parts; otherwise what suits each")
    parser.add_argument("--samples", default="600", help="in an epoch")
    parser.add_argument("--slides", type=int, default=6, help="to learn from")
    parser.add_argument("--log", type=Path, help="a line of JSON a result")
    parser.add_argument("--folder", type=Path, help="keeps the slides")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(given, given.folder or Path(scratch))
    for name in given.parts:
        if name == "memory":
            memory()
        else:
            table(name, results)


if __name__ == "__main__":
    main()
