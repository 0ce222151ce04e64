"""JSON patch, merge patch and strategic merge patch. Pure: the inputs are never changed.

Results may share parts with the inputs, so they are as read-only as those.

A strategic merge patch needs the kind's schema: which lists merge, and by which key, is said there
(``x-kubernetes-patch-strategy`` and ``x-kubernetes-patch-merge-key``). Its rules:
  1. Maps merge; null deletes; a list replaces, unless its strategy says merge.
  2. Of a merging list, elements that only the patch has come first, then the live ones in their
     order, unless ``$setElementOrder`` gives another.
  3. Directives (``$patch``, ``$retainKeys``, ``$deleteFromPrimitiveList``, ``$setElementOrder``)
     are obeyed and never stored.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from motorpool.api import gojson
from motorpool.api.errors import BadRequest, Invalid, RequestEntityTooLarge, Unclassified
from motorpool.api.gojson import printed
from motorpool.api.kinds import Schema
from motorpool.api.meta import Object

JSON_PATCH_OPERATIONS_MAX = 10_000
COPIED_BYTES_MAX = 3 * 1024 * 1024  # a few copies of the whole into itself would fill any memory

_REPLACE, _DELETE, _MERGE = "replace", "delete", "merge"
_ORDER = "$setElementOrder/"
_PRIMITIVE_DELETE = "$deleteFromPrimitiveList/"
_MISSING: Any = object()


class _CannotPatch(Exception):
    """An operation of a JSON patch that does not fit the object."""


def json_patch(obj: Any, operations: Sequence[Any]) -> Any:
    """RFC 6902. Raises BadRequest, or Invalid where an operation (a failed ``test`` too) cannot be
    carried out."""
    if len(operations) > JSON_PATCH_OPERATIONS_MAX:
        raise BadRequest(
            "The allowed maximum operations in a JSON patch is "
            f"{JSON_PATCH_OPERATIONS_MAX}, got {len(operations)}"
        )
    for operation in operations:
        if not isinstance(operation, dict):
            what = gojson.type_name(operation)
            raise BadRequest(
                f"error decoding patch: json: cannot unmarshal {what} into Go value of type "
                "handlers.jsonPatchOp"
            )
    try:
        copied_bytes = 0
        for operation in operations:
            if operation.get("op") == "copy":
                source = _found(obj, _pointer(operation.get("from")))
                copied_bytes += len(msgspec.json.encode(source))
                _check_copied(copied_bytes)
            obj = _applied(obj, operation)
    except _CannotPatch as error:
        raise Invalid(
            "the server rejected our request due to an error in our request", details={}
        ) from error
    return obj


def _check_copied(size: int) -> None:
    if size > COPIED_BYTES_MAX:
        raise RequestEntityTooLarge(
            "Unable to complete the copy, the accumulated size increase of copy is "
            f"{size}, exceeding the limit {COPIED_BYTES_MAX}"
        )


def _applied(obj: Any, operation: Object) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "test":
            if not _same(_found(obj, path), operation.get("value")):
                raise _CannotPatch("testing value failed")
            return obj
        case "remove":
            _found(obj, path)
            return _removed(obj, path)
        case "add":
            return _put(obj, path, _value(operation), insert=True)
        case "replace":
            return _put(obj, path, _value(operation), insert=False)
        case "move":
            source = _pointer(operation.get("from"))
            if path[: len(source)] == source and path != source:
                raise _CannotPatch("cannot move a value into itself")
            value = _found(obj, source)
            return _put(_removed(obj, source), path, value, insert=True)
        case "copy":
            return _put(obj, path, _found(obj, _pointer(operation.get("from"))), insert=True)
    raise _CannotPatch(f"unexpected kind: {operation.get('op')}")


def _value(operation: Object) -> Any:
    if "value" not in operation:
        raise _CannotPatch("operation has no value")
    return operation["value"]


def _pointer(path: Any) -> list[str]:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise _CannotPatch(f"not a JSON pointer: {path}")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _index(container: list[Any], step: str, *, limit: int) -> int:
    digits = step.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise _CannotPatch(f"not an index: {step}")
    position = int(step)
    if position < 0:
        position += limit
    if not 0 <= position < limit:
        raise _CannotPatch(f"index out of range: {step}")
    return position


def _found(obj: Any, path: list[str]) -> Any:
    for step in path:
        if isinstance(obj, dict):
            if step not in obj:
                raise _CannotPatch(f"missing: {step}")
            obj = obj[step]
        elif isinstance(obj, list):
            obj = obj[_index(obj, step, limit=len(obj))]
        else:
            raise _CannotPatch(f"missing: {step}")
    return obj


def _changed(obj: Any, path: list[str], change: Callable[[Any, str], None]) -> Any:
    """A copy of *obj* whose container of the last step of *path* went through *change*."""
    if not isinstance(obj, (dict, list)):
        raise _CannotPatch("not a container")
    copied = obj.copy()
    if len(path) == 1:
        change(copied, path[0])
        return copied
    child = _found(obj, path[:1])
    step: Any = _index(obj, path[0], limit=len(obj)) if isinstance(obj, list) else path[0]
    copied[step] = _changed(child, path[1:], change)
    return copied


def _removed(obj: Any, path: list[str]) -> Any:
    if not path:
        raise _CannotPatch("cannot remove the whole object")

    def remove(container: Any, step: str) -> None:
        if isinstance(container, list):
            del container[_index(container, step, limit=len(container))]
        else:
            del container[step]

    return _changed(obj, path, remove)


def _put(obj: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value

    def put(container: Any, step: str) -> None:
        if isinstance(container, dict):
            container[step] = value
        elif step == "-" and insert:
            container.append(value)
        elif insert:
            container.insert(_index(container, step, limit=len(container) + 1), value)
        else:
            container[_index(container, step, limit=len(container))] = value

    return _changed(obj, path, put)


def _same(left: Any, right: Any) -> bool:
    """JSON equality: in Python True equals 1."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def merge_patch(obj: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(obj) if isinstance(obj, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_merge_patch(obj: Object, patch: Object, schema: Schema) -> Object:
    """Raises Unclassified (500) where an element of a merging list has no key, and BadRequest
    where a directive makes no sense."""
    result = _merged_map(obj, patch, schema)
    return {} if result is _MISSING else result


