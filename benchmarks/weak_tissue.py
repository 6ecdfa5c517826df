"""What tags are worth: tissue segmentation that only knew which tissues occur in squares of 128 um.

On procedural slides, squares are tagged with what they show, or, to compare, outlined completely. Each arm is judged by
its IoU on slides that it never saw, whose truth is known: the classifier's maps without and with progressive dropout
attention, the segmenter that learned from them, and the same segmenter that learned from the outlines.

Run: ``uv run python benchmarks/weak_tissue.py [--seeds 0 1] [--set epochs=12 ...] [--folder DIR]``; prints a markdown
table, row by row. With the defaults a seed takes about four minutes of one core.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from shapely import get_num_coordinates
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.objects import REGION_CLASS, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.inference.device import Runtime, choose_device
from qpbridge.models.bundle import Bundle, load_bundle
from qpbridge.models.families.weak_tissue import WEAK_TISSUE
from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import region_annotations, tags
from qpbridge.training.fitting.loop import Trainer
from qpbridge.training.reading import PatchReader, SampleMaker, with_rims
from qpbridge.workflows.entries.gathering import Gathering
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.entries.sources import open_told, sources_in
from qpbridge.workflows.evaluate import EvaluateRequest, evaluate
from qpbridge.workflows.learning.material import gather_material
from qpbridge.workflows.learning.rounds import plan_of
from qpbridge.workflows.train import TrainRequest, train

MPP = 2.0
EDGE_UM = 3000
SQUARES = 80
SQUARE_UM = 128.0
DRAWN_UM = 4.0
"""How far an outline drawn by hand may lie off; corners closer together than that are not clicked."""

QUIET = SilentProgress()


class Maps(nn.Module):
    """The classifier's own maps as a segmenter; it also has to tell which classes occur."""

    def __init__(self, network: Any, classes: int) -> None:
        super().__init__()
        self.network = network
        self.classes = classes

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.inference_mode(False), torch.no_grad():
            seen = {name: view.clone() for name, view in views.items()}
            unknown = torch.full((len(seen["x1"]), self.classes), IGNORE_INDEX)
            labels = self.network.pseudo_masks(seen, unknown)[:, 0]
            # Where no class shows, the first one wins, as in Han et al. 2022.
            found = labels.where(labels != IGNORE_INDEX, 0)
            return {"logits": 50.0 * nn.functional.one_hot(found, self.classes).permute(0, 3, 1, 2).float()}


def outlined(slide: SyntheticSlide) -> tuple[PathObject, ...]:
    """Return all tissue in the squares, without the squares: glass in them stays unknown, as it is to tags."""
    drawn = region_annotations(slide, count=SQUARES, size_um=SQUARE_UM)
    return tuple(item for item in drawn if item.path_class is not None and item.path_class.name != REGION_CLASS)


def projects(folder: Path, slides: int) -> Mapping[str, int]:
    """Make the projects "tags", "outlines" and "test", and return the clicks of the first two."""
    kinds: Mapping[str, tuple[Sequence[int], Callable[[SyntheticSlide], tuple[PathObject, ...]]]] = {
        "tags": (range(slides), lambda slide: tags(slide, count=SQUARES, size_um=SQUARE_UM)),
        "outlines": (range(slides), outlined),
        "test": ((100, 101), lambda slide: region_annotations(slide, count=8, size_um=600)),
    }
    clicks = {}
    for name, (seeds, annotate) in kinds.items():
        entries = [_entry(folder, seed, annotate) for seed in seeds]
        if not (folder / name).exists():
            create_project(folder / name, entries, CLASSES)
        clicks[name] = sum(_clicks(item) for entry in entries for item in entry.objects)
    return clicks


def _entry(folder: Path, seed: int, annotate: Callable[[SyntheticSlide], tuple[PathObject, ...]]) -> NewEntry:
    edge_px = round(EDGE_UM / MPP)
    slide = make_slide(SyntheticSpec(width_px=edge_px, height_px=edge_px, mpp=MPP, seed=seed, has_context_class=False))
    path = folder / f"{seed}.tif"
    if not path.exists():
        write_slide(path, slide)
    return entry_of_file(path, annotate(slide))


def _clicks(item: PathObject) -> int:
    """Two corners of a square and one click a tissue; or the corners of an outline and one for its class."""
    assert item.path_class is not None
    if item.path_class.parts[0] == REGION_CLASS:
        return 2 + len(item.path_class.parts) - 1
    return int(get_num_coordinates(item.geometry.simplify(DRAWN_UM / MPP))) + 1


