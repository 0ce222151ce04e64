"""The ConfigMap `inferenceservice-config` as shipped: MicroShift's values. Pure.

Each key holds a JSON document as text, which is how the users of KServe know and edit it.
"""

import json
from typing import Any

from motorpool.api.meta import Object
from motorpool.controllers.servingruntime.release import IMAGES

NAME = "inferenceservice-config"

_AGENT = {
    "image": "kserve/agent:latest",
    "memoryRequest": "100Mi",
    "memoryLimit": "1Gi",
    "cpuRequest": "100m",
    "cpuLimit": "1",
}

_VALUES: dict[str, dict[str, Any]] = {
    "deploy": {"defaultDeploymentMode": "RawDeployment"},
    "ingress": {
        "enableGatewayApi": False,
        "kserveIngressGateway": "openshift-ingress/openshift-ai-inference",
        "ingressGateway": "knative-serving/knative-ingress-gateway",
        "ingressDomain": "example.com",
        "ingressClassName": "istio",
        "domainTemplate": "example.com",
        "urlScheme": "https",
        "disableIstioVirtualHost": False,
        "disableIngressCreation": True,
    },
    "service": {"serviceClusterIPNone": True},
    "storageInitializer": {
        "image": "kserve/storage-initializer:latest",
        "memoryRequest": "100Mi",
        "memoryLimit": "24Gi",
        "cpuRequest": "100m",
        "cpuLimit": "1",
        "enableDirectPvcVolumeMount": True,
        "enableModelcar": True,
        "cpuModelcar": "10m",
        "memoryModelcar": "15Mi",
    },
    "credentials": {
        "storageSpecSecretName": "storage-config",
        "storageSecretNameAnnotation": "serving.kserve.io/storageSecretName",
        "gcs": {"gcsCredentialFileName": "gcloud-application-credentials.json"},
        "s3": {
            "s3AccessKeyIDName": "AWS_ACCESS_KEY_ID",
            "s3SecretAccessKeyName": "AWS_SECRET_ACCESS_KEY",
        },
    },
    "inferenceService": {
        "serviceAnnotationDisallowedList": [
            "autoscaling.knative.dev/min-scale",
            "autoscaling.knative.dev/max-scale",
            "internal.serving.kserve.io/storage-initializer-sourceuri",
            "kubectl.kubernetes.io/last-applied-configuration",
            "security.opendatahub.io/enable-auth",
            "networking.knative.dev/visibility",
            "haproxy.router.openshift.io/timeout",
        ]
    },
    "security": {"autoMountServiceAccountToken": False},
    "logger": {**_AGENT, "defaultUrl": "http://default-broker"},
    "batcher": {
        "image": "kserve/agent:latest",
        "memoryRequest": "1Gi",
        "memoryLimit": "1Gi",
        "cpuRequest": "1",
        "cpuLimit": "1",
    },
    "agent": _AGENT,
    "router": {
        **_AGENT,
        "image": "kserve/router:latest",
        "headers": {"propagate": ["Authorization"]},
    },
    "metricsAggregator": {
        "enableMetricAggregation": "false",
        "enablePrometheusScraping": "false",
    },
    "explainers": {},
    "oauthProxy": {
        "kubeRbacProxyImage": IMAGES["kube-rbac-proxy"],
        "memoryRequest": "64Mi",
        # OpenDataHub's 128Mi and 200m hold a busy model back: measured, to 360 requests/s of 950.
        "memoryLimit": "256Mi",
        "cpuRequest": "100m",
        "cpuLimit": "2",
    },
    "localModel": {"enabled": False},
    "opentelemetryCollector": {},
}


def config_map(namespace: str, *, headless: bool = True) -> Object:
    """*headless*: whether the Services of InferenceServices are; upstream KServe has it false."""
    values = {**_VALUES, "service": {"serviceClusterIPNone": headless}}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace},
        "data": {key: json.dumps(value, indent=2) + "\n" for key, value in values.items()},
    }
