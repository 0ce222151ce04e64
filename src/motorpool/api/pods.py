"""What an omitted field of a pod means, and which changes a pod allows. Pure.

``default_template`` serves every kind that holds a pod template; ``default_pod`` adds what only a
pod itself gets: who it runs as, what it tolerates, its first status.
"""

from collections.abc import Iterator
from typing import Any

from motorpool.api import quantity
from motorpool.api.errors import FieldError
from motorpool.api.meta import Object
from motorpool.api.podrules import pod_spec_errors
from motorpool.api.validation import listed

_SPEC = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_DEFAULT_MODE = 0o644
_TOKEN_SECONDS = 3600
_EVICTION_SECONDS = 300
_MODED_VOLUMES = ("secret", "configMap", "downwardAPI", "projected")


def default_template(template: Object) -> None:
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Object) -> None:
    for field, value in _SPEC.items():
        if spec.get(field) in (None, ""):
            spec[field] = value
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    for volume in spec.get("volumes") or ():
        _default_volume(volume)
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            _default_container(container, host_network=bool(spec.get("hostNetwork")))


def _default_container(container: Object, *, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(str(container.get("image", "")))
    resources = container.setdefault("resources", {})
    for amounts in (resources.get("limits"), resources.get("requests")):
        _make_canonical(amounts)
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if host_network and not port.get("hostPort"):
            port["hostPort"] = port.get("containerPort", 0)
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None and not reference.get("apiVersion"):
            reference["apiVersion"] = "v1"
    _default_handlers(container)


def _default_handlers(container: Object) -> None:
    for name in _PROBES:
        if container.get(name) is not None:
            _default_probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        _default_http_get(hook)


def _make_canonical(amounts: Any) -> None:
    """An amount that cannot be read stays; validation names it."""
    if isinstance(amounts, dict):
        for name, amount in amounts.items():
            if quantity.is_quantity(amount):
                amounts[name] = quantity.canonical(amount)


def _default_probe(probe: Object) -> None:
    for field, value in _PROBE.items():
        if not probe.get(field):
            probe[field] = value
    _default_http_get(probe)
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


def _default_http_get(handler: Object) -> None:
    action = handler.get("httpGet") if isinstance(handler, dict) else None
    if action is not None:
        if not action.get("path"):
            action["path"] = "/"
        if not action.get("scheme"):
            action["scheme"] = "HTTP"


def pull_policy(image: str) -> str:
    """Always for ``latest`` and for no tag at all, unless a digest pins the image."""
    name, at_sign, _ = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if tag:
        return "Always" if tag == "latest" else "IfNotPresent"
    return "IfNotPresent" if at_sign else "Always"


def _default_volume(volume: Object) -> None:
    sources = [name for name in volume if name != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for name in _MODED_VOLUMES:
        if volume.get(name) is not None:
            volume[name].setdefault("defaultMode", _DEFAULT_MODE)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    empty = volume.get("emptyDir")
    if empty and quantity.is_quantity(empty.get("sizeLimit")):
        empty["sizeLimit"] = quantity.canonical(empty["sizeLimit"])
    if volume.get("image") is not None and not volume["image"].get("pullPolicy"):
        volume["image"]["pullPolicy"] = pull_policy(str(volume["image"].get("reference", "")))
    for source in (volume.get("projected") or {}).get("sources") or ():
        token = source.get("serviceAccountToken")
        if token is not None:
            token.setdefault("expirationSeconds", _TOKEN_SECONDS)
    for item in _downward_items(volume):
        item["fieldRef"].setdefault("apiVersion", "v1")


def _downward_items(volume: Object) -> Iterator[Object]:
    sources = (volume.get("projected") or {}).get("sources") or ()
    places = [volume.get("downwardAPI") or {}, *(s.get("downwardAPI") or {} for s in sources)]
    for place in places:
        yield from (item for item in place.get("items") or () if item.get("fieldRef"))


def default_pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            _request_the_limits(container["resources"])
    _tolerate_a_lost_node(spec)
    status = pod.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", qos_class(spec))


def _request_the_limits(resources: Object) -> None:
    limits = resources.get("limits") or {}
    if limits:
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _tolerate_a_lost_node(spec: Object) -> None:
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key", key) == key and t.get("effect", "NoExecute") == "NoExecute"
                   for t in tolerations):  # fmt: skip
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _EVICTION_SECONDS,
                }
            )


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort: who goes first when memory runs out."""
    resources = [
        container.get("resources") or {}
        for group in ("initContainers", "containers")
        for container in spec.get(group) or ()
    ]
    amounts = [
        ((r.get("requests") or {}).get(name), (r.get("limits") or {}).get(name))
        for r in resources
        for name in ("cpu", "memory")
    ]
    if not any(request or limit for request, limit in amounts):
        return "BestEffort"
    if all(limit and request in (None, limit) for request, limit in amounts):
        return "Guaranteed"
    return "Burstable"


_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions"
    " to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
    "was previously negative)"
)


def _pod_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    yield from pod_spec_errors(new.get("spec") or {}, "spec")
    if old is not None:
        before, after = _fixed_part(old, new), _fixed_part(new, old)
        if before != after:
            changed = sorted(k for k in before.keys() | after.keys()
                             if before.get(k) != after.get(k))  # fmt: skip
            yield FieldError.forbidden("spec", f"{_MAY_CHANGE}\n  changed: {', '.join(changed)}")


def _fixed_part(pod: Object, other: Object) -> Object:
    """The spec without what an update may change; a pod without a node may be given one."""
    free = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"}
    spec, other_spec = pod.get("spec") or {}, other.get("spec") or {}
    if not (spec.get("nodeName") and other_spec.get("nodeName")):
        free.add("nodeName")
    fixed = {key: value for key, value in spec.items() if key not in free}
    for group in ("containers", "initContainers"):
        if group in fixed:
            fixed[group] = [
                {key: value for key, value in container.items() if key != "image"}
                for container in fixed[group]
            ]
    return fixed


validate_pod = listed(_pod_errors)
