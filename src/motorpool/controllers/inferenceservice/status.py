"""What an InferenceService's children say about it. Pure.

Ready is PredictorReady and IngressReady together, and takes reason and message from the first of
them that is not True. A predictor that cannot come up says why in its own condition. The
observedGeneration is the predictor Deployment's, as KServe has it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from motorpool.api.conditions import is_true, merged
from motorpool.api.meta import Object, at, name_of, namespace_of
from motorpool.api.serving_fields import protected_components
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.exposure import (
    INTERNAL,
    entry_of,
    lacks_a_route,
    way_of,
)
from motorpool.controllers.inferenceservice.exposurestatus import (
    INGRESS_READY,
    PREDICTOR_READY,
    Exposed,
    component_host,
    ingress_condition,
    protected_url,
    url_of,
)
from motorpool.controllers.inferenceservice.locations import locations_of
from motorpool.controllers.inferenceservice.modelimages import NATIVE, present_mode
from motorpool.controllers.inferenceservice.modelstatus import (
    UNSCHEDULABLE,
    Failure,
    failure_of,
    is_replacement,
    model_status,
    placement_of,
    refused_status,
    silence_of,
    stopped_status,
)
from motorpool.controllers.inferenceservice.names import (
    COMPONENTS,
    PREDICTOR,
    cluster_host,
    component_name,
)
from motorpool.controllers.inferenceservice.refusal import Refusal
from motorpool.controllers.inferenceservice.runtime import Runtime
from motorpool.controllers.inferenceservice.unsupported import ignored_condition
from motorpool.loop.cluster import Cluster

READY, STOPPED = "Ready", "Stopped"
REPLACED = "LatestDeploymentReady"
"""Only there, and False, while a new revision does not come up and an older one serves."""

LIVING = (PREDICTOR_READY, INGRESS_READY)
"""The conditions that make Ready; the others carry severity Info."""

MODE = "Standard"
KEPT_FIELDS = ("url", "address", "components", "observedGeneration", "servingRuntimeName",
               "clusterServingRuntimeName")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The children as they are."""

    deployments: Mapping[str, Object] = field(default_factory=dict)  # by component
    services: Mapping[str, Object] = field(default_factory=dict)  # by component
    pods: Sequence[Object] = ()  # the predictor's
    runtime: Runtime | None = None
    autoscaling: bool = False  # whether the API has HorizontalPodAutoscalers
    cluster: Cluster = field(default_factory=Cluster)
    exposed: Exposed = field(default_factory=Exposed)
    without_effect: Sequence[str] = ()  # what the profile asks for in vain


def observed_status(isvc: Object, observed: Observed, config: Config, now: str) -> Object:
    """The status that *observed* gives *isvc*."""
    sources = [location.uri for location in locations_of(isvc)]
    failure = failure_of(observed.pods, sources)
    components = [c for c in COMPONENTS if at(isvc, "spec", c)]
    conditions = []
    for component in components:
        condition = component_condition(component, observed.deployments.get(component))
        if component == PREDICTOR and condition["status"] != "True":
            condition = _explained(condition, failure, observed.pods)
        conditions.append(condition)
    conditions.append(ingress_condition(isvc, conditions, config, observed.exposed))
    conditions.append({"type": STOPPED, "status": "False"})
    notes = (
        ignored_condition(
            isvc,
            autoscaling=observed.autoscaling,
            agents=config.agent.is_possible,
            further=observed.without_effect,
            lacks_a_route=lacks_a_route(isvc, config, observed.exposed.served),
            is_exposed=way_of(isvc, config, observed.exposed.served) != INTERNAL
            or bool(observed.exposed.objects_named("Route", name_of(isvc))),
        ),
        image_volume_condition(observed),
        replacement_condition(observed.pods, failure),
    )
    conditions += [note for note in notes if note is not None]
    status = _with_conditions(isvc, conditions, now)
    ready = status_is_ready(status)
    old = isvc.get("status") or {}
    status["modelStatus"] = model_status(
        observed.pods, ready=ready, failure=failure, old=old.get("modelStatus") or {}, now=now
    )
    generation = at(observed.deployments.get(PREDICTOR), "status", "observedGeneration")
    if generation is not None:
        status["observedGeneration"] = generation
    status["components"] = _components(isvc, conditions, config, observed.exposed)
    status |= _urls(isvc, observed, config)
    status |= _runtime_names(observed.runtime)
    return status


