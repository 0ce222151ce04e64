"""Structural schemas: where those of the built-in kinds come from, and what they decide. Pure.

``data/kinds.json`` holds the types of Kubernetes without their prose. A type is resolved once, when
a kind first needs it, and shared by all that refer to it, so schemas are as read-only as any shared
object. A resolved type carries its name under TYPE_NAME.

The same functions serve custom kinds, whose schemas say nothing of ``metadata``: at the root and in
embedded resources its type is always ObjectMeta.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from motorpool.api.kinds import Kind, Schema
from motorpool.api.meta import Object

TYPE_NAME = "x-motorpool-type"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"

_STRING: Schema = {"type": "string"}


@cache
def _data() -> Any:
    return msgspec.json.decode(files("motorpool.api").joinpath("data/kinds.json").read_bytes())


@cache
def type_named(name: str) -> Schema:
    """The resolved schema of one Kubernetes type, such as ``io.k8s.api.core.v1.PodSpec``."""
    schema = _resolved(_data()["types"][name])
    schema[TYPE_NAME] = name
    return schema


def _resolved(schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is not None:
        return type_named(reference)
    for part in ("items", "additionalProperties"):
        if part in schema:
            schema[part] = _resolved(schema[part])
    properties = schema.get("properties")
    if properties is not None:
        for name, child in properties.items():
            properties[name] = _resolved(child)
    return schema


def built_in(group: str, version: str, kind: str) -> Callable[[], Schema]:
    """For ``Kind.schema``: gives the schema of a kind that Kubernetes itself defines."""

    def read() -> Schema:
        return type_named(_data()["kinds"][f"{group}/{version}/{kind}"])

    return read


@cache
def of(kind: Kind) -> Schema:
    """The schema of *kind*, read once, with the fields that every object has."""
    schema = kind.schema()
    return {**schema, "properties": _fields(schema, is_resource=True)}


def _fields(schema: Schema, *, is_resource: bool) -> Mapping[str, Schema]:
    """The properties of *schema*; those of a resource include what every object has."""
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    if not is_resource:
        return properties
    metadata = properties.get("metadata")
    if metadata is not None and "properties" in metadata and "apiVersion" in properties:
        return properties
    return {
        "apiVersion": _STRING,
        "kind": _STRING,
        **properties,
        "metadata": type_named(OBJECT_META),
    }


def fields_of(schema: Schema) -> Mapping[str, Schema]:
    """The properties that a node below the root has."""
    return _fields(schema, is_resource=bool(schema.get(EMBEDDED)))


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
        properties = _fields(schema, is_resource=is_resource)
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
    pruned: Object = _pruned(obj, schema, is_resource=True)
    return pruned


def _pruned(value: Any, schema: Schema, *, is_resource: bool = False) -> Any:
    if isinstance(value, dict):
        return _pruned_map(value, schema, is_resource or EMBEDDED in schema)
    items = schema.get("items")
    if isinstance(value, list) and items is not None:
        pruned = [_pruned(item, items) for item in value]
        if any(new is not old for new, old in zip(pruned, value, strict=True)):
            return pruned
    return value


def _pruned_map(value: Object, schema: Schema, is_resource: bool) -> Object:
    properties = _fields(schema, is_resource=is_resource)
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
        if obj.get(key) is None:
            _fill_absent(obj, key, child)
        if isinstance(obj.get(key), (dict, list)):
            fill_defaults(obj[key], child)
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
