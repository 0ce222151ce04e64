"""Server-side apply, and who owns a field after any other write. Pure.

Theory: each manager owns the fields that it last had an opinion on. An apply states a manager's
whole opinion: what it no longer mentions goes, unless someone else owns it too; what it changes
although someone else owns it is a conflict. An update owns what it changed and takes that from
everyone else.

Rules:
  1. Nothing given is changed; results share parts with what was given.
  2. A write that changes nothing gives back an equal object, times included.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from motorpool.api import schema as schemas
from motorpool.api.errors import BadRequest, Conflict, FieldError, invalid
from motorpool.api.fieldsets import (
    Fields,
    changes,
    child_schema,
    common,
    difference,
    is_atomic_map,
    keyed,
    of_value,
    union,
)
from motorpool.api.kinds import Kind, Schema
from motorpool.api.managedfields import (
    Entry,
    entries_of,
    ordered,
    sent_or_kept,
    tracked,
    with_entries,
)
from motorpool.api.meta import Object
from motorpool.api.typedpatch import Problems, normalized

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_ANNOTATIONS_BYTES_MAX = 256 * 1024


def track(
    old: Object | None,
    new: Object,
    *,
    manager: str,
    operation: str = "Update",
    kind: Kind,
    now: str,
    subresource: str = "",
) -> Object:
    """*new* with ``managedFields`` as they are after a create, an update or a patch by *manager*.

    Call it last, with the object as it will be stored.
    """
    entries = sent_or_kept(old, new, subresource)
    declared = schemas.of(kind)
    before, after = tracked(old, kind, subresource), tracked(new, kind, subresource)
    found = changes(before, after, declared)
    changed = found.changed
    if changed is None and found.removed is None:
        return with_entries(new, ordered(entries))
    result: list[Entry] = []
    own: Entry | None = None
    for entry in entries:
        kept: Fields | None = entry.fields
        if found.removed is not None:
            kept = difference(entry.fields, found.removed)
        if entry.is_of(manager, operation, kind.api_version, subresource):
            own = None if kept is None else replace(entry, fields=kept)
            continue
        if changed is not None and kept is not None:
            kept = difference(kept, changed)
        if kept is not None:
            result.append(entry if kept is entry.fields else replace(entry, fields=kept))
    if changed is not None:
        fields = union(own.fields, changed) if own is not None else changed
        own = Entry(manager, operation, kind.api_version, now, fields, subresource)
    if own is not None:
        result.append(own)
    return with_entries(new, ordered(result))


def apply(
    live: Object | None,
    applied: Object,
    *,
    manager: str,
    force: bool,
    kind: Kind,
    now: str,
    subresource: str = "",
) -> Object:
    """What *live* becomes when *manager* applies *applied*; None for *live* creates.

    Defaulting and validation come after. Raises Conflict, BadRequest, Invalid, and Unclassified
    where *applied* does not fit the schema.
    """
    _check_request(live, applied, kind)
    declared = schemas.of(kind)
    problems = Problems()
    wanted = normalized(tracked(applied, kind, subresource), declared, "", problems)
    problems.raise_for(applied, kind)
    fields = of_value(wanted, declared, dots=False)
    if live is None:
        base = {k: v for k, v in applied.items() if k != "metadata"}
        own = Entry(manager, "Apply", kind.api_version, now, fields, subresource)
        created = {**base, **wanted, "metadata": _metadata(applied["metadata"], wanted)}
        return with_entries(created, [own] if fields else [])
    entries = entries_of(live["metadata"].get("managedFields"))
    identity = (manager, "Apply", kind.api_version, subresource)
    own_before = next((entry for entry in entries if entry.is_of(*identity)), None)
    others = [entry for entry in entries if entry is not own_before]

    current = tracked(live, kind, subresource)
    merged = _merged(current, wanted, declared)
    found = changes(current, merged, declared, dots=False).changed
    if found is not None:
        others = _taken(others, found, live, kind, manager=manager, force=force)
    if own_before is not None:
        merged = _without_lost(merged, own_before.fields, fields, [e.fields for e in others])
    same = own_before is not None and own_before.fields == fields and merged == current
    time = own_before.time if own_before is not None and same else now
    own = Entry(manager, "Apply", kind.api_version, time, fields, subresource)
    if manager == "kubectl" and not subresource:
        merged = _with_last_applied(merged, applied)
    result = _placed(live, merged, kind, subresource)
    return with_entries(result, ordered([*others, own] if fields else others))


def _check_request(live: Object | None, applied: Object, kind: Kind) -> None:
    if (applied.get("apiVersion"), applied.get("kind")) != (kind.api_version, kind.kind):
        group, _, version = str(applied.get("apiVersion", "")).rpartition("/")
        says = applied.get("kind", "")
        raise BadRequest(f"invalid object type: {group}/{version}, Kind={says}")
    metadata = applied["metadata"]
    if metadata.get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    if live is None:
        return
    name = str(live["metadata"]["name"])
    version = metadata.get("resourceVersion")
    if version and version != live["metadata"].get("resourceVersion"):
        details = {"name": name, "group": kind.group, "kind": kind.plural}
        raise Conflict(
            f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been '
            "modified; please apply your changes to the latest version and try again",
            details={key: value for key, value in details.items() if value},
        )
    uid = metadata.get("uid")
    if uid and uid != live["metadata"].get("uid"):
        error = FieldError.invalid("metadata.uid", uid, "field is immutable")
        raise invalid(kind.kind, kind.group, name, [error])


def _metadata(metadata: Object, wanted: Object) -> Object:
    """Metadata of a new object: what is tracked, made normal, and the name."""
    names = ("name", "namespace")
    return {
        **{key: metadata[key] for key in names if key in metadata},
        **(wanted.get("metadata") or {}),
    }


def _placed(live: Object, merged: Object, kind: Kind, subresource: str) -> Object:
    """*live* with the tracked part replaced by *merged*."""
    gone = tracked(live, kind, subresource).keys() - merged.keys() - {"metadata"}
    result = {key: value for key, value in live.items() if key not in gone}
    result.update({key: value for key, value in merged.items() if key != "metadata"})
    before = tracked(live, kind, subresource).get("metadata", {})
    metadata = {k: v for k, v in live["metadata"].items() if k not in before}
    result["metadata"] = {**metadata, **(merged.get("metadata") or {})}
    return result


def _merged(live: Any, wanted: Any, schema: Schema) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict) and not is_atomic_map(schema):
        result = dict(live)
        for name, value in wanted.items():
            if name in live:
                result[name] = _merged(live[name], value, child_schema(schema, name))
            else:
                result[name] = value
        return result
    if isinstance(live, list) and isinstance(wanted, list):
        before, after = keyed(live, schema), keyed(wanted, schema)
        if before is not None and after is not None:
            return _merged_elements(before, after, schema.get("items") or {})
    return wanted


def _merged_elements(before: dict[str, Any], after: dict[str, Any], schema: Schema) -> list[Any]:
    """The elements of both: in the order of *after*, those only in *before* where they stood."""
    result: list[Any] = []
    left, right = list(before), list(after)
    i = j = 0
    done: set[str] = set()
    while i < len(left) or j < len(right):
        if i < len(left) and (left[i] in done or left[i] not in after):
            if left[i] not in done:
                result.append(before[left[i]])
            i += 1
            continue
        if j >= len(right):
            break
        key = right[j]
        result.append(_merged(before[key], after[key], schema) if key in before else after[key])
        done.add(key)
        j += 1
    return result


def _taken(
    others: Sequence[Entry],
    found: Fields,
    live: Object,
    kind: Kind,
    *,
    manager: str,
    force: bool,
) -> list[Entry]:
    """The other entries once the changed fields are ours. Raises Conflict unless *force*."""
    contested = [(entry, list(common(found, entry.fields))) for entry in others]
    if not force:
        forgiven = _client_side_fields(live, kind) if manager == "kubectl" else set()
        conflicts = [
            (entry, path) for entry, paths in contested for path in paths if path not in forgiven
        ]
        if conflicts:
            raise _conflict(conflicts)
    result = []
    for entry, paths in contested:
        if not paths:
            result.append(entry)
            continue
        kept = difference(entry.fields, found)
        if kept is not None:
            result.append(replace(entry, fields=kept))
    return result


def _conflict(conflicts: Sequence[tuple[Entry, str]]) -> Conflict:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {entry.named()}",
            "field": path,
        }
        for entry, path in conflicts
    ]
    if len(conflicts) == 1:
        entry, path = conflicts[0]
        text = f"Apply failed with 1 conflict: conflict with {entry.named()}: {path}"
        return Conflict(text, details={"causes": causes})
    paths: dict[str, list[str]] = {}
    for entry, path in conflicts:
        paths.setdefault(entry.named(), []).append(path)
    lines: list[str] = []
    for named in sorted(paths):
        lines += [f"conflicts with {named}:", *(f"- {path}" for path in paths[named])]
    text = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    return Conflict(text, details={"causes": causes})


def _client_side_fields(live: Object, kind: Kind) -> set[str]:
    """What ``kubectl apply`` recorded as its own before it began to apply on the server."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return set()
    try:
        recorded = json.loads(text)
        fields = of_value(tracked(recorded, kind, ""), schemas.of(kind), dots=False)
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()  # the annotation is only text: anyone may have written anything there
    return {*common(fields, fields)}


