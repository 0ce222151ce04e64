"""Whose children are whose: what a controller owns, should adopt and should let go.

A child is owned by its controller reference. A child without one that the owner's selector matches
is adopted; an owned child that the selector no longer matches is released. `claims` decides;
`settle` writes the references, from the objects as they were read: Conflict where one is stale.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from motorpool.api.errors import NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import (
    Object,
    controller_of,
    controller_reference,
    is_controlled_by,
    is_deleting,
    labels_of,
    uid_of,
)
from motorpool.api.selectors import LabelSelector
from motorpool.client import Client
from motorpool.loop.ownwrites import OwnWrites

BY_CONTROLLER = "controller"


def controllers(obj: Object) -> Iterable[str]:
    """An informer index: the uid of the controller, or ``orphans/NAMESPACE`` for want of one."""
    reference = controller_of(obj)
    if reference is not None:
        return (str(reference["uid"]),)
    return (orphans_in(str(obj["metadata"].get("namespace", ""))),)


def orphans_in(namespace: str) -> str:
    return f"orphans/{namespace}"


@dataclass(frozen=True, slots=True)
class Claims:
    kept: list[Object]
    adopted: list[Object]  # without a controller as yet
    released: list[Object]  # with a controller reference to the owner that has to go


def claims(owner: Object, candidates: Iterable[Object]) -> Claims:
    """Sorts the children and the orphans of the owner's namespace by its selector.

    An owner that is being deleted adopts nothing and releases nothing: its children go with it.
    """
    selector = LabelSelector.from_object(owner["spec"].get("selector"))
    found = Claims([], [], [])
    for obj in candidates:
        matches = selector.matches(labels_of(obj))
        if is_controlled_by(obj, owner):
            (found.kept if matches or is_deleting(owner) else found.released).append(obj)
        elif (
            controller_of(obj) is None and matches and not (is_deleting(obj) or is_deleting(owner))
        ):
            found.adopted.append(obj)
    return found


async def settle(client: Client, kind: Kind, owner: Object, children: OwnWrites) -> list[Object]:
    """Adopts and releases as `claims` has it. Returns the owner's children; they are shared."""
    candidates = [
        *children.by_index(BY_CONTROLLER, uid_of(owner)),
        *children.by_index(BY_CONTROLLER, orphans_in(owner["metadata"].get("namespace", ""))),
    ]
    found = claims(owner, candidates)
    result = list(found.kept)
    for obj in found.released:
        kept = [r for r in _references(obj) if r["uid"] != uid_of(owner)]
        await _refer(client, kind, obj, kept, children)
    for obj in found.adopted:
        references = [r for r in _references(obj) if r["uid"] != uid_of(owner)]
        references.append(controller_reference(owner))
        adopted = await _refer(client, kind, obj, references, children)
        if adopted is not None:
            result.append(adopted)
    return result


def _references(obj: Object) -> list[Object]:
    return list(obj["metadata"].get("ownerReferences") or ())


async def _refer(
    client: Client, kind: Kind, obj: Object, references: list[Object], children: OwnWrites
) -> Object | None:
    metadata = obj["metadata"]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "ownerReferences": references or None,
        }
    }
    try:
        written = await client.patch(kind, metadata.get("namespace", ""), metadata["name"], patch)
    except NotFound:
        return None  # Gone meanwhile: nothing to own.
    return children.note(written)
