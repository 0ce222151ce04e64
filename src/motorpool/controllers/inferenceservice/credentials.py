"""What the Secrets of a service account give the storage-initializer. Pure.

A Secret is told by its keys, the first that matches; keys and values travel as references, only
settings that are no secret as text. Settings of S3 come from the Secret's annotations, else from
its data, else from the configuration. A Secret that is named but missing, and one that is none of
these kinds, adds nothing: it may be for something else.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from motorpool.api.meta import Object, annotations_of, at, name_of
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.refusal import INVALID_CONFIGURATION, Refusal

ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"
PREFIX = "serving.kserve.io/"
GCS_VOLUME, GCS_PATH = "user-gcp-sa", "/var/secrets/"
CA_VOLUME = "cabundle-cert"
GLOBAL_CA_BUNDLE = "global-ca-bundle"
CA_KEY = "cabundle.crt"

AZURE_OLD = ("AZ_SUBSCRIPTION_ID", "AZ_TENANT_ID", "AZ_CLIENT_ID", "AZ_CLIENT_SECRET")
AZURE = ("AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
BY_REFERENCE = (
    ("AZ_CLIENT_ID", AZURE_OLD),
    ("AZURE_CLIENT_ID", AZURE),
    ("AZURE_ACCESS_TOKEN", ("AZURE_ACCESS_TOKEN",)),
    ("AZURE_STORAGE_ACCESS_KEY", ("AZURE_STORAGE_ACCESS_KEY",)),
)
TOKENS = ("HF_TOKEN", "MODELSCOPE_API_TOKEN")

S3_SETTINGS = (
    # annotation, the variable and the Secret's key, the configuration's field
    ("s3-region", "AWS_DEFAULT_REGION", "s3Region"),
    ("s3-usevirtualbucket", "S3_USER_VIRTUAL_BUCKET", "s3UseVirtualBucket"),
    ("s3-useaccelerate", "S3_USE_ACCELERATE", "s3UseAccelerate"),
    ("s3-useanoncredential", "awsAnonymousCredential", "s3UseAnonymousCredential"),
    ("s3-verifyssl", "S3_VERIFY_SSL", "s3VerifySSL"),
    ("s3-cabundle", "AWS_CA_BUNDLE", "s3CABundle"),
    ("s3-cabundle-configmap", "AWS_CA_BUNDLE_CONFIGMAP", "s3CABundleConfigMap"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What is added to the init container, and to the pod."""

    env: Sequence[Object] = ()
    volumes: Sequence[Object] = ()
    mounts: Sequence[Object] = ()


def secret_names(isvc: Object, account: Object | None, config: Config) -> list[str]:
    """The Secrets to look at: the one that is named, else those of the service account."""
    for named in (isvc, account):
        name = annotations_of(named).get(config.secret_annotation, "") if named else ""
        if name:
            return [name]
    return [s["name"] for s in at(account, "secrets", default=()) if s.get("name")]


