"""JSON as CEL expressions see it, by the schema of each part. Pure.

Fields are named as CEL can name them (``x-y`` is ``x__dash__y``), a ``date-time`` is a timestamp,
a ``duration`` a duration, a ``number`` a double. Where a format cannot be read, text stays text.
"""

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import Any

from motorpool.api.kinds import Schema
from motorpool.api.kubernetestypes import EMBEDDED

_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_SIGNS = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"([0-9]*\.?[0-9]+)(h|ms|us|µs|ns|m|s)")
_METADATA = ("name", "generateName")


def escaped(name: str) -> str:
    """The field's name in an expression."""
    if name in _RESERVED:
        return f"__{name}__"
    for sign, word in _SIGNS:
        name = name.replace(sign, word)
    return name


def seen(value: Any, schema: Schema, *, is_resource: bool = False) -> Any:
    """What an expression gets for *value*."""
    if isinstance(value, dict):
        return _map_seen(value, schema, is_resource=is_resource)
    items = schema.get("items")
    if isinstance(value, list):
        return [seen(item, items if isinstance(items, dict) else {}) for item in value]
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if schema.get("type") == "integer" and isinstance(value, float):
        return int(value)
    read = _FORMATS.get(str(schema.get("format"))) if isinstance(value, str) else None
    return value if read is None else read(value)


def _map_seen(value: dict[str, Any], schema: Schema, *, is_resource: bool) -> Any:
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    has_names = extra is None or extra is False
    result: dict[str, Any] = {}
    for key, item in value.items():
        if key == "metadata" and (is_resource or schema.get(EMBEDDED)) and isinstance(item, dict):
            result[key] = {name: item[name] for name in _METADATA if name in item}
            continue
        child = properties.get(key) or (extra if isinstance(extra, dict) else {})
        result[escaped(key) if has_names else key] = seen(item, child)
    return result


def size_of(value: Any) -> int:
    """The most items that a list, a map or a text within *value* has."""
    if isinstance(value, dict):
        return max((len(value), *map(size_of, value.values())))
    if isinstance(value, list):
        return max((len(value), *map(size_of, value)))
    return 1


def _date_time(text: str) -> Any:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _duration(text: str) -> Any:
    found = _DURATION.findall(text)
    if not found:
        return text
    seconds = sum(float(amount) * _UNITS_S[unit] for amount, unit in found)
    return timedelta(seconds=-seconds if text.startswith("-") else seconds)


def _bytes(text: str) -> Any:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text


_FORMATS = {"date-time": _date_time, "duration": _duration, "byte": _bytes}
