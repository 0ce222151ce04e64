"""What the ConfigMap `inferenceservice-config` says, as far as the controller decides on it. Pure.

Each key of the ConfigMap is a JSON document in a string. Rule: an absent key or field has its
meaning; text that is no JSON object is an error, never ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from motorpool.api.meta import Object, at
from motorpool.controllers.inferenceservice.refusal import INVALID_CONFIGURATION, Refusal

NAME = "inferenceservice-config"
KEYS = ("deploy", "ingress", "storageInitializer", "credentials", "inferenceService",
        "security", "service")  # fmt: skip

CLUSTER_DOMAIN = "svc.cluster.local"
DOMAIN_TEMPLATE = "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}"


@dataclass(frozen=True, slots=True)
class Initializer:
    """The init container that downloads a model."""

    image: str = "kserve/storage-initializer:latest"
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    deployment_mode: str = "Standard"
    rollout: Mapping[str, str] = field(default_factory=dict)
    ingress_enabled: bool = True
    ingress_domain: str = "example.com"
    domain_template: str = DOMAIN_TEMPLATE
    url_scheme: str = "http"
    initializer: Initializer = field(default_factory=Initializer)
    oci_enabled: bool = True
    storage_secret: str = "storage-config"
    secret_annotation: str = "serving.kserve.io/storageSecretName"
    gcs_file: str = "gcloud-application-credentials.json"
    s3: Mapping[str, str] = field(default_factory=dict)
    s3_access_key: str = "AWS_ACCESS_KEY_ID"
    s3_secret_key: str = "AWS_SECRET_ACCESS_KEY"
    ca_bundle: str = ""  # a ConfigMap of the configuration's namespace
    ca_mount_path: str = "/etc/ssl/custom-certs"
    resources: Object = field(default_factory=dict)
    disallowed_annotations: tuple[str, ...] = ()
    automount_token: bool = False
    headless: bool = False


def config_of(config_map: Object | None) -> Config:
    """Raises Refusal where a key that matters holds no JSON object."""
    data = {key: _document(config_map, key) for key in KEYS}
    deploy, ingress, storage = data["deploy"], data["ingress"], data["storageInitializer"]
    return Config(
        deployment_mode=normalized_mode(str(deploy.get("defaultDeploymentMode") or "Standard")),
        rollout=at(deploy, "deploymentRolloutStrategy", "defaultRollout", default={}),
        ingress_enabled=not ingress.get("disableIngressCreation", False),
        ingress_domain=str(ingress.get("ingressDomain") or "example.com"),
        domain_template=str(ingress.get("domainTemplate") or DOMAIN_TEMPLATE),
        url_scheme=str(ingress.get("urlScheme") or "http"),
        initializer=_initializer(storage),
        oci_enabled=bool(storage.get("enableModelcar", True)),
        **_credentials(data["credentials"]),
        ca_bundle=str(storage.get("caBundleConfigMapName") or ""),
        ca_mount_path=str(storage.get("caBundleVolumeMountPath") or "/etc/ssl/custom-certs"),
        resources=_resources(at(data["inferenceService"], "resource", default={})),
        disallowed_annotations=tuple(
            data["inferenceService"].get("serviceAnnotationDisallowedList") or ()
        ),
        automount_token=bool(data["security"].get("autoMountServiceAccountToken", False)),
        headless=bool(data["service"].get("serviceClusterIPNone", False)),
    )


def normalized_mode(mode: str) -> str:
    """The present spelling of a deployment mode."""
    return {"RawDeployment": "Standard", "Serverless": "Knative"}.get(mode, mode)


def _document(config_map: Object | None, key: str) -> dict[str, Any]:
    text = at(config_map, "data", key, default="")
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Refusal(
            INVALID_CONFIGURATION, f"ConfigMap {NAME}: key {key} is not JSON ({error}): correct it"
        ) from error
    if not isinstance(document, dict):
        raise Refusal(
            INVALID_CONFIGURATION, f"ConfigMap {NAME}: key {key} must be a JSON object: correct it"
        )
    return document


def _credentials(source: Mapping[str, Any]) -> dict[str, Any]:
    """How Secrets are told and what S3's settings are where they say nothing."""
    s3 = {key: str(value) for key, value in at(source, "s3", default={}).items() if value}
    defaults = Config()
    return {
        "storage_secret": str(source.get("storageSpecSecretName") or defaults.storage_secret),
        "secret_annotation": str(
            source.get("storageSecretNameAnnotation") or defaults.secret_annotation
        ),
        "gcs_file": str(at(source, "gcs", "gcsCredentialFileName") or defaults.gcs_file),
        "s3": s3,
        "s3_access_key": s3.get("s3AccessKeyIDName") or defaults.s3_access_key,
        "s3_secret_key": s3.get("s3SecretAccessKeyName") or defaults.s3_secret_key,
    }


def _initializer(storage: Mapping[str, Any]) -> Initializer:
    resources = _resources(storage)
    return Initializer(
        image=str(storage.get("image") or Initializer().image),
        requests=resources.get("requests", {}),
        limits=resources.get("limits", {}),
    )


def _resources(source: Mapping[str, Any]) -> Object:
    """Kubernetes' resources from the flat spelling of the configuration."""
    found: Object = {}
    for kind in ("requests", "limits"):
        suffix = "Request" if kind == "requests" else "Limit"
        values = {name: str(source[name + suffix]) for name in ("cpu", "memory")
                  if source.get(name + suffix)}  # fmt: skip
        if values:
            found[kind] = values
    return found
