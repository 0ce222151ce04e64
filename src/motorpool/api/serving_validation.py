"""Why an InferenceService or a runtime is refused at admission. Pure.

Only what the object alone shows is decided here; what depends on runtimes, secrets or configuration
becomes a condition. Storage schemes are among the latter: a cluster may add some.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from motorpool.api.errors import FieldError
from motorpool.api.meta import Object, annotations_of, at, is_deleting
from motorpool.api.serving_fields import (
    AUTOSCALER_ANNOTATION,
    FRAMEWORKS,
    MODE_ANNOTATION,
    MODES,
    pod_fields,
)

NAME_PATTERN = "[a-z]([-a-z0-9]*[a-z0-9])?"
AUTOSCALERS = ("hpa", "external", "keda", "none")
LOGGER_MODES = ("all", "request", "response")
COMPONENTS = ("predictor", "transformer", "explainer")
FORBIDDEN_VARIABLES = ("PYTHONPATH",)
NODE_VARIABLES = ("PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE")
LABEL_LENGTH_MAX = 63


def inference_service_errors(new: Object, old: Object | None) -> Sequence[FieldError]:
    """Every reason to refuse the InferenceService."""
    if old is not None and is_deleting(new):
        return ()
    return [*_change_errors(new, old), *_name_errors(new), *_annotation_errors(new),
            *_component_errors(new), *_canary_errors(new)]  # fmt: skip


def runtime_errors(new: Object, _: Object | None) -> Sequence[FieldError]:
    """Every reason to refuse the ServingRuntime or ClusterServingRuntime."""
    spec = new.get("spec") or {}
    if spec.get("disabled"):
        return ()
    found = list(_variable_errors(spec, "spec", FORBIDDEN_VARIABLES))
    priorities: dict[str, int] = {}
    for number, entry in enumerate(spec.get("supportedModelFormats") or ()):
        name, priority = str(entry.get("name")), entry.get("priority")
        if not entry.get("autoSelect") or priority is None:
            continue
        if priorities.setdefault(name, priority) != priority:
            path = f"spec.supportedModelFormats[{number}].priority"
            text = f"model format {name} must have the same priority everywhere in one runtime"
            found.append(FieldError.invalid(path, priority, text))
    worker = spec.get("workerSpec")
    if worker is not None:
        found += _worker_errors(worker, "spec.workerSpec")
        found += _variable_errors(
            worker, "spec.workerSpec", (*FORBIDDEN_VARIABLES, *NODE_VARIABLES)
        )
    return found


def _change_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    if old is None:
        return
    recorded = at(old, "status", "deploymentMode", default="")
    wanted = annotations_of(new).get(MODE_ANNOTATION)
    if recorded and wanted and MODES.get(wanted, wanted) != MODES.get(recorded, recorded):
        text = f"the deployment mode cannot change from {recorded} to {wanted}"
        yield FieldError.forbidden(f"metadata.annotations[{MODE_ANNOTATION}]", text)
    renamed = at(old, "spec", "predictor", "name") != at(new, "spec", "predictor", "name")
    if renamed and _storage_of(old) == _storage_of(new):
        text = "the predictor's name can only change together with its storageUri"
        yield FieldError.forbidden("spec.predictor.name", text)


def _storage_of(isvc: Object) -> Any:
    predictor = at(isvc, "spec", "predictor", default={})
    return at(predictor, "model", "storageUri"), predictor.get("storageUris")


def _name_errors(isvc: Object) -> Iterator[FieldError]:
    name = str(isvc["metadata"].get("name") or "")
    if not name:
        return  # A generated name is checked once it is there.
    if not re.fullmatch(NAME_PATTERN, name):
        text = (
            "a name consists of lower case alphanumeric characters or '-' and starts with a "
            f"letter; regex used for validation is '{NAME_PATTERN}'"
        )
        yield FieldError.invalid("metadata.name", name, text)
    for component in COMPONENTS:
        if at(isvc, "spec", component) is None:
            continue
        # The longest that is made of it: the label by which the Service finds the pods.
        label = f"isvc.{name}-{component}"
        if len(label) > LABEL_LENGTH_MAX:
            text = f"{label}, a label of its pods, must be no more than 63 characters"
            yield FieldError.invalid("metadata.name", name, text)


def _annotation_errors(isvc: Object) -> Iterator[FieldError]:
    scaler = annotations_of(isvc).get(AUTOSCALER_ANNOTATION)
    path = f"metadata.annotations[{AUTOSCALER_ANNOTATION}]"
    if scaler is not None and scaler not in AUTOSCALERS:
        yield FieldError.not_supported(path, scaler, AUTOSCALERS)


def _component_errors(isvc: Object) -> Iterator[FieldError]:
    scaler = annotations_of(isvc).get(AUTOSCALER_ANNOTATION, "")
    for name in COMPONENTS:
        component = at(isvc, "spec", name)
        if component is None:
            continue
        path = f"spec.{name}"
        yield from _implementation_errors(name, component, path)
        yield from _variable_errors(component, path, FORBIDDEN_VARIABLES)
        yield from _storage_errors(component, path)
        yield from _extension_errors(component, path)
        yield from _scaling_errors(component, path, scaler)
        if component.get("workerSpec") is not None:
            yield from _worker_errors(component["workerSpec"], f"{path}.workerSpec")
            yield from _multi_node_errors(component, path, scaler)


def _implementation_errors(name: str, component: Object, path: str) -> Iterator[FieldError]:
    known = {"predictor": (*FRAMEWORKS, "model"), "explainer": ("art",)}.get(name, ())
    given = [key for key in known if component.get(key) is not None]
    # Containers beside a model are its sidecars; alone they are the implementation.
    count = len(given) or bool(pod_fields(component).get("containers"))
    if count != 1:
        choices = ", ".join((*known, "containers"))
        yield FieldError.invalid(
            path, given, f"exactly one of [{choices}] must be specified in {name}"
        )
    for key in given:
        if component[key].get("name"):
            text = "must be empty: the container's name is given by the platform"
            yield FieldError.forbidden(f"{path}.{key}.name", text)


def _variable_errors(pod: Object, path: str, names: Sequence[str]) -> Iterator[FieldError]:
    """Environment variables that would break the server's own."""
    holders: list[tuple[str, Mapping[str, Any]]] = []
    for key in ("containers", "initContainers"):
        listed = enumerate(pod.get(key) or ())
        holders += [(f"{path}.{key}[{number}]", container) for number, container in listed]
    for key in (*FRAMEWORKS, "model", "art"):
        if pod.get(key) is not None:
            holders.append((f"{path}.{key}", pod[key]))
    for holder_path, holder in holders:
        for number, variable in enumerate(holder.get("env") or ()):
            if variable.get("name") in names:
                where = f"{holder_path}.env[{number}].name"
                yield FieldError.forbidden(where, f"{variable['name']} may not be set")


