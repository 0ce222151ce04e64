"""The pod of each component. Pure.

A model's pod is the runtime's containers with the user's `model` laid over the one called
`kserve-container`, plus what its storage adds. A custom component's pod is the user's own. What the
API server would fill in is written out, as KServe does, so that the template says all of itself.
"""

from collections.abc import Sequence

from motorpool.api.meta import Object, at, name_of, namespace_of
from motorpool.api.serving_fields import container_fields, pod_fields
from motorpool.controllers.inferenceservice.agents import with_agent
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.locations import Injection
from motorpool.controllers.inferenceservice.merge import merged, merged_container
from motorpool.controllers.inferenceservice.names import (
    KSERVE_CONTAINER,
    MODEL_PATH,
    PREDICTOR,
    SERVING_CONTAINERS,
    TRANSFORMER_CONTAINER,
    component_name,
)
from motorpool.controllers.inferenceservice.placeholders import filled
from motorpool.controllers.inferenceservice.probes import readiness_probe
from motorpool.controllers.inferenceservice.refusal import INVALID_PREDICTOR_SPEC, Refusal
from motorpool.controllers.inferenceservice.runtime import Runtime
from motorpool.controllers.inferenceservice.servers import (
    image_for,
    server_overlay,
    with_server_labels,
)

RUNTIME_POD_FIELDS = (
    "nodeSelector", "affinity", "tolerations", "volumes", "imagePullSecrets", "schedulerName",
    "resourceClaims", "hostIPC",
)  # fmt: skip
"""What of a runtime's pod, besides its containers, reaches the workload."""

POD_DEFAULTS: Object = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}


def predictor_pod(
    isvc: Object, runtime: Runtime | None, config: Config, injection: Injection
) -> Object:
    """The pod spec of the predictor; *runtime* is None for a custom one. Raises Refusal."""
    pod = _model_pod(isvc, runtime) if runtime else _custom_pod(isvc, PREDICTOR, config)
    name = {"name": "INFERENCE_SERVICE_NAME", "value": name_of(isvc)}
    pod["containers"] = [_with_env(container, name) for container in pod["containers"]]
    return with_agent(_completed(pod, injection, config), isvc, PREDICTOR, config.agent)


def helper_pod(isvc: Object, component: str, config: Config, injection: Injection) -> Object:
    """The pod spec of a transformer or explainer, told where the predictor is."""
    pod = _custom_pod(isvc, component, config)
    first, *others = pod["containers"]
    name = {"name": "INFERENCE_SERVICE_NAME", "value": name_of(isvc)}
    pod["containers"] = [_with_env(_with_wiring(first, isvc, component), name), *others]
    return with_agent(_completed(pod, injection, config), isvc, component, config.agent)


def _completed(bare: Object, injection: Injection, config: Config) -> Object:
    """*bare* with its storage, and with every default written out."""
    pod = _with_storage(bare, injection)
    result = {**POD_DEFAULTS, **pod, **injection.pod}
    if not config.automount_token:
        result.setdefault("automountServiceAccountToken", False)
    own = [_completed_container(container) for container in pod["containers"]]
    result["containers"] = [*own, *injection.containers]
    return result


def _model_pod(isvc: Object, runtime: Runtime) -> Object:
    predictor = isvc["spec"][PREDICTOR]
    spec = runtime.spec
    base = _named(spec.get("containers") or (), KSERVE_CONTAINER)
    if base is None:
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"runtime {runtime.name} has no container called {KSERVE_CONTAINER}: "
            "rename the one that serves the model",
        )
    own = pod_fields(predictor)
    base = merged_container(base, server_overlay(isvc, runtime.server_type))
    server = merged_container(base, container_fields(predictor["model"]))
    labelled = with_server_labels(isvc, runtime.server_type)
    server = filled(server, labelled)
    version = str(predictor["model"].get("runtimeVersion") or "")
    image = image_for(server, runtime_version=version, server_type=runtime.server_type)
    if not image:
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"container {KSERVE_CONTAINER} of runtime {runtime.name} has no image: set one",
        )
    server["image"] = image
    shared = {key: spec[key] for key in RUNTIME_POD_FIELDS if spec.get(key) is not None}
    pod = merged(shared, {key: value for key, value in own.items() if key != "containers"})
    pod["containers"] = [server, *_other_containers(spec, own, labelled)]
    return pod


