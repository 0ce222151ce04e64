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
        "security", "service", "autoscaler", "agent", "logger", "oauthProxy")  # fmt: skip

CLUSTER_DOMAIN = "svc.cluster.local"
DOMAIN_TEMPLATE = "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}"


@dataclass(frozen=True, slots=True)
class Initializer:
    """The init container that downloads a model."""

    image: str = "kserve/storage-initializer:latest"
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """The container that logs and batches requests."""

    is_possible: bool = False  # whether its image can run here; nothing that is configured
    image: str = "kserve/agent:latest"
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    default_url: str = "http://default-broker"
    ca_bundle: str = ""
    ca_file: str = ""
    skips_tls: bool = False


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """The container that lets only those through who may."""

    image: str = "kube-rbac-proxy-image"
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "100m", "memory": "64Mi"})
    limits: Mapping[str, str] = field(default_factory=lambda: {"cpu": "200m", "memory": "128Mi"})
    upstream_timeout_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    proxy: ProxyConfig = field(default_factory=ProxyConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    deployment_mode: str = "Standard"
    rollout: Mapping[str, str] = field(default_factory=dict)
    ingress_enabled: bool = True
    ingress_domain: str = "example.com"
    domain_template: str = DOMAIN_TEMPLATE
    url_scheme: str = "http"
    ingress_class: str | None = None
    gateway_api: bool = False
    gateway: str = "kserve/kserve-ingress-gateway"
    more_domains: tuple[str, ...] = ()
    path_template: str = ""
    route_timeouts: bool = True
    initializer: Initializer = field(default_factory=Initializer)
    oci_enabled: bool = True
    oci_mode: str = ""  # "" leaves it to the cluster's version
    modelcar_cpu: str = "10m"
    modelcar_memory: str = "15Mi"
    modelcar_uid: int | None = None
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
    scale_up_window_s: int = 0
    scale_down_window_s: int = 300


def config_of(config_map: Object | None) -> Config:
    """Raises Refusal where a key that matters holds no JSON object."""
    data = {key: _document(config_map, key) for key in KEYS}
    deploy, ingress, storage = data["deploy"], data["ingress"], data["storageInitializer"]
    return Config(
        agent=_agent(data["agent"], data["logger"]),
        proxy=_proxy(data["oauthProxy"]),
        deployment_mode=normalized_mode(str(deploy.get("defaultDeploymentMode") or "Standard")),
        rollout=at(deploy, "deploymentRolloutStrategy", "defaultRollout", default={}),
        ingress_enabled=not ingress.get("disableIngressCreation", False),
        ingress_domain=str(ingress.get("ingressDomain") or "example.com"),
        domain_template=str(ingress.get("domainTemplate") or DOMAIN_TEMPLATE),
        url_scheme=str(ingress.get("urlScheme") or "http"),
        **_gateway(ingress),
        initializer=_initializer(storage),
        **_images(storage),
        **_credentials(data["credentials"]),
        ca_bundle=str(storage.get("caBundleConfigMapName") or ""),
        ca_mount_path=str(storage.get("caBundleVolumeMountPath") or "/etc/ssl/custom-certs"),
        resources=_resources(at(data["inferenceService"], "resource", default={})),
        disallowed_annotations=tuple(
            data["inferenceService"].get("serviceAnnotationDisallowedList") or ()
        ),
        automount_token=bool(data["security"].get("autoMountServiceAccountToken", False)),
        headless=bool(data["service"].get("serviceClusterIPNone", False)),
        scale_up_window_s=_seconds(data["autoscaler"], "scaleUpStabilizationWindowSeconds", 0),
        scale_down_window_s=_seconds(
            data["autoscaler"], "scaleDownStabilizationWindowSeconds", 300
        ),
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


def _gateway(ingress: Mapping[str, Any]) -> dict[str, Any]:
    name = ingress.get("ingressClassName")
    return {
        "ingress_class": None if name is None else str(name),
        "gateway_api": bool(ingress.get("enableGatewayApi", False)),
        "gateway": str(ingress.get("kserveIngressGateway") or Config().gateway),
        "more_domains": tuple(ingress.get("additionalIngressDomains") or ()),
        "path_template": str(ingress.get("pathTemplate") or ""),
        "route_timeouts": not ingress.get("disableHTTPRouteTimeout", False),
    }


def _agent(agent: Mapping[str, Any], logger: Mapping[str, Any]) -> AgentConfig:
    defaults, resources = AgentConfig(), _resources(agent)
    return AgentConfig(
        image=str(agent.get("image") or defaults.image),
        requests=resources.get("requests", {}),
        limits=resources.get("limits", {}),
        default_url=str(logger.get("defaultUrl") or defaults.default_url),
        ca_bundle=str(logger.get("caBundle") or ""),
        ca_file=str(logger.get("caCertFile") or ""),
        skips_tls=bool(logger.get("tlsSkipVerify", False)),
    )


def _proxy(source: Mapping[str, Any]) -> ProxyConfig:
    """The image's key is that of OpenDataHub, or the one that it had before."""
    defaults, resources = ProxyConfig(), _resources(source)
    timeout = str(source.get("upstreamTimeoutSeconds") or 0).strip()
    if not timeout.isdigit():
        raise Refusal(
            INVALID_CONFIGURATION,
            f"ConfigMap {NAME}: oauthProxy.upstreamTimeoutSeconds must be a number: correct it",
        )
    return ProxyConfig(
        image=str(source.get("kubeRbacProxyImage") or source.get("image") or defaults.image),
        requests=resources.get("requests", defaults.requests),
        limits=resources.get("limits", defaults.limits),
        upstream_timeout_s=int(timeout),
    )


def _seconds(source: Mapping[str, Any], field_name: str, default: int) -> int:
    text = str(source.get(field_name, default))
    if not text.isdigit():
        raise Refusal(
            INVALID_CONFIGURATION,
            f"ConfigMap {NAME}: autoscaler.{field_name} must be a number: correct it",
        )
    return int(text)


def _images(storage: Mapping[str, Any]) -> dict[str, Any]:
    """How models that are images are served. A mode that is set switches them on, too."""
    switches = [storage[key] for key in ("enableModelcar", "enableOciModelSupport")
                if key in storage]  # fmt: skip
    defaults, uid = Config(), storage.get("uidModelcar")
    if uid is not None and not str(uid).isdigit():
        raise Refusal(
            INVALID_CONFIGURATION,
            f"ConfigMap {NAME}: storageInitializer.uidModelcar must be a number: correct it",
        )
    return {
        "oci_enabled": not switches or any(switches) or bool(storage.get("ociModelMode")),
        "oci_mode": str(storage.get("ociModelMode") or ""),
        "modelcar_cpu": str(storage.get("cpuModelcar") or defaults.modelcar_cpu),
        "modelcar_memory": str(storage.get("memoryModelcar") or defaults.modelcar_memory),
        "modelcar_uid": None if uid is None else int(uid),
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
