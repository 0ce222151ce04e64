"""An applied object made fit to be merged: checked against the schema, without nulls, with every
amount in its one form. Pure; refusals are those of structured merge."""

from typing import Any

from motorpool.api import quantity
from motorpool.api.errors import Unclassified
from motorpool.api.fieldsets import NoKey, child_schema, element_key, list_keys, shown, value_key
from motorpool.api.kinds import Kind, Schema
from motorpool.api.kubernetestypes import INT_OR_STRING, PRESERVE
from motorpool.api.meta import Object

_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "string"),
    "integer": ((int, float), "numeric (int or float)"),
    "number": ((int, float), "numeric (int or float)"),
    "boolean": ((bool,), "boolean"),
}


class Problems:
    """What is wrong with an applied object, path by path."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, path: str, text: str) -> None:
        self.found.append(f"{path}: {text}")

    def raise_for(self, applied: Object, kind: Kind) -> None:
        if not self.found:
            return
        metadata = applied["metadata"]
        name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        group_version = kind.api_version if kind.group else f"/{kind.version}"
        listed = self.found[0]
        if len(self.found) > 1:
            listed = "errors:\n" + "\n".join(f"  {text}" for text in self.found)
        raise Unclassified(
            f"failed to create typed patch object ({name}; {group_version}, Kind={kind.kind}): "
            f"{listed}"
        )


def normalized(value: Any, schema: Schema, path: str, problems: Problems) -> Any:
    """A copy of *value* that can be merged."""
    if isinstance(value, dict):
        return _map(value, schema, path, problems)
    if isinstance(value, list):
        return _list(value, schema, path, problems)
    expected = schema.get("type")
    if expected in ("object", "array"):
        what = "map" if expected == "object" else "list"
        problems.add(path, f"expected {what}, got {_go(value)}")
        return value
    if INT_OR_STRING in schema:
        if schema.get("format") == "quantity" and quantity.is_quantity(value):
            return quantity.canonical(value)
        return value
    rule = _SCALARS.get(str(expected))
    if rule is not None:
        types, name = rule
        fits = isinstance(value, types) and isinstance(value, bool) == (bool in types)
        if not fits:
            problems.add(path, f"expected {name}, got {_go(value)}")
    return value


def _go(value: Any) -> str:
    if isinstance(value, bool):
        shown_value = "true" if value else "false"
    elif isinstance(value, dict):
        inside = " ".join(f"{key}:{item}" for key, item in sorted(value.items()))
        shown_value = f"map[{inside}]"
    elif isinstance(value, list):
        shown_value = f"[{' '.join(map(str, value))}]"
    else:
        shown_value = str(value)
    return f"&value.valueUnstructured{{Value:{shown_value}}}"


def _map(value: Object, schema: Schema, path: str, problems: Problems) -> Any:
    expected = schema.get("type")
    if expected not in (None, "object"):
        name = _SCALARS[str(expected)][1] if expected in _SCALARS else "list"
        problems.add(path, f"expected {name}, got {_go(value)}")
        return value
    properties = schema.get("properties") or {}
    is_open = PRESERVE in schema or bool(schema.get("additionalProperties")) or not schema
    result: Object = {}
    for key, item in value.items():
        if item is None:
            continue
        here = f"{path}.{key}"
        if key not in properties and not is_open:
            problems.add(here, "field not declared in schema")
            continue
        result[key] = normalized(item, child_schema(schema, key), here, problems)
    return result


def _list(value: list[Any], schema: Schema, path: str, problems: Problems) -> Any:
    expected = schema.get("type")
    if expected not in (None, "array"):
        name = _SCALARS[str(expected)][1] if expected in _SCALARS else "map"
        problems.add(path, f"expected {name}, got {_go(value)}")
        return value
    items = schema.get("items") or {}
    keys = list_keys(schema)
    is_set = schema.get("x-kubernetes-list-type") == "set"
    result: list[Any] = []
    seen: set[str] = set()
    for position, item in enumerate(value):
        key = f"i:{position}"
        if keys is not None:
            try:
                key = element_key(item, keys, items)
            except NoKey as error:
                problems.add(path, f"element {position}: {error}")
        elif is_set:
            key = value_key(item)
        if key in seen:
            text = f"duplicate entries for key {shown(key)}"
            problems.add(path, text)
        seen.add(key)
        result.append(normalized(item, items, path + shown(key), problems))
    return result
