"""What some model servers need that neither user nor runtime says. Pure.

Decided by the runtime's server type once it is chosen: labels that its placeholders read, variables
of its container, and the image variant for this pod's accelerators.
"""

import re

from motorpool.api.meta import Object, at, labels_of, name_of
from motorpool.controllers.inferenceservice.names import MODEL_PATH

MLSERVER_CLASSES = {
    "sklearn": "mlserver_sklearn.SKLearnModel",
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
    "mlflow": "mlserver_mlflow.MLflowRuntime",
}
GPU_SUFFIX_SERVERS = ("tensorflow-serving", "torchserve", "huggingfaceserver")


def with_server_labels(isvc: Object, server_type: str) -> Object:
    """*isvc* with the labels that the placeholders of its server's runtime read."""
    model = at(isvc, "spec", "predictor", "model", default={})
    added: dict[str, str] = {}
    if server_type == "mlserver":
        implementation = MLSERVER_CLASSES.get(at(model, "modelFormat", "name", default=""))
        if implementation:
            added["modelClass"] = implementation
    elif server_type == "torchserve":
        added["serviceEnvelope"] = "kservev2" if model.get("protocolVersion") == "v2" else "kserve"
    if not added:
        return isvc
    metadata = {**isvc["metadata"], "labels": {**labels_of(isvc), **added}}
    return {**isvc, "metadata": metadata}


def server_overlay(isvc: Object, server_type: str) -> Object:
    """Container fields that the server type adds below what the user set."""
    model = at(isvc, "spec", "predictor", "model", default={})
    stored = bool(model.get("storageUri") or model.get("storage"))
    if server_type == "mlserver":
        env = [{"name": "MLSERVER_MODEL_NAME", "value": name_of(isvc)}]
        if stored:
            env.append({"name": "MLSERVER_MODEL_URI", "value": MODEL_PATH})
        else:
            env.append({"name": "MLSERVER_LOAD_MODELS_AT_STARTUP", "value": "false"})
        return {"env": env}
    if server_type == "torchserve":
        protocol = model.get("protocolVersion") or "v1"
        return {"env": [{"name": "PROTOCOL_VERSION", "value": protocol}]}
    if server_type == "triton" and not stored:
        return {"args": ["--model-control-mode=explicit"]}
    return {}


def image_for(container: Object, *, runtime_version: str, server_type: str) -> str:
    """The container's image with the tag that version and accelerators ask for."""
    image = str(container.get("image") or "")
    if "@sha256:" in image:
        return image
    repository, tag = _split_tag(image)
    if runtime_version:
        return f"{repository}:{runtime_version}"
    if not tag:
        return image
    if server_type in GPU_SUFFIX_SERVERS and _wants_nvidia(container):
        return image if tag.endswith("-gpu") else f"{image}-gpu"
    if server_type == "vllmserver" and not _wants_gpu(container):
        return image if repository.endswith("-cpu") else f"{repository}-cpu:{tag}"
    return image


def _split_tag(image: str) -> tuple[str, str]:
    head, slash, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag


def _resource_names(container: Object) -> set[str]:
    resources = container.get("resources") or {}
    return {name for kind in ("limits", "requests") for name in resources.get(kind) or ()}


def _wants_nvidia(container: Object) -> bool:
    return any(re.match(r"nvidia\.com/(gpu$|mig)", name) for name in _resource_names(container))


def _wants_gpu(container: Object) -> bool:
    return any(re.search(r"/(gpu|gaudi|mig)", name) for name in _resource_names(container))
