"""`storage: {key, path, parameters}`: a model in a store that a Secret describes. Pure."""

import json
from collections.abc import Mapping

from motorpool.api.meta import Object, annotations_of
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.credentials import secret_data
from motorpool.controllers.inferenceservice.locations import Location
from motorpool.controllers.inferenceservice.refusal import INVALID_PREDICTOR_SPEC, Refusal

STORAGE_TYPES = ("s3", "hdfs", "webhdfs")


def storage_secret_name(isvc: Object, config: Config) -> str:
    """The Secret that `storage.key` names an entry of."""
    return annotations_of(isvc).get(config.secret_annotation) or config.storage_secret


def of_storage_spec(
    isvc: Object, storage: Object, config: Config, secret: Object | None
) -> tuple[Location, list[Object]]:
    """The location and the initializer's environment for it. Raises Refusal."""
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
