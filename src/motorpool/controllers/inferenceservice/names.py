"""Names of children are functions of their owner, so that creating one twice is harmless. Pure."""

from motorpool.api.meta import Object, at, name_of

PREDICTOR = "predictor"
TRANSFORMER = "transformer"
EXPLAINER = "explainer"
COMPONENTS = (PREDICTOR, TRANSFORMER, EXPLAINER)

KSERVE_CONTAINER = "kserve-container"
TRANSFORMER_CONTAINER = "transformer-container"
SERVING_CONTAINERS = (KSERVE_CONTAINER, TRANSFORMER_CONTAINER)

MODEL_PATH = "/mnt/models"
FIELD_MANAGER = "kserve-controller-manager"


def component_name(isvc: Object, component: str) -> str:
    """What the Deployment, the Service and the autoscaler of one component are called."""
    custom = at(isvc, "spec", PREDICTOR, "name", default="") if component == PREDICTOR else ""
    return "-".join(part for part in (name_of(isvc), custom, component) if part)


def app_label(component_object: str) -> str:
    """The label value that a component's pods carry and its Service selects."""
    return f"isvc.{component_object}"


def cluster_host(service: str, namespace: str) -> str:
    return f"{service}.{namespace}.svc.cluster.local"
