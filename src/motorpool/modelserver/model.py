"""A served model: which of its versions are loaded, and what each of them answers.

A version goes START -> LOADING -> AVAILABLE -> UNLOADING -> END. The new one is loaded before the
old one is retired, and requests that the old one has accepted are finished by it.
"""

import asyncio
import contextlib
import ctypes
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import msgspec
import structlog

from motorpool.modelserver.contract import Engine, EngineError, Load
from motorpool.modelserver.errors import InvalidInput, NotFound, NotLoaded
from motorpool.modelserver.metrics import Registry, VersionMetrics
from motorpool.modelserver.policy import LATEST, VersionPolicy
from motorpool.modelserver.protocols.tfs import OK, UNKNOWN, VersionStatus
from motorpool.modelserver.repository import (
    RepositoryError,
    Signature,
    existing_versions,
    signature,
    version_directory,
)
from motorpool.modelserver.tensors import InferRequest
from motorpool.modelserver.workers import Workers

log = structlog.get_logger("motorpool.modelserver")

# As OpenVINO Model Server: a request for a version that is being loaded waits for it, for so long.
LOADING_WAIT_S = 10.0
TRIM_AFTER_S = 1.0


class LoadFailed(Exception):
    """The text is the cause, for the log."""


class State(Enum):
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Serving(msgspec.Struct):
    """What a version has while it is available."""

    number: int
    engine: Engine
    workers: Workers
    metrics: VersionMetrics
    probable: "Probable"

    async def asked_by(self, request: InferRequest) -> tuple[Engine, Workers]:
        """What answers *request*. Raises InvalidInput."""
        if not request.probabilities:
            return self.engine, self.workers
        return await self.probable.get()

    def close(self) -> None:
        self.workers.close()
        self.probable.close()


class Probable:
    """What answers with probabilities; made once somebody asks for them."""

    def __init__(self, make: Callable[[], Engine] | None, name: str) -> None:
        self._make = make
        self._name = name
        self._made: tuple[Engine, Workers] | None = None
        self._making = asyncio.Lock()
        self._closed = False

    async def get(self) -> tuple[Engine, Workers]:
        """Raises InvalidInput."""
        if self._make is None:
            raise InvalidInput("predict_proba", "the model has no probabilities to ask for")
        async with self._making:
            if self._made is None:
                try:
                    engine = await asyncio.to_thread(self._make)
                except EngineError as error:
                    raise InvalidInput("predict_proba", str(error)) from error
                self._made = engine, Workers(engine, self._name)
                if self._closed:
                    self._made[1].close()
        return self._made

    def close(self) -> None:
        self._closed = True
        if self._made is not None:
            self._made[1].close()


class Version:
    def __init__(self, number: int) -> None:
        self.number = number
        self.state = State.START
        self.serving: Serving | None = None
        self.failed = False
        self.decided = asyncio.Event()  # set once loading has ended, either way