def _storage_errors(component: Object, path: str) -> Iterator[FieldError]:
    uris = component.get("storageUris") or ()
    for key in (*FRAMEWORKS, "model"):
        if uris and (component.get(key) or {}).get("storageUri"):
            yield FieldError.forbidden(
                f"{path}.storageUris", f"may not be used together with {key}.storageUri"
            )
    seen: set[str] = set()
    for number, entry in enumerate(uris):
        mount = str(entry.get("mountPath") or "/mnt/models")
        where = f"{path}.storageUris[{number}].mountPath"
        if not mount.startswith("/") or mount == "/" or ".." in mount.split("/"):
            yield FieldError.invalid(where, mount, "must be an absolute path below / without ..")
        is_claim = str(entry.get("uri", "")).startswith("pvc://")
        if is_claim and mount in seen:
            yield FieldError.duplicate(where, mount)
        seen.add(mount)
    downloads = [
        str(entry.get("mountPath") or "/mnt/models")
        for entry in uris
        if not str(entry.get("uri", "")).startswith("pvc://")
    ]
    roots = {mount.split("/")[1] for mount in downloads if mount.startswith("/")}
    if len(downloads) > 1 and len(roots) > 1:
        text = "the paths of downloaded models must share a parent directory below /"
        yield FieldError.invalid(f"{path}.storageUris", downloads, text)


