"""The custom kinds that Motorpool itself brings, as CustomResourceDefinitions. Pure.

Two forms. The full one is for other clusters: ``deploy/crds`` is written from it. The short one is
what the embedded API server shows, so that clients which look for a definition find it: there the
kind is served from its own table entry, so the definition repeats no schema. ``kubectl explain``
tells it. Whoever applies the full one there gets a warning, and the short one stays.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from motorpool.api import scheme
from motorpool.api.definitions import default_definition
from motorpool.api.kinds import Column, Kind, Schema, open_schema
from motorpool.api.kubernetestypes import EMBEDDED, INT_OR_STRING, PRESERVE
from motorpool.api.meta import Object

LABEL = "motorpool.dev/built-in"
SERVING = "serving.kserve.io"

_DROPPED = frozenset(
    ("x-motorpool-type", "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy")
)
_LIST_TYPE = "x-kubernetes-list-type"
_LIST_KEYS = "x-kubernetes-list-map-keys"
_KEY_DEFAULTS: Mapping[str, str] = {"protocol": "TCP"}
"""What the API means where the key of a list's items is left out."""


@cache
def kinds() -> Mapping[str, Kind]:
    """Definition -> the kind behind it."""
    return {kind.resource: kind for kind in scheme.KINDS if kind.is_custom}


def full(kind: Kind) -> Object:
    """The definition with everything that the kind's table entry says."""
    return _definition(kind, _structural(kind.schema()))


def short(kind: Kind) -> Object:
    """The definition that the embedded API server shows."""
    definition = _definition(kind, open_schema())
    definition["metadata"]["labels"] = {LABEL: "true"}
    return definition


def keep(obj: Object) -> list[str]:
    """Makes the spec of a definition that is ours what it has to be; says so where it was not."""
    kind = kinds().get(str(obj["metadata"].get("name")))
    if kind is None:
        return []
    definition = short(kind)
    default_definition(definition)
    if obj.get("spec") == definition["spec"]:
        return []
    obj["spec"] = definition["spec"]
    return [f"{kind.resource} is built in: its definition stays as it is"]


def _definition(kind: Kind, schema: Schema) -> Object:
    names: Object = {
        "kind": kind.kind,
        "listKind": kind.list_name,
        "plural": kind.plural,
        "singular": kind.singular,
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    version: Object = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    if kind.has_status:
        version["subresources"] = {"status": {}}
    columns = [_column(column) for column in kind.columns if column.json_path]
    if columns:
        version["additionalPrinterColumns"] = columns
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.resource},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }


def _column(column: Column) -> Object:
    found: Object = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    return {**found, "priority": column.priority} if column.priority else found


def _structural(schema: Schema) -> Schema:
    """*schema* without what only we understand, such that any API server takes it."""
    result = {key: _part(key, value) for key, value in schema.items() if key not in _DROPPED}
    if result.get(INT_OR_STRING):
        result.pop("type", None)
        result.pop("format", None)
    elif not result.get("type"):
        result["type"] = "object"
        result[PRESERVE] = True
    if result.get(EMBEDDED) and not result.get("properties"):
        result[PRESERVE] = True
    return _keyed(result)


def _part(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: _structural(child) for name, child in value.items()}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _structural(value)
    return value


def _keyed(schema: Schema) -> Schema:
    """A list whose items may lack a key cannot be a map; unless all know what that means."""
    if schema.get(_LIST_TYPE) != "map":
        return schema
    items = schema["items"]
    for key in schema[_LIST_KEYS]:
        declared = items["properties"][key]
        if key in (items.get("required") or ()) or "default" in declared:
            continue
        if key not in _KEY_DEFAULTS:
            rest = {name: value for name, value in schema.items() if name != _LIST_KEYS}
            return {**rest, _LIST_TYPE: "atomic"}
        declared["default"] = _KEY_DEFAULTS[key]
    return schema