def weak(folder: Path, seed: int, settings: Mapping[str, str]) -> Bundle:
    """Train on tags."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch) / "model"
        train(_request(folder / "tags", out, seed, settings), QUIET)
        return load_bundle(out)


def full(folder: Path, seed: int, settings: Mapping[str, str]) -> Bundle:
    """Train the segmenter alone, on outlines."""
    request = _request(folder / "outlines", folder / "none", seed, {**settings, "gate": "false"})
    plan = plan_of(request, None)
    family = replace(
        WEAK_TISSUE,
        stages=lambda config: (replace(WEAK_TISSUE.course(config)[1], label=None),),
        tags=lambda _config: None,
    )
    plan = replace(plan, family=family)
    with contextlib.ExitStack() as stack:
        gathering = Gathering(sources_in(open_told(request.project, "native", QUIET), None, ()), None, QUIET)
        material = gather_material(plan, gathering, stack, QUIET)
        spec, recipe = material.spec, plan.recipe
        reader = PatchReader([one.slide for one in material.opened], with_rims(spec.views, recipe))
        maker = SampleMaker(reader, spec.views, recipe, seed, family.encoding(spec))
        trainer = Trainer(family, spec, recipe, Runtime.suited_to(choose_device("cpu")), seed)
        fitted = trainer.fit(material.training, material.validation, maker, QUIET)
    return Bundle(spec=spec, network=fitted.network, provenance=None, digest="")  # type: ignore[arg-type]


def _request(project: Path, out: Path, seed: int, settings: Mapping[str, str]) -> TrainRequest:
    return TrainRequest(
        project=project,
        out=out,
        family="weak_tissue",
        preset="small",
        settings=settings,
        device="cpu",
        backend="native",
        seed=seed,
    )


def gated(bundle: Bundle, is_gated: bool) -> Bundle:
    """Return a model with its gate open or closed."""
    network: Any = bundle.network
    network.config = replace(network.config, gate=is_gated)
    return bundle


def mapped(bundle: Bundle) -> Bundle:
    """Return the maps of a model's classifier as a model."""
    return replace(bundle, network=Maps(bundle.network, len(bundle.spec.classes)))


def score(bundle: Bundle, folder: Path) -> ConfusionMatrix:
    """Return what a model gets right on the slides that it never saw."""
    known = replace(bundle, provenance=_Nobody())  # type: ignore[arg-type]
    request = EvaluateRequest(project=folder / "test", model=folder, device="cpu", backend="native")
    return evaluate(request, QUIET, lambda _: known).pooled


class _Nobody:
    training_entries: tuple[str, ...] = ()


def row(title: str, seed: int, matrix: ConfusionMatrix, start_s: float) -> None:
    classes = " | ".join(f"{iou:.3f}" for iou in matrix.iou)
    figures = f"{matrix.mean_iou:.3f} | {matrix.frequency_weighted_iou:.3f} | {matrix.pixel_accuracy:.3f}"
    print(f"| {title} | {seed} | {figures} | {classes} | {time.process_time() - start_s:.0f} |", flush=True)


def compare(folder: Path, seed: int, settings: Mapping[str, str]) -> None:
    """Print all arms of one seed."""
    start_s = time.process_time()
    row(
        "classifier's maps",
        seed,
        score(mapped(weak(folder, seed, {**settings, "attention": "false", "epochs": "1"})), folder),
        start_s,
    )
    start_s = time.process_time()
    multi = weak(folder, seed, settings)
    row("maps, with attention", seed, score(mapped(multi), folder), start_s)
    single = weak(folder, seed, {**settings, "variant": "single_layer"})
    row("segmenter, single-layer", seed, score(gated(single, False), folder), start_s)
    row("segmenter, multi-layer", seed, score(gated(multi, False), folder), start_s)
    row("segmenter, multi-layer, gate", seed, score(gated(multi, True), folder), start_s)
    start_s = time.process_time()
    row("segmenter, outlines", seed, score(full(folder, seed, settings), folder), start_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--slides", type=int, default=3, help="to learn from")
    parser.add_argument("--set", nargs="*", default=[], help="settings of all arms")
    parser.add_argument("--folder", type=Path, help="keeps slides and projects for another run")
    given = parser.parse_args()
    settings = dict(one.split("=", 1) for one in given.set)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        clicks = projects(folder, given.slides)
        print(f"clicks: {clicks['tags']} for tags, {clicks['outlines']} for outlines\n")
        names = "Stroma | Adipose | Necrosis | Tumor"
        print(f"| what | seed | mean IoU | FwIoU | pixel accuracy | {names} | CPU s |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
        for seed in given.seeds:
            compare(folder, seed, settings)


if __name__ == "__main__":
    main()
