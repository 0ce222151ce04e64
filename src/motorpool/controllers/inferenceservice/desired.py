"""What an InferenceService asks for, as objects. Pure.

The same arguments always give the same objects in the same order. Whatever the InferenceService
controls and this list lacks is deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from motorpool.api.meta import (
    Object,
    annotations_of,
    at,
    controller_reference,
    namespace_of,
)
from motorpool.api.serving_fields import (
    AUTOSCALER_ANNOTATION,
    STOP_ANNOTATION,
    protected_components,
)
from motorpool.controllers.inferenceservice.agents import AGENT_PORT, has_agent
from motorpool.controllers.inferenceservice.autoscaler import autoscaler_of
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.credentials import credentials_of
from motorpool.controllers.inferenceservice.exposure import exposing
from motorpool.controllers.inferenceservice.hardware import Hardware, with_hardware
from motorpool.controllers.inferenceservice.labels import child_annotations, child_labels
from motorpool.controllers.inferenceservice.modelimages import ImageModes
from motorpool.controllers.inferenceservice.names import (
    EXPLAINER,
    PREDICTOR,
    TRANSFORMER,
    TRANSFORMER_CONTAINER,
    app_label,
    component_name,
)
from motorpool.controllers.inferenceservice.pods import helper_pod, predictor_pod
from motorpool.controllers.inferenceservice.protection import (
    protected_service,
    rules,
    with_proxy,
)
from motorpool.controllers.inferenceservice.refusal import AUTOSCALER_NOT_SUPPORTED, Refusal
from motorpool.controllers.inferenceservice.runtime import Runtime
from motorpool.controllers.inferenceservice.scaledobjects import scaled_object
from motorpool.controllers.inferenceservice.storage import Stores, injected


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything besides the InferenceService that decides on its children."""

    runtime: Runtime | None  # None for a custom predictor
    config: Config
    storage_secret: Object | None = None
    accounts: Mapping[str, Object] = field(default_factory=dict)  # of the pods, by component
    secrets: Mapping[str, Object] = field(default_factory=dict)  # that they or the user name
    storage_containers: Sequence[Object] = ()
    modes: Mapping[str, ImageModes] = field(default_factory=dict)  # by component
    autoscaling: bool = False  # whether the API has HorizontalPodAutoscalers
    served: frozenset[str] = frozenset()  # which further kinds it has
    hardware: Hardware | None = None  # what the profile says that it names


def desired_state(isvc: Object, inputs: Inputs) -> list[Object]:
    """Every object that should exist because *isvc* does, and no other. Raises Refusal."""
    if is_stopped(isvc):
        return []
    isvc = with_hardware(isvc, inputs.hardware)
    components = [c for c in (PREDICTOR, TRANSFORMER, EXPLAINER) if at(isvc, "spec", c)]
    made = {c: _component_objects(isvc, c, inputs) for c in components}
    services = {component: objects[0] for component, objects in made.items()}
    ways_in = exposing(isvc, services, inputs.config, inputs.served)
    protecting = [rules(isvc)] if protected_components(isvc) else []
    return [*protecting, *(obj for objects in made.values() for obj in objects), *ways_in]


def is_stopped(isvc: Object) -> bool:
    return annotations_of(isvc).get(STOP_ANNOTATION, "").lower() == "true"


def _component_objects(isvc: Object, component: str, inputs: Inputs) -> list[Object]:
    """The Service first."""
    metadata = _metadata(isvc, component, inputs)
    injection = injected(isvc, component, _stores(isvc, component, inputs))
    if component == PREDICTOR:
        pod = predictor_pod(isvc, inputs.runtime, inputs.config, injection)
    else:
        pod = helper_pod(isvc, component, inputs.config, injection)
    spec = isvc["spec"][component]
    scaling = annotations_of(isvc).get(AUTOSCALER_ANNOTATION, "hpa")
    service = _service(metadata, pod, inputs.config, agent=has_agent(spec, inputs.config.agent))
    if component in protected_components(isvc):
        service = protected_service(service, isvc, component)
        pod = with_proxy(pod, isvc, component, inputs.config)
    objects = [service, _deployment(metadata, pod, spec, inputs.config)]
    replicas = _replicas(spec, scaling, autoscaling=inputs.autoscaling)
    if replicas is not None:
        objects[1]["spec"]["replicas"] = replicas
    if scaling == "hpa" and inputs.autoscaling:
        objects.append(autoscaler_of(metadata, spec))
    elif scaling == "keda":
        if "ScaledObject" not in inputs.served:
            raise Refusal(
                AUTOSCALER_NOT_SUPPORTED,
                f"this API has no ScaledObject: install KEDA, or set annotation "
                f"{AUTOSCALER_ANNOTATION} to hpa, external or none",
            )
        objects.append(scaled_object(metadata, spec, inputs.config))
    return objects


