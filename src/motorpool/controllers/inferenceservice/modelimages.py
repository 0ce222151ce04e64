"""A model that is an OCI image: how the pod gets at it. Pure.

- native: an image volume; the node mounts the image, nothing of it runs.
- modelcar: a sidecar of the model's image, whose processes' root directory the server sees through
  a link, because all containers of the pod share their processes.

The scheme `oci+native://` settles it. For `oci://` the annotation, the configuration and the
operator's flag are asked, in that order; else the Deployment stays as it is, so that no upgrade of
anything rolls it; else the cluster's version decides. The embedded engine mounts every image.
"""

from dataclasses import dataclass, field

from motorpool.api.meta import Object, annotations_of, at
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.locations import Location, volume_name
from motorpool.controllers.inferenceservice.refusal import (
    INVALID_CONFIGURATION,
    INVALID_PREDICTOR_SPEC,
    Refusal,
)
from motorpool.loop.cluster import Cluster

NATIVE, MODELCAR, AUTO = "native", "modelcar", "auto"
MODE_ANNOTATION = "motorpool.dev/oci-mode"
NATIVE_SCHEME = "oci+native://"
MODELCAR_NAME = "modelcar"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModes:
    """What decides, besides the InferenceService and the configuration."""

    cluster: Cluster = field(default_factory=Cluster)
    asked: str = AUTO  # by whoever started the operator
    present: str = AUTO  # what the Deployment has now


def image_mode(uri: str, isvc: Object, config: Config, modes: ImageModes) -> str:
    """`native` or `modelcar`. Raises Refusal."""
    if uri.startswith(NATIVE_SCHEME) or modes.cluster.is_embedded:
        return NATIVE
    annotated = annotations_of(isvc).get(MODE_ANNOTATION, "")
    if annotated:
        return _checked(annotated, INVALID_PREDICTOR_SPEC, f"annotation {MODE_ANNOTATION}")
    if config.oci_mode:
        where = "storageInitializer.ociModelMode in ConfigMap inferenceservice-config"
        return _checked(config.oci_mode, INVALID_CONFIGURATION, where)
    for mode in (modes.asked, modes.present):
        if mode != AUTO:
            return mode
    return NATIVE if modes.cluster.mounts_images else MODELCAR


def present_mode(deployment: Object | None) -> str:
    """How the pods of a Deployment get at their model's image; AUTO where they have none."""
    pod = at(deployment, "spec", "template", "spec", default={})
    if any(c.get("name") == MODELCAR_NAME for c in pod.get("containers") or ()):
        return MODELCAR
    return NATIVE if any("image" in v for v in pod.get("volumes") or ()) else AUTO


def image_volume(location: Location) -> Object:
    reference = location.uri.partition("://")[2]
    image = {"reference": reference, "pullPolicy": pull_policy(reference)}
    return {"name": volume_name(location.path), "image": image}


def image_mount(location: Location) -> Object:
    return {
        "name": volume_name(location.path),
        "mountPath": location.path,
        "subPath": "models",
        "readOnly": True,
    }


def pull_policy(reference: str) -> str:
    """Always for the tag `latest`, written or implied; IfNotPresent for any other image."""
    if "@" in reference:
        return "IfNotPresent"
    _, colon, tag = reference.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def _checked(mode: str, reason: str, where: str) -> str:
    if mode in (NATIVE, MODELCAR):
        return mode
    raise Refusal(reason, f"{where}: {mode} is not supported: use {NATIVE} or {MODELCAR}")
