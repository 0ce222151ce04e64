"""A served model: which of its versions are loaded, and what each of them answers.

A version goes START -> LOADING -> AVAILABLE -> UNLOADING -> END. The new one is loaded before the
old one is retired, and requests that the old one has accepted are finished by it.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import structlog

from motorpool.modelserver.contract import Engine, EngineError, Load
from motorpool.modelserver.errors import NotFound, NotLoaded
from motorpool.modelserver.metrics import Registry, VersionMetrics
from motorpool.modelserver.repository import (
    RepositoryError,
    Signature,
    latest_version,
    signature,
    version_directory,
)
from motorpool.modelserver.workers import Workers

log = structlog.get_logger("motorpool.modelserver")

# As OpenVINO Model Server: a request for a version that is being loaded waits for it, for so long.
LOADING_WAIT_S = 10.0


class LoadFailed(Exception):
    """The text is the cause, for the log."""


class State(Enum):
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(slots=True)
class Serving:
    """What a version has while it is available."""

    number: int
    engine: Engine
    workers: Workers
    metrics: VersionMetrics


class Version:
    def __init__(self, number: int) -> None:
        self.number = number
        self.state = State.START
        self.serving: Serving | None = None
        self.decided = asyncio.Event()  # set once loading has ended, either way


class Model:
    def __init__(
        self, name: str, path: Path, load: Load, registry: Registry, batch_window_s: float = 0.0
    ) -> None:
        self.name = name
        self.path = path
        self._load = load
        self._registry = registry
        self._batch_window_s = batch_window_s
        self._versions: dict[int, Version] = {}
        self._first_refresh = asyncio.Event()
        self._failed: tuple[tuple[int, Signature], str] | None = None  # what it was, and why

    @property
    def available(self) -> list[int]:
        return sorted(v.number for v in self._versions.values() if v.state is State.AVAILABLE)

    def version(self, number: int | None) -> Version:
        """The version asked for, loaded or not; by default the highest that is available."""
        if number is None:
            return self._default()
        found = self._versions.get(number)
        if found is None or found.state is State.END:
            raise NotFound("Model with requested version is not found")
        return found

    async def serving(self, number: int | None) -> Serving:
        """That version ready for work; waits a while for one that is being loaded."""
        await _within_loading_wait(self._first_refresh)
        version = self.version(number)
        if version.serving is None and version.state is State.LOADING:
            await _within_loading_wait(version.decided)
        if version.serving is None:
            raise NotLoaded
        return version.serving

    async def refresh(self) -> None:
        """Serves what the directory now holds. Raises LoadFailed; what was served stays served."""
        try:
            await self._refresh()
        finally:
            self._first_refresh.set()

    async def _refresh(self) -> None:
        try:
            latest = await asyncio.to_thread(latest_version, self.path)
        except RepositoryError as error:
            raise LoadFailed(str(error)) from error
        known = self._versions.get(latest)
        if known is None or known.state is not State.AVAILABLE:
            await self._load_version(latest)
        for version in list(self._versions.values()):
            if version.number != latest and version.state is State.AVAILABLE:
                self._retire(version)

    async def watch(self, interval_s: float) -> None:
        """Looks for new versions until cancelled."""
        last_failure = None
        while True:
            await asyncio.sleep(interval_s)
            failure = await self._failure_of_refresh()
            if failure not in (None, last_failure):
                log.error("still serving the old versions", model=self.name, cause=failure)
            last_failure = failure

    async def _failure_of_refresh(self) -> str | None:
        try:
            await self.refresh()
        except LoadFailed as error:
            return str(error)
        return None

    def close(self) -> None:
        for version in self._versions.values():
            if version.state is State.AVAILABLE:
                self._retire(version)

    def _default(self) -> Version:
        versions = self._versions.values()
        for state in (State.AVAILABLE, State.LOADING):
            if numbers := [v.number for v in versions if v.state is state]:
                return self._versions[max(numbers)]
        raise NotLoaded

    async def _load_version(self, number: int) -> None:
        directory = version_directory(self.path, number)
        seen = (number, await asyncio.to_thread(signature, directory))
        if self._failed is not None and seen == self._failed[0]:
            raise LoadFailed(self._failed[1])
        version = self._versions[number] = Version(number)
        version.state = State.LOADING
        log.info("loading", model=self.name, version=number)
        try:
            version.serving = await self._start(directory, number)
        except EngineError as error:
            # It stays LOADING, as in OVMS: it may yet come, with another file.
            self._failed = (seen, f"version {number}: {error}")
            raise LoadFailed(self._failed[1]) from error
        else:
            self._failed = None
            version.state = State.AVAILABLE
            log.info("available", model=self.name, version=number)
        finally:
            version.decided.set()

    async def _start(self, directory: Path, number: int) -> Serving:
        engine = await asyncio.to_thread(self._load, directory)
        workers = Workers(engine, f"{self.name}-{number}", self._batch_window_s)
        metrics = VersionMetrics(self._registry, self.name, number)
        metrics.streams.value = engine.streams
        metrics.queue_size.value = engine.nireq
        return Serving(number, engine, workers, metrics)

    def _retire(self, version: Version) -> None:
        log.info("retiring", model=self.name, version=version.number)
        version.state = State.UNLOADING
        serving, version.serving = version.serving, None
        if serving is not None:
            # Those who hold it already have submitted, or will find that nobody works there.
            serving.workers.close()
        version.state = State.END
        self._registry.drop(name=self.name, version=str(version.number))


async def _within_loading_wait(event: asyncio.Event) -> None:
    """Raises NotLoaded where it takes too long."""
    if event.is_set():
        return
    try:
        await asyncio.wait_for(event.wait(), LOADING_WAIT_S)
    except TimeoutError:
        raise NotLoaded from None
