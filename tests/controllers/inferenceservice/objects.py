"""The objects that these tests start from."""

from dataclasses import replace
from typing import Any

from motorpool.api import serving
from motorpool.controllers.inferenceservice.admission import admit
from motorpool.controllers.inferenceservice.config import config_of
from motorpool.controllers.inferenceservice.desired import Inputs, desired_state
from motorpool.controllers.inferenceservice.hardware import hardware_of
from motorpool.controllers.inferenceservice.modelimages import AUTO, ImageModes
from motorpool.controllers.inferenceservice.names import COMPONENTS
from motorpool.controllers.inferenceservice.runtime import selected
from motorpool.controllers.inferenceservice.storagespec import storage_secret_name
from motorpool.controllers.servingruntime.configuration import config_map
from motorpool.controllers.servingruntime.install import catalogue, shipped_runtimes
from motorpool.loop.cluster import Cluster

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


def image_modes(document: dict[str, Any]) -> ImageModes:
    """Of a document that is no object: what the cluster is, and what was asked of the operator."""
    return ImageModes(
        cluster=Cluster.of_version(document),
        asked=document.get("ociMode", AUTO),
        present=document.get("present", AUTO),
    )


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
    settings = config_of(config)
    if of_kind("Cluster"):
        settings = replace(settings, agent=replace(settings.agent, is_possible=True))
    admit(wanted, settings)
    chosen = None
    if "model" in wanted["spec"]["predictor"]:
        chosen = selected(wanted, of_kind("ServingRuntime"), of_kind("ClusterServingRuntime"))
    modes = [image_modes(document) for document in of_kind("Cluster")]
    profiles = of_kind("HardwareProfile")
    settled = Inputs(
        runtime=chosen,
        config=settings,
        storage_secret=secrets.get(storage_secret_name(wanted, settings)),
        accounts=dict.fromkeys(COMPONENTS, account) if account else {},
        secrets=secrets,
        storage_containers=of_kind("ClusterStorageContainer"),
        modes=dict.fromkeys(COMPONENTS, modes[0]) if modes else {},
        hardware=hardware_of(wanted, profiles, served=True, shared=APPLICATIONS),
        served=frozenset(kind for document in of_kind("Cluster")
                         for kind in document.get("serves", ())),
        **inputs,
    )  # fmt: skip
    return desired_state(wanted, settled)
