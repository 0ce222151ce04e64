"""Every kind that can be listed can be shown and described: one object of each, with kubectl."""

import json

import pytest

from tests.platform import running

pytestmark = pytest.mark.slow

POD = {"containers": [{"name": "main", "image": "busybox", "command": ["sleep", "60"]}]}
LABELS = {"app": "one-of-each"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "one"}
WEB = {"name": "one", "port": {"number": 80}}
RUNTIME = {"containers": [{"name": "kserve-container", "image": "ovms-image"}]}
MODEL = {"modelFormat": {"name": "onnx"}, "storageUri": "oci://localhost/absent:1"}
DEFINITION = {
    "group": "example.com",
    "scope": "Namespaced",
    "names": {"plural": "cars", "singular": "car", "kind": "Car", "listKind": "CarList"},
    "versions": [
        {"name": "v1", "served": True, "storage": True,
         "schema": {"openAPIV3Schema": {"type": "object"}}}
    ],
}  # fmt: skip

# Kind by kind: what stands beside its metadata.
ONE_OF_EACH = {
    ("v1", "ConfigMap"): {"data": {"a": "1"}},
    ("v1", "Secret"): {"stringData": {"a": "1"}},
    ("v1", "ServiceAccount"): {},
    ("v1", "Service"): {"spec": {"selector": LABELS, "ports": [{"port": 80}]}},
    ("v1", "Pod"): {"spec": POD},
    ("v1", "PersistentVolumeClaim"): {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    },
    ("v1", "PersistentVolume"): {
        "spec": {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"],
                 "storageClassName": "none", "hostPath": {"path": "/tmp/one"}}
    },
    ("apps/v1", "Deployment"): {
        "spec": {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    },
    ("apps/v1", "ReplicaSet"): {
        "spec": {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    },
    ("batch/v1", "Job"): {
        "spec": {"suspend": True, "template": {"spec": POD | {"restartPolicy": "Never"}}}
    },
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {
        "spec": {"scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 2}
    },
    ("networking.k8s.io/v1", "IngressClass"): {"spec": {"controller": "example.com/one"}},
    ("networking.k8s.io/v1", "Ingress"): {"spec": {"defaultBackend": {"service": WEB}}},
    ("networking.k8s.io/v1", "NetworkPolicy"): {"spec": {"podSelector": {}}},
    ("coordination.k8s.io/v1", "Lease"): {"spec": {"holderIdentity": "one"}},
    ("rbac.authorization.k8s.io/v1", "Role"): {"rules": RULES},
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): {"rules": RULES},
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): {"roleRef": ROLE, "subjects": []},
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): {"roleRef": ROLE, "subjects": []},
    ("storage.k8s.io/v1", "StorageClass"): {"provisioner": "example.com/one"},
    ("route.openshift.io/v1", "Route"): {"spec": {"to": {"kind": "Service", "name": "one"}}},
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): {"spec": RUNTIME},
    ("serving.kserve.io/v1alpha1", "ClusterServingRuntime"): {"spec": RUNTIME},
    ("serving.kserve.io/v1beta1", "InferenceService"): {"spec": {"predictor": {"model": MODEL}}},
    ("dashboard.opendatahub.io/v1", "AcceleratorProfile"): {
        "spec": {"displayName": "One", "enabled": True, "identifier": "nvidia.com/gpu"}
    },
    ("dashboard.opendatahub.io/v1alpha1", "HardwareProfile"): {
        "spec": {"displayName": "One", "enabled": True, "identifiers": []}
    },
    ("infrastructure.opendatahub.io/v1", "HardwareProfile"): {"spec": {"identifiers": []}},
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): {"spec": DEFINITION},
}  # fmt: skip
MADE_BY_OTHERS = {"namespaces", "nodes", "events", "endpoints", "endpointslices"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("kinds") / "data") as platform:
        yield platform


def named(api_version, kind, content):
    name = "cars.example.com" if kind == "CustomResourceDefinition" else "one"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **content}


@pytest.fixture(scope="module")
def served(platform):
    """The resources that can be listed, once there is one object of each."""
    items = [named(*which, content) for which, content in ONE_OF_EACH.items()]
    platform.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )
    platform.kubectl("wait", "--for=condition=Established", "crd/cars.example.com")
    return platform.kubectl("api-resources", "--verbs=list,create", "-o", "name").split()


def test_every_kind_is_described(platform, served):
    wanting = set()
    for resource in served:
        described = platform.kubectl("describe", resource)
        if "Name:" not in described:
            wanting.add(resource)

    # What this test made no object of, nobody else made either.
    assert wanting <= {
        "cars.example.com",
        "clusterstoragecontainers.serving.kserve.io",
        "inferencegraphs.serving.kserve.io",
        "trainedmodels.serving.kserve.io",
    }
    assert {resource.split(".")[0] for resource in served} > MADE_BY_OTHERS


@pytest.mark.parametrize("output", ["wide", "yaml", "json", "name"])
def test_every_kind_is_shown(platform, served, output):
    for resource in served:
        platform.kubectl("get", resource, "-A", "-o", output)
