"""Train a network on the annotations of a QuPath project."""

from __future__ import annotations

import contextlib
import datetime
import math
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from qpbridge.core.backend import Backend
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.inference.device import Runtime, choose_device, use_available_cores
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.models.bundle import SPEC, Bundle, save_bundle, versions
from qpbridge.models.spec import Provenance, SplitMetrics
from qpbridge.training.fitting.curves import curves_rows
from qpbridge.training.fitting.loop import Fitted, Trainer
from qpbridge.training.fitting.report import Picture, training_report
from qpbridge.training.patches import PatchSet
from qpbridge.training.reading import PatchReader, SampleMaker, with_rims
from qpbridge.training.showing.charting import Chart
from qpbridge.training.showing.worst import Tile, pictures, worst_tiles
from qpbridge.training.team import Team, joined, own_device
from qpbridge.workflows.entries.annotations import with_annotations, with_complete
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.entries.gathering import Gathering, OpenedSlide
from qpbridge.workflows.entries.sources import Source, open_told, sources_in
from qpbridge.workflows.learning.keeping import checkpoints_of
from qpbridge.workflows.learning.masks import masks_folder, write_masks
from qpbridge.workflows.learning.material import Material, Plan, gather_material, project_of
from qpbridge.workflows.learning.rounds import Progression, beginning_of, load_base, plan_of, progression
from qpbridge.workflows.learning.staining import normalized
from qpbridge.workflows.requests import TrainRequest

