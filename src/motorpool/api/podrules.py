"""Which pod specs are refused. Pure; shared by pods and by every kind with a pod template."""

from collections.abc import Iterator, Sequence
from typing import Any

from motorpool.api import names, quantity
from motorpool.api.errors import FieldError
from motorpool.api.meta import Object
from motorpool.api.validation import not_negative, one_of, port_number, port_reference

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_HUGE_PAGES = "hugepages-"
_VALUE_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")


def pod_spec_errors(spec: Object, path: str) -> Iterator[FieldError]:
    """Every reason to refuse the spec at *path*; the spec has its defaults."""
    volumes = spec.get("volumes") or ()
    yield from _volume_errors(volumes, f"{path}.volumes")
    known = {volume.get("name") for volume in volumes}
    if not spec.get("containers"):
        yield FieldError.required(f"{path}.containers")
    seen: set[Any] = set()
    for group in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(group) or ()):
            where = f"{path}.{group}[{position}]"
            yield from _name_errors(container.get("name"), f"{where}.name", seen)
            yield from _container_errors(container, where, known)
    yield from one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES)
    yield from one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    yield from not_negative(
        f"{path}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds")
    )
    deadline = spec.get("activeDeadlineSeconds")
    if isinstance(deadline, int) and deadline < 1:
        text = "must be between 1 and 2147483647, inclusive"
        yield FieldError.invalid(f"{path}.activeDeadlineSeconds", deadline, text)


def _name_errors(name: Any, path: str, seen: set[Any]) -> Iterator[FieldError]:
    if not name:
        yield FieldError.required(path)
        return
    for text in names.label(name):
        yield FieldError.invalid(path, name, text)
    if name in seen:
        yield FieldError.duplicate(path, name)
    seen.add(name)


def _volume_errors(volumes: Sequence[Object], path: str) -> Iterator[FieldError]:
    seen: set[Any] = set()
    for position, volume in enumerate(volumes):
        where = f"{path}[{position}]"
        yield from _name_errors(volume.get("name"), f"{where}.name", seen)
        sources = [name for name in volume if name != "name"]
        if not sources:
            yield FieldError.required(where, "must specify a volume type")
        # Kubernetes looks at emptyDir first, so that one is never the one too many.
        for extra in sorted(sources, key=lambda name: (name != "emptyDir", name))[1:]:
            text = "may not specify more than 1 volume type"
            yield FieldError.forbidden(f"{where}.{extra}", text)
        yield from _source_errors(volume, where)


def _source_errors(volume: Object, path: str) -> Iterator[FieldError]:
    for source, field in (
        ("secret", "secretName"),
        ("configMap", "name"),
        ("hostPath", "path"),
        ("persistentVolumeClaim", "claimName"),
        ("image", "reference"),
    ):
        if volume.get(source) is not None and not volume[source].get(field):
            yield FieldError.required(f"{path}.{source}.{field}")


def _container_errors(container: Object, path: str, volumes: set[Any]) -> Iterator[FieldError]:
    image = container.get("image")
    if not image:
        yield FieldError.required(f"{path}.image")
    elif image != image.strip():
        text = "must not have leading or trailing whitespace"
        yield FieldError.invalid(f"{path}.image", image, text)
    for name in _PROBES:
        if container.get(name) is not None:
            yield from _probe_errors(container[name], f"{path}.{name}", name)
    yield from _port_errors(container.get("ports") or (), f"{path}.ports")
    yield from _environment_errors(container.get("env") or (), f"{path}.env")
    yield from _mount_errors(container.get("volumeMounts") or (), f"{path}.volumeMounts", volumes)
    policy = container.get("imagePullPolicy")
    yield from one_of(f"{path}.imagePullPolicy", policy, _PULL_POLICIES)
    yield from _resource_errors(container.get("resources") or {}, f"{path}.resources")


