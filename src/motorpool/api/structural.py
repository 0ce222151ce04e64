"""Validation of custom resources against their schema, in the words of the Kubernetes API. Pure."""

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any
from uuid import UUID

from motorpool.api.errors import FieldError, GoValue
from motorpool.api.kinds import Schema
from motorpool.api.kubernetestypes import EMBEDDED, INT_OR_STRING, fields_of
from motorpool.api.meta import Object
from motorpool.api.patterns import compiled

_UNCHECKED_RULES = FieldError.invalid(
    "<nil>",
    "null",
    "some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
)
_PREVENTS_RULES = frozenset(
    ("FieldValueTypeInvalid", "FieldValueRequired", "FieldValueNotSupported", "FieldValueTooLong")
)


_ABSENT: Any = object()
"""Stands for an old value where there is none to compare with."""


def type_errors(obj: Object, schema: Schema, old: Object | None = None) -> list[FieldError]:
    """Every reason why *obj* does not fit *schema*.

    Metadata is not looked at: `validation.validate_metadata` does that for every kind. What *old*
    held already may stay, fitting or not: a stricter schema must not lock its objects.
    """
    properties = {
        name: child
        for name, child in (schema.get("properties") or {}).items()
        if name not in ("apiVersion", "kind", "metadata")
    }
    before = _ABSENT if old is None else old
    found = list(_errors(obj, {**schema, "properties": properties}, "", before))
    if any(error.reason in _PREVENTS_RULES for error in found) and has_rules(schema):
        found.append(_UNCHECKED_RULES)
    return found


def value_errors(value: Any, schema: Schema, path: str) -> list[FieldError]:
    """Every reason why a part of an object does not fit."""
    return list(_errors(value, schema, path))


def has_rules(schema: Schema) -> bool:
    if "x-kubernetes-validations" in schema:
        return True
    children = [*(schema.get("properties") or {}).values()]
    children += [schema.get("items"), schema.get("additionalProperties")]
    return any(isinstance(child, dict) and has_rules(child) for child in children)


def _errors(value: Any, schema: Schema, path: str, old: Any = _ABSENT) -> Iterator[FieldError]:
    if value is None:
        return  # allowed, or about to be dropped or defaulted
    if old is not _ABSENT and is_same(value, old):
        return
    expected = _expected(schema)
    actual = _type_of(value)
    if expected and not _fits(actual, value, expected):
        yield FieldError.wrong_type(
            path, actual, f'{path} in body must be of type {",".join(expected)}: "{actual}"'
        )
        return
    enum = schema.get("enum")
    if enum is not None and value not in enum:
        texts = [one if isinstance(one, str) else json.dumps(one) for one in enum]
        yield FieldError.not_supported(path, value, texts)
    check = _CHECKS.get(actual)
    if check is not None:
        yield from check(value, schema, path, old)
    yield from _combined(value, schema, path)