def _other_containers(runtime_spec: Object, own: Object, isvc: Object) -> list[Object]:
    """The containers beside the server: transformer, then the runtime's, then the user's."""
    theirs = runtime_spec.get("containers") or ()
    users = own.get("containers") or ()
    transformer, overlay = (_named(c, TRANSFORMER_CONTAINER) for c in (theirs, users))
    result = []
    if transformer is not None or overlay is not None:
        both = merged_container(transformer or {"name": TRANSFORMER_CONTAINER}, overlay or {})
        result.append(filled(both, isvc))
    result += [c for c in theirs if c.get("name") not in SERVING_CONTAINERS]
    result += [c for c in users if c.get("name") != TRANSFORMER_CONTAINER]
    return result


def _custom_pod(isvc: Object, component: str, config: Config) -> Object:
    pod = pod_fields(isvc["spec"][component])
    containers = [dict(container) for container in pod.get("containers") or ()]
    if not containers:
        text = f"spec.{component} has neither a model nor containers: add one"
        if at(isvc, "spec", component, "art") is not None:
            text = "the ART explainer is not supported: write it as spec.explainer.containers"
        raise Refusal(INVALID_PREDICTOR_SPEC, text)
    if config.resources:
        own = containers[0].get("resources") or {}
        containers[0]["resources"] = merged(config.resources, own)
    return {**pod, "containers": containers}


def _with_wiring(container: Object, isvc: Object, component: str) -> Object:
    args = list(container.get("args") or ())
    host = f"{component_name(isvc, PREDICTOR)}.{namespace_of(isvc)}"
    wiring = {"model_name": name_of(isvc), "predictor_host": host, "http_port": "8080"}
    concurrency = at(isvc, "spec", component, "containerConcurrency")
    if concurrency:
        wiring["workers"] = str(concurrency)
    given = {arg.split("=")[0] for arg in args}
    for flag, value in wiring.items():
        if f"--{flag}" not in given:
            args += [f"--{flag}", value]
    return {**container, "args": args}


def _with_storage(pod: Object, injection: Injection) -> Object:
    if not injection.mounts:
        return pod
    result = dict(pod)
    serving = [c for c in pod["containers"] if c.get("name") in SERVING_CONTAINERS]
    targets = [c["name"] for c in serving] or [pod["containers"][0].get("name")]
    result["containers"] = [
        _with_models(container, injection) if container.get("name") in targets else container
        for container in pod["containers"]
    ]
    present = {volume["name"] for volume in pod.get("volumes") or ()}
    added = [volume for volume in injection.volumes if volume["name"] not in present]
    result["volumes"] = [*(pod.get("volumes") or ()), *added]
    if injection.init_containers:
        others = pod.get("initContainers") or ()
        names = {container["name"] for container in others}
        added = [c for c in injection.init_containers if c["name"] not in names]
        result["initContainers"] = [*others, *added]
    return result


def _with_models(container: Object, injection: Injection) -> Object:
    """Mounts are told apart by volume name: what the container mounts already stays as it is."""
    present = container.get("volumeMounts") or ()
    names = {mount["name"] for mount in present}
    result = merged(container, injection.server)
    result["volumeMounts"] = [*present, *(m for m in injection.mounts if m["name"] not in names)]
    env = result.get("env") or ()
    if any(variable.get("name") == "STORAGE_URI" for variable in env):
        there = {"name": "STORAGE_URI", "value": MODEL_PATH}
        result["env"] = [there if v.get("name") == "STORAGE_URI" else v for v in env]
    return result


def _completed_container(container: Object) -> Object:
    result = dict(container)
    result.setdefault("imagePullPolicy", "IfNotPresent")
    result.setdefault("resources", {})
    result.setdefault("terminationMessagePath", "/dev/termination-log")
    if result.get("name") not in SERVING_CONTAINERS:
        result.setdefault("terminationMessagePolicy", "File")
        return result
    # A server that fails writes its reason to its log: this is how it reaches the status.
    result.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    if "readinessProbe" not in result:
        result["readinessProbe"] = readiness_probe(result)
    return result


def _with_env(container: Object, variable: Object) -> Object:
    env = container.get("env") or ()
    if any(present.get("name") == variable["name"] for present in env):
        return container
    return {**container, "env": [*env, variable]}


def _named(containers: Sequence[Object], name: str) -> Object | None:
    return next((c for c in containers if c.get("name") == name), None)
