"""Envoy's files: written in one step each, in an order that never routes into nothing.

A file is named for what Envoy calls its content: ``cds`` holds the clusters, ``http`` and ``https``
the routes of each listener, ``lds`` the listeners. Envoy notices the rename. Its version is the
digest of its content, and Envoy's own report of that version tells when it is in force.
"""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from motorpool.base.atomicfile import write_atomically
from motorpool.router import admin, connections, envoy, listeners
from motorpool.router.envoy import Json
from motorpool.router.listeners import Addresses
from motorpool.router.table import Table

log = structlog.get_logger(__name__)

APPLY_TIMEOUT_S = 10.0
_STATS = {
    "cds": "cluster_manager.cds",
    "lds": "listener_manager.lds",
    "http": "http.http.rds.http",
    "https": "http.https.rds.https",
}
_PATTERN = r"(cds|lds|rds\.https?)\.(version_text|update_rejected)$"


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


class Configuration:
    def __init__(self, directory: Path, socket: Path) -> None:
        self._directory = directory
        self._socket = socket
        self._versions: dict[str, str] = {}
        self._clusters: dict[str, Json] = {}

    def load(self) -> None:
        """Takes what an adopted Envoy serves as the present state. Raises OSError."""
        for name in _STATS:
            try:
                document = msgspec.json.decode((self._directory / f"{name}.json").read_bytes())
            except (FileNotFoundError, msgspec.DecodeError) as error:
                log.warning("a file of envoy's is unreadable", file=name, error=str(error))
                continue
            self._versions[name] = document["version_info"]
            if name == "cds":
                self._clusters = {c["name"]: c for c in document["resources"]}

    def reset(self, table: Table, addresses: Addresses) -> None:
        """Writes every file, for an Envoy that is yet to start. Raises OSError."""
        self._versions.clear()
        self._write_clusters(_clusters_of(table, addresses))
        self._write_routes(table, addresses)

    async def refused(self, is_alive: Callable[[], bool]) -> str:
        """Waits until Envoy listens with what was written last; says why where it will not."""
        return self._text(await self._settled(["lds"], {}, is_alive))

    async def publish(
        self, table: Table, addresses: Addresses, is_alive: Callable[[], bool]
    ) -> str:
        """Makes *table* what Envoy serves. Returns why Envoy refused it; "" where it did not."""
        clusters = _clusters_of(table, addresses)
        before = await self._refusals() if is_alive() else {}
        changed = self._write_clusters({**self._clusters, **clusters})
        refused = await self._settled(changed, before, is_alive)
        changed = self._write_routes(table, addresses)
        refused |= await self._settled(changed, before, is_alive)
        self._write_clusters(clusters)
        return self._text(refused)

    def _text(self, refused: Collection[str]) -> str:
        if not refused:
            return ""
        names = ", ".join(sorted(refused))
        return f"envoy refuses its {names}; see {self._directory / 'envoy.log'}"

    def _write_clusters(self, clusters: dict[str, Json]) -> list[str]:
        self._clusters = clusters
        return self._write("cds", list(clusters.values()))

    def _write_routes(self, table: Table, addresses: Addresses) -> list[str]:
        found = listeners.listeners_of(table, addresses, str(self._directory))
        found += connections.listeners_of(table)
        plain = envoy.routes_of(table, secure=False, https_port=addresses.https_port or 443)
        return [
            *self._write("http", [plain]),
            *self._write("https", [envoy.routes_of(table, secure=True)]),
            *self._write("lds", found),
        ]

    def _write(self, name: str, resources: Sequence[Json]) -> list[str]:
        """The name where the file changed; nothing where it says that already."""
        body = encoded(resources)
        version = hashlib.sha256(body).hexdigest()[:16]
        if self._versions.get(name) == version:
            return []
        content = b'{"version_info":"%s","resources":%s}' % (version.encode(), body)
        # Listeners hold private keys. Not synced: after a power cut it is written anew.
        path = self._directory / f"{name}.json"
        write_atomically(path, content, mode=0o600, sync=False)
        self._versions[name] = version
        return [name]

    async def _settled(
        self, names: list[str], before: Mapping[str, int], is_alive: Callable[[], bool]
    ) -> set[str]:
        """Returns once each file is in force or refused; gives the refused ones."""
        waiting, refused = set(names), set[str]()
        delay_s = 0.001
        try:
            async with asyncio.timeout(APPLY_TIMEOUT_S):
                while is_alive() and waiting:
                    reported = await self._reported()
                    refused |= {n for n in waiting if _refusals_of(reported, n) > before.get(n, 0)}
                    waiting -= refused | {n for n in waiting if self._is_in_force(reported, n)}
                    if waiting:
                        await asyncio.sleep(delay_s)
                        delay_s = min(0.1, delay_s * 1.5)
        except TimeoutError:
            log.warning("envoy has not taken its configuration", files=sorted(waiting))
        return refused

    def _is_in_force(self, reported: Mapping[str, str], name: str) -> bool:
        # Routes of a listener that is not there are reported by nobody.
        version = reported.get(f"{_STATS[name]}.version_text")
        return version == self._versions[name] or (version is None and bool(reported))

    async def _refusals(self) -> dict[str, int]:
        reported = await self._reported()
        return {name: _refusals_of(reported, name) for name in _STATS}

    async def _reported(self) -> dict[str, str]:
        try:
            return await admin.stats(self._socket, _PATTERN)
        except (OSError, EOFError) as error:
            log.debug("envoy does not report", error=str(error))
            return {}


def _clusters_of(table: Table, addresses: Addresses) -> dict[str, Json]:
    found = [*envoy.clusters_of(table, addresses.authority), *connections.clusters_of(table)]
    return {cluster["name"]: cluster for cluster in found}


def _refusals_of(reported: Mapping[str, str], name: str) -> int:
    return int(reported.get(f"{_STATS[name]}.update_rejected", "0"))