def _merged_map(live: Any, patch: Object, schema: Schema) -> Any:
    directive = patch.get("$patch")
    if directive == _DELETE:
        return _MISSING
    if directive == _REPLACE:
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive not in (None, _MERGE):
        raise BadRequest(f"unknown patch type found: {directive}")
    result = dict(live) if isinstance(live, dict) else {}
    retained = patch.get("$retainKeys")
    if retained is not None:
        if not isinstance(retained, list):
            raise BadRequest("invalid patch format of retainKeys list")
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        merged = _merged_value(result.get(key), value, _child(schema, key))
        if merged is _MISSING:
            result.pop(key, None)
        else:
            result[key] = merged
    _obey_list_directives(result, live, patch, schema)
    return result


def _child(schema: Schema, key: str) -> Schema:
    found: Any = (schema.get("properties") or {}).get(key)
    if found is None:
        found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else {}


def _merged_value(live: Any, value: Any, schema: Schema) -> Any:
    if value is None:
        return _MISSING
    if isinstance(value, dict):
        return _merged_map(live if isinstance(live, dict) else {}, value, schema)
    if isinstance(value, list):
        return _merged_list(live if isinstance(live, list) else [], value, schema)
    return value


def _strategies(schema: Schema) -> list[str]:
    return str(schema.get("x-kubernetes-patch-strategy", "")).split(",")


def _merged_list(live: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    if any(isinstance(item, dict) and item.get("$patch") == _REPLACE for item in patch):
        return [
            _without_directives(item)
            for item in patch
            if not (isinstance(item, dict) and item.get("$patch") == _REPLACE)
        ]
    if _MERGE not in _strategies(schema):
        return [_without_directives(item) for item in patch]
    key = schema.get("x-kubernetes-patch-merge-key")
    if key is None:
        return [*(item for item in dict.fromkeys(patch) if item not in live), *live]
    return _merged_by_key(live, patch, str(key), schema.get("items") or {})


def _merged_by_key(live: list[Any], patch: list[Any], key: str, item_schema: Schema) -> list[Any]:
    deleted = []
    wanted: list[Object] = []
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise Unclassified(f"map: {printed(item)} does not contain declared merge key: {key}")
        if item.get("$patch") == _DELETE:
            deleted.append(item[key])
        else:
            wanted.append(item)
    result = [item for item in live if not (isinstance(item, dict) and item.get(key) in deleted)]
    added: list[Any] = []
    for item in wanted:
        place = next((i for i, kept in enumerate(result) if _keyed(kept, key) == item[key]), None)
        if place is not None:
            result[place] = _merged_map(result[place], item, item_schema)
        else:
            added.append(_merged_map({}, item, item_schema))
    return added + result


def _keyed(item: Any, key: str) -> Any:
    return item.get(key, _MISSING) if isinstance(item, dict) else _MISSING


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_directives(v) for k, v in value.items() if not k.startswith("$")}
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value


def _obey_list_directives(result: Object, live: Any, patch: Object, schema: Schema) -> None:
    for directive, values in patch.items():
        if directive.startswith(_PRIMITIVE_DELETE):
            name = directive.removeprefix(_PRIMITIVE_DELETE)
            if isinstance(result.get(name), list):
                result[name] = [item for item in result[name] if item not in values]
    for directive, order in patch.items():
        if directive.startswith(_ORDER):
            name = directive.removeprefix(_ORDER)
            if isinstance(result.get(name), list) and isinstance(order, list):
                key = _child(schema, name).get("x-kubernetes-patch-merge-key")
                before = live.get(name) if isinstance(live, dict) else None
                result[name] = _ordered(result[name], before or [], order, key)


def _ordered(items: list[Any], before: list[Any], order: list[Any], key: Any) -> list[Any]:
    """*items* with those named in *order* in that order; each other one stays behind the item
    that it followed in *before*."""

    def identity(item: Any) -> Any:
        return _keyed(item, key) if key is not None else item

    named = [identity(entry) for entry in order]
    place = {repr(name): position for position, name in enumerate(named)}
    listed = sorted(
        (item for item in items if repr(identity(item)) in place),
        key=lambda item: place[repr(identity(item))],
    )
    result = list(listed)
    old = [repr(identity(item)) for item in before]
    for item in items:
        mine = repr(identity(item))
        if mine in place:
            continue
        position = 0
        if mine in old:
            earlier = set(old[: old.index(mine)])
            position = next(
                (i + 1 for i in reversed(range(len(result)))
                 if repr(identity(result[i])) in earlier),
                0,
            )  # fmt: skip
        else:
            position = len(result)
        result.insert(position, item)
    return result
