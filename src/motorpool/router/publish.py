"""The router: watches Routes, Services and endpoints, writes Envoy's files, keeps Envoy alive.

Rules
- Envoy outlives this process. The next one adopts it, with the ports that it has.
- Files change only when what they say changes, each in one step.
- A cluster is there before the first route to it and until after the last one.
- Nothing is published before the informers are synced: no restart empties a router that serves.
"""

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from motorpool.api import core, discovery
from motorpool.api import route as route_api
from motorpool.api.clusterips import MayListen
from motorpool.base.backoff import Backoff
from motorpool.base.loopback import Permissions
from motorpool.base.processes import is_alive
from motorpool.loop.informer import Change, Informer
from motorpool.loop.runner import Context
from motorpool.router import listeners, routes, services
from motorpool.router.configuration import Configuration, encoded
from motorpool.router.envoy_process import (
    EnvoyProcess,
    Record,
    RouterError,
    free_port,
    packaged_envoy,
)
from motorpool.router.listeners import Addresses, Certificate
from motorpool.router.places import Places
from motorpool.router.table import Table

log = structlog.get_logger(__name__)

DEBOUNCE_S = 0.005
REST_MOST_S = 0.5
RESTART = Backoff(first_s=0.1, most_s=10.0)
STEADY_S = 60.0  # alive for so long, Envoy's next death is its first again
PLACES_RETRY = Backoff(first_s=0.5, most_s=15.0)  # for addresses that another program has


@dataclass(frozen=True, slots=True)
class Health:
    """How the router does; *message* is empty where all is well."""

    is_live: bool
    pid: int
    restarts: int
    message: str


