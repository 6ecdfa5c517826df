import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerResponse(_message.Message):
    __slots__ = ("server",)
    SERVER_FIELD_NUMBER: _ClassVar[int]
    server: Server
    def __init__(self, server: _Optional[_Union[Server, _Mapping]] = ...) -> None: ...

class Server(_message.Message):
    __slots__ = ("version", "started", "devices", "roots", "model_folders", "limits")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FOLDERS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    version: str
    started: _timestamp_pb2.Timestamp
    devices: _containers.RepeatedScalarFieldContainer[str]
    roots: _containers.RepeatedScalarFieldContainer[str]
    model_folders: _containers.RepeatedScalarFieldContainer[str]
    limits: Limits
    def __init__(self, version: _Optional[str] = ..., started: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., devices: _Optional[_Iterable[str]] = ..., roots: _Optional[_Iterable[str]] = ..., model_folders: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("message_bytes_max", "vertices_max", "objects_max", "queued_jobs_max", "free_disk_bytes_min")
    MESSAGE_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    VERTICES_MAX_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_MAX_FIELD_NUMBER: _ClassVar[int]
    QUEUED_JOBS_MAX_FIELD_NUMBER: _ClassVar[int]
    FREE_DISK_BYTES_MIN_FIELD_NUMBER: _ClassVar[int]
    message_bytes_max: int
    vertices_max: int
    objects_max: int
    queued_jobs_max: int
    free_disk_bytes_min: int
    def __init__(self, message_bytes_max: _Optional[int] = ..., vertices_max: _Optional[int] = ..., objects_max: _Optional[int] = ..., queued_jobs_max: _Optional[int] = ..., free_disk_bytes_min: _Optional[int] = ...) -> None: ...
