"""What the schema in a CustomResourceDefinition must be like: structural. Pure.

A structural schema says the type of every field outside of logic (``allOf``, ``anyOf``, ``oneOf``,
``not``); inside of it, values are only checked further. So what to prune and what to default is
known without looking at the values.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

from motorpool.api import structural
from motorpool.api.errors import FieldError
from motorpool.api.kinds import Schema
from motorpool.api.kubernetestypes import EMBEDDED, INT_OR_STRING, PRESERVE
from motorpool.api.patterns import compiled
from motorpool.api.schema import pruned, with_defaults

Level = Literal["root", "item", "field"]

LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"
MAP_TYPE = "x-kubernetes-map-type"
RULES = "x-kubernetes-validations"

NODES_MAX = 100_000
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_NOT_SUPPORTED = ("$ref", "additionalItems", "definitions", "dependencies", "id",
                  "patternProperties")  # fmt: skip
_LOGIC = ("allOf", "anyOf", "oneOf")
_UNLOGICAL = ("default", "nullable", "additionalProperties", EMBEDDED, PRESERVE, RULES, LIST_TYPE,
              LIST_KEYS, MAP_TYPE)  # fmt: skip
"""What may not stand within logic, beside types and prose."""
_MISSING = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def schema_errors(root: Schema, path: str) -> list[FieldError]:
    """Every reason why *root* is no structural schema of a kind."""
    found = list(_node_errors(root, path, "root"))
    if not found:
        found += _rule_errors(root, path)
    return found


def _node_errors(node: Any, path: str, level: Level) -> Iterator[FieldError]:
    yield from _type_errors(node, path, level)
    yield from _feature_errors(node, path)
    yield from _extension_errors(node, path, level)
    yield from _logic_errors(node, path, node)
    yield from _children_errors(node, path, level)
    if "default" in node and node["default"] is not None:
        yield from _default_errors(node, path, level)


def _type_errors(node: Schema, path: str, level: Level) -> Iterator[FieldError]:
    kind = node.get("type") or ""
    if kind and kind not in _TYPES:
        yield FieldError.not_supported(f"{path}.type", kind, _TYPES)
    if level == "root":
        if node.get("nullable"):
            yield FieldError.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
        if kind and kind != "object":
            yield FieldError.invalid(f"{path}.type", kind, "must be object at the root")
    if not kind and (level == "root" or not (node.get(INT_OR_STRING) or node.get(PRESERVE))):
        yield FieldError.required(f"{path}.type", _MISSING[level])
    if kind and node.get(INT_OR_STRING):
        text = f"must be empty if {INT_OR_STRING} is true"
        yield FieldError.invalid(f"{path}.type", kind, text)
    if node.get(EMBEDDED) and kind != "object":
        text = f"must be object if {EMBEDDED} is true"
        yield FieldError.invalid(f"{path}.type", kind, text)


def _feature_errors(node: Schema, path: str) -> Iterator[FieldError]:
    for name in _NOT_SUPPORTED:
        if node.get(name):
            yield FieldError.forbidden(f"{path}.{name}", f"{name} is not supported")
    if node.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield FieldError.forbidden(f"{path}.uniqueItems", text)
    extra = node.get("additionalProperties")
    where = f"{path}.additionalProperties"
    if extra is False:
        yield FieldError.forbidden(where, "additionalProperties cannot be set to false")
    if extra not in (None, False) and node.get("properties"):
        text = "additionalProperties and properties are mutual exclusive"
        yield FieldError.forbidden(where, text)
    if isinstance(node.get("items"), list):
        text = "items must be a schema object and not an array"
        yield FieldError.forbidden(f"{path}.items", text)
    elif node.get("type") == "array" and node.get("items") is None:
        yield FieldError.required(f"{path}.items", "must be specified")
    pattern = node.get("pattern")
    if pattern:
        try:
            compiled(pattern)
        except re.error as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            yield FieldError.invalid(f"{path}.pattern", pattern, text)


def _extension_errors(node: Schema, path: str, level: Level) -> Iterator[FieldError]:
    if PRESERVE in node and node[PRESERVE] is not True:
        text = "must be true or undefined"
        yield FieldError.invalid(f"{path}.{PRESERVE}", node[PRESERVE], text)
    if node.get(EMBEDDED) and not node.get(PRESERVE) and not node.get("properties"):
        text = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        yield FieldError.required(f"{path}.properties", text)
    yield from _list_errors(node, path)
    map_type = node.get(MAP_TYPE)
    if map_type is not None:
        if map_type not in ("atomic", "granular"):
            yield FieldError.not_supported(f"{path}.{MAP_TYPE}", map_type, ("atomic", "granular"))
        elif node.get("type") != "object":
            text = f"must be object if {MAP_TYPE} is specified"
            yield FieldError.invalid(f"{path}.type", node.get("type") or "", text)
    if level == "root" or node.get(EMBEDDED):
        yield from _metadata_errors(node, path)


def _metadata_errors(node: Schema, path: str) -> Iterator[FieldError]:
    metadata = (node.get("properties") or {}).get("metadata")
    if not isinstance(metadata, dict):
        return
    said = set(metadata) - {"type", "properties", "description", "nullable", RULES}
    fields = set(metadata.get("properties") or ())
    if said or not fields <= {"name", "generateName"}:
        text = (
            "must not specify anything other than name and generateName, but metadata is "
            "implicitly specified"
        )
        yield FieldError.forbidden(f"{path}.properties[metadata]", text)


def _list_errors(node: Schema, path: str) -> Iterator[FieldError]:
    list_type, keys = node.get(LIST_TYPE), node.get(LIST_KEYS) or []
    if list_type is None:
        if keys:
            text = f"must be map if {LIST_KEYS} is non-empty"
            yield FieldError.required(f"{path}.{LIST_TYPE}", text)
        return
    if list_type not in ("atomic", "set", "map"):
        known = ("atomic", "set", "map")
        yield FieldError.not_supported(f"{path}.{LIST_TYPE}", list_type, known)
        return
    if node.get("type") != "array":
        text = f"must be array if {LIST_TYPE} is specified"
        yield FieldError.invalid(f"{path}.type", node.get("type") or "", text)
        return
    items = node.get("items")
    if list_type != "map" or not isinstance(items, dict):
        return
    if not keys:
        text = f"must not be empty if {LIST_TYPE} is map"
        yield FieldError.required(f"{path}.{LIST_KEYS}", text)
    yield from _key_errors(items, keys, path)


def _key_errors(items: Schema, keys: list[str], path: str) -> Iterator[FieldError]:
    known = items.get("properties") or {}
    for position, key in enumerate(keys):
        if key not in known:
            text = "entries must all be names of item properties"
            yield FieldError.invalid(f"{path}.{LIST_KEYS}[{position}]", key, text)
            continue
        if key not in (items.get("required") or ()) and "default" not in known[key]:
            text = (
                f"this property is in {LIST_KEYS}, so it must have a default or be a required "
                "property"
            )
            yield FieldError.required(f"{path}.items.properties[{key}].default", text)
        if known[key].get("type") in ("object", "array"):
            text = f"this property is in {LIST_KEYS}, so it must be a scalar type"
            where = f"{path}.items.properties[{key}].type"
            yield FieldError.invalid(where, known[key]["type"], text)
    if len(set(keys)) != len(keys):
        yield FieldError.invalid(f"{path}.{LIST_KEYS}", keys, "must not contain duplicate entries")


def _children_errors(node: Schema, path: str, level: Level) -> Iterator[FieldError]:
    checks_metadata = level == "root" or bool(node.get(EMBEDDED))
    for name, child in (node.get("properties") or {}).items():
        if isinstance(child, dict) and not (checks_metadata and name == "metadata"):
            yield from _node_errors(child, f"{path}.properties[{name}]", "field")
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        yield from _node_errors(extra, f"{path}.additionalProperties", "field")
    items = node.get("items")
    if isinstance(items, dict):
        yield from _node_errors(items, f"{path}.items", "item")


# Logic


def _logic_errors(node: Schema, path: str, beside: Schema) -> Iterator[FieldError]:
    """The branches of *node*; *beside* is the structural node that they speak of."""
    for name, number, branch in _branches(node):
        where = f"{path}.{name}" if number is None else f"{path}.{name}[{number}]"
        yield from _branch_errors(branch, where, beside)


def _branches(node: Schema) -> Iterator[tuple[str, int | None, Schema]]:
    for name in _LOGIC:
        for number, branch in enumerate(node.get(name) or ()):
            yield name, number, branch
    if isinstance(node.get("not"), dict):
        yield "not", None, node["not"]


def _branch_errors(branch: Schema, path: str, beside: Schema) -> Iterator[FieldError]:
    if branch.get("type") and not beside.get(INT_OR_STRING):
        yield FieldError.forbidden(f"{path}.type", "must be empty to be structural")
    for name in ("title", "description"):
        if branch.get(name):
            yield FieldError.forbidden(f"{path}.{name}", "must be empty to be structural")
    for name in _UNLOGICAL:
        if branch.get(name) is not None:
            yield FieldError.forbidden(f"{path}.{name}", "must be undefined to be structural")
    properties = beside.get("properties") or {}
    for name, child in (branch.get("properties") or {}).items():
        where = f"{path}.properties[{name}]"
        extra = beside.get("additionalProperties")
        structure = properties.get(name, extra if isinstance(extra, dict) else None)
        if structure is None:
            yield FieldError.required(where, f"because it is defined in {where}")
        else:
            yield from _branch_errors(child, where, structure)
    items = branch.get("items")
    if isinstance(items, dict):
        if isinstance(beside.get("items"), dict):
            yield from _branch_errors(items, f"{path}.items", beside["items"])
        else:
            yield FieldError.required(f"{path}.items", f"because it is defined in {path}.items")
    yield from _logic_errors(branch, path, beside)


# Defaults


def _default_errors(node: Schema, path: str, level: Level) -> Iterator[FieldError]:
    if level == "root":
        yield FieldError.forbidden(f"{path}.default", "must not be set at the root")
        return
    value = node["default"]
    where = f"{path}.default"
    kept = pruned(value, node)
    if kept != value:
        yield FieldError.invalid(where, value, "must not have unknown fields")
    yield from structural.value_errors(with_defaults(value, node), node, where)


def _rule_errors(root: Schema, path: str) -> list[FieldError]:
    if not structural.has_rules(root):
        return []
    from motorpool.api.cel import rules  # loads the interpreter

    return list(rules.definition_errors(root, path))
