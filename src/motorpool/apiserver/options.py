"""What a request asks beside its object: the options of each verb. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from motorpool.api.errors import BadRequest, FieldError
from motorpool.api.meta import Object
from motorpool.apiserver.refusals import bad_revision, invalid_options

Query: TypeAlias = Mapping[str, str]
FieldValidation: TypeAlias = Literal["Strict", "Warn", "Ignore"]
Match: TypeAlias = Literal["", "NotOlderThan", "Exact"]

MANAGER_LENGTH_MAX = 128
_TRUE = ("true", "1", "True", "TRUE", "t", "T")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    manager: str = "unknown"
    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    force: bool = False
    tracked: bool = True  # whether managedFields record an update; an apply always records
    duplicates: tuple[str, ...] = ()  # fields that the body holds twice
    check: Callable[[Object, Object | None], None] | None = None
    """What this writer may not store: called with the new and the old object; raises Forbidden."""
    warnings: list[str] = field(default_factory=list)
    """What the registry wants the user to know; it appends, the caller shows."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    uid: str = ""
    resource_version: str = ""
    grace_s: int | None = None
    propagation: Literal["", "Background", "Foreground", "Orphan"] = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ListOptions:
    labels: str = ""
    fields: str = ""
    limit: int = 0
    continue_: str = ""
    resource_version: str = ""
    match: Match = ""
    full: bool = True  # with who owns what


@dataclass(frozen=True, slots=True)
class WatchOptions:
    labels: str = ""
    fields: str = ""
    resource_version: str = ""
    bookmark_s: float | None = None  # how often a quiet watch says where it stands; None never
    initial_events: bool | None = None  # None: as the resourceVersion implies
    timeout_s: float | None = None
    full: bool = True  # with who owns what


def flag(query: Query, name: str) -> bool:
    return query.get(name, "") in _TRUE


def revision_of(text: str) -> int:
    """The number in a resourceVersion; 0 for none."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise bad_revision(text)
    return int(text)


def write_options(verb: str, query: Query, agent: str, duplicates: tuple[str, ...]) -> WriteOptions:
    """*verb* is ``Create``, ``Update`` or ``Patch``."""
    name = f"{verb}Options"
    manager = query.get("fieldManager", "")
    if len(manager) > MANAGER_LENGTH_MAX or not manager.isprintable():
        text = f"may not be longer than {MANAGER_LENGTH_MAX} printable characters"
        raise invalid_options(name, FieldError.invalid("fieldManager", manager, text))
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        supported = ("", "Ignore", "Strict", "Warn")
        raise invalid_options(
            name, FieldError.not_supported("fieldValidation", validation, supported)
        )
    return WriteOptions(
        manager=manager or agent.partition("/")[0] or "unknown",
        dry_run=_dry_run(name, query.get("dryRun", "")),
        field_validation=validation,  # type: ignore[arg-type]  # checked above
        force=flag(query, "force"),
        duplicates=duplicates,
    )


def delete_options(query: Query, body: Object | None) -> DeleteOptions:
    """The body wins where both exist."""
    body = body or {}
    preconditions = body.get("preconditions") or {}
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if propagation not in ("", "Background", "Foreground", "Orphan"):
        supported = ("Background", "Foreground", "Orphan", "nil")
        error = FieldError.not_supported("propagationPolicy", propagation, supported)
        raise invalid_options("DeleteOptions", error)
    orphan = body.get("orphanDependents")
    if orphan is None and "orphanDependents" in query:
        orphan = flag(query, "orphanDependents")
    if orphan is not None and propagation:
        text = "orphanDependents and deletionPropagation cannot be both set"
        raise invalid_options(
            "DeleteOptions", FieldError.invalid("propagationPolicy", propagation, text)
        )
    if orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    dry_run = body.get("dryRun") or query.get("dryRun", "")
    if isinstance(dry_run, list):
        dry_run = ",".join(map(str, dry_run))
    return DeleteOptions(
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
        grace_s=_grace(body.get("gracePeriodSeconds"), query.get("gracePeriodSeconds", "")),
        propagation=propagation,  # type: ignore[arg-type]  # checked above
        dry_run=_dry_run("DeleteOptions", dry_run),
    )


def list_options(query: Query) -> ListOptions:
    if "sendInitialEvents" in query:
        raise _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    match = query.get("resourceVersionMatch", "")
    version = query.get("resourceVersion", "")
    continue_ = query.get("continue", "")
    if match and not version:
        text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise _forbidden("resourceVersionMatch", text)
    if match not in ("", "NotOlderThan", "Exact"):
        supported = ("Exact", "NotOlderThan", "")
        raise invalid_options(
            "ListOptions", FieldError.not_supported("resourceVersionMatch", match, supported)
        )
    if match == "Exact" and version == "0":
        text = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        raise _forbidden("resourceVersionMatch", text)
    if continue_ and version not in ("", "0"):
        raise BadRequest("specifying resource version is not allowed when using continue")
    revision_of(version)
    return ListOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=max(0, integer(query.get("limit", ""))),
        continue_=continue_,
        resource_version=version,
        match=match,  # type: ignore[arg-type]  # checked above
    )


def watch_options(query: Query, *, bookmark_s: float, timeout_s: float) -> WatchOptions:
    """*timeout_s* is for a client that names none."""
    initial: bool | None = None
    if "sendInitialEvents" in query:
        initial = flag(query, "sendInitialEvents")
        if query.get("resourceVersionMatch", "") != "NotOlderThan":
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise _forbidden("resourceVersionMatch", text)
    elif query.get("resourceVersionMatch"):
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        raise _forbidden("resourceVersionMatch", text)
    revision_of(query.get("resourceVersion", ""))
    return WatchOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        resource_version=query.get("resourceVersion", ""),
        bookmark_s=bookmark_s if flag(query, "allowWatchBookmarks") else None,
        initial_events=initial,
        timeout_s=float(integer(query.get("timeoutSeconds", "")) or timeout_s),
    )


def integer(text: str) -> int:
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _grace(in_body: object, in_query: str) -> int | None:
    if isinstance(in_body, int) and not isinstance(in_body, bool):
        return in_body
    if in_body is not None:
        raise BadRequest("gracePeriodSeconds must be an integer")
    return integer(in_query) if in_query else None


def _dry_run(options: str, value: str) -> bool:
    if value not in ("", "All"):
        raise invalid_options(options, FieldError.not_supported("dryRun", [value], ("All",)))
    return value == "All"


def _forbidden(path: str, text: str) -> Exception:
    return invalid_options("ListOptions", FieldError.forbidden(path, text))
