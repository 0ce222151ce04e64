"""Pods and containers as libpod's API wants them. Pure.

    Pod -> podman pod             a network namespace of its own, held by podman's pause container
    container's run -> container  a new one for each run, with a name and labels that say which

Rules: podman restarts nothing, checks no health and pulls nothing by itself: the node does. What a
manifest asks for and podman cannot give here is a ConfigError, never left out. Labels are how we
know what is ours: nothing without the label of this data directory is ever touched.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motorpool.api.meta import Object, at, name_of, namespace_of, uid_of
from motorpool.node.accelerators.visibility import Assigned
from motorpool.node.command import ConfigError, Mount, expanded
from motorpool.node.limits import limits_of
from motorpool.node.seen import run_id
from motorpool.node.supervisor.cgroups import (
    CPU_PERIOD_US,
    CPU_QUOTA_LEAST_US,
    SHARES_LEAST,
    SHARES_MOST,
    Limits,
)

Network: TypeAlias = Literal["bridge", "ports"]
"""*bridge*: a Pod has an address that this machine reaches. *ports*: it has one on the loopback
interface, at which podman publishes those of its ports that its spec names."""

LABEL_OWNER = "motorpool/data-dir"
LABEL_RUN = "motorpool/run"
LABEL_GRACE = "motorpool/grace-seconds"
LABEL_UID = "io.kubernetes.pod.uid"
LOG_BYTES_MOST = 256 * 1024 * 1024
"""Where conmon itself starts anew: only if nobody was there to rotate its file."""

MEMORY_LEAST_BYTES = 6 * 1024 * 1024
"""Less, and the runtime cannot start a program."""


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of an image that is here."""

    id: str
    user: str = ""
    """As it says itself: ``USER``, perhaps with ``:GROUP``."""


@dataclass(frozen=True, slots=True)
class Surrounded:
    """What a container's spec depends on beside the Pod."""

    owner: str
    pod_id: str
    run: int
    image: Image
    env: Mapping[str, str]
    """The container's own, expanded."""
    mounts: Sequence[Mount]
    log_path: str
    grace_s: float
    limits: bool = True
    """Whether control groups may be written."""
    devices: Sequence[str] = ()
    """Device nodes, and names of the vendors' CDI specifications."""


def labels_of_pod(pod: Object, owner: str) -> dict[str, str]:
    return {
        LABEL_OWNER: owner,
        LABEL_UID: uid_of(pod),
        "io.kubernetes.pod.name": name_of(pod),
        "io.kubernetes.pod.namespace": namespace_of(pod),
    }


def pod_spec(pod: Object, owner: str, network: Network, address: str) -> Object:
    """*address*: where its ports are published, with the network "ports"."""
    spec = pod["spec"]
    shared = ["net", "uts"]
    if not spec.get("hostIPC"):
        shared.append("ipc")
    if spec.get("shareProcessNamespace"):
        shared.append("pid")
    made: Object = {
        "name": f"{name_of(pod)}.{namespace_of(pod)}.{uid_of(pod)}",
        "labels": labels_of_pod(pod, owner),
        "shared_namespaces": shared,
    }
    if spec.get("hostNetwork"):
        shared.remove("uts")  # It has the name of the machine.
        return {**made, "netns": {"nsmode": "host"}}
    made["hostname"] = str(spec.get("hostname") or name_of(pod))[:63].rstrip("-.")
    made["portmappings"] = list(_published(spec, network, address))
    if network == "ports":
        made["netns"] = {"nsmode": "slirp4netns"}
    hosts = [
        f"{name}:{alias['ip']}"
        for alias in spec.get("hostAliases") or () for name in alias.get("hostnames") or ()
    ]  # fmt: skip
    if hosts:
        made["hostadd"] = hosts
    return made | _resolution(spec)


def _resolution(spec: Object) -> Object:
    """``dnsConfig``: beside the machine's own servers, or instead of them with policy None."""
    config = spec.get("dnsConfig") or {}
    options = [
        f"{option['name']}:{option['value']}" if option.get("value") else option["name"]
        for option in config.get("options") or ()
    ]
    found = {
        "dns_server": list(config.get("nameservers") or ()),
        "dns_search": list(config.get("searches") or ()),
        "dns_option": options,
    }
    return {key: value for key, value in found.items() if value}


def _published(spec: Object, network: Network, address: str) -> Iterable[Object]:
    for container in _containers(spec):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield {
                    "host_ip": str(port.get("hostIP") or ""), "host_port": int(port["hostPort"]),
                    "container_port": int(port["containerPort"]), "protocol": _protocol(port),
                }  # fmt: skip
    if network == "ports":
        for number, protocol in sorted(named_ports(spec)):
            yield {
                "host_ip": address, "host_port": number,
                "container_port": number, "protocol": protocol,
            }  # fmt: skip


def named_ports(spec: Object) -> set[tuple[int, str]]:
    """Every port that a Pod's spec names: of its containers, and of what asks them."""
    found: set[tuple[int, str]] = set()
    for container in _containers(spec):
        for port in container.get("ports") or ():
            found.add((int(port["containerPort"]), _protocol(port)))
        asked = [container.get(f"{kind}Probe") for kind in ("startup", "liveness", "readiness")]
        asked += [at(container, "lifecycle", hook) for hook in ("postStart", "preStop")]
        for question in asked:
            for action in ("httpGet", "tcpSocket", "grpc"):
                port = at(question or {}, action, "port")
                if port is not None and str(port).isdigit():
                    found.add((int(port), "tcp"))
    return found


def _containers(spec: Object) -> list[Object]:
    return [*(spec.get("initContainers") or ()), *spec["containers"]]


