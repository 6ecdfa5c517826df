from qpbridge.v1 import geometry_pb2 as _geometry_pb2
from qpbridge.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Backend(_message.Message):
    __slots__ = ("name", "detail", "warning")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    name: str
    detail: str
    warning: str
    def __init__(self, name: _Optional[str] = ..., detail: _Optional[str] = ..., warning: _Optional[str] = ...) -> None: ...

class TrainReport(_message.Message):
    __slots__ = ("bundle", "digest", "classes", "training_entries", "validation_entries", "training_patches", "validation_patches", "best_epoch", "epochs", "mean_iou", "class_iou", "device", "duration_s", "failures", "backend", "progression", "pseudo_masks", "is_judged_by_people")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    TRAINING_PATCHES_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_PATCHES_FIELD_NUMBER: _ClassVar[int]
    BEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    MEAN_IOU_FIELD_NUMBER: _ClassVar[int]
    CLASS_IOU_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    PROGRESSION_FIELD_NUMBER: _ClassVar[int]
    PSEUDO_MASKS_FIELD_NUMBER: _ClassVar[int]
    IS_JUDGED_BY_PEOPLE_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    digest: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    training_entries: _containers.RepeatedScalarFieldContainer[str]
    validation_entries: _containers.RepeatedScalarFieldContainer[str]
    training_patches: int
    validation_patches: int
    best_epoch: int
    epochs: int
    mean_iou: float
    class_iou: _containers.RepeatedCompositeFieldContainer[ClassIou]
    device: str
    duration_s: float
    failures: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Failure]
    backend: Backend
    progression: Progression
    pseudo_masks: str
    is_judged_by_people: bool
    def __init__(self, bundle: _Optional[str] = ..., digest: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., training_entries: _Optional[_Iterable[str]] = ..., validation_entries: _Optional[_Iterable[str]] = ..., training_patches: _Optional[int] = ..., validation_patches: _Optional[int] = ..., best_epoch: _Optional[int] = ..., epochs: _Optional[int] = ..., mean_iou: _Optional[float] = ..., class_iou: _Optional[_Iterable[_Union[ClassIou, _Mapping]]] = ..., device: _Optional[str] = ..., duration_s: _Optional[float] = ..., failures: _Optional[_Iterable[_Union[_objects_pb2.Failure, _Mapping]]] = ..., backend: _Optional[_Union[Backend, _Mapping]] = ..., progression: _Optional[_Union[Progression, _Mapping]] = ..., pseudo_masks: _Optional[str] = ..., is_judged_by_people: _Optional[bool] = ...) -> None: ...

class Progression(_message.Message):
    __slots__ = ("base", "classes")
    BASE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    base: str
    classes: _containers.RepeatedCompositeFieldContainer[ClassProgression]
    def __init__(self, base: _Optional[str] = ..., classes: _Optional[_Iterable[_Union[ClassProgression, _Mapping]]] = ...) -> None: ...

class ClassProgression(_message.Message):
    __slots__ = ("name", "area_before_um2", "area_um2", "iou_before", "iou")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AREA_BEFORE_UM2_FIELD_NUMBER: _ClassVar[int]
    AREA_UM2_FIELD_NUMBER: _ClassVar[int]
    IOU_BEFORE_FIELD_NUMBER: _ClassVar[int]
    IOU_FIELD_NUMBER: _ClassVar[int]
    name: str
    area_before_um2: float
    area_um2: float
    iou_before: float
    iou: float
    def __init__(self, name: _Optional[str] = ..., area_before_um2: _Optional[float] = ..., area_um2: _Optional[float] = ..., iou_before: _Optional[float] = ..., iou: _Optional[float] = ...) -> None: ...

class ClassIou(_message.Message):
    __slots__ = ("name", "iou")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IOU_FIELD_NUMBER: _ClassVar[int]
    name: str
    iou: float
    def __init__(self, name: _Optional[str] = ..., iou: _Optional[float] = ...) -> None: ...

