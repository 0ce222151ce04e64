"""This machine as a Node: its object, and the Lease that says it is alive."""

import asyncio
import contextlib
import os
import platform
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path

import structlog

from motorpool.api import coordination, core
from motorpool.api.conditions import merged
from motorpool.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from motorpool.api.meta import Object, at, labels_of
from motorpool.base.clock import Clock, rfc3339, rfc3339_micro
from motorpool.client import Client
from motorpool.node import pressure
from motorpool.node.accelerators import labels
from motorpool.node.accelerators.device import Inventory
from motorpool.node.accelerators.devices import Devices
from motorpool.node.pressure import Pressures

log = structlog.get_logger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
RETRY_S = 2.0
LEASE_PERIOD_S = 10.0
LEASE_DURATION_S = 40
STATUS_PERIOD_S = 300.0
PODS_MAX = 1000
LABELS_MANAGER = "motorpool-node"
KUBELET_VERSION = "v1.32.0"


def capacity(data_dir: Path) -> dict[str, str]:
    """What this machine has; the storage is that of the disk where *data_dir* is."""
    cpus = len(os.sched_getaffinity(0))
    memory_kib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    disk = os.statvfs(data_dir)
    return {
        "cpu": str(cpus),
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "memory": f"{memory_kib}Ki",
        "pods": str(PODS_MAX),
    }


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


def node_reference(name: str) -> Object:
    """What events about the node are on: its name stands for its uid, as the kubelet has it.

    So they can be told before there is an object, and `kubectl describe node` looks for them so.
    """
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}


def node_status(
    old: Object,
    devices: Inventory,
    pressures: Pressures,
    *,
    name: str,
    host_ip: str,
    amounts: Mapping[str, str],
    moment: datetime,
) -> Object:
    """The Node's status. It is ready, or this could not be written."""
    now = rfc3339(moment)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        "lastHeartbeatTime": now,
    }
    return {
        "capacity": {**amounts, **labels.capacity(devices)},
        "allocatable": {**amounts, **labels.allocatable(devices)},
        "addresses": [
            {"type": "InternalIP", "address": host_ip},
            {"type": "Hostname", "address": name},
        ],
        "conditions": merged(
            old.get("conditions") or [], [*pressure.conditions(pressures, now), ready], now
        ),
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
    def __init__(
        self,
        client: Client,
        clock: Clock,
        devices: Devices,
        pressures: Callable[[], Pressures],
        *,
        name: str,
        host_ip: str,
        data_dir: Path,
    ) -> None:
        self._client = client
        self._clock = clock
        self._name = name
        self._host_ip = host_ip
        self._data_dir = data_dir
        self._devices = devices
        self._pressures = pressures
        self._news = asyncio.Event()

    def write_soon(self) -> None:
        """The machine is not what it was."""
        self._news.set()

    async def run(self) -> None:
        """Keeps the Node and its Lease until cancelled."""
        await self._devices.looked()
        await self._try(self._write_node)  # The Lease names the Node as its owner.
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._write_lease, LEASE_PERIOD_S))
            tasks.create_task(self._keep_node())

    async def _repeat(self, write: Callable[[], Awaitable[None]], period_s: float) -> None:
        while True:
            done = await self._try(write)
            await asyncio.sleep(period_s if done else min(period_s, RETRY_S))

    async def _keep_node(self) -> None:
        while True:
            self._news.clear()
            done = await self._try(self._write_node)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_PERIOD_S if done else RETRY_S):
                    await self._news.wait()

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
        found = self._devices.found
        node = await self._write_labels(node, labels.node_labels(found))
        node = await self._write_taints(node)
        status = node_status(
            node.get("status") or {},
            found,
            self._pressures(),
            name=self._name,
            host_ip=self._host_ip,
            amounts=capacity(self._data_dir),
            moment=self._clock(),
        )
        await self._client.replace_status(core.NODE, node, status)

    async def _write_labels(self, node: Object, wanted: dict[str, str]) -> Object:
        """By server-side apply, so that labels which no longer hold go and users' own stay."""
        if not wanted and not any(map(labels.is_of_accelerator, labels_of(node))):
            return node  # An apply of nothing, to every node without one, would be for nothing.
        metadata = {"name": self._name, "labels": wanted}
        applied: Object = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        return await self._client.apply(core.NODE, applied, manager=LABELS_MANAGER)

    async def _write_taints(self, node: Object) -> Object:
        before = at(node, "spec", "taints", default=[])
        taints = pressure.tainted(before, self._pressures())
        if taints == before:
            return node
        spec = {key: value for key, value in node["spec"].items() if key != "taints"}
        if taints:
            spec["taints"] = taints
        return await self._client.update(core.NODE, {**node, "spec": spec})

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
