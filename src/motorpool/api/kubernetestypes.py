"""The types of Kubernetes as structural schemas, and which fields a resource has. Pure.

``data/kinds.json`` holds the types of Kubernetes without their prose. A type is resolved once, when
a kind first needs it, and shared by all that refer to it, so schemas are as read-only as any shared
object. A resolved type carries its name under TYPE_NAME.

Schemas of custom kinds say nothing of ``metadata``: at the root and in embedded resources its type
is always ObjectMeta.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

from motorpool.api.kinds import Kind, Schema

TYPE_NAME = "x-motorpool-type"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"

KINDS_REMEMBERED_MAX = 512  # definitions come and go

_STRING: Schema = {"type": "string"}


@cache
def _data() -> Any:
    from importlib.resources import files  # only who needs a schema pays for this

    return json.loads(files("motorpool.api").joinpath("data/kinds.json").read_bytes())


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


@lru_cache(maxsize=KINDS_REMEMBERED_MAX)
def of(kind: Kind) -> Schema:
    """The schema of *kind*, read once, with the fields that every object has."""
    schema = kind.schema()
    return {**schema, "properties": resource_fields(schema, is_resource=True)}


def resource_fields(schema: Schema, *, is_resource: bool) -> Mapping[str, Schema]:
    """The properties of *schema*; those of a resource include what every object has."""
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    if not is_resource:
        return properties
    metadata = properties.get("metadata")
    if (metadata or {}).get(TYPE_NAME) == OBJECT_META and "apiVersion" in properties:
        return properties
    return {
        "apiVersion": _STRING,
        "kind": _STRING,
        **properties,
        "metadata": type_named(OBJECT_META),
    }


def fields_of(schema: Schema) -> Mapping[str, Schema]:
    """The properties that a node below the root has."""
    return resource_fields(schema, is_resource=bool(schema.get(EMBEDDED)))
