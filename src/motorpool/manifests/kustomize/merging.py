"""A strategic merge as kustomize does it: what the patch has comes first, in the patch's order.

The API server's own (`api/patch.py`) keeps the order of what is live; here no one has an order yet.
"""

from typing import Any

from motorpool.api.kinds import Schema
from motorpool.api.meta import Object
from motorpool.manifests.kustomize.resource import KustomizeError

_DIRECTIVE = "$patch"


def merged(live: Any, patch: Object, schema: Schema) -> Any:
    """None where the patch deletes it. Raises KustomizeError. Shares parts with both."""
    directive = patch.get(_DIRECTIVE)
    rest = {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return None
    if directive not in (None, "merge", "replace"):
        raise KustomizeError(f"$patch: {directive} is not known")
    result = dict(live) if isinstance(live, dict) and directive != "replace" else {}
    for key, value in rest.items():
        if key.startswith("$"):
            raise KustomizeError(f"{key} is not understood in patches")
        child = _value(result.get(key), value, _child(schema, key))
        if child is None:
            result.pop(key, None)
        else:
            result[key] = child
    return result


def _child(schema: Schema, key: str) -> Schema:
    found = (schema.get("properties") or {}).get(key) or schema.get("additionalProperties")
    return found if isinstance(found, dict) else {}


def _value(live: Any, value: Any, schema: Schema) -> Any:
    if isinstance(value, dict):
        return merged(live, value, schema)
    if not isinstance(value, list):
        return value
    if "merge" not in str(schema.get("x-kubernetes-patch-strategy", "")).split(","):
        return [merged({}, item, {}) if isinstance(item, dict) else item for item in value]
    return _list(live if isinstance(live, list) else [], value, schema)


def _list(live: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    key = schema.get("x-kubernetes-patch-merge-key")
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if item.get(_DIRECTIVE) != "replace"]
    if not key:
        return [*patch, *(item for item in live if item not in patch)]
    items = schema.get("items") or {}
    result = []
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise KustomizeError(f"an element of a list that merges by {key} has none")
        before: Any = next((one for one in live if one.get(key) == item[key]), {})
        after = merged(before, item, items)
        if after is not None:
            result.append(after)
    patched = [item[key] for item in patch]
    return [*result, *(item for item in live if item.get(key) not in patched)]
