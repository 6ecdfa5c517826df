import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from qpbridge.v1 import geometry_pb2 as _geometry_pb2
from qpbridge.v1 import job_pb2 as _job_pb2
from qpbridge.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token", "failures")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    failures: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Failure]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., failures: _Optional[_Iterable[_Union[_objects_pb2.Failure, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "path", "digest", "family", "variant", "classes", "views", "heads", "config", "provenance", "staining")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    STAINING_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    digest: str
    family: str
    variant: str
    classes: _containers.RepeatedCompositeFieldContainer[ModelClass]
    views: _containers.RepeatedCompositeFieldContainer[_geometry_pb2.View]
    heads: _containers.RepeatedCompositeFieldContainer[Head]
    config: _containers.ScalarMap[str, str]
    provenance: Provenance
    staining: Staining
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., digest: _Optional[str] = ..., family: _Optional[str] = ..., variant: _Optional[str] = ..., classes: _Optional[_Iterable[_Union[ModelClass, _Mapping]]] = ..., views: _Optional[_Iterable[_Union[_geometry_pb2.View, _Mapping]]] = ..., heads: _Optional[_Iterable[_Union[Head, _Mapping]]] = ..., config: _Optional[_Mapping[str, str]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., staining: _Optional[_Union[Staining, _Mapping]] = ...) -> None: ...

class Staining(_message.Message):
    __slots__ = ("method", "rows")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    method: str
    rows: _containers.RepeatedCompositeFieldContainer[StainingRow]
    def __init__(self, method: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[StainingRow, _Mapping]]] = ...) -> None: ...

class StainingRow(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class ModelClass(_message.Message):
    __slots__ = ("name", "color_rgb", "is_written")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLOR_RGB_FIELD_NUMBER: _ClassVar[int]
    IS_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    color_rgb: _objects_pb2.Rgb
    is_written: bool
    def __init__(self, name: _Optional[str] = ..., color_rgb: _Optional[_Union[_objects_pb2.Rgb, _Mapping]] = ..., is_written: _Optional[bool] = ...) -> None: ...

class Head(_message.Message):
    __slots__ = ("name", "channels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    channels: int
    def __init__(self, name: _Optional[str] = ..., channels: _Optional[int] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("created", "versions", "seed", "recipe", "project", "training_entries", "validation_entries", "annotated_area_um2", "metrics", "parent_digest")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class RecipeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AnnotatedAreaUm2Entry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    CREATED_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ANNOTATED_AREA_UM2_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PARENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    created: _timestamp_pb2.Timestamp
    versions: _containers.ScalarMap[str, str]
    seed: int
    recipe: _containers.ScalarMap[str, str]
    project: str
    training_entries: _containers.RepeatedScalarFieldContainer[str]
    validation_entries: _containers.RepeatedScalarFieldContainer[str]
    annotated_area_um2: _containers.ScalarMap[str, float]
    metrics: _containers.RepeatedCompositeFieldContainer[SplitMetrics]
    parent_digest: str
    def __init__(self, created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., versions: _Optional[_Mapping[str, str]] = ..., seed: _Optional[int] = ..., recipe: _Optional[_Mapping[str, str]] = ..., project: _Optional[str] = ..., training_entries: _Optional[_Iterable[str]] = ..., validation_entries: _Optional[_Iterable[str]] = ..., annotated_area_um2: _Optional[_Mapping[str, float]] = ..., metrics: _Optional[_Iterable[_Union[SplitMetrics, _Mapping]]] = ..., parent_digest: _Optional[str] = ...) -> None: ...

class SplitMetrics(_message.Message):
    __slots__ = ("split", "values")
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    split: str
    values: _containers.RepeatedCompositeFieldContainer[Metric]
    def __init__(self, split: _Optional[str] = ..., values: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class ListFamiliesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFamiliesResponse(_message.Message):
    __slots__ = ("families", "next_page_token")
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    families: _containers.RepeatedCompositeFieldContainer[Family]
    next_page_token: str
    def __init__(self, families: _Optional[_Iterable[_Union[Family, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Family(_message.Message):
    __slots__ = ("name", "title", "variants", "presets", "settings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    PRESETS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    title: str
    variants: _containers.RepeatedCompositeFieldContainer[Variant]
    presets: _containers.RepeatedScalarFieldContainer[str]
    settings: _containers.RepeatedCompositeFieldContainer[FamilySetting]
    def __init__(self, name: _Optional[str] = ..., title: _Optional[str] = ..., variants: _Optional[_Iterable[_Union[Variant, _Mapping]]] = ..., presets: _Optional[_Iterable[str]] = ..., settings: _Optional[_Iterable[_Union[FamilySetting, _Mapping]]] = ...) -> None: ...

class Variant(_message.Message):
    __slots__ = ("variant", "parameters", "views", "heads")
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    variant: str
    parameters: int
    views: _containers.RepeatedCompositeFieldContainer[_geometry_pb2.View]
    heads: _containers.RepeatedCompositeFieldContainer[Head]
    def __init__(self, variant: _Optional[str] = ..., parameters: _Optional[int] = ..., views: _Optional[_Iterable[_Union[_geometry_pb2.View, _Mapping]]] = ..., heads: _Optional[_Iterable[_Union[Head, _Mapping]]] = ...) -> None: ...

class FamilySetting(_message.Message):
    __slots__ = ("key", "values")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    key: str
    values: _containers.ScalarMap[str, str]
    def __init__(self, key: _Optional[str] = ..., values: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ExportModelRequest(_message.Message):
    __slots__ = ("model", "out")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUT_FIELD_NUMBER: _ClassVar[int]
    model: str
    out: str
    def __init__(self, model: _Optional[str] = ..., out: _Optional[str] = ...) -> None: ...

class ExportModelResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...
