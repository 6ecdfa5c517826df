"""Messages and the JSON values of the records that they mirror, field by field."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from qpbridge.errors import InvalidValueError

MessageT = TypeVar("MessageT", bound=Message)

_NANOS: Final = 10**9


def pack(kind: type[MessageT], values: Mapping[str, Any]) -> MessageT:
    """Return the message of a record's JSON values.

    Parameters
    ----------
    kind : type
        Of the message; its fields have the names of the record's.
    values : mapping
        Keys that the message does not have are left out; so are values that are None.

    Raises
    ------
    InvalidValueError
        If a field does not take its value; the message names the field.
    """
    message = kind()
    _fill(message, values)
    return message


def unpack(message: Message) -> dict[str, Any]:
    """Return the JSON values of the record that a message mirrors; what is absent is None.

    Raises
    ------
    InvalidValueError
        If an enumeration has a value that this version does not know, or a list names something twice.
    """
    values: dict[str, Any] = {}
    for field in _fields(message):
        value = getattr(message, field.name)
        if _full_name(field) in _SPREAD:
            values |= unpack(value)
        elif field.has_presence and not message.HasField(field.name):
            values[field.name] = None
        else:
            values[field.name] = _values_of(field, value)
    return values


def enum_text(enum: EnumDescriptor, number: int) -> str | None:
    """Return the name of an enumeration's value as records write it: ``"partly_done"``; None where unspecified.

    Raises
    ------
    InvalidValueError
        If this version does not know the value.
    """
    if number not in enum.values_by_number:
        raise InvalidValueError(f"{enum.name} has no value {number} here: use the same version on both sides")
    return enum.values_by_number[number].name.removeprefix(_prefix(enum)).lower() if number else None


def enum_number(enum: EnumDescriptor, text: str) -> int:
    """Return the number of an enumeration's value by the name that records give it.

    Raises
    ------
    InvalidValueError
        If there is none of that name.
    """
    name = _prefix(enum) + text.upper()
    if name not in enum.values_by_name:
        known = ", ".join(filter(None, (enum_text(enum, number) for number in enum.values_by_number)))
        raise InvalidValueError(f"{enum.name} is one of {known}, not '{text}'")
    return enum.values_by_name[name].number


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a message differs from the value that it stands for."""

    to_fields: Callable[[Any], Mapping[str, Any]]
    to_value: Callable[[dict[str, Any]], Any]


def _timestamp_fields(text: str) -> Mapping[str, Any]:
    moment = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    whole = moment.replace(microsecond=0)
    return {"seconds": int(whole.timestamp()), "nanos": moment.microsecond * 1000}


def _timestamp_text(fields: dict[str, Any]) -> str:
    whole = datetime.datetime.fromtimestamp(fields["seconds"], datetime.UTC)
    return whole.replace(microsecond=fields["nanos"] * 10**6 // _NANOS).isoformat()


_SHAPES: Final[Mapping[str, _Shape]] = {
    "google.protobuf.Timestamp": _Shape(_timestamp_fields, _timestamp_text),
    "qpbridge.v1.Rgb": _Shape(
        lambda rgb: dict(zip(("red", "green", "blue"), rgb, strict=True)), lambda fields: list(fields.values())
    ),
    "qpbridge.v1.SimilarNames": _Shape(lambda names: {"names": names}, lambda fields: fields["names"]),
    "qpbridge.v1.StainingRow": _Shape(lambda row: {"values": row}, lambda fields: fields["values"]),
    "qpbridge.v1.View": _Shape(lambda view: {**view, **view.get("fov", {})}, lambda fields: fields),
}
"""Messages that stand for something else than a JSON object of the same fields."""


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A list whose members a record keeps in a JSON object: by which field, and its value where that is one field."""

    key: str
    value: str | None = None

    def members(self, values: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        for name, value in values.items():
            yield {self.key: name, **(value if self.value is None else {self.value: value})}

    def mapping(self, members: Sequence[dict[str, Any]], where: str) -> dict[str, Any]:
        values = {member.pop(self.key): member if self.value is None else member[self.value] for member in members}
        if len(values) < len(members):
            raise InvalidValueError(f"{where} names something twice among {', '.join(map(repr, values))}")
        return values


_KEYED: Final[Mapping[str, _Keyed]] = {
    "qpbridge.v1.ClassIou": _Keyed("name", "iou"),
    "qpbridge.v1.ClassScores": _Keyed("name"),
    "qpbridge.v1.ConfusionRow": _Keyed("name", "counts"),
    "qpbridge.v1.Metric": _Keyed("name", "value"),
    "qpbridge.v1.EntryAnnotations": _Keyed("entry", "geojson"),
}

_SPREAD: Final = frozenset({"qpbridge.v1.Scores"})
"""Messages whose fields stand among those of the record that holds them."""


def _fill(message: Message, values: Mapping[str, Any]) -> None:
    for field in _fields(message):
        if _full_name(field) in _SPREAD:
            _fill(getattr(message, field.name), values)
        elif (value := values.get(field.name)) is not None:
            try:
                _set(message, field, value)
            except (TypeError, ValueError, AttributeError) as error:
                raise InvalidValueError(f"{field.name} does not take {_shown(value)}: {error}") from error


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    target = getattr(message, field.name)
    if _is_map(field):
        is_text = _fields(target.GetEntryClass())[1].type == FieldDescriptor.TYPE_STRING
        target.update({key: _setting(one) if is_text else one for key, one in value.items()})
    elif field.is_repeated and field.message_type is not None:
        keyed = _KEYED.get(_full_name(field))
        for member in value if keyed is None else keyed.members(value):
            _fill_shaped(target.add(), member)
    elif field.is_repeated:
        target.extend(_scalar(field, one) for one in value)
    elif field.message_type is not None:
        target.SetInParent()
        _fill_shaped(target, value)
    else:
        setattr(message, field.name, _scalar(field, value))


def _fill_shaped(message: Message, value: Any) -> None:
    shape = _SHAPES.get(message.DESCRIPTOR.full_name)
    _fill(message, value if shape is None else shape.to_fields(value))


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return enum_number(field.enum_type, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.encode()
    return value


def _setting(value: Any) -> str:
    """Return a setting as a user would write it."""
    return value if isinstance(value, str) else json.dumps(value)


def _values_of(field: FieldDescriptor, value: Any) -> Any:
    if _is_map(field):
        return dict(value)
    if not field.is_repeated:
        return _value_of(field, value)
    members = [_value_of(field, one) for one in value]
    keyed = _KEYED.get(_full_name(field))
    return members if keyed is None else keyed.mapping(members, field.name)


def _value_of(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        shape, fields = _SHAPES.get(_full_name(field)), unpack(value)
        return fields if shape is None else shape.to_value(fields)
    if field.enum_type is not None:
        return enum_text(field.enum_type, value)
    return _text(field.name, value) if field.type == FieldDescriptor.TYPE_BYTES else value


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"{name} is no UTF-8 text: {error}; write it as UTF-8") from error


def _fields(message: Message | type[Message]) -> Sequence[FieldDescriptor]:
    return cast("Sequence[FieldDescriptor]", message.DESCRIPTOR.fields)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _full_name(field: FieldDescriptor) -> str:
    return "" if field.message_type is None else field.message_type.full_name


def _prefix(enum: EnumDescriptor) -> str:
    """Return what the names of an enumeration's values begin with: ``JOB_STATE_``."""
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