def is_same(value: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(value, dict):
        return (
            isinstance(other, dict)
            and value.keys() == other.keys()
            and all(is_same(item, other[key]) for key, item in value.items())
        )
    if isinstance(value, list):
        return (
            isinstance(other, list) and len(value) == len(other) and all(map(is_same, value, other))
        )
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _expected(schema: Schema) -> tuple[str, ...]:
    if schema.get(INT_OR_STRING):
        return ("integer", "string")
    kind = schema.get("type")
    return (str(kind),) if kind else ()


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _fits(actual: str, value: Any, expected: tuple[str, ...]) -> bool:
    return actual in expected or (actual == "integer" and "number" in expected)


def _object_errors(value: Object, schema: Schema, path: str, old: Any) -> Iterator[FieldError]:
    prefix = f"{path}." if path else ""
    properties = schema.get("properties") or {}
    yield from _missing(value, schema, prefix)
    low, high = schema.get("minProperties"), schema.get("maxProperties")
    if low is not None and len(value) < low:
        text = f"{path} in body should have at least {low} properties"
        yield FieldError.invalid(path, len(value), text)
    if high is not None and len(value) > high:
        yield FieldError.too_many(path, len(value), high)
    extra = schema.get("additionalProperties")
    if schema.get(EMBEDDED):
        properties = {k: v for k, v in fields_of(schema).items() if k != "metadata"}
    before = old if isinstance(old, dict) else {}
    for key, item in value.items():
        child = properties.get(key) or (extra if isinstance(extra, dict) else None)
        if child is not None:
            yield from _errors(item, child, prefix + key, before.get(key, _ABSENT))


def _missing(value: Object, schema: Schema, prefix: str) -> Iterator[FieldError]:
    properties = schema.get("properties") or {}
    for name in schema.get("required") or ():
        declared = properties.get(name) or {}
        is_null = value.get(name) is None and not (name in value and declared.get("nullable"))
        if is_null and "default" not in declared:
            yield FieldError.required(prefix + name)


def _array_errors(value: list[Any], schema: Schema, path: str, old: Any) -> Iterator[FieldError]:
    low, high = schema.get("minItems"), schema.get("maxItems")
    if low is not None and len(value) < low:
        text = f"{path} in body should have at least {low} items"
        yield FieldError.invalid(path, len(value), text)
    if high is not None and len(value) > high:
        yield FieldError.too_many(path, len(value), high)
    items = schema.get("items")
    if isinstance(items, dict):
        before = correlated(schema, old)
        for position, item in enumerate(value):
            known = before.get(identity(schema, item), _ABSENT) if before else _ABSENT
            yield from _errors(item, items, f"{path}[{position}]", known)
    yield from _repeated(value, schema, path)


def correlated(schema: Schema, old: Any) -> dict[str, Any]:
    """The old items by what tells them apart; only a list that is a map says what that is."""
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map":
        return {}
    return {identity(schema, item): item for item in old}


def identity(schema: Schema, item: Any) -> str:
    """What tells an item of a map-like list from the others."""
    keys = schema.get("x-kubernetes-list-map-keys") or []
    found = [item.get(key) for key in keys] if isinstance(item, dict) else item
    return json.dumps(found, sort_keys=True)


def _repeated(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    list_type = schema.get("x-kubernetes-list-type")
    is_set = list_type == "set" or schema.get("uniqueItems")
    if not is_set and list_type != "map":
        return
    keys = schema.get("x-kubernetes-list-map-keys") or []
    seen: set[str] = set()
    for position, item in enumerate(value):
        named = {k: item[k] for k in keys if k in item} if isinstance(item, dict) else item
        if is_set:
            named = item
        text = json.dumps(named, sort_keys=True)
        if text in seen:
            shown = go_literal(named) if isinstance(named, (dict, list)) else named
            yield FieldError.duplicate(f"{path}[{position}]", shown)
        seen.add(text)


def go_literal(value: Any) -> GoValue:
    """*value* as Go's ``%#v`` prints it."""
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(k)}:{go_literal(value[k])}" for k in sorted(value))
        return GoValue(f"map[string]interface {{}}{{{inside}}}")
    if isinstance(value, list):
        return GoValue(f"[]interface {{}}{{{', '.join(map(go_literal, value))}}}")
    return GoValue(json.dumps(value, ensure_ascii=False))


def _string_errors(value: str, schema: Schema, path: str, _: Any) -> Iterator[FieldError]:
    low, high = schema.get("minLength"), schema.get("maxLength")
    if low is not None and len(value) < low:
        text = f"{path} in body should be at least {low} chars long"
        yield FieldError.invalid(path, value, text)
    if high is not None and len(value) > high:
        yield FieldError.too_long(path, high)
    pattern = schema.get("pattern")
    if pattern is not None and not compiled(pattern).search(value):
        yield FieldError.invalid(path, value, f"{path} in body should match '{pattern}'")
    form = schema.get("format")
    if form in _FORMATS and not _FORMATS[form](value):
        text = f'{path} in body must be of type {form}: "{value}"'
        yield FieldError.wrong_type(path, value, text)


def _number_errors(value: float, schema: Schema, path: str, _: Any) -> Iterator[FieldError]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (value == low and schema.get("exclusiveMinimum"))):
        words = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield FieldError.invalid(path, value, f"{path} in body should be {words} {low}")
    if high is not None and (value > high or (value == high and schema.get("exclusiveMaximum"))):
        words = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield FieldError.invalid(path, value, f"{path} in body should be {words} {high}")
    step = schema.get("multipleOf")
    if step is not None and value % step:
        text = f"{path} in body should be a multiple of {step}"
        yield FieldError.invalid(path, value, text)
    limits = _INTEGERS.get(str(schema.get("format")))
    if limits is not None and not limits[0] <= value <= limits[1]:
        text = f"{path} in body must be of type {schema['format']}: {value}"
        yield FieldError.wrong_type(path, value, text)


def _combined(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    for part in schema.get("allOf") or ():
        yield from _errors(value, part, path)
    if "anyOf" in schema and not _fitting(value, schema["anyOf"], path):
        text = f'"{path}" must validate at least one schema (anyOf)'
        yield FieldError.invalid(path, _shown(value), text)
    if "oneOf" in schema:
        count = _fitting(value, schema["oneOf"], path)
        if count != 1:
            number = "Found none valid" if count == 0 else f"Found {count} valid alternatives"
            text = f'"{path}" must validate one and only one schema (oneOf). {number}'
            yield FieldError.invalid(path, _shown(value), text)
    if "not" in schema and not any(_errors(value, schema["not"], path)):
        text = f'"{path}" must not validate the schema (not)'
        yield FieldError.invalid(path, _shown(value), text)


def _fitting(value: Any, schemas: list[Schema], path: str) -> int:
    return sum(1 for part in schemas if not any(_errors(value, part, path)))


def _shown(value: Any) -> Any:
    """Maps and lists are named by their type, as the real server has it."""
    return _type_of(value) if isinstance(value, (dict, list)) else value


def _accepts(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:  # base64 and datetime raise its children
            return False
        return True

    return check


def _date_time(text: str) -> datetime:
    if not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", text):
        raise ValueError(text)
    return datetime.fromisoformat(text.upper())


_HOST = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
                   r"(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*\Z")  # fmt: skip
_DURATION = re.compile(r"[-+]?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d|w))+\Z|0\Z")
_URI = re.compile(r"[A-Za-z][-+.A-Za-z0-9]*:\S+\Z|/\S*\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")

_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _accepts(_date_time),
    "datetime": _accepts(_date_time),
    "date": _accepts(date.fromisoformat),
    "byte": _accepts(lambda text: base64.b64decode(text, validate=True)),
    "ipv4": _accepts(ipaddress.IPv4Address),
    "ipv6": _accepts(ipaddress.IPv6Address),
    "cidr": _accepts(lambda text: ipaddress.ip_network(text, strict=False)),
    "uuid": _accepts(UUID),
    "hostname": lambda text: _HOST.match(text) is not None,
    "duration": lambda text: _DURATION.match(text) is not None,
    "uri": lambda text: _URI.match(text) is not None,
    "email": lambda text: _EMAIL.match(text) is not None,
}
_INTEGERS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}

_CHECKS: dict[str, Callable[[Any, Schema, str, Any], Iterator[FieldError]]] = {
    "object": _object_errors,
    "array": _array_errors,
    "string": _string_errors,
    "integer": _number_errors,
    "number": _number_errors,
}
