from qpbridge.v1 import geometry_pb2 as _geometry_pb2
from qpbridge.v1 import job_pb2 as _job_pb2
from qpbridge.v1 import objects_pb2 as _objects_pb2
from qpbridge.v1 import reports_pb2 as _reports_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProjectSource(_message.Message):
    __slots__ = ("project", "entries", "path_map")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    PATH_MAP_FIELD_NUMBER: _ClassVar[int]
    project: str
    entries: _containers.RepeatedScalarFieldContainer[str]
    path_map: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., entries: _Optional[_Iterable[str]] = ..., path_map: _Optional[_Iterable[str]] = ...) -> None: ...

class SlidesSource(_message.Message):
    __slots__ = ("paths",)
    PATHS_FIELD_NUMBER: _ClassVar[int]
    paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, paths: _Optional[_Iterable[str]] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("project", "slides", "model", "out", "mpp", "device", "gzip", "min_area_um2", "smooth_um", "use_tissue_mask", "margin_px", "seed", "annotations", "annotations_mode", "resume", "backend", "project_out", "write_back", "blend", "tta", "uncertainty", "suggest", "probabilities", "cell_um", "within")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SLIDES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUT_FIELD_NUMBER: _ClassVar[int]
    MPP_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    GZIP_FIELD_NUMBER: _ClassVar[int]
    MIN_AREA_UM2_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_UM_FIELD_NUMBER: _ClassVar[int]
    USE_TISSUE_MASK_FIELD_NUMBER: _ClassVar[int]
    MARGIN_PX_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_MODE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    PROJECT_OUT_FIELD_NUMBER: _ClassVar[int]
    WRITE_BACK_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    TTA_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    SUGGEST_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    CELL_UM_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    project: ProjectSource
    slides: SlidesSource
    model: str
    out: str
    mpp: float
    device: str
    gzip: bool
    min_area_um2: float
    smooth_um: float
    use_tissue_mask: bool
    margin_px: int
    seed: int
    annotations: _containers.RepeatedCompositeFieldContainer[_objects_pb2.EntryAnnotations]
    annotations_mode: _objects_pb2.AnnotationsMode
    resume: bool
    backend: str
    project_out: str
    write_back: bool
    blend: bool
    tta: str
    uncertainty: bool
    suggest: int
    probabilities: bool
    cell_um: float
    within: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[_Union[ProjectSource, _Mapping]] = ..., slides: _Optional[_Union[SlidesSource, _Mapping]] = ..., model: _Optional[str] = ..., out: _Optional[str] = ..., mpp: _Optional[float] = ..., device: _Optional[str] = ..., gzip: _Optional[bool] = ..., min_area_um2: _Optional[float] = ..., smooth_um: _Optional[float] = ..., use_tissue_mask: _Optional[bool] = ..., margin_px: _Optional[int] = ..., seed: _Optional[int] = ..., annotations: _Optional[_Iterable[_Union[_objects_pb2.EntryAnnotations, _Mapping]]] = ..., annotations_mode: _Optional[_Union[_objects_pb2.AnnotationsMode, str]] = ..., resume: _Optional[bool] = ..., backend: _Optional[str] = ..., project_out: _Optional[str] = ..., write_back: _Optional[bool] = ..., blend: _Optional[bool] = ..., tta: _Optional[str] = ..., uncertainty: _Optional[bool] = ..., suggest: _Optional[int] = ..., probabilities: _Optional[bool] = ..., cell_um: _Optional[float] = ..., within: _Optional[_Iterable[str]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class EntrySource(_message.Message):
    __slots__ = ("project", "entry", "path_map")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    PATH_MAP_FIELD_NUMBER: _ClassVar[int]
    project: str
    entry: str
    path_map: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., entry: _Optional[str] = ..., path_map: _Optional[_Iterable[str]] = ...) -> None: ...

class PredictRegionRequest(_message.Message):
    __slots__ = ("entry", "slide", "model", "region", "mpp", "device", "min_area_um2", "smooth_um", "use_tissue_mask", "margin_px", "seed", "annotations", "annotations_mode", "blend", "tta", "uncertainty", "suggest", "cell_um", "within")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SLIDE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    MPP_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MIN_AREA_UM2_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_UM_FIELD_NUMBER: _ClassVar[int]
    USE_TISSUE_MASK_FIELD_NUMBER: _ClassVar[int]
    MARGIN_PX_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_MODE_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    TTA_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    SUGGEST_FIELD_NUMBER: _ClassVar[int]
    CELL_UM_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    entry: EntrySource
    slide: str
    model: str
    region: _geometry_pb2.Region
    mpp: float
    device: str
    min_area_um2: float
    smooth_um: float
    use_tissue_mask: bool
    margin_px: int
    seed: int
    annotations: _containers.RepeatedCompositeFieldContainer[_objects_pb2.EntryAnnotations]
    annotations_mode: _objects_pb2.AnnotationsMode
    blend: bool
    tta: str
    uncertainty: bool
    suggest: int
    cell_um: float
    within: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, entry: _Optional[_Union[EntrySource, _Mapping]] = ..., slide: _Optional[str] = ..., model: _Optional[str] = ..., region: _Optional[_Union[_geometry_pb2.Region, _Mapping]] = ..., mpp: _Optional[float] = ..., device: _Optional[str] = ..., min_area_um2: _Optional[float] = ..., smooth_um: _Optional[float] = ..., use_tissue_mask: _Optional[bool] = ..., margin_px: _Optional[int] = ..., seed: _Optional[int] = ..., annotations: _Optional[_Iterable[_Union[_objects_pb2.EntryAnnotations, _Mapping]]] = ..., annotations_mode: _Optional[_Union[_objects_pb2.AnnotationsMode, str]] = ..., blend: _Optional[bool] = ..., tta: _Optional[str] = ..., uncertainty: _Optional[bool] = ..., suggest: _Optional[int] = ..., cell_um: _Optional[float] = ..., within: _Optional[_Iterable[str]] = ...) -> None: ...

class PredictRegionResponse(_message.Message):
    __slots__ = ("job", "objects", "finished")
    JOB_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    objects: _objects_pb2.ObjectChunk
    finished: _reports_pb2.PredictRegionReport
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ..., objects: _Optional[_Union[_objects_pb2.ObjectChunk, _Mapping]] = ..., finished: _Optional[_Union[_reports_pb2.PredictRegionReport, _Mapping]] = ...) -> None: ...

class GetResultsRequest(_message.Message):
    __slots__ = ("job_id", "entry")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    entry: str
    def __init__(self, job_id: _Optional[str] = ..., entry: _Optional[str] = ...) -> None: ...

class GetResultsResponse(_message.Message):
    __slots__ = ("file", "data")
    FILE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    file: ResultsFile
    data: bytes
    def __init__(self, file: _Optional[_Union[ResultsFile, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class ResultsFile(_message.Message):
    __slots__ = ("name", "size_bytes", "is_gzipped")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    IS_GZIPPED_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    is_gzipped: bool
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., is_gzipped: _Optional[bool] = ...) -> None: ...