def refused(isvc: Object, refusal: Refusal, now: str) -> Object:
    """The status while what the user asks for cannot be done; *refusal* says why."""
    conditions: list[Object] = [
        {
            "type": PREDICTOR_READY,
            "status": "False",
            "reason": refusal.reason,
            "message": refusal.message,
        },
        {"type": INGRESS_READY, "status": "False", "reason": "Predictor ingress not created"},
        {"type": STOPPED, "status": "False"},
    ]
    status = _with_conditions(isvc, conditions, now)
    old = isvc.get("status") or {}
    status["modelStatus"] = refused_status(refusal, old.get("modelStatus") or {}, now)
    # What ran before goes on running: where it answers stays known.
    status |= {key: old[key] for key in KEPT_FIELDS if key in old}
    if "deploymentMode" not in old:
        # A mode is for good once it is recorded: what is refused records none.
        del status["deploymentMode"]
    return status


def stopped(isvc: Object, now: str) -> Object:
    """The status of an InferenceService that its user has stopped."""
    components = [c for c in COMPONENTS if at(isvc, "spec", c)]
    message = "stopped by annotation serving.kserve.io/stop"
    conditions: list[Object] = [
        {"type": _type_of(c), "status": "False", "reason": STOPPED, "message": message}
        for c in components
    ]
    conditions.append(
        {"type": INGRESS_READY, "status": "False", "reason": STOPPED, "message": message}
    )
    conditions.append({"type": STOPPED, "status": "True"})
    status = _with_conditions(isvc, conditions, now)
    return {**status, "modelStatus": stopped_status(), "components": {}}


def status_is_ready(status: Object) -> bool:
    return is_true({"status": status}, READY)


def is_failing(status: Object) -> bool:
    """Whether the model cannot be loaded as things are; not while it is tried again."""
    transition = at(status, "modelStatus", "transitionStatus")
    return transition in ("BlockedByFailedLoad", "InvalidSpec")


def component_condition(component: str, deployment: Object | None) -> Object:
    """The component's condition from those of its Deployment; later rules override earlier.

    A Deployment of no replicas counts as available, but nothing answers.
    """
    if at(deployment, "spec", "replicas") == 0:
        return {
            "type": _type_of(component),
            "status": "False",
            "reason": "ScaledToZero",
            "message": f"the {component} has no replicas: scale Deployment "
            f"{at(deployment, 'metadata', 'name', default='')} up",
        }
    have = {c["type"]: c for c in at(deployment, "status", "conditions", default=())}
    available, progressing = have.get("Available"), have.get("Progressing")
    result: Object = {
        "type": _type_of(component),
        "status": "False",
        "reason": "DeploymentNotObserved",
        "message": "the Deployment has not reported yet",
    }
    if _is(available, "True"):
        result = _taken(result, "True", available)
    if _is(progressing, "False") and progressing and progressing.get("message"):
        result = _taken(result, "False", progressing)
    elif _is(progressing, "True"):
        done = progressing is not None and progressing.get("reason") == "NewReplicaSetAvailable"
        if done:
            result = _taken(result, "True", progressing)
        elif not _is(available, "True"):
            result = _taken(result, "Unknown", progressing)
    if _is(available, "False"):
        result = _taken(result, "False", available)
    if _is(have.get("ReplicaFailure"), "True"):
        result = _with_advice(_taken(result, "False", have["ReplicaFailure"]))
    return result


_NO_ACCOUNT = re.compile(r"error looking up service account ([^/\s]+)/([^:\s]+): .* not found")


def _with_advice(condition: Object) -> Object:
    """What the API says of pods that it does not take, with the next step where one is known."""
    found = _NO_ACCOUNT.search(condition.get("message", ""))
    if found is None:
        return condition
    advice = f"create it with `kubectl create serviceaccount {found[2]} -n {found[1]}`, or correct "
    message = f"{condition['message']}: {advice}serviceAccountName"
    return {**condition, "message": message}


