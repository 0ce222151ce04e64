"""Sets of fields in the form of ``fieldsV1``: which parts of an object someone owns. Pure.

A set is a tree of dicts. A key is ``f:name`` (a field), ``k:{"name":"c"}`` (an element of a list
with keys) or ``v:"text"`` (an element of a set). A node is itself a member when it is empty or
holds ``"."``. Trees may share parts: none is ever changed once made.

What one path element means follows from the schema:
  - maps are granular unless ``x-kubernetes-map-type: atomic``;
  - lists are one value unless ``x-kubernetes-list-type`` is ``map`` or ``set``.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from motorpool.api.kinds import Schema
from motorpool.api.kubernetestypes import TYPE_NAME

Fields: TypeAlias = dict[str, Any]

_LEAF: Fields = {}
_NO_SCHEMA: Schema = {}


class NoKey(ValueError):
    """An element of a list with keys lacks one that has no default."""


def is_atomic_map(schema: Schema) -> bool:
    return schema.get("x-kubernetes-map-type") == "atomic"


def child_schema(schema: Schema, name: str) -> Schema:
    found: Any = (schema.get("properties") or _NO_SCHEMA).get(name)
    if found is None:
        found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else _NO_SCHEMA


def list_keys(schema: Schema) -> list[str] | None:
    """The merge keys of a list with keys; None for any other list."""
    if schema.get("x-kubernetes-list-type") != "map":
        return None
    return schema.get("x-kubernetes-list-map-keys") or None


def element_key(item: Any, keys: list[str], schema: Schema) -> str:
    """The path element of one element of a list with keys. Raises NoKey."""
    if not isinstance(item, dict):
        raise NoKey(f"element is no map: {item!r}")
    if len(keys) == 1 and isinstance(item.get(keys[0]), str):
        return f'k:{{"{keys[0]}":{_quoted(item[keys[0]])}}}'
    values = {}
    for key in sorted(keys):
        value = item.get(key)
        if value is None:
            value = child_schema(schema, key).get("default")
        if value is None:
            raise NoKey(
                f'associative list with keys has an element that omits key field "{key}" '
                "(and doesn't have default value)"
            )
        values[key] = value
    return f"k:{json.dumps(values, separators=(',', ':'), ensure_ascii=False)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def value_key(item: Any) -> str:
    return f"v:{json.dumps(item, separators=(',', ':'), ensure_ascii=False, sort_keys=True)}"


def keyed(items: list[Any], schema: Schema) -> dict[str, Any] | None:
    """The elements by path element; None where the list is one value or has no clear keys."""
    keys = list_keys(schema)
    if keys is None:
        if schema.get("x-kubernetes-list-type") != "set":
            return None
        found = {value_key(item): item for item in items}
    else:
        item_schema = schema.get("items") or _NO_SCHEMA
        try:
            found = {element_key(item, keys, item_schema): item for item in items}
        except NoKey:
            return None
    return found if len(found) == len(items) else None


def of_value(value: Any, schema: Schema, *, dots: bool) -> Fields:
    """The fields of *value*. With *dots*, maps and lists are members too: who creates them by an
    update owns them as such."""
    if isinstance(value, dict):
        if not value or is_atomic_map(schema):
            return _LEAF
        fields = {
            f"f:{name}": of_value(item, child_schema(schema, name), dots=dots)
            for name, item in value.items()
        }
        return {".": _LEAF, **fields} if dots and TYPE_NAME not in schema else fields
    if isinstance(value, list):
        items = keyed(value, schema)
        if not items:
            return _LEAF
        item_schema = schema.get("items") or _NO_SCHEMA
        fields = {}
        for key, item in items.items():
            inner = of_value(item, item_schema, dots=dots) if key[0] == "k" else _LEAF
            fields[key] = {".": _LEAF, **inner} if inner else _LEAF
        return {".": _LEAF, **fields} if dots else fields
    return _LEAF


def is_member(node: Fields) -> bool:
    return not node or "." in node


def union(left: Fields, right: Fields) -> Fields:
    """What either owns."""
    if left == right:
        return left
    return _joined(left, right)


def _joined(left: Fields, right: Fields) -> Fields:
    result = dict(left)
    for key, node in right.items():
        mine = result.get(key)
        if mine is None or key == ".":
            result[key] = node
        elif mine != node:
            joined = _joined(mine, node)
            # An empty node is a member; beside children that must be said.
            if joined and (not mine or not node) and "." not in joined:
                joined = {".": _LEAF, **joined}
            result[key] = joined
    return result


def difference(left: Fields, right: Fields | None) -> Fields | None:
    """*left* without what *right* owns; None where nothing is left.

    A None inside *right* stands for everything at and below that point.
    """
    if right is None:
        return None
    result: Fields = {}
    for key, node in left.items():
        if key == ".":
            continue
        if key not in right:
            result[key] = node
            continue
        kept = _node_difference(node, right[key])
        if kept is not None:
            result[key] = kept
    return result or None


def _node_difference(node: Fields, other: Fields | None) -> Fields | None:
    if other is None:
        return None
    member = is_member(node) and not is_member(other)
    children = difference(node, other)
    if children is None:
        return _LEAF if member else None
    return {".": _LEAF, **children} if member else children


def common(left: Fields, right: Fields, path: str = "") -> Iterator[str]:
    """The paths that both own, as the API prints them: ``.spec.containers[name="c"].image``."""
    for key, node in left.items():
        other = right.get(key)
        if other is None or key == ".":
            continue
        here = path + shown(key)
        if is_member(node) and is_member(other):
            yield here
        if node and other:
            yield from common(node, other, here)


def shown(key: str) -> str:
    """One path element as the API prints it."""
    kind, rest = key[0], key[2:]
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        values = json.loads(rest)
        inside = ",".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
        )
        return f"[{inside}]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"


class Changes:
    """What became of an object: fields that are new or different, and fields that are gone."""

    __slots__ = ("changed", "removed")

    def __init__(self, changed: Fields | None, removed: Fields | None) -> None:
        self.changed = changed
        self.removed = removed


def changes(old: Any, new: Any, schema: Schema, *, dots: bool = True) -> Changes:
    """Compares two values; *old* and *new* differ or nothing has changed."""
    if old == new and type(old) is type(new):
        return Changes(None, None)
    if isinstance(old, dict) and isinstance(new, dict) and not is_atomic_map(schema):
        return _compared(
            {f"f:{name}": value for name, value in old.items()},
            {f"f:{name}": value for name, value in new.items()},
            lambda key: child_schema(schema, key[2:]),
            dots=dots,
        )
    if isinstance(old, list) and isinstance(new, list):
        before, after = keyed(old, schema), keyed(new, schema)
        if before is not None and after is not None:
            items = schema.get("items") or _NO_SCHEMA
            return _compared(before, after, lambda _: items, dots=dots)
    return Changes(_LEAF, None)


def _compared(
    before: dict[str, Any],
    after: dict[str, Any],
    schema_of: Callable[[str], Schema],
    *,
    dots: bool,
) -> Changes:
    changed: Fields = {}
    removed: Fields = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before:
            inner = of_value(value, schema_of(key), dots=dots) if key[0] != "v" else _LEAF
            changed[key] = {".": _LEAF, **inner} if key[0] == "k" and inner else inner
            continue
        old = before[key]
        if old == value and type(old) is type(value):
            continue
        inside = changes(old, value, schema_of(key), dots=dots)
        if inside.changed is not None:
            changed[key] = inside.changed
        if inside.removed is not None:
            removed[key] = inside.removed
    return Changes(changed or None, removed or None)