def _with_last_applied(merged: Object, applied: Object) -> Object:
    """Keeps the annotation of client-side apply true where there is one."""
    annotations = (merged.get("metadata") or {}).get("annotations") or {}
    if LAST_APPLIED not in annotations:
        return merged
    if LAST_APPLIED in (applied["metadata"].get("annotations") or {}):
        return merged
    text = json.dumps(applied, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    if len(text.encode()) > _ANNOTATIONS_BYTES_MAX:
        return merged
    metadata = {**merged["metadata"], "annotations": {**annotations, LAST_APPLIED: text}}
    return {**merged, "metadata": metadata}


def _without_lost(merged: Object, old: Fields, new: Fields, others: Sequence[Fields]) -> Object:
    """*merged* without what its manager owned, no longer mentions, and nobody else owns."""
    if old == new:
        return merged
    result = dict(merged)
    # Never a whole section: it also holds what the server wrote and nobody owns.
    for key, node in old.items():
        name = key[2:]
        if name in result and node != new.get(key) and node:
            below = [other[key] for other in others if key in other]
            kept = _pruned(result[name], node, new.get(key, {}), below)
            if kept or key in new:
                result[name] = kept
            else:
                del result[name]
        elif name in result and key not in new and not any(key in other for other in others):
            del result[name]
    return result


def _pruned(value: Any, old: Fields, new: Fields, others: list[Fields]) -> Any:
    lost = {
        key for key in old if key != "." and key not in new and not any(key in o for o in others)
    }
    shared = [key for key, node in old.items() if key != "." and key not in lost and node]
    if isinstance(value, dict):
        result = {name: item for name, item in value.items() if f"f:{name}" not in lost}
        for key in shared:
            name = key[2:]
            if name in result:
                kept = _pruned_child(result[name], key, old, new, others)
                if kept is _GONE:
                    del result[name]
                else:
                    result[name] = kept
        return result
    if isinstance(value, list):
        return _pruned_list(value, lost, shared, (old, new, others))
    return value


_GONE: Any = object()


def _pruned_child(value: Any, key: str, old: Fields, new: Fields, others: list[Fields]) -> Any:
    below = [other[key] for other in others if key in other]
    kept = _pruned(value, old[key], new.get(key, {}), below)
    if not kept and value and isinstance(kept, (dict, list)) and new.get(key) != {}:
        return _GONE
    return kept


def _pruned_list(
    value: list[Any],
    lost: set[str],
    shared: list[str],
    owners: tuple[Fields, Fields, list[Fields]],
) -> list[Any]:
    names = {key: _identity(key) for key in (*lost, *shared)}
    result: list[Any] = []
    for item in value:
        key = next((k for k, identity in names.items() if _is_element(item, identity)), None)
        if key in lost:
            continue
        if key is not None:
            kept = _pruned_child(item, key, *owners)
            if kept is not _GONE:
                result.append(kept)
        else:
            result.append(item)
    return result


def _identity(key: str) -> tuple[str, Any]:
    return key[0], json.loads(key[2:])


def _is_element(item: Any, identity: tuple[str, Any]) -> bool:
    kind, wanted = identity
    if kind == "v":
        return bool(item == wanted)
    return isinstance(item, dict) and all(
        item.get(name, value) == value for name, value in wanted.items()
    )
