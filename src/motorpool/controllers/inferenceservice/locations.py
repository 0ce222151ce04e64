"""Where models come from, and what that adds to a pod: the words of storage. Pure."""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from motorpool.api.meta import Object, at
from motorpool.controllers.inferenceservice.names import COMPONENTS, MODEL_PATH, PREDICTOR

INITIALIZER = "storage-initializer"
PROVISION_VOLUME = "kserve-provision-location"
IMAGE_SCHEMES = ("oci://", "oci+native://")
CLAIM_SCHEME = "pvc://"
DOWNLOADED_SCHEMES = (
    "gs://", "s3://", "file://", "https://", "http://", "hdfs://", "webhdfs://", "hf://",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Location:
    """One model source and where the server finds it."""

    uri: str
    path: str = MODEL_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What a pod gets; *mounts* and *server* are for the containers that serve."""

    volumes: Sequence[Object] = ()
    mounts: Sequence[Object] = ()
    init_containers: Sequence[Object] = ()
    containers: Sequence[Object] = ()  # beside the servers, after them
    server: Object = field(default_factory=dict)  # fields laid over each serving container
    pod: Object = field(default_factory=dict)  # fields of the pod


def locations_of(isvc: Object, component: str = PREDICTOR) -> list[Location]:
    """Where the component's models come from, as far as the spec alone says it."""
    spec = at(isvc, "spec", component, default={})
    single = at(spec, "model", "storageUri", default="") or storage_uri_env(spec)
    if single and component == PREDICTOR:
        return [Location(single)]
    return [
        Location(entry["uri"], entry.get("mountPath") or MODEL_PATH)
        for entry in spec.get("storageUris") or ()
    ]


def downloads(isvc: Object, components: Sequence[str] = COMPONENTS) -> bool:
    """Whether credentials matter: a model that is neither an image nor a claim is downloaded."""
    if PREDICTOR in components and at(isvc, "spec", PREDICTOR, "model", "storage") is not None:
        return True
    return any(
        not one.uri.startswith((*IMAGE_SCHEMES, CLAIM_SCHEME))
        for component in components
        for one in locations_of(isvc, component)
    )


def storage_uri_env(component: Object) -> str:
    """The value of STORAGE_URI in a custom predictor's first container."""
    if component.get("model") is not None:
        return ""
    for container in (component.get("containers") or ())[:1]:
        for variable in container.get("env") or ():
            if variable.get("name") == "STORAGE_URI":
                return str(variable.get("value") or "")
    return ""


def common_directory(locations: Sequence[Location]) -> str:
    return posixpath.commonpath([location.path for location in locations])


def provision_volume(directory: str) -> str:
    """The volume for what is put into a directory when the pod starts."""
    return PROVISION_VOLUME if directory == MODEL_PATH else volume_name(directory)


def volume_name(path: str) -> str:
    """`/mnt/models` -> `mnt-models`."""
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")[:63].rstrip("-")