def _protocol(port: Object) -> str:
    return str(port.get("protocol") or "TCP").lower()


def container_spec(container: Object, pod: Object, around: Surrounded) -> Object:
    """One run of *container*. Raises ConfigError."""
    name = container["name"]
    made: Object = {
        "name": f"{name}.{around.run}.{name_of(pod)}.{namespace_of(pod)}.{uid_of(pod)}",
        "pod": around.pod_id,
        "image": around.image.id,
        "labels": {
            **labels_of_pod(pod, around.owner),
            "io.kubernetes.container.name": name,
            LABEL_RUN: run_id(uid_of(pod), name, around.run),
            LABEL_GRACE: f"{around.grace_s:g}",
        },
        "env": dict(around.env),
        "mounts": [_mount(mount) for mount in around.mounts],
        "log_configuration": {
            "driver": "k8s-file", "path": around.log_path, "size": LOG_BYTES_MOST,
        },
        "restart_policy": "no",
        "healthconfig": {"Test": ["NONE"]},
        "image_volume_mode": "anonymous",
        "systemd": "false",
        "stdin": bool(container.get("stdin")),
        "terminal": bool(container.get("tty")),
    }  # fmt: skip
    for field_name, target in (("command", "entrypoint"), ("args", "command")):
        parts = [expanded(str(part), around.env) for part in container.get(field_name) or ()]
        if parts:
            made[target] = parts
    if container.get("workingDir"):
        made["work_dir"] = expanded(container["workingDir"], around.env)
    if around.devices:
        made["devices"] = [{"path": path} for path in around.devices]
    if around.limits:
        made["resource_limits"] = resource_limits(limits_of(container))
    return made | _security(container, pod, around.image) | _namespaces(pod["spec"])


def devices_of(assigned: Assigned, specified: frozenset[str]) -> tuple[str, ...]:
    """*specified*: kinds with a CDI specification, which brings the libraries of the driver too."""
    return tuple(
        name
        for device in assigned.devices
        for name in (
            [f"{device.resource}={device.index}"] if device.resource in specified else device.nodes
        )
    )


def _mount(mount: Mount) -> Object:
    options = ["rbind", "ro" if mount.read_only else "rw"]
    return {
        "type": "bind", "source": mount.directory, "destination": mount.path, "options": options,
    }  # fmt: skip


def _namespaces(spec: Object) -> Object:
    found: Object = {}
    if spec.get("hostNetwork"):
        found["utsns"] = {"nsmode": "host"}
    if spec.get("hostPID"):
        found["pidns"] = {"nsmode": "host"}
    if spec.get("hostIPC"):
        found["ipcns"] = {"nsmode": "host"}
    return found


def resource_limits(limits: Limits) -> Object:
    """As the OCI runtime has them. A container has no swap beyond its memory, as on a node."""
    found: Object = {}
    if limits.memory_bytes:
        memory = max(limits.memory_bytes, MEMORY_LEAST_BYTES)
        found["memory"] = {"limit": memory, "swap": memory}
    cpu: Object = {}
    if limits.cpu_milli:
        quota = max(CPU_QUOTA_LEAST_US, limits.cpu_milli * CPU_PERIOD_US // 1000)
        cpu = {"quota": quota, "period": CPU_PERIOD_US}
    asked = limits.cpu_request_milli or limits.cpu_milli
    if asked:
        cpu["shares"] = min(SHARES_MOST, max(SHARES_LEAST, asked * 1024 // 1000))
    return {**found, "cpu": cpu} if cpu else found


# securityContext


def _security(container: Object, pod: Object, image: Image) -> Object:
    of_pod = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    both = {**of_pod, **own}
    found: Object = {
        "privileged": bool(own.get("privileged")),
        "read_only_filesystem": bool(own.get("readOnlyRootFilesystem")),
        "no_new_privileges": own.get("allowPrivilegeEscalation") is False,
        "cap_add": _capabilities(at(own, "capabilities", "add")),
        "cap_drop": _capabilities(at(own, "capabilities", "drop")),
    }
    user, group = both.get("runAsUser"), both.get("runAsGroup")
    if group is not None and user is None:
        user = image.user.partition(":")[0] or "0"
    if user is not None:
        found["user"] = f"{user}:{group}" if group is not None else str(user)
    groups = [*(of_pod.get("supplementalGroups") or ()), of_pod.get("fsGroup")]
    if any(number is not None for number in groups):
        found["groups"] = [str(number) for number in groups if number is not None]
    if both.get("runAsNonRoot"):
        _check_not_root(found.get("user"), image, container, pod)
    return found | _seccomp(both.get("seccompProfile") or {})


def _capabilities(names: Sequence[str] | None) -> list[str]:
    return [
        name.upper() if name.upper() in ("ALL",) or name.upper().startswith("CAP_")
        else f"CAP_{name.upper()}"
        for name in names or ()
    ]  # fmt: skip


def _check_not_root(user: str | None, image: Image, container: Object, pod: Object) -> None:
    who = f'(pod: "{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})", container: '
    who += f"{container['name']})"
    given = (user if user is not None else image.user).partition(":")[0]
    if user is not None and given == "0":
        raise ConfigError(f"container's runAsUser breaks non-root policy {who}")
    if given in ("", "0", "root"):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {who}")
    if not re.fullmatch(r"[0-9]+", given):
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({given}), "
            f"cannot verify user is non-root {who}"
        )


def _seccomp(profile: Object) -> Object:
    match profile.get("type"):
        case "Unconfined":
            return {"seccomp_profile_path": "unconfined"}
        case None | "RuntimeDefault":
            return {}
        case other:
            raise ConfigError(
                f"seccompProfile of type {other} is not supported on this node; use RuntimeDefault"
            )
