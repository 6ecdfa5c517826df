"""What can be asked for: one record a workflow, and its form as JSON values. Loads no heavy library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from qpbridge.core.backend import BackendChoice
from qpbridge.core.geometry import Region
from qpbridge.core.objects import REGION_CLASS
from qpbridge.errors import InvalidValueError
from qpbridge.inference.maps.turning import TurnChoice

AnnotationsMode: TypeAlias = Literal["replace", "add"]
"""Whether annotations given with a request take the place of an entry's saved objects, or join them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What to train, on what.

    Parameters
    ----------
    project : Path
        A ``.qpproj`` file or its folder.
    out : Path
        Folder of the bundle; an older bundle there is replaced when training ends well.
    family : str or None
        Kind of network; that of ``base`` where None.
    preset : str or None
        Named settings; those of ``base``, or else the paper's, where None.
    base : Path or None
        Bundle to go on from, with its settings where none are given, in a next round of review.
    resume : bool
        Go on where the same training was interrupted, if it was.
    tensorboard : bool
        Write curves for TensorBoard beside the bundle, ``NAME.tensorboard``, while training goes on.
    classes : tuple of str or None
        Classes to tell apart; all annotated ones where None.
    entries : tuple of str or None
        Ids or image names to learn from; all where None.
    validation : tuple of str
        Ids or image names to judge by; where empty, a part of the annotations is held back.
    settings : mapping of str to str
        Single settings of network or recipe; they win over the preset.
    mpp : float or None
        Pixel size of the slides that overrides every other source, µm/px.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    seed : int
        Of all chance.
    path_map : tuple of str
        Rules ``FROM=TO`` that say where the project's slides lie.
    backend : {"auto", "paquo", "native"}
        See ``BackendChoice``.
    annotations : mapping of str to str
        GeoJSON texts by entry id or image name: the objects of an open viewer that are not saved.
    annotations_mode : {"replace", "add"}
        See ``AnnotationsMode``; entries without such a text keep their saved objects.
    region_class : str
        Class of annotations that mark areas as completely annotated.
    complete : bool
        Everything is annotated on every image that has objects, as if such an annotation lay over it.
    """

    project: Path
    out: Path
    family: str | None = None
    preset: str | None = None
    base: Path | None = None
    resume: bool = False
    tensorboard: bool = False
    classes: tuple[str, ...] | None = None
    entries: tuple[str, ...] | None = None
    validation: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    mpp: float | None = None
    device: str = "auto"
    seed: int = 0
    path_map: tuple[str, ...] = ()
    backend: BackendChoice = "auto"
    annotations: Mapping[str, str] = field(default_factory=dict)
    annotations_mode: AnnotationsMode = "replace"
    region_class: str = REGION_CLASS
    complete: bool = False

    def __post_init__(self) -> None:
        if self.family is None and self.base is None:
            raise InvalidValueError(
                "no family of networks was named: give --family, or a model to go on from with --from"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """What to predict.

    Parameters
    ----------
    inputs : tuple of Path
        One project (a ``.qpproj`` file or its folder), one folder of slides, or slides.
    model : Path
        Bundle.
    out : Path
        Folder; one GeoJSON a slide, ``run.json`` and ``summary.csv``.
    entries : tuple of str or None
        Ids or image names of a project's entries; all where None.
    mpp : float or None
        Pixel size of the slides that overrides every other source, µm/px.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    path_map : tuple of str
        Rules ``FROM=TO`` that say where the project's slides lie.
    backend : {"auto", "paquo", "native"}
        See ``BackendChoice``.
    gzip : bool
        Write ``.geojson.gz``.
    min_area_um2 : float or None
        Smaller regions join a neighbor, smaller nuclei are left out; what suits the family where None.
    cell_um : float
        Nuclei become cells that reach so far out, where no neighbor is nearer; 0 gives detections, µm.
    smooth_um : float
        See ``Outlining``.
    use_tissue_mask : bool
        Leave blank glass out.
    margin_px : int or None
        Rim of each tile that only serves as context, px of the model's finest view.
    blend : bool
        Let overlapping tiles fade into one another.
    tta : {"none", "flips", "d4"} or None
        Turns of each tile that probabilities are the mean over; see ``TurnChoice``. What the model was made for where
        None.
    probabilities : bool
        Write the class probabilities of each slide as OME-TIFF, too.
    uncertainty : bool
        Measure of each object how probable and how uncertain it is.
    suggest : int
        Add so many regions of each slide to be looked at next, where the model is least certain.
    seed : int
        Of networks that draw at random.
    annotations : mapping of str to str
        GeoJSON texts by entry id, image name or stem: where there is one, objects are predicted only inside the
        areas of its annotations, of whatever class, and end at their borders.
    annotations_mode : {"replace", "add"}
        With ``"add"``, an entry's saved annotations are such areas, too, where it has a text.
    within : tuple of str
        Classes: predict only inside annotations of these, the saved ones where no text is given; a base class stands
        for those derived from it. Where empty, classes do not count.
    resume : bool
        Keep the slides that an earlier run of the same request left whole in ``out``.
    write_back : bool
        Put the objects into the project, too: by a real QuPath, where nobody has changed the entry meanwhile.
    project_out : Path or None
        Folder for a new QuPath project of the slides and results: missing, empty, or a project that an earlier run
        made and nobody changed, which is replaced.
    """

    inputs: tuple[Path, ...]
    model: Path
    out: Path
    entries: tuple[str, ...] | None = None
    mpp: float | None = None
    device: str = "auto"
    path_map: tuple[str, ...] = ()
    backend: BackendChoice = "auto"
    gzip: bool = False
    min_area_um2: float | None = None
    smooth_um: float = 0.0
    cell_um: float = 0.0
    use_tissue_mask: bool = True
    margin_px: int | None = None
    blend: bool = False
    tta: TurnChoice | None = None
    probabilities: bool = False
    uncertainty: bool = False
    suggest: int = 0
    seed: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    annotations_mode: AnnotationsMode = "replace"
    within: tuple[str, ...] = ()
    resume: bool = False
    write_back: bool = False
    project_out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRegionRequest:
    """A part of one slide to predict.

    Parameters
    ----------
    input : Path
        A project (a ``.qpproj`` file or its folder), or a slide.
    model : Path
        Bundle.
    region : Region or None
        Level-0 px; objects end at its borders, and at those of the image. The whole image where None.
    entry : str or None
        Id or image name; may be None for a slide, and for a project of one entry.
    blend, tta, uncertainty, suggest
        As for ``PredictRequest``; suggestions come last.
    mpp, device, path_map, min_area_um2, smooth_um, cell_um, use_tissue_mask, margin_px, seed, annotations
        As for ``PredictRequest``; objects lie in both the region and the annotations.
    annotations_mode : {"replace", "add"}
        As for ``PredictRequest``; objects lie in both the region and the annotations.
    within : tuple of str
        As for ``PredictRequest``.
    """

    input: Path
    model: Path
    region: Region | None = None
    entry: str | None = None
    mpp: float | None = None
    device: str = "auto"
    path_map: tuple[str, ...] = ()
    min_area_um2: float | None = None
    smooth_um: float = 0.0
    cell_um: float = 0.0
    use_tissue_mask: bool = True
    margin_px: int | None = None
    blend: bool = False
    tta: TurnChoice | None = None
    uncertainty: bool = False
    suggest: int = 0
    seed: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    annotations_mode: AnnotationsMode = "replace"
    within: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """What to compare with a project's annotations: either a model or predictions.

    Parameters
    ----------
    project : Path
        A ``.qpproj`` file or its folder.
    model : Path or None
        Bundle, to be run on the annotated slides.
    predictions : Path or None
        Folder that ``predict`` wrote.
    entries : tuple of str or None
        Ids or image names; all that are annotated where None.
    mpp : float or None
        Pixel size of the slides that overrides every other source, µm/px.
    device : str
        As for ``predict``.
    path_map : tuple of str
        Rules ``FROM=TO`` that say where the project's slides lie.
    backend : {"auto", "paquo", "native"}
        See ``BackendChoice``.
    out : Path or None
        JSON file for the report.
    annotations, annotations_mode
        As for ``TrainRequest``.
    region_class : str
        Class of annotations that mark areas as completely annotated.
    complete : bool
        As for ``TrainRequest``.
    pictures : Path or None
        Folder for pictures of which nuclei were found, missed, split, merged and made up: one PNG for each part of
        a slide where all nuclei are annotated.
    """

    project: Path
    model: Path | None = None
    predictions: Path | None = None
    entries: tuple[str, ...] | None = None
    mpp: float | None = None
    device: str = "auto"
    path_map: tuple[str, ...] = ()
    backend: BackendChoice = "auto"
    out: Path | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    annotations_mode: AnnotationsMode = "replace"
    region_class: str = REGION_CLASS
    complete: bool = False
    pictures: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export.

    Parameters
    ----------
    project : Path
        A ``.qpproj`` file or its folder.
    out : Path
        Folder; one file an entry, ``ID-NAME.geojson``.
    entries : tuple of str or None
        Ids or image names; all where None.
    gzip : bool
        Write ``.geojson.gz``.
    annotations_only : bool
        Leave out detections, cells, tiles and TMA cores.
    label_maps : bool
        Write ``ID-NAME.labels.png`` and ``classes.json``, too.
    mpp : float or None
        Pixel size of the label maps, µm/px; None for the slide's own pixels.
    path_map : tuple of str
        Rules ``FROM=TO``.
    backend : {"auto", "paquo", "native"}
        See ``BackendChoice``.
    region_class : str
        Class of annotations that mark areas as completely annotated.
    """

    project: Path
    out: Path
    entries: tuple[str, ...] | None = None
    gzip: bool = False
    annotations_only: bool = False
    label_maps: bool = False
    mpp: float | None = None
    path_map: tuple[str, ...] = ()
    backend: BackendChoice = "auto"
    region_class: str = REGION_CLASS


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """What to look at.

    Parameters
    ----------
    project : Path
        A ``.qpproj`` file or its folder.
    entries : tuple of str or None
        Ids or image names; all where None.
    mpp : float or None
        Pixel size before every other source, µm/px.
    path_map : tuple of str
        Rules ``FROM=TO``.
    backend : {"auto", "paquo", "native"}
        See ``BackendChoice``.
    region_class : str
        Class of annotations that mark areas as completely annotated.
    """

    project: Path
    entries: tuple[str, ...] | None = None
    mpp: float | None = None
    path_map: tuple[str, ...] = ()
    backend: BackendChoice = "auto"
    region_class: str = REGION_CLASS


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportModelRequest:
    """Which model to export.

    Parameters
    ----------
    model : Path
        Bundle.
    out : Path
        The ``.onnx`` file.
    """

    model: Path
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRequest:
    """Which prediction to take back.

    Parameters
    ----------
    job_id : str
        Of the prediction.
    out : Path or None
        Folder of its results; where the job's own request says so, where None.
    """

    job_id: str
    out: Path | None = None
