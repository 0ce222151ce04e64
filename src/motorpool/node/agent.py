"""The node agent: every Pod that is bound to this machine gets a worker.

    informer of Pods -> one `PodWorker` per uid -> steps -> pod supervisor
    supervisor's exits -> worker -> status

Rules: at its start the agent takes over what the supervisor has (same processes, no restart), and
ends what has a directory but no Pod; cancelling it leaves every pod process running.
"""

import asyncio
import functools
from pathlib import Path

import structlog

from motorpool.api import core
from motorpool.api.meta import Object, at, is_deleting, name_of, namespace_of, uid_of
from motorpool.base.backoff import Backoff
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context
from motorpool.node.accelerators.device import Device, Inventory
from motorpool.node.accelerators.devices import Devices, Find
from motorpool.node.accelerators.profiles import Profiles
from motorpool.node.addresses import Addresses
from motorpool.node.containers import Containers, base_environment
from motorpool.node.engines import Engines, Wanted
from motorpool.node.housekeeping import Housekeeping, Measure, measured
from motorpool.node.ledger import Node, read_record
from motorpool.node.podman.engine import PodmanEngine
from motorpool.node.podman.service import has_podman
from motorpool.node.process import ProcessEngine
from motorpool.node.processes import Processes
from motorpool.node.registration import Registration, capacity, node_reference
from motorpool.node.seen import Run
from motorpool.node.servicelinks import IsServed, service_variables
from motorpool.node.streams import NodeStreams
from motorpool.node.table import ImagesTable
from motorpool.node.usage import Usage
from motorpool.node.volumes import Images
from motorpool.node.worker import PodWorker

log = structlog.get_logger(__name__)

HOST_IP = "127.0.0.1"
TABLE_PERIOD_S = 2.0
WORKER_RETRY = Backoff(first_s=0.5, most_s=60.0)


