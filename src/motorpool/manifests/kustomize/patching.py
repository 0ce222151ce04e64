"""Patches: strategic merges and lists of JSON operations, and what each of them is for."""

import copy
import re
from collections.abc import Sequence
from typing import Any

from motorpool.api import scheme
from motorpool.api.errors import ApiError
from motorpool.api.meta import Object
from motorpool.api.patch import json_patch
from motorpool.api.selectors import LabelSelector
from motorpool.manifests.kustomize.merging import merged
from motorpool.manifests.kustomize.resource import KustomizeError, Resource, same_namespace

_TARGET_FIELDS = frozenset((
    "group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector",
))  # fmt: skip


def patch(
    resources: list[Resource],
    documents: Sequence[Any],
    target: Object | None,
    where: str,
    options: Object | None = None,
) -> None:
    """Changes what *target* selects; without one, what each document names. Raises
    KustomizeError."""
    for document in documents:
        if isinstance(document, list):
            if target is None:
                raise KustomizeError(f"{where}: a JSON patch needs a target")
            chosen = selected(resources, target, where)
        elif isinstance(document, dict):
            found = selected(resources, target, where) if target else None
            chosen = _named(resources, document, where) if found is None else found
        else:
            raise KustomizeError(f"{where}: neither an object nor a list of operations")
        for resource in chosen:
            _apply(resources, resource, document, where, options or {})


def selected(resources: Sequence[Resource], target: Object, where: str) -> list[Resource]:
    unknown = sorted(set(target) - _TARGET_FIELDS)
    if unknown:
        raise KustomizeError(f"{where}: target.{unknown[0]} is not known")
    labels = LabelSelector.parse(target.get("labelSelector") or "")
    annotations = LabelSelector.parse(target.get("annotationSelector") or "")
    return [
        resource
        for resource in resources
        if _is_of(resource, target)
        and labels.matches(resource.obj["metadata"].get("labels") or {})
        and annotations.matches(resource.obj["metadata"].get("annotations") or {})
        and any(
            _fits(target.get("name"), each.name)
            and _fits(target.get("namespace"), each.namespace or "default")
            for each in resource.ids
        )
    ]


def _is_of(resource: Resource, target: Object) -> bool:
    group, _, version = str(resource.obj["apiVersion"]).rpartition("/")
    wanted = (("group", group), ("version", version), ("kind", resource.kind))
    return all(_fits(target.get(field), value) for field, value in wanted)


def _fits(pattern: Any, value: str) -> bool:
    """Patterns are regular expressions for the whole."""
    return not pattern or re.fullmatch(str(pattern), value) is not None


def _named(resources: Sequence[Resource], document: Object, where: str) -> list[Resource]:
    wanted = Resource(document).id
    found = [
        resource
        for resource in resources
        if any(
            (each.group, each.kind, each.name) == (wanted.group, wanted.kind, wanted.name)
            and (not wanted.namespace or same_namespace(each.namespace, wanted.namespace))
            for each in resource.ids
        )
    ]
    if not found:
        raise KustomizeError(f"{where}: there is no {wanted.kind} {wanted.name} to patch")
    return found


def _apply(
    resources: list[Resource], resource: Resource, document: Any, where: str, options: Object
) -> None:
    before = resource.id
    try:
        if isinstance(document, list):
            result = json_patch(copy.deepcopy(resource.obj), document)
        else:
            kind = scheme.by_kind(str(resource.obj["apiVersion"]), resource.kind)
            # Of custom kinds nobody has the merge keys: their lists are replaced.
            schema = {} if kind is None or kind.is_custom else kind.schema()
            result = merged(resource.obj, document, schema)
    except ApiError as error:
        raise KustomizeError(f"{where}: {before.kind} {before.name}: {error}") from error
    if result is None:
        resources.remove(resource)
        return
    result = copy.deepcopy(result)
    if not options.get("allowKindChange"):
        result["apiVersion"], result["kind"] = resource.obj["apiVersion"], before.kind
    if isinstance(document, dict) and not options.get("allowNameChange"):
        result.setdefault("metadata", {})["name"] = before.name
        if before.namespace:
            result["metadata"]["namespace"] = before.namespace
    if resource.name != result["metadata"]["name"]:
        resource.remember()
    resource.obj = result
