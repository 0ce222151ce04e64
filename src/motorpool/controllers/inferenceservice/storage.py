"""How a model gets to /mnt/models: what a storage location adds to the pod. Pure.

- `oci://` and `oci+native://`: an image volume, mounted read-only. The pull policy is that of a
  container image: Always for `latest`, IfNotPresent for any other tag and for digests.
- `pvc://claim/path`: the claim itself, mounted at that path.
- every other scheme: an init container `storage-initializer` that downloads into an emptyDir, so
  that its log and its failures show where a KServe user looks.
"""

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from motorpool.api.meta import Object, annotations_of, at
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.credentials import (
    Credentials,
    secret_data,
    with_ca_bundle,
)
from motorpool.controllers.inferenceservice.names import MODEL_PATH
from motorpool.controllers.inferenceservice.refusal import INVALID_PREDICTOR_SPEC, Refusal

INITIALIZER = "storage-initializer"
PROVISION_VOLUME = "kserve-provision-location"
PVC_VOLUME = "kserve-pvc-source"
READ_ONLY_ANNOTATION = "storage.kserve.io/readonly"
IMAGE_SCHEMES = ("oci://", "oci+native://")
DOWNLOADED_SCHEMES = (
    "gs://", "s3://", "file://", "https://", "http://", "hdfs://", "webhdfs://", "hf://",
)  # fmt: skip
STORAGE_TYPES = ("s3", "hdfs", "webhdfs")


@dataclass(frozen=True, slots=True)
class Location:
    """One model source and where the server finds it."""

    uri: str
    path: str = MODEL_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What a pod gets: volumes, the serving containers' mounts, init containers."""

    volumes: Sequence[Object] = ()
    mounts: Sequence[Object] = ()
    init_containers: Sequence[Object] = ()


def locations_of(isvc: Object) -> list[Location]:
    """Where the predictor's models come from, as far as the spec alone says it."""
    predictor = at(isvc, "spec", "predictor", default={})
    single = at(predictor, "model", "storageUri", default="") or storage_uri_env(predictor)
    if single:
        return [Location(single)]
    return [
        Location(entry["uri"], entry.get("mountPath") or MODEL_PATH)
        for entry in predictor.get("storageUris") or ()
    ]


def downloads(isvc: Object) -> bool:
    """Whether credentials matter: a model that is neither an image nor a claim is downloaded."""
    if at(isvc, "spec", "predictor", "model", "storage") is not None:
        return True
    return any(not one.uri.startswith((*IMAGE_SCHEMES, "pvc://")) for one in locations_of(isvc))


def storage_secret_name(isvc: Object, config: Config) -> str:
    """The Secret that `storage.key` names an entry of."""
    return annotations_of(isvc).get(config.secret_annotation) or config.storage_secret


def storage_uri_env(predictor: Object) -> str:
    """The value of STORAGE_URI in a custom predictor's first container."""
    if predictor.get("model") is not None:
        return ""
    for container in (predictor.get("containers") or ())[:1]:
        for variable in container.get("env") or ():
            if variable.get("name") == "STORAGE_URI":
                return str(variable.get("value") or "")
    return ""


def injected(
    isvc: Object,
    config: Config,
    secret: Object | None,
    credentials: Credentials,
) -> Injection:
    """What the storage of *isvc* adds to its predictor's pod. Raises Refusal.

    *secret* is the Secret with the storage configuration; only `storage:` reads it. *credentials*
    are those of the service account, for every other download.
    """
    read_only = annotations_of(isvc).get(READ_ONLY_ANNOTATION, "true").lower() != "false"
    storage = at(isvc, "spec", "predictor", "model", "storage")
    locations = locations_of(isvc)
    if not locations and storage is not None:
        location, env = _of_storage_spec(isvc, storage, config, secret)
        own = with_ca_bundle(Credentials(env=env), config)
        return _downloaded([location], config, own, read_only=read_only)
    volumes: list[Object] = []
    mounts: list[Object] = []
    downloads: list[Location] = []
    claims = 0
    for location in locations:
        check_scheme(location.uri, config)
        if location.uri.startswith(IMAGE_SCHEMES):
            volumes.append(_image_volume(location))
            mounts.append(_image_mount(location))
        elif location.uri.startswith("pvc://"):
            volume, mount = _claim(location, claims, read_only=read_only)
            claims += 1
            volumes.append(volume)
            mounts.append(mount)
        else:
            downloads.append(location)
    rest = Injection()
    if downloads:
        trusted = with_ca_bundle(credentials, config)
        rest = _downloaded(downloads, config, trusted, read_only=read_only)
    return Injection(
        volumes=[*volumes, *rest.volumes],
        mounts=[*mounts, *rest.mounts],
        init_containers=rest.init_containers,
    )


def check_scheme(uri: str, config: Config) -> None:
    """Raises Refusal where nothing can fetch *uri*."""
    if uri.startswith(IMAGE_SCHEMES):
        if not config.oci_enabled:
            raise Refusal(
                INVALID_PREDICTOR_SPEC,
                f"storageUri {uri} is not supported: set storageInitializer.enableModelcar to "
                "true in ConfigMap inferenceservice-config",
            )
        if not uri.partition("://")[2]:
            raise Refusal(INVALID_PREDICTOR_SPEC, f"storageUri {uri} names no image: add one")
        return
    if "://" in uri and not uri.startswith(("pvc://", *DOWNLOADED_SCHEMES)):
        known = " ".join((*IMAGE_SCHEMES, "pvc://", *DOWNLOADED_SCHEMES))
        raise Refusal(
            INVALID_PREDICTOR_SPEC, f"storageUri {uri} is not supported: use one of {known}"
        )


