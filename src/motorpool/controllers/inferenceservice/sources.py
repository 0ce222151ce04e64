"""Which InferenceServices a change concerns. Pure."""

from collections.abc import Iterable

from motorpool.api.meta import Object, ObjectKey, controller_of, key_of, labels_of
from motorpool.controllers.inferenceservice.hardware import named_by
from motorpool.controllers.inferenceservice.labels import ISVC_LABEL
from motorpool.controllers.inferenceservice.locations import downloads
from motorpool.loop.informer import Change, Informer
from motorpool.loop.runner import KeysOf


def all_in_namespace(isvcs: Informer) -> KeysOf:
    """A runtime may be chosen, or no longer be, by any InferenceService that can see it.

    All of them look again, so that what is chosen never depends on which object came first.
    """

    def keys(change: Change) -> Iterable[ObjectKey]:
        namespace = change.object["metadata"].get("namespace", "")
        return [key_of(isvc) for isvc in isvcs.list(namespace)]

    return keys


def of_configuration(isvcs: Informer, namespace: str) -> KeysOf:
    def keys(change: Change) -> Iterable[ObjectKey]:
        # Of the other ConfigMaps there, one may be the CA bundle.
        if change.object["metadata"]["namespace"] != namespace:
            return ()
        return [key_of(isvc) for isvc in isvcs.list()]

    return keys


def all_that_download(isvcs: Informer) -> KeysOf:
    """All that download a model, of the namespace or, by what is the cluster's, of all."""

    def keys(change: Change) -> Iterable[ObjectKey]:
        namespace = change.object["metadata"].get("namespace", "")
        return [key_of(isvc) for isvc in isvcs.list(namespace) if downloads(isvc)]

    return keys


def all_that_name(isvcs: Informer) -> KeysOf:
    """All that name the changed hardware profile, whatever their namespace."""

    def keys(change: Change) -> Iterable[ObjectKey]:
        profile = key_of(change.object)
        return [key_of(isvc) for isvc in isvcs.list() if named_by(isvc) == profile]

    return keys


def labelled(change: Change) -> Iterable[ObjectKey]:
    """Pods belong to ReplicaSets; their label says which InferenceService they serve."""
    name = labels_of(change.object).get(ISVC_LABEL)
    return [ObjectKey(change.object["metadata"]["namespace"], name)] if name else ()


def owner_uids(obj: Object) -> Iterable[str]:
    reference = controller_of(obj)
    return (reference["uid"],) if reference is not None else ()


def isvc_paths(pod: Object) -> Iterable[str]:
    name = labels_of(pod).get(ISVC_LABEL)
    return (f"{pod['metadata']['namespace']}/{name}",) if name else ()
