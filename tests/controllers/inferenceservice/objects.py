"""The objects that these tests start from."""

from typing import Any

from motorpool.api import serving
from motorpool.controllers.inferenceservice.config import config_of
from motorpool.controllers.inferenceservice.desired import Inputs, desired_state
from motorpool.controllers.inferenceservice.runtime import selected
from motorpool.controllers.inferenceservice.storage import storage_secret_name
from motorpool.controllers.servingruntime.configuration import config_map
from motorpool.controllers.servingruntime.install import catalogue, shipped_runtimes

NAMESPACE = "ai-demo"
APPLICATIONS = "redhat-ods-applications"
NOW = "2026-01-01T00:00:00Z"


def isvc(
    name: str = "resnet", *, model: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """An InferenceService as a user writes it; *fields* go into the predictor."""
    predictor = {"model": {**RESNET, **(model or {})}, **fields}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}"},
        "spec": {"predictor": predictor},
    }


RESNET = {
    "modelFormat": {"name": "openvino_ir"},
    "protocolVersion": "v2",
    "storageUri": "oci://localhost/ovms-resnet50:test",
}


def runtime(
    name: str = "server", *, cluster: bool = False, created: str = NOW, **spec: Any
) -> dict[str, Any]:
    body = {
        "containers": [{"name": "kserve-container", "image": f"{name}:1"}],
        "supportedModelFormats": [{"name": "openvino_ir", "autoSelect": True}],
        **spec,
    }
    metadata = {"name": name, "creationTimestamp": created}
    if not cluster:
        metadata["namespace"] = NAMESPACE
    kind = "ClusterServingRuntime" if cluster else "ServingRuntime"
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": body,
    }


def shipped(name: str) -> dict[str, Any]:
    """A shipped runtime, copied into the tests' namespace as the guide says."""
    known = [*shipped_runtimes(), *catalogue()]
    (found,) = (r for r in known if r["metadata"]["name"] == name)
    return {**found, "metadata": {**found["metadata"], "namespace": NAMESPACE}}


def configuration() -> dict[str, Any]:
    return config_map(APPLICATIONS)


def children(documents: list[dict[str, Any]], **inputs: Any) -> list[dict[str, Any]]:
    """What a set of documents asks for, decided as the controller does. Raises Refusal."""

    def of_kind(kind: str) -> list[dict[str, Any]]:
        return [document for document in documents if document["kind"] == kind]

    (wanted,) = of_kind("InferenceService")
    wanted["metadata"].setdefault("namespace", NAMESPACE)
    wanted["metadata"].setdefault("uid", f"uid-{wanted['metadata']['name']}")
    serving.INFERENCE_SERVICE.default(wanted)
    (config,) = of_kind("ConfigMap") or [configuration()]
    secrets = {secret["metadata"]["name"]: secret for secret in of_kind("Secret")}
    (account,) = of_kind("ServiceAccount") or [None]
    chosen = None
    if "model" in wanted["spec"]["predictor"]:
        chosen = selected(wanted, of_kind("ServingRuntime"), of_kind("ClusterServingRuntime"))
    settings = config_of(config)
    settled = Inputs(
        runtime=chosen,
        config=settings,
        storage_secret=secrets.get(storage_secret_name(wanted, settings)),
        account=account,
        secrets=secrets,
        **inputs,
    )
    return desired_state(wanted, settled)
