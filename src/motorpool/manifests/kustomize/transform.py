"""What a kustomization says of all its objects: namespace, prefixes, labels, images, replicas."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from motorpool.api import scheme
from motorpool.api.meta import Object
from motorpool.manifests.kustomize.fields import CLAIM_LABELS, SELECTORS, Place, templates, visit
from motorpool.manifests.kustomize.resource import KustomizeError, Resource

_NAMESPACE = Place("metadata/namespace", create=True)
_UNNAMED = frozenset(("CustomResourceDefinition", "APIService", "Namespace"))
"""Kinds whose names are not ours to change."""
_SCALED = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")


def set_namespace(resources: Iterable[Resource], namespace: str) -> None:
    """As kustomize does: what it does not know (custom resources) is taken to have a namespace."""
    for resource in resources:
        obj = resource.obj
        if resource.kind == "Namespace" and not resource.id.group:
            resource.remember()
            obj["metadata"]["name"] = namespace
        elif not _is_cluster_wide(obj):
            resource.remember()
            obj["metadata"]["namespace"] = namespace
        if resource.kind in ("RoleBinding", "ClusterRoleBinding"):
            for subject in obj.get("subjects") or ():
                if subject.get("kind") == "ServiceAccount" and subject.get("name") == "default":
                    subject["namespace"] = namespace


def _is_cluster_wide(obj: Object) -> bool:
    kind = scheme.by_kind(str(obj.get("apiVersion")), str(obj.get("kind")))
    if kind is not None and not kind.is_custom:
        return not kind.namespaced
    return obj.get("kind") in _CLUSTER_WIDE


_CLUSTER_WIDE = frozenset((
    "APIService", "CSIDriver", "CSINode", "CertificateSigningRequest", "ClusterRole",
    "ClusterRoleBinding", "ComponentStatus", "CustomResourceDefinition", "FlowSchema",
    "IngressClass", "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume",
    "PriorityClass", "PriorityLevelConfiguration", "RuntimeClass", "StorageClass",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration", "VolumeAttachment",
))  # fmt: skip


def rename(resources: Iterable[Resource], change: Callable[[str], str]) -> None:
    for resource in resources:
        if resource.kind not in _UNNAMED:
            resource.remember()
            resource.obj["metadata"]["name"] = change(resource.name)


def add_labels(
    resources: Iterable[Resource],
    labels: Mapping[str, str],
    *,
    selectors: bool = False,
    in_templates: bool = False,
) -> None:
    places = [Place("metadata/labels", create=True)]
    if selectors:
        places += SELECTORS
    if selectors or in_templates:
        places += (*templates("labels"), CLAIM_LABELS)
    _add(resources, labels, places)


def add_annotations(resources: Iterable[Resource], annotations: Mapping[str, str]) -> None:
    places = [Place("metadata/annotations", create=True), *templates("annotations")]
    _add(resources, annotations, places)


def _add(
    resources: Iterable[Resource], pairs: Mapping[str, str], places: Sequence[Place]
) -> None:  # fmt: skip
    def change(parent: dict[str, Any], key: str) -> None:
        parent[key] = {**(parent.get(key) or {}), **pairs}

    for resource in resources:
        for place in places:
            visit(resource.obj, place, change)


def set_images(resources: Iterable[Resource], images: Sequence[Mapping[str, str]]) -> None:
    """In containers and initContainers, wherever they stand, custom resources included."""
    for resource in resources:
        if resource.kind != "CustomResourceDefinition":
            _set_images(resource.obj, images)


def _set_images(value: Any, images: Sequence[Mapping[str, str]]) -> None:
    if isinstance(value, list):
        for item in value:
            _set_images(item, images)
    if not isinstance(value, dict):
        return
    for key, child in value.items():
        if key in ("containers", "initContainers") and isinstance(child, list):
            for container in child:
                if isinstance(container, dict) and isinstance(container.get("image"), str):
                    container["image"] = image_of(container["image"], images)
        _set_images(child, images)


def image_of(image: str, images: Sequence[Mapping[str, str]]) -> str:
    """*image* as the entries say, each in its turn."""
    for entry in images:
        pattern = re.escape(entry["name"]) + r"(?P<tag>:[\w.{}-]*)?(?P<digest>@sha256:[\w.{}-]*)?"
        match = re.fullmatch(pattern, image)
        if match is None:
            continue
        tag, digest = match["tag"] or "", match["digest"] or ""
        if entry.get("newTag") or entry.get("digest"):
            tag = f":{entry['newTag']}" if entry.get("newTag") else ""
            digest = f"@{entry['digest']}" if entry.get("digest") else ""
        elif entry.get("tagSuffix") and tag:
            tag += entry["tagSuffix"]
        image = (entry.get("newName") or entry["name"]) + tag + digest
    return image


def set_replicas(resources: Sequence[Resource], replicas: Sequence[Object]) -> None:
    for entry in replicas:
        found = [
            resource
            for resource in resources
            if resource.kind in _SCALED and any(each.name == entry["name"] for each in resource.ids)
        ]
        if not found:
            raise KustomizeError(f"replicas: nothing that scales is called {entry['name']}")
        for resource in found:
            resource.obj.setdefault("spec", {})["replicas"] = entry["count"]
