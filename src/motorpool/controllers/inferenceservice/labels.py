"""Labels and annotations of children. Pure.

One set is used for everything that belongs to a component: Deployment, pod template, Service,
autoscaler. Each layer overrides the one before: the runtime's spec, the InferenceService's
metadata, the component's own.
"""

from motorpool.api.meta import Object, annotations_of, at, labels_of, name_of
from motorpool.controllers.inferenceservice import hardware
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.locations import locations_of
from motorpool.controllers.inferenceservice.names import app_label, component_name

ISVC_LABEL = "serving.kserve.io/inferenceservice"
COMPONENT_LABEL = "component"
VISIBILITY_LABEL = "networking.kserve.io/visibility"
SOURCE_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"

DISALLOWED_ANNOTATIONS = (
    "autoscaling.knative.dev/min-scale",
    "autoscaling.knative.dev/max-scale",
    SOURCE_ANNOTATION,
    "kubectl.kubernetes.io/last-applied-configuration",
    "modelFormat",
    hardware.NAME_ANNOTATION,
    hardware.NAMESPACE_ANNOTATION,
    hardware.REVISION_ANNOTATION,
)
"""Kept off the children, where a change of them would restart every pod."""


def child_labels(isvc: Object, component: str, runtime_spec: Object) -> dict[str, str]:
    return {
        **(runtime_spec.get("labels") or {}),
        **labels_of(isvc),
        **at(isvc, "spec", component, "labels", default={}),
        ISVC_LABEL: name_of(isvc),
        COMPONENT_LABEL: component,
        "app": app_label(component_name(isvc, component)),
    }


def child_annotations(
    isvc: Object, component: str, runtime_spec: Object, config: Config
) -> dict[str, str]:
    disallowed = {*DISALLOWED_ANNOTATIONS, *config.disallowed_annotations}
    layers = (
        runtime_spec.get("annotations") or {},
        annotations_of(isvc),
        at(isvc, "spec", component, "annotations", default={}),
    )
    result = {k: v for layer in layers for k, v in layer.items() if k not in disallowed}
    sources = locations_of(isvc, component)
    if len(sources) == 1:
        result[SOURCE_ANNOTATION] = sources[0].uri
    return result
