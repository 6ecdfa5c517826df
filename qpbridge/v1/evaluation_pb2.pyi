from qpbridge.v1 import job_pb2 as _job_pb2
from qpbridge.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EvaluateRequest(_message.Message):
    __slots__ = ("project", "model", "predictions", "entries", "mpp", "device", "path_map", "out", "annotations", "annotations_mode", "region_class", "backend", "complete", "pictures")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MPP_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PATH_MAP_FIELD_NUMBER: _ClassVar[int]
    OUT_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_MODE_FIELD_NUMBER: _ClassVar[int]
    REGION_CLASS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    project: str
    model: str
    predictions: str
    entries: _containers.RepeatedScalarFieldContainer[str]
    mpp: float
    device: str
    path_map: _containers.RepeatedScalarFieldContainer[str]
    out: str
    annotations: _containers.RepeatedCompositeFieldContainer[_objects_pb2.EntryAnnotations]
    annotations_mode: _objects_pb2.AnnotationsMode
    region_class: str
    backend: str
    complete: bool
    pictures: str
    def __init__(self, project: _Optional[str] = ..., model: _Optional[str] = ..., predictions: _Optional[str] = ..., entries: _Optional[_Iterable[str]] = ..., mpp: _Optional[float] = ..., device: _Optional[str] = ..., path_map: _Optional[_Iterable[str]] = ..., out: _Optional[str] = ..., annotations: _Optional[_Iterable[_Union[_objects_pb2.EntryAnnotations, _Mapping]]] = ..., annotations_mode: _Optional[_Union[_objects_pb2.AnnotationsMode, str]] = ..., region_class: _Optional[str] = ..., backend: _Optional[str] = ..., complete: _Optional[bool] = ..., pictures: _Optional[str] = ...) -> None: ...

class EvaluateResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...
