from qpbridge.v1 import job_pb2 as _job_pb2
from qpbridge.v1 import objects_pb2 as _objects_pb2
from qpbridge.v1 import reports_pb2 as _reports_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InspectProjectRequest(_message.Message):
    __slots__ = ("project", "entries", "mpp", "path_map", "region_class", "backend")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MPP_FIELD_NUMBER: _ClassVar[int]
    PATH_MAP_FIELD_NUMBER: _ClassVar[int]
    REGION_CLASS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    project: str
    entries: _containers.RepeatedScalarFieldContainer[str]
    mpp: float
    path_map: _containers.RepeatedScalarFieldContainer[str]
    region_class: str
    backend: str
    def __init__(self, project: _Optional[str] = ..., entries: _Optional[_Iterable[str]] = ..., mpp: _Optional[float] = ..., path_map: _Optional[_Iterable[str]] = ..., region_class: _Optional[str] = ..., backend: _Optional[str] = ...) -> None: ...

class InspectProjectResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: _reports_pb2.InspectReport
    def __init__(self, report: _Optional[_Union[_reports_pb2.InspectReport, _Mapping]] = ...) -> None: ...

class ListEntriesRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token", "total_size")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    next_page_token: str
    total_size: int
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("id", "name", "description", "metadata", "tags", "has_data")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    HAS_DATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    description: str
    metadata: _containers.ScalarMap[str, str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    has_data: bool
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., tags: _Optional[_Iterable[str]] = ..., has_data: _Optional[bool] = ...) -> None: ...

class ListClassesRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListClassesResponse(_message.Message):
    __slots__ = ("classes", "next_page_token")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedCompositeFieldContainer[_objects_pb2.PathClass]
    next_page_token: str
    def __init__(self, classes: _Optional[_Iterable[_Union[_objects_pb2.PathClass, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ExportProjectRequest(_message.Message):
    __slots__ = ("project", "out", "entries", "gzip", "annotations_only", "label_maps", "mpp", "path_map", "region_class", "backend")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    OUT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    GZIP_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_ONLY_FIELD_NUMBER: _ClassVar[int]
    LABEL_MAPS_FIELD_NUMBER: _ClassVar[int]
    MPP_FIELD_NUMBER: _ClassVar[int]
    PATH_MAP_FIELD_NUMBER: _ClassVar[int]
    REGION_CLASS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    project: str
    out: str
    entries: _containers.RepeatedScalarFieldContainer[str]
    gzip: bool
    annotations_only: bool
    label_maps: bool
    mpp: float
    path_map: _containers.RepeatedScalarFieldContainer[str]
    region_class: str
    backend: str
    def __init__(self, project: _Optional[str] = ..., out: _Optional[str] = ..., entries: _Optional[_Iterable[str]] = ..., gzip: _Optional[bool] = ..., annotations_only: _Optional[bool] = ..., label_maps: _Optional[bool] = ..., mpp: _Optional[float] = ..., path_map: _Optional[_Iterable[str]] = ..., region_class: _Optional[str] = ..., backend: _Optional[str] = ...) -> None: ...

class ExportProjectResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...
