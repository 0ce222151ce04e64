"""The hardware profile that an InferenceService names, and what it adds to the predictor. Pure.

On OpenShift AI a webhook writes the profile into the spec as the user saves it. Here the spec stays
the user's: the profile is laid under a copy, from which the children are made. Where that webhook
has been the copy changes nothing, because whatever the spec names counts before the profile.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from motorpool.api.meta import (
    Object,
    ObjectKey,
    annotations_of,
    at,
    key_of,
    labels_of,
    namespace_of,
)
from motorpool.api.profiles import DASHBOARD_HARDWARE_PROFILE, HARDWARE_PROFILE
from motorpool.api.quantity import is_quantity
from motorpool.controllers.inferenceservice.names import KSERVE_CONTAINER, PREDICTOR
from motorpool.controllers.inferenceservice.refusal import (
    HARDWARE_PROFILE_INVALID,
    HARDWARE_PROFILE_NOT_FOUND,
    Refusal,
)

NAME_ANNOTATION = "opendatahub.io/hardware-profile-name"
NAMESPACE_ANNOTATION = "opendatahub.io/hardware-profile-namespace"
REVISION_ANNOTATION = "opendatahub.io/hardware-profile-resource-version"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

KINDS = (HARDWARE_PROFILE, DASHBOARD_HARDWARE_PROFILE)
"""Where a profile is looked for, the present kind first; a cluster may serve both or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a profile asks for, in either version of the kind."""

    name: str
    resources: Mapping[str, str] = field(default_factory=dict)  # resource -> quantity
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Object] = ()
    queue: str = ""


def named_by(isvc: Object) -> ObjectKey | None:
    """The profile that *isvc* names, or None; without a namespace it is one of its own."""
    annotations = annotations_of(isvc)
    name = annotations.get(NAME_ANNOTATION)
    if not name:
        return None
    return ObjectKey(annotations.get(NAMESPACE_ANNOTATION) or namespace_of(isvc), name)


def hardware_of(
    isvc: Object, profiles: Iterable[Object], *, served: bool, shared: str
) -> Hardware | None:
    """What *isvc* gets of *profiles*, the preferred kind first. Raises Refusal.

    None where it names no profile, and where the API has no such kind: *served*. *shared* is the
    namespace of the profiles that are meant for every namespace.
    """
    wanted = named_by(isvc)
    if wanted is None or not served:
        return None
    known = list(profiles)
    found = next((profile for profile in known if key_of(profile) == wanted), None)
    if found is None:
        text = f"HardwareProfile {wanted.name} does not exist in namespace {wanted.namespace}"
        hint = f"create it, or correct annotation {NAME_ANNOTATION}"
        if ObjectKey(shared, wanted.name) in map(key_of, known):
            hint = f"there is one in {shared}: set annotation {NAMESPACE_ANNOTATION} to {shared}"
        raise Refusal(HARDWARE_PROFILE_NOT_FOUND, f"{text}: {hint}")
    return _read(found)


def with_hardware(isvc: Object, hardware: Hardware | None) -> Object:
    """*isvc* as if its user had written out what the profile says; *isvc* itself is not changed."""
    if hardware is None:
        return isvc
    predictor = dict(isvc["spec"][PREDICTOR])
    if predictor.get("model") is not None:
        predictor["model"] = _with_resources(predictor["model"], hardware)
    elif predictor.get("containers"):
        predictor["containers"] = _with_server(predictor["containers"], hardware)
    if hardware.node_selector:
        own = predictor.get("nodeSelector") or {}
        predictor["nodeSelector"] = {**hardware.node_selector, **own}
    if hardware.tolerations:
        tolerations = list(predictor.get("tolerations") or ())
        tolerations += [one for one in hardware.tolerations if one not in tolerations]
        predictor["tolerations"] = tolerations
    metadata = isvc["metadata"]
    if hardware.queue:
        metadata = {**metadata, "labels": {QUEUE_LABEL: hardware.queue, **labels_of(isvc)}}
    return {**isvc, "metadata": metadata, "spec": {**isvc["spec"], PREDICTOR: predictor}}


def without_effect(
    isvc: Object, hardware: Hardware | None, *, served: bool, embedded: bool
) -> list[str]:
    """What of the profile has no effect here, each with what to do."""
    if named_by(isvc) is not None and not served:
        return [f"annotation {NAME_ANNOTATION}: this API has no HardwareProfiles, set resources"]
    if hardware is not None and hardware.queue and embedded:
        text = f"queue {hardware.queue} of HardwareProfile {hardware.name}"
        return [f"{text}: nothing queues here, pods start as soon as there is room"]
    return []


def _read(profile: Object) -> Hardware:
    spec = profile.get("spec") or {}
    if profile["apiVersion"] == DASHBOARD_HARDWARE_PROFILE.api_version:
        node: Any = spec
    else:
        node = at(spec, "scheduling", "node", default={})
    key = key_of(profile)
    return Hardware(
        name=key.name,
        resources=dict(_counts(spec.get("identifiers") or (), key)),
        node_selector=node.get("nodeSelector") or {},
        tolerations=node.get("tolerations") or (),
        queue=str(at(spec, "scheduling", "kueue", "localQueueName", default="")),
    )


def _counts(identifiers: Iterable[Object], profile: ObjectKey) -> Iterable[tuple[str, str]]:
    for identifier in identifiers:
        count = identifier.get("defaultCount")
        if count is None:
            continue
        if not is_quantity(count):
            raise Refusal(
                HARDWARE_PROFILE_INVALID,
                f"HardwareProfile {profile.name} in namespace {profile.namespace}: defaultCount "
                f"{count!r} of {identifier['identifier']} is no quantity: correct it",
            )
        yield identifier["identifier"], str(count)


def _with_server(containers: Sequence[Object], hardware: Hardware) -> list[Object]:
    named = [c for c in containers if c.get("name") == KSERVE_CONTAINER]
    server = (named or containers)[0]
    return [_with_resources(c, hardware) if c is server else c for c in containers]


def _with_resources(container: Object, hardware: Hardware) -> Object:
    """A resource that the user names, as request or as limit, is the user's in both."""
    own = container.get("resources") or {}
    requests, limits = own.get("requests") or {}, own.get("limits") or {}
    added = {
        name: count
        for name, count in hardware.resources.items()
        if name not in requests and name not in limits
    }
    if not added:
        return container
    resources = {**own, "requests": {**added, **requests}, "limits": {**added, **limits}}
    return {**container, "resources": resources}
