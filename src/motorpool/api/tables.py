"""``kubectl get`` as the server answers it: a ``meta.k8s.io/v1`` Table. Pure."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from motorpool.api import jsonpath
from motorpool.api.duration import since
from motorpool.api.kinds import Column, Kind
from motorpool.api.meta import Object

IncludeObject = Literal["None", "Metadata", "Object"]
ColumnType = Literal["string", "integer", "number", "boolean", "date"]


def _name(obj: Object, _: datetime) -> str:
    return str(obj["metadata"].get("name", ""))


def _age(obj: Object, now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


NAME = Column(
    "Name", _name, format="name", description="The name, unique among its kind and namespace"
)
AGE = Column("Age", _age, description="How long ago the object was created")
CUSTOM_AGE = Column(
    "Age",
    _age,
    "date",
    description="Custom resource definition column (in JSONPath format): "
    ".metadata.creationTimestamp",
    json_path=".metadata.creationTimestamp",
)


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """What the kind shows, else name and age. The printer columns of a custom kind need not hold
    the name: it always comes first."""
    if not kind.columns:
        return (NAME, CUSTOM_AGE if kind.is_custom else AGE)
    if kind.is_custom and kind.columns[0].format != "name":
        return (NAME, *kind.columns)
    return kind.columns


def table(
    kind: Kind,
    objects: Sequence[Object],
    *,
    now: datetime,
    resource_version: str = "",
    include_object: IncludeObject = "Metadata",
    with_definitions: bool = True,
    continue_: str = "",
    remaining: int | None = None,
) -> Object:
    """The table of *objects*; *with_definitions* is False for all but the first watch event."""
    columns = columns_of(kind)
    metadata: Object = {}
    if resource_version:
        metadata["resourceVersion"] = resource_version
    if continue_:
        metadata["continue"] = continue_
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(c) for c in columns] if with_definitions else None,
        "rows": [_row(kind, columns, obj, now, include_object) for obj in objects],
    }


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _row(
    kind: Kind, columns: Sequence[Column], obj: Object, now: datetime, include: IncludeObject
) -> Object:
    row: Object = {"cells": [column.cell(obj, now) for column in columns]}
    conditions = kind.row_conditions(obj)
    if conditions:
        row["conditions"] = list(conditions)
    if include == "Object":
        row["object"] = {**obj, "kind": kind.kind, "apiVersion": kind.api_version}
    elif include == "Metadata":
        row["object"] = partial_metadata(obj)
    else:
        row["object"] = None
    return row


def partial_metadata(obj: Object) -> Object:
    """The object reduced to what every kind has."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def json_path_column(name: str, json_path: str, type: ColumnType, priority: int = 0) -> Column:
    """A printer column of a custom resource. Raises ``jsonpath.BadPath`` for a path it cannot read.

    A date shows as an age; a missing value is null.
    """
    find = jsonpath.find(json_path)

    def cell(obj: Object, now: datetime) -> Any:
        value = find(obj)
        if value is None:
            return None
        if type == "date":
            return since(value, now) if isinstance(value, str) else "<invalid>"
        return _typed(value, type)

    return Column(
        name,
        cell,
        type,
        priority,
        description=f"Custom resource definition column (in JSONPath format): {json_path}",
        json_path=json_path,
    )


def _typed(value: Any, type_: ColumnType) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match type_:
        case "integer":
            return int(value) if is_number else None
        case "number":
            return value if is_number else None
        case "boolean":
            return value if isinstance(value, bool) else None
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
