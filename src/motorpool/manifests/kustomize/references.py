"""Names that objects call each other by, after some of them have changed."""

from collections.abc import Sequence
from typing import Any

from motorpool.api.meta import Object
from motorpool.manifests.kustomize.fields import REFERENCES, Reference, visit
from motorpool.manifests.kustomize.resource import Resource, same_namespace


def update_references(resources: Sequence[Resource]) -> None:
    """Whoever names what is called differently now names it so."""
    renamed = [one for one in resources if one.past]
    for referrer in resources:
        for reference in REFERENCES:
            _update(referrer, reference, renamed)


def _update(referrer: Resource, reference: Reference, renamed: Sequence[Resource]) -> None:
    def change(parent: Object, key: str) -> None:
        kinds = reference.kinds or (parent.get("kind"),)
        namespace = parent.get("namespace") if reference.with_namespace else None
        target = _target(parent[key], kinds, namespace, referrer, renamed)
        if target is None:
            return
        parent[key] = target.name
        if reference.with_namespace and target.id.namespace:
            parent["namespace"] = target.id.namespace

    visit(referrer.obj, reference.place, change)


def _target(
    name: Any,
    kinds: Sequence[Any],
    namespace: str | None,
    referrer: Resource,
    renamed: Sequence[Resource],
) -> Resource | None:
    spaces = [namespace] if namespace else [each.namespace for each in referrer.ids]
    found = [
        target
        for target in renamed
        if target is not referrer
        and target.kind in kinds
        and any(
            each.name == name and any(same_namespace(each.namespace, space) for space in spaces)
            for each in target.ids
        )
    ]
    # Where bases had one of that name each, it is the one that is now beside the referrer.
    beside = (one for one in found if same_namespace(one.id.namespace, referrer.id.namespace))
    return next(beside, found[0] if found else None)
