"""The ConfigMap `odh-kserve-custom-ca-bundle` of a namespace: whom its downloads trust. Pure.

Made where the namespace has the platform's trusted bundle, with the cluster's own service CA behind
it. Not out of the latter alone: KServe's downloads trust the bundle and nothing else, and could
then reach no public store. A ConfigMap of that name that somebody else made stays as it is.
"""

from collections.abc import Mapping, Sequence

from motorpool.api.meta import Object, annotations_of, at, labels_of

NAME = "odh-kserve-custom-ca-bundle"
KEY = "cabundle.crt"
TRUSTED, SERVICE_CA = "odh-trusted-ca-bundle", "openshift-service-ca.crt"
SOURCES = (
    (TRUSTED, ("ca-bundle.crt", "odh-ca-bundle.crt")),
    (SERVICE_CA, ("service-ca.crt",)),
)
MANAGED = "opendatahub.io/managed"
MADE_ANNOTATION = "motorpool.dev/bundle-of"


def ca_bundle(namespace: str, config_maps: Mapping[str, Object]) -> Object | None:
    """None where the namespace needs no bundle; *config_maps* are the namespace's, by name."""
    if TRUSTED not in config_maps:
        return None
    parts, used = [], []
    for name, keys in SOURCES:
        texts = _texts(config_maps.get(name), keys)
        if texts:
            parts += texts
            used.append(name)
    if not parts:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {MANAGED: "true"},
            "annotations": {MADE_ANNOTATION: ",".join(used)},
        },
        "data": {KEY: "\n\n".join(parts) + "\n"},
    }


def is_ours(bundle: Object) -> bool:
    return MADE_ANNOTATION in annotations_of(bundle) and labels_of(bundle).get(MANAGED) == "true"


def concerns(name: str) -> bool:
    """Whether a ConfigMap of that name is a bundle, or what one is made of."""
    return name in (NAME, TRUSTED, SERVICE_CA)


def holds(there: Object | None, wanted: Object) -> bool:
    """Whether nothing is to be written."""
    return (
        there is not None
        and there.get("data") == wanted["data"]
        and annotations_of(there).get(MADE_ANNOTATION) == annotations_of(wanted)[MADE_ANNOTATION]
    )


def _texts(config_map: Object | None, keys: Sequence[str]) -> list[str]:
    found = (str(at(config_map, "data", key, default="")).strip() for key in keys)
    return [text for text in found if text]
