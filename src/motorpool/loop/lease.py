"""Leader election by a Lease: of many processes with one name for it, one works at a time.

Rules, those of every Kubernetes controller:
- a Lease that others hold is taken over only after it stood unchanged for its whole duration, by
  our own clock: clocks of two machines are never compared;
- whoever cannot renew stops its work before others may begin;
- an orderly end gives the Lease back, so that the next one begins at once.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from motorpool.api.coordination import LEASE
from motorpool.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from motorpool.api.meta import Object, at
from motorpool.base.clock import Clock, now, rfc3339_micro
from motorpool.client import Client

log = structlog.get_logger(__name__)

ANSWER_TIMEOUT_S = 5.0


class LeaseLost(Exception):
    """The work was stopped, because another may have begun it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    duration_s: float = 15.0  # how long others wait for a sign of life
    deadline_s: float = 10.0  # how long renewing may fail
    retry_s: float = 2.0


class Election:
    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: Times = Times(),
        clock: Clock = now,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times
        self._clock = clock
        self._seen: Object = {}
        self._seen_at = 0.0

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Waits for the Lease, then works until cancelled. Raises LeaseLost."""
        await self._acquire()
        working = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._renew())
        try:
            done, _ = await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            await _ended(working)
            for task in done:
                task.result()
        finally:
            await _ended(working)
            await _ended(renewing)
            await self._release()

    async def _acquire(self) -> None:
        told = ""
        while not await self._try():
            holder = str(at(self._seen, "spec", "holderIdentity", default=""))
            if holder != told:
                log.info("waiting for the lease", holder=holder)
                told = holder
            await asyncio.sleep(self._times.retry_s)
        log.info("holding the lease", identity=self._identity)

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(self._times.retry_s)
            try:
                async with asyncio.timeout_at(renewed + self._times.deadline_s):
                    if await self._try():
                        renewed = loop.time()
                        continue
            except TimeoutError:
                pass
            holder = at(self._seen, "spec", "holderIdentity", default="")
            if holder not in ("", self._identity):
                raise LeaseLost(f"{holder} holds the Lease {self._name} now")
            if loop.time() - renewed >= self._times.deadline_s:
                raise LeaseLost(f"the Lease {self._name} could not be renewed in time")

    async def _try(self) -> bool:
        """Whether the Lease is ours now."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._try_once()
        except (Conflict, AlreadyExists):
            return False  # another was quicker
        except (ApiError, OSError) as error:
            log.warning("the lease cannot be read or written", error=str(error))
            return False

    async def _try_once(self) -> bool:
        try:
            lease = await self._client.get(LEASE, self._namespace, self._name)
        except NotFound:
            await self._client.create(LEASE, self._lease({}))
            return True
        loop = asyncio.get_running_loop()
        if lease.get("spec") != self._seen.get("spec"):
            self._seen, self._seen_at = lease, loop.time()
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        lasts_s = float(spec.get("leaseDurationSeconds") or self._times.duration_s)
        if holder not in ("", self._identity) and loop.time() < self._seen_at + lasts_s:
            return False
        written = await self._client.update(LEASE, self._lease(lease))
        self._seen, self._seen_at = written, loop.time()
        return True

    def _lease(self, old: Object) -> Object:
        spec = old.get("spec") or {}
        moment = rfc3339_micro(self._clock())
        ours = spec.get("holderIdentity") == self._identity
        changes = int(spec.get("leaseTransitions") or 0)
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": old.get("metadata") or {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self._times.duration_s)),
                "acquireTime": spec.get("acquireTime") if ours else moment,
                "renewTime": moment,
                "leaseTransitions": changes if ours or not old else changes + 1,
            },
        }

    async def _release(self) -> None:
        """Best effort: who cannot be told waits out the duration."""
        if at(self._seen, "spec", "holderIdentity") != self._identity:
            return
        spec = {**self._seen["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        with contextlib.suppress(ApiError, OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._client.update(LEASE, {**self._seen, "spec": spec})


async def _ended(task: "asyncio.Future[None]") -> None:
    """Cancels *task* and waits until it is over; what it raised is for `result` to tell."""
    task.cancel()
    await asyncio.wait({task})
