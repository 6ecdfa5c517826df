"""What the preflight reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qpbridge.core.backend import Backend
from qpbridge.core.geometry import PixelCalibration
from qpbridge.workflows.entries.failures import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """What is known of an entry's image.

    Parameters
    ----------
    slide : Path or None
        Where it lies; None where it was not found.
    width_px, height_px : int or None
        Level 0, as QuPath shows it.
    calibration : PixelCalibration or None
        Size of a pixel.
    calibration_source : str
        ``"request"``, ``"project"``, ``"file"`` or ``"missing"``.
    uri : str or None
        Where the project has it.
    found_by : str or None
        What led to the slide, e.g. ``"path map"``; None where it was not found or does not open.
    """

    slide: Path | None = None
    width_px: int | None = None
    height_px: int | None = None
    calibration: PixelCalibration | None = None
    calibration_source: str = "missing"
    uri: str | None = None
    found_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """Objects of one class in one entry.

    Parameters
    ----------
    name : str or None
        None for objects without a class.
    is_ignored : bool
        Left out of training, as in QuPath.
    objects, annotations : int
        Objects of every kind, and the annotations among them.
    area_mm2 : float or None
        Annotated area, overlaps counted once; None where the class is ignored or the pixel size unknown.
    tags : int
        Areas, and the whole image, of which tags say that the class occurs there.
    is_region : bool
        Marks complete areas.
    """

    name: str | None
    is_ignored: bool
    objects: int
    annotations: int
    area_mm2: float | None
    tags: int = 0
    is_region: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Annotations that cannot be used as they stand.

    Parameters
    ----------
    what : str
        What is the matter and what becomes of them.
    count : int
        How many.
    examples : tuple of str
        Names or ids of the first ones.
    """

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReport:
    """One entry: its image, its objects by class, and everything that is wrong with it.

    Parameters
    ----------
    id, name : str
        Within the project, and as QuPath shows it.
    image : ImageReport
        Its image.
    has_data : bool
        Whether QuPath has ever saved objects for it.
    kinds : mapping of str to int
        Objects of each kind that occurs.
    locked : int
        Locked objects.
    complete_mm2 : float or None
        Area marked as completely annotated; None where the pixel size is unknown.
    metadata, tags
        As in QuPath's project pane.
    classes : tuple of ClassReport
        Its objects by class.
    troubles : tuple of Trouble
        Objects that cannot be used as they stand.
    notes : tuple of str
        What is used, but should be looked at.
    problems : tuple of Failure
        Why the entry cannot be used; none where it can.
    """

    id: str
    name: str
    image: ImageReport
    has_data: bool = False
    kinds: Mapping[str, int] = field(default_factory=dict)
    locked: int = 0
    complete_mm2: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    classes: tuple[ClassReport, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Failure, ...] = ()

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"entry {self.id} '{self.name}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClass:
    """A class that training would learn.

    Parameters
    ----------
    name : str
        Of the class.
    entries : int
        Entries that show it.
    annotations : int
        Its annotations there, derived classes among them.
    area_mm2 : float
        Area that is labelled as it, after the rules for overlaps and complete areas.
    patches : int
        Places for patches that show it.
    """

    name: str
    entries: int
    annotations: int
    area_mm2: float
    patches: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedClass:
    """A class that training on tags would learn, and how many areas are known to show it, or to lack it."""

    name: str
    present: int
    absent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPreview:
    """What training on tags would use.

    Parameters
    ----------
    classes : tuple of TaggedClass
        Of the entries that can be used.
    areas : int
        Tagged areas, whole images among them.
    edge_um : float
        Median of their longer edges, µm; an area is learned from as a whole where a patch holds it.
    obstacle : str or None
        Why training on tags would refuse; None where it would start.
    """

    classes: tuple[TaggedClass, ...] = ()
    areas: int = 0
    edge_um: float = 0.0
    obstacle: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPreview:
    """What training would use.

    Parameters
    ----------
    classes : tuple of TrainingClass
        Of the entries that can be used.
    entries : tuple of str
        Their ids.
    obstacle : str or None
        Why training of tissue would refuse; None where it would start.
    patches : int
        Places for patches, side by side, of which enough is labelled; sampled, not counted pixel by pixel.
    patch_px, patch_mpp
        Their edge, px, and pixel size, µm/px.
    nuclei : int
        Detections and cells in usable entries that have complete areas.
    complete_mm2 : float
        Area marked as completely annotated in usable entries.
    tagged : TagPreview or None
        What training on tags would use; None where nothing is tagged.
    """

    classes: tuple[TrainingClass, ...]
    entries: tuple[str, ...]
    obstacle: str | None
    patches: int = 0
    patch_px: int = 0
    patch_mpp: float = 0.0
    nuclei: int = 0
    complete_mm2: float = 0.0
    tagged: TagPreview | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFolder:
    """A stored folder whose slides were not found, as a path rule takes it, and their number."""

    folder: str
    slides: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanedData:
    """A folder with data of an entry that the project no longer has, and the size of its ``data.qpdata``."""

    folder: Path
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectReport:
    """A project before any work starts.

    Parameters
    ----------
    project : Path
        The ``.qpproj`` file.
    qupath_version : str
        That wrote it.
    entries : tuple of EntryReport
        In the project's order.
    similar_classes : tuple of tuple of str
        Names of classes that differ only by case or blanks.
    training : TrainingPreview
        What training would use.
    ignored_classes : tuple of str
        Classes that training leaves out.
    missing : tuple of MissingFolder
        Where the project has the slides that were not found.
    orphans : tuple of OrphanedData
        Data that belong to no entry.
    backend : Backend
        What read the project.
    """

    project: Path
    qupath_version: str
    entries: tuple[EntryReport, ...]
    similar_classes: tuple[tuple[str, ...], ...]
    training: TrainingPreview
    ignored_classes: tuple[str, ...] = ()
    missing: tuple[MissingFolder, ...] = ()
    orphans: tuple[OrphanedData, ...] = ()
    backend: Backend = field(default_factory=Backend)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)
