"""What an InferenceService means that leaves something out. Pure, idempotent.

The API server calls this at every write, and the controller once more on its own copy, so that it
also holds on a server that knows nothing of it.
"""

from motorpool.api.meta import Object
from motorpool.api.serving_fields import FORMAT_ANNOTATION, FRAMEWORKS, MODE_ANNOTATION, MODES

DEFAULT_MODE = "Standard"
V2_FRAMEWORKS = ("triton", "onnx", "huggingface")
V2_FORMATS = ("triton", "vLLM")
KSERVE_CONTAINER = "kserve-container"


def default_inference_service(isvc: Object) -> None:
    """Fills in mode, model, protocol and container names, in place."""
    metadata = isvc.setdefault("metadata", {})
    annotations = dict(metadata.get("annotations") or {})
    mode = annotations.get(MODE_ANNOTATION) or DEFAULT_MODE
    annotations[MODE_ANNOTATION] = MODES.get(mode, mode)
    metadata["annotations"] = annotations
    spec = isvc.get("spec")
    predictor = spec.get("predictor") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(predictor, dict):
        return  # Refused by validation.
    if annotations[MODE_ANNOTATION] != "ModelMesh":
        _move_framework(predictor)
        _default_protocol(predictor)
    name = ((predictor.get("model") or {}).get("modelFormat") or {}).get("name")
    if name:
        annotations.setdefault(FORMAT_ANNOTATION, name)
    _name_containers(spec)


def _move_framework(predictor: Object) -> None:
    """`sklearn: {...}` is an older way to write `model: {modelFormat: {name: sklearn}, ...}`."""
    given = [key for key in FRAMEWORKS if predictor.get(key) is not None]
    if len(given) != 1:
        return
    key = given[0]
    present = (predictor.get("model") or {}).get("modelFormat") or {}
    if predictor.get("model") is not None and present.get("name") != key:
        return  # Two models: refused by validation. The same format is our own earlier work.
    model = {"modelFormat": {"name": key}, **predictor.pop(key)}
    if key in V2_FRAMEWORKS:
        model.setdefault("protocolVersion", "v2")
    predictor["model"] = model


def _default_protocol(predictor: Object) -> None:
    model = predictor.get("model")
    if model and (model.get("modelFormat") or {}).get("name") in V2_FORMATS:
        model.setdefault("protocolVersion", "v2")


def _name_containers(spec: Object) -> None:
    for name in ("transformer", "explainer"):
        containers = (spec.get(name) or {}).get("containers")
        if containers:
            containers[0]["name"] = KSERVE_CONTAINER
    predictor = spec["predictor"]
    containers = predictor.get("containers")
    if not containers or predictor.get("model") is not None:
        return
    if len(containers) == 1 or not containers[0].get("name"):
        containers[0]["name"] = KSERVE_CONTAINER