__all__ = ["TrainReport", "TrainRequest", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What training gave.

    Parameters
    ----------
    bundle : Path
        Folder of the model.
    digest : str
        Of its weights; empty in a process that only helped.
    classes : tuple of str
        In the order of the outputs.
    training_entries, validation_entries : tuple of str
        Image names.
    training_patches, validation_patches : int
        Before balancing.
    best_epoch, epochs : int
        The epoch kept, and how many there were.
    mean_iou : float
        On the validation pixels, over the classes present there.
    class_iou : mapping of str to float or None
        None for a class without validation pixels.
    device : str
        Where.
    duration_s : float
        Wall time, s.
    failures : tuple of Failure
        Entries that could not be used.
    progression : Progression or None
        What a round of review changed, where training went on from a model.
    pseudo_masks : Path or None
        Folder with what a first stage labelled for the second one, as GeoJSON; None for trainings of one stage.
    is_judged_by_people : bool
        Whether people labelled the validation pixels, and not the first stage.
    backend : Backend
        What read the project.
    """

    bundle: Path
    digest: str
    classes: tuple[str, ...]
    training_entries: tuple[str, ...]
    validation_entries: tuple[str, ...]
    training_patches: int
    validation_patches: int
    best_epoch: int
    epochs: int
    mean_iou: float
    class_iou: Mapping[str, float | None]
    device: str
    duration_s: float
    failures: tuple[Failure, ...] = ()
    backend: Backend = field(default_factory=Backend)
    progression: Progression | None = None
    pseudo_masks: Path | None = None
    is_judged_by_people: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            **asdict(self),
            "bundle": str(self.bundle),
            "pseudo_masks": None if self.pseudo_masks is None else str(self.pseudo_masks),
            "mean_iou": None if math.isnan(self.mean_iou) else self.mean_iou,
        }


def train(request: TrainRequest, progress: Progress) -> TrainReport:
    """Train a network and write its bundle.

    An entry that cannot be used is told and left out. The bundle appears when all is done, or not at all. Where
    torchrun started several processes, they train together, and the first writes.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If family, preset, key, value, entry or device do not exist, something else than a bundle lies at ``out``,
        nothing can be written there, or annotations of the request cannot be read.
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    NoAnnotationError, TooFewClassesError, NothingToTrainError
        If the annotations do not suffice.
    DiskFullError
        If there is no space left.
    CancelledError
        If somebody asked to stop.
    """
    start_s = time.monotonic()
    _check_out(request.out)
    base = load_base(request.base)
    plan = plan_of(request, base)
    runtime = Runtime.suited_to(choose_device(own_device(request.device)))
    use_available_cores()
    gathering = Gathering(_sources(request, progress), request.mpp, progress, request.region_class)
    with contextlib.ExitStack() as stack:
        team = stack.enter_context(joined(runtime.device))
        material = normalized(gather_material(plan, gathering, stack, progress), plan, base, progress)
        if request.tensorboard and team.is_first:
            progress = stack.enter_context(Chart(progress, charts_beside(request.out), goes_on=request.resume))
        maker = _maker(plan, material)
        fitted = _fit(plan, material, maker, base, (runtime, team), progress)
        worst = _worst(plan, material, maker, fitted, runtime, progress) if team.is_first else []
    spec, names = material.spec, tuple(item.name for item in material.spec.classes)
    provenance = _provenance(plan, material, fitted, base)
    rows = curves_rows(fitted.records, names)
    facts = {"network": f"{spec.family}-{spec.variant}", "best epoch": f"{fitted.best.epoch} of {len(fitted.records)}"}
    colors = {one.name: one.color_rgb for one in spec.classes}
    page = training_report(f"Training on {provenance.project}", facts, rows, fitted.confusion, colors, worst)
    files = {"report.html": page}
    digest = save_bundle(request.out, spec, fitted.network, provenance, rows, files) if team.is_first else ""
    return TrainReport(
        bundle=request.out,
        digest=digest,
        classes=names,
        training_entries=provenance.training_entries,
        validation_entries=provenance.validation_entries,
        training_patches=len(material.training.patches),
        validation_patches=len(material.validation.patches),
        best_epoch=fitted.best.epoch,
        epochs=len(fitted.records),
        mean_iou=fitted.best.mean_iou,
        class_iou=_by_class(names, fitted.best.class_iou),
        device=str(runtime.device),
        duration_s=round(time.monotonic() - start_s, 1),
        failures=tuple(gathering.failures),
        backend=project_of(material.opened).backend,
        progression=None
        if base is None or fitted.before is None
        else progression(base, names, provenance.annotated_area_um2, fitted.before, fitted.best),
        pseudo_masks=masks_folder(request.out) if len(plan.family.course(plan.config)) > 1 else None,
        is_judged_by_people=fitted.is_judged_by_people,
    )


def charts_beside(out: Path) -> Path:
    """Return the folder of the curves for TensorBoard of the training that writes a bundle."""
    return out.with_name(f"{out.name}.tensorboard")


def _maker(plan: Plan, material: Material) -> SampleMaker:
    spec, recipe = material.spec, plan.recipe
    reader = PatchReader([one.slide for one in material.opened], with_rims(spec.views, recipe))
    return SampleMaker(reader, spec.views, recipe, plan.request.seed, plan.family.encoding(spec))


def _worst(
    plan: Plan, material: Material, maker: SampleMaker, fitted: Fitted, runtime: Runtime, progress: Progress
) -> list[Picture]:
    """Return pictures of the validation patches with the most pixels wrong."""
    spec, probabilities = material.spec, plan.family.probabilities
    segmenter = Segmenter(network=fitted.network, views=spec.views, classes=spec.classes, probabilities=probabilities)
    tiles = worst_tiles(Engine(segmenter, runtime, progress), material.validation, maker, progress)
    colors = [one.color_rgb for one in spec.classes]
    return [Picture(caption=_caption(tile, material), parts=pictures(tile, colors)) for tile in tiles]


def _caption(tile: Tile, material: Material) -> str:
    x_px, y_px = tile.patch.center_px
    name = material.opened[tile.patch.slide].source.name
    place = f"{name}, around x {x_px:.0f} px, y {y_px:.0f} px"
    return f"{place}: {100 * tile.wrong_px / tile.labelled_px:.0f} % of {tile.labelled_px:,} annotated pixels wrong"


def _fit(
    plan: Plan,
    material: Material,
    maker: SampleMaker,
    base: Bundle | None,
    place: tuple[Runtime, Team],
    progress: Progress,
) -> Fitted:
    spec, recipe, seed = material.spec, plan.recipe, plan.request.seed
    weights = None if base is None else beginning_of(spec, base, progress)
    runtime, team = place
    trainer = Trainer(plan.family, spec, recipe, runtime, seed, weights=weights)
    trainer.join(team)
    checkpoints = checkpoints_of(plan, material, None if base is None else base.digest)
    show = partial(write_masks, masks_folder(plan.request.out), opened=material.opened, spec=spec, progress=progress)
    fitted = trainer.fit(material.training, material.validation, maker, progress, checkpoints, show)
    checkpoints.clear()
    return fitted


def _check_out(out: Path) -> None:
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not is_free and not (out / SPEC).is_file():
        raise InvalidValueError(f"{out} exists and is no model bundle, so it is not replaced: give another folder")
    try:
        # After hours of training it would be too late to learn this.
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}."):
            pass
    except OSError as error:
        told = error.strerror or str(error)
        raise InvalidValueError(f"no bundle can be written to {out} ({told}): give another folder") from error


def _sources(request: TrainRequest, progress: Progress) -> list[Source]:
    entries = None if request.entries is None else tuple(dict.fromkeys((*request.entries, *request.validation)))
    project = open_told(request.project, request.backend, progress)
    sources = sources_in(project, entries, request.path_map)
    named = with_annotations(sources, request.annotations, request.annotations_mode)
    return with_complete(named, request.region_class if request.complete else None)


def _provenance(plan: Plan, material: Material, fitted: Fitted, base: Bundle | None) -> Provenance:
    areas: Counter[str] = Counter()
    for position in {patch.slide for patch in material.training.patches}:
        areas.update(material.opened[position].areas_um2)
    matrix = fitted.confusion
    split = "validation" if fitted.is_judged_by_people else "validation, by the first stage's pseudo masks"
    by_class = {f"IoU {name}": value for name, value in _by_class(matrix.class_names, matrix.iou.tolist()).items()}
    return Provenance(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=versions(),
        seed=plan.request.seed,
        recipe=plan.recipe,
        project=material.opened[0].source.project_name,
        training_entries=_names(material.opened, material.training),
        validation_entries=_names(material.opened, material.validation),
        annotated_area_um2={name: areas[name] for name in matrix.class_names if name in areas},
        metrics=(SplitMetrics(split=split, values={"mean IoU": matrix.mean_iou, **by_class}),),
        parent_digest=None if base is None else base.digest,
    )


def _names(opened: Sequence[OpenedSlide], patches: PatchSet) -> tuple[str, ...]:
    return tuple(opened[i].source.name for i in sorted({patch.slide for patch in patches.patches}))


def _by_class(names: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