def _stores(isvc: Object, component: str, inputs: Inputs) -> Stores:
    account = inputs.accounts.get(component)
    return Stores(
        config=inputs.config,
        secret=inputs.storage_secret,
        credentials=credentials_of(isvc, account, inputs.secrets, inputs.config),
        containers=inputs.storage_containers,
        modes=inputs.modes.get(component, ImageModes()),
    )


def _metadata(isvc: Object, component: str, inputs: Inputs) -> Object:
    is_model = component == PREDICTOR and inputs.runtime is not None
    runtime_spec = inputs.runtime.spec if is_model and inputs.runtime else {}
    annotations = child_annotations(isvc, component, runtime_spec, inputs.config)
    return {
        "name": component_name(isvc, component),
        "namespace": namespace_of(isvc),
        "labels": child_labels(isvc, component, runtime_spec),
        **({"annotations": annotations} if annotations else {}),
        "ownerReferences": [controller_reference(isvc)],
    }


def _deployment(metadata: Object, pod: Object, spec: Object, config: Config) -> Object:
    template: Object = {"labels": dict(metadata["labels"])}
    if "annotations" in metadata:
        template["annotations"] = dict(metadata["annotations"])
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": {"app": app_label(metadata["name"])}},
            **_rollout(spec, config),
            "template": {"metadata": template, "spec": pod},
        },
    }


def _rollout(spec: Object, config: Config) -> Object:
    if spec.get("deploymentStrategy"):
        return {"strategy": spec["deploymentStrategy"]}
    rolling: Object = {"maxUnavailable": "25%", "maxSurge": "25%"}
    if config.deployment_mode == "Standard":
        rolling |= {key: _int_or_percent(value) for key, value in config.rollout.items()}
    return {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


def _int_or_percent(value: object) -> object:
    """The API takes a number or a percentage, the configuration may hold "1"."""
    text = str(value)
    return int(text) if text.isdigit() else text


def _replicas(spec: Object, scaling: str, *, autoscaling: bool) -> int | None:
    """How many replicas we set; None leaves the number to an autoscaler or to the user."""
    wanted = spec.get("minReplicas")
    if scaling == "none":
        return 1 if wanted is None else int(wanted)
    if scaling == "hpa" and not autoscaling:
        # Nobody else would set it. An autoscaler never goes below one.
        return max(1, int(wanted or 1))
    return None


def _service(metadata: Object, pod: Object, config: Config, *, agent: bool) -> Object:
    ports = _service_ports(metadata["name"], pod["containers"])
    if agent:
        ports[0]["targetPort"] = AGENT_PORT
    body: Object = {
        "ports": ports,
        "selector": {"app": app_label(metadata["name"])},
        "type": "ClusterIP",
    }
    if config.headless:
        body["clusterIP"] = "None"
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}


def with_kept_address(service: Object, there: Object | None) -> Object:
    """A Service stays headless or not, whatever the configuration says now: no API changes that."""
    before = at(there, "spec", "clusterIP")
    if service["kind"] != "Service" or not before:
        return service
    spec = {key: value for key, value in service["spec"].items() if key != "clusterIP"}
    return {**service, "spec": {**spec, **({"clusterIP": before} if before == "None" else {})}}


def _service_ports(name: str, containers: Sequence[Object]) -> list[Object]:
    serving = next((c for c in containers if c.get("name") == TRANSFORMER_CONTAINER), containers[0])
    declared = serving.get("ports") or ()
    if not declared:
        return [{"name": name, "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    ports = []
    for number, port in enumerate(declared):
        inside = port["containerPort"]
        label = port.get("name") or ("http" if number == 0 else f"port-{inside}")
        entry: Object = {
            "name": label,
            "port": inside if number else 80,
            "targetPort": inside,
            "protocol": port.get("protocol") or "TCP",
        }
        if "grpc" in label or "h2c" in label:
            entry["appProtocol"] = "kubernetes.io/h2c"
        ports.append(entry)
    return ports
