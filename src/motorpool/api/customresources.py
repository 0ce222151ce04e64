"""The CustomResourceDefinition of a kind of ours, for clusters without it. Pure."""

from typing import Any

from motorpool.api.kinds import Kind, Schema
from motorpool.api.meta import Object

_KEPT = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
_PATH = "Custom resource definition column (in JSONPath format): "


def definition_of(kind: Kind) -> Object:
    names: Object = {
        "kind": kind.kind,
        "listKind": kind.list_kind or f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    version: Object = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {
                "name": column.name,
                "type": column.type,
                "jsonPath": column.description.removeprefix(_PATH),
                **({"priority": column.priority} if column.priority else {}),
            }
            for column in kind.columns
            if column.description.startswith(_PATH)
        ],
        "schema": {"openAPIV3Schema": structural(kind.schema())},
    }
    if any(one.name == "status" for one in kind.subresources):
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": names,
            "versions": [version],
        },
    }


def structural(schema: Schema) -> Schema:
    """*schema* in the words that a CustomResourceDefinition may use.

    How lists merge is left out: keys that a list merges by would have to be required.
    """
    made: Schema = {}
    for word, value in schema.items():
        if word == "properties":
            made[word] = {name: structural(child) for name, child in value.items()}
        elif word in ("items", "additionalProperties") and isinstance(value, dict):
            made[word] = structural(value)
        elif not word.startswith("x-") or word in _KEPT:
            made[word] = _plain(value)
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made.pop("format", None)
    return made


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