def _extension_errors(component: Object, path: str) -> Iterator[FieldError]:
    for name in ("containerConcurrency", "minReplicas", "maxReplicas"):
        value = component.get(name)
        if isinstance(value, int) and value < 0:
            where = f"{path}.{name}"
            yield FieldError.invalid(where, value, "must be greater than or equal to 0")
    least, most = component.get("minReplicas"), component.get("maxReplicas")
    if isinstance(least, int) and isinstance(most, int) and 0 < most < least:
        text = "must be greater than or equal to minReplicas"
        yield FieldError.invalid(f"{path}.maxReplicas", most, text)
    logger = component.get("logger")
    if logger is None:
        return
    if logger.get("mode") not in LOGGER_MODES:
        mode = logger.get("mode") or ""
        yield FieldError.not_supported(f"{path}.logger.mode", mode, LOGGER_MODES)
    storage = logger.get("storage")
    for name in ("path", "parameters", "key") if storage is not None else ():
        if not storage.get(name):
            yield FieldError.required(f"{path}.logger.storage.{name}")


def _scaling_errors(component: Object, path: str, scaler: str) -> Iterator[FieldError]:
    """Only an autoscaler that the user named is held to its rules."""
    metric, target = component.get("scaleMetric"), component.get("scaleTarget")
    if scaler == "hpa":
        if metric is not None and metric not in ("cpu", "memory"):
            yield FieldError.not_supported(f"{path}.scaleMetric", metric, ("cpu", "memory"))
        if target is not None and not 1 <= target <= 100:
            text = "must be a percentage between 1 and 100"
            yield FieldError.invalid(f"{path}.scaleTarget", target, text)
        for number, entry in enumerate(at(component, "autoScaling", "metrics", default=())):
            if entry.get("type") != "Resource":
                where = f"{path}.autoScaling.metrics[{number}].type"
                yield FieldError.not_supported(where, entry.get("type") or "", ("Resource",))
    if scaler == "keda" and metric is not None:
        yield FieldError.forbidden(f"{path}.scaleMetric", "use autoScaling.metrics with keda")


def _worker_errors(worker: Object, path: str) -> Iterator[FieldError]:
    if len(worker.get("containers") or ()) > 1:
        yield FieldError.invalid(
            f"{path}.containers", len(worker["containers"]), "a worker has at most one container"
        )
    for name in ("pipelineParallelSize", "tensorParallelSize"):
        value = worker.get(name)
        if isinstance(value, int) and value < 1:
            where = f"{path}.{name}"
            yield FieldError.invalid(where, value, "must be greater than or equal to 1")


def _multi_node_errors(component: Object, path: str, scaler: str) -> Iterator[FieldError]:
    model = component.get("model") or {}
    uri = str(model.get("storageUri") or "")
    if not uri.startswith(("pvc://", "oci://")):
        text = "several nodes need a storageUri of scheme pvc or oci"
        yield FieldError.invalid(f"{path}.model.storageUri", uri, text)
    if scaler != "none":
        where = f"metadata.annotations[{AUTOSCALER_ANNOTATION}]"
        yield FieldError.invalid(where, scaler, "must be none with several nodes")
    for number, variable in enumerate(model.get("env") or ()):
        if variable.get("name") in NODE_VARIABLES:
            where = f"{path}.model.env[{number}].name"
            yield FieldError.forbidden(where, f"{variable['name']} may not be set")


def _canary_errors(isvc: Object) -> Iterator[FieldError]:
    if at(isvc, "spec", "canary"):
        text = "canary predictors are not supported: use two InferenceServices and a weighted Route"
        yield FieldError.forbidden("spec.canary", text)
