"""Kubernetes' protobuf bodies as JSON objects, decoded from a table of fields. Pure.

Every generated client writes this format, so no kind can do without it. Go emits every scalar that
is not a pointer, zero or not: such zeros mean "absent" and are dropped, or an update would carry
`generation: 0` and `phase: ""`. Unknown fields are skipped, as proto2 demands.
"""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from motorpool.api.meta import Object

MAGIC = b"k8s\x00"
_DEPTH_MAX = 100  # nested messages; the deepest real object has about 20

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SCALARS = frozenset(("string", "bytes", "bool", "int32", "int64"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ProtobufError(ValueError):
    """The bytes are no message of that type."""


class _Field(NamedTuple):
    name: str
    type: str
    repeated: bool
    map: bool
    pointer: bool
    inlined: bool


@cache
def _table() -> dict[str, str]:
    text = files("motorpool.api").joinpath("data/protobuf.json").read_text()
    return dict(json.loads(text))


@cache
def _fields(message: str) -> dict[int, _Field]:
    fields = {}
    for term in filter(None, _table().get(message, "").split(";")):
        number, name, kind = term.split(" ")
        bare = name.lstrip("*%?+")
        flags = name[: len(name) - len(bare)]
        fields[int(number)] = _Field(
            bare, kind, "*" in flags, "%" in flags, "?" in flags, "+" in flags
        )
    return fields


def decode(body: bytes) -> Object:
    """The object in a ``application/vnd.kubernetes.protobuf`` body. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message")
    view = memoryview(body)[len(MAGIC) :]
    api_version = kind = ""
    raw = memoryview(b"")
    for number, value in _wire(view):
        if number == 1 and isinstance(value, memoryview):
            type_meta = _parts(value)
            api_version, kind = _text(type_meta, 1), _text(type_meta, 2)
        elif number == 2 and isinstance(value, memoryview):
            raw = value
    message = _message_name(api_version, kind)
    if message not in _table():
        raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
    return {"apiVersion": api_version, "kind": kind, **_message(raw, message, 0)}


def _message_name(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    name = f"{group.partition('.')[0] or 'core'}.{version}.{kind}"
    return name if name in _table() else f"meta.v1.{kind}"


def _wire(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of one message as (number, value)."""
    position, end = 0, len(view)
    while position < end:
        tag, position = _varint(view, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, position = _varint(view, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, position = _varint(view, position)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ProtobufError(f"proto: illegal wireType {wire_type}")
        if position + size > end:
            raise ProtobufError("unexpected EOF")
        yield number, view[position : position + size]
        position += size


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise ProtobufError("unexpected EOF")
        byte = view[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ProtobufError("proto: integer overflow")


def _message(view: memoryview, message: str, depth: int) -> Object:
    if depth > _DEPTH_MAX:
        raise ProtobufError("proto: nested too deeply")
    fields = _fields(message)
    result: Object = {}
    for number, wire_value in _wire(view):
        field = fields.get(number)
        if field is None:
            continue
        if field.map:
            key, value = _entry(wire_value, field.type, depth)
            result.setdefault(field.name, {})[key] = value
            continue
        value = _value(wire_value, field.type, depth + 1)
        if field.repeated:
            result.setdefault(field.name, []).append(value)
        elif field.inlined:
            result.update(value)
        elif value is not None and (field.pointer or not _is_zero(value, field.type)):
            result[field.name] = value
    return result


def _is_zero(value: Any, kind: str) -> bool:
    return kind in _SCALARS and not value


def _entry(wire_value: int | memoryview, types: str, depth: int) -> tuple[str, Any]:
    if isinstance(wire_value, int):
        raise ProtobufError("proto: wrong wireType for a map entry")
    key_type, value_type = types.split(",")
    parts = dict(_wire(wire_value))
    key = _value(parts[1], key_type, depth + 1) if 1 in parts else ""
    raw: int | memoryview = parts.get(2, memoryview(b""))
    return str(key), _value(raw, value_type, depth + 1)


def _value(wire_value: int | memoryview, kind: str, depth: int) -> Any:
    """The JSON value of one field; None for an empty time."""
    if isinstance(wire_value, int):
        if kind == "bool":
            return wire_value != 0
        if kind not in ("int32", "int64"):
            raise ProtobufError(f"proto: wrong wireType for a field of type {kind}")
        return wire_value - (1 << 64) if wire_value >> 63 else wire_value
    if kind == "string":
        return _decoded(bytes(wire_value))
    if kind == "bytes":
        return base64.b64encode(wire_value).decode()
    if kind in ("bool", "int32", "int64"):
        raise ProtobufError(f"proto: wrong wireType for a field of type {kind}")
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(wire_value)
    value = _message(wire_value, kind, depth)
    return value.get("items", []) if kind.endswith((".ExtraValue", ".Verbs")) else value


def _parts(view: memoryview) -> dict[int, int | memoryview]:
    return dict(_wire(view))


def _bytes(parts: dict[int, int | memoryview], number: int) -> bytes:
    value = parts.get(number, b"")
    if isinstance(value, int):  # bytes(value) would be that many zeros
        raise ProtobufError("proto: wrong wireType for a field of type bytes")
    return bytes(value)


def _text(parts: dict[int, int | memoryview], number: int) -> str:
    return _decoded(_bytes(parts, number))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ProtobufError("proto: a string is not valid UTF-8") from error


def _integer(parts: dict[int, int | memoryview], number: int) -> int:
    value = parts.get(number, 0)
    if not isinstance(value, int):
        raise ProtobufError("proto: wrong wireType for a field of type integer")
    return value - (1 << 64) if value >> 63 else value


def _quantity(view: memoryview) -> str:
    return _text(_parts(view), 1) or "0"


def _int_or_string(view: memoryview) -> int | str:
    parts = _parts(view)
    return _text(parts, 3) if _integer(parts, 1) else _integer(parts, 2)


def _moment(view: memoryview) -> tuple[datetime, int] | None:
    parts = _parts(view)
    if not parts:
        return None
    try:
        return _EPOCH + timedelta(seconds=_integer(parts, 1)), _integer(parts, 2)
    except OverflowError as error:
        raise ProtobufError("a time is out of range") from error


def _time(view: memoryview) -> str | None:
    moment = _moment(view)
    return None if moment is None else f"{moment[0].replace(tzinfo=None).isoformat()}Z"


def _micro_time(view: memoryview) -> str | None:
    moment = _moment(view)
    if moment is None:
        return None
    micros = moment[1] // 1000 % 1_000_000
    return f"{moment[0].replace(tzinfo=None).isoformat()}.{micros:06d}Z"


def _duration(view: memoryview) -> str:
    return f"{_integer(_parts(view), 1) / 1e9:g}s"


def _raw_json(view: memoryview) -> Any:
    raw = _bytes(_parts(view), 1)
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ProtobufError(f"embedded JSON: {error}") from error


_SPECIAL: dict[str, Callable[[memoryview], Any]] = {
    "api.resource.Quantity": _quantity,
    "util.intstr.IntOrString": _int_or_string,
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.Duration": _duration,
    "meta.v1.FieldsV1": _raw_json,
    "runtime.RawExtension": _raw_json,
}
