"""This machine as a Node: its object, and the Lease that says it is alive."""

import asyncio
import os
import platform
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import structlog

from motorpool.api import coordination, core
from motorpool.api.conditions import merged
from motorpool.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from motorpool.api.meta import Object
from motorpool.base.clock import Clock, rfc3339, rfc3339_micro
from motorpool.client import Client

log = structlog.get_logger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
RETRY_S = 2.0
LEASE_PERIOD_S = 10.0
LEASE_DURATION_S = 40
STATUS_PERIOD_S = 300.0
PODS_MAX = 1000
KUBELET_VERSION = "v1.32.0"


def capacity() -> dict[str, str]:
    """What this machine has."""
    cpus = len(os.sched_getaffinity(0))
    memory_kib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    return {"cpu": str(cpus), "memory": f"{memory_kib}Ki", "pods": str(PODS_MAX)}


def node_object(name: str) -> Object:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _architecture(),
        "node-role.kubernetes.io/control-plane": "",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
    }


def node_status(old: Object, *, name: str, host_ip: str, moment: datetime) -> Object:
    """The Node's status: everything is well, or it could not be written."""
    now = rfc3339(moment)
    well = (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory",
         "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID",
         "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    )  # fmt: skip
    conditions: list[Object] = [
        {"type": t, "status": s, "reason": r, "message": m, "lastHeartbeatTime": now}
        for t, s, r, m in well
    ]
    return {
        "capacity": capacity(),
        "allocatable": capacity(),
        "addresses": [
            {"type": "InternalIP", "address": host_ip},
            {"type": "Hostname", "address": name},
        ],
        "conditions": merged(old.get("conditions") or [], conditions, now),
        "nodeInfo": {
            "architecture": _architecture(),
            "bootID": _read("/proc/sys/kernel/random/boot_id"),
            "containerRuntimeVersion": "motorpool://process",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": _read("/etc/machine-id"),
            "operatingSystem": "linux",
            "osImage": _os_image(),
            "systemUUID": _read("/etc/machine-id"),
        },
    }


class Registration:
    def __init__(self, client: Client, clock: Clock, *, name: str, host_ip: str) -> None:
        self._client = client
        self._clock = clock
        self._name = name
        self._host_ip = host_ip

    async def run(self) -> None:
        """Keeps the Node and its Lease until cancelled."""
        await self._try(self._write_node)  # The Lease names the Node as its owner.
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._write_lease, LEASE_PERIOD_S))
            tasks.create_task(self._repeat(self._write_node, STATUS_PERIOD_S))

    async def _repeat(self, write: Callable[[], Awaitable[None]], period_s: float) -> None:
        while True:
            done = await self._try(write)
            await asyncio.sleep(period_s if done else min(period_s, RETRY_S))

    async def _try(self, write: Callable[[], Awaitable[None]]) -> bool:
        try:
            await write()
        except (ApiError, OSError) as error:
            log.warning("node not reported", node=self._name, error=str(error))
            return False
        return True

    async def _write_node(self) -> None:
        try:
            node = await self._client.get(core.NODE, "", self._name)
        except NotFound:
            node = await self._client.create(core.NODE, node_object(self._name))
        status = node_status(
            node.get("status") or {}, name=self._name, host_ip=self._host_ip, moment=self._clock()
        )
        await self._client.replace_status(core.NODE, node, status)

    async def _write_lease(self) -> None:
        moment = rfc3339_micro(self._clock())
        try:
            lease = await self._client.get(coordination.LEASE, LEASE_NAMESPACE, self._name)
        except NotFound:
            await self._create_lease(moment)
            return
        spec = {**lease["spec"], "holderIdentity": self._name, "renewTime": moment}
        try:
            await self._client.update(coordination.LEASE, {**lease, "spec": spec})
        except Conflict:
            return  # Written a moment ago: it is as good as ours.

    async def _create_lease(self, moment: str) -> None:
        node = await self._client.get(core.NODE, "", self._name)
        owner = {"apiVersion": "v1", "kind": "Node"}
        owner |= {"name": self._name, "uid": node["metadata"]["uid"]}
        lease: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner],
            },
            "spec": {
                "holderIdentity": self._name,
                "leaseDurationSeconds": LEASE_DURATION_S,
                "renewTime": moment,
            },
        }  # fmt: skip
        try:
            await self._client.create(coordination.LEASE, lease)
        except NotFound:
            namespace = {"apiVersion": "v1", "kind": "Namespace"}
            name = {"metadata": {"name": LEASE_NAMESPACE}}
            try:
                await self._client.create(core.NAMESPACE, {**namespace, **name})
            except AlreadyExists:
                log.debug("namespace is there", namespace=LEASE_NAMESPACE)
            await self._client.create(coordination.LEASE, lease)


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
