"""Objects, lists and watch events in the form that a client asked for. Pure."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from motorpool.api import tables
from motorpool.api.errors import BadRequest
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver.http import Response, json_response
from motorpool.apiserver.negotiation import YAML, Form
from motorpool.apiserver.shelf import Listing
from motorpool.client import WatchEvent

Include: TypeAlias = Literal["None", "Metadata", "Object"]

_encoder = msgspec.json.Encoder()


def include_of(text: str) -> Include:
    """The ``includeObject`` of a query: what the rows of a Table carry."""
    match text:
        case "" | "Metadata":
            return "Metadata"
        case "None" | "Object":
            return text
    raise BadRequest(f"unrecognized includeObject value: {text!r}")


def object_response(
    kind: Kind,
    obj: Object,
    form: Form,
    *,
    now: datetime,
    include: Include = "Metadata",
    status: int = 200,
) -> Response:
    version = str(obj["metadata"].get("resourceVersion", ""))
    if form.shape == "Table":
        value = tables.table(kind, [obj], now=now, resource_version=version, include_object=include)
    elif form.shape == "PartialObjectMetadata":
        value = tables.partial_metadata(obj)
    else:
        value = obj
    return value_response(value, form, status)


def list_response(
    kind: Kind, listing: Listing, form: Form, *, now: datetime, include: Include = "Metadata"
) -> Response:
    if form.shape == "Table":
        value = tables.table(
            kind,
            listing.items,
            now=now,
            resource_version=listing.resource_version,
            include_object=include,
            continue_=listing.continue_,
            remaining=listing.remaining,
        )
        return value_response(value, form)
    metadata: Object = {"resourceVersion": listing.resource_version}
    if listing.continue_:
        metadata["continue"] = listing.continue_
    if listing.remaining is not None:
        metadata["remainingItemCount"] = listing.remaining
    if form.shape == "PartialObjectMetadata":
        named = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        items = [tables.partial_metadata(obj) for obj in listing.items]
    else:
        named = {"kind": kind.list_name, "apiVersion": kind.api_version}
        items = listing.items if kind.is_custom else [_unnamed(obj) for obj in listing.items]
    return value_response({**named, "metadata": metadata, "items": items}, form)


def _unnamed(obj: Object) -> Object:
    """Items of a built-in list do not repeat what the list's own kind says."""
    return {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}


def value_response(value: Any, form: Form, status: int = 200) -> Response:
    if form.media != YAML:
        return json_response(value, status)
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    plain = msgspec.json.decode(_encoder.encode(value))
    text = yaml.dump(plain, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return Response(status, text.encode(), YAML)


class EventWriter:
    """The lines of one watch. The first Table of it carries the columns, the others do not."""

    def __init__(self, kind: Kind, form: Form, include: Include) -> None:
        self._kind = kind
        self._form = form
        self._include: Include = include
        self._first = True

    def line(self, event: WatchEvent, now: datetime) -> bytes:
        return _line(event.type, self._shaped(event, now))

    def _shaped(self, event: WatchEvent, now: datetime) -> Object:
        obj = event.object
        if self._form.shape == "PartialObjectMetadata":
            return tables.partial_metadata(obj)
        if self._form.shape != "Table":
            return obj
        table = tables.table(
            self._kind,
            [] if event.type == "BOOKMARK" else [obj],
            now=now,
            resource_version=obj["metadata"]["resourceVersion"],
            include_object=self._include,
            with_definitions=self._first,
        )
        self._first = False
        return table


def error_line(status: Object) -> bytes:
    return _line("ERROR", status)


def _line(event_type: str, obj: Object) -> bytes:
    return _encoder.encode({"type": event_type, "object": obj}) + b"\n"