class Agent:
    def __init__(
        self,
        context: Context,
        *,
        data_dir: Path,
        node_name: str,
        images: Images,
        warm_after_s: float = 0.5,
        engine: Wanted = "auto",
        find: Find | None = None,
        measure: Measure | None = None,
    ) -> None:
        self._context = context
        self._data_dir = data_dir.resolve()
        self._name = node_name
        self._warm_after_s = warm_after_s
        self._images = images
        self._workers: dict[str, PodWorker] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._runs: dict[str, list[Run]] = {}
        self._said_unlimited = False
        self._table = ImagesTable(self._data_dir, self._complain)
        self._supervisor = ProcessEngine(self._data_dir, self._ended)
        self._supervisor.unlimited = self._unlimited
        self._devices = Devices(self._data_dir / "pods", self._is_over, find)
        self._profiles = Profiles(context.client, context.settings.namespace, self._devices)
        self._addresses = Addresses(self._data_dir)
        self._services = context.informers(core.SERVICE)
        self.is_served: IsServed = lambda address, port: True
        allocatable = capacity(self._data_dir)
        processes = Processes(
            self._supervisor,
            containers=Containers(
                context.client, base_environment(), allocatable, self._devices, self._links
            ),
            table=self._table,
            addresses=self._addresses,
            data_dir=self._data_dir,
            host_ip=HOST_IP,
        )
        self._podman = PodmanEngine(
            self._data_dir,
            self._ended,
            context,
            addresses=self._addresses,
            host_ip=HOST_IP,
            containers=Containers(context.client, {}, allocatable, links=self._links_of_containers),
            accelerators=self._devices,
            tell=functools.partial(self._tell_node, "PodmanRestricted"),
        )
        self._engines = Engines(
            processes, self._podman,
            wanted=engine,
            in_table=lambda image: self._table.find(image) is not None,
            has_podman=has_podman,
        )  # fmt: skip
        self._node = Node(
            client=context.client,
            events=context.events,
            clock=context.clock,
            engines=self._engines,
            images=images,
            data_dir=self._data_dir,
            host_ip=HOST_IP,
            allocatable=allocatable,
        )
        self._registration = Registration(
            context.client,
            context.clock,
            self._devices,
            lambda: self._housekeeping.pressures,
            name=node_name,
            host_ip=HOST_IP,
            data_dir=self._data_dir,
        )
        self._housekeeping = Housekeeping(
            images,
            context.events,
            context.clock,
            node_reference(node_name),
            measure or functools.partial(measured, self._data_dir),
            self._registration.write_soon,
        )
        services = context.informers(core.SERVICE)
        self.streams = NodeStreams(
            self._data_dir, self._workers.get, context.clock, services=services.list
        )
        self._pods = context.informers(core.POD)
        self.usage = Usage(
            self._running, self._pods, node_name, context.clock, measured=self._podman.readings
        )

    async def run(self) -> None:
        """Keeps the Pods of this machine true until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._engines.run(), name="engines")
                tasks.create_task(self._registration.run(), name="node registration")
                tasks.create_task(self._devices.run(self._devices_changed), name="accelerators")
                tasks.create_task(self._profiles.run(), name="profiles")
                tasks.create_task(self._housekeeping.run(), name="housekeeping")
                for run in await self._engines.runs():
                    self._runs.setdefault(run.pod_uid, []).append(run)
                await asyncio.to_thread(self._remember_addresses)
                await self._pods.synced()
                await self._services.synced()
                self._pods.subscribe(self._pod_changed)
                for kind in (core.CONFIG_MAP, core.SECRET):
                    changed = functools.partial(self._content_changed, kind.kind)
                    self._context.informers(kind).subscribe(changed)
                await self._end_orphans()
                self._runs.clear()
                tasks.create_task(self._watch_table(), name="local images table")
                await asyncio.sleep(self._warm_after_s)
                await self._warm()
        finally:
            self._tasks = None

    async def _warm(self) -> None:
        for module in self._table.forks():
            try:
                await self._supervisor.warm(module)
            except OSError as error:
                log.warning("fork server not warmed", module=module, error=str(error))

    # Pods.

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        uid = uid_of(pod)
        if change.old is not None and uid_of(change.old) != uid and change.new is not None:
            # Another Pod has its name now.
            self._pod_changed(Change(change.old, None))
        worker = self._workers.get(uid)
        if change.new is None:
            if worker is not None:
                worker.vanish()
        elif worker is not None:
            worker.update(pod)
        elif at(pod, "spec", "nodeName") == self._name and self._has_work(pod):
            self._begin(pod)

    def _content_changed(self, kind: str, change: Change) -> None:
        """A ConfigMap or Secret: files of Pods may be made from it."""
        if change.new is None:
            return
        namespace, name = namespace_of(change.new), name_of(change.new)
        for worker in self._workers.values():
            if worker.pod.namespace == namespace:
                worker.object_changed(kind, name)

    def _has_work(self, pod: Object) -> bool:
        """A Pod that is over needs nothing until it is deleted."""
        over = at(pod, "status", "phase") in ("Succeeded", "Failed")
        return is_deleting(pod) or not over or (self._pod_dir(uid_of(pod))).exists()

    def _begin(self, pod: Object) -> None:
        if self._tasks is None:
            return
        uid = uid_of(pod)
        worker = PodWorker(self._node, pod, self._runs.get(uid, ()))
        self._workers[uid] = worker
        self._working[uid] = self._tasks.create_task(self._work(worker), name=f"pod {name_of(pod)}")

    async def _begin_anew(self, worker: PodWorker) -> None:
        """With the engine that is now the one for it."""
        uid, working = worker.pod.uid, self._working.pop(worker.pod.uid, None)
        pod = self._pods.get(worker.pod.namespace, worker.pod.name)
        if working is None or pod is None or uid_of(pod) != uid:
            return
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        self._workers.pop(uid, None)
        try:
            await worker.leave()
        except OSError as error:
            log.warning("pod", pod=worker.pod.full_name, error=str(error))
        self._begin(pod)

    async def _running(self) -> list[Run]:
        return [*await self._supervisor.runs(), *self._podman.running()]

    async def _work(self, worker: PodWorker) -> None:
        failures = 0
        while True:
            try:
                await worker.run()
                break
            except Exception:
                failures += 1
                log.exception("defect", pod=worker.pod.full_name)
                await asyncio.sleep(WORKER_RETRY.delay_s(failures))
        self._workers.pop(worker.pod.uid, None)
        self._working.pop(worker.pod.uid, None)

    def _ended(self, run: Run) -> None:
        worker = self._workers.get(run.pod_uid)
        if worker is not None:
            worker.ended(run)
        self.streams.container_ended(run)

    # Accelerators.

    def _is_over(self, uid: str) -> bool:
        worker = self._workers.get(uid)
        return worker is not None and worker.is_over

    def _devices_changed(self, before: Inventory, now: Inventory) -> None:
        self._registration.write_soon()
        self._profiles.look_again()
        for device in now.values():
            known = before.get(device.id)
            if known is None or known.is_healthy != device.is_healthy:
                self._tell_of_device(device)

    def _tell_of_device(self, device: Device) -> None:
        name = f"{device.resource} {device.id} ({device.product})"
        node = node_reference(self._name)
        if device.is_healthy:
            self._context.events.record(
                node, "Normal", "AcceleratorReady", f"{name} can be used", component="kubelet"
            )
            return
        message = f"{name} no longer answers; look at the kernel's log and the vendor's own tool"
        self._tell(node, "AcceleratorLost", message)
        for uid in self._devices.holders(device.id):
            worker = self._workers.get(uid)
            if worker is not None and not worker.is_over:
                text = f"{name} no longer answers; what uses it will fail. Delete the Pod to "
                worker.warn("AcceleratorLost", text + "have it placed anew")

    # Directories, addresses, and where the Services are.

    def _links(self, pod: Object) -> dict[str, str]:
        """For a process."""
        services = self._services.list()
        return service_variables(pod, services, self.is_served, has_token_path=False)

    def _links_of_containers(self, pod: Object) -> dict[str, str]:
        """Loopback addresses are of use to a container that has the machine's network, no other."""
        if not at(pod, "spec", "hostNetwork"):
            return {}
        services = self._services.list()
        return service_variables(pod, services, self.is_served, has_token_path=True)

    def _pod_dir(self, uid: str) -> Path:
        return self._data_dir / "pods" / uid

    def _remember_addresses(self) -> None:
        for pod_dir in (self._data_dir / "pods").glob("*/"):
            address = read_record(pod_dir).get("podIP")
            if address:
                self._addresses.take(str(address))

    async def _end_orphans(self) -> None:
        """Pods whose objects were deleted while nobody was here."""
        known = {uid_of(pod) for pod in self._pods.list()}
        directories = await asyncio.to_thread(lambda: list((self._data_dir / "pods").glob("*/")))
        found = {path.name for path in directories} | await self._podman.uids()
        for uid in found - known:
            runs = self._runs.get(uid, [])
            record = read_record(self._pod_dir(uid))
            worker = PodWorker(self._node, orphan(uid, record, runs), runs)
            worker.vanish()
            self._workers[uid] = worker
            if self._tasks is not None:
                self._tasks.create_task(self._work(worker), name=f"orphan {uid}")

    # The local images table, and images that come.

    async def _watch_table(self) -> None:
        age = self._images.age()
        while True:
            await asyncio.sleep(TABLE_PERIOD_S)
            before, age = age, self._images.age()
            if age != before:
                for worker in list(self._workers.values()):
                    worker.images_came(self._images.is_here)
            if self._table.reload():
                for worker in list(self._workers.values()):
                    if worker.may_begin_anew:
                        await self._begin_anew(worker)
                    else:
                        worker.retry()

    def _complain(self, message: str) -> None:
        self._tell_node("InvalidLocalImages", message)

    def _tell_node(self, reason: str, message: str) -> None:
        log.warning(reason, message=message)
        self._tell(node_reference(self._name), reason, message)

    def _unlimited(self, why: str) -> None:
        """Said once: every container with limits would say the same."""
        if not self._said_unlimited:
            self._said_unlimited = True
            message = f"containers may exceed their resource limits here: {why}"
            self._tell_node("LimitsNotEnforced", message)

    def _tell(self, obj: Object, reason: str, message: str) -> None:
        self._context.events.record(obj, "Warning", reason, message, component="kubelet")


def orphan(uid: str, record: dict[str, str], runs: list[Run]) -> Object:
    """As much of a Pod as its end needs."""
    names = dict.fromkeys(run.container for run in runs)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": record.get("name", uid),
            "namespace": record.get("namespace", ""),
            "uid": uid,
            "resourceVersion": "0",
        },
        "spec": {"containers": [{"name": name} for name in names]},
    }
