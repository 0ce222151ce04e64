"""Who owns what after an update or a creation. Pure."""

from motorpool.api import apply
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver.options import WriteOptions
from motorpool.apiserver.strategy import copy_or_drop


def tracked(
    kind: Kind,
    old: Object | None,
    new: Object,
    options: WriteOptions,
    *,
    moment: str,
    subresource: str = "",
) -> Object:
    """*new* with its ``managedFields``; those of *old* where the write is not to be recorded."""
    if not options.tracked:
        if old is not None:
            copy_or_drop(old["metadata"], new["metadata"], "managedFields")
        return new
    return apply.track(
        old,
        new,
        manager=options.manager,
        operation="Update",
        kind=kind,
        now=moment,
        subresource=subresource,
    )