class PredictReport(_message.Message):
    __slots__ = ("out", "slides", "failures", "backend", "project", "job_id")
    OUT_FIELD_NUMBER: _ClassVar[int]
    SLIDES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    out: str
    slides: _containers.RepeatedCompositeFieldContainer[SlideResult]
    failures: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Failure]
    backend: Backend
    project: str
    job_id: str
    def __init__(self, out: _Optional[str] = ..., slides: _Optional[_Iterable[_Union[SlideResult, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_objects_pb2.Failure, _Mapping]]] = ..., backend: _Optional[_Union[Backend, _Mapping]] = ..., project: _Optional[str] = ..., job_id: _Optional[str] = ...) -> None: ...

class SlideResult(_message.Message):
    __slots__ = ("key", "name", "file", "slide_path", "fingerprint", "mpp_x", "mpp_y", "mpp_source", "objects", "classes", "duration_s", "warnings", "added", "replaced", "kept", "dropped", "write_back", "probabilities", "suggestions")
    KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    SLIDE_PATH_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MPP_X_FIELD_NUMBER: _ClassVar[int]
    MPP_Y_FIELD_NUMBER: _ClassVar[int]
    MPP_SOURCE_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    WRITE_BACK_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    key: str
    name: str
    file: str
    slide_path: str
    fingerprint: str
    mpp_x: float
    mpp_y: float
    mpp_source: _geometry_pb2.CalibrationSource
    objects: int
    classes: _containers.RepeatedCompositeFieldContainer[ClassSummary]
    duration_s: float
    warnings: _containers.RepeatedScalarFieldContainer[str]
    added: int
    replaced: int
    kept: int
    dropped: int
    write_back: WriteBack
    probabilities: str
    suggestions: int
    def __init__(self, key: _Optional[str] = ..., name: _Optional[str] = ..., file: _Optional[str] = ..., slide_path: _Optional[str] = ..., fingerprint: _Optional[str] = ..., mpp_x: _Optional[float] = ..., mpp_y: _Optional[float] = ..., mpp_source: _Optional[_Union[_geometry_pb2.CalibrationSource, str]] = ..., objects: _Optional[int] = ..., classes: _Optional[_Iterable[_Union[ClassSummary, _Mapping]]] = ..., duration_s: _Optional[float] = ..., warnings: _Optional[_Iterable[str]] = ..., added: _Optional[int] = ..., replaced: _Optional[int] = ..., kept: _Optional[int] = ..., dropped: _Optional[int] = ..., write_back: _Optional[_Union[WriteBack, _Mapping]] = ..., probabilities: _Optional[str] = ..., suggestions: _Optional[int] = ...) -> None: ...

class WriteBack(_message.Message):
    __slots__ = ("is_written", "reason", "added", "removed", "kept", "backup")
    IS_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    BACKUP_FIELD_NUMBER: _ClassVar[int]
    is_written: bool
    reason: str
    added: int
    removed: int
    kept: int
    backup: str
    def __init__(self, is_written: _Optional[bool] = ..., reason: _Optional[str] = ..., added: _Optional[int] = ..., removed: _Optional[int] = ..., kept: _Optional[int] = ..., backup: _Optional[str] = ...) -> None: ...

class ClassSummary(_message.Message):
    __slots__ = ("name", "count", "area_mm2", "share_of_tissue")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    AREA_MM2_FIELD_NUMBER: _ClassVar[int]
    SHARE_OF_TISSUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    area_mm2: float
    share_of_tissue: float
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ..., area_mm2: _Optional[float] = ..., share_of_tissue: _Optional[float] = ...) -> None: ...

class UndoReport(_message.Message):
    __slots__ = ("out", "job_id", "slides", "failures")
    OUT_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SLIDES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    out: str
    job_id: str
    slides: _containers.RepeatedCompositeFieldContainer[UndoneSlide]
    failures: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Failure]
    def __init__(self, out: _Optional[str] = ..., job_id: _Optional[str] = ..., slides: _Optional[_Iterable[_Union[UndoneSlide, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_objects_pb2.Failure, _Mapping]]] = ...) -> None: ...

class UndoneSlide(_message.Message):
    __slots__ = ("stem", "removed", "restored", "kept", "dropped")
    STEM_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    stem: str
    removed: int
    restored: int
    kept: int
    dropped: int
    def __init__(self, stem: _Optional[str] = ..., removed: _Optional[int] = ..., restored: _Optional[int] = ..., kept: _Optional[int] = ..., dropped: _Optional[int] = ...) -> None: ...