def _port_errors(ports: Sequence[Object], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for position, port in enumerate(ports):
        where = f"{path}[{position}]"
        name = port.get("name")
        if name:
            for text in names.port_name(name):
                yield FieldError.invalid(f"{where}.name", name, text)
            if name in seen:
                yield FieldError.duplicate(f"{where}.name", name)
            seen.add(name)
        if not port.get("containerPort"):
            yield FieldError.required(f"{where}.containerPort")
        else:
            yield from port_number(f"{where}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            yield from port_number(f"{where}.hostPort", port["hostPort"])
        yield from one_of(f"{where}.protocol", port.get("protocol"), _PROTOCOLS)


def _environment_errors(variables: Sequence[Object], path: str) -> Iterator[FieldError]:
    for position, variable in enumerate(variables):
        where = f"{path}[{position}]"
        name = variable.get("name")
        if not name:
            yield FieldError.required(f"{where}.name")
        else:
            for text in names.environment_name(name):
                yield FieldError.invalid(f"{where}.name", name, text)
        source = variable.get("valueFrom")
        if source is None:
            continue
        given = [one for one in _VALUE_SOURCES if source.get(one) is not None]
        if variable.get("value"):
            text = "may not be specified when `value` is not empty"
            yield FieldError.invalid(f"{where}.valueFrom", "", text)
        if len(given) > 1:
            text = "may not have more than one field specified at a time"
            yield FieldError.invalid(f"{where}.valueFrom", "", text)
        if not given:
            text = f"must specify one of: {', '.join(f'`{one}`' for one in _VALUE_SOURCES[:-1])}"
            text += f" or `{_VALUE_SOURCES[-1]}`"
            yield FieldError.invalid(f"{where}.valueFrom", "", text)


def _mount_errors(mounts: Sequence[Object], path: str, volumes: set[Any]) -> Iterator[FieldError]:
    seen: set[Any] = set()
    for position, mount in enumerate(mounts):
        where = f"{path}[{position}]"
        if not mount.get("name"):
            yield FieldError.required(f"{where}.name")
        elif mount["name"] not in volumes:
            yield FieldError.not_found(f"{where}.name", mount["name"])
        place = mount.get("mountPath")
        if not place:
            yield FieldError.required(f"{where}.mountPath")
        elif place in seen:
            yield FieldError.invalid(f"{where}.mountPath", place, "must be unique")
        seen.add(place)
        if ".." in str(mount.get("subPath", "")).split("/"):
            text = "must not contain '..'"
            yield FieldError.invalid(f"{where}.subPath", mount["subPath"], text)


def _resource_errors(resources: Object, path: str) -> Iterator[FieldError]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for group, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from _amount_errors(name, amount, f"{path}.{group}[{name}]")
    for name in sorted(requests):
        if name not in limits:
            if not _may_be_overcommitted(name):
                text = "Limit must be set for non overcommitable resources"
                yield FieldError.required(f"{path}.limits", text)
            continue
        if not (quantity.is_quantity(requests[name]) and quantity.is_quantity(limits[name])):
            continue
        order = quantity.compare(requests[name], limits[name])
        if order and not _may_be_overcommitted(name):
            text = f"must be equal to {name} limit of {limits[name]}"
            yield FieldError.invalid(f"{path}.requests", requests[name], text)
        elif order > 0:
            text = f"must be less than or equal to {name} limit of {limits[name]}"
            yield FieldError.invalid(f"{path}.requests", requests[name], text)


def _amount_errors(name: str, amount: Any, path: str) -> Iterator[FieldError]:
    for text in names.qualified_name(name):
        yield FieldError.invalid(path, name, text)
    if "/" not in name and not name.startswith(_HUGE_PAGES) and name not in _RESOURCES:
        yield FieldError.invalid(path, name, "must be a standard resource for containers")
    elif not _is_native(name) and name.startswith("requests."):
        text = "doesn't follow extended resource name standard"
        yield FieldError.invalid(path, name, text)
    if not quantity.is_quantity(amount):
        yield FieldError.invalid(path, amount, "must be a quantity such as 500m or 2Gi")
    elif quantity.compare(amount, 0) < 0:
        yield FieldError.invalid(path, amount, "must be greater than or equal to 0")
    elif not _is_native(name) and quantity.parse(amount) % 1:
        yield FieldError.invalid(path, amount, "must be an integer")


def _is_native(name: str) -> bool:
    """Not one that a vendor has added, such as ``nvidia.com/gpu``."""
    return "/" not in name or "kubernetes.io/" in name


def _may_be_overcommitted(name: str) -> bool:
    return _is_native(name) and not name.startswith(_HUGE_PAGES)


def _probe_errors(probe: Object, path: str, kind: str) -> Iterator[FieldError]:
    given = [name for name in _HANDLERS if probe.get(name) is not None]
    if not given:
        yield FieldError.required(path, "must specify a handler type")
    for extra in given[1:]:
        text = "may not specify more than 1 handler type"
        yield FieldError.forbidden(f"{path}.{extra}", text)
    for name in ("httpGet", "tcpSocket"):
        if name in given:
            yield from port_reference(f"{path}.{name}.port", probe[name].get("port"))
    if "exec" in given and not probe["exec"].get("command"):
        yield FieldError.required(f"{path}.exec.command")
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"):
        yield from not_negative(f"{path}.{field}", probe.get(field))
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield FieldError.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
