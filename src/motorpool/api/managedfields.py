"""The entries of ``metadata.managedFields``: who owns which fields. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from motorpool.api.fieldsets import Fields, union
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object

UPDATERS_MAX = 10
"""More update entries than this share one, as on every API server: an object must not grow with
the number of its clients."""

ANCIENT = "ancient-changes"
TRACKED_METADATA = ("generateName", "labels", "annotations", "finalizers", "ownerReferences")


@dataclass(frozen=True, slots=True)
class Entry:
    manager: str
    operation: str  # Apply or Update
    api_version: str
    time: str
    fields: Fields
    subresource: str = ""

    def is_of(self, manager: str, operation: str, api_version: str, subresource: str) -> bool:
        return (self.manager, self.operation, self.api_version, self.subresource) == (
            manager,
            operation,
            api_version,
            subresource,
        )

    def named(self) -> str:
        """As conflicts name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.operation == "Apply" else f"{text} using {self.api_version}"

    def as_object(self) -> Object:
        entry: Object = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields,
        }
        if self.subresource:
            entry["subresource"] = self.subresource
        return entry


def entries_of(managed: Any) -> list[Entry]:
    """The entries that mean something."""
    return [
        Entry(
            str(item.get("manager", "")),
            str(item.get("operation", "")),
            str(item.get("apiVersion", "")),
            str(item.get("time") or ""),
            item["fieldsV1"],
            str(item.get("subresource") or ""),
        )
        for item in managed or ()
        if isinstance(item, dict) and item.get("fieldsV1")
    ]


def sent_or_kept(old: Object | None, new: Object, subresource: str) -> list[Entry]:
    """The entries to go on from: what the client sent, else what the object had.

    An empty list, or one of one empty entry, is how a client gives up all ownership.
    """
    kept = entries_of(old["metadata"].get("managedFields")) if old is not None else []
    if subresource or "managedFields" not in new["metadata"]:
        return kept
    sent = new["metadata"]["managedFields"]
    if sent is None:
        return kept
    return entries_of(sent)


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Appliers first, then by time, then by name; bounded in number."""
    every = sorted(entries, key=lambda e: (e.operation, e.time, e.manager))
    updaters = [e for e in every if e.operation == "Update" and not e.subresource]
    surplus = updaters[: max(0, len(updaters) - UPDATERS_MAX)]
    if not surplus:
        return every
    oldest = [*surplus, updaters[len(surplus)]]
    merged = oldest[0]
    for entry in oldest[1:]:
        merged = replace(merged, fields=union(merged.fields, entry.fields), time=entry.time)
    merged = replace(merged, manager=ANCIENT)
    rest = [entry for entry in every if entry not in oldest]
    return sorted([*rest, merged], key=lambda e: (e.operation, e.time, e.manager))


def with_entries(obj: Object, entries: Sequence[Entry]) -> Object:
    """A copy of *obj* that says so; the rest is shared."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = [entry.as_object() for entry in entries]
    return {**obj, "metadata": metadata}


def tracked(obj: Object | None, kind: Kind, subresource: str) -> Object:
    """The part of *obj* that belongs to somebody, as far as a write to *subresource* can reach."""
    if obj is None:
        return {}
    metadata = {key: obj["metadata"][key] for key in TRACKED_METADATA if key in obj["metadata"]}
    if subresource == "status":
        result: Object = {"status": obj["status"]} if "status" in obj else {}
        metadata = {} if kind.is_custom else metadata
    else:
        apart = {"apiVersion", "kind", "metadata"} | ({"status"} if kind.has_status else set())
        result = {key: value for key, value in obj.items() if key not in apart}
    if metadata:
        result["metadata"] = metadata
    return result