class PredictRegionReport(_message.Message):
    __slots__ = ("objects", "classes", "region", "mpp_x", "mpp_y", "mpp_source", "fingerprint", "model_digest", "duration_s", "suggestions")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    MPP_X_FIELD_NUMBER: _ClassVar[int]
    MPP_Y_FIELD_NUMBER: _ClassVar[int]
    MPP_SOURCE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    objects: int
    classes: _containers.RepeatedCompositeFieldContainer[ClassSummary]
    region: _geometry_pb2.Region
    mpp_x: float
    mpp_y: float
    mpp_source: _geometry_pb2.CalibrationSource
    fingerprint: str
    model_digest: str
    duration_s: float
    suggestions: int
    def __init__(self, objects: _Optional[int] = ..., classes: _Optional[_Iterable[_Union[ClassSummary, _Mapping]]] = ..., region: _Optional[_Union[_geometry_pb2.Region, _Mapping]] = ..., mpp_x: _Optional[float] = ..., mpp_y: _Optional[float] = ..., mpp_source: _Optional[_Union[_geometry_pb2.CalibrationSource, str]] = ..., fingerprint: _Optional[str] = ..., model_digest: _Optional[str] = ..., duration_s: _Optional[float] = ..., suggestions: _Optional[int] = ...) -> None: ...

class EvaluateReport(_message.Message):
    __slots__ = ("scores", "labelled_share", "entries", "failures", "unlabelled", "backend", "nuclei", "nuclei_mean")
    SCORES_FIELD_NUMBER: _ClassVar[int]
    LABELLED_SHARE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    NUCLEI_FIELD_NUMBER: _ClassVar[int]
    NUCLEI_MEAN_FIELD_NUMBER: _ClassVar[int]
    scores: Scores
    labelled_share: float
    entries: _containers.RepeatedCompositeFieldContainer[EntryScores]
    failures: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Failure]
    unlabelled: _containers.RepeatedScalarFieldContainer[str]
    backend: Backend
    nuclei: NucleiScores
    nuclei_mean: NucleiScores
    def __init__(self, scores: _Optional[_Union[Scores, _Mapping]] = ..., labelled_share: _Optional[float] = ..., entries: _Optional[_Iterable[_Union[EntryScores, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_objects_pb2.Failure, _Mapping]]] = ..., unlabelled: _Optional[_Iterable[str]] = ..., backend: _Optional[_Union[Backend, _Mapping]] = ..., nuclei: _Optional[_Union[NucleiScores, _Mapping]] = ..., nuclei_mean: _Optional[_Union[NucleiScores, _Mapping]] = ...) -> None: ...

class NucleiScores(_message.Message):
    __slots__ = ("aji", "dice", "pq", "sq", "dq", "f1", "recall", "precision", "counts", "pictures")
    AJI_FIELD_NUMBER: _ClassVar[int]
    DICE_FIELD_NUMBER: _ClassVar[int]
    PQ_FIELD_NUMBER: _ClassVar[int]
    SQ_FIELD_NUMBER: _ClassVar[int]
    DQ_FIELD_NUMBER: _ClassVar[int]
    F1_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    aji: float
    dice: float
    pq: float
    sq: float
    dq: float
    f1: float
    recall: float
    precision: float
    counts: NucleiCounts
    pictures: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, aji: _Optional[float] = ..., dice: _Optional[float] = ..., pq: _Optional[float] = ..., sq: _Optional[float] = ..., dq: _Optional[float] = ..., f1: _Optional[float] = ..., recall: _Optional[float] = ..., precision: _Optional[float] = ..., counts: _Optional[_Union[NucleiCounts, _Mapping]] = ..., pictures: _Optional[_Iterable[str]] = ...) -> None: ...

class NucleiCounts(_message.Message):
    __slots__ = ("annotated", "predicted", "matched", "merged", "split", "found", "missed", "made_up")
    ANNOTATED_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    MERGED_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    MADE_UP_FIELD_NUMBER: _ClassVar[int]
    annotated: int
    predicted: int
    matched: int
    merged: int
    split: int
    found: int
    missed: int
    made_up: int
    def __init__(self, annotated: _Optional[int] = ..., predicted: _Optional[int] = ..., matched: _Optional[int] = ..., merged: _Optional[int] = ..., split: _Optional[int] = ..., found: _Optional[int] = ..., missed: _Optional[int] = ..., made_up: _Optional[int] = ...) -> None: ...

