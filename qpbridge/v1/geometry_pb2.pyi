from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class CalibrationSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CALIBRATION_SOURCE_UNSPECIFIED: _ClassVar[CalibrationSource]
    CALIBRATION_SOURCE_REQUEST: _ClassVar[CalibrationSource]
    CALIBRATION_SOURCE_PROJECT: _ClassVar[CalibrationSource]
    CALIBRATION_SOURCE_FILE: _ClassVar[CalibrationSource]
    CALIBRATION_SOURCE_MISSING: _ClassVar[CalibrationSource]
CALIBRATION_SOURCE_UNSPECIFIED: CalibrationSource
CALIBRATION_SOURCE_REQUEST: CalibrationSource
CALIBRATION_SOURCE_PROJECT: CalibrationSource
CALIBRATION_SOURCE_FILE: CalibrationSource
CALIBRATION_SOURCE_MISSING: CalibrationSource

class Region(_message.Message):
    __slots__ = ("x_px", "y_px", "width_px", "height_px")
    X_PX_FIELD_NUMBER: _ClassVar[int]
    Y_PX_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    x_px: float
    y_px: float
    width_px: float
    height_px: float
    def __init__(self, x_px: _Optional[float] = ..., y_px: _Optional[float] = ..., width_px: _Optional[float] = ..., height_px: _Optional[float] = ...) -> None: ...

class PixelCalibration(_message.Message):
    __slots__ = ("mpp_x", "mpp_y")
    MPP_X_FIELD_NUMBER: _ClassVar[int]
    MPP_Y_FIELD_NUMBER: _ClassVar[int]
    mpp_x: float
    mpp_y: float
    def __init__(self, mpp_x: _Optional[float] = ..., mpp_y: _Optional[float] = ...) -> None: ...

class View(_message.Message):
    __slots__ = ("name", "size_px", "mpp")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_PX_FIELD_NUMBER: _ClassVar[int]
    MPP_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_px: int
    mpp: float
    def __init__(self, name: _Optional[str] = ..., size_px: _Optional[int] = ..., mpp: _Optional[float] = ...) -> None: ...
