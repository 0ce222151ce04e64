"""Which fields of a component of an InferenceService mean what. Pure.

A component (predictor, transformer, explainer) is a pod spec with further fields beside its own;
these lists tell them apart.
"""

from motorpool.api.meta import Object, annotations_of, at

FRAMEWORKS = (
    "sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml",
    "lightgbm", "paddle",
)  # fmt: skip

EXTENSION_FIELDS = (
    "minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling",
    "containerConcurrency", "timeout", "canaryTrafficPercent", "logger", "batcher", "labels",
    "annotations", "deploymentStrategy",
)  # fmt: skip
"""Shared by all components: scaling, metadata of children, logging."""

COMPONENT_FIELDS = (
    *EXTENSION_FIELDS, *FRAMEWORKS, "model", "name", "storageUris", "storageContainerName",
    "workerSpec", "art",
)  # fmt: skip
"""Everything in a component that is not part of its pod spec."""

MODEL_FIELDS = (
    "storageUri", "runtimeVersion", "protocolVersion", "storage", "confidential", "modelFormat",
    "runtime",
)  # fmt: skip
"""Everything in `model` that is not part of its container."""

MODES = {"RawDeployment": "Standard", "Serverless": "Knative"}
"""Older spellings of the deployment modes."""

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
AUTOSCALER_ANNOTATION = "serving.kserve.io/autoscalerClass"
STOP_ANNOTATION = "serving.kserve.io/stop"
AUTO_UPDATE_ANNOTATION = "serving.kserve.io/disable-auto-update"
FORMAT_ANNOTATION = "modelFormat"
AUTH_ANNOTATION = "security.opendatahub.io/enable-auth"


def wants_authentication(isvc: Object) -> bool:
    return annotations_of(isvc).get(AUTH_ANNOTATION, "").lower() == "true"


def protected_components(isvc: Object) -> tuple[str, ...]:
    """Those that take requests from outside, where authentication is asked for.

    A predictor behind a transformer is asked by the transformer, which has no token.
    """
    if not wants_authentication(isvc):
        return ()
    first = "transformer" if at(isvc, "spec", "transformer") else "predictor"
    return tuple(c for c in (first, "explainer") if at(isvc, "spec", c))


def pod_fields(component: Object) -> Object:
    """The pod spec in a component."""
    return {key: value for key, value in component.items() if key not in COMPONENT_FIELDS}


def container_fields(model: Object) -> Object:
    """The container in a model or framework spec."""
    return {key: value for key, value in model.items() if key not in MODEL_FIELDS}
