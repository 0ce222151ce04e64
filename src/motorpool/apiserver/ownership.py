"""Who owns which field. Ownership is not recorded yet: an apply merges and takes nothing away."""

from datetime import datetime
from typing import Any

from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.api.patch import merge_patch


def apply(
    live: Object | None,
    applied: Object,
    *,
    manager: str,
    force: bool,
    kind: Kind,
    now: datetime,
    subresource: str = "",
) -> Object:
    merged: Any = merge_patch(live or {}, applied)
    result: Object = merged
    return result


def track(
    old: Object | None,
    new: Object,
    *,
    manager: str,
    operation: str,
    kind: Kind,
    now: datetime,
    subresource: str = "",
) -> Object:
    return new
