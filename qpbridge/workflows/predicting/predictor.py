"""One model, ready for one slide after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import Progress
from qpbridge.inference.device import Runtime, choose_device, use_available_cores
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.interest import Interest
from qpbridge.inference.maps.blending import rows_of
from qpbridge.inference.maps.turning import Turn, turns_of
from qpbridge.inference.nuclei.decoding import DECODINGS, Decoding
from qpbridge.inference.nuclei.harvesting import Harvesting
from qpbridge.inference.nuclei.objects import Labelling, to_objects
from qpbridge.inference.nuclei.predicting import Finding, predict_nuclei
from qpbridge.inference.objects import Identity, Outlining, outlines, to_annotations
from qpbridge.inference.predicting import Scene
from qpbridge.inference.surveying import survey_tiles
from qpbridge.models.bundle import Bundle
from qpbridge.models.registry import family
from qpbridge.slides.slide import Slide
from qpbridge.slides.tissue import TissueMask, tissue_mask
from qpbridge.vector.labels import Subject
from qpbridge.vector.polygons import LabelledPolygon
from qpbridge.workflows.entries.sources import OpenedSource, Source
from qpbridge.workflows.entries.staining import stained_as
from qpbridge.workflows.predicting.areas import areas_of
from qpbridge.workflows.predicting.extras import Extras, check
from qpbridge.workflows.requests import PredictRegionRequest, PredictRequest

_ALONE_PX: Final = 4096**2
"""Up to so many pixels, nuclei are made in this process: others take seconds to start."""

_COARSER_MAX: Final = 1.5
"""How much coarser than the model's a slide's pixels may be before the user is told."""


def _turns(request: PredictRequest | PredictRegionRequest, bundle: Bundle) -> Sequence[Turn]:
    of_family = family(bundle.spec.family).turns
    default = "none" if of_family is None else of_family(bundle.spec.config)
    return turns_of(request.tta or default)


def _decoding(bundle: Bundle) -> Decoding:
    of_family = family(bundle.spec.family).decoding
    return Decoding() if of_family is None else DECODINGS[of_family(bundle.spec.config)]


class NotedProgress:
    """Passes progress on, with the number of objects so far, and keeps the warnings.

    Parameters
    ----------
    progress : Progress
        Hears of everything.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.warnings: list[str] = []
        self.objects = 0

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Tell a step and the objects so far."""
        self._progress.report(stage, done, total, objects=self.objects, **numbers)

    def warn(self, message: str) -> None:
        """Keep and tell a warning."""
        self.warnings.append(message)
        self._progress.warn(message)

    def raise_if_cancelled(self) -> None:
        """Raise ``CancelledError`` if somebody asked to stop."""
        self._progress.raise_if_cancelled()


class Predictor:
    """A model on a device.

    Parameters
    ----------
    request : PredictRequest or PredictRegionRequest
        Says how to predict.
    bundle : Bundle
        The model.
    progress : NotedProgress
        Hears of everything.

    Raises
    ------
    InvalidValueError
        If a value of the request is out of range.
    """

    def __init__(self, request: PredictRequest | PredictRegionRequest, bundle: Bundle, progress: NotedProgress) -> None:
        self.request = request
        self.bundle = bundle
        self.progress = progress
        self.runtime = Runtime.suited_to(choose_device(request.device))
        self.threads = use_available_cores()
        least_um2 = {} if request.min_area_um2 is None else {"min_area_um2": request.min_area_um2}
        self.outlining = Outlining(smooth_um=request.smooth_um, **least_um2)
        self.decoding = _decoding(bundle)
        if request.min_area_um2 is not None:
            self.decoding = replace(self.decoding, min_area_um2=request.min_area_um2)
        torch.manual_seed(request.seed)
        self.finds_nuclei = family(bundle.spec.family).subject is Subject.NUCLEI
        self.engine = Engine(Segmenter.of(bundle), self.runtime, progress, _turns(request, bundle))
        self._seen: tuple[OpenedSource, Slide] | None = None
        check(request, self.finds_nuclei)

    def scene(self, source: Source, opened: OpenedSource, interest: Interest | None) -> Scene:
        """Return what is to be labelled, and tell what is odd about it."""
        mpp = self.bundle.spec.views[0].fov.mpp
        calibration = opened.calibration
        if max(calibration.mpp_x, calibration.mpp_y) > _COARSER_MAX * mpp:
            self.progress.warn(
                f"{source.label} has pixels of {calibration.mpp_x:.3g} µm, the model was trained on {mpp:.3g} µm:"
                " what it looks for cannot be seen there"
            )
        tissue = self._tissue(opened)
        if tissue is not None and not tissue.area_um2:
            self.progress.warn(f"{source.label}: no tissue found; --no-tissue-mask predicts on all of it")
        return Scene(
            slide=self._slide(source, opened),
            calibration=calibration.fitted_to(mpp),
            region=opened.region,
            tissue=tissue,
            interest=interest,
        )

    def _slide(self, source: Source, opened: OpenedSource) -> Slide:
        """Return a slide as the model wants to see it."""
        if self._seen is None or self._seen[0] is not opened:
            target = self.bundle.spec.staining
            self._seen = opened, stained_as(target, opened.slide, opened.calibration, source.label, self.progress)
        return self._seen[1]

    def places(self, source: Source, opened: OpenedSource, interest: Interest | None) -> list[PathObject] | None:
        """Return what the model says of places, as tile objects; None where it is one that says nothing of them."""
        spec = self.bundle.spec
        of_family = family(spec.family).survey
        survey = None if of_family is None else of_family(self.bundle.network, spec.config)
        if survey is None:
            return None
        scene = Scene(
            slide=self._slide(source, opened),
            calibration=opened.calibration.fitted_to(spec.views[0].fov.mpp),
            region=opened.region,
            tissue=self._tissue(opened),
            interest=interest,
        )
        identity = self._identity(opened)
        return survey_tiles(survey, self.engine, scene, identity, self.progress, self.request.margin_px)

    def _tissue(self, opened: OpenedSource) -> TissueMask | None:
        return tissue_mask(opened.slide, opened.calibration) if self.request.use_tissue_mask else None

    def extras(self) -> Extras:
        """Return what is wanted of a slide beside outlines."""
        return Extras(self.request, self.engine.segmenter)

    def objects(
        self, source: Source, opened: OpenedSource, interest: Interest | None, map_file: Path | None = None
    ) -> list[PathObject]:
        """Return the objects of a slide, or of the areas of interest on it, and then what is suggested for review.

        Parameters
        ----------
        source, opened : Source, OpenedSource
            The slide.
        interest : Interest or None
            Where to look.
        map_file : Path or None
            Where to write a map of probabilities.
        """
        if self.finds_nuclei:
            return self._nuclei(source, opened, interest)
        scene, extras = self.scene(source, opened, interest), self.extras()
        with extras.plan(opened, map_file) as plan:
            *_, (mosaic, _) = rows_of(self.engine, scene, self.progress, plan, f"predict {source.name}")
        stage = f"outline {source.name}"
        self.progress.report(stage, 0, 1)
        polygons = outlines(mosaic, opened.calibration, self.outlining, opened.region, interest)
        self.progress.raise_if_cancelled()
        objects = self.annotations(polygons, opened, extras) + self.suggestions(opened, extras)
        self.progress.objects += len(objects)
        self.progress.report(stage, 1, 1)
        return objects

    def _nuclei(self, source: Source, opened: OpenedSource, interest: Interest | None) -> list[PathObject]:
        spec, request = self.bundle.spec, self.request
        harvesting = Harvesting(decoding=self.decoding, mpp=spec.views[0].fov.mpp, cell_um=request.cell_um)
        finding = Finding(
            layers={head.name: head.channels for head in spec.heads},
            harvesting=harvesting,
            workers=self._workers(opened),
            margin_px=request.margin_px,
        )
        scene = self.scene(source, opened, interest)
        found = predict_nuclei(self.engine, scene, finding, self.progress, f"predict {source.name}")
        labelling = Labelling(
            classes=spec.classes,
            identity=self._identity(opened),
            are_cells=request.cell_um > 0,
        )
        placement = found.placement(opened.region, opened.calibration)
        # Only what the request names: inside other annotations nobody asked for nuclei.
        parents = areas_of(source, request.within) or []
        objects = to_objects(found.nuclei, placement, labelling, interest, parents)
        self.progress.objects += len(objects)
        return objects

    def _workers(self, opened: OpenedSource) -> int:
        """Return how many processes make nuclei: none for what is done before they have started."""
        mpp = self.bundle.spec.views[0].fov.mpp
        model_px = opened.region.width_px * opened.region.height_px * opened.calibration.pixel_area_um2 / mpp**2
        return 0 if model_px < _ALONE_PX else max(1, self.threads // 2)

    def annotations(
        self, polygons: Sequence[LabelledPolygon], opened: OpenedSource, extras: Extras
    ) -> list[PathObject]:
        """Return the objects that some outlines on a slide make."""
        measured = extras.measurements(polygons)
        identity = self._identity(opened)
        return to_annotations(polygons, self.bundle.spec.classes, opened.calibration, identity, measured)

    def suggestions(self, opened: OpenedSource, extras: Extras) -> list[PathObject]:
        """Return the regions to be looked at next, once all of a slide is predicted."""
        return extras.suggestions(opened.region, self._identity(opened))

    def _identity(self, opened: OpenedSource) -> Identity:
        return Identity(slide=opened.slide.fingerprint, model=self.bundle.digest)
