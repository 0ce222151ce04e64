"""Where Envoy listens for Services, and where it cannot: told to whoever looks at the Service.

Rules: Envoy is asked where it listens, after each change. A place that it does not have yet is
tried before it is told of it, so that one that somebody else holds spoils no update; it is tried
again now and then. What is wrong is said once for each Service and port.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import structlog

from motorpool.api import core
from motorpool.api.meta import Object, uid_of
from motorpool.base.loopback import can_bind
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informer
from motorpool.loop.runner import Context
from motorpool.router import admin
from motorpool.router.table import Forward

log = structlog.get_logger(__name__)

Place: TypeAlias = tuple[str, int]
COMPONENT = "service-router"


class Places:
    def __init__(self, context: Context, socket: Path) -> None:
        self._socket = socket
        self._events: EventRecorder = context.events
        self._services: Informer = context.informers(core.SERVICE)
        self._open: frozenset[Place] = frozenset()
        self._blocked: frozenset[Place] = frozenset()
        self._told: set[tuple[str, int, str]] = set()

    @property
    def blocked(self) -> frozenset[Place]:
        """Of those that were wanted last."""
        return self._blocked

    async def look(self) -> None:
        """Asks Envoy; what was known stays where it does not answer."""
        try:
            self._open = frozenset(await admin.listening(self._socket))
        except (OSError, TimeoutError, EOFError) as error:
            log.debug("envoy does not say where it listens", error=str(error))

    def sifted(self, forwards: Iterable[Forward]) -> tuple[Forward, ...]:
        """Those that Envoy serves or may serve; the others are blocked."""
        found: list[Forward] = []
        blocked: list[Forward] = []
        for forward in forwards:
            is_free = forward.place in self._open or can_bind(*forward.place)
            (found if is_free else blocked).append(forward)
        self._block(blocked)
        return tuple(found)

    def checked(self, forwards: Sequence[Forward]) -> tuple[Forward, ...]:
        """After Envoy was told of *forwards*: those that it has; the others are blocked too."""
        lost = [forward for forward in forwards if forward.place not in self._open]
        if lost:
            before = self._blocked
            self._block(lost)
            self._blocked |= before
        return tuple(forward for forward in forwards if forward.place in self._open)

    def _block(self, forwards: Sequence[Forward]) -> None:
        self._blocked = frozenset(forward.place for forward in forwards)
        for forward in forwards:
            where = f"{forward.address}:{forward.port}"
            text = f"{where} is in use by another program, so the Service is not reached there; "
            hint = "end that program, or delete the Service and create it again for a new address"
            service = self._services.get(*forward.service)
            if service is not None:
                self._tell(service, forward.port, "ClusterAddressInUse", text + hint)

    def tell_forbidden(self, service: Object, port: int) -> None:
        """A port that this user may not listen on."""
        text = (
            f"port {port} of the cluster address is not served: this user may not listen below "
            f"1024. Allow it with `sysctl -w net.ipv4.ip_unprivileged_port_start={port}` and start "
            "motorpool again, or give the Service a port from 1024 on"
        )
        self._tell(service, port, "PortNotPermitted", text)

    def _tell(self, service: Object, port: int, reason: str, message: str) -> None:
        said = uid_of(service), port, reason
        if said not in self._told:
            self._told.add(said)
            log.warning(reason, message=message)
            self._events.record(service, "Warning", reason, message, component=COMPONENT)