class Router:
    def __init__(
        self,
        context: Context,
        *,
        data_dir: Path,
        host: str = "127.0.0.1",
        http_port: int = 8080,
        https_port: int = 8443,
        certificate: Certificate | None = None,
        authority: str = "",
        binary: Path | None = None,
    ) -> None:
        """Ports of 0 mean free ones, the same at every start. No certificate means no TLS.

        *authority* (PEM) vouches for pods that speak TLS; without it they get no requests.

        Raises RouterError where Envoy is not installed.
        """
        self._directory = data_dir.absolute() / "envoy"
        self._asked = (http_port, https_port)
        self._certificate = certificate
        self._authority = authority
        self._host = host
        arguments = ("--concurrency", _concurrency(), "--disable-hot-restart", "-l", "warning")
        self._process = EnvoyProcess(data_dir.absolute(), binary or packaged_envoy(), arguments)
        self._configuration = Configuration(self._directory, self._process.socket)
        self._routes: Informer = context.informers(route_api.ROUTE)
        self._slices: Informer = context.informers(discovery.ENDPOINT_SLICE)
        self._services: Informer = context.informers(core.SERVICE)
        self._places = Places(context, self._process.socket)
        self.may_listen: MayListen = Permissions()  # on which ports, for Services
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()  # live, or failed for good
        self._failure: RouterError | None = None
        self._record: Record | None = None
        self._restarts = 0
        self._message = ""
        self._is_live = False
        self._stopping = False
        for informer in (self._routes, self._slices, self._services):
            informer.subscribe(self._note)

    @property
    def http_port(self) -> int:
        return self._running().http_port

    @property
    def https_port(self) -> int | None:
        """None where TLS is not served."""
        return self._running().https_port if self._certificate else None

    def _running(self) -> Record:
        if self._record is None:
            raise RuntimeError("ports are known once the router is ready")
        return self._record

    def is_served(self, address: str, port: int) -> bool:
        """Whether that port of a cluster address leads to its Service, or will in a moment."""
        return self.may_listen(port) and (address, port) not in self._places.blocked

    def health(self) -> Health:
        pid = self._record.pid if self._record else 0
        return Health(self._is_live, pid, self._restarts, self._message)

    async def ready(self) -> None:
        """Returns once Envoy serves. Raises RouterError where it will not."""
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    async def run(self) -> None:
        """Routes until cancelled; Envoy then goes on. Raises RouterError where it cannot start."""
        try:
            await self._come_up()
        except RouterError as error:
            self._failure = error
            if self._record is not None:
                await self._process.stop(self._record)
            raise
        finally:
            self._settled.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_alive(), name="envoy")
            tasks.create_task(self._publish_changes(), name="router")

    async def stop(self) -> None:
        """Ends Envoy too. `run` is to be cancelled before or after."""
        self._stopping = True
        self._is_live = False
        if self._record is not None:
            await self._process.stop(self._record)

    # Coming up

    async def _come_up(self) -> None:
        for directory in (self._directory, self._process.socket.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._directory.glob(".*.json.*"):  # of a publisher killed while it wrote
            leftover.unlink(missing_ok=True)
        bootstrap = encoded(listeners.bootstrap(str(self._directory)))
        recorded = self._process.recorded()
        alive = recorded if recorded is not None and is_alive(recorded.identity) else None
        if alive is not None and alive.launch != self._process.launch_digest(bootstrap):
            log.info("envoy is started anew, its settings differ", pid=alive.pid)
            await self._process.stop(alive)
            alive = None
        http_port, https_port = self._ports(recorded, alive)
        addresses = self._addresses(http_port, https_port)
        if alive is not None:
            record = replace(alive, host=self._host, http_port=http_port, https_port=https_port)
            if record != alive:
                self._process.remember(record)
            self._configuration.load()
            log.info("envoy adopted", pid=record.pid)
        else:
            self._configuration.reset(Table(), addresses)
            record = self._process.start(bootstrap, self._host, http_port, https_port)
            log.info("envoy started", pid=record.pid, http_port=http_port)
        self._record = record
        await self._process.live(record)
        if alive is None:
            await self._check_listening(record)
        await self._places.look()
        self._is_live = True

    async def _check_listening(self, record: Record) -> None:
        # A port may be taken between the look at it and Envoy's start.
        refused = await self._configuration.refused(lambda: is_alive(record.identity))
        if refused:
            text = f"envoy cannot listen on {record.host}:{record.http_port}"
            raise RouterError(f"{text}: {refused}")

    def _addresses(self, http_port: int, https_port: int) -> Addresses:
        return Addresses(self._host, http_port, https_port, self._certificate, self._authority)

    def _ports(self, recorded: Record | None, alive: Record | None) -> tuple[int, int]:
        http_port = self._port(0, "--http-port", recorded, alive)
        https_port = self._port(1, "--https-port", recorded, alive)
        while http_port == https_port and self._asked[1] == 0:
            # Nobody listens on the first one yet, so it was free to be chosen again.
            https_port = free_port(self._host, 0, "--https-port")
        if http_port == https_port:
            text = f"http and https cannot share port {http_port}; change --https-port"
            raise RouterError(text)
        return http_port, https_port

    def _port(self, index: int, option: str, recorded: Record | None, alive: Record | None) -> int:
        asked = self._asked[index]
        before = (recorded.http_port, recorded.https_port)[index] if recorded else 0
        if alive is not None and alive.host == self._host and asked in (0, before):
            return before
        if asked == 0 and before:
            try:
                return free_port(self._host, before, option)
            except RouterError:
                log.info("the last port is taken, another one is chosen", port=before)
        return free_port(self._host, asked, option)

    # Staying up

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            record, since = self._running(), loop.time()
            await self._process.ended(record)
            if self._stopping:
                return
            self._is_live = False
            failures = 1 if loop.time() - since > STEADY_S else failures + 1
            self._message = f"envoy ended: {self._process.last_words()}"
            log.error("envoy ended", pid=record.pid, last_words=self._process.last_words())
            await asyncio.sleep(RESTART.delay_s(failures))
            await self._restart(record)

    async def _restart(self, record: Record) -> None:
        bootstrap = encoded(listeners.bootstrap(str(self._directory)))
        self._restarts += 1
        ports = (record.http_port, record.https_port)
        try:
            self._record = self._process.start(bootstrap, record.host, *ports)
            await self._process.live(self._record)
        except RouterError as error:
            self._message = str(error)
            log.warning("envoy does not start", error=str(error))
            await self._process.stop(self._running())
            return
        self._is_live, self._message = True, ""
        await self._places.look()
        self._changed.set()
        log.info("envoy started again", pid=self._record.pid)

    # Publishing

    def _note(self, _: Change) -> None:
        self._changed.set()

    async def _publish_changes(self) -> None:
        for informer in (self._routes, self._slices, self._services):
            await informer.synced()
        loop = asyncio.get_running_loop()
        self._changed.set()
        table: Table | None = None
        failures, again = 0, loop.call_later(0, self._changed.set)
        while True:
            await self._changed.wait()
            await asyncio.sleep(DEBOUNCE_S)
            self._changed.clear()
            started = loop.time()
            new = self._table()
            if new != table:
                table = await self._published(new)
            again.cancel()
            failures = failures + 1 if self._places.blocked else 0
            if failures:
                again = loop.call_later(PLACES_RETRY.delay_s(failures), self._changed.set)
            # Bursts coalesce: a large table leaves the loop at least half of its time.
            await asyncio.sleep(min(REST_MOST_S, loop.time() - started))

    async def _published(self, table: Table) -> Table:
        """Makes Envoy serve *table* but for addresses that it cannot have; gives what it does."""
        await self._publish(table)
        if not self._is_live:
            return table
        await self._places.look()
        had = self._places.checked(table.forwards)
        if had != table.forwards:
            table = replace(table, forwards=had)
            await self._publish(table)
        return table

    def _table(self) -> Table:
        slices, found = routes.slices_by_service(self._slices.list()), self._services.list()
        for service, port in services.forbidden_ports(found, self.may_listen):
            self._places.tell_forbidden(service, port)
        forwards = services.forwards_of(found, slices, self.may_listen)
        routed = routes.table_of(self._routes.list(), slices)
        return replace(routed, forwards=self._places.sifted(forwards))

    async def _publish(self, table: Table) -> None:
        record = self._running()
        addresses = self._addresses(record.http_port, record.https_port)
        refused = await self._configuration.publish(table, addresses, lambda: self._is_live)
        self._message = refused
        if refused:
            log.error("envoy refused its configuration", reason=refused)


def _concurrency() -> str:
    return str(min(2, os.cpu_count() or 1))
