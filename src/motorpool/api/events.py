"""The events group: the Events of the core group under the newer names of their fields."""

from collections.abc import Sequence
from dataclasses import replace

from motorpool.api import columns, core, records
from motorpool.api.errors import FieldError
from motorpool.api.kinds import Column, Kind
from motorpool.api.kubernetestypes import built_in
from motorpool.api.meta import Object

_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "source": "deprecatedSource",
}
_CORE_NAMES = {new: old for old, new in _NAMES.items()}


def event_of(stored: Object) -> Object:
    """The newer view of a core Event."""
    renamed = {_NAMES.get(name, name): value for name, value in stored.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1", "kind": "Event"}


def core_event_of(event: Object) -> Object:
    renamed = {_CORE_NAMES.get(name, name): value for name, value in event.items()}
    return {**renamed, "apiVersion": "v1", "kind": "Event"}


def _validate(new: Object, old: Object | None) -> Sequence[FieldError]:
    before = None if old is None else core_event_of(old)
    errors = records.validate_event(core_event_of(new), before)
    return [error._replace(path=_renamed(error.path)) for error in errors]


def _renamed(path: str) -> str:
    first, dot, rest = path.partition(".")
    return f"{_NAMES.get(first, first)}{dot}{rest}"


def _column(column: Column) -> Column:
    cell = column.cell
    return replace(column, cell=lambda obj, now: cell(core_event_of(obj), now))


EVENT = Kind(
    group="events.k8s.io", version="v1", kind="Event", plural="events", singular="event",
    short_names=("ev",), update_may_create=True,
    schema=built_in("events.k8s.io", "v1", "Event"),
    columns=tuple(_column(column) for column in columns.EVENT),
    selectable_fields={
        _renamed(path): read
        for path, read in core.EVENT.selectable_fields.items() if path != "source"
    },
    validate=_validate,
    stored_as=core.EVENT, to_stored=core_event_of, read=event_of,
)  # fmt: skip

KINDS = (EVENT,)