def credentials_of(
    isvc: Object, account: Object | None, secrets: Mapping[str, Object], config: Config
) -> Credentials:
    env: list[Object] = []
    volumes: list[Object] = []
    mounts: list[Object] = []
    role = annotations_of(account).get(ROLE_ANNOTATION) if account else None
    if account is not None and role:
        env += _s3_settings(annotations_of(account), {}, config)
    for name in secret_names(isvc, account, config):
        secret = secrets.get(name)
        if secret is None:
            continue
        data = secret_data(secret)
        if config.gcs_file in data and not _is_s3(data, config):
            volumes.append({"name": GCS_VOLUME, "secret": {"secretName": name}})
            mounts.append({"name": GCS_VOLUME, "mountPath": GCS_PATH, "readOnly": True})
            file = GCS_PATH + config.gcs_file
            env.append({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": file})
        else:
            env += _env_of(secret, data, config, keyless=role is not None)
    return Credentials(env=_without_repeats(env), volumes=volumes, mounts=mounts)


def with_ca_bundle(found: Credentials, config: Config) -> Credentials:
    """*found*, and the CA bundle that its settings or the configuration name."""
    own = next((v["value"] for v in found.env if v["name"] == "AWS_CA_BUNDLE_CONFIGMAP"), "")
    bundle = own or (GLOBAL_CA_BUNDLE if config.ca_bundle else "")
    if not bundle:
        return found
    names = {variable["name"] for variable in found.env}
    env = [
        {"name": "CA_BUNDLE_CONFIGMAP_NAME", "value": bundle},
        {"name": "CA_BUNDLE_VOLUME_MOUNT_POINT", "value": config.ca_mount_path},
    ]
    volume = {"name": CA_VOLUME, "configMap": {"name": bundle}}
    mount = {"name": CA_VOLUME, "mountPath": config.ca_mount_path, "readOnly": True}
    return Credentials(
        env=[*found.env, *(v for v in env if v["name"] not in names)],
        volumes=[*found.volumes, volume],
        mounts=[*found.mounts, mount],
    )


def ca_bundle_copy(source: Object | None, namespace: str, config: Config) -> Object:
    """The configured CA bundle, for the pods of *namespace*. Raises Refusal."""
    text = at(source, "data", CA_KEY, default="")
    if not text:
        raise Refusal(
            INVALID_CONFIGURATION,
            f"ConfigMap {config.ca_bundle} has no {CA_KEY}: create it beside ConfigMap "
            "inferenceservice-config, or clear storageInitializer.caBundleConfigMapName there",
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": GLOBAL_CA_BUNDLE, "namespace": namespace},
        "data": {CA_KEY: text},
    }


def secret_data(secret: Object | None) -> dict[str, str]:
    encoded = at(secret, "data", default={})
    data = {key: base64.b64decode(text).decode("utf-8", "replace") for key, text in encoded.items()}
    return {**data, **at(secret, "stringData", default={})}


def _is_s3(data: Mapping[str, str], config: Config) -> bool:
    return config.s3_secret_key in data or "awsSecretAccessKey" in data


def _env_of(
    secret: Object, data: Mapping[str, str], config: Config, *, keyless: bool
) -> list[Object]:
    name = name_of(secret)
    if _is_s3(data, config):
        keys = [] if keyless else _s3_keys(name, data, config)
        return [*keys, *_s3_settings(annotations_of(secret), data, config)]
    for key, variables in BY_REFERENCE:
        if key in data:
            return [_reference(variable, name, variable) for variable in variables
                    if variable in data]  # fmt: skip
    if data.get("https-host"):
        return [_reference(f"{data['https-host']}-headers", name, "headers")]
    return [_reference(token, name, token) for token in TOKENS if token in data]


def _s3_keys(name: str, data: Mapping[str, str], config: Config) -> list[Object]:
    old = config.s3_secret_key not in data
    access = "awsAccessKeyID" if old else config.s3_access_key
    secret = "awsSecretAccessKey" if old else config.s3_secret_key
    env = [
        _reference("AWS_ACCESS_KEY_ID", name, access),
        _reference("AWS_SECRET_ACCESS_KEY", name, secret),
    ]
    if "AWS_SESSION_TOKEN" in data:
        env.append(_reference("AWS_SESSION_TOKEN", name, "AWS_SESSION_TOKEN"))
    return env


def _s3_settings(
    annotations: Mapping[str, str], data: Mapping[str, str], config: Config
) -> list[Object]:
    env: list[Object] = []
    https = _first(annotations.get(f"{PREFIX}s3-usehttps"), data.get("S3_USE_HTTPS"),
                   config.s3.get("s3UseHttps"))  # fmt: skip
    endpoint = _first(
        annotations.get(f"{PREFIX}s3-endpoint"), data.get("S3_ENDPOINT"),
        data.get("AWS_S3_ENDPOINT"), data.get("AWS_ENDPOINT_URL"), config.s3.get("s3Endpoint"),
    )  # fmt: skip
    if https:
        env.append({"name": "S3_USE_HTTPS", "value": https})
    if endpoint:
        scheme = "http" if https == "0" else "https"
        url = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
        env.append({"name": "S3_ENDPOINT", "value": endpoint})
        env.append({"name": "AWS_ENDPOINT_URL", "value": url})
    for annotation, variable, setting in S3_SETTINGS:
        value = _first(annotations.get(PREFIX + annotation), data.get(variable),
                       config.s3.get(setting))  # fmt: skip
        if value:
            env.append({"name": variable, "value": value})
    return env


def _first(*values: str | None) -> str:
    return next((value for value in values if value), "")


def _reference(variable: str, secret: str, key: str) -> Object:
    source = {"secretKeyRef": {"name": secret, "key": key}}
    return {"name": variable, "valueFrom": source}


def _without_repeats(env: Sequence[Object]) -> list[Object]:
    """The first of each name: two Secrets of one kind do not mix."""
    return list({variable["name"]: variable for variable in reversed(env)}.values())[::-1]
