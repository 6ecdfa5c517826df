from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnnotationsMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANNOTATIONS_MODE_UNSPECIFIED: _ClassVar[AnnotationsMode]
    ANNOTATIONS_MODE_REPLACE: _ClassVar[AnnotationsMode]
    ANNOTATIONS_MODE_ADD: _ClassVar[AnnotationsMode]
ANNOTATIONS_MODE_UNSPECIFIED: AnnotationsMode
ANNOTATIONS_MODE_REPLACE: AnnotationsMode
ANNOTATIONS_MODE_ADD: AnnotationsMode

class Rgb(_message.Message):
    __slots__ = ("red", "green", "blue")
    RED_FIELD_NUMBER: _ClassVar[int]
    GREEN_FIELD_NUMBER: _ClassVar[int]
    BLUE_FIELD_NUMBER: _ClassVar[int]
    red: int
    green: int
    blue: int
    def __init__(self, red: _Optional[int] = ..., green: _Optional[int] = ..., blue: _Optional[int] = ...) -> None: ...

class PathClass(_message.Message):
    __slots__ = ("name", "color_rgb", "is_ignored")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLOR_RGB_FIELD_NUMBER: _ClassVar[int]
    IS_IGNORED_FIELD_NUMBER: _ClassVar[int]
    name: str
    color_rgb: Rgb
    is_ignored: bool
    def __init__(self, name: _Optional[str] = ..., color_rgb: _Optional[_Union[Rgb, _Mapping]] = ..., is_ignored: _Optional[bool] = ...) -> None: ...

class ObjectChunk(_message.Message):
    __slots__ = ("features", "count")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    features: bytes
    count: int
    def __init__(self, features: _Optional[bytes] = ..., count: _Optional[int] = ...) -> None: ...

class EntryAnnotations(_message.Message):
    __slots__ = ("entry", "geojson")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    GEOJSON_FIELD_NUMBER: _ClassVar[int]
    entry: str
    geojson: bytes
    def __init__(self, entry: _Optional[str] = ..., geojson: _Optional[bytes] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("entry", "reason", "message")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    entry: str
    reason: str
    message: str
    def __init__(self, entry: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