class Model:
    def __init__(
        self,
        name: str,
        path: Path,
        load: Load,
        registry: Registry,
        policy: VersionPolicy = LATEST,
        batch_window_s: float = 0.0,
    ) -> None:
        self.name = name
        self.path = path
        self._policy = policy
        self._load = load
        self._registry = registry
        self._batch_window_s = batch_window_s
        self._versions: dict[int, Version] = {}
        self._first_refresh = asyncio.Event()
        self._failed: dict[int, tuple[Signature, str]] = {}  # what each was, and why

    @property
    def available(self) -> list[int]:
        return sorted(v.number for v in self._versions.values() if v.state is State.AVAILABLE)

    @property
    def versions(self) -> list[Version]:
        """Every one that was ever loaded, or should have been, lowest first."""
        return [self._versions[number] for number in sorted(self._versions)]

    @property
    def serves_tables(self) -> bool:
        """Whether it answers in place of one of KServe's own servers."""
        loaded = (each.serving for each in self._versions.values() if each.serving is not None)
        return any(serving.engine.spec.rows for serving in loaded)

    def version(self, number: int | None) -> Version:
        """The version asked for, loaded or not; by default the highest that is available."""
        if number is None:
            return self._default()
        found = self._versions.get(number)
        if found is None or found.state is State.END:
            raise NotFound("Model with requested version is not found")
        return found

    def status(self, number: int | None) -> list[VersionStatus]:
        """Of that version, or of every one. Raises NotFound."""
        versions = self.versions if number is None else [self._known(number)]
        return [
            VersionStatus(each.number, each.state.name, UNKNOWN if each.failed else OK)
            for each in versions
        ]

    def count_status(self, interface: str) -> None:
        """One more who asked for `status`; counted once there is a version to count it at."""
        for version in self.versions:
            if version.serving is not None:
                series = version.serving.metrics
                of = series.rest if interface == "REST" else series.grpc
                of.model_status.successes.value += 1
                return

    def _known(self, number: int) -> Version:
        if number not in self._versions:
            raise NotFound("Model with requested version is not found")
        return self._versions[number]

    async def serving(self, number: int | None) -> Serving:
        """That version ready for work; waits a while for one that is being loaded."""
        await _within_loading_wait(self._first_refresh)
        version = self.version(number)
        if version.serving is None and version.state is State.LOADING:
            await _within_loading_wait(version.decided)
        if version.serving is None:
            raise NotLoaded
        return version.serving

    async def refresh(self) -> bool:
        """Serves what the directory now holds; whether that is something else than before.

        Raises LoadFailed; what was served stays served.
        """
        try:
            return await self._refresh()
        finally:
            self._first_refresh.set()

    async def _refresh(self) -> bool:
        before = self.available
        try:
            found = await asyncio.to_thread(existing_versions, self.path)
        except RepositoryError as error:
            raise LoadFailed(str(error)) from error
        wanted = self._policy.choose(found)
        if not wanted and not before:
            raise LoadFailed(f"the version policy asks for none of those in {self.path}")
        failures: list[LoadFailed] = []
        for number in wanted:
            try:
                await self._ensure_loaded(number)
            except LoadFailed as error:
                failures.append(error)
        if failures:
            raise failures[0]
        for version in self.versions:
            if version.number not in wanted and version.state is State.AVAILABLE:
                self._retire(version)
        return self.available != before

    async def _ensure_loaded(self, number: int) -> None:
        known = self._versions.get(number)
        if known is None or known.state is not State.AVAILABLE:
            await self._load_version(number)

    def close(self, successor: "Model | None" = None) -> None:
        """Ends every version; the series of those that *successor* has as well are its own now."""
        kept = [] if successor is None else successor.available
        for version in self.versions:
            if version.state is State.AVAILABLE:
                self._retire(version, keep_series=version.number in kept)
        if successor is None:
            self._registry.drop(name=self.name)

    def _default(self) -> Version:
        versions = self._versions.values()
        for state in (State.AVAILABLE, State.LOADING):
            if numbers := [v.number for v in versions if v.state is state]:
                return self._versions[max(numbers)]
        raise NotLoaded

    async def _load_version(self, number: int) -> None:
        directory = version_directory(self.path, number)
        seen = await asyncio.to_thread(signature, directory)
        if (failed := self._failed.get(number)) is not None and seen == failed[0]:
            raise LoadFailed(failed[1])
        version = self._versions[number] = Version(number)
        version.state = State.LOADING
        log.info("loading", model=self.name, version=number)
        try:
            version.serving = await self._start(directory, number)
        except EngineError as error:
            # It stays LOADING, as in OVMS: it may yet come, with another file.
            version.failed = True
            self._failed[number] = (seen, f"version {number}: {error}")
            raise LoadFailed(self._failed[number][1]) from error
        else:
            self._failed.pop(number, None)
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
        probable = Probable(engine.probabilities, f"{self.name}-{number}-probable")
        return Serving(number, engine, workers, metrics, probable)

    def _retire(self, version: Version, *, keep_series: bool = False) -> None:
        log.info("retiring", model=self.name, version=version.number)
        version.state = State.UNLOADING
        serving, version.serving = version.serving, None
        if serving is not None:
            # Those who hold it already have submitted, or will find that nobody works there.
            serving.close()
        version.state = State.END
        if not keep_series:
            self._registry.drop(name=self.name, version=str(version.number))
        # Once its threads have ended, and whoever still waits for them has an answer.
        asyncio.get_running_loop().call_later(TRIM_AFTER_S, trim_memory)


def trim_memory() -> None:
    """Gives what a model has left free back to the system, where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def _within_loading_wait(event: asyncio.Event) -> None:
    """Raises NotLoaded where it takes too long."""
    if event.is_set():
        return
    try:
        await asyncio.wait_for(event.wait(), LOADING_WAIT_S)
    except TimeoutError:
        raise NotLoaded from None
