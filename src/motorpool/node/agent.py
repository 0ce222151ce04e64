"""The node agent: every Pod that is bound to this machine gets a worker.

    informer of Pods -> one `PodWorker` per uid -> steps -> pod supervisor
    supervisor's exits -> worker -> status

Rules: at its start the agent takes over what the supervisor has (same processes, no restart), and
ends what has a directory but no Pod; cancelling it leaves every pod process running.
"""

import asyncio
import json
from pathlib import Path

import structlog

from motorpool.api import core
from motorpool.api.meta import Object, at, is_deleting, name_of, namespace_of, uid_of
from motorpool.base.atomicfile import write_atomically
from motorpool.base.backoff import Backoff
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context
from motorpool.node.addresses import Addresses
from motorpool.node.containers import base_environment
from motorpool.node.process import ProcessEngine
from motorpool.node.registration import Registration, capacity
from motorpool.node.seen import Run
from motorpool.node.streams import NodeStreams
from motorpool.node.table import ImagesTable
from motorpool.node.usage import Usage
from motorpool.node.volumes import Images, make_pod_directories
from motorpool.node.worker import Node, PodWorker

log = structlog.get_logger(__name__)

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
        host_ip: str = "127.0.0.1",
        warm_after_s: float = 0.5,
    ) -> None:
        self._context = context
        self._data_dir = data_dir.resolve()
        self._name = node_name
        self._warm_after_s = warm_after_s
        self._workers: dict[str, PodWorker] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._runs: dict[str, list[Run]] = {}
        self._addresses = Addresses(self._data_dir)
        self._engine = ProcessEngine(self._data_dir, self._ended)
        self._node = Node(
            client=context.client,
            events=context.events,
            clock=context.clock,
            engine=self._engine,
            images=images,
            table=ImagesTable(self._data_dir, self._complain),
            data_dir=self._data_dir,
            host_ip=host_ip,
            allocatable=capacity(),
            base_env=base_environment(),
        )
        self._registration = Registration(
            context.client, context.clock, name=node_name, host_ip=host_ip
        )
        self.streams = NodeStreams(self._data_dir, self._workers.get, context.clock)
        self._pods = context.informers(core.POD)
        self.usage = Usage(self._engine.runs, self._pods, node_name, context.clock)

    async def run(self) -> None:
        """Keeps the Pods of this machine true until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._engine.run(), name="pod supervisor")
                tasks.create_task(self._registration.run(), name="node registration")
                for run in await self._engine.runs():
                    self._runs.setdefault(run.pod_uid, []).append(run)
                await asyncio.to_thread(self._remember_addresses)
                await self._pods.synced()
                self._pods.subscribe(self._pod_changed)
                await self._end_orphans()
                self._runs.clear()
                tasks.create_task(self._watch_table(), name="local images table")
                await asyncio.sleep(self._warm_after_s)
                await self._warm()
        finally:
            self._tasks = None

    async def _warm(self) -> None:
        for module in self._node.table.forks():
            try:
                await self._engine.warm(module)
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

    def _has_work(self, pod: Object) -> bool:
        """A Pod that is over needs nothing until it is deleted."""
        over = at(pod, "status", "phase") in ("Succeeded", "Failed")
        return is_deleting(pod) or not over or (self._pod_dir(uid_of(pod))).exists()

    def _begin(self, pod: Object) -> None:
        if self._tasks is None:
            return
        uid = uid_of(pod)
        try:
            address = self._address_of(pod)
        except OSError as error:
            log.warning("pod not started", pod=name_of(pod), error=str(error))
            self._tell(pod, "FailedCreatePodSandBox", str(error))
            self._tasks.create_task(self._begin_later(pod))
            return
        worker = PodWorker(self._node, pod, address, self._runs.get(uid, ()))
        self._workers[uid] = worker
        self._tasks.create_task(self._work(worker), name=f"pod {name_of(pod)}")

    async def _begin_later(self, pod: Object) -> None:
        await asyncio.sleep(WORKER_RETRY.most_s)
        current = self._pods.get(namespace_of(pod), name_of(pod))
        if current is not None and uid_of(current) not in self._workers:
            self._begin(current)

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
        self._addresses.release(worker.pod_ip)

    def _ended(self, run: Run) -> None:
        worker = self._workers.get(run.pod_uid)
        if worker is not None:
            worker.ended(run)
        self.streams.container_ended(run)

    # Directories and addresses.

    def _pod_dir(self, uid: str) -> Path:
        return self._data_dir / "pods" / uid

    def _address_of(self, pod: Object) -> str:
        """The Pod's address, allocated and recorded where it has none yet."""
        if at(pod, "spec", "hostNetwork"):
            return self._node.host_ip
        path = self._pod_dir(uid_of(pod)) / "pod.json"
        recorded = read_record(path)
        if recorded.get("podIP"):
            return str(recorded["podIP"])
        address = self._addresses.allocate()
        make_pod_directories(path.parent)
        record = {"podIP": address, "namespace": namespace_of(pod), "name": name_of(pod)}
        # Not synced: an address that is lost with the power is only allocated anew.
        write_atomically(path, json.dumps(record).encode(), sync=False)
        return address

    def _remember_addresses(self) -> None:
        for path in (self._data_dir / "pods").glob("*/pod.json"):
            address = read_record(path).get("podIP")
            if address:
                self._addresses.take(str(address))

    async def _end_orphans(self) -> None:
        """Pods whose objects were deleted while nobody was here."""
        known = {uid_of(pod) for pod in self._pods.list()}
        directories = await asyncio.to_thread(lambda: list((self._data_dir / "pods").glob("*/")))
        for uid in {path.name for path in directories} - known:
            runs = self._runs.get(uid, [])
            record = read_record(self._pod_dir(uid) / "pod.json")
            worker = PodWorker(self._node, orphan(uid, record, runs), record.get("podIP", ""), runs)
            worker.vanish()
            self._workers[uid] = worker
            if self._tasks is not None:
                self._tasks.create_task(self._work(worker), name=f"orphan {uid}")

    # The local images table.

    async def _watch_table(self) -> None:
        while True:
            await asyncio.sleep(TABLE_PERIOD_S)
            if self._node.table.reload():
                for worker in self._workers.values():
                    worker.retry()

    def _complain(self, message: str) -> None:
        log.warning("local images table", error=message)
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._name}}
        self._tell(node, "InvalidLocalImages", message)

    def _tell(self, obj: Object, reason: str, message: str) -> None:
        self._context.events.record(obj, "Warning", reason, message, component="kubelet")


def read_record(path: Path) -> dict[str, str]:
    """``pod.json``; {} where it is missing or torn."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


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
