"""What Go says when a value does not fit a built-in type. Pure.

Built-in objects are decoded into Go structs before anything looks at them, so a wrong type is a 400
with the decoder's words and not a field error. The first problem in the order of the text is told.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from motorpool.api import gojson
from motorpool.api.kinds import Schema
from motorpool.api.kubernetestypes import INT_OR_STRING, PRESERVE, TYPE_NAME, fields_of
from motorpool.api.meta import Object

_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_TIME_STEPS = (
    (r"\d{4}", "2006"), ("-", "-"), (r"(0[1-9]|1[0-2])", "01"), ("-", "-"),
    (r"(0[1-9]|[12]\d|3[01])", "02"), ("T", "T"), (r"([01]\d|2[0-3])", "15"), (":", ":"),
    (r"[0-5]\d", "04"), (":", ":"), (r"[0-5]\d(\.\d+)?", "05"), (r"(Z|[+-]\d\d:\d\d)", "Z07:00"),
)  # fmt: skip
_INTEGERS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_LAYOUT = "2006-01-02T15:04:05Z07:00"


class _Refused(Exception):
    pass


def decode_error(obj: Object, schema: Schema) -> str | None:
    """Go's message, such as ``json: cannot unmarshal string into Go struct field
    DeploymentSpec.spec.replicas of type int32``; None where everything fits."""
    try:
        _check(obj, schema, "", "")
    except _Refused as refusal:
        return str(refusal)
    return None


def fill_nulls(value: Any, schema: Schema) -> None:
    """Does to *value* what Go does with ``null``: an element becomes its type's zero value, a field
    is as good as absent. Leaves alone what the schema leaves open."""
    if PRESERVE in schema or INT_OR_STRING in schema:
        return
    if isinstance(value, list):
        items = schema.get("items") or {}
        for position, item in enumerate(value):
            if item is None:
                value[position] = _zero(items)
            else:
                fill_nulls(item, items)
    elif isinstance(value, dict):
        extra = schema.get("additionalProperties")
        properties = {} if isinstance(extra, dict) else fields_of(schema)
        for key, item in list(value.items()):
            child = extra if isinstance(extra, dict) else properties.get(key)
            if item is not None:
                fill_nulls(item, child or {})
            elif isinstance(extra, dict):
                value[key] = _zero(extra)
            elif child is not None:
                del value[key]


def _zero(schema: Schema) -> Any:
    if INT_OR_STRING in schema:
        return "0" if schema.get("format") == "quantity" else 0
    zeros: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
    if schema.get("type") == "object":
        return {}
    return [] if schema.get("type") == "array" else zeros.get(str(schema.get("type")))


def conversion_error(problem: str) -> str:
    """What Go says where it converts a tree of values instead of decoding text, as it does with the
    result of a strategic merge patch: *problem* is what it would say of the text."""
    found = re.fullmatch(r"json: cannot unmarshal (\w+).* of type (\S+)", problem)
    if found is None:
        return problem
    value, wanted = found.groups()
    value = {"number": "int64", "object": "map", "array": "slice"}.get(value, value)
    if wanted in ("bool", "string", "int32", "int64", "float64"):
        return f"unrecognized type: {wanted}"
    if wanted.startswith(("map", "[]")):
        return f"cannot restore {'map' if wanted.startswith('map') else 'slice'} from {value}"
    return f"cannot restore struct from: {value}"


def _check(value: Any, schema: Schema, struct: str, path: str) -> None:
    if value is None or PRESERVE in schema:
        return
    if INT_OR_STRING in schema:
        _check_special(value, schema)
        return
    check = _CHECKS.get(str(schema.get("type")))
    if check is not None:
        check(value, schema, struct, path)


def _check_array(value: Any, schema: Schema, struct: str, path: str) -> None:
    if not isinstance(value, list):
        _refuse(value, schema, struct, path)
    items = schema.get("items")
    if items is not None:
        for item in value:
            _check(item, items, struct, path)


def _check_boolean(value: Any, schema: Schema, struct: str, path: str) -> None:
    if not isinstance(value, bool):
        _refuse(value, schema, struct, path)


def _check_number(value: Any, schema: Schema, struct: str, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse(value, schema, struct, path)


def _check_object(value: Any, schema: Schema, struct: str, path: str) -> None:
    if not isinstance(value, dict):
        _refuse(value, schema, struct, path)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for item in value.values():
            _check(item, extra, struct, path)
        return
    properties = fields_of(schema)
    name = str(schema.get(TYPE_NAME, "")).rpartition(".")[2]
    prefix = f"{path}." if path else ""
    for key, item in value.items():
        child = properties.get(key)
        if child is not None and item is not None:
            _check(item, child, name, prefix + key)


def _check_string(value: Any, schema: Schema, struct: str, path: str) -> None:
    form = schema.get("format")
    if form == "date-time":
        if not isinstance(value, str):
            raise _Refused(
                f"json: cannot unmarshal {gojson.type_name(value)} into Go value of type string"
            )
        if value:
            _check_time(value)
        return
    if not isinstance(value, str):
        _refuse(value, schema, struct, path)
    if form == "byte":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _Refused(_base64_error(value)) from None


def _base64_error(value: str) -> str:
    for position, char in enumerate(value):
        if not (char.isascii() and (char.isalnum() or char in "+/=\r\n")):
            return f"illegal base64 data at input byte {position}"
    return f"illegal base64 data at input byte {len(value) // 4 * 4}"


def _check_integer(value: Any, schema: Schema, struct: str, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse(value, schema, struct, path)
    low, high = _INTEGERS.get(str(schema.get("format")), _INTEGERS["int64"])
    if value != int(value) or not low <= value <= high:
        what = f"number {value}"
        raise _Refused(_text(what, schema, struct, path))


_CHECKS: dict[str, Callable[[Any, Schema, str, str], None]] = {
    "object": _check_object,
    "array": _check_array,
    "string": _check_string,
    "integer": _check_integer,
    "boolean": _check_boolean,
    "number": _check_number,
}


def _check_time(text: str) -> None:
    rest = text
    for pattern, layout in _TIME_STEPS:
        found = re.match(pattern, rest)
        if found is None:
            raise _Refused(
                f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{rest}" as "{layout}"'
            )
        rest = rest[found.end() :]
    if rest:
        raise _Refused(f'parsing time "{text}": extra text: "{rest}"')


def _check_special(value: Any, schema: Schema) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if schema.get("format") == "quantity":
        if is_number:
            return
        if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
            raise _Refused(
                "quantities must match the regular expression "
                "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            )
    elif not is_number and not isinstance(value, str):
        what = gojson.type_name(value)
        raise _Refused(f"json: cannot unmarshal {what} into Go value of type int32")
    elif isinstance(value, float) and value != int(value):
        raise _Refused(f"json: cannot unmarshal number {value} into Go value of type int32")


def _refuse(value: Any, schema: Schema, struct: str, path: str) -> None:
    raise _Refused(_text(gojson.type_name(value), schema, struct, path))


def _text(what: str, schema: Schema, struct: str, path: str) -> str:
    where = f"struct field {struct}.{path} of" if struct else "value of"
    return f"json: cannot unmarshal {what} into Go {where} type {go_type(schema)}"


def go_type(schema: Schema) -> str:
    """How Go prints the type behind *schema*."""
    name = str(schema.get(TYPE_NAME, ""))
    if name:
        return ".".join(name.split(".")[-2:])
    match schema.get("type"):
        case "array":
            return f"[]{go_type(schema.get('items') or {})}"
        case "object":
            return f"map[string]{go_type(schema.get('additionalProperties') or {})}"
        case "integer":
            return str(schema.get("format") or "int64")
        case "boolean":
            return "bool"
        case "number":
            return "float64"
    if INT_OR_STRING in schema:
        return "resource.Quantity" if schema.get("format") == "quantity" else "intstr.IntOrString"
    if schema.get("format") == "byte":
        return "[]uint8"
    return "string"