class EntryScores(_message.Message):
    __slots__ = ("key", "name", "was_trained_on", "labelled_share", "scores", "nuclei")
    KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WAS_TRAINED_ON_FIELD_NUMBER: _ClassVar[int]
    LABELLED_SHARE_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    NUCLEI_FIELD_NUMBER: _ClassVar[int]
    key: str
    name: str
    was_trained_on: bool
    labelled_share: float
    scores: Scores
    nuclei: NucleiScores
    def __init__(self, key: _Optional[str] = ..., name: _Optional[str] = ..., was_trained_on: _Optional[bool] = ..., labelled_share: _Optional[float] = ..., scores: _Optional[_Union[Scores, _Mapping]] = ..., nuclei: _Optional[_Union[NucleiScores, _Mapping]] = ...) -> None: ...

class Scores(_message.Message):
    __slots__ = ("mean_iou", "mean_recall", "mean_precision", "pixel_accuracy", "frequency_weighted_iou", "labelled_px", "labelled_mm2", "classes", "confusion")
    MEAN_IOU_FIELD_NUMBER: _ClassVar[int]
    MEAN_RECALL_FIELD_NUMBER: _ClassVar[int]
    MEAN_PRECISION_FIELD_NUMBER: _ClassVar[int]
    PIXEL_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_WEIGHTED_IOU_FIELD_NUMBER: _ClassVar[int]
    LABELLED_PX_FIELD_NUMBER: _ClassVar[int]
    LABELLED_MM2_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CONFUSION_FIELD_NUMBER: _ClassVar[int]
    mean_iou: float
    mean_recall: float
    mean_precision: float
    pixel_accuracy: float
    frequency_weighted_iou: float
    labelled_px: int
    labelled_mm2: float
    classes: _containers.RepeatedCompositeFieldContainer[ClassScores]
    confusion: Confusion
    def __init__(self, mean_iou: _Optional[float] = ..., mean_recall: _Optional[float] = ..., mean_precision: _Optional[float] = ..., pixel_accuracy: _Optional[float] = ..., frequency_weighted_iou: _Optional[float] = ..., labelled_px: _Optional[int] = ..., labelled_mm2: _Optional[float] = ..., classes: _Optional[_Iterable[_Union[ClassScores, _Mapping]]] = ..., confusion: _Optional[_Union[Confusion, _Mapping]] = ...) -> None: ...

class ClassScores(_message.Message):
    __slots__ = ("name", "iou", "recall", "precision", "true_px", "predicted_px", "true_mm2")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IOU_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    TRUE_PX_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_PX_FIELD_NUMBER: _ClassVar[int]
    TRUE_MM2_FIELD_NUMBER: _ClassVar[int]
    name: str
    iou: float
    recall: float
    precision: float
    true_px: int
    predicted_px: int
    true_mm2: float
    def __init__(self, name: _Optional[str] = ..., iou: _Optional[float] = ..., recall: _Optional[float] = ..., precision: _Optional[float] = ..., true_px: _Optional[int] = ..., predicted_px: _Optional[int] = ..., true_mm2: _Optional[float] = ...) -> None: ...

class Confusion(_message.Message):
    __slots__ = ("columns", "rows")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedScalarFieldContainer[str]
    rows: _containers.RepeatedCompositeFieldContainer[ConfusionRow]
    def __init__(self, columns: _Optional[_Iterable[str]] = ..., rows: _Optional[_Iterable[_Union[ConfusionRow, _Mapping]]] = ...) -> None: ...

class ConfusionRow(_message.Message):
    __slots__ = ("name", "counts")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class ExportReport(_message.Message):
    __slots__ = ("out", "entries", "failures", "backend")
    OUT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    out: str
    entries: _containers.RepeatedCompositeFieldContainer[ExportedEntry]
    failures: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Failure]
    backend: Backend
    def __init__(self, out: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[ExportedEntry, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_objects_pb2.Failure, _Mapping]]] = ..., backend: _Optional[_Union[Backend, _Mapping]] = ...) -> None: ...

