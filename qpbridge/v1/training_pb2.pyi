from qpbridge.v1 import job_pb2 as _job_pb2
from qpbridge.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainRequest(_message.Message):
    __slots__ = ("project", "out", "family", "preset", "classes", "entries", "validation", "settings", "mpp", "device", "seed", "path_map", "annotations", "annotations_mode", "region_class", "backend", "base", "resume", "complete", "tensorboard")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    OUT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MPP_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PATH_MAP_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_MODE_FIELD_NUMBER: _ClassVar[int]
    REGION_CLASS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    TENSORBOARD_FIELD_NUMBER: _ClassVar[int]
    project: str
    out: str
    family: str
    preset: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    entries: _containers.RepeatedScalarFieldContainer[str]
    validation: _containers.RepeatedScalarFieldContainer[str]
    settings: _containers.ScalarMap[str, str]
    mpp: float
    device: str
    seed: int
    path_map: _containers.RepeatedScalarFieldContainer[str]
    annotations: _containers.RepeatedCompositeFieldContainer[_objects_pb2.EntryAnnotations]
    annotations_mode: _objects_pb2.AnnotationsMode
    region_class: str
    backend: str
    base: str
    resume: bool
    complete: bool
    tensorboard: bool
    def __init__(self, project: _Optional[str] = ..., out: _Optional[str] = ..., family: _Optional[str] = ..., preset: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., entries: _Optional[_Iterable[str]] = ..., validation: _Optional[_Iterable[str]] = ..., settings: _Optional[_Mapping[str, str]] = ..., mpp: _Optional[float] = ..., device: _Optional[str] = ..., seed: _Optional[int] = ..., path_map: _Optional[_Iterable[str]] = ..., annotations: _Optional[_Iterable[_Union[_objects_pb2.EntryAnnotations, _Mapping]]] = ..., annotations_mode: _Optional[_Union[_objects_pb2.AnnotationsMode, str]] = ..., region_class: _Optional[str] = ..., backend: _Optional[str] = ..., base: _Optional[str] = ..., resume: _Optional[bool] = ..., complete: _Optional[bool] = ..., tensorboard: _Optional[bool] = ...) -> None: ...

class TrainResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...
