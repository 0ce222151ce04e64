"""What a structural schema says of an object: unknown fields, wrong types, defaults. Pure.

One place to import from; the texts of refusals stand in ``structural.py`` (custom resources) and
``godecode.py`` (built-in kinds).
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from motorpool.api.godecode import decode_error
from motorpool.api.kinds import Schema
from motorpool.api.kubernetestypes import EMBEDDED, PRESERVE, built_in, of, resource_fields
from motorpool.api.meta import Object
from motorpool.api.structural import type_errors

__all__ = [
    "built_in",
    "decode_error",
    "fill_defaults",
    "of",
    "pruned",
    "type_errors",
    "unknown_fields",
    "with_defaults",
    "without_unknown",
]


def unknown_fields(obj: Object, schema: Schema) -> list[str]:
    """Paths of what the schema does not declare, such as ``spec.containers[0].imagee``."""
    found: list[str] = []
    _find_unknown(obj, schema, "", found, is_resource=True)
    return found


def _find_unknown(
    value: Any, schema: Schema, path: str, found: list[str], *, is_resource: bool = False
) -> None:
    if isinstance(value, dict):
        is_resource = is_resource or EMBEDDED in schema
        properties = resource_fields(schema, is_resource=is_resource)
        extra = schema.get("additionalProperties")
        is_open = PRESERVE in schema or extra is True
        prefix = f"{path}." if path else ""
        for key, item in value.items():
            child = properties.get(key) or (extra if isinstance(extra, dict) else None)
            if child is not None:
                if isinstance(item, (dict, list)):
                    _find_unknown(item, child, prefix + key, found)
            elif not is_open:
                found.append(prefix + key)
    elif isinstance(value, list):
        items = schema.get("items")
        if items is not None:
            for position, item in enumerate(value):
                if isinstance(item, (dict, list)):
                    _find_unknown(item, items, f"{path}[{position}]", found)


def without_unknown(obj: Object, schema: Schema) -> Object:
    """*obj* without what the schema does not declare; the same object where there is nothing."""
    kept: Object = _pruned(obj, schema, is_resource=True)
    return kept


def pruned(value: Any, schema: Schema) -> Any:
    """The same for a part of an object."""
    return _pruned(value, schema)


def _pruned(value: Any, schema: Schema, *, is_resource: bool = False) -> Any:
    if isinstance(value, dict):
        return _pruned_map(value, schema, is_resource or EMBEDDED in schema)
    items = schema.get("items")
    if isinstance(value, list) and items is not None:
        kept = [_pruned(item, items) for item in value]
        if any(new is not old for new, old in zip(kept, value, strict=True)):
            return kept
    return value


def _pruned_map(value: Object, schema: Schema, is_resource: bool) -> Object:
    properties = resource_fields(schema, is_resource=is_resource)
    extra = schema.get("additionalProperties")
    is_open = PRESERVE in schema or extra is True
    result: Object = {}
    changed = False
    for key, item in value.items():
        child = properties.get(key) or (extra if isinstance(extra, dict) else None)
        if child is None:
            changed = changed or not is_open
            if is_open:
                result[key] = item
            continue
        kept = _pruned(item, child) if isinstance(item, (dict, list)) else item
        changed = changed or kept is not item
        result[key] = kept
    return result if changed else value


def fill_defaults(obj: Any, schema: Schema) -> None:
    """Fills in the schema's defaults, in place.

    A null where the schema allows none counts as absent: it gets the default or goes.
    """
    if isinstance(obj, dict):
        _fill_map(obj, schema)
    elif isinstance(obj, list) and isinstance(schema.get("items"), dict):
        for item in obj:
            fill_defaults(item, schema["items"])


def _fill_map(obj: Object, schema: Schema) -> None:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    for key, child in properties.items():
        item = obj.get(key)
        if item is None:
            if key not in obj and "default" not in child:
                continue  # most fields of most objects
            _fill_absent(obj, key, child)
            item = obj.get(key)
        if isinstance(item, (dict, list)):
            fill_defaults(item, child)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key in obj.keys() - properties.keys():
            if obj[key] is None:
                _fill_absent(obj, key, extra)
            fill_defaults(obj.get(key), extra)


def _fill_absent(obj: Object, key: str, schema: Schema) -> None:
    if key in obj and schema.get("nullable"):
        return
    if "default" in schema:
        obj[key] = deepcopy(schema["default"])
    elif PRESERVE not in schema:
        obj.pop(key, None)


def with_defaults(value: Any, schema: Schema) -> Any:
    """*value* with the schema's defaults; the same value where nothing is missing."""
    if isinstance(value, dict):
        return _map_with_defaults(value, schema)
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, dict):
        filled = [with_defaults(item, items) for item in value]
        if any(new is not old for new, old in zip(filled, value, strict=True)):
            return filled
    return value


def _map_with_defaults(value: Object, schema: Schema) -> Object:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    result: Object = {}
    for key, child in properties.items():
        item = value.get(key)
        if item is None and "default" in child and not (key in value and child.get("nullable")):
            result[key] = with_defaults(deepcopy(child["default"]), child)
        elif isinstance(item, (dict, list)):
            filled = with_defaults(item, child)
            if filled is not item:
                result[key] = filled
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key in value.keys() - properties.keys():
            filled = with_defaults(value[key], extra)
            if filled is not value[key]:
                result[key] = filled
    return {**value, **result} if result else value