class ExportedEntry(_message.Message):
    __slots__ = ("id", "name", "objects", "geojson", "label_map")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    GEOJSON_FIELD_NUMBER: _ClassVar[int]
    LABEL_MAP_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    objects: int
    geojson: str
    label_map: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., objects: _Optional[int] = ..., geojson: _Optional[str] = ..., label_map: _Optional[str] = ...) -> None: ...

class ExportModelReport(_message.Message):
    __slots__ = ("bundle", "digest", "onnx", "bytes")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ONNX_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    digest: str
    onnx: str
    bytes: int
    def __init__(self, bundle: _Optional[str] = ..., digest: _Optional[str] = ..., onnx: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class InspectReport(_message.Message):
    __slots__ = ("project", "qupath_version", "entries", "similar_classes", "training", "backend", "ignored_classes", "missing", "orphans")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    QUPATH_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SIMILAR_CLASSES_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    IGNORED_CLASSES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    ORPHANS_FIELD_NUMBER: _ClassVar[int]
    project: str
    qupath_version: str
    entries: _containers.RepeatedCompositeFieldContainer[EntryReport]
    similar_classes: _containers.RepeatedCompositeFieldContainer[SimilarNames]
    training: TrainingPreview
    backend: Backend
    ignored_classes: _containers.RepeatedScalarFieldContainer[str]
    missing: _containers.RepeatedCompositeFieldContainer[MissingFolder]
    orphans: _containers.RepeatedCompositeFieldContainer[OrphanedData]
    def __init__(self, project: _Optional[str] = ..., qupath_version: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[EntryReport, _Mapping]]] = ..., similar_classes: _Optional[_Iterable[_Union[SimilarNames, _Mapping]]] = ..., training: _Optional[_Union[TrainingPreview, _Mapping]] = ..., backend: _Optional[_Union[Backend, _Mapping]] = ..., ignored_classes: _Optional[_Iterable[str]] = ..., missing: _Optional[_Iterable[_Union[MissingFolder, _Mapping]]] = ..., orphans: _Optional[_Iterable[_Union[OrphanedData, _Mapping]]] = ...) -> None: ...

class MissingFolder(_message.Message):
    __slots__ = ("folder", "slides")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    SLIDES_FIELD_NUMBER: _ClassVar[int]
    folder: str
    slides: int
    def __init__(self, folder: _Optional[str] = ..., slides: _Optional[int] = ...) -> None: ...

