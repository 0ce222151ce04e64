"""What becomes of an object, seen from its owners. Pure.

An owner is known by its uid: another object under the same name is not the owner. An object lives
as long as one of its owners does. An owner that waits for its dependents (foreground deletion) no
longer keeps anyone alive, but is still there to be waited for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from motorpool.api.meta import Object, is_deleting, uid_of
from motorpool.client import Propagation

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class OwnerState(Enum):
    PRESENT = auto()
    WAITING = auto()  # being deleted, and waiting for its dependents
    ABSENT = auto()


@dataclass(frozen=True, slots=True)
class Delete:
    propagation: Propagation


@dataclass(frozen=True, slots=True)
class KeepReferences:
    """The owner references to keep; the others are to owners that are gone or go."""

    references: list[Object]


def verdict(
    obj: Object, states: Sequence[OwnerState], *, has_dependents: bool
) -> Delete | KeepReferences | None:
    """*states* stand in the order of the owner references; None leaves *obj* as it is."""
    references = references_of(obj)
    present = [r for r, s in zip(references, states, strict=True) if s is OwnerState.PRESENT]
    if not references or len(present) == len(references):
        return None
    if present:
        return KeepReferences(present)
    if OwnerState.WAITING in states and has_dependents:
        return Delete("Foreground")
    finalizers = finalizers_of(obj)
    if ORPHAN in finalizers:
        return Delete("Orphan")
    return Delete("Foreground" if FOREGROUND in finalizers else "Background")


def state_of(reference: Object, found: Object | None) -> OwnerState:
    """*found* is what has the owner's name now."""
    if found is None or uid_of(found) != reference["uid"]:
        return OwnerState.ABSENT
    return OwnerState.WAITING if waits_for_dependents(found) else OwnerState.PRESENT


def references_of(obj: Object) -> list[Object]:
    return list(obj["metadata"].get("ownerReferences") or ())


def finalizers_of(obj: Object) -> list[str]:
    return list(obj["metadata"].get("finalizers") or ())


def waits_for_dependents(obj: Object) -> bool:
    return is_deleting(obj) and FOREGROUND in finalizers_of(obj)


def orphans_dependents(obj: Object) -> bool:
    return is_deleting(obj) and ORPHAN in finalizers_of(obj)


def blocks(dependent: Object, owner: Object) -> bool:
    """Whether *owner* has to wait until *dependent* is gone."""
    return any(
        reference["uid"] == uid_of(owner) and reference.get("blockOwnerDeletion")
        for reference in references_of(dependent)
    )


def without_owner(dependent: Object, owner: Object) -> list[Object]:
    return [r for r in references_of(dependent) if r["uid"] != uid_of(owner)]