def image_volume_condition(observed: Observed) -> Object | None:
    """Whether the cluster mounts images, where the predictor needs it and there is doubt."""
    doubt = observed.cluster.doubt_about_images
    if doubt is None or present_mode(observed.deployments.get(PREDICTOR)) != NATIVE:
        return None
    reason, text = doubt
    message = f"{text}: write oci:// and have a ModelCar sidecar, or switch image volumes on"
    kind = "OciImageVolumeCompatible"
    return {"type": kind, "status": "False", "reason": reason, "message": message}


def replacement_condition(pods: Sequence[Object], failure: Failure | None) -> Object | None:
    """What keeps a new revision from taking over, while the one before it goes on serving."""
    placement = placement_of(pods)
    if not is_replacement(pods) or (failure is None and not placement):
        return None
    reason, why = (failure.reason, failure.sentence) if failure else (UNSCHEDULABLE, placement)
    message = f"{why}; the revision before it goes on serving"
    return {"type": REPLACED, "status": "False", "reason": reason, "message": message}


def _explained(condition: Object, failure: Failure | None, pods: Sequence[Object]) -> Object:
    """The predictor's condition with what its pods say about the cause."""
    if failure is not None:
        why = {"status": "False", "reason": failure.reason, "message": failure.sentence}
        return {**condition, **why}
    if placement := placement_of(pods):
        why = {"status": "False", "reason": UNSCHEDULABLE, "message": placement}
        return {**condition, **why}
    silence = silence_of(pods)
    return {**condition, "message": silence} if silence else condition


def _with_conditions(isvc: Object, conditions: list[Object], now: str) -> Object:
    """The fields that every status has; conditions sorted by type, as KServe writes them."""
    living = [c for kind in LIVING for c in conditions if c["type"] == kind]
    bad = [c for c in living if c["status"] == "False"] or [
        c for c in living if c["status"] != "True"
    ]
    ready: Object = {"type": READY, "status": "True"}
    if bad:
        explained = {key: bad[0][key] for key in ("reason", "message") if bad[0].get(key)}
        ready = {"type": READY, "status": bad[0]["status"], **explained}
    marked = [c if c["type"] in LIVING else {**c, "severity": "Info"} for c in conditions]
    everything = sorted([*marked, ready], key=lambda c: str(c["type"]))
    old = at(isvc, "status", "conditions", default=())
    return {"conditions": merged(old, everything, now), "deploymentMode": MODE}


def _components(
    isvc: Object, conditions: Sequence[Object], config: Config, exposed: Exposed
) -> Object:
    """Each component's URL, written once it is ready and kept from then on."""
    result = {}
    for component in COMPONENTS:
        if not at(isvc, "spec", component):
            continue
        is_ready = any(c["type"] == _type_of(component) and c["status"] == "True"
                       for c in conditions)  # fmt: skip
        known = at(isvc, "status", "components", component, "url")
        if is_ready or known:
            host = component_host(isvc, component, config, exposed)
            is_protected = component in protected_components(isvc)
            url = protected_url(host) if is_protected else f"http://{host}"
            result[component] = {"url": url if is_ready else known}
    return result


def _urls(isvc: Object, observed: Observed, config: Config) -> Object:
    """The URL for the world and the address for the cluster.

    A headless Service translates no ports, so that the address then names the container's.
    """
    entry = entry_of(isvc)
    host = cluster_host(component_name(isvc, entry), namespace_of(isvc))
    url = url_of(isvc, config, observed.exposed)
    if protected_components(isvc):
        return {**({"url": url} if url else {}), "address": {"url": protected_url(host)}}
    service = observed.services.get(entry)
    port = ""
    if service is not None and at(service, "spec", "clusterIP") == "None":
        port = f":{at(service, 'spec', 'ports')[0]['targetPort']}"
    return {**({"url": url} if url else {}), "address": {"url": f"http://{host}{port}"}}


def _runtime_names(runtime: Runtime | None) -> Object:
    if runtime is None:
        return {}
    return {
        "clusterServingRuntimeName" if runtime.is_cluster else "servingRuntimeName": runtime.name
    }


def _type_of(component: str) -> str:
    return f"{component.capitalize()}Ready"


def _is(condition: Object | None, status: str) -> bool:
    return condition is not None and condition.get("status") == status


def _taken(result: Object, status: str, source: Object | None) -> Object:
    explained = {k: v for k, v in (source or {}).items() if k in ("reason", "message") and v}
    return {"type": result["type"], "status": status, **explained}