def pull_policy(reference: str) -> str:
    """Always for the tag `latest`, written or implied; IfNotPresent for any other image."""
    if "@" in reference:
        return "IfNotPresent"
    _, colon, tag = reference.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def _image_volume(location: Location) -> Object:
    reference = location.uri.partition("://")[2]
    image = {"reference": reference, "pullPolicy": pull_policy(reference)}
    return {"name": _volume_name(location.path), "image": image}


def _image_mount(location: Location) -> Object:
    return {
        "name": _volume_name(location.path),
        "mountPath": location.path,
        "subPath": "models",
        "readOnly": True,
    }


def _claim(location: Location, number: int, *, read_only: bool) -> tuple[Object, Object]:
    claim, _, path = location.uri.removeprefix("pvc://").partition("/")
    if not claim:
        raise Refusal(
            INVALID_PREDICTOR_SPEC, f"storageUri {location.uri} names no claim: pvc://CLAIM/PATH"
        )
    name = PVC_VOLUME if number == 0 else f"{PVC_VOLUME}-{number}"
    volume = {
        "name": name,
        "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only},
    }
    mount = {"name": name, "mountPath": location.path, "readOnly": read_only}
    if path.strip("/"):
        mount["subPath"] = path.strip("/")
    return volume, mount


def _downloaded(
    locations: Sequence[Location],
    config: Config,
    credentials: Credentials,
    *,
    read_only: bool,
) -> Injection:
    root = posixpath.commonpath([location.path for location in locations])
    name = PROVISION_VOLUME if root == MODEL_PATH else _volume_name(root)
    initializer = config.initializer
    container: Object = {
        "name": INITIALIZER,
        "image": initializer.image,
        "args": [part for location in locations for part in (location.uri, location.path)],
        "resources": {
            kind: dict(values)
            for kind, values in (("requests", initializer.requests), ("limits", initializer.limits))
            if values
        },
        "volumeMounts": [{"name": name, "mountPath": root}, *credentials.mounts],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "imagePullPolicy": "IfNotPresent",
    }
    if credentials.env:
        container["env"] = list(credentials.env)
    return Injection(
        volumes=[{"name": name, "emptyDir": {}}, *credentials.volumes],
        mounts=[{"name": name, "mountPath": root, "readOnly": read_only}],
        init_containers=[container],
    )


def _of_storage_spec(
    isvc: Object, storage: Object, config: Config, secret: Object | None
) -> tuple[Location, list[Object]]:
    """The location and the initializer's environment for `storage: {key, path, parameters}`."""
    parameters = {str(k): str(v) for k, v in (storage.get("parameters") or {}).items()}
    name = storage_secret_name(isvc, config)
    key = _storage_key(storage, parameters, name, secret)
    entry = _storage_entry(secret, key, name)
    kind = parameters.get("type") or str(entry.get("type") or "")
    if kind not in STORAGE_TYPES:
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"storage type {kind or '(none)'} is not supported: set type to one of "
            f"{', '.join(STORAGE_TYPES)} in key {key} of Secret {name}",
        )
    path = str(storage.get("path") or "").lstrip("/")
    bucket = parameters.get("bucket") or str(entry.get("bucket") or "")
    if kind == "s3" and not bucket:
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"no bucket for storage key {key}: set bucket in that entry of Secret "
            f"{name} or in storage.parameters",
        )
    uri = f"s3://{bucket}/{path}" if kind == "s3" else f"{kind}://{path}"
    source = {"secretKeyRef": {"name": name, "key": key}}
    env: list[Object] = [{"name": "STORAGE_CONFIG", "valueFrom": source}]
    bundle = parameters.get("cabundle_configmap") or str(entry.get("cabundle_configmap") or "")
    if bundle:
        env.append({"name": "AWS_CA_BUNDLE_CONFIGMAP", "value": bundle})
    if parameters:
        text = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
        env.append({"name": "STORAGE_OVERRIDE_CONFIG", "value": text})
    return Location(uri), env


def _storage_key(
    storage: Object, parameters: Mapping[str, str], name: str, secret: Object | None
) -> str:
    data = secret_data(secret)
    named = str(storage.get("key") or "")
    wanted = [named] if named else [f"default_{parameters['type']}"] if "type" in parameters else []
    if not named:
        wanted.append("default")
    for key in wanted:
        if key in data:
            return key
    raise Refusal(
        INVALID_PREDICTOR_SPEC,
        f"Secret {name} has no entry {' or '.join(wanted)}: create it, "
        "or correct spec.predictor.model.storage.key",
    )


def _storage_entry(secret: Object | None, key: str, name: str) -> Object:
    try:
        entry = json.loads(secret_data(secret)[key])
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"entry {key} of Secret {name} is not a JSON object: correct it",
        )
    return entry


def _volume_name(path: str) -> str:
    """`/mnt/models` -> `mnt-models`."""
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")[:63].rstrip("-")