class OrphanedData(_message.Message):
    __slots__ = ("folder", "bytes")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    folder: str
    bytes: int
    def __init__(self, folder: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class SimilarNames(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class EntryReport(_message.Message):
    __slots__ = ("id", "name", "image", "classes", "troubles", "problems", "has_data", "kinds", "locked", "complete_mm2", "metadata", "tags", "notes")
    class KindsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TROUBLES_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    HAS_DATA_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    LOCKED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_MM2_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    image: ImageReport
    classes: _containers.RepeatedCompositeFieldContainer[ClassReport]
    troubles: _containers.RepeatedCompositeFieldContainer[Trouble]
    problems: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Failure]
    has_data: bool
    kinds: _containers.ScalarMap[str, int]
    locked: int
    complete_mm2: float
    metadata: _containers.ScalarMap[str, str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., image: _Optional[_Union[ImageReport, _Mapping]] = ..., classes: _Optional[_Iterable[_Union[ClassReport, _Mapping]]] = ..., troubles: _Optional[_Iterable[_Union[Trouble, _Mapping]]] = ..., problems: _Optional[_Iterable[_Union[_objects_pb2.Failure, _Mapping]]] = ..., has_data: _Optional[bool] = ..., kinds: _Optional[_Mapping[str, int]] = ..., locked: _Optional[int] = ..., complete_mm2: _Optional[float] = ..., metadata: _Optional[_Mapping[str, str]] = ..., tags: _Optional[_Iterable[str]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class ImageReport(_message.Message):
    __slots__ = ("slide", "width_px", "height_px", "calibration", "calibration_source", "uri", "found_by")
    SLIDE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_SOURCE_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    FOUND_BY_FIELD_NUMBER: _ClassVar[int]
    slide: str
    width_px: int
    height_px: int
    calibration: _geometry_pb2.PixelCalibration
    calibration_source: _geometry_pb2.CalibrationSource
    uri: str
    found_by: str
    def __init__(self, slide: _Optional[str] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., calibration: _Optional[_Union[_geometry_pb2.PixelCalibration, _Mapping]] = ..., calibration_source: _Optional[_Union[_geometry_pb2.CalibrationSource, str]] = ..., uri: _Optional[str] = ..., found_by: _Optional[str] = ...) -> None: ...

class ClassReport(_message.Message):
    __slots__ = ("name", "is_ignored", "objects", "annotations", "area_mm2", "tags", "is_region")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_IGNORED_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    AREA_MM2_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    IS_REGION_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_ignored: bool
    objects: int
    annotations: int
    area_mm2: float
    tags: int
    is_region: bool
    def __init__(self, name: _Optional[str] = ..., is_ignored: _Optional[bool] = ..., objects: _Optional[int] = ..., annotations: _Optional[int] = ..., area_mm2: _Optional[float] = ..., tags: _Optional[int] = ..., is_region: _Optional[bool] = ...) -> None: ...

class Trouble(_message.Message):
    __slots__ = ("what", "count", "examples")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    what: str
    count: int
    examples: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, what: _Optional[str] = ..., count: _Optional[int] = ..., examples: _Optional[_Iterable[str]] = ...) -> None: ...

class TrainingPreview(_message.Message):
    __slots__ = ("classes", "entries", "obstacle", "patches", "patch_px", "patch_mpp", "nuclei", "complete_mm2", "tagged")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    OBSTACLE_FIELD_NUMBER: _ClassVar[int]
    PATCHES_FIELD_NUMBER: _ClassVar[int]
    PATCH_PX_FIELD_NUMBER: _ClassVar[int]
    PATCH_MPP_FIELD_NUMBER: _ClassVar[int]
    NUCLEI_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_MM2_FIELD_NUMBER: _ClassVar[int]
    TAGGED_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedCompositeFieldContainer[TrainingClass]
    entries: _containers.RepeatedScalarFieldContainer[str]
    obstacle: str
    patches: int
    patch_px: int
    patch_mpp: float
    nuclei: int
    complete_mm2: float
    tagged: TagPreview
    def __init__(self, classes: _Optional[_Iterable[_Union[TrainingClass, _Mapping]]] = ..., entries: _Optional[_Iterable[str]] = ..., obstacle: _Optional[str] = ..., patches: _Optional[int] = ..., patch_px: _Optional[int] = ..., patch_mpp: _Optional[float] = ..., nuclei: _Optional[int] = ..., complete_mm2: _Optional[float] = ..., tagged: _Optional[_Union[TagPreview, _Mapping]] = ...) -> None: ...

class TagPreview(_message.Message):
    __slots__ = ("classes", "areas", "edge_um", "obstacle")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    AREAS_FIELD_NUMBER: _ClassVar[int]
    EDGE_UM_FIELD_NUMBER: _ClassVar[int]
    OBSTACLE_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedCompositeFieldContainer[TaggedClass]
    areas: int
    edge_um: float
    obstacle: str
    def __init__(self, classes: _Optional[_Iterable[_Union[TaggedClass, _Mapping]]] = ..., areas: _Optional[int] = ..., edge_um: _Optional[float] = ..., obstacle: _Optional[str] = ...) -> None: ...

class TaggedClass(_message.Message):
    __slots__ = ("name", "present", "absent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    present: int
    absent: int
    def __init__(self, name: _Optional[str] = ..., present: _Optional[int] = ..., absent: _Optional[int] = ...) -> None: ...

class TrainingClass(_message.Message):
    __slots__ = ("name", "entries", "annotations", "area_mm2", "patches")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    AREA_MM2_FIELD_NUMBER: _ClassVar[int]
    PATCHES_FIELD_NUMBER: _ClassVar[int]
    name: str
    entries: int
    annotations: int
    area_mm2: float
    patches: int
    def __init__(self, name: _Optional[str] = ..., entries: _Optional[int] = ..., annotations: _Optional[int] = ..., area_mm2: _Optional[float] = ..., patches: _Optional[int] = ...) -> None: ...
